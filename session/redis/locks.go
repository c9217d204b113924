package redis

import (
	"context"
	"time"

	"github.com/countersign/countersign/session"
)

// Lock implements [session.Store]. It may be done twice, since the owner's own
// lock is no obstacle.
func (s *Store) Lock(ctx context.Context, id session.ID, owner session.Owner, life time.Duration) (got bool, err error) {
	err = s.twice(ctx, "lock", func(ctx context.Context) (err error) {
		got, err = s.run(ctx, call{lockScript, []string{s.lockKey(id)}, []any{owner[:], millis(life)}}).Bool()
		return err
	})
	return got && err == nil, err
}

// Unlock implements [session.Store].
func (s *Store) Unlock(ctx context.Context, id session.ID, owner session.Owner, pause time.Duration) error {
	return s.twice(ctx, "unlock", func(ctx context.Context) error {
		return s.run(ctx, call{unlockScript, []string{s.lockKey(id)}, []any{owner[:], pause.Milliseconds()}}).Err()
	})
}
