package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
)

// raw sends a message as the bytes that it is.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) (mem.BufferSlice, error) {
	b, ok := message.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no bytes", message)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", message)
	}
	return proto.Unmarshal(data.Materialize(), m)
}

// grpcCheck asks as Envoy does, but with any bytes as the CheckRequest.
func grpcCheck(t *testing.T, conn *grpc.ClientConn, request []byte) (*authv3.CheckResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	answer := new(authv3.CheckResponse)
	err := conn.Invoke(ctx, authv3.Authorization_Check_FullMethodName, request, answer, grpc.ForceCodecV2(raw{}))
	return answer, err
}

// checkRequest is a well-formed one.
func checkRequest(t *testing.T, path string, lines ...field) []byte {
	t.Helper()
	in := &authv3.AttributeContext_HttpRequest{Method: "GET", Scheme: "https", Host: host, Path: path, Headers: map[string]string{}}
	for _, l := range lines {
		in.Headers[l.name] = l.value
	}
	b, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: in}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Envoy itself would let none of these through, or never send them.
func TestBadCheckRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true}, fault{})
	replica := w.replicas[0]
	conn := replica.dial(t)
	broken := strings.Replace(string(checkRequest(t, "/d-ta")), "/d-ta", "/d\xffta", 1)
	network, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Source: &authv3.AttributeContext_Peer{
		Address: &corev3.Address{}, Principal: "nobody",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 70<<10)
	for _, tt := range []struct {
		name    string
		request []byte
		reason  string
		status  int32
	}{
		{"empty", nil, "malformed", 400},
		{"no_message", []byte("\xff\xff\xff\xff"), "malformed", 400},
		{"text", []byte("GET / HTTP/1.1\r\n\r\n"), "malformed", 400},
		{"cut_off", checkRequest(t, "/data")[:20], "malformed", 400},
		{"not_utf8", []byte(broken), "malformed", 400},
		{"of_the_network_filter", network, "malformed", 400},
		{"no_path", checkRequest(t, ""), "malformed", 400},
		{"control_character", checkRequest(t, "/da\nta"), "malformed", 400},
		{"header_of_70_KiB", checkRequest(t, "/data", field{"x-long", long}), "too_large", 431},
		{"cookie_of_20_KiB", checkRequest(t, "/data", field{"cookie", "a=" + long[:20<<10]}), "too_large", 431},
		{"target_of_20_KiB", checkRequest(t, "/data?"+long[:20<<10]), "too_large", 431},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := replica.decided(t, tt.reason)
			answer, err := grpcCheck(t, conn, tt.request)
			if err != nil {
				t.Fatalf("a gRPC error obeys failure_mode_allow: %v", err)
			}
			denied := answer.GetDeniedResponse()
			if got := int32(denied.GetStatus().GetCode()); denied == nil || got != tt.status || answer.GetStatus().GetCode() == 0 {
				t.Errorf("answered with %d, want %d: %v", got, tt.status, answer)
			}
			if n := replica.decided(t, tt.reason) - before; n != 1 {
				t.Errorf("%s was counted %d times, want once", tt.reason, n)
			}
		})
	}
	w.wantSessions(t, 0)
}

// twoApps have a session each.
const twoApps = `
  - url: https://app.example.test
    allow: everyone
    token: {audience: api}
  - name: other
    url: https://other.example.test
    allow: everyone
    token: {audience: api}
`

func TestBadCookies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true, Apps: twoApps}, fault{})
	replica := w.replicas[0]
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	keys := w.sessionsInRedis()
	good := alice.cookies()[sessionCookie]
	const otherCookie = sessionCookie + ".other"
	forged := session.NewToken().Reveal()
	// The last letter has two bits to spare, and the first has none.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spelled := good[:42] + string(alphabet[strings.IndexByte(alphabet, good[42])^1])
	near := string(alphabet[strings.IndexByte(alphabet, good[0])^1]) + good[1:]

	for _, tt := range []struct {
		name, host, cookie string
		reason             string
		status             int
	}{
		{"of_another_app", "other.example.test", otherCookie + "=" + good, "login_required", 401},
		{"of_another_app_in_its_own_name", "other.example.test", sessionCookie + "=" + good, "login_required", 401},
		{"of_another_app_here", host, otherCookie + "=" + good, "login_required", 401},
		{"forged", host, sessionCookie + "=" + forged, "login_required", 401},
		{"one_bit_off", host, sessionCookie + "=" + near, "login_required", 401},
		{"spelled_otherwise", host, sessionCookie + "=" + spelled, "login_required", 401},
		{"too_short", host, sessionCookie + "=" + good[:42], "login_required", 401},
		{"too_long", host, sessionCookie + "=" + good + "A", "login_required", 401},
		{"no_base64", host, sessionCookie + "=" + strings.Repeat("%", 43), "login_required", 401},
		{"empty", host, sessionCookie + "=", "login_required", 401},
		{"two_of_them", host, sessionCookie + "=" + good + "; " + sessionCookie + "=" + forged, "login_required", 401},
		{"too_large", host, sessionCookie + "=" + good + "; a=" + strings.Repeat("a", 17<<10), "too_large", 431},
		{"of_nobodys_host", "nobody.example.test", sessionCookie + "=" + good, "unknown_host", 421},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := replica.decided(t, tt.reason)
			a := w.browser(t).fetch("https://"+tt.host+"/data", "Cookie: "+tt.cookie)
			a.stopped(t, tt.status)
			if n := replica.decided(t, tt.reason) - before; n != 1 {
				t.Errorf("%s was counted %d times, want once", tt.reason, n)
			}
			if got := a.header.Values("Set-Cookie"); len(got) != 0 {
				t.Error("the answer sets a cookie")
			}
		})
	}
	w.wantSessions(t, keys)
	alice.fetch("/data").passed(t)
}

func TestBadCallbacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true, Apps: twoApps}, fault{})
	replica := w.replicas[0]
	for _, tt := range []struct {
		name   string
		lies   oidctest.Lies
		bring  func(t *testing.T, w *world, p *person, callback string) *answer // nil: as it came
		reason string
		status int
		spent  int // codes
	}{
		{"replayed_after_the_sign_out", oidctest.Lies{}, replayed, "login_expired", 400, 1},
		{"brought_by_somebody_else", oidctest.Lies{}, stolen, "login_expired", 400, 0},
		{"brought_to_another_app", oidctest.Lies{}, astray, "login_expired", 400, 0},
		{"of_an_expired_attempt", oidctest.Lies{}, late, "login_expired", 400, 0},
		{"attempt_forged", oidctest.Lies{}, forgedAttempt, "login_expired", 400, 0},
		{"without_state", oidctest.Lies{CallbackState: oidctest.Missing}, nil, "malformed", 400, 0},
		{"with_another_state", oidctest.Lies{CallbackState: "x"}, nil, "login_expired", 400, 0},
		{"with_another_issuer", oidctest.Lies{CallbackIssuer: "https://evil.example"}, nil, "login_invalid", 400, 0},
		{"with_a_refusal", oidctest.Lies{AuthorizeError: oidctest.Refusal{Code: "access_denied"}}, nil, "login_refused", 403, 0},
		{"nonce_of_another_login", oidctest.Lies{Nonce: "other"}, nil, "login_invalid", 400, 1},
		{"audience_is_another_client", oidctest.Lies{Audience: "other"}, nil, "login_invalid", 400, 1},
		{"token_expired", oidctest.Lies{Expired: time.Hour}, nil, "login_invalid", 400, 1},
		{"token_not_signed", oidctest.Lies{Signature: oidctest.AlgNone}, nil, "login_invalid", 400, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bring := tt.bring
			if bring == nil {
				bring = func(_ *testing.T, _ *world, p *person, callback string) *answer { return p.get(callback) }
			}
			w.redis.Do("FLUSHALL")
			w.provider.SetLies(tt.lies)
			defer w.provider.SetLies(oidctest.Lies{})
			alice, spent := w.browser(t), w.idp.Count(oidctest.CodeSpent)
			callback := alice.atProvider(alice.get("/report").want(t, 302), "alice")
			before := replica.decided(t, tt.reason)

			bring(t, w, alice, callback).stopped(t, tt.status)
			if n := replica.decided(t, tt.reason) - before; n != 1 {
				t.Errorf("%s was counted %d times, want once", tt.reason, n)
			}
			if n := w.idp.Count(oidctest.CodeSpent) - spent; n != tt.spent {
				t.Errorf("%d codes were spent, want %d", n, tt.spent)
			}
			w.wantSessions(t, 0)
			if _, ok := alice.cookies()[sessionCookie]; ok {
				t.Error("her browser has a session cookie")
			}
		})
	}
}

// replayed brings a callback a second time, when its session is over.
func replayed(t *testing.T, _ *world, p *person, callback string) *answer {
	t.Helper()
	p.open(callback).want(t, 200)
	p.signOut().want(t, 200)
	return p.get(callback)
}

// stolen brings it from another browser.
func stolen(t *testing.T, w *world, _ *person, callback string) *answer {
	t.Helper()
	return w.browser(t).get(callback)
}

// astray brings it to another app, with the cookie of the attempt.
func astray(_ *testing.T, _ *world, p *person, callback string) *answer {
	var line []string
	for name, value := range p.cookies() {
		line = append(line, strings.Replace(name, "countersign-login-", "countersign-login-other.", 1)+"="+value)
	}
	return p.get(strings.Replace(callback, host, "other.example.test", 1), "Cookie: "+strings.Join(line, "; "))
}

// late brings it eleven minutes after the login was begun: the attempt is sealed
// anew, with the server's own keys, as it would then be.
func late(t *testing.T, w *world, p *person, callback string) *answer {
	t.Helper()
	file, err := os.ReadFile(w.files.sessionKeys)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := session.ParseKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	vault := &session.Vault{Sealer: keys}
	const redirect = origin + "/oauth2/callback"
	return p.changeAttempt(t, callback, func(value string) string {
		attempt, err := vault.OpenAttempt(value, host, redirect)
		if err != nil {
			t.Fatalf("the attempt's cookie: %v", err)
		}
		attempt.Started = attempt.Started.Add(-11 * time.Minute)
		return vault.SealAttempt(attempt, host, redirect)
	})
}

// forgedAttempt brings it with one letter of the attempt's cookie changed.
func forgedAttempt(t *testing.T, _ *world, p *person, callback string) *answer {
	t.Helper()
	return p.changeAttempt(t, callback, func(value string) string {
		b := []byte(value)
		if b[100] == 'A' {
			b[100] = 'B'
		} else {
			b[100] = 'A'
		}
		return string(b)
	})
}

// changeAttempt goes to the callback with the attempt's cookie changed.
func (p *person) changeAttempt(t *testing.T, callback string, change func(string) string) *answer {
	t.Helper()
	all := p.cookies()
	if len(all) != 1 {
		t.Fatalf("the browser has the cookies %v", names(all))
	}
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range all {
		p.http.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: change(value), Path: "/", Secure: true}})
	}
	return p.get(callback)
}

// wantSessions fails the test unless there are so many in Redis.
func (w *world) wantSessions(t *testing.T, want int) {
	t.Helper()
	if got := w.sessionsInRedis(); got != want {
		t.Errorf("%d sessions in Redis, want %d: %s", got, want, fmt.Sprint(w.redis.Do("KEYS", "*")))
	}
}
