package authz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/authz"
)

// always answers with one decision.
type always authz.Decision

func (a always) Check(context.Context, authz.Request) authz.Decision { return authz.Decision(a) }

// lineOf is what is logged about a decision, nil for nothing.
func lineOf(tb testing.TB, from slog.Level, req authz.Request, d authz.Decision) map[string]any {
	tb.Helper()
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: from}))
	if got := (authz.Logged{Next: always(d), Log: log}).Check(tb.Context(), req); !cmp.Equal(got.ID, d.ID) {
		tb.Errorf("Check = %v, want the decision unchanged", got)
	}
	if out.Len() == 0 {
		return nil
	}
	line := map[string]any{}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		tb.Fatalf("%s: %v", out.Bytes(), err)
	}
	return line
}

// TestLogged is the line that operators are promised.
func TestLogged(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	req := signed(page("/admin?token=canary"), cookie)
	d := w.check(t, req)
	got := lineOf(t, slog.LevelDebug, req, d)
	for _, varies := range []string{"time", "duration"} {
		if got[varies] == nil {
			t.Errorf("the line has no %s", varies)
		}
		delete(got, varies)
	}
	want := map[string]any{
		"level": "DEBUG", "msg": "decided", "decision": d.ID, "app": "app.test", "rule": "admin", "reason": "signed_in",
		"status": float64(200), "method": "GET", "host": "app.test", "path": "/admin", "subject": alice.Subject,
		"session": mustParse(t, cookie).ID().String(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	if line := lineOf(t, slog.LevelInfo, req, d); line != nil {
		t.Errorf("a pass is logged above debug: %v", line)
	}
}

func TestLogLevel(t *testing.T) {
	for _, reason := range authz.Reasons() {
		want := "INFO"
		switch authz.Failed(reason, nil).Outcome {
		case authz.Allow:
			want = "DEBUG"
		case authz.Fail:
			want = "WARN"
		case authz.Deny, authz.Redirect, authz.Respond:
		}
		if reason == authz.Internal {
			want = "ERROR"
		}
		line := lineOf(t, slog.LevelDebug, page("/"), authz.Failed(reason, errors.New("canary-cause")))
		if line["level"] != want || line["reason"] != string(reason) || line["cause"] != "canary-cause" {
			t.Errorf("line of %s = %v, want level %s and the cause", reason, line, want)
		}
	}
}

// TestLogBounds: what a client sends is bounded, and stays on its line.
func TestLogBounds(t *testing.T) {
	req := authz.Request{
		Method: strings.Repeat("M", 5000), Host: "h\nx\xff", Path: "/" + strings.Repeat("é", 5000), Query: "canary-query",
	}
	line := lineOf(t, slog.LevelDebug, req, authz.Failed(authz.Malformed, nil))
	for name, value := range line {
		s, ok := value.(string)
		if ok && (len(s) > 520 || !utf8.ValidString(s) || strings.Contains(s, "canary")) {
			t.Errorf("%s = %d bytes: %.40q", name, len(s), s)
		}
	}
}

// FuzzCheck sends whole requests. {alice}, {bob} and {mallory} in a header stand
// for their session cookies.
func FuzzCheck(f *testing.F) {
	w := quickWorld(f)
	sessions := strings.NewReplacer(
		"{alice}", sessionCookie+"="+w.sessionOf(f, "", alice), "{bob}", sessionCookie+"="+w.sessionOf(f, "", bob),
		"{mallory}", sessionCookie+"="+w.sessionOf(f, "", mallory), "{admin}", sessionCookie+".admin="+w.sessionOf(f, "admin", alice))
	const nav = "sec-fetch-mode: navigate\nsec-fetch-dest: document\naccept: text/html\n"
	for _, seed := range [][5]string{
		{"GET", "app.test", "/", "", nav},
		{"GET", "app.test", "/x", "y=z", nav + "cookie: {alice}"},
		{"GET", "app.test", "/x", "", "cookie: a=1,{alice}\ncookie: b=2\nx_countersign_assertion: root\nauthorization: Bearer x"},
		{"GET", "app.test", "/x", "", "cookie: {alice}; {bob}"},
		{"GET", "app.test", "/admin", "", "cookie: {bob}\naccept: text/html"},
		{"GET", "app.test", "/x", "", "cookie: {mallory}"},
		{"GET", "app.test", "/optional/x", "", "x.forwarded.user: root\nConnection: x-countersign-assertion"},
		{"GET", "app.test", "/public/../admin", "", nav},
		{"GET", "app.test", "/public/x", "", "X-Auth-Jwt: e30\ncookie: countersign=1"},
		{"GET", "app.test", "/v1/x", "", "authorization: bearer x\nx-auth-request-user: root"},
		{"GET", "app.test", "/legacy/x", "", "cookie: {alice}\nx-auth_jwt: e30"},
		{"GET", "app.test", "/ws", "", "upgrade: websocket\norigin: https://evil.example\ncookie: {alice}"},
		{"POST", "app.test", "/x", "", "content-type: application/grpc"},
		{"HEAD", "app.test", "/x", "", nav},
		{"GET", "app.test", "/oauth2/start", "rd=//evil.example", nav},
		{"GET", "app.test", "//evil.example/x", "", nav},
		{"GET", "app.test", `/\evil.example`, "a=\\", nav},
		{"GET", "app.test", "/oauth2/callback", "state=x&code=y", nav + "cookie: {alice}; __Host-countersign-login.x=y"},
		{"GET", "app.test", "/oauth2/callback", "state=x", nav + "early-data: 1"},
		{"GET", "app.test", "/oauth2/sign_out", "", nav + "cookie: {alice}"},
		{"POST", "app.test", "/oauth2/sign_out", "", "origin: https://app.test"},
		{"POST", "app.test", "/oauth2/sign_out", "", "origin: https://evil.example\ncookie: {alice}"},
		{"GET", "app.test", "/oauth2/signed_out", "state=x", "cookie: __Host-countersign-logout=x"},
		{"GET", "app.test", "/oauth2/userinfo", "", "cookie: {alice}"},
		{"GET", "app.test", "/oauth2/.well-known/jwks.json", "", "if-none-match: *"},
		{"GET", "admin.test", "/x", "", "cookie: {admin}\nauthorization: Bearer root"},
		{"GET", "admin.test", "/public/x", "", "authorization: Basic x\nauthorization: Bearer x"},
		{"GET", "open.test", "/admin;x=1/u", "", ""},
		{"GET", "TOOLS.test.:443", "/tools/../x", "", nav},
		{"GET", "127.0.0.1:8080", "/x", "", nav},
		{"OPTIONS", "app.test", "*", "", ""},
		{"CONNECT", "app.test", "", "", ":protocol: websocket\norigin: null"},
		{"", "", "", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	f.Fuzz(func(t *testing.T, method, host, path, query, header string) {
		req := authz.Request{Method: method, Scheme: "https", Host: host, Path: path, Query: query}
		for l := range strings.SplitSeq(sessions.Replace(header), "\n") {
			i := strings.IndexByte(l[min(1, len(l)):], ':') + 1 // a pseudo-header begins with one
			if i == 0 || !isToken(l[:i]) || strings.ContainsAny(l[i:], "\r\x00") {
				continue // no transport lets these through (RFC 9110 §5.5)
			}
			req.Header = append(req.Header, authz.Field{Name: l[:i], Value: strings.TrimSpace(l[i+1:])})
		}
		if strings.Contains(path, "?") || method == http.MethodPost && strings.HasSuffix(path, "/oauth2/sign_out") && strings.Contains(header, "{") {
			return // the sessions are there for all
		}
		w.log.clear()
		d := w.check(t, req)
		w.log.mustHoldNoSecret(t)
		for _, c := range setCookies(d) {
			if host != "app.test" || !strings.HasPrefix(c.Name, attemptPrefix) || c.MaxAge < 0 {
				continue
			}
			attempt, err := w.vault.OpenAttempt(c.Value, "app.test", "https://app.test/oauth2/callback")
			if err != nil || !stays("https://app.test"+attempt.ReturnTo, "app.test") || !strings.HasPrefix(attempt.ReturnTo, "/") {
				t.Errorf("%s: the login leads to %q: %v", describe(req), attempt.ReturnTo, err)
			}
		}
		if again := w.check(t, req); again.Reason != d.Reason || again.Rule != d.Rule || again.Status != d.Status {
			t.Errorf("%s: %s by %s, and %s by %s the second time", describe(req), d.Reason, d.Rule, again.Reason, again.Rule)
		}
	})
}

// isToken reports whether a name is a header's, or a pseudo-header's.
func isToken(name string) bool {
	name = strings.TrimPrefix(name, ":")
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}
