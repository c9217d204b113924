package session

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	maxUses   = 100_000         // pending uses, some 6 MB; more are dropped
	useEvery  = 10              // a use is noted once per Idle/useEvery
	flushUses = time.Second     // how often they go to the store
	lastFlush = 2 * time.Second // how long the last one may take
)

// uses are the last uses that the store has not been told of yet.
type uses struct {
	mu   sync.Mutex
	seen map[ID]time.Time // guarded by mu
}

// Use notes that s was used at now, and reports whether it did: it does once in a
// tenth of s.Idle, so that a caller who keeps s should then move its Seen to now.
// It never waits for the store; [Vault.Run] tells it later.
func (v *Vault) Use(s Session, now time.Time) bool {
	if s.State(now) == Ended || now.Sub(s.Seen) < s.Idle/useEvery {
		return false
	}
	return v.uses.note(s.ID, now)
}

// Run tells the store about once a second which sessions were used, until ctx
// ends, and then a last time within two seconds. What the store did not take is
// offered again; the error is that of the last time.
func (v *Vault) Run(ctx context.Context) error {
	tick := time.NewTicker(flushUses)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			v.flush(ctx) //nolint:errcheck // the store's own metrics show it, and the uses are kept
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			if err := v.flush(ctx); err != nil {
				return fmt.Errorf("last uses of sessions: %w", err)
			}
			return nil
		}
	}
}

// flush gives all pending uses to the store and takes back what it refused.
func (v *Vault) flush(ctx context.Context) error {
	seen := v.uses.take()
	if len(seen) == 0 {
		return nil
	}
	err := v.Store.Touch(ctx, seen)
	if err != nil {
		for id, at := range seen {
			v.uses.note(id, at)
		}
	}
	return err
}

// note keeps the latest use of id. It reports false when there is no room.
func (u *uses) note(id ID, at time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, pending := u.seen[id]
	if !pending && len(u.seen) >= maxUses {
		return false
	}
	if u.seen == nil {
		u.seen = map[ID]time.Time{}
	}
	if !pending || at.After(last) {
		u.seen[id] = at
	}
	return true
}

// take returns what is pending and forgets it.
func (u *uses) take() map[ID]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}
