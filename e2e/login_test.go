package e2e_test

import (
	"testing"
)

func TestSignInCallSignOut(t *testing.T) {
	for _, o := range []struct {
		name string
		setup
	}{
		{"sessions_in_memory", setup{}},
		{"sessions_in_redis", setup{Redis: true}},
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
			claims := stack.identity(t, alice.fetch("/data").passed(t))
			if claims["email"] != "alice@example.org" {
				t.Errorf("the API learns %v", claims)
			}

			thief := alice.twin()
			alice.signOut().want(t, 200).page(t, "signed out")
			alice.fetch("/data").stopped(t, 401)
			thief.fetch("/data").stopped(t, 401)
		})
	}
}
