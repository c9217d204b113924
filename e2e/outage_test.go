package e2e_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/session/redis/redistest"
)

// Envoy asks, and nobody is there to answer.
func TestNothingPassesWhileCountersignIsGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		goes func(*testing.T, *countersign)
	}{
		{"stopped", func(t *testing.T, c *countersign) {
			t.Helper()
			if err := c.stop(); err != nil { // a child's status other than 0, too
				t.Errorf("it ended with %v", err)
			}
		}},
		{"killed", func(t *testing.T, c *countersign) {
			t.Helper()
			c.signal(t, syscall.SIGKILL)
			if err := c.stop(); err == nil {
				t.Error("it ended well, although it was killed")
			}
		}},
		// It is there, and does not move.
		{"frozen", func(t *testing.T, c *countersign) {
			t.Helper()
			redistest.FreezeProcess(t, c.process.Process.Pid)
			t.Cleanup(func() { c.signal(t, syscall.SIGCONT) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stack := newStack(t, setup{Process: true, Apps: headerApps, CheckTimeout: time.Second})
			alice, nobody := stack.browser(t), stack.browser(t)
			alice.signInAt("/required", "alice").want(t, 200)
			alice.fetch("/public").passed(t)

			tt.goes(t, stack.replicas[0])
			before := stack.arrivals()
			for _, path := range []string{"/required", "/optional", "/public", "/nowhere"} {
				alice.fetch(path).stopped(t, 503)
				nobody.get(path).stopped(t, 503)
			}
			if n := stack.arrivals() - before; n != 0 {
				t.Errorf("%d requests reached an upstream", n)
			}
		})
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
