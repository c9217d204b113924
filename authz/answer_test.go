package authz_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
)

// TestBrowserOrProgram: who is sent to a login, and who is told that one is
// needed, and how.
func TestBrowserOrProgram(t *testing.T) {
	const (
		login   = "302 to the provider"
		problem = "401 and a problem document"
		bare    = "401 and no body"
	)
	html := []string{"accept", "text/html,application/xhtml+xml,*/*;q=0.8"}
	meta := func(mode, dest string) []string {
		return append([]string{"sec-fetch-site", "same-origin", "sec-fetch-mode", mode, "sec-fetch-dest", dest}, html...)
	}
	nav := meta("navigate", "document")
	tests := []struct {
		name   string
		method string
		lines  []string
		want   string
	}{
		{"top_level", http.MethodGet, nav, login},
		{"top_level_without_a_destination", http.MethodGet, append([]string{"sec-fetch-mode", "navigate"}, html...), login},
		{"old_browser", http.MethodGet, html, login},
		{"old_browser_in_capitals", http.MethodGet, []string{"accept", "Text/HTML"}, login},
		{"from_another_site", http.MethodGet, append([]string{"sec-fetch-site", "cross-site"}, nav[2:]...), login},
		{"iframe", http.MethodGet, meta("navigate", "iframe"), problem},
		{"frame", http.MethodGet, meta("navigate", "frame"), problem},
		{"object", http.MethodGet, meta("navigate", "object"), problem},
		{"script_asks_ST-A09", http.MethodGet, meta("cors", "empty"), problem},
		{"script_asks_for_html_ST-A09", http.MethodGet, meta("same-origin", "empty"), problem},
		{"image_ST-A11", http.MethodGet, meta("no-cors", "image"), problem},
		{"script_ST-A11", http.MethodGet, meta("no-cors", "script"), problem},
		{"icon_ST-A11", http.MethodGet, []string{"sec-fetch-mode", "no-cors", "sec-fetch-dest", "image", "accept", "image/avif,*/*"}, problem},
		{"only_the_site_is_told", http.MethodGet, append([]string{"sec-fetch-site", "none"}, html...), problem},
		{"only_the_destination_is_told", http.MethodGet, append([]string{"sec-fetch-dest", "document"}, html...), problem},
		{"json_ST-A09", http.MethodGet, []string{"accept", "application/json"}, problem},
		{"anything", http.MethodGet, []string{"accept", "*/*"}, problem},
		{"nothing_said", http.MethodGet, nil, problem},
		{"form_ST-A10", http.MethodPost, nav, problem},
		{"upload_ST-A10", http.MethodPost, []string{"content-type", "application/json"}, problem},
		{"head", http.MethodHead, nav, bare},
		{"head_of_a_program", http.MethodHead, nil, bare},
		{"prefetch", http.MethodGet, append([]string{"sec-purpose", "prefetch"}, nav...), problem},
		{"prerender", http.MethodGet, append([]string{"sec-purpose", "prefetch;prerender"}, nav...), problem},
		{"preview", http.MethodGet, append([]string{"purpose", "preview"}, nav...), problem},
		{"old_prefetch", http.MethodGet, append([]string{"x-moz", "prefetch"}, nav...), problem},
		{"old_safari", http.MethodGet, append([]string{"x-purpose", "preview"}, nav...), problem},
		{"grpc", http.MethodPost, []string{"content-type", "application/grpc", "te", "trailers"}, bare},
		{"grpc_with_a_codec", http.MethodPost, []string{"content-type", "application/grpc+proto"}, bare},
		{"grpc_web", http.MethodPost, append([]string{"content-type", "application/grpc-web-text"}, nav...), bare},
		{"web_socket", http.MethodGet, append([]string{"upgrade", "websocket"}, nav...), problem},
		{"web_socket_of_a_script", http.MethodGet, append([]string{"upgrade", "WebSocket"}, meta("websocket", "empty")...), problem},
	}
	w := newWorld(t)
	for _, tt := range tests {
		for _, at := range []string{"/x?y=z", "/oauth2/start"} {
			t.Run(tt.name+strings.ReplaceAll(at, "/", "_"), func(t *testing.T) {
				d := w.check(t, with(request(tt.method, at), tt.lines...))
				if at == "/oauth2/start" && tt.method != http.MethodGet {
					if d.Reason != authz.WrongMethod {
						t.Errorf("Check = %s, want wrong_method", d.Reason)
					}
					return
				}
				if got := kindOf(d); got != tt.want {
					t.Errorf("Check = %s (%s), want %s", got, d.Reason, tt.want)
				}
				begins := len(d.Client.Values("Set-Cookie")) > 0
				if begins != (tt.want == login) {
					t.Errorf("an attempt begins: %t", begins)
				}
				challenge := d.Client.Get("Www-Authenticate")
				if want := `Bearer realm="app.test"`; tt.want != login && challenge != want {
					t.Errorf("WWW-Authenticate = %q, want %q", challenge, want)
				}
			})
		}
	}
}

// kindOf says in words what an answer is.
func kindOf(d authz.Decision) string {
	switch location := d.Client.Get("Location"); {
	case d.Status == http.StatusFound && strings.HasPrefix(location, issuer+"/authorize?"):
		return "302 to the provider"
	case d.Status != http.StatusUnauthorized:
		return http.StatusText(d.Status)
	case len(d.Body) == 0:
		return "401 and no body"
	case d.Client.Get("Content-Type") == "application/problem+json":
		return "401 and a problem document"
	case d.Client.Get("Content-Type") == "text/html; charset=utf-8":
		return "401 and a page"
	}
	return "something else"
}

func TestChallenge(t *testing.T) {
	w := quickWorld(t)
	tests := []struct {
		name string
		req  authz.Request
		want string
	}{
		{"nothing_presented", program("/x"), `Bearer realm="app.test"`},
		{"bearer_presented", with(program("/x"), "authorization", "Bearer abc"), `Bearer realm="app.test", error="invalid_token"`},
		{"basic_presented", with(program("/x"), "authorization", "Basic abc"), `Bearer realm="app.test"`},
		{"app_with_a_name", program("https://admin.test/x"), `Bearer realm="admin"`},
		{"userinfo", program("/oauth2/userinfo"), `Bearer realm="app.test"`},
		{"refused_for_another_reason", program("/denied/x"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := w.check(t, tt.req).Client.Get("Www-Authenticate"); got != tt.want {
				t.Errorf("WWW-Authenticate = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestPage: what a person is told, and where the buttons lead.
func TestPage(t *testing.T) {
	w := quickWorld(t)
	hers, his, theirs := w.sessionOf(t, "", alice), w.sessionOf(t, "", bob), w.sessionOf(t, "", mallory)
	const (
		start   = "https://app.test/oauth2/start"
		another = "https://app.test/oauth2/start?prompt=select_account"
		signOut = "https://app.test/oauth2/sign_out"
	)
	tests := []struct {
		name string
		away string // what the store does not answer
		req  authz.Request
		want authz.Page
	}{
		{"bob_is_no_admin", "", signed(page("/admin"), his), authz.Page{
			Reason: authz.Forbidden, App: "app.test", Account: "bob@example.org",
			Explain: "Ask the platform team for the admin group.", SwitchURL: another, SignOutURL: signOut,
		}},
		{"bob_has_no_choice", "", signed(page("/choice/x"), his), authz.Page{
			Reason: authz.Forbidden, App: "app.test", Account: "bob@example.org", SwitchURL: another, SignOutURL: signOut,
		}},
		{"mallory_may_not_enter", "", signed(page("/x"), theirs), authz.Page{
			Reason: authz.Forbidden, App: "app.test", Account: "mallory@evil.example", SwitchURL: another, SignOutURL: signOut,
		}},
		{"rule_that_allows_nobody", "", signed(page("/nobody/x"), hers), authz.Page{
			Reason: authz.Forbidden, App: "app.test", Account: "alice@example.org", SwitchURL: another, SignOutURL: signOut,
		}},
		{"store_away", "load", signed(page("/x?y=z"), hers), authz.Page{Reason: authz.StoreUnavailable, App: "app.test", RetryURL: "https://app.test/x?y=z"}},
		{"store_away_on_a_long_page", "load", signed(page("/"+strings.Repeat("a", 512)), hers), authz.Page{Reason: authz.StoreUnavailable, App: "app.test", RetryURL: "https://app.test/"}},
		{"store_away_on_a_form", "load", withMethod(signed(page("/x"), hers), http.MethodPost), authz.Page{Reason: authz.StoreUnavailable, App: "app.test", RetryURL: "https://app.test/"}},
		{"path_of_two_meanings", "", raw("app.test", "/public/..;/x"), authz.Page{Reason: authz.Ambiguous}},
		{"unknown_host", "", page("https://unknown.test/"), authz.Page{Reason: authz.UnknownHost}},
		{"unknown_endpoint", "", page("/oauth2/x"), authz.Page{Reason: authz.NotFound, App: "app.test", RetryURL: "https://app.test/"}},
		{"unknown_attempt", "", page("/oauth2/callback?state=x&code=y"), authz.Page{Reason: authz.LoginExpired, App: "app.test", RetryURL: "https://app.test/"}},
		{"sign_out_is_asked", "", signed(page("/oauth2/sign_out"), hers), authz.Page{
			Reason: authz.SignedOut, App: "app.test", Account: "alice@example.org", RetryURL: "https://app.test/", SignOutURL: signOut,
		}},
		{"signed_out", "", page("/oauth2/signed_out"), authz.Page{Reason: authz.SignedOut, App: "app.test", RetryURL: "https://app.test/"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.store.goAway(tt.away)
			defer w.store.goAway()
			d := w.check(t, tt.req)
			tt.want.Status, tt.want.Decision = d.Status, d.ID
			if diff := cmp.Diff(tt.want, pageOf(t, d)); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
			// XS-A01, XS-A03
			if d.Client.Get("Content-Security-Policy") != "default-src 'none'" || d.Client.Get("X-Frame-Options") != "DENY" {
				t.Errorf("headers = %v, want a policy and no framing", d.Client)
			}
		})
	}
}

// TestStoreAway: a store that gives no answer is a fault, and never a sign-out.
func TestStoreAway(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	tests := []struct {
		name string
		req  authz.Request
		want authz.Reason
	}{
		{"page", signed(page("/x"), cookie), authz.StoreUnavailable},
		{"program", signed(program("/x"), cookie), authz.StoreUnavailable},
		{"optional_page", signed(page("/optional/x"), cookie), authz.StoreUnavailable},
		{"userinfo", signed(program("/oauth2/userinfo"), cookie), authz.StoreUnavailable},
		{"sign_out", signed(with(request(http.MethodPost, "/oauth2/sign_out"), "origin", "https://app.test"), cookie), authz.StoreUnavailable},
		{"optional_page_without_a_cookie", page("/optional/x"), authz.Public},
		{"public_page", signed(page("/public/x"), cookie), authz.Public},
		{"passthrough", signed(with(program("/v1/x"), "authorization", "Bearer x"), cookie), authz.Passthrough},
		{"denied", signed(page("/denied/x"), cookie), authz.Forbidden},
		{"page_without_a_cookie", page("/x"), authz.LoginRequired},
		{"sign_out_is_asked", signed(page("/oauth2/sign_out"), cookie), authz.SignedOut},
		{"keys", signed(program("/oauth2/.well-known/jwks.json"), cookie), authz.Information},
	}
	w.store.goAway("everything")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := w.check(t, tt.req)
			if d.Reason != tt.want {
				t.Errorf("Check = %s, want %s", d.Reason, tt.want)
			}
			if d.Reason == authz.StoreUnavailable && (d.Client.Get("Retry-After") != "5" || has(d, "Set-Cookie")) {
				t.Errorf("header = %v, want Retry-After 5 and no Set-Cookie", d.Client)
			}
		})
	}
	w.store.goAway()
	if d := w.check(t, signed(page("/x"), cookie)); d.Reason != authz.SignedIn {
		t.Errorf("Check when the store is back = %s, want signed_in", d.Reason)
	}
}

// TestUnknownKey: a session that another replica sealed with a key that is not
// here yet is left alone.
func TestUnknownKey(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	ring := w.vault.Sealer
	w.vault.Sealer = session.GenerateKeyring()
	d := w.check(t, signed(page("/x"), cookie))
	if d.Reason != authz.StoreUnavailable || has(d, "Set-Cookie") {
		t.Errorf("Check = %s, want store_unavailable and the cookie kept", d.Reason)
	}
	if got := pageOf(t, d); got.SwitchURL != "https://app.test/oauth2/start" || got.RetryURL != "https://app.test/x" {
		t.Errorf("page = %+v, want a button that tries again and one that signs in anew", got)
	}
	w.vault.Sealer = ring
	if d := w.check(t, signed(page("/x"), cookie)); d.Reason != authz.SignedIn {
		t.Errorf("Check with the key = %s, want signed_in", d.Reason)
	}
}

// TestLastMoment: a session that is too short for a token is over.
func TestLastMoment(t *testing.T) {
	w := quickWorld(t)
	w.clock.pass(500 * time.Millisecond)
	cookie := w.sessionOf(t, "", alice)
	w.clock.pass(idle - 300*time.Millisecond)
	tests := []struct {
		name    string
		req     authz.Request
		outcome authz.Outcome
		reason  authz.Reason
	}{
		{"page", page("/x"), authz.Redirect, authz.LoginRequired},
		{"program", program("/x"), authz.Deny, authz.LoginRequired},
		{"optional_page", page("/optional/x"), authz.Allow, authz.Public},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := w.check(t, signed(tt.req, cookie)); d.Outcome != tt.outcome || d.Reason != tt.reason || d.Subject != "" {
				t.Errorf("Check = %s %s for %q, want %s %s for nobody", d.Outcome, d.Reason, d.Subject, tt.outcome, tt.reason)
			}
		})
	}
}

// unsigned is a minter whose key is broken.
type unsigned struct{ authz.Minter }

func (unsigned) Mint(time.Time, *mint.Template, session.Session) (string, error) {
	return "", errors.New("mint: broken")
}

// TestMintFails: without a token for the upstream nobody passes.
func TestMintFails(t *testing.T) {
	w := quickWorld(t)
	w.Minter = unsigned{w.Minter}
	if d := w.check(t, signed(page("/x"), w.sessionOf(t, "", alice))); d.Reason != authz.Internal || d.Cause == nil {
		t.Errorf("Check = %s (%v), want internal", d.Reason, d.Cause)
	}
}

// TestSessionEnds: a session lives until its end, and a use keeps it alive until
// the absolute one.
func TestSessionEnds(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	w.clock.pass(idle - 1e6)
	if d := w.check(t, signed(page("/x"), cookie)); d.Reason != authz.SignedIn {
		t.Errorf("a millisecond before the end: %s, want signed_in", d.Reason)
	}
	w.clock.pass(1e6)
	d := w.check(t, signed(page("/x"), cookie))
	if d.Reason != authz.LoginRequired || d.Outcome != authz.Redirect {
		t.Errorf("exactly now: %s %s, want a login", d.Outcome, d.Reason)
	}
	// LK-A05: nothing tells an ended session from one that never was.
	never := w.check(t, signed(page("/x"), session.NewToken().Reveal()))
	if never.Reason != d.Reason || never.Status != d.Status || len(never.Client) != len(d.Client) {
		t.Errorf("a forged session: %s %d, an ended one: %s %d", never.Reason, never.Status, d.Reason, d.Status)
	}
}
