package e2e_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/envoy/envoytest"
)

// startEnvoy starts a real Envoy in front of the replicas and the upstreams that
// have started, wired as Countersign's own generator wires it, and returns when
// it listens. It ends with the test.
func (s *stack) startEnvoy(t *testing.T) {
	t.Helper()
	written, err := s.bootstrap(t).YAML()
	if err != nil {
		t.Fatal(err)
	}
	if s.setup.FailOpen {
		// The generator never writes this. Some meshes are wired so all the same.
		closed, open := []byte("failure_mode_allow: false"), []byte("failure_mode_allow: true")
		if bytes.Count(written, closed) != 1 {
			t.Fatalf("no failure_mode_allow to change in\n%s", written)
		}
		written = bytes.Replace(written, closed, open, 1)
	}
	// Not with the test's own context, which ends before what a test cleans up.
	s.envoy, err = envoytest.StartYAML(context.WithoutCancel(t.Context()), requireEnvoy(t), written)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.envoy.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Envoy said:\n%s", s.envoy.Log())
		}
	})
	s.front = s.envoy.Addr(envoy.ListenerName)
}

// requireEnvoy finds an Envoy, or ends the test.
func requireEnvoy(t *testing.T) string {
	t.Helper()
	path, err := envoytest.Find()
	if err != nil {
		missing(t, "ENVOY", err)
	}
	return path
}

// bootstrap is the setup in Envoy's terms. Names with "_" pass, since the tests
// try them.
func (s *stack) bootstrap(t *testing.T) envoy.Bootstrap {
	t.Helper()
	certificate, key := s.certificate(t)
	b := envoy.Bootstrap{
		Listen:      "127.0.0.1:0",
		TLS:         &envoy.TLS{CertFile: certificate, KeyFile: key},
		Authz:       envoy.Authz{Timeout: s.setup.CheckTimeout, RawHeaders: s.setup.RawHeaders},
		RawPaths:    !s.setup.Normalise,
		Underscores: true,
		Clusters:    []envoy.Cluster{{Name: "login", Target: s.replicas[0].http}},
	}
	if b.Authz.Timeout == 0 {
		b.Authz.Timeout = 10 * time.Second
	}
	for _, c := range s.replicas {
		b.Authz.Targets = append(b.Authz.Targets, c.grpc)
	}
	if j := s.setup.JWTAuthn; j != nil {
		b.JWT = &envoy.JWT{
			Issuer: j.issuer, Audiences: []string{j.audience}, Header: j.header, Prefix: j.prefix,
			JWKS: s.jwksURL(), Cluster: "login",
		}
	}
	if !s.setup.InsideCheck {
		b.Routes = append(b.Routes, envoy.Route{Prefix: "/oauth2/", Cluster: "login", NoAuth: true})
	}
	for _, r := range s.setup.Routes {
		b.Routes = append(b.Routes, envoy.Route{Prefix: r.prefix, Cluster: r.upstream, JWT: s.setup.JWTAuthn != nil && r.upstream == "api"})
	}
	for name, address := range s.upstreams {
		b.Clusters = append(b.Clusters, envoy.Cluster{Name: name, Target: address})
	}
	return b
}

// jwtAuthn is what Envoy's own filter asks of a token on the routes to "api": a
// second implementation that has to agree with ours. It looks after ext_authz.
type jwtAuthn struct{ issuer, audience, header, prefix string }
