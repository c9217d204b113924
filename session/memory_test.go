package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/sessiontest"
)

func TestMemory(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) session.Store { return session.NewMemory() })
}

// memory returns a Memory of at most two sessions, and its clock.
func memory() (m *session.Memory, now *time.Time) {
	at := noon
	m = session.NewMemory()
	m.Max, m.Now = 2, func() time.Time { return at }
	return m, &at
}

// until is a record that ends then.
func until(ends time.Time) session.Record {
	return session.Record{Hot: []byte("hot"), Tokens: []byte("tokens"), Seen: noon, Ends: ends, Idle: 10 * 365 * 24 * time.Hour}
}

func TestMemoryIsBounded(t *testing.T) {
	m, now := memory()
	create := func(id byte, ends time.Time, want error) {
		t.Helper()
		if err := m.Create(t.Context(), session.ID{id}, until(ends), noon); !errors.Is(err, want) {
			t.Errorf("Create %d = %v, want %v", id, err, want)
		}
	}
	create(1, noon.Add(time.Second), nil)
	create(2, noon.Add(time.Hour), nil)
	create(3, noon.Add(time.Hour), session.ErrFull)
	create(2, noon.Add(time.Hour), session.ErrExists)
	for id := range byte(2) {
		if _, err := m.Load(t.Context(), session.ID{id + 1}); err != nil {
			t.Errorf("Load %d = %v: a live session made room", id+1, err)
		}
	}
	*now = noon.Add(time.Second)
	create(3, noon.Add(time.Hour), nil) // the first has ended
	create(4, noon.Add(time.Hour), session.ErrFull)
	if _, err := m.Delete(t.Context(), session.ID{2}); err != nil {
		t.Fatal(err)
	}
	create(4, noon.Add(time.Hour), nil)
}

func TestMemoryBoundsClaims(t *testing.T) {
	m, now := memory()
	claim := func(c byte, want bool, wantErr error) {
		t.Helper()
		if _, first, err := m.Claim(t.Context(), session.Claim{c}, time.Minute); first != want || !errors.Is(err, wantErr) {
			t.Errorf("Claim %d = %v, %v, want %v, %v", c, first, err, want, wantErr)
		}
	}
	settle := func(c byte, want error) {
		t.Helper()
		if err := m.Settle(t.Context(), session.Claim{c}, []byte("sealed"), time.Minute); !errors.Is(err, want) {
			t.Errorf("Settle %d = %v, want %v", c, err, want)
		}
	}
	for range 2 { // until a minute has passed exactly now
		claim(1, true, nil)
		claim(2, true, nil)
		claim(1, false, nil)
		claim(3, false, session.ErrFull)
		settle(1, nil)
		settle(2, nil)
		settle(2, nil)
		settle(3, session.ErrFull)
		*now = now.Add(time.Minute)
		if _, err := m.Settled(t.Context(), session.Claim{1}); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Settled = %v, want %v", err, session.ErrNotFound)
		}
	}
}

func TestMemoryEnds(t *testing.T) {
	idle := until(noon.Add(time.Hour))
	idle.Idle = time.Minute
	for _, tt := range []struct {
		name  string
		r     session.Record
		after time.Duration
		want  error
	}{
		{"before_its_end", until(noon.Add(time.Hour)), time.Hour - 1, nil},
		{"ends_exactly_now", until(noon.Add(time.Hour)), time.Hour, session.ErrNotFound},
		{"before_it_idles_out", idle, time.Minute - 1, nil},
		{"idles_out_exactly_now", idle, time.Minute, session.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, now := memory()
			if err := m.Create(t.Context(), session.ID{1}, tt.r, noon); err != nil {
				t.Fatal(err)
			}
			*now = noon.Add(tt.after)
			_, loadErr := m.Load(t.Context(), session.ID{1})
			_, wholeErr := m.LoadWhole(t.Context(), session.ID{1})
			if !errors.Is(loadErr, tt.want) || !errors.Is(wholeErr, tt.want) {
				t.Errorf("Load = %v, LoadWhole = %v, want %v", loadErr, wholeErr, tt.want)
			}
		})
	}
}

func TestTheZeroMemory(t *testing.T) {
	var m session.Memory
	if err := m.Create(t.Context(), session.ID{1}, until(time.Now().Add(time.Hour)), time.Now()); err != nil {
		t.Errorf("Create = %v", err)
	}
}
