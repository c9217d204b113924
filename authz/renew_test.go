package authz_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
)

// Of renewingWorld: what the provider's access tokens live, and the grace.
const (
	accessLife = 5 * time.Minute
	grace      = 2 * time.Minute
)

// renewingWorld has a provider that is asked about sessions, and alice, who just
// signed in.
func renewingWorld(tb testing.TB) (*world, *browser) {
	tb.Helper()
	w := newWorld(tb)
	w.vault.Revalidation = session.Revalidation{Via: session.ViaRefresh, Every: time.Hour, Grace: grace}
	b := w.browser()
	b.login(tb, "/x", alice)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.vault.Wait(ctx); err != nil {
			tb.Errorf("Wait = %v", err)
		}
	})
	return w, b
}

// want fails the test unless a request of b's is answered with reason.
func (b *browser) want(tb testing.TB, req authz.Request, reason authz.Reason) authz.Decision {
	tb.Helper()
	d := b.send(tb, req)
	if d.Reason != reason {
		tb.Fatalf("Check(%s) = %s (%v), want %s", req.Path, d.Reason, d.Cause, reason)
	}
	return d
}

func TestRenew(t *testing.T) {
	t.Run("ahead_of_time_without_waiting", func(t *testing.T) {
		w, b := renewingWorld(t)
		w.clock.pass(accessLife * 69 / 100)
		b.want(t, page("/x"), authz.SignedIn)
		if n := w.Count(oidctest.RefreshAsked); n != 0 {
			t.Errorf("the provider was asked %d times at 69 %%", n)
		}
		w.clock.pass(accessLife * 22 / 100)
		b.want(t, page("/x"), authz.SignedIn)
		await(t, func() bool { return w.Count(oidctest.Refreshed) == 1 })
	})
	t.Run("in_line_when_it_is_due", func(t *testing.T) {
		w, b := renewingWorld(t)
		cookie := b.cookie(sessionCookie)
		w.clock.pass(accessLife)
		for range 5 {
			b.want(t, page("/x"), authz.SignedIn)
		}
		if n := w.Count(oidctest.Refreshed); n != 1 || b.cookie(sessionCookie) != cookie {
			t.Errorf("%d refreshes, want 1 and the same cookie", n)
		}
	})
	t.Run("for_userinfo_too", func(t *testing.T) {
		w, b := renewingWorld(t)
		w.clock.pass(accessLife)
		b.want(t, program("/oauth2/userinfo"), authz.Information)
		if n := w.Count(oidctest.Refreshed); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
	t.Run("not_where_nobody_asks_who_it_is", func(t *testing.T) {
		w, b := renewingWorld(t)
		w.clock.pass(accessLife)
		b.want(t, page("/public/x"), authz.Public)
		b.want(t, page("/oauth2/sign_out"), authz.SignedOut)
		if n := w.Count(oidctest.RefreshAsked); n != 0 {
			t.Errorf("the provider was asked %d times", n)
		}
	})
	t.Run("reads_the_claims_anew_and_the_rules_decide_on_them", func(t *testing.T) {
		w, b := renewingWorld(t)
		b.want(t, page("/admin/x"), authz.SignedIn)
		demoted := alice
		demoted.Groups = nil
		if err := w.SetPerson(demoted); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(accessLife)
		b.want(t, page("/admin/x"), authz.Forbidden)
		b.want(t, page("/x"), authz.SignedIn)
	})
	t.Run("ends_the_session_that_the_provider_ended", func(t *testing.T) {
		w, b := renewingWorld(t)
		cookie := b.cookie(sessionCookie)
		w.RemovePerson(alice.Username)
		w.clock.pass(accessLife)
		if d := b.want(t, page("/x"), authz.LoginRequired); d.Status != http.StatusFound {
			t.Errorf("a page is answered with %d, want a login", d.Status)
		}
		b.want(t, program("/x"), authz.LoginRequired)
		b.want(t, page("/optional/x"), authz.Public)
		if w.lives(t, cookie) {
			t.Error("the session lives on")
		}
	})
}

func TestRenewWithoutAnAnswer(t *testing.T) {
	away := oidctest.Lies{Token: oidctest.Fault{Status: http.StatusInternalServerError}}
	t.Run("passes_for_the_grace_and_is_then_503", func(t *testing.T) {
		w, b := renewingWorld(t)
		cookie := b.cookie(sessionCookie)
		w.SetLies(away)
		w.clock.pass(accessLife)
		b.want(t, page("/x"), authz.SignedIn)
		w.clock.pass(grace)
		d := b.want(t, page("/x"), authz.ProviderUnavailable)
		if d.Client.Get("Retry-After") != "30" || has(d, "Set-Cookie") || !w.lives(t, cookie) {
			t.Errorf("header = %v, want Retry-After 30, and nothing lost", d.Client)
		}
		w.SetLies(oidctest.Lies{})
		w.clock.pass(time.Minute)
		b.want(t, page("/x"), authz.SignedIn)
	})
	t.Run("does_not_ask_at_every_request", func(t *testing.T) {
		w, b := renewingWorld(t)
		w.SetLies(away)
		w.clock.pass(accessLife)
		for range 50 {
			b.want(t, page("/x"), authz.SignedIn)
		}
		if n := w.Count(oidctest.TokenAsked); n > 3 { // one of them was the login's
			t.Errorf("the token endpoint was asked %d times", n)
		}
	})
	t.Run("passes_when_the_callers_time_is_up", func(t *testing.T) {
		w, b := renewingWorld(t)
		held := make(chan struct{})
		w.network.onRequest(func(*http.Request) { <-held })
		w.clock.pass(accessLife)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if d := w.checkWithin(ctx, t, b.carry(page("/x"))); d.Reason != authz.SignedIn {
			t.Errorf("Check = %s (%v), want signed_in", d.Reason, d.Cause)
		}
		close(held)
		await(t, func() bool { return w.Count(oidctest.Refreshed) == 1 })
		b.want(t, page("/x"), authz.SignedIn)
	})
	t.Run("is_out_when_the_session_was_ended_meanwhile", func(t *testing.T) {
		w, b := renewingWorld(t)
		held := make(chan struct{})
		token, _ := session.ParseToken(b.cookie(sessionCookie))
		w.network.onRequest(func(*http.Request) {
			if err := w.vault.Delete(context.Background(), token.ID()); err != nil {
				t.Error(err)
			}
			<-held
		})
		w.clock.pass(accessLife)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if d := w.checkWithin(ctx, t, b.carry(page("/x"))); d.Reason != authz.LoginRequired {
			t.Errorf("Check = %s (%v), want login_required", d.Reason, d.Cause)
		}
		close(held)
	})
	t.Run("of_the_store_loses_nothing", func(t *testing.T) {
		w, b := renewingWorld(t)
		w.clock.pass(accessLife + grace)
		w.store.goAway("load_whole")
		b.want(t, page("/x"), authz.StoreUnavailable)
		w.store.goAway()
		w.clock.pass(time.Minute)
		b.want(t, page("/x"), authz.SignedIn)
	})
}
