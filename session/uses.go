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
	seen map[ID]Use // guarded by mu
}

// Use notes that s was used at now, which it does once in a tenth of s.Idle. It
// never waits for the store; [Vault.Run] tells it later.
func (v *Vault) Use(s Session, now time.Time) {
	if s.State(now) == Ended || now.Sub(s.Seen) < s.Idle/useEvery {
		return
	}
	ahead := v.Store.Ahead()
	if v.uses.note(s.ID, Use{Seen: now.Add(ahead), Ends: s.Ends.Add(ahead), Indexes: v.indexes(s.Identity)}) {
		v.cache().seen(s.ID, now)
	}
}

// Run lets the vault hear of changes at the store, and does what is put off: it
// tells the store about once a second which sessions were used, and seals anew
// what an older key sealed. It ends with ctx, once it has told the last uses,
// within two seconds. What the store did not take is offered again; the error is
// that of the last time.
func (v *Vault) Run(ctx context.Context) error {
	var background sync.WaitGroup
	background.Go(func() { _ = v.Store.Watch(ctx, v.cache()) }) // its error is that of ctx
	background.Go(func() { v.sealAnew(ctx) })
	defer background.Wait()
	return v.tellUses(ctx)
}

func (v *Vault) tellUses(ctx context.Context) error {
	tick := time.NewTicker(flushUses)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			v.flights.sweep(time.Now())
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
		for id, use := range seen {
			v.uses.note(id, use)
		}
	}
	return err
}

// note keeps the latest use of id. It reports false when there is no room.
func (u *uses) note(id ID, use Use) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, pending := u.seen[id]
	if !pending && len(u.seen) >= maxUses {
		return false
	}
	if u.seen == nil {
		u.seen = map[ID]Use{}
	}
	if !pending || use.Seen.After(last.Seen) {
		u.seen[id] = use
	}
	return true
}

// take returns what is pending and forgets it.
func (u *uses) take() map[ID]Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}
