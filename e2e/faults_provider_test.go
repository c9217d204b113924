package e2e_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
)

func TestProviderAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true}, fault{})
	alice, bob := w.browser(t), w.browser(t)
	alice.signIn("alice").want(t, 200)
	callback := bob.atProvider(bob.get("/report").want(t, 302), "bob")
	before := w.replicas[0].decided(t, "provider_unavailable")

	w.idp.goAway()
	for range 20 {
		w.identity(t, alice.fetch("/data").passed(t))
	}
	w.browser(t).fetch(publicPath).passed(t)
	// Whoever was at the provider when it went away comes back to this.
	a := bob.get(callback).stopped(t, 503).page(t, "The sign-in service is not answering")
	if got := a.header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After is %q, want 30", got)
	}
	if n := w.replicas[0].decided(t, "provider_unavailable") - before; n != 1 {
		t.Errorf("provider_unavailable was counted %d times", n)
	}
	if n := len(bob.cookies()[sessionCookie]); n != 0 {
		t.Error("he has a session")
	}
	// Whoever comes now is not sent to a provider that is not there.
	carol := w.browser(t)
	for deadline := time.Now().Add(15 * time.Second); carol.get("/report").status != 503; {
		if time.Now().After(deadline) {
			t.Fatal("people are still sent to the provider")
		}
		time.Sleep(100 * time.Millisecond)
	}
	a = carol.get("/report").stopped(t, 503).page(t, "The sign-in service is not answering")
	if got := a.header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After is %q, want 30", got)
	}

	w.idp.comeBack()
	for deadline := time.Now().Add(5 * time.Second); carol.get("/report").status != 302; {
		if time.Now().After(deadline) {
			t.Fatal("nobody is sent to the provider that is back")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if got := bob.open("/report").want(t, 200).passed(t).target; got != "/report" {
		t.Errorf("he ends on %s", got)
	}
	alice.signOut().want(t, 200)
	alice.fetch("/data").stopped(t, 401)
}

// The session ends here even when the provider cannot be told.
func TestSignOutWhileProviderIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true}, fault{})
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	thief := alice.twin()
	w.idp.goAway()
	a := alice.do("POST", "/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin", "Origin: "+origin)
	a.want(t, 303)
	alice.fetch("/data").stopped(t, 401)
	thief.fetch("/data").stopped(t, 401)
}

// The provider answers, but not with what was asked for.
func TestProviderAnswersWithAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true}, fault{})
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	for _, tt := range []struct {
		name string
		oidctest.Fault
	}{
		{"503", oidctest.Fault{Status: 503, Body: "down"}},
		{"429", oidctest.Fault{Status: 429}},
		{"a_page", oidctest.Fault{Body: "<!doctype html>it works"}},
		{"nothing", oidctest.Fault{Drop: true}},
		{"two_megabytes", oidctest.Fault{Padding: 2 << 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.provider.SetLies(oidctest.Lies{Token: tt.Fault})
			defer w.provider.SetLies(oidctest.Lies{})
			keys := w.sessionsInRedis()
			bob := w.browser(t)
			callback := bob.atProvider(bob.get("/report").want(t, 302), "bob")
			began := time.Now()
			bob.get(callback).stopped(t, 503).page(t, "The sign-in service is not answering")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := w.sessionsInRedis(); got != keys {
				t.Errorf("%d sessions in Redis, want %d", got, keys)
			}
			alice.fetch("/data").passed(t)
		})
	}
	w.browser(t).signIn("bob").want(t, 200)
}

// sessionsInRedis is how many sessions there are.
func (w *world) sessionsInRedis() int {
	keys, _ := w.redis.Do("KEYS", "*:hot").([]any)
	return len(keys)
}
