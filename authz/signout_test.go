package authz_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
)

const signOutCookie = "__Host-countersign-logout"

// TestSignOut is a whole one: here, at the provider, and back.
func TestSignOut(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.login(t, "/x", alice)
	cookie := b.cookie(sessionCookie)

	asked := b.send(t, page("/oauth2/sign_out"))
	if p := pageOf(t, asked); asked.Status != http.StatusOK || p.SignOutURL != "https://app.test/oauth2/sign_out" || !w.lives(t, cookie) {
		t.Errorf("GET = %d %+v, want a page that asks", asked.Status, p)
	}

	d := b.send(t, signOut())
	u := address(d.Client.Get("Location"))
	q := u.Query()
	if d.Status != http.StatusSeeOther || u.Host != "id.test" || q.Get("id_token_hint") == "" || q.Get("client_id") != "app" ||
		q.Get("post_logout_redirect_uri") != "https://app.test/oauth2/signed_out" || len(q.Get("state")) != 43 { // LO-A14
		t.Errorf("POST = %d to %s", d.Status, u)
	}
	if b.cookie(sessionCookie) != "" || w.lives(t, cookie) || b.cookie(signOutCookie) == "" {
		t.Errorf("the browser has %v, and the session lives: %t", b.jars["app.test"], w.lives(t, cookie))
	}
	if d := w.check(t, signed(page("/x"), cookie)); d.Reason != authz.LoginRequired { // CK-A08, LO-A03
		t.Errorf("the old cookie = %s, want a login", d.Reason)
	}

	resp, err := (&http.Client{Transport: w.network, CheckRedirect: stop}).Get(u.String())
	if err != nil || w.Count(oidctest.EndSession) != 1 {
		t.Fatalf("the provider was told %d times: %v", w.Count(oidctest.EndSession), err)
	}
	back := resp.Header.Get("Location")
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if d := b.send(t, page(back)); d.Reason != authz.SignedOut || d.Status != http.StatusOK || b.cookie(signOutCookie) != "" {
		t.Errorf("back at %s = %s %d, and the state is kept: %t", back, d.Reason, d.Status, b.cookie(signOutCookie) != "")
	}
	if d := b.send(t, page(back)); d.Reason != authz.Malformed {
		t.Errorf("back a second time = %s, want the state to be spent", d.Reason)
	}
}

func stop(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// TestSignOutFrom: who may end a session.
func TestSignOutFrom(t *testing.T) {
	post := request(http.MethodPost, "/oauth2/sign_out")
	tests := []struct {
		name string
		req  authz.Request
		want authz.Reason
		ends bool
	}{
		{"own_page", with(post, "origin", "https://app.test", "sec-fetch-site", "same-origin"), authz.SignedOut, true},
		{"own_page_without_fetch_metadata", with(post, "origin", "https://app.test"), authz.SignedOut, true},
		{"own_page_without_an_origin", with(post, "sec-fetch-site", "same-origin"), authz.SignedOut, true},
		{"link_LO-A01", page("/oauth2/sign_out"), authz.SignedOut, false},
		{"image_of_another_site_LO-A01", with(request(http.MethodGet, "/oauth2/sign_out"), "sec-fetch-site", "cross-site", "sec-fetch-dest", "image"), authz.SignedOut, false},
		{"head", withMethod(page("/oauth2/sign_out"), http.MethodHead), authz.WrongMethod, false},
		{"another_site_LO-A02", with(post, "origin", "https://evil.example"), authz.ForeignOrigin, false},
		{"another_site_that_lies_LO-A02", with(post, "origin", "https://evil.example", "sec-fetch-site", "same-origin"), authz.ForeignOrigin, false},
		{"another_site_without_an_origin_LO-A02", with(post, "sec-fetch-site", "cross-site"), authz.ForeignOrigin, false},
		{"sister_site_LO-A02", with(post, "origin", "https://app.test", "sec-fetch-site", "same-site"), authz.ForeignOrigin, false},
		{"typed_by_hand_LO-A02", with(post, "sec-fetch-site", "none"), authz.ForeignOrigin, false},
		{"no_proof_LO-A02", post, authz.ForeignOrigin, false},
		{"opaque_origin_LO-A02", with(post, "origin", "null", "sec-fetch-site", "same-origin"), authz.ForeignOrigin, false},
		{"two_origins_LO-A02", with(post, "origin", "https://app.test", "origin", "https://evil.example"), authz.ForeignOrigin, false},
		{"origin_without_tls_LO-A02", with(post, "origin", "http://app.test"), authz.ForeignOrigin, false},
		{"origin_that_begins_alike_LO-A02", with(post, "origin", "https://app.test.evil.example"), authz.ForeignOrigin, false},
		{"referrer_is_no_proof_LO-A02", with(post, "referer", "https://app.test/"), authz.ForeignOrigin, false},
	}
	w := quickWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cookie := w.sessionOf(t, "", alice)
			d := w.check(t, signed(tt.req, cookie))
			if d.Reason != tt.want || w.lives(t, cookie) == tt.ends {
				t.Errorf("Check = %s, and the session lives: %t; want %s, %t", d.Reason, w.lives(t, cookie), tt.want, !tt.ends)
			}
			deleted := slices.ContainsFunc(setCookies(d), func(c *http.Cookie) bool { return c.Name == sessionCookie && c.MaxAge < 0 })
			if deleted != tt.ends {
				t.Errorf("the cookie is deleted: %t, want %t", deleted, tt.ends)
			}
			if tt.ends && d.Client.Get("Location") != "https://app.test/oauth2/signed_out" { // the provider has no address for it
				t.Errorf("Location = %s", d.Client.Get("Location"))
			}
		})
	}
}

// TestSignOutTo is RD-A13: no parameter says where a sign-out leads.
func TestSignOutTo(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"post_logout_redirect_uri", "rd", "redirect_uri", "state"} {
		b := w.browser()
		b.login(t, "/x", alice)
		req := signOut()
		req.Query = name + "=" + url.QueryEscape("https://evil.example/")
		if d := b.send(t, req); strings.Contains(d.Client.Get("Location"), "evil.example") {
			t.Errorf("%s leads to %s", name, d.Client.Get("Location"))
		}
	}
}

// TestSignOutWithoutSession does the same as with one, but tells the provider
// nothing.
func TestSignOutWithoutSession(t *testing.T) {
	w := newWorld(t)
	ended := w.sessionOf(t, "", alice)
	w.clock.pass(idle)
	for name, req := range map[string]authz.Request{"no_cookie": signOut(), "ended_session": signed(signOut(), ended)} {
		d := w.check(t, req)
		if d.Reason != authz.SignedOut || d.Status != http.StatusSeeOther || d.Client.Get("Location") != "https://app.test/oauth2/signed_out" {
			t.Errorf("%s: %s %d to %s", name, d.Reason, d.Status, d.Client.Get("Location"))
		}
		if cookies := setCookies(d); len(cookies) != 1 || cookies[0].Name != sessionCookie || cookies[0].MaxAge >= 0 { // CK-A13
			t.Errorf("%s: Set-Cookie = %q", name, d.Client.Values("Set-Cookie"))
		}
	}
}

// TestSignOutStoreAway: a session that cannot be ended is not said to be.
func TestSignOutStoreAway(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.login(t, "/x", alice)
	cookie := b.cookie(sessionCookie)
	for _, away := range []string{"load", "load_whole", "delete", "everything"} {
		w.store.goAway(away)
		d := b.send(t, signOut())
		if d.Reason != authz.StoreUnavailable || has(d, "Set-Cookie") || b.cookie(sessionCookie) != cookie || !w.lives(t, cookie) {
			t.Errorf("%s away: %s with %v", away, d.Reason, d.Client)
		}
	}
	w.store.goAway()
	if d := b.send(t, signOut()); d.Reason != authz.SignedOut || w.lives(t, cookie) {
		t.Errorf("when the store is back: %s", d.Reason)
	}
}

// TestSignedOut: the state of a sign-out is checked when there is one.
func TestSignedOut(t *testing.T) {
	w := quickWorld(t)
	tests := []struct {
		name string
		at   string
		sent string // the state in the cookie
		want authz.Reason
	}{
		{"no_state", "/oauth2/signed_out", "", authz.SignedOut},
		{"provider_that_gives_no_state_back", "/oauth2/signed_out", "canary-state", authz.SignedOut},
		{"state", "/oauth2/signed_out?state=canary-state", "canary-state", authz.SignedOut},
		{"another_state", "/oauth2/signed_out?state=other", "canary-state", authz.Malformed},
		{"state_without_a_cookie", "/oauth2/signed_out?state=other", "", authz.Malformed},
		{"two_states", "/oauth2/signed_out?state=canary-state&state=other", "canary-state", authz.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := page(tt.at)
			if tt.sent != "" {
				req = with(req, "cookie", signOutCookie+"="+tt.sent)
			}
			if d := w.check(t, req); d.Reason != tt.want {
				t.Errorf("Check = %s, want %s", d.Reason, tt.want)
			}
		})
	}
}

// What cannot be opened can be ended: a session under a key that is gone keeps
// nobody from signing out.
func TestSignOutUnderAnUnknownKey(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	ring := w.vault.Sealer
	w.vault.Sealer = session.GenerateKeyring()
	d := w.check(t, signed(signOut(), cookie))
	if d.Reason != authz.SignedOut || d.Client.Get("Location") != "https://app.test/oauth2/signed_out" {
		t.Errorf("POST = %s to %s, want signed_out here alone", d.Reason, d.Client.Get("Location"))
	}
	w.vault.Sealer = ring
	if w.lives(t, cookie) {
		t.Error("the session lives on")
	}
}
