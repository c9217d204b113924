package redis

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/session"
)

// Claim implements [session.Store]. A claim whose answer was lost is nobody's: it
// is not asked for again, because the answer would be that somebody has it.
func (s *Store) Claim(ctx context.Context, c session.Claim, life time.Duration) (bool, error) {
	err := s.once(ctx, "claim", func(ctx context.Context) error {
		if err := s.client.Ping(ctx).Err(); err != nil {
			return err
		}
		return s.client.SetArgs(ctx, s.claimKey(c, "claim"), "", redis.SetArgs{Mode: "NX", TTL: life}).Err()
	})
	if errors.Is(err, session.ErrNotFound) { // NX answers so when there is one
		return false, nil
	}
	return err == nil, err
}

// Settle implements [session.Store].
func (s *Store) Settle(ctx context.Context, c session.Claim, result []byte, life time.Duration) error {
	return s.once(ctx, "settle", func(ctx context.Context) error {
		return s.client.Set(ctx, s.claimKey(c, "result"), result, life).Err()
	})
}

// Settled implements [session.Store].
func (s *Store) Settled(ctx context.Context, c session.Claim) ([]byte, error) {
	return s.get(ctx, "settled", s.claimKey(c, "result"))
}

func (s *Store) claimKey(c session.Claim, part string) string {
	return s.prefix + "{" + hex.EncodeToString(c[:]) + "}:" + part
}
