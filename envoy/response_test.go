package envoy_test

import (
	"net/http"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/countersign/countersign/authz"
)

// edit is how a header of the request is replaced.
func edit(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header: &corev3.HeaderValue{Key: name, Value: value}, Append: wrapperspb.Bool(false), //nolint:staticcheck // the field that released Envoys read
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// one is how a header of an answer is set.
func one(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// more is how one of several lines is added to an answer.
func more(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
}

func lets(ok *authv3.OkHttpResponse) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: ok},
		DynamicMetadata: &structpb.Struct{},
	}
}

func stops(code codes.Code, status int, body string, headers ...*corev3.HeaderValueOption) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(code)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Body: body, Headers: headers,
		}},
		DynamicMetadata: &structpb.Struct{},
	}
}

func TestResponse(t *testing.T) {
	const (
		denies = codes.PermissionDenied
		nobody = codes.Unauthenticated
		broken = codes.Unavailable
	)
	grpcCall := raw("/pkg.Service/Method", "content-type: application/grpc+proto")
	tests := []struct {
		name string
		in   *authv3.CheckRequest
		d    authz.Decision
		want *authv3.CheckResponse
	}{
		{"zero_decision_denies", page("/"), authz.Decision{}, stops(denies, 403, "")},
		{"allow", page("/"), authz.Decision{Outcome: authz.Allow, Status: 200}, lets(&authv3.OkHttpResponse{})},
		{"allow_with_edits", page("/"), authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{
			Set: []authz.Field{{Name: "x-countersign-assertion", Value: "jwt"}, {Name: "Cookie", Value: "a=1"}}, Remove: []string{"x-auth-user", "X_Auth.User"},
		}}, lets(&authv3.OkHttpResponse{
			Headers:         []*corev3.HeaderValueOption{edit("x-countersign-assertion", "jwt"), edit("cookie", "a=1")},
			HeadersToRemove: []string{"x-auth-user", "x_auth.user"},
		})},
		{"client_headers_of_an_allow_are_not_sent", page("/"), authz.Decision{Outcome: authz.Allow, Client: http.Header{"Set-Cookie": {"a=1"}}}, lets(&authv3.OkHttpResponse{})},
		{"unknown_outcome_denies", page("/"), authz.Decision{Outcome: 9}, stops(denies, 403, "")},
		{"login_required", page("/"), authz.Decision{Status: 401}, stops(nobody, 401, "")},
		{"too_early", page("/"), authz.Decision{Status: 425}, stops(denies, 425, "")},
		{"answer_with_status_200_still_denies", page("/"), authz.Decision{Outcome: authz.Respond, Status: 200, Body: []byte("hi")}, stops(denies, 200, "hi")},
		{"fault", page("/"), authz.Decision{Outcome: authz.Fail, Status: 503, Client: http.Header{"Retry-After": {"5"}}}, stops(broken, 503, "", one("retry-after", "5"))},
		{"redirect_with_cookies", page("/"), authz.Decision{Outcome: authz.Redirect, Status: 302, Client: http.Header{
			"Set-Cookie": {"a=1; Path=/", "b=2; Path=/"}, "Location": {"https://idp.example/?a,b"}, "Cache-Control": {"no-store"},
		}}, stops(denies, 302, "", one("cache-control", "no-store"), one("location", "https://idp.example/?a,b"), more("set-cookie", "a=1; Path=/"), more("set-cookie", "b=2; Path=/"))},
		{"other_headers_with_several_values_are_joined", page("/"), authz.Decision{Status: 405, Client: http.Header{"Allow": {"GET", "HEAD"}, "X-None": {}}}, stops(denies, 405, "", one("allow", "GET, HEAD"))},
		{"grpc_callers_get_no_body", grpcCall, authz.Decision{Status: 401, Body: []byte("{}")}, stops(nobody, 401, "")},
		{"body_that_is_not_utf8", page("/"), authz.Decision{Body: []byte("a\xffb")}, stops(denies, 403, "a\uFFFDb")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := check(t, serving(always(tt.d)), tt.in)
			if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("CheckResponse (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	d := authz.Decision{Outcome: authz.Allow, ID: "ID", Reason: authz.SignedIn, App: "app", Subject: "al\xffice"}
	want := map[string]any{"decision": "ID", "reason": "signed_in", "app": "app", "subject": "al\uFFFDice"}
	for _, outcome := range []authz.Outcome{authz.Allow, authz.Deny} {
		d.Outcome = outcome
		got := check(t, serving(always(d)), page("/")).GetDynamicMetadata().AsMap()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: metadata (-want +got):\n%s", outcome, diff)
		}
	}
}

// A value that ends its line could add a header, or a whole answer.
func TestHostileHeaders(t *testing.T) {
	answering := func(name, value string) authz.Decision {
		return authz.Decision{Status: 403, Client: http.Header{name: {value}, "X-Good": {"1"}}}
	}
	passing := func(name, value string) authz.Decision {
		return authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{Set: []authz.Field{{Name: name, Value: value}}}}
	}
	removing := func(name string) authz.Decision {
		return authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{Remove: []string{name}}}
	}
	dropped, failed := stops(codes.PermissionDenied, 403, "", one("x-good", "1")), "failed"
	tests := []struct {
		name string
		d    authz.Decision
		want any
	}{
		{"carriage_return", answering("X-A", "a\rb"), dropped},
		{"line_feed", answering("X-A", "a\nset-cookie: b"), dropped},
		{"nul", answering("X-A", "a\x00b"), dropped},
		{"not_utf8", answering("X-A", "\xff"), dropped},
		{"cookie", answering("Set-Cookie", "a=1\nb: c"), dropped},
		{"name_with_a_line_feed", answering("X-A\nX-B", "a"), dropped},
		{"name_with_a_colon", answering(":status", "200"), dropped},
		{"name_beyond_ascii", answering("X-É", "a"), dropped},
		{"empty_name", answering("", "a"), dropped},
		{"location", answering("Location", "https://app.example/\r\n"), failed},
		{"assertion", passing("x-countersign-assertion", "jwt\n"), failed},
		{"assertion_under_another_name", passing("authorization", "Bearer \x00"), failed},
		{"cookie_that_goes_on", passing("cookie", "a=\xff"), failed},
		{"edit_of_a_pseudo_header", passing(":path", "/admin"), failed},
		{"removal_that_envoy_could_not_do", removing(":authority"), failed},
		{"status_0_is_403", authz.Decision{Client: http.Header{"X-Good": {"1"}}}, dropped},
		{"status_1xx", authz.Decision{Status: 101}, failed},
		{"status_beyond_http", authz.Decision{Status: 600}, failed},
		{"status_below_zero", authz.Decision{Status: -1}, failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := check(t, serving(always(tt.d)), page("/"))
			if tt.want == failed {
				isFailure(t, got, authz.Internal, 500)
				return
			}
			if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("CheckResponse (-want +got):\n%s", diff)
			}
		})
	}
}

func isFailure(t *testing.T, out *authv3.CheckResponse, reason authz.Reason, status int) {
	t.Helper()
	if got := out.GetDeniedResponse().GetStatus().GetCode(); int(got) != status {
		t.Errorf("status %d, want %d", got, status)
	}
	if got := out.GetDynamicMetadata().GetFields()["reason"].GetStringValue(); got != string(reason) {
		t.Errorf("reason %q, want %q", got, reason)
	}
	if allows(out) {
		t.Error("a failure allows")
	}
}
