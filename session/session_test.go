package session_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/session"
)

func TestSessionState(t *testing.T) {
	s := session.Session{ID: session.ID{1}, Seen: noon, Ends: noon.Add(12 * time.Hour), Idle: time.Hour}
	busy := s
	busy.Seen = noon.Add(11*time.Hour + 30*time.Minute)
	unnamed := s
	unnamed.ID = session.ID{}
	for _, tt := range []struct {
		name string
		s    session.Session
		at   time.Duration // after noon
		want session.State
	}{
		{"the_zero_session", session.Session{}, 0, session.Ended},
		{"a_session_without_an_id", unnamed, 0, session.Ended},
		{"just_seen", s, 0, session.Fresh},
		{"before_it_was_seen", s, -time.Minute, session.Fresh},
		{"idle_for_less_than_idle", s, time.Hour - 1, session.Fresh},
		{"idle_exactly_now", s, time.Hour, session.Ended},
		{"busy_before_its_end", busy, 12*time.Hour - 1, session.Fresh},
		{"busy_and_ends_exactly_now", busy, 12 * time.Hour, session.Ended},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.State(noon.Add(tt.at)); got != tt.want {
				t.Errorf("State = %v, want %v", got, tt.want)
			}
		})
	}
}
