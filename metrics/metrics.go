// Package metrics counts, for Prometheus, what Countersign decides and asks.
package metrics

import (
	"context"
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
	refreshes *prometheus.CounterVec
	revoked   prometheus.Counter
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
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_refreshes_total",
			Help: "Questions to a provider whether a session still holds, by what came of them.",
		}, []string{"provider", "result"}),
		revoked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_sessions_revoked_total", Help: "Sessions that an administrator ended.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "countersign_build_info", Help: "Always 1; the label says which build this is.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.decisions, m.checks, m.logins, m.store, m.minted, m.refreshes, m.revoked, build,
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

// Asked counts what came of asking a provider; it fits session.Vault's OnRenewal.
func (m *Metrics) Asked(r session.Renewal) {
	m.refreshes.WithLabelValues(r.Provider, string(r.Result)).Inc()
}

// Revoked counts sessions that an administrator ended.
func (m *Metrics) Revoked(n int) { m.revoked.Add(float64(n)) }

// Cached shows how many sessions are remembered in this process, as count says.
func (m *Metrics) Cached(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_sessions_cached", Help: "Sessions that this replica remembers.",
	}, func() float64 { return float64(count()) }))
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
