package redis

import (
	"context"
	"encoding/hex"
	"iter"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/session"
)

// pageSize is about how many keys Redis looks at for one page of a List.
const pageSize = 500

// List implements [session.Store]. Each page has the time of an operation. In a
// Cluster it asks one master after the other; a session whose slot moves
// meanwhile may be missed.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[session.Listed, error] {
	return func(yield func(session.Listed, error) bool) {
		masters, err := s.masters(ctx)
		for _, m := range masters {
			var cursor uint64
			for more := true; more && err == nil; more = cursor != 0 {
				var page []session.Listed
				if page, cursor, err = s.page(ctx, m, prefix, cursor); err != nil {
					break
				}
				for _, l := range page {
					if !yield(l, nil) {
						return
					}
				}
			}
		}
		if err != nil {
			yield(session.Listed{}, err)
		}
	}
}

// page returns some of the sessions that a node has, and where to go on.
func (s *Store) page(ctx context.Context, m *redis.Client, prefix string, cursor uint64) (page []session.Listed, next uint64, err error) {
	err = s.twice(ctx, "list", func(ctx context.Context) error {
		keys, at, err := m.Scan(ctx, cursor, escape(s.prefix+"{"+prefix)+"*}:hot", pageSize).Result()
		if err != nil {
			return err
		}
		answers := make([]*redis.Cmd, len(keys))
		for i, key := range keys {
			answers[i] = redis.NewCmd(ctx, "hmget", key, "version", "seen", "ends", "idle", "display")
		}
		if err := s.all(ctx, answers); err != nil {
			return err
		}
		page, next = page[:0], at
		for i, key := range keys {
			if l, ok := s.listed(key, answers[i]); ok {
				page = append(page, l)
			}
		}
		return nil
	})
	return page, next, err
}

// listed reads what a key holds, if it is one of ours and still there.
func (s *Store) listed(key string, answer *redis.Cmd) (session.Listed, bool) {
	var l session.Listed
	name := strings.TrimSuffix(strings.TrimPrefix(key, s.prefix+"{"), "}:hot")
	if len(name) != hex.EncodedLen(len(l.ID)) {
		return l, false
	}
	if _, err := hex.Decode(l.ID[:], []byte(name)); err != nil {
		return l, false
	}
	values, err := answer.Slice()
	if err != nil {
		return l, false
	}
	text, ok := texts(values)
	if !ok || len(text) != 5 {
		return l, false
	}
	l.Record, err = record(text[0], "", text[1], text[2], text[3])
	l.Record.Hot, l.Record.Display = nil, []byte(text[4])
	return l, err == nil
}

// masters returns a client for each node that takes writes.
func (s *Store) masters(ctx context.Context) ([]*redis.Client, error) {
	if s.cluster == nil {
		one, ok := s.client.(*redis.Client)
		if !ok {
			return nil, errUnknownAnswer
		}
		return []*redis.Client{one}, nil
	}
	var (
		mu  sync.Mutex
		all []*redis.Client
	)
	err := s.twice(ctx, "list", func(ctx context.Context) error {
		all = nil
		return s.cluster.ForEachMaster(ctx, func(_ context.Context, m *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, m)
			return nil
		})
	})
	return all, err
}

// escape makes a text match itself only, in a pattern of Redis.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
