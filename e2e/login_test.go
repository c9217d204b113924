package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
)

func TestSignInCallSignOut(t *testing.T) {
	for _, o := range []struct {
		name string
		setup
	}{
		{"sessions_in_memory", setup{}},
		{"sessions_in_redis", setup{Redis: true}},
		{"raw_headers", setup{RawHeaders: true}},
		{"login_inside_the_check", setup{InsideCheck: true}},
		{"two_replicas", setup{Redis: true, Replicas: 2}},
		{"the_real_binary", setup{Process: true}},
	} {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			stack := newStack(t, o.setup)
			alice := stack.browser(t)

			alice.fetch("/data").stopped(t, 401)
			page := alice.signInAt("/data?page=2", "alice").want(t, 200)
			if got := page.passed(t).target; got != "/data?page=2" {
				t.Errorf("she ends on %s, and asked for /data?page=2", got)
			}
			if got := names(alice.cookies()); len(got) != 1 || got[0] != sessionCookie {
				t.Errorf("her browser keeps the cookies %v, want only %s", got, sessionCookie)
			}
			for range 4 { // the replicas take turns
				claims := stack.identity(t, alice.fetch("/data").passed(t))
				if claims["email"] != "alice@example.org" {
					t.Errorf("the API learns %v", claims)
				}
			}

			thief := alice.twin()
			alice.signOut().want(t, 200).page(t, "signed out")
			if got := names(alice.cookies()); len(got) != 0 {
				t.Errorf("signed out, her browser still keeps %v", got)
			}
			for range 4 {
				alice.fetch("/data").stopped(t, 401)
				thief.fetch("/data").stopped(t, 401)
			}
			if n := stack.provider.Count(oidctest.EndSession); n != 1 {
				t.Errorf("the provider was told of %d sign-outs, want 1", n)
			}
			alice.open("/").stopped(t, 200).page(t, "Password") // its session ended too
		})
	}
}

func TestTwoTabsFinishInReverseOrder(t *testing.T) {
	t.Parallel()
	stack := newStack(t, setup{})
	alice := stack.browser(t)

	one, two := alice.get("/one").want(t, 302), alice.get("/two").want(t, 302)
	second := alice.atProvider(two, "alice")
	first := alice.atProvider(one, "alice")
	if got := alice.open(second).want(t, 200).passed(t).target; got != "/two" {
		t.Errorf("the second tab ends on %s", got)
	}
	if got := alice.open(first).want(t, 200).passed(t).target; got != "/one" {
		t.Errorf("the first tab ends on %s", got)
	}
	stack.identity(t, alice.fetch("/data").passed(t))
}

func TestCallbackReloaded(t *testing.T) {
	t.Parallel()
	stack := newStack(t, setup{Redis: true, Replicas: 2})
	alice := stack.browser(t)
	callback := alice.atProvider(alice.get("/data").want(t, 302), "alice")
	// The answer to this one is lost: its browser never learns of the session.
	unlucky := alice.twin()

	alice.get(callback).want(t, 303)
	alice.open(callback).want(t, 200).passed(t)
	if got := unlucky.open(callback).want(t, 200).passed(t).target; got != "/data" {
		t.Errorf("a callback sent again ends on %s", got)
	}
	stack.identity(t, unlucky.fetch("/data").passed(t))
	stack.wantOneExchange(t)
}

func TestCallbackArrivesManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	stack := newStack(t, setup{Redis: true, Replicas: 2})
	alice := stack.browser(t)
	callback := alice.atProvider(alice.get("/data").want(t, 302), "alice")

	var arrivals sync.WaitGroup
	sessions := make([]string, 6)
	for i := range sessions {
		twin := alice.twin()
		arrivals.Go(func() {
			twin.get(callback)
			sessions[i] = twin.cookies()[sessionCookie]
		})
	}
	arrivals.Wait()
	for i, s := range sessions {
		if s == "" || s != sessions[0] {
			t.Errorf("arrival %d of the callback did not end in the session of the first", i)
		}
	}
	stack.wantOneExchange(t)
}

// Envoy gives up after 300 ms, and the provider takes a second.
func TestCallbackInsideAShortCheck(t *testing.T) {
	t.Parallel()
	stack := newStack(t, setup{InsideCheck: true, CheckTimeout: 300 * time.Millisecond})
	alice := stack.browser(t)
	callback := alice.atProvider(alice.get("/data").want(t, 302), "alice")
	stack.provider.SetLies(oidctest.Lies{Token: oidctest.Fault{Delay: time.Second}})

	first := alice.get(callback).want(t, 503).page(t, `http-equiv="refresh"`)
	if first.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", first.header.Get("Retry-After"))
	}
	page := first
	for reloads := 0; page.status == http.StatusServiceUnavailable && reloads < 10; reloads++ {
		time.Sleep(300 * time.Millisecond)
		page = alice.get(callback)
	}
	if got := alice.follow(page).want(t, 200).passed(t).target; got != "/data" {
		t.Errorf("the reload ends on %s", got)
	}
	stack.identity(t, alice.fetch("/data").passed(t))
	stack.wantOneExchange(t)
}

// wantOneExchange fails the test unless one code was exchanged, once.
func (s *stack) wantOneExchange(t *testing.T) {
	t.Helper()
	for _, event := range []oidctest.Event{oidctest.TokenAsked, oidctest.CodeSpent} {
		if n := s.provider.Count(event); n != 1 {
			t.Errorf("the provider counts %d times %s, want 1", n, event)
		}
	}
}

// atProvider signs somebody in at oidctest's provider, and returns the callback
// to which the browser is sent, without going there.
func (p *person) atProvider(start *answer, name string) string {
	p.t.Helper()
	callback, err := oidctest.SignIn(p.t.Context(), p.http, start.header.Get("Location"), name, credentials(name)["password"])
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.HasPrefix(callback, origin+"/oauth2/callback?") {
		p.t.Fatalf("the provider sends her to %s", callback)
	}
	return callback
}
