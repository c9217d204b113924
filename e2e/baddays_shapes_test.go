package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
	"github.com/countersign/countersign/web"
	"github.com/countersign/countersign/web/pages"
)

// shapeDays are faults of several Redis, and of clocks.
var shapeDays = []badDay{
	{
		fault: "failover in the middle of a refresh", expected: "never to sign in; what the provider gave is kept at the new master", lasts: 8 * time.Second,
		setting: setting{session: asked, store: withSentinels},
		begin:   failingOver, until: untilKept,
		want: wants{
			known: []int{200, 503}, unknown: []int{200, 503}, login: []int{303, 503}, signOut: []int{303, 503},
		},
		shows: func(d *day, _ *outcome) bool { return d.sentinels.Primary() != d.sentinels.Nodes[0] },
	},
	{
		fault: "cluster slots moved under load", expected: "nobody notices", lasts: 6 * time.Second,
		setting: setting{store: withCluster, session: outageKeys + "\nrevalidate: {every: 2s, via: refresh, grace: 1m}"},
		begin:   func(d *day) func() { return func() {} }, meanwhile: moving,
		until: func(d *day, o *outcome) { o.note = fmt.Sprintf("%d redirects", d.redirects()) },
		shows: func(d *day, _ *outcome) bool { return d.redirects() > 0 },
	},
	{
		fault: "clock of one replica 5 minutes ahead", expected: "nobody who is signed in notices", lasts: 6 * time.Second,
		setting: setting{session: asked, skewed: 5 * time.Minute}, begin: nothing, shows: skewShows,
	},
	{
		fault: "clock of one replica 5 minutes behind", expected: "nobody who is signed in notices", lasts: 6 * time.Second,
		setting: setting{session: asked, skewed: -5 * time.Minute}, begin: nothing, shows: skewShows,
	},
}

func nothing(*day) func() { return func() {} }

// withSentinels starts a master, its replica, and three sentinels.
func withSentinels(d *day) {
	d.sentinels = redistest.StartSentinel(d.t)
	d.setup.RedisURL = d.sentinels.URL
	d.server = func(string) *redistest.Server { return d.sentinels.Primary() }
	d.setup.RedisKey = d.files.sentinelPassword(d.t)
}

// failingOver kills the master while the provider is asked.
func failingOver(d *day) func() {
	d.mark()
	d.idp.SetLies(oidctest.Lies{Token: oidctest.Fault{Delay: 1500 * time.Millisecond}})
	eventually(d.t, 30*time.Second, func() bool { return d.asked(nil) > 0 }, func() string { return "nobody asks for a refresh" })
	old := d.sentinels.KillPrimary()
	return func() {
		d.sentinels.AwaitPrimary(old)
		d.idp.SetLies(oidctest.Lies{})
	}
}

// untilKept waits for a new master, where there is to be one, and for what was asked
// before.
func untilKept(d *day, o *outcome) {
	if d.faulty {
		d.sentinels.AwaitPrimary(d.sentinels.Nodes[0])
	}
	version := d.versions["alice"]
	eventually(d.t, 60*time.Second, func() bool { return d.version("alice") > version },
		func() string { return "the new tokens are not kept" })
	if n := d.idp.Count(oidctest.ReplayRefused); n != 0 {
		d.t.Errorf("%d spent tokens were sent again", n)
	}
	noteRefreshes(d, o)
}

// sentinelPassword is the key that tells what the sentinels want to be told.
func (f files) sentinelPassword(t *testing.T) string {
	t.Helper()
	path := f.write(t, "sentinel-password", []byte(redistest.SentinelPassword+"\n"))
	return fmt.Sprintf("sentinel: {password_file: %s}", path)
}

// withCluster starts three masters.
func withCluster(d *day) {
	d.cluster = redistest.StartCluster(d.t)
	d.setup.RedisURL = d.cluster.URL
	d.server = func(key string) *redistest.Server { return d.cluster.Nodes[d.cluster.Of(redistest.Slot(key))] }
	d.pokeAt(d.cluster.Nodes[0].Addr)
}

// moving moves the slots of alice and bob to another node, and back.
func moving(d *day) {
	for _, name := range []string{"alice", "bob"} {
		slot := redistest.Slot(d.key(name))
		home := d.cluster.Of(slot)
		for _, to := range []int{(home + 1) % 3, home} {
			d.cluster.Move(slot, to, func() { time.Sleep(700 * time.Millisecond) })
			time.Sleep(300 * time.Millisecond)
		}
	}
}

// redirects is how often a node said that a key is elsewhere.
func (d *day) redirects() int {
	n := 0
	for _, node := range d.cluster.Nodes {
		n += d.errors(node, "MOVED") + d.errors(node, "ASK")
	}
	return n
}

// skewShows reports whether the tokens of one replica were signed at another time
// than those of the other.
func skewShows(_ *day, o *outcome) bool {
	var at [2]time.Time
	for i := range at {
		for _, s := range o.while("known") {
			if s.kind == fmt.Sprintf("known/%d", i) && s.status == http.StatusOK {
				at[i] = issuedAt(s.header.Get(assertion))
			}
		}
	}
	return at[0].Sub(at[1]).Abs() > 3*time.Minute
}

// issuedAt is when a token says that it was signed.
func issuedAt(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		IssuedAt int64 `json:"iat"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return time.Time{}
	}
	return time.Unix(claims.IssuedAt, 0)
}

// startSkewed puts a replica together as package server does, with a clock that is
// ahead. The clock of a process cannot be changed, since Go asks no library for
// the time; so each part is given one that has a way to take it. The store's
// [session.Store.Ahead] is what it would be. What only measures how long something
// takes has the true clock.
func startSkewed(t *testing.T, file string, ahead time.Duration) *countersign {
	t.Helper()
	now := func() time.Time { return time.Now().Add(ahead) }
	cfg, err := config.Parse("countersign.yaml", []byte(file), config.Environment{})
	if err != nil {
		t.Fatal(err)
	}
	c := &countersign{log: new(transcript)}
	c.log.showOnFailure(t, "the replica with another clock")
	log := slog.New(slog.NewJSONHandler(c.log, &slog.HandlerOptions{Level: cfg.Log.Level}))

	store, err := redis.Open(*cfg.Session.Redis)
	if err != nil {
		t.Fatal(err)
	}
	vault := &session.Vault{
		Store: skewedStore{store, ahead}, Sealer: cfg.Session.Keys, Absolute: cfg.Session.Absolute, Idle: cfg.Session.Idle,
		Revalidation: cfg.Session.Revalidation, Outage: cfg.Session.Outage,
	}
	pc := cfg.Providers[0]
	pc.Now, pc.Log = now, log
	provider, err := oidc.New(pc)
	if err != nil {
		t.Fatal(err)
	}
	app := cfg.Apps[0].App
	app.Provider = provider
	routes, err := authz.NewRoutes([]*authz.App{app})
	if err != nil {
		t.Fatal(err)
	}
	authorizer := &authz.Authorizer{
		Routes: routes, Sessions: vault, Minter: mint.NewSigner(cfg.Mint.Keys), Pages: pages.New(), Now: now,
	}
	checker := authz.Logged{Next: authorizer, Log: log}
	checks, health := envoy.NewServer(&envoy.Server{Checker: checker, Log: log})
	health.Set(true)

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	listen := func() (net.Listener, string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l, l.Addr().String()
	}
	var grpcAt, httpAt, healthAt net.Listener
	grpcAt, c.grpc = listen()
	httpAt, c.http = listen()
	healthAt, c.health = listen()
	logins := &http.Server{Handler: &web.Handler{Authorizer: authorizer, Checker: checker}, ReadHeaderTimeout: time.Minute}
	ready := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if provider.Ready() == nil && vault.Ping(r.Context()) == nil {
			fmt.Fprint(w, `{"status": "ready"}`)
		}
	})}
	running.Go(func() { provider.Run(ctx) })     //nolint:errcheck // its error is that of ctx
	running.Go(func() { vault.Run(ctx) })        //nolint:errcheck // likewise
	running.Go(func() { checks.Serve(grpcAt) })  //nolint:errcheck // says that it was stopped
	running.Go(func() { logins.Serve(httpAt) })  //nolint:errcheck // likewise
	running.Go(func() { ready.Serve(healthAt) }) //nolint:errcheck // likewise
	t.Cleanup(func() {
		checks.Stop()
		logins.Close() //nolint:errcheck // the test is over
		ready.Close()  //nolint:errcheck // likewise
		cancel()
		running.Wait()
		store.Close() //nolint:errcheck // likewise
	})
	return c
}

// skewedStore is a store as a process sees it whose clock is ahead.
type skewedStore struct {
	session.Store

	by time.Duration
}

func (s skewedStore) Ahead() time.Duration { return s.Store.Ahead() - s.by }
