package authz_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

// TestBegin: how a login begins, and what it leaves in the browser.
func TestBegin(t *testing.T) {
	w := newWorld(t)
	creates := w.store.count("create") + w.store.count("claim")
	for _, at := range []string{"/docs?page=2", "/oauth2/start?rd=/docs", "/" + strings.Repeat("a", 511)} {
		b := w.browser()
		d := b.send(t, page(at))
		if d.Outcome != authz.Redirect || d.Status != http.StatusFound {
			t.Fatalf("Check(%s) = %s %d %s", at, d.Outcome, d.Status, d.Reason)
		}
		u, err := url.Parse(d.Client.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if q.Get("code_challenge_method") != "S256" || len(q.Get("state")) != 43 || len(q.Get("nonce")) != 43 ||
			q.Get("redirect_uri") != "https://app.test/oauth2/callback" || q.Has("prompt") {
			t.Errorf("authorization request = %v", q)
		}
		cookies := setCookies(d)
		if len(cookies) != 1 || !strings.HasPrefix(cookies[0].Name, attemptPrefix) || cookies[0].MaxAge != 600 || len(cookies[0].Value) > 900 {
			t.Errorf("Set-Cookie = %q, want one attempt of ten minutes and 900 bytes at most", d.Client.Values("Set-Cookie"))
		}
	}
	if got := w.store.count("create") + w.store.count("claim") - creates; got != 0 {
		t.Errorf("the store was written to %d times for nobody", got)
	}
	b := w.browser()
	u, err := url.Parse(b.begin(t, "/oauth2/start?prompt=select_account"))
	if err != nil || u.Query().Get("prompt") != "select_account" {
		t.Errorf("Location = %s (%v), want another account to be offered", u, err)
	}
}

// TestAttempts: a browser has at most eight attempts under way; the oldest goes.
func TestAttempts(t *testing.T) {
	w := quickWorld(t)
	b := w.browser()
	var begun []string
	for n := range 12 {
		before := b.attempts()
		b.send(t, page("/x"))
		after := b.attempts()
		i := slices.IndexFunc(after, func(name string) bool { return !slices.Contains(before, name) })
		if i < 0 || len(after) > 8 || len(after) != min(n+1, 8) {
			t.Fatalf("after %d attempts there are %d cookies", n+1, len(after))
		}
		begun = append(begun, after[i])
		w.clock.pass(time.Second)
	}
	if got := slices.Sorted(slices.Values(b.attempts())); !slices.Equal(got, slices.Sorted(slices.Values(begun[4:]))) {
		t.Errorf("attempts that are left = %q, want the last eight of %q", got, begun)
	}
	w.clock.pass(oidc.AttemptLife)
	b.jars["app.test"][attemptPrefix+"forged"] = "x"
	b.send(t, page("/x"))
	if got := b.attempts(); len(got) != 1 {
		t.Errorf("attempts = %q, want none of those that are over or forged beside the new one", got)
	}
}

// TestLogin is a whole one, and what it leaves.
func TestLogin(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	d := b.login(t, "/docs?page=2", alice)
	if d.Status != http.StatusSeeOther || d.Client.Get("Location") != "https://app.test/docs?page=2" || d.Login != "main" {
		t.Errorf("callback = %d to %s by %q", d.Status, d.Client.Get("Location"), d.Login)
	}
	if d.Subject != alice.Subject || d.Session != mustParse(t, b.cookie(sessionCookie)).ID() {
		t.Errorf("callback signs in %q with %v, want alice", d.Subject, d.Session)
	}
	var names []string
	for _, c := range setCookies(d) {
		names = append(names, c.Name)
		if c.Name == sessionCookie && (c.MaxAge != 0 || !c.Expires.IsZero() || len(c.Value) != 43) { // CK-A01
			t.Errorf("session cookie = %s", c.Raw)
		}
	}
	if len(names) != 2 || len(b.attempts()) != 0 || b.cookie(sessionCookie) == "" {
		t.Errorf("cookies set = %q, want the session's and the end of the attempt's", names)
	}
	if d := b.send(t, page("/docs?page=2")); d.Reason != authz.SignedIn || d.Subject != alice.Subject {
		t.Errorf("the page = %s %s", d.Reason, d.Subject)
	}
	if d := b.send(t, page("/admin")); d.Reason != authz.SignedIn {
		t.Errorf("/admin = %s for alice, who is one", d.Reason)
	}
	if d := b.send(t, page("https://admin.test/x")); d.Reason != authz.LoginRequired {
		t.Errorf("another app = %s, want a login of its own", d.Reason)
	}
}

// TestTabs is ST-A06: two tabs begin, and end in the reverse order.
func TestTabs(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	first, second := b.begin(t, "/first"), b.begin(t, "/second")
	callbacks := []string{b.signIn(t, second, alice), b.signIn(t, first, alice)}
	for i, want := range []string{"https://app.test/second", "https://app.test/first"} {
		if d := b.send(t, page(callbacks[i])); d.Client.Get("Location") != want {
			t.Errorf("callback %d = %s to %q, want %s", i, d.Reason, d.Client.Get("Location"), want)
		}
	}
	if d := b.send(t, page("/x")); d.Reason != authz.SignedIn {
		t.Errorf("the page = %s", d.Reason)
	}
}

// TestReload: a callback that arrives again ends well, and exchanges nothing.
func TestReload(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	callback := b.signIn(t, b.begin(t, "/docs"), alice)
	before := maps.Clone(b.jars["app.test"])
	first := b.send(t, page(callback))
	cookie := b.cookie(sessionCookie)

	t.Run("by_the_browser_that_has_the_session_ST-A03", func(t *testing.T) {
		d := b.send(t, page(callback))
		if d.Reason != authz.LoginFinished || d.Client.Get("Location") != "https://app.test/" || has(d, "Set-Cookie") {
			t.Errorf("Check = %s to %s with %v, want on to the app", d.Reason, d.Client.Get("Location"), d.Client)
		}
	})
	t.Run("by_a_browser_that_lost_the_answer", func(t *testing.T) {
		lost := w.browser()
		lost.jars["app.test"] = maps.Clone(before)
		d := lost.send(t, page(callback))
		if d.Client.Get("Location") != first.Client.Get("Location") || lost.cookie(sessionCookie) != cookie {
			t.Errorf("Check = %s to %s, want the same session again", d.Reason, d.Client.Get("Location"))
		}
	})
	t.Run("by_another_browser_ST-A02", func(t *testing.T) {
		d := w.browser().send(t, page(callback))
		if d.Reason != authz.LoginExpired || has(d, "Set-Cookie") {
			t.Errorf("Check = %s with %v, want login_expired", d.Reason, d.Client)
		}
	})
	t.Run("after_the_session_has_ended", func(t *testing.T) {
		b.send(t, signOut())
		if d := b.send(t, page(callback)); d.Reason != authz.LoginExpired {
			t.Errorf("Check = %s, want login_expired", d.Reason)
		}
	})
	if got := w.Count(oidctest.TokenAsked); got != 1 {
		t.Errorf("the code was exchanged %d times", got)
	}
}

func signOut() authz.Request {
	return with(request(http.MethodPost, "/oauth2/sign_out"), "origin", "https://app.test", "accept", "text/html")
}

// TestTwice: however often a callback arrives at once, its code is exchanged once
// and every arrival ends alike.
func TestTwice(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	callback := b.carry(page(b.signIn(t, b.begin(t, "/docs"), alice)))
	answers := make([]authz.Decision, 8)
	var wait sync.WaitGroup
	for i := range answers {
		wait.Go(func() { answers[i] = w.check(t, callback) })
	}
	wait.Wait()
	want := slices.Sorted(slices.Values(answers[0].Client.Values("Set-Cookie")))
	for i, d := range answers {
		got := slices.Sorted(slices.Values(d.Client.Values("Set-Cookie")))
		if d.Reason != authz.LoginFinished || d.Client.Get("Location") != "https://app.test/docs" || !slices.Equal(got, want) {
			t.Errorf("arrival %d = %s to %s: %v", i, d.Reason, d.Client.Get("Location"), d.Cause)
		}
	}
	if got := w.Count(oidctest.TokenAsked); got != 1 {
		t.Errorf("the code was exchanged %d times, want once", got)
	}
	if got := w.store.count("create"); got != 1 {
		t.Errorf("%d sessions were made, want one", got)
	}
}

// TestGivenUp: the proxy stops waiting while the code is exchanged. The page that
// it shows asks again, and ends well.
func TestGivenUp(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	callback := b.carry(page(b.signIn(t, b.begin(t, "/docs"), alice)))
	waiting, goOn := make(chan struct{}), make(chan struct{})
	w.network.onRequest(func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			close(waiting)
			<-goOn
		}
	})
	ctx, giveUp := context.WithCancel(t.Context())
	go func() { <-waiting; giveUp() }()
	d := w.checkWithin(ctx, t, callback)
	if d.Reason != authz.ProviderUnavailable || d.Client.Get("Retry-After") != "1" || pageOf(t, d).RefreshSeconds != 1 {
		t.Errorf("Check = %s, Retry-After %q, want a page that asks again in a second", d.Reason, d.Client.Get("Retry-After"))
	}

	t.Run("impatient_reload", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if d := w.checkWithin(ctx, t, callback); d.Reason != authz.ProviderUnavailable || pageOf(t, d).RefreshSeconds != 1 {
			t.Errorf("Check = %s, want the same page", d.Reason)
		}
	})
	close(goOn)
	if d := b.send(t, callback); d.Reason != authz.LoginFinished || d.Client.Get("Location") != "https://app.test/docs" {
		t.Errorf("reload = %s to %s: %v", d.Reason, d.Client.Get("Location"), d.Cause)
	}
	if d := b.send(t, page("/docs")); d.Reason != authz.SignedIn {
		t.Errorf("the page = %s", d.Reason)
	}
	if got := w.Count(oidctest.TokenAsked); got != 1 {
		t.Errorf("the code was exchanged %d times, want once", got)
	}
}

// TestCallbackRefused: callbacks that sign nobody in, and what they cost.
func TestCallbackRefused(t *testing.T) {
	type change func(w *world, b *browser, callback url.URL) url.URL
	query := func(edit func(url.Values)) change {
		return func(_ *world, _ *browser, u url.URL) url.URL {
			q := u.Query()
			edit(q)
			u.RawQuery = q.Encode()
			return u
		}
	}
	lies := func(l oidctest.Lies) change {
		return func(w *world, _ *browser, u url.URL) url.URL { w.SetLies(l); return u }
	}
	later := func(d time.Duration) change {
		return func(w *world, _ *browser, u url.URL) url.URL { w.clock.pass(d); return u }
	}
	sent := func(code string) oidctest.Lies {
		return oidctest.Lies{Token: oidctest.Fault{Status: http.StatusBadRequest, Body: `{"error":"` + code + `"}`}}
	}
	tests := []struct {
		name   string
		change change
		want   authz.Reason
		asked  int // how often the token endpoint was
	}{
		{"no_state_ST-A01", query(func(q url.Values) { q.Del("state") }), authz.Malformed, 0},
		{"empty_state_ST-A01", query(func(q url.Values) { q.Set("state", "") }), authz.Malformed, 0},
		{"no_code_ST-A01", query(func(q url.Values) { q.Del("code") }), authz.Malformed, 0},
		{"empty_code_ST-A01", query(func(q url.Values) { q.Set("code", "") }), authz.LoginInvalid, 0},
		{"nothing_ST-A01", query(func(q url.Values) { clear(q) }), authz.Malformed, 0},
		{"query_that_cannot_be_read", func(_ *world, _ *browser, u url.URL) url.URL { u.RawQuery += "&a;b"; return u }, authz.Malformed, 0},
		{"two_states_ST-A07", query(func(q url.Values) { q.Add("state", "b") }), authz.Malformed, 0},
		{"same_state_twice_ST-A07", query(func(q url.Values) { q.Add("state", q.Get("state")) }), authz.Malformed, 0},
		{"two_codes_ST-A07", query(func(q url.Values) { q.Add("code", "y") }), authz.Malformed, 0},
		{"state_of_nobody_ST-A08", query(func(q url.Values) { q.Set("state", "x") }), authz.LoginExpired, 0},
		{"another_browser_ST-A02", func(_ *world, b *browser, u url.URL) url.URL { clear(b.jars); return u }, authz.LoginExpired, 0},
		{"attempt_changed", func(_ *world, b *browser, u url.URL) url.URL {
			for _, name := range b.attempts() {
				b.jars["app.test"][name] = flip(b.cookie(name))
			}
			return u
		}, authz.LoginExpired, 0},
		{"another_app", func(_ *world, b *browser, u url.URL) url.URL {
			u.Host = "open.test"
			b.jars["open.test"] = map[string]string{}
			for name, value := range b.jars["app.test"] {
				b.jars["open.test"][strings.Replace(name, "login.", "login-open.", 1)] = value
			}
			return u
		}, authz.LoginExpired, 0},
		{"one_moment_before_its_end", later(oidc.AttemptLife - time.Millisecond), authz.LoginInvalid, 1}, // the code has ended at the provider
		{"attempt_expires_exactly_now", later(oidc.AttemptLife), authz.LoginExpired, 0},
		{"one_second_late_ST-A05", later(oidc.AttemptLife + time.Second), authz.LoginExpired, 0},
		{"cancelled_ST-A04", query(func(q url.Values) {
			q.Del("code")
			q.Set("error", "access_denied")
			q.Set("error_description", "<script>")
		}), authz.LoginRefused, 0},
		{"provider_is_busy", query(func(q url.Values) { q.Del("code"); q.Set("error", "temporarily_unavailable") }), authz.ProviderUnavailable, 0},
		{"issuer_is_missing_MX-A01", query(func(q url.Values) { q.Del("iss") }), authz.LoginInvalid, 0},
		{"issuer_is_another_MX-A02", query(func(q url.Values) { q.Set("iss", "https://evil-idp.test") }), authz.LoginInvalid, 0},
		{"code_of_somebody_else_MX-A03", query(func(q url.Values) { q.Set("code", "stolen-code-of-somebody") }), authz.LoginInvalid, 1},
		{"nonce_of_another_attempt_MX-A05", lies(oidctest.Lies{Nonce: "other"}), authz.LoginInvalid, 1},
		{"token_of_another_kind_MX-A07", lies(oidctest.Lies{TokenType: "mac"}), authz.LoginInvalid, 1},
		{"client_is_not_known", lies(sent("invalid_client")), authz.LoginRefused, 1},
		{"provider_away", lies(oidctest.Lies{Token: oidctest.Fault{Status: http.StatusBadGateway}}), authz.ProviderUnavailable, 1},
		{"provider_hangs_up", lies(oidctest.Lies{Token: oidctest.Fault{Drop: true}}), authz.ProviderUnavailable, 1},
		{"post", nil, authz.WrongMethod, 0},
		{"head", nil, authz.WrongMethod, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser()
			callback := address(b.signIn(t, b.begin(t, "/docs"), alice))
			req := page(callback.String())
			if tt.change != nil {
				changed := tt.change(w, b, *callback)
				req = page(changed.String())
			} else {
				req.Method = strings.ToUpper(tt.name)
			}
			d := b.send(t, req)
			if d.Reason != tt.want {
				t.Errorf("Check = %s (%v), want %s", d.Reason, d.Cause, tt.want)
			}
			if got := w.Count(oidctest.TokenAsked); got != tt.asked {
				t.Errorf("the provider was asked for tokens %d times, want %d", got, tt.asked)
			}
			if b.cookie(sessionCookie) != "" || w.store.count("create") != 0 || strings.Contains(string(d.Body), "script") {
				t.Errorf("somebody is signed in, or the page shows what came: %q", d.Body)
			}
			if d.Outcome == authz.Fail && (d.Client.Get("Retry-After") != "30" || len(b.attempts()) != 1) {
				t.Errorf("Retry-After = %q with attempts %q, want 30, and the attempt kept", d.Client.Get("Retry-After"), b.attempts())
			}
			if tt.want == authz.LoginRefused && len(b.attempts()) != 0 {
				t.Errorf("attempts = %q, want it over", b.attempts())
			}
		})
	}
}

// TestCallbackStoreAway: a store that gives no answer costs no code before the
// exchange, and never a cookie.
func TestCallbackStoreAway(t *testing.T) {
	tests := []struct {
		away  string
		want  authz.Reason
		asked int
		again authz.Reason // when the store is back
	}{
		{"claim", authz.StoreUnavailable, 0, authz.LoginFinished},
		{"create", authz.StoreUnavailable, 1, authz.StoreUnavailable}, // the code is spent: the same answer for a minute
		{"settle", authz.LoginFinished, 1, authz.LoginFinished},
		{"load", authz.LoginFinished, 1, authz.LoginFinished},
		{"delete", authz.LoginFinished, 1, authz.LoginFinished},
	}
	for _, tt := range tests {
		t.Run(tt.away, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser()
			old := w.sessionOf(t, "", bob)
			callback := b.signIn(t, b.begin(t, "/docs"), alice)
			b.jars["app.test"][sessionCookie] = old
			w.store.goAway(tt.away)
			d := b.send(t, page(callback))
			if d.Reason != tt.want || w.Count(oidctest.TokenAsked) != tt.asked {
				t.Errorf("Check = %s after %d exchanges, want %s after %d: %v", d.Reason, w.Count(oidctest.TokenAsked), tt.want, tt.asked, d.Cause)
			}
			if d.Outcome == authz.Fail && (d.Client.Get("Retry-After") != "5" || has(d, "Set-Cookie") || b.cookie(sessionCookie) != old) {
				t.Errorf("header = %v, want Retry-After 5 and no cookie changed", d.Client)
			}
			w.store.goAway()
			if d := b.send(t, page(callback)); d.Reason != tt.again {
				t.Errorf("when the store is back: %s, want %s", d.Reason, tt.again)
			}
			if got := w.Count(oidctest.TokenAsked); got != 1 {
				t.Errorf("the code was exchanged %d times, want once", got)
			}
		})
	}
}

// TestFixation is CK-A10 and CK-A11: each login has a new session, and the one
// that was there is dead.
func TestFixation(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.login(t, "/x", bob)
	planted := b.cookie(sessionCookie)
	b.idp = w.browser().idp

	d := b.login(t, "/oauth2/start", alice)
	if hers := b.cookie(sessionCookie); hers == planted || !w.lives(t, hers) || w.lives(t, planted) {
		t.Errorf("the session is new: %t, lives: %t; the old one lives: %t", hers != planted, w.lives(t, hers), w.lives(t, planted))
	}
	if d.Subject != alice.Subject {
		t.Errorf("callback signs in %q, want alice", d.Subject)
	}
	if d := w.check(t, signed(page("/x"), planted)); d.Reason != authz.LoginRequired {
		t.Errorf("the old session = %s %s, want a login", d.Reason, d.Subject)
	}
	if d := b.send(t, page("/x")); d.Subject != alice.Subject {
		t.Errorf("the page is %q's, want alice's", d.Subject)
	}
}

// TestProviderAway: a provider that was never reached begins no login.
func TestProviderAway(t *testing.T) {
	client, err := oidc.New(oidc.Config{Name: "main", Issuer: issuer, ClientID: "app", ClientSecret: clientSecret})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{clock: new(clock)}
	w.build(t, client)
	for _, at := range []string{"/x", "/oauth2/start"} {
		d := w.check(t, page(at))
		if d.Reason != authz.ProviderUnavailable || d.Client.Get("Retry-After") != "30" || has(d, "Set-Cookie") {
			t.Errorf("Check(%s) = %s, %v, want provider_unavailable, to try again in 30 s", at, d.Reason, d.Client)
		}
	}
	if d := w.check(t, signed(page("/x"), w.sessionOf(t, "", alice))); d.Reason != authz.SignedIn {
		t.Errorf("with a session = %s, want signed_in", d.Reason)
	}
}

// TestLocalApp: over plain HTTP on the loopback, cookies have no prefix.
func TestLocalApp(t *testing.T) {
	w := quickWorld(t)
	b := w.browser()
	begun := b.send(t, page("http://127.0.0.1:8080/x"))
	u := address(begun.Client.Get("Location"))
	d := b.send(t, page("http://127.0.0.1:8080/oauth2/callback?code=c&state="+u.Query().Get("state")))
	if d.Client.Get("Location") != "http://127.0.0.1:8080/x" {
		t.Errorf("callback = %s to %s", d.Reason, d.Client.Get("Location"))
	}
	names := slices.Collect(maps.Keys(b.jars["127.0.0.1:8080"]))
	if diff := cmp.Diff([]string{"countersign.local"}, names); diff != "" {
		t.Errorf("cookies (-want +got):\n%s", diff)
	}
	if d := b.send(t, page("http://127.0.0.1:8080/x")); d.Reason != authz.SignedIn {
		t.Errorf("the page = %s", d.Reason)
	}
}

// TestPanic: whatever happens while a code is exchanged, there is an answer.
func TestPanic(t *testing.T) {
	w := &world{clock: new(clock)}
	w.build(t, panicking{})
	b := w.browser()
	begun := b.send(t, page("/x"))
	u := address(begun.Client.Get("Location"))
	if d := b.send(t, page("/oauth2/callback?code=c&state="+u.Query().Get("state"))); d.Reason != authz.Internal {
		t.Errorf("Check = %s, want internal", d.Reason)
	}
}

// panicking is a provider with a bug.
type panicking struct{ quick }

func (panicking) Finish(context.Context, oidc.Attempt, string, url.Values) (oidc.Grant, error) {
	panic("canary-panic-value")
}
