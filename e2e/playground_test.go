package e2e_test

import (
	"testing"
)

// playground is the configuration that Countersign was begun for: a chat
// playground and its API behind one Envoy.
const playground = `
  - url: https://app.example.test
    allow: {email_domains: [example.org]}
    token:
      issuer: playground
      audience: api
      header: authorization
      claims: {scope: '"playground"', email: user.email}
    rules:
      - {path: /ping, access: public}
      - {path: /v1/**, bearer: passthrough}
      - {path: /**}
`

func newPlayground(t *testing.T) *stack {
	t.Helper()
	return newStack(t, setup{Apps: playground, Routes: []route{
		{"/ping", "api"}, {"/v1/", "api"}, {"/api/", "api"}, {"/", "playground"},
	}})
}

func TestPlayground(t *testing.T) {
	t.Parallel()
	stack := newPlayground(t)

	t.Run("ping_is_open", func(t *testing.T) {
		nobody := stack.browser(t)
		saw := nobody.fetch("/ping", "Authorization: Bearer "+forgery).passed(t)
		if lines := saw.spelled("authorization"); len(lines) > 0 {
			t.Errorf("the API saw %v, and would take it for ours", lines)
		}
	})

	t.Run("alice_gets_in", func(t *testing.T) {
		alice := stack.browser(t)
		alice.fetch("/api/models").stopped(t, 401)
		page := alice.signIn("alice").want(t, 200).page(t, "This is the playground")
		if page.passed(t).target != "/" {
			t.Errorf("she ends on %s", page.saw.target)
		}
		saw := alice.fetch("/api/models", "Authorization: Bearer "+forgery).passed(t)
		if saw.upstream != "api" {
			t.Errorf("the %s saw her call", saw.upstream)
		}
		claims := stack.verify(t, bearerOf(t, saw), "playground", "api")
		for claim, want := range map[string]any{"iss": "playground", "scope": "playground", "email": "alice@example.org"} {
			if claims[claim] != want {
				t.Errorf("%s is %v, want %v", claim, claims[claim], want)
			}
		}
		if lines := saw.spelled(assertion); len(lines) > 0 {
			t.Errorf("the API saw %v too", lines)
		}
	})

	t.Run("guest_is_refused_by_name", func(t *testing.T) {
		guest := stack.browser(t)
		guest.signIn("guest").stopped(t, 403).page(t,
			"You do not have access", `data-reason="forbidden"`, "guest@elsewhere.example", "Use another account", "Sign out")
		guest.fetch("/api/models").stopped(t, 403).page(t, `"reason":"forbidden"`)
		if n := stack.recorders["playground"].count(); n != 1 { // alice's
			t.Errorf("the playground saw %d requests", n)
		}
	})

	t.Run("a_key_of_the_api_passes_through", func(t *testing.T) {
		const key = "Bearer sk-4f9a2c"
		alice := stack.browser(t)
		alice.signIn("alice").want(t, 200)
		for who, person := range map[string]*person{"nobody": stack.browser(t), "alice": alice} {
			saw := person.fetch("/v1/chat/completions", "Authorization: "+key, assertion+": "+forgery).passed(t)
			if got := saw.values("authorization"); len(got) != 1 || got[0] != key {
				t.Errorf("%s: the API saw the keys %q", who, got)
			}
			for _, fault := range mustHold(saw, "") {
				t.Errorf("%s: %s", who, fault)
			}
		}
		// Anywhere else the same key opens nothing, and is no identity.
		stack.browser(t).fetch("/api/models", "Authorization: "+key).stopped(t, 401)
		stack.browser(t).fetch("/v1/chat/completions").stopped(t, 401)
	})
}
