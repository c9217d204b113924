// Package envoy answers Envoy's external authorization requests (ext_authz v3
// over gRPC) and writes the Envoy configuration that asks them.
package envoy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/countersign/countersign/authz"
)

// Server is envoy.service.auth.v3.Authorization: it puts each CheckRequest to
// its Checker. It always answers, with nil as error, and with a response that
// says explicitly allowed or denied: a gRPC error and an error_response both
// obey failure_mode_allow, and an empty response allows.
//
// Checker must be set. A Server is safe for concurrent use and must not be
// copied.
type Server struct {
	Checker  authz.Checker
	Log      *slog.Logger // nil: nothing is logged
	Panicked func()       // called once per panic that was recovered; nil: nothing

	running atomic.Int64 // checks under way
	late    atomic.Int64 // of these, checks that were answered for before they ended
}

var _ authv3.AuthorizationServer = (*Server)(nil)

var (
	errPanic = errors.New("envoy: panic during the check")
	errLate  = errors.New("envoy: no answer before the caller's deadline")
	errStuck = errors.New("envoy: too many checks that do not end")
)

// Check answers in. Its error is always nil.
func (s *Server) Check(ctx context.Context, in *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	req, err := readRequest(in)
	return s.write(ctx, req, s.check(ctx, req, err)), nil
}

// check decides about a request, or about a message that holds none.
func (s *Server) check(ctx context.Context, req authz.Request, unread error) (d authz.Decision) {
	defer func() {
		if v := recover(); v != nil {
			d = s.recovered(ctx, v)
		}
	}()
	if unread != nil {
		return s.refuse(ctx, unread)
	}
	return s.decide(ctx, req)
}

// Wait returns when no check is running any more, or with ctx. A check can
// outlive its answer: see [Server.Check] and the caller's deadline.
func (s *Server) Wait(ctx context.Context) error {
	tick := time.NewTicker(waitPoll)
	defer tick.Stop()
	for s.running.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// waitPoll is how often Wait looks. It need not be quick, and a sync.WaitGroup
// does not allow a check to begin while somebody waits.
const waitPoll = 10 * time.Millisecond

// refuse answers a message that says nothing about a request. The Checker is
// asked about the zero Request, which is malformed, so that the answer is logged
// and counted where all are.
func (s *Server) refuse(ctx context.Context, cause error) authz.Decision {
	d := s.decide(ctx, authz.Request{})
	if d.Outcome == authz.Allow {
		d = authz.Failed(authz.Malformed, cause)
	}
	d.Cause = cause
	s.log(ctx, slog.LevelDebug, "message says nothing about a request", d)
	return d
}

// write turns d into a response, or into a failure if it cannot be written.
func (s *Server) write(ctx context.Context, req authz.Request, d authz.Decision) *authv3.CheckResponse {
	out, err := response(req, d)
	if err == nil {
		return out
	}
	failed := authz.Failed(authz.Internal, fmt.Errorf("decision %s: %w", d.ID, err))
	s.log(ctx, slog.LevelError, "decision replaced", failed)
	out, _ = response(req, failed) // Failed writes headers of its own only
	return out
}

// ask puts req to the Checker, and turns a panic into a failure.
func (s *Server) ask(ctx context.Context, req authz.Request) (d authz.Decision) {
	defer func() {
		if v := recover(); v != nil {
			d = s.recovered(ctx, v)
		}
	}()
	return s.Checker.Check(ctx, req)
}

// recovered reports a panic. What was thrown may quote the request, so only the
// runtime's own words for it are logged, else its type.
func (s *Server) recovered(ctx context.Context, thrown any) authz.Decision {
	d := authz.Failed(authz.Internal, errPanic)
	what := fmt.Sprintf("%T", thrown)
	if err, ok := thrown.(runtime.Error); ok {
		what = err.Error()
	}
	s.log(ctx, slog.LevelError, "panic", d, slog.String("panic", what), slog.String("stack", string(debug.Stack())))
	if s.Panicked != nil {
		s.Panicked()
	}
	return d
}

func (s *Server) log(ctx context.Context, level slog.Level, msg string, d authz.Decision, more ...slog.Attr) {
	if s.Log == nil {
		return
	}
	attrs := append([]slog.Attr{
		slog.String("decision", d.ID),
		slog.String("reason", string(d.Reason)),
		slog.String("cause", d.Cause.Error()),
	}, more...)
	s.Log.LogAttrs(ctx, level, msg, attrs...) //nolint:sloglint // callers pass constants
}
