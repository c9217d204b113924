package redis

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/session"
)

// The scripts have the keys hot and tokens. Times are in Unix milliseconds; a key
// with PEXPIREAT is there up to and including its millisecond, hence one less.
var (
	// ARGV: hot, tokens, seen, ends, idle, end of both
	createScript = redis.NewScript(`
		local now = redis.call('TIME')
		if tonumber(ARGV[6]) <= now[1] * 1000 + math.floor(now[2] / 1000) then return 'not found' end
		if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
		redis.call('HSET', KEYS[1], 'version', '1', 'sealed', ARGV[1], 'seen', ARGV[3], 'ends', ARGV[4], 'idle', ARGV[5])
		redis.call('SET', KEYS[2], ARGV[2])
		local at = string.format('%.0f', ARGV[6] - 1)
		redis.call('PEXPIREAT', KEYS[1], at)
		redis.call('PEXPIREAT', KEYS[2], at)
		return 'done'`)

	// ARGV: hot, tokens, seen, ends, idle, end of both, version, next version
	replaceScript = redis.NewScript(`
		local now = redis.call('TIME')
		if tonumber(ARGV[6]) <= now[1] * 1000 + math.floor(now[2] / 1000) then return 'not found' end
		local version = redis.call('HGET', KEYS[1], 'version')
		if not version then return 'not found' end
		if version ~= ARGV[7] then return 'conflict' end
		redis.call('HSET', KEYS[1], 'version', ARGV[8], 'sealed', ARGV[1], 'seen', ARGV[3], 'ends', ARGV[4], 'idle', ARGV[5])
		redis.call('SET', KEYS[2], ARGV[2])
		local at = string.format('%.0f', ARGV[6] - 1)
		redis.call('PEXPIREAT', KEYS[1], at)
		redis.call('PEXPIREAT', KEYS[2], at)
		return 'done'`)

	// ARGV: seen
	touchScript = redis.NewScript(`
		local r = redis.call('HMGET', KEYS[1], 'seen', 'ends', 'idle')
		if not (r[1] and r[2] and r[3]) or tonumber(ARGV[1]) <= tonumber(r[1]) then return 0 end
		redis.call('HSET', KEYS[1], 'seen', ARGV[1])
		local at = string.format('%.0f', math.min(ARGV[1] + r[3], r[2]) - 1)
		redis.call('PEXPIREAT', KEYS[1], at)
		redis.call('PEXPIREAT', KEYS[2], at)
		return 1`)
)

// Create implements [session.Store].
func (s *Store) Create(ctx context.Context, id session.ID, r session.Record) error {
	return s.run(ctx, "create", createScript, id, fields(r)...)
}

// Replace implements [session.Store].
func (s *Store) Replace(ctx context.Context, id session.ID, version uint64, r session.Record) error {
	return s.run(ctx, "replace", replaceScript, id, append(fields(r), version, version+1)...)
}

// Load implements [session.Store]. A record that is not one of ours is not found.
func (s *Store) Load(ctx context.Context, id session.ID) (session.Record, error) {
	var values []any
	err := s.twice(ctx, "load", func(ctx context.Context) (err error) {
		values, err = s.client.HMGet(ctx, s.keys(id)[0], "version", "sealed", "seen", "ends", "idle").Result()
		return err
	})
	if err != nil {
		return session.Record{}, err
	}
	r, ok := record(values)
	if !ok {
		return session.Record{}, session.ErrNotFound
	}
	return r, nil
}

// LoadTokens implements [session.Store].
func (s *Store) LoadTokens(ctx context.Context, id session.ID) ([]byte, error) {
	return s.get(ctx, "load tokens", s.keys(id)[1])
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, id session.ID) error {
	return s.twice(ctx, "delete", func(ctx context.Context) error {
		return s.client.Unlink(ctx, s.keys(id)...).Err()
	})
}

// touchBatch is how many sessions are touched in one trip.
const touchBatch = 500

// Touch implements [session.Store]. It goes in batches, each of which has the
// time of an operation; it stops at the first that fails.
func (s *Store) Touch(ctx context.Context, seen map[session.ID]time.Time) error {
	batch := make([]session.ID, 0, min(len(seen), touchBatch))
	for id := range seen {
		if batch = append(batch, id); len(batch) == touchBatch {
			if err := s.touch(ctx, batch, seen); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return ctx.Err()
	}
	return s.touch(ctx, batch, seen)
}

func (s *Store) touch(ctx context.Context, batch []session.ID, seen map[session.ID]time.Time) error {
	return s.once(ctx, "touch", func(ctx context.Context) error {
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			// The first brings the script for the rest, which saves asking for it.
			run := touchScript.Eval
			for _, id := range batch {
				run(ctx, p, s.keys(id), seen[id].UnixMilli())
				run = touchScript.EvalSha
			}
			return nil
		})
		return err
	})
}

// run runs a script over both keys of a session and reads its verdict.
func (s *Store) run(ctx context.Context, operation string, script *redis.Script, id session.ID, args ...any) error {
	var verdict string
	err := s.once(ctx, operation, func(ctx context.Context) (err error) {
		verdict, err = script.Run(ctx, s.client, s.keys(id), args...).Text()
		return err
	})
	if err != nil {
		return err
	}
	switch verdict {
	case "done":
		return nil
	case "exists":
		return session.ErrExists
	case "conflict":
		return session.ErrConflict
	case "not found":
		return session.ErrNotFound
	}
	return fmt.Errorf("session store: %s: answer of an unknown kind", operation)
}

// get returns a value, or session.ErrNotFound.
func (s *Store) get(ctx context.Context, operation, key string) (value []byte, err error) {
	err = s.twice(ctx, operation, func(ctx context.Context) (err error) {
		value, err = s.client.Get(ctx, key).Bytes()
		return err
	})
	return value, err
}

// keys returns the keys of both parts, hot and tokens.
func (s *Store) keys(id session.ID) []string {
	tagged := s.prefix + "{" + hex.EncodeToString(id[:]) + "}"
	return []string{tagged + ":hot", tagged + ":tokens"}
}

// fields returns r as the scripts take it.
func fields(r session.Record) []any {
	return []any{r.Hot, r.Tokens, r.Seen.UnixMilli(), r.Ends.UnixMilli(), r.Idle.Milliseconds(), r.End().UnixMilli()}
}

// record reads what fields wrote.
func record(values []any) (session.Record, bool) {
	var text [5]string
	for i := range text {
		s, ok := values[i].(string)
		if !ok {
			return session.Record{}, false
		}
		text[i] = s
	}
	version, err1 := strconv.ParseUint(text[0], 10, 64)
	seen, err2 := strconv.ParseInt(text[2], 10, 64)
	ends, err3 := strconv.ParseInt(text[3], 10, 64)
	idle, err4 := strconv.ParseInt(text[4], 10, 64)
	return session.Record{
		Version: version,
		Hot:     []byte(text[1]),
		Seen:    time.UnixMilli(seen).UTC(),
		Ends:    time.UnixMilli(ends).UTC(),
		Idle:    time.Duration(idle) * time.Millisecond,
	}, err1 == nil && err2 == nil && err3 == nil && err4 == nil
}
