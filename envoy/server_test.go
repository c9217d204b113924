package envoy_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
)

func TestPanic(t *testing.T) {
	tests := []struct {
		name, logged string
		throw        func(authz.Request)
	}{
		{"with_a_value", "panic=string", func(req authz.Request) { panic(req.Header.Get("cookie")) }},
		{"of_the_runtime", "index out of range", func(req authz.Request) { _ = req.Header[len(req.Header)] }},
	}
	for _, tt := range tests {
		for _, wait := range []time.Duration{0, time.Minute} {
			t.Run(tt.name, func(t *testing.T) {
				var log bytes.Buffer
				var panics int
				s := &envoy.Server{
					Checker: checker(func(_ context.Context, req authz.Request) authz.Decision {
						tt.throw(req)
						return authz.Decision{Outcome: authz.Allow}
					}),
					Log:      slog.New(slog.NewTextHandler(&log, nil)),
					Panicked: func() { panics++ },
				}
				out := checkWithin(t, s, wait, page("/", "cookie: s3cret"))
				isFailure(t, out, authz.Internal, 500)
				if panics != 1 {
					t.Errorf("%d panics counted, want 1", panics)
				}
				if !strings.Contains(log.String(), tt.logged) || !strings.Contains(log.String(), "server_test.go") {
					t.Errorf("log lacks %q or the stack: %s", tt.logged, &log)
				}
				if strings.Contains(log.String(), "s3cret") {
					t.Errorf("log quotes the request: %s", &log)
				}
			})
		}
	}
}

// checkWithin asks with a deadline, or with none if wait is 0.
func checkWithin(t *testing.T, s *envoy.Server, wait time.Duration, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	ctx := t.Context()
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	out, err := s.Check(ctx, in)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	mustHold(t, out)
	return out
}

const patience = 200 * time.Millisecond // Envoy's default

func TestDeadline(t *testing.T) {
	allow := authz.Decision{Outcome: authz.Allow, Reason: authz.SignedIn}
	tests := []struct {
		name   string
		check  checker
		after  time.Duration
		status int // 0: allowed
	}{
		{"answer_in_time", always(allow), 0, 0},
		{"context_ends_at_80_percent", func(ctx context.Context, _ authz.Request) authz.Decision {
			<-ctx.Done()
			return authz.Failed(authz.ProviderUnavailable, ctx.Err())
		}, 160 * time.Millisecond, 503},
		{"late_answer_still_counts_before_90_percent", func(context.Context, authz.Request) authz.Decision {
			time.Sleep(179 * time.Millisecond)
			return allow
		}, 179 * time.Millisecond, 0},
		{"context_ignored", func(context.Context, authz.Request) authz.Decision {
			time.Sleep(time.Hour)
			return allow
		}, 180 * time.Millisecond, 503},
		{"goroutine_ended_from_within", func(context.Context, authz.Request) authz.Decision {
			runtime.Goexit()
			return allow
		}, 0, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, began := serving(tt.check), time.Now()
				out := checkWithin(t, s, patience, page("/"))
				if got := time.Since(began); got != tt.after {
					t.Errorf("answered after %v, want %v", got, tt.after)
				}
				if got := int(out.GetDeniedResponse().GetStatus().GetCode()); got != tt.status {
					t.Errorf("status %d, want %d", got, tt.status)
				}
				if err := s.Wait(t.Context()); err != nil {
					t.Errorf("Wait: %v", err)
				}
			})
		})
	}
}

// A caller that has gone already is not kept waiting for, and nothing is begun.
func TestDeadlinePassed(t *testing.T) {
	s := serving(func(context.Context, authz.Request) authz.Decision { panic("asked") })
	isFailure(t, checkWithin(t, s, time.Nanosecond, page("/")), authz.StoreUnavailable, 503)
}

// A Checker that hangs for good does not take all memory with it.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int32
		hang := make(chan struct{})
		s := serving(func(context.Context, authz.Request) authz.Decision {
			begun.Add(1)
			<-hang
			return authz.Decision{Outcome: authz.Allow}
		})
		for range 1100 {
			isFailure(t, checkWithin(t, s, patience, page("/")), authz.StoreUnavailable, 503)
		}
		if got := begun.Load(); got != 1000 {
			t.Errorf("%d checks begun, want 1000", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s.Wait(ctx) == nil {
			t.Error("Wait returned while checks run")
		}
		close(hang)
		if err := s.Wait(t.Context()); err != nil {
			t.Errorf("Wait: %v", err)
		}
		if out := checkWithin(t, s, patience, page("/")); !allows(out) {
			t.Error("denied although nothing hangs any more")
		}
	})
}
