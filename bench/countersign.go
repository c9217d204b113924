package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/server"
	"github.com/countersign/countersign/session"
)

const (
	host     = "app.example"
	appName  = "app"
	clientID = "bench"
	callback = "https://" + host + "/oauth2/callback"

	startTimeout = 30 * time.Second
)

// configuration is an ordinary one. Only the token lives longer than usual, so
// that none needs a new signature while it is measured.
const configuration = `
listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0", health: "127.0.0.1:0"}
providers:
  - name: company
    issuer: ${PROVIDER}
    client_id: bench
    client_secret: bench
    scopes: [openid, email, profile, groups]
apps:
  - name: app
    url: https://app.example
    allow: {email_domains: [example.org]}
    token:
      lifetime: 1h
      claims: {email: user.email, name: user.name, groups: user.groups}
    rules:
      - {path: /ping, access: public}
      - {path: /assets/**, access: public}
      - {path: /admin/**, allow: {groups: [admin]}}
      - {path: /**}
`

var alice = oidctest.Person{
	Username: "alice", Password: "wonderland", Name: "Alice Liddell", Email: "alice@example.org", EmailVerified: true,
	Groups: []string{
		"staff", "engineering", "platform", "oncall", "release-managers", "security-readers",
		"grafana-editors", "vpn", "wiki", "payroll-self-service", "berlin", "everyone",
	},
	Claims: map[string]any{"department": "Platform", "locale": "en-GB", "employee_number": 4711},
}

// startCountersign serves the real thing, with alice signed in.
func startCountersign() (*running, error) {
	provider, err := startProvider()
	if err != nil {
		return nil, err
	}
	s, err := newServer(provider.url)
	if err != nil {
		return nil, errors.Join(err, provider.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := func() error {
		cancel()
		return errors.Join(<-ended, provider.Close())
	}
	at := s.Addresses()
	cookie, err := signIn(ctx, at.HTTP.String())
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &running{where{
		GRPC: at.GRPC.String(), Cookie: cookie, Metrics: "http://" + at.Health.String() + "/metrics",
	}, stop}, nil
}

// newServer does not log, as an allow in production does not: its line is one for
// debugging.
func newServer(provider string) (*server.Server, error) {
	c, err := config.Parse("bench.yaml", []byte(configuration), config.Environment{
		Getenv: func(name string) (string, bool) { return provider, name == "PROVIDER" },
	})
	if err != nil {
		return nil, err
	}
	return server.New(server.Options{Config: c, Log: slog.New(slog.DiscardHandler), Version: "bench"})
}

// provider is one that knows alice.
type provider struct {
	*http.Server
	url string
}

func startProvider() (*provider, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	address := "http://" + l.Addr().String()
	handler, err := oidctest.New(oidctest.Config{
		Issuer:  address,
		People:  []oidctest.Person{alice},
		Clients: []oidctest.Client{{ID: clientID, Secret: clientID, RedirectURIs: []string{callback}}},
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go s.Serve(l) //nolint:errcheck // it ends with the process, and a login that fails tells why
	return &provider{s, address}, nil
}

// signIn walks alice through the login endpoints at address and returns her
// session's cookie as a browser would send it.
func signIn(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	began, err := begin(ctx, address)
	if err != nil {
		return "", err
	}
	browser := &http.Client{Timeout: 5 * time.Second}
	back, err := oidctest.SignIn(ctx, browser, began.location, alice.Username, alice.Password)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(back)
	if err != nil {
		return "", err
	}
	ended, err := navigate(ctx, address, u.RequestURI(), began.cookies)
	if err != nil {
		return "", err
	}
	name := session.CookieName(appName, true)
	for _, c := range ended.cookies {
		if c.Name == name && c.Value != "" {
			return c.Name + "=" + c.Value, nil
		}
	}
	return "", fmt.Errorf("sign-in: the callback answered %d without the cookie %s", ended.status, name)
}

// begin asks to be sent to the provider until the server has found it.
func begin(ctx context.Context, address string) (answer, error) {
	for {
		a, err := navigate(ctx, address, "/oauth2/start?rd=/", nil)
		if err == nil && a.status == http.StatusFound {
			return a, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return answer{}, errors.Join(fmt.Errorf("sign-in: it does not begin, status %d", a.status), err)
		}
	}
}

// answer is what a browser needs of one.
type answer struct {
	status   int
	location string
	cookies  []*http.Cookie
}

// navigate asks a login endpoint as Envoy would pass it on.
func navigate(ctx context.Context, address, target string, cookies []*http.Cookie) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+target, nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = host
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	return answer{resp.StatusCode, resp.Header.Get("Location"), resp.Cookies()}, nil
}
