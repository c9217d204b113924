package envoy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/authz"
)

type httpRequest = authv3.AttributeContext_HttpRequest

// asking wraps what Envoy says about an HTTP request.
func asking(http *httpRequest) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: http},
	}}
}

// page is a request for a path, with the lines "name: value" in the joined form.
func page(path string, lines ...string) *authv3.CheckRequest {
	headers := map[string]string{":method": "GET", ":path": path, ":authority": "app.example", ":scheme": "https"}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		headers[name] = value
	}
	return asking(&httpRequest{
		Method: "GET", Scheme: "https", Host: "app.example", Path: path, Headers: headers, Size: -1, Protocol: "HTTP/1.1",
	})
}

// raw is the same in the form of encode_raw_headers.
func raw(path string, lines ...string) *authv3.CheckRequest {
	m := &corev3.HeaderMap{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
	}
	return asking(&httpRequest{
		Method: "GET", Scheme: "https", Host: "app.example", Path: path, HeaderMap: m, Size: -1, Protocol: "HTTP/1.1",
	})
}

// asked is the Request that a Checker gets for in.
func asked(t *testing.T, in *authv3.CheckRequest) authz.Request {
	t.Helper()
	var got authz.Request
	var asked bool
	check(t, serving(func(_ context.Context, req authz.Request) authz.Decision {
		got, asked = req, true
		return authz.Decision{}
	}), in)
	if !asked {
		t.Fatal("the Checker was not asked")
	}
	return got
}

func TestRequest(t *testing.T) {
	get := func(path, query string, lines ...string) authz.Request {
		req := authz.Request{Method: "GET", Scheme: "https", Host: "app.example", Path: path, Query: query, Header: authz.Header{}}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			req.Header = append(req.Header, authz.Field{Name: name, Value: value})
		}
		return req
	}
	pseudo := []string{":authority: app.example", ":method: GET", ":path: /"}
	tests := []struct {
		name string
		in   *authv3.CheckRequest
		want authz.Request
	}{
		{"joined_headers_come_sorted", page("/", "x-b: 2", "x-a: 1"), get("/", "", append(pseudo, ":scheme: https", "x-a: 1", "x-b: 2")...)},
		{"raw_headers_keep_order_and_duplicates", raw("/", "x-b: 2", "x-a: 1", "x-b: 3"), get("/", "", "x-b: 2", "x-a: 1", "x-b: 3")},
		{"raw_headers_win_over_joined", both(page("/", "x-a: joined"), raw("/", "x-a: raw")), get("/", "", "x-a: raw")},
		{"header_map_may_hold_values_that_are_not_raw", values("/", "x-a", "1"), get("/", "", "x-a: 1")},
		{"header_map_without_entries_is_not_preferred", both(page("/", "x-a: 1"), raw("/")), get("/", "", append(pseudo, ":scheme: https", "x-a: 1")...)},
		{"names_become_lower_case", raw("/", "X-Forwarded-USER: A"), get("/", "", "x-forwarded-user: A")},
		{"names_beyond_ascii_stay", raw("/", "X-É: a"), get("/", "", "x-É: a")},
		{"pseudo_headers_stay", raw("/", ":protocol: websocket"), get("/", "", ":protocol: websocket")},
		{"raw_bytes_become_what_envoy_makes_of_them", raw("/", "cookie: a=\xff\xc3(é"), get("/", "", "cookie: a=!!(é")},
		{"empty_values_stay", raw("/", "x-a: "), get("/", "", "x-a: ")},
		{"query_begins_at_the_first_question_mark", raw("/a?b?c"), get("/a", "b?c")},
		{"path_is_not_decoded", raw("/%61;x//..%2f?%3f"), get("/%61;x//..%2f", "%3f")},
		{"fragment_is_part_of_the_path", raw("/a#b"), get("/a#b", "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, asked(t, tt.in)); diff != "" {
				t.Errorf("Request (-want +got):\n%s", diff)
			}
		})
	}
}

func both(joined, raw *authv3.CheckRequest) *authv3.CheckRequest {
	joined.Attributes.Request.Http.HeaderMap = raw.Attributes.Request.Http.HeaderMap
	return joined
}

func values(path, name, value string) *authv3.CheckRequest {
	in := raw(path)
	in.Attributes.Request.Http.HeaderMap.Headers = []*corev3.HeaderValue{{Key: name, Value: value}}
	return in
}

// A message that says nothing about a request is refused whatever the Checker
// says, and the Checker hears of it, so that it is counted.
func TestUnreadable(t *testing.T) {
	tests := []struct {
		name string
		in   *authv3.CheckRequest
	}{
		{"nil_message", nil},
		{"empty_message", &authv3.CheckRequest{}},
		{"no_request", &authv3.CheckRequest{Attributes: &authv3.AttributeContext{}}},
		{"network_filter", &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}}},
		{"connect_without_a_path", asking(&httpRequest{Method: "CONNECT", Host: "app.example"})},
		{"query_without_a_path", raw("?a=b")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			s := serving(func(_ context.Context, req authz.Request) authz.Decision {
				if req.Method == "" && req.Header == nil {
					asked++
				}
				return signedIn() // which a request that says nothing must not get
			})
			out := check(t, s, tt.in)
			if got := out.GetDeniedResponse().GetStatus().GetCode(); got != 400 {
				t.Errorf("status %v, want 400", got)
			}
			if asked != 1 {
				t.Errorf("the Checker was asked %d times about the zero Request", asked)
			}
			if got := out.GetDynamicMetadata().GetFields()["reason"].GetStringValue(); got != string(authz.Malformed) {
				t.Errorf("reason %q, want %q", got, authz.Malformed)
			}
		})
	}
}

// A nil entry cannot come over the wire, but must not panic either.
func TestNilHeaderLine(t *testing.T) {
	in := raw("/", "x-a: 1")
	in.Attributes.Request.Http.HeaderMap.Headers[0] = nil
	if got := asked(t, in).Header; len(got) != 1 || got[0] != (authz.Field{}) {
		t.Errorf("Header = %v, want one empty field", got)
	}
}

func TestManyHeaders(t *testing.T) {
	lines := make([]string, 5000)
	for i := range lines {
		lines[i] = fmt.Sprintf("x-%d: %d", i, i)
	}
	for _, in := range []*authv3.CheckRequest{page("/", lines...), raw("/", lines...)} {
		req := asked(t, in)
		if len(req.Header) < len(lines) || !req.TooLarge() {
			t.Errorf("%d lines arrived, want all %d, for authz to refuse", len(req.Header), len(lines))
		}
		if got := req.Header.Get("x-4321"); got != "4321" {
			t.Errorf("x-4321 = %q", got)
		}
	}
}
