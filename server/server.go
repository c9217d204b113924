// Package server runs Countersign: it puts the parts together as a configuration
// says, listens, tells whether it is ready, and leaves without failing a request.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/web"
	"github.com/countersign/countersign/web/pages"
)

// Options say what to run. Config and Log must be set.
type Options struct {
	Config  *config.Config
	Log     *slog.Logger
	Version string

	// DrainDelay is how long the server goes on answering after it was told to
	// stop and says so in its health: the time that a proxy needs to notice. 0
	// stops at once.
	DrainDelay time.Duration

	// Sealer replaces the session keys. It is for the test that proves that the
	// search for plain text in the store finds some.
	Sealer session.Sealer
}

// Server is Countersign, ready to run once. Create it with New.
type Server struct {
	log        *slog.Logger
	drainDelay time.Duration
	patience   patience

	providers  []*oidc.Provider
	store      session.Store
	closeStore func() error
	vault      *session.Vault
	signer     *mint.Signer
	authorizer *authz.Authorizer
	metrics    *metrics.Metrics
	ready      *readiness

	checks       *envoy.Server
	grpc         *grpc.Server
	grpcHealth   *envoy.Health
	http, health *http.Server
	admin        *http.Server // nil where administrators are not answered
	listeners    listeners
}

// New puts a server together and listens. It waits for no provider and no
// store. Close or Run releases what it holds.
func New(o Options) (*Server, error) {
	s := &Server{log: o.Log, drainDelay: o.DrainDelay, patience: standardPatience, metrics: metrics.New(o.Version)}
	if err := s.openSessions(o); err != nil {
		return nil, err
	}
	if err := s.makeSigner(o.Config.Mint); err != nil {
		return nil, errors.Join(err, s.closeStore())
	}
	if err := s.makeAuthorizer(o.Config); err != nil {
		return nil, errors.Join(err, s.closeStore())
	}
	s.makeServers(o.Config.Listen)
	if err := s.listeners.open(o.Config.Listen); err != nil {
		return nil, errors.Join(err, s.closeStore())
	}
	return s, nil
}

func (s *Server) openSessions(o Options) error {
	c := o.Config.Session
	s.store, s.closeStore = session.NewMemory(), func() error { return nil }
	if c.Redis != nil {
		store, err := redis.Open(*c.Redis)
		if err != nil {
			return err
		}
		s.store, s.closeStore = store, store.Close
	}
	keys := c.Keys
	if keys == nil {
		keys = session.GenerateKeyring()
	}
	s.vault = &session.Vault{
		Store: s.metrics.Store(s.store), Sealer: keys,
		Absolute: c.Absolute, Idle: c.Idle, Revalidation: c.Revalidation, Outage: c.Outage,
		Strict:    c.Redis != nil && c.Outage == 0,
		OnRenewal: s.asked,
	}
	if o.Sealer != nil {
		s.vault.Sealer = o.Sealer
	}
	s.metrics.Cached(s.vault.Cached)
	return nil
}

func (s *Server) makeSigner(c config.Mint) error {
	keys := c.Keys
	if keys == nil {
		generated, err := mint.GenerateKeys()
		if err != nil {
			return err
		}
		keys = generated
	}
	s.signer = mint.NewSigner(keys)
	s.signer.OnSign = func(m mint.Minted) {
		s.metrics.Minted(m)
		if m.Size > mint.LargeSize {
			s.log.Warn("minted token is large", slog.String("app", m.App), slog.Int("bytes", m.Size))
		}
	}
	return nil
}

func (s *Server) makeAuthorizer(c *config.Config) error {
	byName := map[string]*oidc.Provider{}
	for _, pc := range c.Providers {
		pc.Log = s.log
		p, err := oidc.New(pc)
		if err != nil {
			return fmt.Errorf("provider %s: %w", pc.Name, err)
		}
		s.providers = append(s.providers, p)
		byName[pc.Name] = p
	}
	var apps []*authz.App
	for _, a := range c.Apps {
		if p, ok := byName[a.ProviderName]; ok {
			a.Provider = p
		}
		apps = append(apps, a.App)
	}
	routes, err := authz.NewRoutes(apps)
	if err != nil {
		return err
	}
	s.authorizer = &authz.Authorizer{Routes: routes, Sessions: s.vault, Minter: s.signer, Pages: pages.New()}
	return nil
}

func (s *Server) makeServers(c config.Listen) {
	s.ready = &readiness{dependencies: []dependency{{"sessions", s.vault.Ping}}}
	for _, p := range s.providers {
		s.ready.dependencies = append(s.ready.dependencies,
			dependency{"provider " + p.Name(), func(context.Context) error { return p.Ready() }})
	}
	checker := authz.Logged{Next: s.metrics.Checker(s.authorizer), Log: s.log}
	s.checks = &envoy.Server{Checker: checker, Log: s.log}
	s.grpc, s.grpcHealth = envoy.NewServer(s.checks)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /readyz", s.ready)
	mux.Handle("GET /metrics", s.metrics.Handler())
	s.health = newHTTPServer(uncached(mux), s.log)
	s.http = newHTTPServer(&web.Handler{Authorizer: s.authorizer, Checker: checker}, s.log)
	if c.Admin != nil {
		s.admin = newHTTPServer(&admin.Handler{
			Sessions: s.vault, TokenFile: c.Admin.TokenFile, Log: s.log, OnRevoked: s.metrics.Revoked,
		}, s.log)
	}
}

// uncached says of every answer that it is good for this moment alone.
func uncached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// newHTTPServer bounds what a client may send and how long it may take.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// JWKS is the set of public keys that verify the minted tokens.
func (s *Server) JWKS() []byte { return s.signer.JWKS() }

// firstLook is how long a server that starts waits for its providers. One that
// served before it knows them would turn away whoever wants to sign in.
const firstLook = time.Second

// awaitProviders returns when all providers are known, or have had their time.
func (s *Server) awaitProviders(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(s.providers, func(p *oidc.Provider) bool { return p.Ready() != nil }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Run serves until ctx ends, then drains: it says that it leaves, goes on
// answering for DrainDelay, takes no new requests, and lets those under way end.
// Requests that come while it looks for its providers wait for a second at most.
func (s *Server) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failed := errgroup.WithContext(ctx)
	for _, p := range s.providers {
		group.Go(func() error { return ignoreCanceled(p.Run(background)) })
	}
	group.Go(func() error { return ignoreCanceled(s.vault.Run(background)) })
	s.awaitProviders(failed)
	s.grpcHealth.Set(true)
	group.Go(func() error { return serveGRPC(s.grpc, s.listeners.grpc) })
	group.Go(func() error { return serve(s.http, s.listeners.http) })
	group.Go(func() error { return serve(s.health, s.listeners.health) })
	if s.admin != nil {
		group.Go(func() error { return serve(s.admin, s.listeners.admin) })
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "serving", s.Addresses().attrs()...)
	group.Go(func() error {
		<-failed.Done() // told to stop, or something above failed
		defer stop()
		return s.drain(background)
	})
	return errors.Join(group.Wait(), s.closeStore())
}

// serve serves until the server is shut down.
func serve(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveGRPC serves until the server is stopped, which it may be already: somebody
// who is told to leave while looking for the providers leaves in peace.
func serveGRPC(s *grpc.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
