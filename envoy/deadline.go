package envoy

import (
	"context"
	"log/slog"
	"time"

	"github.com/countersign/countersign/authz"
)

// Shares of the time that the caller waits, in percent. The Checker has until
// the first, and should then answer that something gave no answer; at the
// second, that answer is given for it.
const (
	checkShare  = 80
	answerShare = 90
)

// maxLate bounds the checks that run on after their answer. With so many of
// them, something hangs for good, and no further check is begun.
const maxLate = 1000

// decide asks the Checker and answers before the caller's deadline, even if the
// Checker ignores its context: a deadline that passes is a gRPC error to Envoy,
// and where failure_mode_allow is set the request would go on unchecked.
//
// That takes a goroutine per check, since a handler that waits cannot answer. It
// costs, with its timer, 3 µs beside the 30 µs of a no-op in grpc-go. A caller
// without a deadline pays nothing.
func (s *Server) decide(ctx context.Context, req authz.Request) authz.Decision {
	deadline, ok := ctx.Deadline()
	if !ok {
		return s.ask(ctx, req)
	}
	now := time.Now()
	budget := deadline.Sub(now)
	if budget <= 0 {
		return s.unanswered(ctx, errLate)
	}
	if s.late.Load() >= maxLate {
		return s.unanswered(ctx, errStuck)
	}
	ctx, cancel := context.WithDeadline(ctx, now.Add(budget*checkShare/100))
	answer := make(chan authz.Decision, 1)
	s.running.Add(1)
	go func() {
		var d authz.Decision // denies, should the goroutine be ended from within
		defer func() {
			answer <- d // before the end of ctx, which it beats
			cancel()
			s.running.Add(-1)
		}()
		growStack(0)
		d = s.ask(ctx, req)
	}()
	select {
	case d := <-answer:
		return d
	case <-ctx.Done():
		return s.lastCall(ctx, answer, now.Add(budget*answerShare/100))
	}
}

// lastCall waits for an answer until the moment when one must be given.
func (s *Server) lastCall(ctx context.Context, answer chan authz.Decision, end time.Time) authz.Decision {
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	select {
	case d := <-answer:
		return d
	case <-timer.C:
	}
	s.late.Add(1)
	go func() {
		<-answer
		s.late.Add(-1)
	}()
	return s.unanswered(ctx, errLate)
}

// unanswered is the answer for a Checker that gave none.
func (s *Server) unanswered(ctx context.Context, cause error) authz.Decision {
	d := authz.Failed(authz.StoreUnavailable, cause)
	s.log(ctx, slog.LevelError, "answered for a check that did not end", d)
	return d
}

// checkStack is more than a check needs that finds its session at hand.
const checkStack = 8 << 10

// growStack makes the stack of a new goroutine large enough at once, while there
// is next to nothing on it. Otherwise it doubles three times on its way down, and
// each time every frame is copied: that was 10 % of a check's CPU.
//
//go:noinline
func growStack(i int) byte {
	var room [checkStack]byte
	return room[i]
}
