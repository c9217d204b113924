// Package metrics counts, for Prometheus, what Countersign decides and asks.
package metrics

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
)

// Metrics are the product's own, in a registry of their own.
type Metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	checks    prometheus.Histogram
	logins    *prometheus.CounterVec
	store     *prometheus.HistogramVec
	minted    *prometheus.CounterVec
}

// New returns metrics that count from zero.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_decisions_total", Help: "Decisions by app and reason.",
		}, []string{"app", "reason"}),
		checks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_check_seconds", Help: "Time that a decision took.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_logins_total", Help: "Logins that came back from a provider, by how they ended.",
		}, []string{"provider", "result"}),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_store_seconds", Help: "Time that the session store took, by operation and result.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5},
		}, []string{"operation", "result"}),
		minted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_tokens_minted_total", Help: "Tokens that were signed for upstreams.",
		}, []string{"app", "alg"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "countersign_build_info", Help: "Always 1; the label says which build this is.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.decisions, m.checks, m.logins, m.store, m.minted, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Minted counts a signature; it fits mint.Signer's OnSign.
func (m *Metrics) Minted(t mint.Minted) {
	m.minted.WithLabelValues(t.App, string(t.Algorithm)).Inc()
}

// Checker counts the decisions of next.
func (m *Metrics) Checker(next authz.Checker) authz.Checker {
	return checker{m, next}
}

type checker struct {
	m    *Metrics
	next authz.Checker
}

// Check implements authz.Checker.
func (c checker) Check(ctx context.Context, req authz.Request) authz.Decision {
	began := time.Now()
	d := c.next.Check(ctx, req)
	c.m.checks.Observe(time.Since(began).Seconds())
	c.m.decisions.WithLabelValues(d.App, string(d.Reason)).Inc()
	if d.Login != "" {
		c.m.logins.WithLabelValues(d.Login, string(d.Reason)).Inc()
	}
	return d
}

// Store measures the calls to next.
func (m *Metrics) Store(next session.Store) session.Store { return store{m, next} }

type store struct {
	m    *Metrics
	next session.Store
}

func (s store) observe(operation string, began time.Time, err error) {
	result := "ok"
	switch {
	case errors.Is(err, session.ErrNotFound):
		result = "not_found"
	case errors.Is(err, session.ErrExists), errors.Is(err, session.ErrConflict):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	s.m.store.WithLabelValues(operation, result).Observe(time.Since(began).Seconds())
}

func (s store) Create(ctx context.Context, id session.ID, r session.Record) (err error) {
	defer func(t time.Time) { s.observe("create", t, err) }(time.Now())
	return s.next.Create(ctx, id, r)
}

func (s store) Load(ctx context.Context, id session.ID) (r session.Record, err error) {
	defer func(t time.Time) { s.observe("load", t, err) }(time.Now())
	return s.next.Load(ctx, id)
}

func (s store) LoadTokens(ctx context.Context, id session.ID) (b []byte, err error) {
	defer func(t time.Time) { s.observe("load_tokens", t, err) }(time.Now())
	return s.next.LoadTokens(ctx, id)
}

func (s store) Replace(ctx context.Context, id session.ID, version uint64, r session.Record) (err error) {
	defer func(t time.Time) { s.observe("replace", t, err) }(time.Now())
	return s.next.Replace(ctx, id, version, r)
}

func (s store) Delete(ctx context.Context, id session.ID) (err error) {
	defer func(t time.Time) { s.observe("delete", t, err) }(time.Now())
	return s.next.Delete(ctx, id)
}

func (s store) Touch(ctx context.Context, seen map[session.ID]time.Time) (err error) {
	defer func(t time.Time) { s.observe("touch", t, err) }(time.Now())
	return s.next.Touch(ctx, seen)
}

func (s store) Claim(ctx context.Context, c session.Claim, life time.Duration) (ok bool, err error) {
	defer func(t time.Time) { s.observe("claim", t, err) }(time.Now())
	return s.next.Claim(ctx, c, life)
}

func (s store) Settle(ctx context.Context, c session.Claim, result []byte, life time.Duration) (err error) {
	defer func(t time.Time) { s.observe("settle", t, err) }(time.Now())
	return s.next.Settle(ctx, c, result, life)
}

func (s store) Settled(ctx context.Context, c session.Claim) (b []byte, err error) {
	defer func(t time.Time) { s.observe("settled", t, err) }(time.Now())
	return s.next.Settled(ctx, c)
}

func (s store) Ping(ctx context.Context) (err error) {
	defer func(t time.Time) { s.observe("ping", t, err) }(time.Now())
	return s.next.Ping(ctx)
}
