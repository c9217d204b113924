package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/countersign/countersign/session"
)

// Claim implements [session.Store]. A claim whose answer was lost is nobody's: it
// is not asked for again, because the answer would be that somebody has it. To
// ask for the time first tells whether the connection is still good.
func (s *Store) Claim(ctx context.Context, c session.Claim, life time.Duration) (time.Time, bool, error) {
	var now time.Time
	err := s.once(ctx, "claim", func(ctx context.Context) (err error) {
		if now, err = s.time(ctx); err != nil {
			return err
		}
		return s.do(ctx, "set", s.claimKey(c), "", "px", millis(life), "nx").Err()
	})
	switch {
	case errors.Is(err, session.ErrNotFound): // NX answers so when there is one
		return time.Time{}, false, nil
	case err != nil:
		return time.Time{}, false, err
	}
	return now, true, nil
}

// Settle implements [session.Store].
func (s *Store) Settle(ctx context.Context, c session.Claim, result []byte, life time.Duration) error {
	return s.once(ctx, "settle", func(ctx context.Context) error {
		return s.do(ctx, "set", s.resultKey(c), result, "px", millis(life)).Err()
	})
}

// Settled implements [session.Store].
func (s *Store) Settled(ctx context.Context, c session.Claim) (result []byte, err error) {
	err = s.twice(ctx, "settled", func(ctx context.Context) error {
		text, err := s.do(ctx, "get", s.resultKey(c)).Text()
		result = []byte(text)
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// time asks for the time of the store, and notes how far it is ahead of ours.
func (s *Store) time(ctx context.Context) (time.Time, error) {
	asked := time.Now()
	parts, err := s.do(ctx, "time").StringSlice()
	if err != nil {
		return time.Time{}, err
	}
	if len(parts) != 2 {
		return time.Time{}, errUnknownAnswer
	}
	seconds, err1 := strconv.ParseInt(parts[0], 10, 64)
	micros, err2 := strconv.ParseInt(parts[1], 10, 64)
	if err1 != nil || err2 != nil {
		return time.Time{}, errUnknownAnswer
	}
	now := time.UnixMicro(seconds*1e6 + micros).UTC()
	s.ahead.Store(int64(now.Sub(asked.Add(time.Since(asked) / 2))))
	return now.Truncate(time.Millisecond), nil
}

// Ahead implements [session.Store]. It is measured at each Claim, and by Watch. In
// a Cluster it is that of any node.
func (s *Store) Ahead() time.Duration {
	if d := time.Duration(s.ahead.Load()); d.Abs() >= time.Second {
		return d
	}
	return 0
}
