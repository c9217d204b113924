package envoy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
)

// browser is what a browser sends through Envoy: 22 headers, 1.4 KB.
func browser(form func(string, ...string) *authv3.CheckRequest) *authv3.CheckRequest {
	return form("/orders/17?page=2",
		":method: GET", ":path: /orders/17?page=2", ":authority: app.example", ":scheme: https",
		"accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
		"accept-encoding: gzip, deflate, br, zstd", "accept-language: en-GB,en;q=0.9,fr;q=0.8",
		"cookie: theme=dark; __Host-countersign=3QzV0mT1n2o3p4q5r6s7t8u9v0w1x2y3z4A5B6C7D8E; lang=en",
		"referer: https://app.example/orders", "priority: u=0, i", "cache-control: max-age=0",
		`sec-ch-ua: "Chromium";v="142", "Not=A?Brand";v="24"`, "sec-ch-ua-mobile: ?0", `sec-ch-ua-platform: "Linux"`,
		"sec-fetch-dest: document", "sec-fetch-mode: navigate", "sec-fetch-site: same-origin", "sec-fetch-user: ?1",
		"user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https", "x-request-id: 0b9e3c1e-2f4d-4a55-9a53-0d1a7c8f6f11",
	)
}

// signedIn is the answer of the hot path.
func signedIn() authz.Decision {
	return authz.Decision{
		Outcome: authz.Allow, Reason: authz.SignedIn, ID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", App: "app", Rule: "staff", Subject: "alice",
		Upstream: authz.HeaderEdits{
			Set:    []authz.Field{{Name: authz.AssertionHeader, Value: strings.Repeat("j", 700)}, {Name: "cookie", Value: "theme=dark; lang=en"}},
			Remove: []string{"x-auth-request-user", "x-auth-request-email", "x-forwarded-user", "x-forwarded-email"},
		},
	}
}

// What a check costs here is a promise: one allocation more is found here, not
// in production.
func TestAllocations(t *testing.T) {
	tests := []struct {
		name     string
		in       *authv3.CheckRequest
		deadline bool
		most     float64
	}{
		{"joined", browser(page), false, 9},
		{"raw", browser(raw), false, 10},
		{"joined_with_a_deadline", browser(page), true, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			if tt.deadline {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Hour)
				defer cancel()
			}
			s := &envoy.Server{Checker: always(signedIn())}
			got := testing.AllocsPerRun(1000, func() { _, _ = s.Check(ctx, tt.in) })
			if got > tt.most {
				t.Errorf("%v allocations, want at most %v", got, tt.most)
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	timed, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for _, bb := range []struct {
		name string
		ctx  context.Context
		in   *authv3.CheckRequest
	}{
		{"joined", context.Background(), browser(page)},
		{"raw", context.Background(), browser(raw)},
		{"joined_with_a_deadline", timed, browser(page)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := &envoy.Server{Checker: always(signedIn())}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Check(bb.ctx, bb.in)
			}
		})
	}
}
