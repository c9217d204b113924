package envoy_test

import (
	"context"
	"log/slog"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checker answers as the function does.
type checker func(context.Context, authz.Request) authz.Decision

func (c checker) Check(ctx context.Context, req authz.Request) authz.Decision { return c(ctx, req) }

// always answers d.
func always(d authz.Decision) checker {
	return func(context.Context, authz.Request) authz.Decision { return d }
}

// serving is a server that asks c.
func serving(c checker) *envoy.Server {
	return &envoy.Server{Checker: c, Log: slog.New(slog.DiscardHandler)}
}

// check asks s, and holds the answer against what every answer must keep to.
func check(t *testing.T, s *envoy.Server, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	out, err := s.Check(t.Context(), in)
	if err != nil {
		t.Fatalf("Check returned an error, which obeys failure_mode_allow: %v", err)
	}
	mustHold(t, out)
	return out
}

// mustHold is what is true of every response.
func mustHold(t *testing.T, out *authv3.CheckResponse) {
	t.Helper()
	if out == nil || out.GetStatus() == nil || out.GetHttpResponse() == nil {
		t.Fatalf("Check = %v: an empty response allows", out)
	}
	if out.GetErrorResponse() != nil {
		t.Errorf("Check = %v: an error_response obeys failure_mode_allow", out)
	}
	if allows(out) != (out.GetOkResponse() != nil) {
		t.Errorf("Check: code %v with a %T", out.GetStatus().GetCode(), out.GetHttpResponse())
	}
	if _, err := proto.Marshal(out); err != nil {
		t.Errorf("Check: the response cannot be encoded: %v", err)
	}
	denied := out.GetDeniedResponse()
	if status := denied.GetStatus().GetCode(); denied != nil && (status < 200 || status > 599) {
		t.Errorf("Check: denied with status %d", status)
	}
	for _, h := range append(out.GetOkResponse().GetHeaders(), denied.GetHeaders()...) {
		wellFormed(t, h.GetHeader().GetKey(), h.GetHeader().GetValue())
	}
	for _, name := range out.GetOkResponse().GetHeadersToRemove() {
		wellFormed(t, name, "")
	}
}

func wellFormed(t *testing.T, name, value string) {
	t.Helper()
	for _, c := range []byte(name) {
		if c <= ' ' || c == ':' || c >= 0x7f || 'A' <= c && c <= 'Z' {
			t.Errorf("Check: header name %q", name)
		}
	}
	for _, c := range []byte(value) {
		if c == '\r' || c == '\n' || c == 0 {
			t.Errorf("Check: %s: %q breaks out of its line", name, value)
		}
	}
}

func allows(out *authv3.CheckResponse) bool {
	return out.GetStatus().GetCode() == int32(codes.OK)
}
