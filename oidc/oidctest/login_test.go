package oidctest_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/countersign/countersign/oidc/oidctest"
)

func TestAnIndependentRelyingPartyIsContent(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			c := config()
			c.Algorithm, c.Issuer = algorithm, "/realm"
			p := serve(t, c)
			_, id := p.mustLogIn(alice)

			var got map[string]any
			if err := id.Claims(&got); err != nil {
				t.Fatal(err)
			}
			for _, varies := range []string{"sub", "exp", "iat", "auth_time", "nonce", "at_hash", "sid"} {
				if got[varies] == nil || got[varies] == "" {
					t.Errorf("claim %s is missing", varies)
				}
				delete(got, varies)
			}
			want := map[string]any{
				"iss": p.provider.Issuer(), "aud": "app", "acr": "1", "amr": []any{"pwd"},
				"name": "Alice Example", "preferred_username": "alice",
				"email": "alice@example.test", "email_verified": true,
				"groups": []any{"staff"}, "department": "accounts",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBothWaysOfClientAuthenticationWork(t *testing.T) {
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		p := serve(t, config())
		p.Endpoint.AuthStyle = style
		p.mustLogIn(alice)
		requests := p.provider.TokenRequests()
		if got := requests[len(requests)-1]; got.Client != "app" || got.Form.Has("client_secret") {
			t.Errorf("style %v: recorded client %q, with secret %t", style, got.Client, got.Form.Has("client_secret"))
		}
	}
}

func TestAClientThatIsNotItselfIsRefused(t *testing.T) {
	p := serve(t, config())
	q, a := p.signIn(alice)
	p.ClientSecret = "a guess"
	if _, _, err := p.finish(q, a); refused(err) != "invalid_client" {
		t.Errorf("exchange: %v, want invalid_client", err)
	}
	form := url.Values{"client_id": {"app"}, "client_secret": {app.Secret}, "grant_type": {"authorization_code"}}
	resp := p.post(p.provider.Issuer()+"/token", form, "Authorization", "Basic YTpi")
	if got := body(t, resp); !strings.Contains(got, "two ways") {
		t.Errorf("two ways at once: %s", got)
	}
}

func TestAScopeBringsItsClaims(t *testing.T) {
	p := serve(t, config())
	p.Scopes = []string{"openid"}
	token, id := p.mustLogIn(alice)
	var got map[string]any
	if err := id.Claims(&got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"email", "name", "groups", "preferred_username"} {
		if got[name] != nil {
			t.Errorf("claim %s came without its scope", name)
		}
	}
	if token.RefreshToken != "" {
		t.Error("a refresh token came without offline_access")
	}
}

func TestClaimsInUserinfoOnly(t *testing.T) {
	c := config()
	c.ClaimsInUserinfoOnly = true
	p := serve(t, c)
	token, id := p.mustLogIn(alice)
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if claims["email"] != nil || claims["department"] != nil {
		t.Errorf("ID token tells about the person: %v", claims)
	}
	discovered, err := oidc.NewProvider(p.ctx, p.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	info, err := discovered.UserInfo(p.ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	if info.Email != alice.Email {
		t.Errorf("userinfo email = %q, want %q", info.Email, alice.Email)
	}
}

func TestACodeIsGoodOnce(t *testing.T) {
	p := serve(t, config())
	q, a := p.signIn(alice)
	token, _, err := p.finish(q, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.finish(q, a); refused(err) != "invalid_grant" {
		t.Errorf("second exchange: %v, want invalid_grant", err)
	}
	// RFC 6749 §4.1.2: what the first one gave is revoked.
	if _, err := p.refresh(token.RefreshToken); refused(err) != "invalid_grant" {
		t.Errorf("refresh afterwards: %v, want invalid_grant", err)
	}
	if got := p.provider.Count(oidctest.ReplayRefused); got != 1 {
		t.Errorf("Count(ReplayRefused) = %d, want 1", got)
	}
}

func TestACodeIsBoundToItsRequest(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(p *party, a *attempt)
	}{
		{"another_verifier", func(_ *party, a *attempt) { a.verifier = oauth2.GenerateVerifier() }},
		{"no_verifier", func(_ *party, a *attempt) { a.verifier = "" }},
		{"another_redirect_uri", func(p *party, _ *attempt) { p.RedirectURL = goodbye }},
		{"another_client", func(p *party, _ *attempt) { p.ClientID, p.ClientSecret = other.ID, other.Secret }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t, config())
			q, a := p.signIn(alice)
			tt.spoil(p, &a)
			if _, _, err := p.finish(q, a); refused(err) != "invalid_grant" {
				t.Errorf("exchange: %v, want invalid_grant", err)
			}
			if got := p.provider.Count(oidctest.CodeSpent); got != 0 {
				t.Errorf("Count(CodeSpent) = %d, want 0", got)
			}
		})
	}
}

func TestThingsEnd(t *testing.T) {
	now := time.Now()
	c := config()
	c.Now = func() time.Time { return now }
	p := serve(t, c)

	q, a := p.signIn(alice)
	now = now.Add(time.Minute)
	if _, _, err := p.finish(q, a); refused(err) != "invalid_grant" {
		t.Errorf("code_ends_exactly_now: %v, want invalid_grant", err)
	}
	token, _ := p.mustLogIn(alice)
	now = now.Add(5 * time.Minute)
	resp := p.post(p.provider.Issuer()+"/userinfo", nil, "Authorization", "Bearer "+token.AccessToken)
	if resp.StatusCode != 401 {
		t.Errorf("access_token_ends_exactly_now: status %d, want 401", resp.StatusCode)
	}
	now = now.Add(24 * time.Hour)
	if _, err := p.refresh(token.RefreshToken); refused(err) != "invalid_grant" {
		t.Errorf("refresh_token_ends: %v, want invalid_grant", err)
	}
	address, _ := p.begin("prompt=none")
	if got := p.get(address).Header.Get("Location"); !strings.Contains(got, "error=login_required") {
		t.Errorf("session_ends: sent to %s", got)
	}
}

func TestRefreshTokensRotate(t *testing.T) {
	p := serve(t, config())
	first, before := p.mustLogIn(alice)
	promoted := alice
	promoted.Groups = []string{"staff", "admins"}
	if err := p.provider.SetPerson(promoted); err != nil {
		t.Fatal(err)
	}
	second, err := p.refresh(first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	discovered, err := oidc.NewProvider(p.ctx, p.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.verify(discovered, second, "")
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Groups []string }
	if err := after.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(promoted.Groups, claims.Groups); diff != "" || after.Subject != before.Subject {
		t.Errorf("refreshed: same subject %t, groups (-want +got):\n%s", after.Subject == before.Subject, diff)
	}

	if _, err := p.refresh(first.RefreshToken); refused(err) != "invalid_grant" {
		t.Errorf("reuse of the first: %v, want invalid_grant", err)
	}
	if _, err := p.refresh(second.RefreshToken); refused(err) != "invalid_grant" {
		t.Errorf("the family after reuse: %v, want invalid_grant", err)
	}
	if got := p.provider.Count(oidctest.Refreshed); got != 1 {
		t.Errorf("Count(Refreshed) = %d, want 1", got)
	}
}

func TestATokenMayBeRevoked(t *testing.T) {
	p := serve(t, config())
	token, _ := p.mustLogIn(alice)
	form := url.Values{"token": {token.RefreshToken}, "client_id": {app.ID}, "client_secret": {app.Secret}}
	if got := p.post(p.provider.Issuer()+"/revoke", form).StatusCode; got != 200 {
		t.Fatalf("revocation: status %d", got)
	}
	if _, err := p.refresh(token.RefreshToken); refused(err) != "invalid_grant" {
		t.Errorf("refresh: %v, want invalid_grant", err)
	}
	resp := p.post(p.provider.Issuer()+"/userinfo", nil, "Authorization", "Bearer "+token.AccessToken)
	if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("userinfo: status %d, WWW-Authenticate %s", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
	}
}

func TestAnAdministratorSignsSomebodyOut(t *testing.T) {
	p := serve(t, config())
	token, _ := p.mustLogIn(alice)
	p.provider.SignOut("alice")
	if _, err := p.refresh(token.RefreshToken); refused(err) != "invalid_grant" {
		t.Errorf("refresh: %v, want invalid_grant", err)
	}
	address, _ := p.begin()
	if got := p.get(address).StatusCode; got != 200 {
		t.Errorf("authorization: status %d, want the sign-in page", got)
	}
	p.provider.RemovePerson("bob")
	if _, err := oidctest.SignIn(p.ctx, p.browser, address, bob.Username, bob.Password); !errors.Is(err, oidctest.ErrStayed) {
		t.Errorf("bob is gone: %v, want ErrStayed", err)
	}
}

func TestKeysRotate(t *testing.T) {
	p := serve(t, config())
	_, _ = p.mustLogIn(alice)
	old := p.provider.KeyID()
	if err := p.provider.RotateKey(); err != nil {
		t.Fatal(err)
	}
	published := body(t, p.get(p.provider.Issuer()+"/keys"))
	if !strings.Contains(published, old) || !strings.Contains(published, p.provider.KeyID()) {
		t.Error("the old key, or the new one, is not published")
	}
	p.mustLogIn(alice)
	p.provider.DropOldKeys()
	if strings.Contains(body(t, p.get(p.provider.Issuer()+"/keys")), old) {
		t.Error("the old key is still published")
	}
	p.mustLogIn(alice)
}

func TestWhatIsRecorded(t *testing.T) {
	p := serve(t, config())
	_, a := p.signIn(alice, "login_hint=alice")
	all := p.provider.Authorizations()
	// The page is filled in without a second request.
	if len(all) != 1 || all[0].Get("nonce") != a.nonce || all[0].Get("login_hint") != "alice" {
		t.Errorf("Authorizations = %v", all)
	}
	for range 100 {
		p.signIn(alice)
	}
	if got := len(p.provider.Authorizations()); got != 64 {
		t.Errorf("%d authorizations are kept, want 64", got)
	}
	if got := p.provider.Count(oidctest.Authorize); got != 101 {
		t.Errorf("Count(Authorize) = %d, want 101", got)
	}
}
