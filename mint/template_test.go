package mint_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/mint"
)

func TestTemplateValidate(t *testing.T) {
	with := func(change func(*mint.Template)) *mint.Template {
		tmpl := template(map[string]string{"email": "user.email"})
		change(tmpl)
		return tmpl
	}
	lasting := func(d time.Duration) *mint.Template {
		return with(func(t *mint.Template) { t.Lifetime = d })
	}
	tests := []struct {
		name string
		tmpl *mint.Template
		want string
	}{
		{"good", template(map[string]string{"email": "user.email"}), ""},
		{"a_second", lasting(time.Second), ""},
		{"an_hour", lasting(time.Hour), ""},
		{"no_issuer", with(func(t *mint.Template) { t.Issuer = "" }), "issuer: must not be empty"},
		{"no_audience", with(func(t *mint.Template) { t.Audience = "" }), "audience: must not be empty"},
		{"less_than_a_second", lasting(time.Second - 1), "lifetime: 999.999999ms is not between 1s and 1h0m0s"},
		{"more_than_an_hour", lasting(time.Hour + 1), "lifetime: 1h0m0.000000001s is not between 1s and 1h0m0s"},
		{"negative", lasting(-time.Minute), "lifetime: -1m0s is not between 1s and 1h0m0s"},
		{"a_claim_without_a_name", template(map[string]string{"": `"x"`}), "claims: a name must not be empty"},
		{
			"every_problem_at_once", &mint.Template{Claims: template(map[string]string{"sub": `"x"`, "exp": `"y"`}).Claims},
			"issuer: must not be empty\naudience: must not be empty\n" +
				"claims.exp: is stated by Countersign itself and cannot be configured\n" +
				"claims.sub: is stated by Countersign itself and cannot be configured",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.tmpl.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Validate = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOurOwnClaimsCannotBeConfigured(t *testing.T) {
	own := []string{"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "idp", "auth_time", "acr", "amr"}
	for _, name := range own {
		if err := template(map[string]string{name: `"x"`}).Validate(); err == nil {
			t.Errorf("Validate accepts a configured %s", name)
		}
	}
	for _, name := range []string{"Sub", "scope", "email", "azp", "sub "} {
		if err := template(map[string]string{name: `"x"`}).Validate(); err != nil {
			t.Errorf("Validate refuses a configured %q: %v", name, err)
		}
	}
}
