package session

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxFlights   = 10_000                 // under way or paused, in one process
	shortPause   = 3 * time.Second        // after the first question without an answer
	longPause    = 4 * time.Second        // after each further one
	storePause   = 500 * time.Millisecond // after the store gave none
	rememberFail = time.Minute            // how long it counts that one had no answer
)

// errCrowded is the answer when too many sessions are asked about.
var errCrowded = errors.New("session: too many are asked about already")

// flights are the questions to providers that are under way here, one for each
// session, and those that had no answer a moment ago.
type flights struct {
	running atomic.Int64

	mu  sync.Mutex
	all map[ID]*flight // guarded by mu
}

// flight is one question. session and err are set before done is closed.
type flight struct {
	done    chan struct{}
	pause   time.Duration // after no answer, here and on every other replica
	session Session
	err     error

	until    time.Time // no further question before; guarded by flights.mu
	failures int       // in a row; guarded by flights.mu
}

// join returns the flight of a session, and whether the caller has to do it.
func (f *flights) join(now time.Time, id ID) (one *flight, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.all[id]
	switch {
	case last != nil && (last.until.IsZero() || now.Before(last.until)):
		return last, false
	case last == nil && !f.room(now):
		one = &flight{done: make(chan struct{}), err: errCrowded}
		close(one.done)
		return one, false
	}
	one = &flight{done: make(chan struct{})}
	if last != nil {
		one.failures = last.failures
	}
	one.pause = pauseAfter(one.failures)
	if f.all == nil {
		f.all = map[ID]*flight{}
	}
	f.all[id] = one
	f.running.Add(1)
	return one, true
}

// room makes room for one more where there is none: what may be asked again is
// forgotten first. The caller holds mu.
func (f *flights) room(now time.Time) bool {
	if len(f.all) < maxFlights {
		return true
	}
	for id, one := range f.all {
		if !one.until.IsZero() && !now.Before(one.until) {
			delete(f.all, id)
		}
	}
	return len(f.all) < maxFlights
}

// land ends a flight. One without an answer stays there for its pause, which is
// short where it was the store that had none: nobody has asked the provider yet.
func (f *flights) land(now time.Time, id ID, one *flight, s Session, err error) {
	f.mu.Lock()
	one.session, one.err = s, err
	if err == nil || errors.Is(err, ErrNotFound) {
		delete(f.all, id)
	} else if errors.Is(err, errStore) {
		one.until = now.Add(storePause)
	} else {
		one.until = now.Add(one.pause)
		one.failures++
	}
	f.mu.Unlock()
	close(one.done)
	f.running.Add(-1)
}

// pauseAfter is how long nobody asks again after no answer, spread by a half, so
// that a provider that comes back is not met by everybody at once.
func pauseAfter(failures int) time.Duration {
	pause := shortPause
	if failures > 0 {
		pause = longPause
	}
	var chance [2]byte
	rand.Read(chance[:]) // never fails since Go 1.24
	return pause + part(pause/2, chance[:])
}

// sweep forgets failures of some time ago.
func (f *flights) sweep(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, one := range f.all {
		if !one.until.IsZero() && now.Sub(one.until) > rememberFail {
			delete(f.all, id)
		}
	}
}

// Wait returns when no provider is asked about a session any more, or with ctx.
func (v *Vault) Wait(ctx context.Context) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for v.flights.running.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
