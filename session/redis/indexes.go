package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/session"
)

// listing is the call that lists a session under an index until its end.
func (s *Store) listing(index session.Index, id session.ID, ends time.Time) call {
	return call{listScript, []string{s.indexKey(index)}, []any{id[:], ends.UnixMilli()}}
}

// leave is the command that takes a session out of a list.
func (s *Store) leave(ctx context.Context, index session.Index, id session.ID) *redis.Cmd {
	return redis.NewCmd(ctx, "zrem", s.indexKey(index), id[:])
}

func (s *Store) list(ctx context.Context, id session.ID, ends time.Time, indexes []session.Index) error {
	calls := make([]call, len(indexes))
	for i, index := range indexes {
		calls[i] = s.listing(index, id, ends)
	}
	return firstError(s.runAll(ctx, calls))
}

// unlist takes a session out of lists as well as it can: what stays there is
// found by nobody, and ends with its list.
func (s *Store) unlist(ctx context.Context, id session.ID, indexes []session.Index) {
	cmds := make([]*redis.Cmd, len(indexes))
	for i, index := range indexes {
		cmds[i] = s.leave(ctx, index, id)
	}
	s.all(ctx, cmds) //nolint:errcheck // see above
}

// listUnlessBuried reports whether one of r's indexes was buried since it was
// claimed, and lists the session otherwise.
func (s *Store) listUnlessBuried(ctx context.Context, id session.ID, r session.Record, claimed time.Time) (bool, error) {
	tombs := make([]*redis.Cmd, len(r.Indexes))
	for i, index := range r.Indexes {
		tombs[i] = redis.NewCmd(ctx, "get", s.buriedKey(index))
	}
	if err := s.all(ctx, tombs); err != nil && !errors.Is(err, redis.Nil) {
		return false, err
	}
	for _, tomb := range tombs {
		text, err := tomb.Text()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return false, err
		}
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return false, errUnknownAnswer
		}
		if at >= claimed.UnixMilli() {
			return true, nil
		}
	}
	return false, s.list(ctx, id, r.Ends, r.Indexes)
}

// Bury implements [session.Store]. In a Cluster, the moment is that of the node
// that has the index: the clocks of the nodes must agree.
func (s *Store) Bury(ctx context.Context, life time.Duration, indexes ...session.Index) error {
	calls := make([]call, len(indexes))
	for i, index := range indexes {
		calls[i] = call{buryScript, []string{s.buriedKey(index)}, []any{millis(life)}}
	}
	return s.twice(ctx, "bury", func(ctx context.Context) error { return firstError(s.runAll(ctx, calls)) })
}

// Find implements [session.Store]. It removes from the list what is no more.
func (s *Store) Find(ctx context.Context, index session.Index) ([]session.ID, error) {
	var found []session.ID
	err := s.twice(ctx, "find", func(ctx context.Context) error {
		listed, err := s.do(ctx, "zrange", s.indexKey(index), 0, -1).StringSlice()
		if err != nil {
			return err
		}
		found = nil
		for ids := range slices.Chunk(parseIDs(listed), batch) {
			ends, err := s.ends(ctx, ids)
			if err != nil {
				return err
			}
			var dead []session.ID
			for _, id := range ids {
				if _, live := ends[id]; live {
					found = append(found, id)
				} else {
					dead = append(dead, id)
				}
			}
			found = append(found, s.repair(ctx, index, dead)...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// ends returns the absolute ends of those sessions that are there.
func (s *Store) ends(ctx context.Context, ids []session.ID) (map[session.ID]time.Time, error) {
	answers := make([]*redis.Cmd, len(ids))
	for i, id := range ids {
		answers[i] = redis.NewCmd(ctx, "hget", s.hotKey(id), "ends")
	}
	if err := s.all(ctx, answers); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	ends := make(map[session.ID]time.Time, len(ids))
	for i, answer := range answers {
		text, err := answer.Text()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
			ends[ids[i]] = time.UnixMilli(ms)
		}
	}
	return ends, nil
}

// repair takes sessions that are no more out of a list, as well as it can. It
// lists those again that have come meanwhile, and returns them: Create does so,
// too, unless it has done it already.
func (s *Store) repair(ctx context.Context, index session.Index, dead []session.ID) (come []session.ID) {
	cmds := make([]*redis.Cmd, len(dead))
	for i, id := range dead {
		cmds[i] = s.leave(ctx, index, id)
	}
	s.all(ctx, cmds) //nolint:errcheck // see above
	ends, err := s.ends(ctx, dead)
	if err != nil {
		return nil
	}
	for id, end := range ends {
		s.list(ctx, id, end, []session.Index{index}) //nolint:errcheck // the next Touch does it
		come = append(come, id)
	}
	return come
}

// concat writes indexes as one text, which split reads.
func concat(indexes []session.Index) []byte {
	text := make([]byte, 0, len(indexes)*len(session.Index{}))
	for _, index := range indexes {
		text = append(text, index[:]...)
	}
	return text
}

func split(text string) []session.Index {
	var indexes []session.Index
	for part := range slices.Chunk([]byte(text), len(session.Index{})) {
		if len(part) == len(session.Index{}) {
			indexes = append(indexes, session.Index(part))
		}
	}
	return indexes
}

// without returns those of all that are not among some.
func without(all, some []session.Index) []session.Index {
	return slices.DeleteFunc(slices.Clone(all), func(i session.Index) bool { return slices.Contains(some, i) })
}

func parseIDs(members []string) []session.ID {
	ids := make([]session.ID, 0, len(members))
	for _, m := range members {
		if len(m) == len(session.ID{}) {
			ids = append(ids, session.ID([]byte(m)))
		}
	}
	return ids
}
