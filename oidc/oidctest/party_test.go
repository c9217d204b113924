package oidctest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/countersign/countersign/oidc/oidctest"
)

const (
	callback = "https://app.test/callback"
	goodbye  = "https://app.test/goodbye"
)

var (
	alice = oidctest.Person{
		Username: "alice", Password: "alice's password", Name: "Alice Example",
		Email: "alice@example.test", EmailVerified: true, Groups: []string{"staff"},
		Claims: map[string]any{"department": "accounts"},
	}
	bob = oidctest.Person{Username: "bob", Password: "bob's password"}
	app = oidctest.Client{
		ID: "app", Secret: "app's secret: +/%", Name: "The App",
		RedirectURIs: []string{callback}, PostLogoutRedirectURIs: []string{goodbye},
	}
	other = oidctest.Client{ID: "other", Secret: "other's secret", RedirectURIs: []string{callback}}
)

func config() oidctest.Config {
	return oidctest.Config{
		Clients: []oidctest.Client{app, other},
		People:  []oidctest.Person{alice, bob},
	}
}

// party is a relying party made of x/oauth2 and go-oidc, with one browser.
type party struct {
	*testing.T
	provider *oidctest.Provider
	browser  *http.Client
	ctx      context.Context
	oauth2.Config
}

func serve(t *testing.T, c oidctest.Config) *party {
	t.Helper()
	p := oidctest.Serve(t, c)
	return newParty(t, p, app)
}

func newParty(t *testing.T, p *oidctest.Provider, client oidctest.Client) *party {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &party{
		T: t, provider: p,
		browser: &http.Client{Transport: transport, Jar: jar},
		ctx:     oidc.ClientContext(t.Context(), &http.Client{Transport: transport}),
		Config: oauth2.Config{
			ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: callback,
			Scopes: []string{"openid", "profile", "email", "groups", "offline_access"},
			Endpoint: oauth2.Endpoint{
				AuthURL: p.Issuer() + "/authorize", TokenURL: p.Issuer() + "/token",
				AuthStyle: oauth2.AuthStyleInHeader,
			},
		},
	}
}

// attempt is what a relying party remembers between the two halves of a login.
type attempt struct{ state, nonce, verifier string }

// begin is the address of an authorization request; more is "name=value".
func (p *party) begin(more ...string) (string, attempt) {
	a := attempt{state: oauth2.GenerateVerifier(), nonce: oauth2.GenerateVerifier(), verifier: oauth2.GenerateVerifier()}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.verifier), oidc.Nonce(a.nonce)}
	for _, m := range more {
		name, value, _ := strings.Cut(m, "=")
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	return p.AuthCodeURL(a.state, options...), a
}

// signIn is the first half of a login: the parameters of the callback.
func (p *party) signIn(who oidctest.Person, more ...string) (url.Values, attempt) {
	p.Helper()
	address, a := p.begin(more...)
	got, err := oidctest.SignIn(p.ctx, p.browser, address, who.Username, who.Password)
	if err != nil {
		p.Fatalf("SignIn: %v", err)
	}
	u, err := url.Parse(got)
	if err != nil {
		p.Fatal(err)
	}
	if !strings.HasPrefix(got, callback+"?") {
		p.Fatalf("SignIn leads to %s, want %s", got, callback)
	}
	return u.Query(), a
}

// logIn is a whole login, with every check that go-oidc and its callers make.
func (p *party) logIn(who oidctest.Person, more ...string) (*oauth2.Token, *oidc.IDToken, error) {
	p.Helper()
	q, a := p.signIn(who, more...)
	return p.finish(q, a)
}

func (p *party) finish(q url.Values, a attempt) (*oauth2.Token, *oidc.IDToken, error) {
	switch {
	case q.Get("error") != "":
		return nil, nil, errors.New("callback error: " + q.Get("error"))
	case q.Get("state") != a.state:
		return nil, nil, errors.New("callback state is another one")
	case q.Get("iss") != p.provider.Issuer():
		return nil, nil, errors.New("callback issuer is another one")
	}
	discovered, err := oidc.NewProvider(p.ctx, p.provider.Issuer())
	if err != nil {
		return nil, nil, fmt.Errorf("discovery: %w", err)
	}
	token, err := p.Exchange(p.ctx, q.Get("code"), oauth2.VerifierOption(a.verifier))
	if err != nil {
		return nil, nil, fmt.Errorf("exchange: %w", err)
	}
	id, err := p.verify(discovered, token, a.nonce)
	return token, id, err
}

func (p *party) verify(discovered *oidc.Provider, token *oauth2.Token, nonce string) (*oidc.IDToken, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("id_token is missing")
	}
	id, err := discovered.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(p.ctx, raw)
	if err != nil {
		return nil, err
	}
	if id.Nonce != nonce {
		return nil, errors.New("nonce is another one")
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		return nil, err
	}
	info, err := discovered.UserInfo(p.ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	if info.Subject != id.Subject {
		return nil, errors.New("userinfo is somebody else's")
	}
	return id, nil
}

// mustLogIn is a login that has to work.
func (p *party) mustLogIn(who oidctest.Person, more ...string) (*oauth2.Token, *oidc.IDToken) {
	p.Helper()
	token, id, err := p.logIn(who, more...)
	if err != nil {
		p.Fatalf("login of %s: %v", who.Username, err)
	}
	return token, id
}

func (p *party) refresh(refreshToken string) (*oauth2.Token, error) {
	return p.TokenSource(p.ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
}

// get is a step of the browser that stops at redirects.
func (p *party) get(address string) *http.Response {
	p.Helper()
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, address, nil)
	if err != nil {
		p.Fatal(err)
	}
	return p.do(req)
}

func (p *party) post(address string, form url.Values, header ...string) *http.Response {
	p.Helper()
	req, err := http.NewRequestWithContext(p.ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return p.do(req)
}

func (p *party) do(req *http.Request) *http.Response {
	p.Helper()
	stops := *p.browser
	stops.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := stops.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { resp.Body.Close() })
	return resp
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// refused reports the error code of the token endpoint's answer.
func refused(err error) string {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return e.ErrorCode
	}
	return fmt.Sprint(err)
}

// genuine reports whether one of the published keys signed token.
func (p *party) genuine(token string) bool {
	keys := oidc.NewRemoteKeySet(p.ctx, p.provider.Issuer()+"/keys")
	_, err := keys.VerifySignature(p.ctx, token)
	return err == nil
}
