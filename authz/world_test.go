package authz_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer       = "https://id.test"
	clientSecret = "canary-client-secret"

	sessionCookie = "__Host-countersign"
	attemptPrefix = "__Host-countersign-login-"

	absolute = 12 * time.Hour
	idle     = time.Hour
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// The people. Mallory has an account at the provider, and no business here.
var (
	alice   = person("alice", "alice@example.org", "staff", "admin")
	bob     = person("bob", "bob@example.org", "staff")
	mallory = person("mallory", "mallory@evil.example", "staff")
)

func person(name, email string, groups ...string) oidctest.Person {
	return oidctest.Person{
		Username: name, Password: "pw of " + name, Subject: name + "-1", Name: name,
		Email: email, EmailVerified: true, Groups: groups,
	}
}

// identity is somebody as the provider states it.
func identity(p oidctest.Person) oidc.Identity {
	return oidc.Identity{
		Provider: "main", Issuer: issuer, Subject: p.Subject, Email: p.Email, Name: p.Name,
		Username: p.Username, Groups: p.Groups,
	}
}

// clock is the only one in a world.
type clock struct{ since atomic.Int64 }

func (c *clock) now() time.Time       { return noon.Add(time.Duration(c.since.Load())) }
func (c *clock) pass(d time.Duration) { c.since.Add(int64(d)) }

// world is Countersign, its store and its provider in one process, at noon.
type world struct {
	*oidctest.Provider // nil in a quick world
	*authz.Authorizer
	clock   *clock
	store   *moody
	vault   *session.Vault
	network *inside
	log     *record
}

// newWorld has a real provider, which is discovered already.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{clock: new(clock), network: new(inside)}
	client := w.startProvider(tb)
	w.build(tb, client)
	return w
}

// quickWorld has a provider at which everybody is alice without being asked.
func quickWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{clock: new(clock)}
	w.build(tb, quick{})
	return w
}

func (w *world) startProvider(tb testing.TB) *oidc.Provider {
	tb.Helper()
	var redirects, goodbyes []string
	for _, app := range apps(nil) {
		at := app.URL.Scheme + "://" + app.URL.Host + app.URL.Path + "/oauth2" // the app "moved" does without
		redirects = append(redirects, at+"/callback")
		goodbyes = append(goodbyes, at+"/signed_out")
	}
	provider, err := oidctest.New(oidctest.Config{
		Issuer: issuer, People: []oidctest.Person{alice, bob, mallory}, Now: w.clock.now,
		Clients: []oidctest.Client{{
			ID: "app", Secret: clientSecret, AlwaysRefresh: true, RedirectURIs: redirects, PostLogoutRedirectURIs: goodbyes,
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.Provider, w.network.to = provider, provider
	client, err := oidc.New(oidc.Config{
		Name: "main", Issuer: issuer, ClientID: "app", ClientSecret: clientSecret,
		Scopes: []string{"openid", "email", "profile", "groups"}, Transport: w.network, Now: w.clock.now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = client.Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-done })
	await(tb, func() bool { return client.Ready() == nil && provider.Count(oidctest.Keys) > 0 })
	return client
}

func (w *world) build(tb testing.TB, provider authz.Provider) {
	tb.Helper()
	routes, err := authz.NewRoutes(apps(provider))
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := mint.GenerateKeys()
	if err != nil {
		tb.Fatal(err)
	}
	w.store = &moody{Store: &session.Memory{Now: w.clock.now}}
	w.vault = &session.Vault{Store: w.store, Sealer: session.GenerateKeyring(), Absolute: absolute, Idle: idle}
	w.Authorizer = &authz.Authorizer{
		Routes: routes, Sessions: w.vault, Minter: mint.NewSigner(keys), Pages: plainPages{}, Now: w.clock.now,
	}
	w.log = new(record)
	w.log.secret(clientSecret)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.Wait(ctx); err != nil {
			tb.Errorf("Wait = %v", err)
		}
		w.learnSecrets()
		w.log.mustHoldNoSecret(tb)
	})
}

// apps are those of every world. Their rules have names of their own, by which
// mustHold knows what they ask.
func apps(p authz.Provider) []*authz.App {
	everyone := authz.Permission{Everyone: true}
	admins := authz.Permission{AnyOf: []authz.Condition{{Groups: []string{"admin"}}}}
	members := authz.Permission{AnyOf: []authz.Condition{{EmailDomains: []string{"example.org"}}}}
	return []*authz.App{
		{
			URL: address("https://app.test"), Provider: p, Allow: members,
			Token: tokenFor("https://app.test", "x-countersign-assertion", ""),
			Rules: []authz.Rule{
				{Name: "health", Path: exactly("/health"), Access: authz.Unprotected},
				{Name: "public", Path: exactly("/public/**"), Access: authz.Unprotected},
				{
					Name: "assets", Path: matching(`/assets/[a-z0-9./-]+\.(css|js)`), Access: authz.Unprotected,
					Methods: []string{"GET", "HEAD"},
				},
				{Name: "optional", Path: exactly("/optional/**"), Access: authz.Optional, Allow: everyone},
				{Name: "optional_admin", Path: exactly("/choice/**"), Access: authz.Optional, Allow: admins},
				{Name: "denied", Path: exactly("/denied/**"), Access: authz.Denied, Allow: everyone},
				{Name: "passthrough", Path: exactly("/v1/**"), Passthrough: true, Allow: everyone},
				{
					Name: "admin", Path: exactly("/admin/**"), Allow: admins,
					Explain: "Ask the platform team for the admin group.",
				},
				{
					Name: "legacy", Path: exactly("/legacy/**"), Allow: everyone,
					Token: tokenFor("https://legacy.test", "x-auth-jwt", ""),
				},
				{Name: "nobody", Path: exactly("/nobody/**")},
				{Name: "members", Path: exactly("/**"), Allow: everyone},
			},
		},
		{
			Name: "admin", URL: address("https://admin.test"), Provider: p, Allow: everyone,
			Token: tokenFor("https://admin.test", "authorization", "Bearer "),
			Rules: []authz.Rule{
				{Name: "bearer_public", Path: exactly("/public/**"), Access: authz.Unprotected},
				{Name: "bearer_passthrough", Path: exactly("/v1/**"), Passthrough: true, Allow: everyone},
				{Name: "bearer_admin", Path: exactly("/**"), Allow: admins},
			},
		},
		{
			Name: "open", URL: address("https://open.test"), Provider: p, Allow: everyone,
			Rules: []authz.Rule{
				{Name: "open_admin", Path: exactly("/admin/**"), Allow: admins},
				{Name: "open_rest", Path: exactly("/**"), Access: authz.Unprotected},
			},
		},
		{
			Name: "yard", URL: address("https://tools.test"), Provider: p, Allow: everyone,
			Rules: []authz.Rule{{Name: "yard_rest", Path: exactly("/**"), Access: authz.Unprotected}},
		},
		{
			Name: "tools", URL: address("https://tools.test/tools"), Provider: p, Allow: everyone,
			Rules: []authz.Rule{
				{Name: "tools_public", Path: exactly("/tools/public/**"), Access: authz.Unprotected},
				{Name: "tools_members", Path: exactly("/tools/private/**"), Allow: everyone},
			},
		},
		{
			Name: "local", URL: address("http://127.0.0.1:8080"), Provider: p, Allow: everyone,
			Rules: []authz.Rule{{Name: "local_members", Path: exactly("/**"), Allow: everyone}},
		},
		{
			Name: "moved", URL: address("https://moved.test/app"), Prefix: "/login", Callback: "/gtf/oauth2", Provider: p, Allow: everyone,
			Rules: []authz.Rule{{Name: "moved_members", Path: exactly("/**"), Allow: everyone}},
		},
		{Name: "empty", URL: address("https://empty.test"), Provider: p, Allow: everyone},
	}
}

func address(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func exactly(s string) authz.Pattern {
	p, err := authz.ParsePattern(s)
	if err != nil {
		panic(err)
	}
	return p
}

func matching(s string) authz.Pattern {
	p, err := authz.ParseRegexp(s)
	if err != nil {
		panic(err)
	}
	return p
}

func tokenFor(audience, header, prefix string) authz.Token {
	t := &mint.Template{Issuer: audience + "/oauth2", Audience: audience}
	return authz.Token{Template: t, Header: header, Prefix: prefix}
}

// check is a request to Countersign. Whatever it answers, what must hold holds.
func (w *world) check(tb testing.TB, req authz.Request) authz.Decision {
	tb.Helper()
	return w.checkWithin(tb.Context(), tb, req)
}

func (w *world) checkWithin(ctx context.Context, tb testing.TB, req authz.Request) authz.Decision {
	tb.Helper()
	w.log.learnRequest(req)
	line := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d := authz.Logged{Next: w.Authorizer, Log: line}.Check(ctx, req)
	w.log.learnDecision(d)
	mustHold(tb, req, d)
	return d
}

// learnSecrets collects what went between Countersign and the provider.
func (w *world) learnSecrets() {
	if w.Provider == nil {
		return
	}
	for _, r := range w.TokenRequests() {
		w.log.secret(r.Form.Get("code"), r.Form.Get("code_verifier"))
	}
	for _, r := range w.Authorizations() {
		w.log.secret(r.Get("state"), r.Get("nonce"))
	}
}

// sessionOf is a cookie of somebody who signed in at an app a moment ago.
func (w *world) sessionOf(tb testing.TB, app string, who oidctest.Person) string {
	tb.Helper()
	t, _, err := w.vault.Create(tb.Context(), w.clock.now(), session.Login{
		App: cmp.Or(app, "app.test"), Grant: oidc.Grant{Identity: identity(who), IDToken: "canary-id-token"}, Claimed: w.clock.now(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.log.secret(t.Reveal(), "canary-id-token")
	return t.Reveal()
}

// lives reports whether a session cookie still opens a session.
func (w *world) lives(tb testing.TB, cookie string) bool {
	tb.Helper()
	t, ok := session.ParseToken(cookie)
	if !ok {
		return false
	}
	_, err := w.vault.Store.(*moody).Store.Load(tb.Context(), t.ID()) //nolint:errcheck // build put it there
	return err == nil
}

// claimsOf verifies a minted token as an upstream does, and returns its claims.
func (w *world) claimsOf(tb testing.TB, text string) map[string]any {
	tb.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.Minter.JWKS(), &set); err != nil {
		tb.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		tb.Fatalf("assertion: %v", err)
	}
	claims := map[string]any{}
	if err := parsed.Claims(set, &claims); err != nil {
		tb.Fatalf("assertion: %v", err)
	}
	return claims
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

// inside is a network with a provider on it and nobody else. hold, if set, sees
// every request on its way.
type inside struct {
	to   http.Handler
	mu   sync.Mutex
	hold func(*http.Request) // guarded by mu
}

func (n *inside) onRequest(hold func(*http.Request)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hold = hold
}

func (n *inside) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("connection closed")
		}
	}()
	n.mu.Lock()
	hold := n.hold
	n.mu.Unlock()
	if hold != nil {
		hold(r)
	}
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	n.to.ServeHTTP(answer, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp = answer.Result()
	resp.Request = r
	return resp, nil
}

// quick is a provider at which everybody is alice without being asked.
type quick struct{}

func (quick) Name() string { return "main" }

func (quick) Begin(now time.Time, _, returnTo string, _ bool) (oidc.Attempt, string, error) {
	a := oidc.Attempt{
		Provider: "main", State: oidc.NewSecret(), Nonce: oidc.NewSecret(), Verifier: oidc.NewSecret(),
		ReturnTo: returnTo, Started: now,
	}
	return a, issuer + "/authorize?state=" + a.State.Reveal(), nil
}

func (quick) Finish(context.Context, oidc.Attempt, string, url.Values) (oidc.Grant, error) {
	return oidc.Grant{Identity: identity(alice)}, nil
}

func (quick) Refresh(_ context.Context, g oidc.Grant) (oidc.Grant, error)    { return g, nil }
func (quick) Userinfo(_ context.Context, g oidc.Grant) (oidc.Grant, error)   { return g, nil }
func (quick) Introspect(_ context.Context, g oidc.Grant) (oidc.Grant, error) { return g, nil }

func (quick) EndSession(oidc.Secret, string, string) (string, bool) { return "", false }

var errAway = errors.New("store: connection refused")

// moody is a store that gives no answer to the calls that are named in away.
type moody struct {
	session.Store
	mu    sync.Mutex
	away  map[string]bool // guarded by mu
	calls map[string]int  // guarded by mu
}

func (m *moody) goAway(calls ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = map[string]bool{}
	for _, c := range calls {
		m.away[c] = true
	}
}

func (m *moody) count(call string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[call]
}

func (m *moody) answer(call string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == nil {
		m.calls = map[string]int{}
	}
	m.calls[call]++
	if m.away[call] || m.away["everything"] {
		return errAway
	}
	return nil
}

func (m *moody) Create(ctx context.Context, id session.ID, r session.Record, claimed time.Time) error {
	if err := m.answer("create"); err != nil {
		return err
	}
	return m.Store.Create(ctx, id, r, claimed)
}

func (m *moody) Load(ctx context.Context, id session.ID) (session.Record, error) {
	if err := m.answer("load"); err != nil {
		return session.Record{}, err
	}
	return m.Store.Load(ctx, id)
}

func (m *moody) LoadWhole(ctx context.Context, id session.ID) (session.Record, error) {
	if err := m.answer("load_whole"); err != nil {
		return session.Record{}, err
	}
	return m.Store.LoadWhole(ctx, id)
}

func (m *moody) Delete(ctx context.Context, ids ...session.ID) (int, error) {
	if err := m.answer("delete"); err != nil {
		return 0, err
	}
	return m.Store.Delete(ctx, ids...)
}

func (m *moody) Claim(ctx context.Context, c session.Claim, life time.Duration) (time.Time, bool, error) {
	if err := m.answer("claim"); err != nil {
		return time.Time{}, false, err
	}
	return m.Store.Claim(ctx, c, life)
}

func (m *moody) Settle(ctx context.Context, c session.Claim, result []byte, life time.Duration) error {
	if err := m.answer("settle"); err != nil {
		return err
	}
	return m.Store.Settle(ctx, c, result, life)
}

func (m *moody) Settled(ctx context.Context, c session.Claim) ([]byte, error) {
	if err := m.answer("settled"); err != nil {
		return nil, err
	}
	return m.Store.Settled(ctx, c)
}

// plainPages renders a page as the JSON of its fields.
type plainPages struct{}

func (plainPages) Render(p authz.Page) []byte {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return body
}

func (plainPages) ContentSecurityPolicy() string { return "default-src 'none'" }

// pageOf reads what plainPages rendered.
func pageOf(tb testing.TB, d authz.Decision) authz.Page {
	tb.Helper()
	var p authz.Page
	if err := json.Unmarshal(d.Body, &p); err != nil || d.Client.Get("Content-Type") != "text/html; charset=utf-8" {
		tb.Fatalf("body = %q (%s), want a page", d.Body, d.Client.Get("Content-Type"))
	}
	return p
}

// page is a top-level navigation. at is a path at app.test, or an address.
func page(at string) authz.Request {
	return with(request(http.MethodGet, at),
		"sec-fetch-site", "none", "sec-fetch-mode", "navigate", "sec-fetch-dest", "document", "accept", "text/html,*/*;q=0.8")
}

// program is what a client without a person asks.
func program(at string) authz.Request {
	return with(request(http.MethodGet, at), "accept", "application/json")
}

func request(method, at string) authz.Request {
	host, target := "app.test", at
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := strings.CutPrefix(at, scheme); ok {
			i := strings.IndexByte(rest+"/", '/')
			host, target = rest[:i], rest[i:]
		}
	}
	r := authz.Request{Method: method, Scheme: "https", Host: host}
	r.Path, r.Query, _ = strings.Cut(target, "?")
	return r
}

// with adds header lines: a name, a value, and so on.
func with(r authz.Request, lines ...string) authz.Request {
	r.Header = append(authz.Header{}, r.Header...)
	for i := 0; i < len(lines); i += 2 {
		r.Header = append(r.Header, authz.Field{Name: lines[i], Value: lines[i+1]})
	}
	return r
}

// signed brings the session cookie of app.test.
func signed(r authz.Request, cookie string) authz.Request {
	return with(r, "cookie", sessionCookie+"="+cookie)
}

// browser keeps the cookies of each host, and follows nothing by itself.
type browser struct {
	w    *world
	jars map[string]map[string]string
	idp  *http.Client
}

func (w *world) browser() *browser {
	return &browser{w: w, jars: map[string]map[string]string{}, idp: &http.Client{Transport: w.network}}
}

// send adds the cookies of the host, and keeps those that come back.
func (b *browser) send(tb testing.TB, req authz.Request) authz.Decision {
	tb.Helper()
	d := b.w.check(tb, b.carry(req))
	b.keep(req.Host, d)
	return d
}

func (b *browser) carry(req authz.Request) authz.Request {
	var pairs []string
	for name, value := range b.jars[req.Host] {
		pairs = append(pairs, name+"="+value)
	}
	if len(pairs) == 0 {
		return req
	}
	return with(req, "cookie", strings.Join(pairs, "; "))
}

func (b *browser) keep(host string, d authz.Decision) {
	if b.jars[host] == nil {
		b.jars[host] = map[string]string{}
	}
	for _, c := range setCookies(d) {
		if c.MaxAge < 0 {
			delete(b.jars[host], c.Name)
			continue
		}
		b.jars[host][c.Name] = c.Value
	}
}

func setCookies(d authz.Decision) []*http.Cookie {
	return (&http.Response{Header: d.Client}).Cookies()
}

// cookie returns one that the browser has for app.test.
func (b *browser) cookie(name string) string { return b.jars["app.test"][name] }

// attempts are the names of the attempt cookies that it has for app.test.
func (b *browser) attempts() []string {
	var names []string
	for name := range b.jars["app.test"] {
		if strings.HasPrefix(name, attemptPrefix) {
			names = append(names, name)
		}
	}
	return names
}

// begin opens an address that leads to the provider, and returns where.
func (b *browser) begin(tb testing.TB, at string) string {
	tb.Helper()
	d := b.send(tb, page(at))
	location := d.Client.Get("Location")
	if d.Outcome != authz.Redirect || !strings.HasPrefix(location, issuer+"/authorize?") {
		tb.Fatalf("Check(%s) = %s, %s, Location %q, want a redirect to the provider", at, d.Outcome, d.Reason, location)
	}
	return location
}

// signIn signs somebody in at the provider, and returns the callback.
func (b *browser) signIn(tb testing.TB, location string, who oidctest.Person) string {
	tb.Helper()
	callback, err := oidctest.SignIn(context.Background(), b.idp, location, who.Username, who.Password)
	if err != nil {
		tb.Fatal(err)
	}
	return callback
}

// login is a whole one, and returns the answer to the callback.
func (b *browser) login(tb testing.TB, at string, who oidctest.Person) authz.Decision {
	tb.Helper()
	d := b.send(tb, page(b.signIn(tb, b.begin(tb, at), who)))
	if d.Reason != authz.LoginFinished {
		tb.Fatalf("login of %s = %s: %v", who.Username, d.Reason, d.Cause)
	}
	return d
}

// describe says what was asked, for a failure.
func describe(r authz.Request) string { return fmt.Sprintf("%s %s %q", r.Method, r.Host, r.Target()) }
