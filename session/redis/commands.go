package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// only is a command that the client must not repeat by itself, as one for a
// Cluster would: it may have been done. Redirects it still follows.
type only struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (only) NoRetry() bool { return true }

// do sends one command and waits for its answer.
func (s *Store) do(ctx context.Context, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx, args...)
	s.all(ctx, []*redis.Cmd{cmd}) //nolint:errcheck // cmd has the error
	return cmd
}

// all sends commands in one trip, in a Cluster one to each node, and returns the
// first error that one of them met.
func (s *Store) all(ctx context.Context, cmds []*redis.Cmd) error {
	switch len(cmds) {
	case 0:
		return nil
	case 1:
		err := s.client.Process(ctx, only{cmds[0]})
		if err != nil && cmds[0].Err() == nil {
			cmds[0].SetErr(err)
		}
		return err
	}
	p := s.client.Pipeline()
	for _, cmd := range cmds {
		if err := p.Process(ctx, only{cmd}); err != nil {
			return err
		}
	}
	_, err := p.Exec(ctx)
	return err
}

// script is one step of several commands.
type script struct{ source, hash string }

func newScript(source string) script {
	return script{source, redis.NewScript(source).Hash()}
}

// call is a script to run, and with what. Its keys are in one slot.
type call struct {
	script script
	keys   []string
	args   []any
}

func (c call) command(ctx context.Context, how, what string) *redis.Cmd {
	args := append(make([]any, 0, 3+len(c.keys)+len(c.args)), how, what, len(c.keys))
	for _, key := range c.keys {
		args = append(args, key)
	}
	return redis.NewCmd(ctx, append(args, c.args...)...)
}

// run runs a script, and brings it when Redis does not know it.
func (s *Store) run(ctx context.Context, c call) *redis.Cmd {
	return s.runAll(ctx, []call{c})[0]
}

// slotMoves is how often, and how long, a slot that moves is waited for.
const (
	slotMoves   = 5
	slotMovesIn = 15 * time.Millisecond
)

// runAll runs scripts in one trip. Those that Redis does not know it brings in a
// second one; those whose slot moves it asks again: neither was run.
func (s *Store) runAll(ctx context.Context, calls []call) []*redis.Cmd {
	answers := make([]*redis.Cmd, len(calls))
	var sent []*redis.Cmd
	for i, c := range calls {
		answers[i] = c.command(ctx, "evalsha", c.script.hash)
		sent = append(sent, answers[i])
	}
	for wait := 0; ; {
		if err := s.all(ctx, sent); err == nil {
			return answers
		}
		sent = nil
		moves := false
		for i, c := range calls {
			switch err := answers[i].Err(); {
			case redis.HasErrorPrefix(err, "NOSCRIPT"):
			case isMoving(err):
				moves = true
			default:
				continue
			}
			answers[i] = c.command(ctx, "eval", c.script.source)
			sent = append(sent, answers[i])
		}
		if moves {
			if wait++; wait > slotMoves || sleep(ctx, slotMovesIn) != nil {
				return answers
			}
		}
		if len(sent) == 0 {
			return answers
		}
	}
}

// isMoving reports whether an error says that the keys of a script were not in
// one place, because their slot moves. A script says so before it writes.
func isMoving(err error) bool {
	return err != nil && (redis.HasErrorPrefix(err, "TRYAGAIN") ||
		strings.Contains(err.Error(), "attempted to access a non local key"))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// firstError returns the first error of answers that is not a missing value.
func firstError(answers []*redis.Cmd) error {
	for _, a := range answers {
		if err := a.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}
