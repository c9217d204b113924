package e2e_test

import (
	"strings"
	"testing"
)

// npm's oidc-provider is a certified implementation that nobody here wrote. It
// keeps the claims out of the ID token and asks before it signs anybody out.
func TestNPMProvider(t *testing.T) {
	for _, release := range []string{"op9", "op7"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			stack := newStack(t, setup{Provider: release})
			carol := stack.browser(t)

			form := carol.open("/data").stopped(t, 200).page(t, "Sign in")
			if !strings.HasPrefix(form.url.String(), stack.provider.issuer) {
				t.Fatalf("the login is at %v, not at the provider", form.url)
			}
			page := carol.submit(form, map[string]string{"user": "carol"}).want(t, 200)
			if got := page.passed(t).target; got != "/data" {
				t.Errorf("she ends on %s", got)
			}
			claims := stack.identity(t, carol.fetch("/data").passed(t))
			if claims["email"] != "carol@example.test" {
				t.Errorf("userinfo says who she is, but the API learns %v", claims)
			}
			if groups, _ := claims["groups"].([]any); len(groups) != 1 || groups[0] != "staff" {
				t.Errorf("her groups are %v", claims["groups"])
			}
			if claims["idp"] != stack.provider.issuer || claims["sub"] != "carol" {
				t.Errorf("idp and sub are %v and %v", claims["idp"], claims["sub"])
			}

			last := carol.signOut().want(t, 200).page(t, "signed out")
			if last.url.Host != host || last.url.Path != "/oauth2/signed_out" {
				t.Errorf("signing out ends at %v", last.url)
			}
			carol.fetch("/data").stopped(t, 401)
			// Nor does the provider know her: it shows its form again.
			carol.open("/data").stopped(t, 200).page(t, `name="user"`)
		})
	}
}
