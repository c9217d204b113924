package session_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/sessiontest"
)

func TestMemory(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) session.Store { return session.NewMemory() })
	t.Logf("conformance: memory: %s: %d cases", runtime.Version(), sessiontest.Cases())
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

func TestMemoryBoundsBurials(t *testing.T) {
	m, now := memory()
	bury := func(want error, indexes ...session.Index) {
		t.Helper()
		if err := m.Bury(t.Context(), time.Minute, indexes...); !errors.Is(err, want) {
			t.Errorf("Bury %d = %v, want %v", len(indexes), err, want)
		}
	}
	refused := func(index byte, want error) {
		t.Helper()
		r := until(noon.Add(time.Hour))
		r.Indexes = []session.Index{{index}}
		if err := m.Create(t.Context(), session.ID{index}, r, noon); !errors.Is(err, want) {
			t.Errorf("Create under %d = %v, want %v", index, err, want)
		}
	}
	bury(nil, session.Index{1})
	bury(session.ErrFull, session.Index{2}, session.Index{3})
	refused(2, nil) // of those that find no room, none is buried
	bury(nil, session.Index{4})
	bury(session.ErrFull, session.Index{3})
	bury(nil, session.Index{1}, session.Index{4}) // they have their places
	refused(1, session.ErrNotFound)
	*now = noon.Add(time.Minute)
	bury(nil, session.Index{3}, session.Index{5})
	refused(5, session.ErrNotFound)
	refused(1, nil)
}

func TestMemoryBoundsLocks(t *testing.T) {
	m, now := memory()
	alice, bob := session.Owner{1}, session.Owner{2}
	lock := func(id byte, owner session.Owner, want bool, wantErr error) {
		t.Helper()
		if ours, err := m.Lock(t.Context(), session.ID{id}, owner, time.Minute); ours != want || !errors.Is(err, wantErr) {
			t.Errorf("Lock %d = %v, %v, want %v, %v", id, ours, err, want, wantErr)
		}
	}
	lock(1, alice, true, nil)
	lock(2, alice, true, nil)
	lock(3, alice, false, session.ErrFull)
	lock(1, bob, false, nil)
	lock(1, alice, true, nil) // its own, which needs no more room
	if err := m.Unlock(t.Context(), session.ID{1}, alice, 0); err != nil {
		t.Fatal(err)
	}
	lock(3, bob, true, nil)
	lock(4, bob, false, session.ErrFull)
	*now = noon.Add(time.Minute)
	lock(4, bob, true, nil)
}

// A store that is full must not go through all it holds at each call.
func TestMemorySweepsOnceASecondWhenFull(t *testing.T) {
	for _, tt := range []struct {
		name string
		keep func(m *session.Memory, n byte, life time.Duration) error
	}{
		{"sessions", func(m *session.Memory, n byte, life time.Duration) error {
			return m.Create(t.Context(), session.ID{n}, until(m.Now().Add(life)), noon)
		}},
		{"claims", func(m *session.Memory, n byte, life time.Duration) error {
			_, _, err := m.Claim(t.Context(), session.Claim{n}, life)
			return err
		}},
		{"results", func(m *session.Memory, n byte, life time.Duration) error {
			return m.Settle(t.Context(), session.Claim{n}, nil, life)
		}},
		{"burials", func(m *session.Memory, n byte, life time.Duration) error {
			return m.Bury(t.Context(), life, session.Index{n})
		}},
		{"locks", func(m *session.Memory, n byte, life time.Duration) error {
			_, err := m.Lock(t.Context(), session.ID{n}, session.Owner{n}, life)
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, now := memory()
			for i, step := range []struct {
				at   time.Duration
				want error
			}{
				{0, nil}, // the first call sweeps
				{0, nil},
				{999 * time.Millisecond, session.ErrFull}, // though all have ended
				{time.Second, nil},
				{time.Second, nil},
				{1999 * time.Millisecond, session.ErrFull},
				{2 * time.Second, nil},
			} {
				*now = noon.Add(step.at)
				if err := tt.keep(m, byte(i), 100*time.Millisecond); !errors.Is(err, step.want) {
					t.Errorf("at %v: %v, want %v", step.at, err, step.want)
				}
			}
		})
	}
}

func TestMemoryBuries(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name           string
		claimed, comes time.Duration // from the burial on, which lives a minute
		want           error
	}{
		{"claimed_before", -ms, ms, session.ErrNotFound},
		{"claimed_exactly_now", 0, ms, session.ErrNotFound},
		{"claimed_in_the_same_millisecond", ms - 1, ms, session.ErrNotFound},
		{"claimed_after", ms, ms, nil},
		{"comes_before_its_life_is_over", 0, time.Minute - 1, session.ErrNotFound},
		{"its_life_is_over_exactly_now", 0, time.Minute, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, now := memory()
			if err := m.Bury(t.Context(), time.Minute, session.Index{1}); err != nil {
				t.Fatal(err)
			}
			*now = noon.Add(tt.comes)
			r := until(noon.Add(time.Hour))
			r.Indexes = []session.Index{{1}}
			if err := m.Create(t.Context(), session.ID{1}, r, noon.Add(tt.claimed)); !errors.Is(err, tt.want) {
				t.Errorf("Create = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestMemoryLocks(t *testing.T) {
	alice, bob := session.Owner{1}, session.Owner{2}
	for _, tt := range []struct {
		name   string
		unlock time.Duration // from the lock on, which lives a minute
		after  time.Duration
		owner  session.Owner
		want   bool
	}{
		{"before_its_end", time.Hour, time.Minute - 1, bob, false},
		{"ends_exactly_now", time.Hour, time.Minute, bob, true},
		{"before_the_pause_is_over", 30 * time.Second, 40*time.Second - 1, bob, false},
		{"before_the_pause_is_over_its_owner", 30 * time.Second, 40*time.Second - 1, alice, false},
		{"the_pause_is_over_exactly_now", 30 * time.Second, 40 * time.Second, bob, true},
		{"the_pause_may_outlive_the_lock", 55 * time.Second, 65*time.Second - 1, bob, false},
		{"unlocked_exactly_at_its_end_it_does_not_pause", time.Minute, time.Minute, bob, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, now := memory()
			if ours, err := m.Lock(t.Context(), session.ID{1}, alice, time.Minute); !ours || err != nil {
				t.Fatalf("Lock = %v, %v", ours, err)
			}
			if tt.unlock <= tt.after {
				*now = noon.Add(tt.unlock)
				if err := m.Unlock(t.Context(), session.ID{1}, alice, 10*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			*now = noon.Add(tt.after)
			if ours, err := m.Lock(t.Context(), session.ID{1}, tt.owner, time.Minute); ours != tt.want || err != nil {
				t.Errorf("Lock = %v, %v, want %v", ours, err, tt.want)
			}
		})
	}
}

func TestMemoryClaimsByItsClock(t *testing.T) {
	m, now := memory()
	*now = noon.Add(1234567 * time.Nanosecond)
	at, first, err := m.Claim(t.Context(), session.Claim{1}, time.Minute)
	if want := noon.Add(time.Millisecond); !at.Equal(want) || !first || err != nil {
		t.Errorf("Claim = %v, %v, %v, want %v", at, first, err, want)
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
