package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/session"
)

// Create implements [session.Store]. It lists the session before and after the
// record is there. Before, so that whoever buries an index and looks at its list
// afterwards either finds the record or has it refused here; after, because
// [Store.Find] may meanwhile have taken it for a leftover.
func (s *Store) Create(ctx context.Context, id session.ID, r session.Record, claimed time.Time) error {
	return s.once(ctx, "create", func(ctx context.Context) error {
		if err := s.list(ctx, id, r.Ends, r.Indexes); err != nil {
			return err
		}
		args := append([]any{s.tokensKey(id)}, fields(r)...)
		verdict, there, err := s.decide(ctx, call{createScript, []string{s.hotKey(id)}, args})
		if err != nil {
			return err
		}
		if verdict != nil {
			s.unlist(ctx, id, without(r.Indexes, there))
			return verdict
		}
		buried, err := s.listUnlessBuried(ctx, id, r, claimed)
		if err != nil || !buried {
			return err
		}
		if _, err := s.forget(ctx, []session.ID{id}); err != nil {
			return err
		}
		s.unlist(ctx, id, r.Indexes)
		return session.ErrNotFound
	})
}

// Replace implements [session.Store].
func (s *Store) Replace(ctx context.Context, id session.ID, version uint64, r session.Record) error {
	return s.once(ctx, "replace", func(ctx context.Context) error {
		args := append(fields(r), version, version+1, s.channel, message(id, version+1))
		verdict, old, err := s.decide(ctx, call{replaceScript, s.keys(id), args})
		if err != nil || verdict != nil {
			return errors.Join(err, verdict)
		}
		// It is done. What the lists miss now, the next Touch repairs.
		s.list(ctx, id, r.Ends, r.Indexes) //nolint:errcheck // see above
		s.unlist(ctx, id, without(old, r.Indexes))
		return nil
	})
}

// decide runs a script that answers with a verdict and the indexes of a record.
func (s *Store) decide(ctx context.Context, c call) (verdict error, indexes []session.Index, err error) {
	answer, err := s.run(ctx, c).StringSlice()
	if err != nil {
		return nil, nil, err
	}
	if len(answer) == 2 {
		indexes = split(answer[1])
	}
	if len(answer) > 0 {
		switch answer[0] {
		case "done":
			return nil, indexes, nil
		case "exists":
			return session.ErrExists, indexes, nil
		case "conflict":
			return session.ErrConflict, nil, nil
		case "not found":
			return session.ErrNotFound, nil, nil
		}
	}
	return nil, nil, errUnknownAnswer
}

// errUnknownAnswer means that what answers is not a Redis as we know it.
var errUnknownAnswer = errors.New("answer of an unknown kind")

// Load implements [session.Store]. A record that is not one of ours is not found.
func (s *Store) Load(ctx context.Context, id session.ID) (session.Record, error) {
	var values []any
	err := s.twice(ctx, "load", func(ctx context.Context) (err error) {
		values, err = s.do(ctx, "hmget", s.hotKey(id), "version", "sealed", "seen", "ends", "idle").Slice()
		return err
	})
	if err != nil {
		return session.Record{}, err
	}
	text, ok := texts(values)
	if !ok || len(text) != 5 {
		return session.Record{}, session.ErrNotFound
	}
	return record(text[0], text[1], text[2], text[3], text[4])
}

// LoadWhole implements [session.Store].
func (s *Store) LoadWhole(ctx context.Context, id session.ID) (session.Record, error) {
	var values []any
	err := s.twice(ctx, "load whole", func(ctx context.Context) (err error) {
		values, err = s.run(ctx, call{loadWholeScript, s.keys(id), nil}).Slice()
		return err
	})
	if err != nil {
		return session.Record{}, err
	}
	text, ok := texts(values)
	if !ok || len(text) != 7 {
		return session.Record{}, session.ErrNotFound
	}
	r, err := record(text[0], text[1], text[2], text[3], text[4])
	if err == nil {
		r.Display, r.Tokens = []byte(text[5]), []byte(text[6])
	}
	return r, err
}

// batch is how many sessions are asked for in one trip.
const batch = 500

// Delete implements [session.Store]. It goes in batches, each of which has the
// time of an operation, and stops at the first that fails; the number is of those
// that it knows of.
func (s *Store) Delete(ctx context.Context, ids ...session.ID) (int, error) {
	n := 0
	for first := 0; first < len(ids); first += batch {
		ids := ids[first:min(first+batch, len(ids))]
		err := s.twice(ctx, "delete", func(ctx context.Context) error {
			deleted, err := s.forget(ctx, ids)
			n += deleted
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, over(ctx)
}

// forget removes records, tells of it, and takes them out of their lists as well
// as it can: what stays there is found by nobody, and ends with its list.
func (s *Store) forget(ctx context.Context, ids []session.ID) (int, error) {
	calls := make([]call, len(ids))
	for i, id := range ids {
		calls[i] = call{deleteScript, s.keys(id), []any{s.channel, message(id, 0)}}
	}
	answers := s.runAll(ctx, calls)
	n := 0
	var leave []*redis.Cmd
	for i, id := range ids {
		values, err := answers[i].Slice()
		if err != nil || len(values) != 2 {
			continue
		}
		if was, _ := values[0].(int64); was > 0 {
			n++
		}
		indexes, _ := values[1].(string)
		for _, index := range split(indexes) {
			leave = append(leave, s.leave(ctx, index, id))
		}
	}
	s.all(ctx, leave) //nolint:errcheck // see above
	return n, firstError(answers)
}

// Touch implements [session.Store]. It goes in batches, each of which has the
// time of an operation. One that fails does not keep the others from being done:
// in a Cluster, it may be the fault of one node.
func (s *Store) Touch(ctx context.Context, uses map[session.ID]session.Use) error {
	var failed error
	for ids := range slices.Chunk(slices.Collect(maps.Keys(uses)), batch) {
		if err := s.touch(ctx, ids, uses); err != nil {
			failed = err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return failed
}

func (s *Store) touch(ctx context.Context, ids []session.ID, uses map[session.ID]session.Use) error {
	return s.once(ctx, "touch", func(ctx context.Context) error {
		calls := make([]call, len(ids))
		for i, id := range ids {
			calls[i] = call{touchScript, s.keys(id), []any{uses[id].Seen.UnixMilli()}}
		}
		answers := s.runAll(ctx, calls)
		var lists []call
		for i, answer := range answers {
			if there, err := answer.Bool(); err != nil || !there {
				continue
			}
			for _, index := range uses[ids[i]].Indexes {
				lists = append(lists, s.listing(index, ids[i], uses[ids[i]].Ends))
			}
		}
		listed := s.runAll(ctx, lists)
		return errors.Join(firstError(answers), firstError(listed))
	})
}

// fields returns r as the scripts take it.
func fields(r session.Record) []any {
	return []any{
		r.Hot, r.Tokens, r.Display, concat(r.Indexes),
		r.Seen.UnixMilli(), r.Ends.UnixMilli(), r.Idle.Milliseconds(), r.End().UnixMilli(),
	}
}

// texts returns values if all of them are there.
func texts(values []any) ([]string, bool) {
	text := make([]string, len(values))
	for i, v := range values {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		text[i] = s
	}
	return text, true
}

// record reads what fields wrote, or returns session.ErrNotFound.
func record(version, hot, seen, ends, idle string) (session.Record, error) {
	v, err1 := strconv.ParseUint(version, 10, 64)
	at, err2 := strconv.ParseInt(seen, 10, 64)
	end, err3 := strconv.ParseInt(ends, 10, 64)
	wait, err4 := strconv.ParseInt(idle, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return session.Record{}, session.ErrNotFound
	}
	return session.Record{
		Version: v,
		Hot:     []byte(hot),
		Seen:    time.UnixMilli(at).UTC(),
		Ends:    time.UnixMilli(end).UTC(),
		Idle:    time.Duration(wait) * time.Millisecond,
	}, nil
}

// message tells on the channel of a deletion, then the version is 0, or of a
// replacement.
func message(id session.ID, version uint64) string {
	return fmt.Sprintf("%x %d", id[:], version)
}
