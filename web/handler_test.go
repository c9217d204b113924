package web_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/web"
	"github.com/countersign/countersign/web/pages"
)

// asked notes what it was asked, and answers all the same.
type asked struct {
	requests []authz.Request
	answer   authz.Decision
}

func (a *asked) Check(_ context.Context, req authz.Request) authz.Decision {
	a.requests = append(a.requests, req)
	return a.answer
}

// newHandler serves one app at https://app.test, with checker as its voice.
func newHandler(t *testing.T, checker authz.Checker) *web.Handler {
	t.Helper()
	keys, err := mint.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse("https://app.test")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := authz.NewRoutes([]*authz.App{{URL: address}})
	if err != nil {
		t.Fatal(err)
	}
	a := &authz.Authorizer{
		Routes: routes, Minter: mint.NewSigner(keys), Pages: pages.New(),
		Sessions: &session.Vault{Store: session.NewMemory(), Sealer: session.GenerateKeyring()},
	}
	if checker == nil {
		checker = a
	}
	return &web.Handler{Authorizer: a, Checker: checker}
}

// send sends a request line for line, as no client would, and returns the answer.
func send(t *testing.T, h http.Handler, raw string) *http.Response {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestRequestIsReadAsItWasSent(t *testing.T) {
	a := &asked{answer: authz.Failed(authz.LoginExpired, nil)}
	send(t, newHandler(t, a), "GET /oauth2/callback?state=%41&x=?&y HTTP/1.1\r\nHost: App.test:443\r\n"+
		"COOKIE: a=1\r\nCookie: b=2\r\nX-Odd_Name: v\r\n\r\n")
	if len(a.requests) != 1 {
		t.Fatalf("asked %d times", len(a.requests))
	}
	got := a.requests[0]
	want := authz.Request{
		Method: "GET", Scheme: "http", Host: "App.test:443", Path: "/oauth2/callback", Query: "state=%41&x=?&y",
	}
	if diff := cmp.Diff([]string{"a=1", "b=2"}, got.Header.Values("cookie")); diff != "" {
		t.Errorf("cookie lines (-want +got):\n%s", diff)
	}
	if got.Header.Get("x-odd_name") != "v" {
		t.Errorf("header x-odd_name is lost: %v", got.Header)
	}
	got.Header = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Request (-want +got):\n%s", diff)
	}
}

func TestAnswerIsWrittenWhole(t *testing.T) {
	a := &asked{answer: authz.Decision{
		Outcome: authz.Redirect, Reason: authz.LoginFinished, Status: http.StatusSeeOther,
		Client: http.Header{"Location": {"https://app.test/"}, "Set-Cookie": {"a=1", "b=2"}},
	}}
	resp := send(t, newHandler(t, a), "GET /oauth2/callback?state=s HTTP/1.1\r\nHost: app.test\r\n\r\n")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "https://app.test/" {
		t.Errorf("answer is %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if diff := cmp.Diff([]string{"a=1", "b=2"}, resp.Header.Values("Set-Cookie")); diff != "" {
		t.Errorf("Set-Cookie (-want +got):\n%s", diff)
	}
}

func TestAnAllowIsNoAnswerForABrowser(t *testing.T) {
	a := &asked{answer: authz.Decision{Outcome: authz.Allow, Reason: authz.Public, Status: http.StatusOK}}
	resp := send(t, newHandler(t, a), "GET /oauth2/start HTTP/1.1\r\nHost: app.test\r\n\r\n")
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("an allow is written as %d", resp.StatusCode)
	}
}

func TestTheZeroDecisionDenies(t *testing.T) {
	resp := send(t, newHandler(t, &asked{}), "GET /oauth2/start HTTP/1.1\r\nHost: app.test\r\n\r\n")
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("the zero Decision is written as %d", resp.StatusCode)
	}
}

func TestOnlyEndpointsAreServed(t *testing.T) {
	for _, tt := range []struct {
		name, host, target string
		status             int
	}{
		{"keys_of_the_app", "app.test", "/oauth2/.well-known/jwks.json", 200},
		{"keys_without_the_prefix", "countersign:4180", "/.well-known/jwks.json", 200},
		{"metadata_without_the_prefix", "app.test", "/.well-known/openid-configuration", 200},
		{"metadata_of_the_only_app", "countersign:4180", "/.well-known/openid-configuration", 200},
		{"the_app_itself", "app.test", "/", 404},
		{"another_host", "evil.test", "/oauth2/start", 421},
		{"below_the_prefix_but_nothing", "app.test", "/oauth2/nothing", 404},
		{"out_of_the_prefix_in_one_reading", "app.test", "/oauth2/%2e%2e/x", 400},
		{"metrics_are_elsewhere", "app.test", "/metrics", 404},
		{"profiles_are_nowhere", "app.test", "/debug/pprof/", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := send(t, newHandler(t, nil), "GET "+tt.target+" HTTP/1.1\r\nHost: "+tt.host+"\r\n\r\n")
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			cached := strings.Contains(resp.Header.Get("Cache-Control"), "max-age")
			if cached != (tt.status == 200) {
				t.Errorf("Cache-Control is %q with status %d", resp.Header.Get("Cache-Control"), tt.status)
			}
		})
	}
}
