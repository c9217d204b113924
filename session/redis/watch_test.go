package redis_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/session"
)

// listener remembers what a Store tells it.
type listener struct {
	t *testing.T

	mu      sync.Mutex
	changes map[session.ID]uint64 // the last version; guarded by mu
	losses  int                   // guarded by mu
	until   time.Time             // heard; guarded by mu
	order   []string              // of losses and what was heard; guarded by mu
}

func (l *listener) Changed(id session.ID, version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes[id] = version
}

func (l *listener) Lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses++
	l.order = append(l.order, "lost")
}

func (l *listener) Heard(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !at.After(l.until) || at.After(time.Now()) {
		l.t.Errorf("Heard(%v) after Heard(%v)", at, l.until)
	}
	l.until = at
	l.order = append(l.order, "heard")
}

// watch watches a store until the test ends, or ctx does.
func watch(ctx context.Context, t *testing.T, store session.Store) *listener {
	t.Helper()
	l := &listener{t: t, changes: map[session.ID]uint64{}}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- store.Watch(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Watch = %v, want %v", err, context.Canceled)
			}
		case <-time.After(10 * time.Second):
			t.Error("Watch does not end with its context")
		}
	})
	return l
}

// patience is how long a test waits for what comes at once on an idle machine.
const patience = 20 * time.Second

func (l *listener) eventually(what string, holds func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		ok := holds()
		l.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// heard waits until all that happened before a moment was told.
func (l *listener) heard(at time.Time) {
	l.t.Helper()
	l.eventually("all is heard", func() bool { return l.until.After(at) })
}

func (l *listener) version(id session.ID) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.changes[id]
	return v, ok
}

func (l *listener) lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses
}
