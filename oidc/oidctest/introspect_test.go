package oidctest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/google/go-cmp/cmp"
)

func TestIntrospection(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(p *party, access, refresh *string)
		want   [2]any // active of the access token, and of the refresh token
	}{
		{"after_a_login", func(*party, *string, *string) {}, [2]any{true, true}},
		{"unknown_tokens", func(_ *party, access, refresh *string) { *access, *refresh = "a", "" }, [2]any{false, false}},
		{"signed_out", func(p *party, _, _ *string) { p.provider.SignOut("alice") }, [2]any{false, false}},
		{"refreshed", func(p *party, _, refresh *string) {
			if _, err := p.refresh(*refresh); err != nil {
				p.Error(err)
			}
		}, [2]any{true, false}},
		{"asked_by_another_client", func(p *party, _, _ *string) { p.ClientID, p.ClientSecret = other.ID, other.Secret }, [2]any{false, false}},
		{"asked_by_nobody", func(p *party, _, _ *string) { p.ClientSecret = "wrong" }, [2]any{nil, nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t, config())
			token, _ := p.mustLogIn(alice)
			access, refresh := token.AccessToken, token.RefreshToken
			tt.change(p, &access, &refresh)
			ask := func(token string) any {
				return p.see(http.MethodPost, p.provider.Issuer()+"/introspect", url.Values{"token": {token}})["active"]
			}
			if diff := cmp.Diff(tt.want, [2]any{ask(access), ask(refresh)}); diff != "" {
				t.Errorf("active (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARefreshCountsWhateverComesOfIt(t *testing.T) {
	p := serve(t, config())
	token, _ := p.mustLogIn(alice)
	if got := p.provider.Count(oidctest.RefreshAsked); got != 0 {
		t.Errorf("Count(RefreshAsked) after a login = %d, want 0", got)
	}
	_, _ = p.refresh("unknown")
	for _, fault := range []oidctest.Fault{{Status: 503}, {Drop: true}} {
		p.provider.SetLies(oidctest.Lies{Token: fault})
		_, _ = p.refresh(token.RefreshToken)
	}
	if asked, done := p.provider.Count(oidctest.RefreshAsked), p.provider.Count(oidctest.Refreshed); asked != 3 || done != 1 {
		t.Errorf("%d refreshes were asked for and %d done, want 3 and 1", asked, done)
	}
}
