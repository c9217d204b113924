package session

import (
	"time"

	"github.com/countersign/countersign/oidc"
)

// Session is a login that is remembered. It holds no token of the provider: see
// [Vault.Grant]. The zero Session is Ended.
type Session struct {
	ID       ID
	App      string // the app that it was made for; good for no other
	Identity oidc.Identity

	Created time.Time
	Seen    time.Time     // last use, as precise as a tenth of Idle
	Ends    time.Time     // absolute end
	Idle    time.Duration // ends as long after Seen, too

	// When the provider must be asked again; the last three are zero when it never is.
	Checked time.Time // when it last vouched for the session
	Renew   time.Time // from then on in the background of the person's requests
	Due     time.Time // from then on the session is Stale: first the answer, then the request
	Lapses  time.Time // from then on it is good for nothing without an answer

	Version uint64 // rises when the content changes, not when it is seen
}

// State is where a session is in its life. The zero State is Ended.
type State uint8

// The states of a session.
const (
	Ended State = iota
	Stale       // the provider has to be asked again
	Fresh
)

// State tells where s is in its life at now. Exactly at either end it is Ended,
// and exactly when it is Due it is Stale.
func (s Session) State(now time.Time) State {
	switch {
	case s.ID == (ID{}), !now.Before(s.End()):
		return Ended
	case !s.Due.IsZero() && !now.Before(s.Due):
		return Stale
	}
	return Fresh
}

// Renews reports whether the provider should be asked in the background, at now.
func (s Session) Renews(now time.Time) bool { return !s.Renew.IsZero() && !now.Before(s.Renew) }

// Lapsed reports whether s is good for nothing, at now, until the provider
// answers.
func (s Session) Lapsed(now time.Time) bool { return !s.Lapses.IsZero() && !now.Before(s.Lapses) }

// End is the earlier of both ends, unless s is seen again.
func (s Session) End() time.Time {
	if idle := s.Seen.Add(s.Idle); idle.Before(s.Ends) {
		return idle
	}
	return s.Ends
}

// shifted is s with all its times moved.
func (s Session) shifted(by time.Duration) Session {
	s.shift(by)
	return s
}

// shift moves all times of s.
func (s *Session) shift(by time.Duration) {
	if by == 0 {
		return
	}
	for _, t := range []*time.Time{&s.Created, &s.Seen, &s.Ends, &s.Checked, &s.Renew, &s.Due, &s.Lapses} {
		*t = shift(*t, by)
	}
}

// shift is t moved, unless it is zero.
func shift(t time.Time, by time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(by)
}
