package config_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
)

// canary stands in every secret of the tests, and in no message.
const canary = "c4n4ry"

var sessionKeys = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)) + "\n"

const mintKeys = `{"keys": [{"kty": "EC", "crv": "P-256",
	"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
	"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}]}`

// adminToken is long enough for one, and holds the canary.
const adminToken = canary + "-0123456789-0123456789-0123456789"

// pair is a certificate and its key, in PEM.
type pair struct{ cert, key string }

var client = newPair()

func newPair() pair {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "countersign"}}
	cert, _ := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	return pair{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// world is the environment of the tests: some variables, some files.
var world = config.Environment{
	Getenv: func(name string) (string, bool) {
		value, ok := map[string]string{
			"EMPTY": "", "ISSUER": "https://id.example.org", "HALF_HOUR": "30m", "TRUE": "true", "YAML": "[a, b]",
			"CLIENT_SECRET": canary, "PROCONNECT_CLIENT_ID": "chat",
		}[name]
		return value, ok
	},
	Open: func(path string) (io.ReadCloser, error) {
		content, ok := map[string]string{
			"/run/secrets/client":             canary + "\n",
			"/run/secrets/oidc_client":        canary + "\n",
			"/run/secrets/proconnect":         canary + "\n",
			"/run/secrets/redis":              canary,
			"/run/secrets/sentinel":           canary + "\n",
			"/run/secrets/admin":              adminToken + "\n",
			"/run/secrets/short-admin":        canary,
			"/run/secrets/two-admins":         adminToken + "\n" + adminToken,
			"/etc/countersign/tls/ca.pem":     client.cert,
			"/etc/countersign/tls/client.pem": client.cert,
			"/run/secrets/redis-client.key":   client.key,
			"/etc/tls/ca.pem":                 client.cert,
			"/etc/tls/client.pem":             client.cert,
			"/etc/tls/client.key":             client.key,
			"/etc/tls/other.key":              newPair().key,
			"/run/secrets/empty":              "\n",
			"/run/secrets/large":              strings.Repeat(canary, 1<<20),
			"/run/secrets/session-keys":       sessionKeys,
			"/run/secrets/bad-keys":           canary + "\n" + canary,
			"/run/secrets/mint.jwks":          mintKeys,
			"/etc/countersign/secret":         canary + "\r\n",
		}[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return io.NopCloser(strings.NewReader(content)), nil
	},
}

func parse(t *testing.T, data string) *config.Config {
	t.Helper()
	c, err := config.Parse("/etc/countersign/countersign.yaml", []byte(data), world)
	if err != nil {
		t.Fatalf("Parse =\n%v", err)
	}
	mustHold(t, c)
	return c
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func everyone(path string) authz.Rule { return rule(path, authz.Required) }

func rule(path string, access authz.Access) authz.Rule {
	p, _ := authz.ParsePattern(path)
	return authz.Rule{Name: path, Path: p, Access: access, Allow: authz.Permission{Everyone: true}}
}

// equal compares what is configured; patterns by their text, keys by being there.
var equal = cmp.Options{
	cmpopts.IgnoreUnexported(authz.Rule{}),
	cmp.Comparer(func(a, b authz.Pattern) bool { return a.String() == b.String() }),
	cmp.Comparer(func(a, b mint.Expression) bool { return a.String() == b.String() }),
	cmpopts.IgnoreFields(config.Session{}, "Keys"),
	cmpopts.IgnoreFields(config.Mint{}, "Keys"),
	cmpopts.IgnoreFields(redis.Options{}, "TLS"),
}

func TestDefaults(t *testing.T) {
	got := parse(t, readFile(t, "../docs/examples/minimal.yaml"))
	token := authz.Token{
		Header: "x-countersign-assertion",
		Template: &mint.Template{
			Issuer: "https://chat.example.org/oauth2", Audience: "https://chat.example.org", Lifetime: 5 * time.Minute,
		},
	}
	want := &config.Config{
		Listen: config.Listen{
			GRPC:   config.Address{Network: "tcp", Address: "127.0.0.1:9191"},
			HTTP:   config.Address{Network: "tcp", Address: "127.0.0.1:4180"},
			Health: config.Address{Network: "tcp", Address: "127.0.0.1:9193"},
		},
		Providers: []oidc.Config{{
			Name: "keycloak", Issuer: "https://id.example.org/realms/main", ClientID: "chat", ClientSecret: canary,
		}},
		Session: config.Session{
			Absolute: 12 * time.Hour, Idle: time.Hour, Outage: 5 * time.Second,
			Revalidation: session.Revalidation{Via: session.ViaRefresh, Every: 50 * time.Minute, Grace: 5 * time.Minute},
		},
		Mint: config.Mint{Algorithm: mint.ES256, Lifetime: 5 * time.Minute},
		Apps: []config.App{{ProviderName: "keycloak", App: &authz.App{
			URL: got.Apps[0].URL, Prefix: "/oauth2", Callback: "/oauth2/callback",
			Allow: authz.Permission{Everyone: true}, Token: token,
			Rules: []authz.Rule{with(everyone("/**"), token)},
		}}},
		Log: config.Log{Level: slog.LevelInfo},
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("Parse of the smallest file (-want +got):\n%s", diff)
	}
	if got.Apps[0].URL.String() != "https://chat.example.org" {
		t.Errorf("url = %s", got.Apps[0].URL)
	}
	if got.Session.Keys != nil || got.Mint.Keys != nil {
		t.Error("keys without a file")
	}
}

func with(r authz.Rule, t authz.Token) authz.Rule {
	r.Token = t
	return r
}

func TestEverything(t *testing.T) {
	got := parse(t, readFile(t, "testdata/everything.yaml"))
	if got.Session.Keys == nil || got.Mint.Keys == nil {
		t.Error("no keys in spite of their files")
	}
	if tls := got.Session.Redis.TLS; tls == nil || tls.RootCAs == nil || len(tls.Certificates) != 1 || tls.ServerName != "redis.internal" {
		t.Errorf("session.redis.tls = %+v", tls)
	}
	claims := map[string]mint.Expression{}
	for name, source := range map[string]string{"email": "user.email", "scope": `"playground"`} {
		claims[name], _ = mint.ParseExpression(source)
	}
	app := authz.Token{Header: "authorization", Prefix: "Token ", Template: &mint.Template{
		Issuer: "playground", Audience: "api", Lifetime: time.Minute, Claims: claims,
	}}
	admin := authz.Token{Header: "x-admin", Template: &mint.Template{
		Issuer: "playground", Audience: "admin", Lifetime: time.Minute, Claims: claims,
	}}
	api := with(everyone("/play/v[0-9]+/.*"), app)
	api.Path, _ = authz.ParseRegexp("/play/v[0-9]+/.*")
	api.Name, api.Passthrough = "api", true
	assets := with(rule("/play/assets/**", authz.Unprotected), app)
	assets.Methods = []string{"GET", "HEAD"}
	admins := with(everyone("/play/admin/**"), admin)
	admins.Allow = authz.Permission{AnyOf: []authz.Condition{{Groups: []string{"admin"}}}}
	admins.Explain = "Ask the platform team."
	want := &config.Config{
		Listen: config.Listen{
			GRPC:   config.Address{Network: "tcp", Address: ":9191"},
			HTTP:   config.Address{Network: "tcp", Address: ":4180"},
			Health: config.Address{Network: "tcp", Address: ":9193"},
			Admin: &config.Admin{
				Address: config.Address{Network: "tcp", Address: ":9192"}, TokenFile: "/run/secrets/admin",
			},
		},
		Providers: []oidc.Config{{
			Name: "keycloak", Issuer: "https://id.example.org/realms/main", ClientID: "chat", ClientSecret: canary,
			AuthMethod: oidc.AuthPost, Scopes: []string{"openid", "email"}, ACRValues: []string{"eidas1"},
			AssumeEmailVerified: true, GroupsClaim: "realm_access.roles",
		}, {
			Name: "other", Issuer: "http://127.0.0.1:8080", ClientID: "chat", ClientSecret: canary,
		}},
		Session: config.Session{
			Absolute: 8 * time.Hour, Idle: 30 * time.Minute, Outage: 10 * time.Second,
			Revalidation: session.Revalidation{Via: session.ViaUserinfo, Every: 10 * time.Minute, Grace: time.Minute},
			Redis: &redis.Options{
				URL:          "rediss+sentinel://countersign@redis-1:26380,redis-2,[::1]:26379/2?master=main",
				PasswordFile: "/run/secrets/redis", Prefix: "chat:",
				SentinelUsername: "watcher", SentinelPasswordFile: "/run/secrets/sentinel",
			},
		},
		Mint: config.Mint{Algorithm: mint.ES256, Lifetime: 2 * time.Minute},
		Apps: []config.App{{ProviderName: "keycloak", App: &authz.App{
			Name: "playground", URL: got.Apps[0].URL, Prefix: "/play/login", Callback: "/play/login/callback",
			Allow: authz.Permission{AnyOf: []authz.Condition{
				{Emails: []string{"alice@example.org"}, EmailDomains: []string{"gouv.fr"}, Groups: []string{"staff"}},
				{Claims: map[string][]string{"address.country": {"FR", "BE"}, "level": {"3"}}},
			}},
			Token: app,
			Rules: []authz.Rule{
				assets, api, admins,
				with(rule("/play/internal", authz.Denied), app),
				with(rule("/**", authz.Optional), app),
			},
		}}, {ProviderName: "other", App: &authz.App{
			Name: "status", URL: got.Apps[1].URL, Prefix: "/oauth2", Callback: "/oauth2/callback",
			Token: got.Apps[1].Token,
			Rules: []authz.Rule{with(rule("/**", authz.Unprotected), got.Apps[1].Token)},
		}}},
		Log: config.Log{Level: slog.LevelDebug},
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("Parse of every key (-want +got):\n%s", diff)
	}
	if got := got.Apps[0].URL.String(); got != "https://chat.example.org/play" {
		t.Errorf("url = %s", got)
	}
}

func TestEqualTokensHaveOneTemplate(t *testing.T) {
	rules := parse(t, readFile(t, "testdata/everything.yaml")).Apps[0].Rules
	if rules[0].Token.Template != rules[1].Token.Template || rules[1].Token.Template == rules[2].Token.Template {
		t.Error("templates are not shared as they should be: the cache finds a token by its template")
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../docs/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c := parse(t, readFile(t, file))
			if len(c.Warnings) > 0 {
				t.Errorf("warnings: %v", c.Warnings)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "countersign.yaml")
	write("countersign.yaml", strings.ReplaceAll(readFile(t, "../docs/examples/minimal.yaml"), "/run/secrets/", ""))

	_, err := config.Load(path, os.LookupEnv)
	want := path + ":7:25: providers[0].client_secret_file: " + filepath.Join(dir, "oidc_client") + ": no such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("Load without the file of the secret =\n%v, want\n%s", err, want)
	}
	write("oidc_client", canary)
	if _, err := config.Load(path, os.LookupEnv); err != nil {
		t.Errorf("Load with a relative path = %v", err)
	}
	if _, err := config.Load(dir, os.LookupEnv); err == nil || !strings.HasPrefix(err.Error(), dir+": ") {
		t.Errorf("Load of a directory = %v", err)
	}
	if _, err := config.Load(filepath.Join(dir, "none"), os.LookupEnv); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, want ErrNotExist", err)
	}
	write("countersign.yaml", strings.Repeat("#", 1<<20+1))
	if _, err := config.Load(path, os.LookupEnv); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("Load of a large file = %v", err)
	}
}

// mustHold is what is true of every configuration that is given out.
func mustHold(t *testing.T, c *config.Config) {
	t.Helper()
	var apps []*authz.App
	for _, a := range c.Apps {
		for _, r := range a.Rules {
			switch {
			case r.Path.String() == "":
				t.Errorf("app %q has a rule for no path", a.Name)
			case r.Access != authz.Required && r.Access != authz.Optional:
			case !says(a.Allow) || !says(r.Allow):
				t.Errorf("rule %s of app %q signs in without saying whom", r.Name, a.Name)
			case r.Token.Template == nil || r.Token.Template.Validate() != nil || r.Token.Header == "":
				t.Errorf("rule %s of app %q signs in without a token", r.Name, a.Name)
			}
		}
		if len(a.Rules) == 0 || a.ProviderName == "" {
			t.Errorf("app %q has no rules or no provider", a.Name)
		}
		copied := *a.App // NewRoutes takes its apps over
		copied.Rules = slices.Clone(a.Rules)
		apps = append(apps, &copied)
	}
	if len(apps) == 0 {
		t.Error("no app")
	}
	if _, err := authz.NewRoutes(apps); err != nil {
		t.Errorf("NewRoutes = %v", err)
	}
	for _, p := range c.Providers {
		if _, err := oidc.New(p); err != nil {
			t.Errorf("oidc.New = %v", err)
		}
	}
	if c.Session.Idle <= 0 || c.Session.Idle > c.Session.Absolute {
		t.Errorf("sessions live %s, unused %s", c.Session.Absolute, c.Session.Idle)
	}
	if c.Session.Redis != nil && (c.Session.Keys == nil || c.Mint.Keys == nil) {
		t.Error("Redis without keys")
	}
	if r := c.Session.Revalidation; r.Via != session.ViaNothing && (r.Every <= 0 || r.Grace < 0) {
		t.Errorf("revalidation = %+v", r)
	}
	if a := c.Listen.Admin; a != nil && a.TokenFile == "" {
		t.Error("administrators are answered without a token")
	}
}

// says reports whether a permission is for somebody, and has no empty part.
func says(p authz.Permission) bool {
	for _, c := range p.AnyOf {
		if len(c.Emails)+len(c.EmailDomains)+len(c.Groups)+len(c.Claims) == 0 {
			return false
		}
	}
	return p.Everyone || len(p.AnyOf) > 0
}
