package e2e_test

import (
	"testing"
)

// Envoy asks, and nobody is there to answer.
func TestNothingPassesWhileCountersignIsGone(t *testing.T) {
	t.Parallel()
	stack := newStack(t, setup{Apps: headerApps})
	alice := stack.browser(t)
	alice.signInAt("/required", "alice").want(t, 200)
	alice.fetch("/public").passed(t)

	if err := stack.replicas[0].stop(); err != nil {
		t.Fatal(err)
	}
	before := stack.arrivals()
	for _, path := range []string{"/required", "/optional", "/public", "/staff", "/nowhere"} {
		for range 3 {
			alice.fetch(path).stopped(t, 503)
			stack.browser(t).get(path).stopped(t, 503)
		}
	}
	alice.get("/oauth2/userinfo").stopped(t, 503)
	if n := stack.arrivals() - before; n != 0 {
		t.Errorf("%d requests reached an upstream", n)
	}
}

// One of two replicas goes away. Each request is answered by the other, or by
// nobody; none passes unasked.
func TestOneReplicaIsGone(t *testing.T) {
	t.Parallel()
	stack := newStack(t, setup{Redis: true, Replicas: 2})
	alice, nobody := stack.browser(t), stack.browser(t)
	alice.signIn("alice").want(t, 200)

	if err := stack.replicas[1].stop(); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for range 10 {
		if a := nobody.fetch("/data"); a.saw != nil || a.status != 401 && a.status != 503 {
			t.Errorf("nobody gets %d", a.status)
		}
		a := alice.fetch("/data")
		switch {
		case a.saw != nil:
			stack.identity(t, a.saw)
			passed++
		case a.status != 503:
			t.Errorf("alice gets %d", a.status)
		}
	}
	if passed == 0 {
		t.Error("the replica that is left lets nobody pass")
	}
}

// A child that is told to stop ends well: status 0, which stop reports.
func TestRealBinaryEndsOnSIGTERM(t *testing.T) {
	t.Parallel()
	stack := newStack(t, setup{Process: true})
	alice := stack.browser(t)
	alice.signIn("alice").want(t, 200)
	if err := stack.replicas[0].stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	alice.fetch("/data").stopped(t, 503)
}
