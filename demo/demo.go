// Package demo is the whole of Countersign on one loopback: a provider, a
// playground and an API as upstreams, Countersign itself, and a real Envoy in
// front of them.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/envoy/envoytest"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/server"
)

// People can sign in to the demo. The last of them gets no further than that.
var People = []oidctest.Person{
	{
		Username: "alice", Password: "wonderland", Name: "Alice Liddell",
		Email: "alice@example.org", EmailVerified: true, Groups: []string{"staff", "admin"},
	},
	{
		Username: "bob", Password: "builder", Name: "Bob Mason",
		Email: "bob@example.org", EmailVerified: true, Groups: []string{"staff"},
	},
	{
		Username: "guest", Password: "guest", Name: "Gwen Guest",
		Email: "guest@elsewhere.example", EmailVerified: true,
	},
}

const (
	clientID      = "demo"
	sessionCookie = "countersign.demo"
	startTimeout  = 30 * time.Second
)

// Options say how to run the demo. The zero Options take any port.
type Options struct {
	Port    int    // of the address to open; 0 takes a free one
	Envoy   string // path of the binary; empty: found
	Version string // of Countersign
	Verbose bool   // log every decision
	Log     *slog.Logger
}

// Level is what the demo's log should show.
func (o Options) Level() slog.Level {
	if o.Verbose {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Demo is a running demo. Stop it.
type Demo struct {
	URL          string // to open in a browser
	EnvoyVersion string

	providerURL string
	apiURL      string
	envoy       *envoytest.Process
	cancel      context.CancelFunc
	running     *errgroup.Group
}

// Start starts every part and returns when the demo answers.
func Start(ctx context.Context, o Options) (d *Demo, err error) {
	if o.Envoy == "" {
		if o.Envoy, err = envoytest.Find(); err != nil {
			return nil, err
		}
	}
	d = new(Demo)
	if d.EnvoyVersion, err = envoytest.Version(o.Envoy); err != nil {
		return nil, err
	}
	ctx, d.cancel = context.WithCancel(ctx)
	d.running, ctx = errgroup.WithContext(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	if o.Port == 0 {
		if o.Port, err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	d.URL = "http://127.0.0.1:" + strconv.Itoa(o.Port)
	if err := d.startProvider(ctx); err != nil {
		return nil, err
	}
	countersign, err := d.startCountersign(ctx, o)
	if err != nil {
		return nil, err
	}
	bootstrap, err := d.startUpstreams(ctx, countersign.Addresses())
	if err != nil {
		return nil, err
	}
	bootstrap.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port))
	if d.envoy, err = envoytest.Start(ctx, o.Envoy, bootstrap); err != nil {
		return nil, err
	}
	return d, d.await(ctx, countersign.Addresses().Health)
}

// freePort asks the system for a port that nobody has.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:errcheck // a TCP listener has a TCP address
}

// serve runs an HTTP server on a free port of the loopback until ctx ends.
func (d *Demo) serve(ctx context.Context, handler func(url string) (http.Handler, error)) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	url := "http://" + l.Addr().String()
	h, err := handler(url)
	if err != nil {
		return "", errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	d.running.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	d.running.Go(func() error {
		<-ctx.Done()
		return s.Close()
	})
	return url, nil
}

func (d *Demo) startProvider(ctx context.Context) (err error) {
	d.providerURL, err = d.serve(ctx, func(url string) (http.Handler, error) {
		return oidctest.New(oidctest.Config{
			Issuer: url,
			People: People,
			Clients: []oidctest.Client{{
				ID: clientID, Secret: clientID, Name: "the playground",
				RedirectURIs:           []string{d.URL + "/oauth2/callback"},
				PostLogoutRedirectURIs: []string{d.URL + "/oauth2/signed_out"},
			}},
			ShowPeople: true,
		})
	})
	return err
}

// configuration is what the demo runs with: a file as anybody would write it.
const configuration = `
listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0", health: "127.0.0.1:0"}
providers:
  - name: demo
    issuer: ${PROVIDER}
    client_id: demo
    client_secret: demo
    scopes: [openid, email, profile, groups]
apps:
  - name: demo
    url: ${URL}
    allow: {email_domains: [example.org]}
    token:
      audience: playground
      claims: {email: user.email, name: user.name, groups: user.groups}
    rules:
      - {path: /ping, access: public}
      - {path: /api/**, token: {audience: api}}
      - path: /admin/**
        allow: {groups: [admin]}
        token: {audience: api}
        explain: Only members of the group "admin" get in here. Alice is one.
      - {path: /**}
`

func (d *Demo) startCountersign(ctx context.Context, o Options) (*server.Server, error) {
	variables := map[string]string{"PROVIDER": d.providerURL, "URL": d.URL}
	c, err := config.Parse("demo.yaml", []byte(configuration), config.Environment{
		Getenv: func(name string) (string, bool) { v, ok := variables[name]; return v, ok },
	})
	if err != nil {
		return nil, err
	}
	s, err := server.New(server.Options{Config: c, Log: o.Log, Version: o.Version})
	if err != nil {
		return nil, err
	}
	d.running.Go(func() error { return s.Run(ctx) })
	return s, nil
}

// startUpstreams starts the playground and the API, and tells Envoy the way to
// them.
func (d *Demo) startUpstreams(ctx context.Context, countersign server.Addresses) (envoy.Bootstrap, error) {
	keys := "http://" + countersign.HTTP.String() + "/.well-known/jwks.json"
	issuer := d.URL + "/oauth2"
	ui, err := d.serve(ctx, func(string) (http.Handler, error) { return newUI(verifier(ctx, issuer, "playground", keys)), nil })
	if err != nil {
		return envoy.Bootstrap{}, err
	}
	d.apiURL, err = d.serve(ctx, func(string) (http.Handler, error) { return newAPI(verifier(ctx, issuer, "api", keys)), nil })
	if err != nil {
		return envoy.Bootstrap{}, err
	}
	return envoy.Bootstrap{
		Authz: envoy.Authz{Targets: []string{countersign.GRPC.String()}, RawHeaders: true},
		Clusters: []envoy.Cluster{
			{Name: "countersign", Target: countersign.HTTP.String()},
			{Name: "ui", Target: strings.TrimPrefix(ui, "http://")},
			{Name: "api", Target: strings.TrimPrefix(d.apiURL, "http://")},
		},
		Routes: []envoy.Route{
			{Prefix: "/oauth2/", Cluster: "countersign", NoAuth: true},
			{Prefix: "/api/", Cluster: "api"},
			{Prefix: "/admin/", Cluster: "api"},
			{Prefix: "/", Cluster: "ui"},
		},
	}, nil
}

// await returns when Countersign has found its provider, so that the first
// click works.
func (d *Demo) await(ctx context.Context, health net.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		resp, err := send(ctx, http.DefaultClient, http.MethodGet, "http://"+health.String()+"/readyz", nil)
		if err == nil && strings.Contains(resp.body, `"ready"`) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the demo did not become ready: %w", ctx.Err())
		}
	}
}

// Explain tells a person what to do with the demo.
func (d *Demo) Explain(out io.Writer) {
	fmt.Fprintf(out, `
Open         %[1]s/
Sign in as   alice / wonderland   everything
             bob / builder        all but /admin/
             guest / guest        refused: the domain is not allowed
Try          curl -i %[1]s/ping
             curl -i %[1]s/api/whoami
             curl -i -H 'Accept: text/html' %[1]s/
             curl %[1]s/oauth2/.well-known/jwks.json

Press Ctrl-C to end it.
`, d.URL)
}

// Wait returns when ctx ends or a part of the demo fails.
func (d *Demo) Wait(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- d.running.Wait() }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// Stop ends every part.
func (d *Demo) Stop() error {
	var stopped error
	if d.envoy != nil {
		stopped = d.envoy.Stop()
	}
	d.cancel()
	if err := d.running.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return errors.Join(stopped, err)
	}
	return stopped
}
