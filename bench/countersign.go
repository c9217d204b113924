package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/server"
)

const (
	host         = "app.example"
	appName      = "app"
	providerName = "company"
	issuer       = "http://127.0.0.1:1/nobody" // the sessions are there already
	startTimeout = 30 * time.Second
)

// configuration is an ordinary one. Only the token lives longer than usual, so
// that none needs a new signature while it is measured.
const configuration = `
listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0", health: "127.0.0.1:0"}
providers:
  - name: company
    issuer: ${ISSUER}
    client_id: bench
    client_secret: bench
    scopes: [openid, email, profile, groups]
session:
  keys_file: ${KEYS}/session-keys
  redis: {url: "${REDIS}"}
mint: {keys_file: "${KEYS}/mint.jwks"}
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

// startCountersign serves the real thing, on the Redis of the environment.
func startCountersign() (*running, error) {
	keys, err := os.MkdirTemp("", "countersign-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(keys) //nolint:errcheck // the server has read it
	s, err := newServer(keys)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := func() error {
		cancel()
		return <-ended
	}
	at := s.Addresses()
	return &running{where{GRPC: at.GRPC.String(), Metrics: "http://" + at.Health.String() + "/metrics"}, stop}, nil
}

// newServer does not log, as an allow in production does not: its line is one for
// debugging.
func newServer(keys string) (*server.Server, error) {
	set, err := mint.GenerateKeySet()
	if err != nil {
		return nil, err
	}
	for name, content := range map[string]string{"session-keys": sessionKey, "mint.jwks": string(set)} {
		if err := os.WriteFile(filepath.Join(keys, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	variables := map[string]string{"ISSUER": issuer, "KEYS": keys, "REDIS": os.Getenv(redisVariable)}
	c, err := config.Parse("bench.yaml", []byte(configuration), config.Environment{
		Getenv: func(name string) (string, bool) { v, ok := variables[name]; return v, ok },
	})
	if err != nil {
		return nil, err
	}
	return server.New(server.Options{Config: c, Log: slog.New(slog.DiscardHandler), Version: "bench"})
}

// awaitReady waits until a server answers, and hears of changes or has had the
// time to.
func awaitReady(ctx context.Context, metrics string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, metrics, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
