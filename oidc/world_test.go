package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

const (
	issuer   = "https://id.test"
	redirect = "https://app.test/oauth2/callback"

	clientSecret = "canary-client-secret"
)

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	alice = oidctest.Person{
		Username: "alice", Password: "pw", Subject: "a1", Name: "Alice Martin",
		Email: "alice@example.org", EmailVerified: true, Groups: []string{"staff", "admin"},
	}
)

// world is a provider and its client, in one process without a network, at noon.
type world struct {
	*oidctest.Provider
	client *oidc.Provider
	config oidc.Config
}

// inside is a network with a provider on it and nobody else.
type inside struct{ http.Handler }

func (n inside) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("connection closed")
		}
	}()
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	n.ServeHTTP(answer, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp = answer.Result()
	resp.Request = r
	return resp, nil
}

// newWorld makes a world that is not discovered yet.
func newWorld(tb testing.TB, change func(*oidctest.Config, *oidc.Config)) *world {
	tb.Helper()
	theirs := oidctest.Config{
		Issuer:  issuer,
		Clients: []oidctest.Client{{ID: "app", Secret: clientSecret, RedirectURIs: []string{redirect}}},
		People:  []oidctest.Person{alice},
		Now:     func() time.Time { return noon },
	}
	ours := oidc.Config{
		Name: "main", Issuer: issuer, ClientID: "app", ClientSecret: clientSecret,
		Scopes: []string{"openid", "email", "profile", "groups"},
		Now:    func() time.Time { return noon },
	}
	if change != nil {
		change(&theirs, &ours)
	}
	provider, err := oidctest.New(theirs)
	if err != nil {
		tb.Fatal(err)
	}
	if ours.Transport == nil {
		ours.Transport = inside{provider}
	}
	client, err := oidc.New(ours)
	if err != nil {
		tb.Fatal(err)
	}
	return &world{provider, client, ours}
}

// discovered makes a world whose client knows its provider.
func discovered(tb testing.TB, change func(*oidctest.Config, *oidc.Config)) *world {
	tb.Helper()
	w := newWorld(tb, change)
	run(tb, w.client)
	await(tb, func() bool { return w.client.Ready() == nil && w.Count(oidctest.Keys) > 0 })
	return w
}

func run(tb testing.TB, p *oidc.Provider) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-done })
}

func await(tb testing.TB, so func() bool) {
	tb.Helper()
	for range 5000 {
		if so() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	tb.Fatal("waited too long")
}

// signIn begins an attempt and lets alice sign in.
func (w *world) signIn(tb testing.TB) (oidc.Attempt, url.Values) {
	tb.Helper()
	attempt, address, err := w.client.Begin(w.config.Now(), redirect, "/wanted?page=1", false)
	if err != nil {
		tb.Error(err)
		return attempt, nil
	}
	browser := &http.Client{Transport: w.config.Transport}
	callback, err := oidctest.SignIn(tb.Context(), browser, address, "alice", "pw")
	if err != nil {
		tb.Error(err)
		return attempt, nil
	}
	u, err := url.Parse(callback)
	if err != nil {
		tb.Error(err)
		return attempt, nil
	}
	return attempt, u.Query()
}

// login is a whole login of alice.
func (w *world) login(tb testing.TB) (oidc.Grant, error) {
	tb.Helper()
	attempt, query := w.signIn(tb)
	grant, err := w.client.Finish(tb.Context(), attempt, redirect, query)
	mustHold(tb, grant, err)
	return grant, err
}

// attempt is one that needs no provider to begin, with the query that ends it.
func attempt() (oidc.Attempt, url.Values) {
	return oidc.Attempt{Provider: "main", State: "s", Nonce: "n", Verifier: "v", Started: noon},
		url.Values{"state": {"s"}, "code": {"c"}, "iss": {issuer}}
}

// present finishes a login at a provider whose token endpoint answers with this
// ID token and userinfo.
func (w *world) present(tb testing.TB, idToken, tokenType string, more map[string]string) (oidc.Grant, error) {
	tb.Helper()
	extra := ""
	for k, v := range more {
		extra += fmt.Sprintf(",%q:%s", k, v)
	}
	w.SetLies(oidctest.Lies{Token: oidctest.Fault{
		Body: fmt.Sprintf(`{"access_token":"at","token_type":%q,"id_token":%q%s}`, tokenType, idToken, extra),
	}})
	a, query := attempt()
	grant, err := w.client.Finish(tb.Context(), a, redirect, query)
	mustHold(tb, grant, err)
	return grant, err
}

// genuine are the claims of an ID token for the attempt of attempt().
func genuine() map[string]any {
	return map[string]any{
		"iss": issuer, "aud": "app", "sub": "a1", "nonce": "n", "iat": noon.Unix(), "exp": noon.Unix() + 300,
		"email": "alice@example.org", "email_verified": true, "name": "Alice Martin", "groups": []string{"staff"},
	}
}

func (w *world) sign(tb testing.TB, claims map[string]any) string {
	tb.Helper()
	token, err := w.Sign("JWT", claims)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// mustHold is true of every end of a login.
func mustHold(tb testing.TB, grant oidc.Grant, err error) {
	tb.Helper()
	classes := 0
	for _, class := range []error{oidc.ErrRefused, oidc.ErrInvalid, oidc.ErrUnavailable} {
		if errors.Is(err, class) {
			classes++
		}
	}
	switch {
	case err == nil && (grant.Nobody() || grant.Issuer != issuer || grant.IDToken == "" || grant.Access == ""):
		tb.Errorf("Finish = %+v without an error", grant)
	case err != nil && (!grant.Nobody() || grant.IDToken != "" || grant.Access != "" || grant.Claims != nil):
		tb.Errorf("Finish = %+v with error %v", grant, err)
	case err != nil && classes != 1:
		tb.Errorf("Finish: %v is %d of the three classes of errors", err, classes)
	}
}
