// Package e2e_test tells stories on real parts: a real Envoy asks Countersign,
// which signs people in at a real provider and keeps their sessions in a real
// Redis; a browser, or a raw socket, is on the one end and a recorder of what
// arrives is on the other.
//
// A story begins with a stack and its people:
//
//	stack := newStack(t, setup{Redis: true})
//	alice := stack.browser(t)
//	page := alice.signIn("alice")
//	page.want(t, 200).saw.claims(t) …
//
// Everything is on the loopback, on free ports, and ends with its test. When a
// test fails, what Envoy and Countersign said is in its log.
package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/envoy/envoytest"
	"github.com/countersign/countersign/session/redis/redistest"
)

// host is where the default app lives. Every name below example.test leads to
// the stack's Envoy, at whatever port it listens.
const (
	host      = "app.example.test"
	origin    = "https://" + host
	assertion = "x-countersign-assertion"
)

// setup says what a stack is made of. The zero setup is one app for everybody
// who signs in, at the provider of oidctest, with sessions in memory.
type setup struct {
	// Countersign.
	Apps     string // the value of apps in its configuration; empty: oneApp
	Session  string // further keys of session, such as "idle: 2s"
	Redis    bool   // sessions live in a real Redis, stack.redis
	Replicas int    // how many Countersigns Envoy asks in turn; 0 is 1; more take Redis
	Proxied  bool   // between each replica and Redis is a network that can fail, stack.networks
	RedisURL string // of a Redis that the test has started; empty: stack.redis
	RedisKey string // a further key of session.redis, such as "prefix: x"
	Admin    bool   // each replica has an admin listener, with adminToken
	Process  bool   // they are children running the real binary, which get signals

	// The provider: empty for oidctest, or op9 or op7 for npm's oidc-provider.
	Provider string

	// Envoy.
	RawHeaders   bool          // encode_raw_headers
	Normalise    bool          // Envoy rewrites paths before anybody reads them
	InsideCheck  bool          // the login endpoints are answered through ext_authz
	CheckTimeout time.Duration // that Envoy gives a check; 0 is 10 s
	FailOpen     bool          // failure_mode_allow, which nobody should set
	JWTAuthn     *jwtAuthn     // Envoy itself verifies what goes to the upstream "api"

	// Routes of Envoy beside those of the login endpoints; nil: all to "api".
	Routes []route

	// Upstreams beside the recorders that the routes name.
	Upstreams map[string]http.Handler
}

// oneApp is the app of the zero setup.
const oneApp = `
  - url: https://app.example.test
    allow: everyone
    token: {audience: api, claims: {email: user.email, groups: user.groups}}
`

// route sends the paths below a prefix to an upstream. One that no entry of
// setup.Upstreams has is a recorder.
type route struct{ prefix, upstream string }

// stack is a running world.
type stack struct {
	setup setup

	provider  *provider
	redis     *redistest.Server // nil unless setup.Redis
	networks  []*redisProxy     // to Redis, one for each replica, if setup.Proxied
	replicas  []*countersign
	upstreams map[string]string    // host:port by name
	recorders map[string]*recorder // those of upstreams that record
	envoy     *envoytest.Process
	front     string // host:port where Envoy listens

	files   files
	trusted *x509.CertPool // Envoy's certificate
}

// newStack starts a stack and returns when it works: Countersign knows its
// provider, and Envoy listens.
func newStack(t *testing.T, o setup) *stack {
	t.Helper()
	if o.Apps == "" {
		o.Apps = oneApp
	}
	if o.Routes == nil {
		o.Routes = []route{{"/", "api"}}
	}
	requireEnvoy(t)
	s := &stack{setup: o, files: writeFiles(t)}
	if o.Redis {
		s.redis = redistest.Start(t)
	}
	s.startNetworks(t)
	s.provider = startProvider(t, o.Provider)
	for range max(1, o.Replicas) {
		s.replicas = append(s.replicas, s.startCountersign(t))
	}
	s.startUpstreams(t)
	s.startEnvoy(t)
	for _, c := range s.replicas {
		c.awaitReady(t)
	}
	return s
}

// startNetworks puts one between each replica and Redis.
func (s *stack) startNetworks(t *testing.T) {
	t.Helper()
	if !s.setup.Proxied {
		return
	}
	u, err := url.Parse(s.redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	for range max(1, s.setup.Replicas) {
		s.networks = append(s.networks, startRedisProxy(t, u.Host))
	}
}

// redisURL is where the next replica finds Redis; empty for none.
func (s *stack) redisURL() string {
	switch {
	case s.setup.RedisURL != "":
		return s.setup.RedisURL
	case s.redis == nil:
		return ""
	case len(s.networks) > len(s.replicas):
		return "redis://" + s.networks[len(s.replicas)].address
	}
	return s.redis.URL
}

// startUpstreams starts those of the setup, and a recorder for every other that
// a route names.
func (s *stack) startUpstreams(t *testing.T) {
	t.Helper()
	s.upstreams, s.recorders = map[string]string{}, map[string]*recorder{}
	for _, name := range slices.Sorted(maps.Keys(s.setup.Upstreams)) {
		server := httptest.NewServer(s.setup.Upstreams[name])
		t.Cleanup(server.Close)
		s.upstreams[name] = strings.TrimPrefix(server.URL, "http://")
	}
	for _, r := range s.setup.Routes {
		if s.upstreams[r.upstream] == "" {
			s.recorders[r.upstream] = startRecorder(t, r.upstream)
			s.upstreams[r.upstream] = s.recorders[r.upstream].address
		}
	}
}

// arrivals counts the requests that reached any recorder.
func (s *stack) arrivals() int {
	n := 0
	for _, r := range s.recorders {
		n += r.count()
	}
	return n
}

// certificate makes Envoy's certificate, for every host of the test, and trusts
// it. It returns the files.
func (s *stack) certificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host},
		DNSNames: []string{"*.example.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.trusted = x509.NewCertPool()
	s.trusted.AppendCertsFromPEM(chain)
	return s.files.write(t, "envoy.crt", chain),
		s.files.write(t, "envoy.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// tls is how a client of the stack connects, speaking the first of protocols.
func (s *stack) tls(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: s.trusted, ServerName: host, NextProtos: protocols, MinVersion: tls.VersionTLS12}
}
