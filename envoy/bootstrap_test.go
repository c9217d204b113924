package envoy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"go.yaml.in/yaml/v4"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/envoy/envoytest"
)

// smallest is the least that a Bootstrap needs.
func smallest() envoy.Bootstrap {
	return envoy.Bootstrap{
		Listen:   "127.0.0.1:0",
		Authz:    envoy.Authz{Targets: []string{"127.0.0.1:9191"}},
		Routes:   []envoy.Route{{Cluster: "app"}},
		Clusters: []envoy.Cluster{{Name: "app", Target: "127.0.0.1:8000"}},
	}
}

// largest uses every field, with text that a template would trip over.
func largest(certFile, keyFile string) envoy.Bootstrap {
	return envoy.Bootstrap{
		Listen: "[::1]:0",
		TLS:    &envoy.TLS{CertFile: certFile, KeyFile: keyFile},
		Authz: envoy.Authz{
			Targets: []string{"authz.example:9191", "10.0.0.1:9191", `unix:///run/a "b": #c.sock`},
			TLS:     &envoy.AuthzTLS{CAFile: certFile, CertFile: certFile, KeyFile: keyFile, ServerName: "authz.example"},
			Timeout: 1500 * time.Millisecond, RawHeaders: true,
		},
		JWT: &envoy.JWT{
			Issuer: "https://app.example/oauth2\n- x: \"y\"", Audiences: []string{"yes", "1", "null"},
			JWKS: "http://countersign/oauth2/jwks?a=%7B&b", Cluster: "yes", Header: "authorization", Prefix: "Bearer ",
		},
		Routes: []envoy.Route{
			{Hosts: []string{"app.example", "*.app.example"}, Prefix: "/oauth2/", Cluster: "yes", NoAuth: true},
			{Hosts: []string{"app.example"}, Cluster: "gRPC: {é}\t\u0085", JWT: true},
			{Prefix: "/", Cluster: "yes"},
		},
		Clusters: []envoy.Cluster{
			{Name: "yes", Target: "unix:///run/web.sock"}, {Name: "gRPC: {é}\t\u0085", Target: "grpc.example:50051", HTTP2: true},
		},
		RawPaths: true, Underscores: true, StreamIdle: time.Hour, StreamMax: 24 * time.Hour, Admin: "[::1]:0",
	}
}

func TestBootstrapIsValid(t *testing.T) {
	path := findEnvoy(t)
	certFile, keyFile := certificate(t)
	for name, b := range map[string]envoy.Bootstrap{"smallest": smallest(), "largest": largest(certFile, keyFile)} {
		t.Run(name, func(t *testing.T) {
			config, err := b.YAML()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "envoy.yaml")
			if err := os.WriteFile(file, config, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if out, err := exec.CommandContext(ctx, path, "--mode", "validate", "-c", file, "--log-level", "warning").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s\n%s", err, out, config)
			} else if strings.Contains(string(out), "[warning]") {
				t.Errorf("Envoy warns: %s", out)
			}
		})
	}
}

// What hardens the configuration is there without being asked for.
func TestBootstrapIsHardened(t *testing.T) {
	config, err := smallest().YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`failure_mode_allow: false`, `code: "ServiceUnavailable"`, `use_remote_address: true`, `normalize_path: true`,
		`merge_slashes: true`, `headers_with_underscores_action: "REJECT_REQUEST"`, `address: "127.0.0.1"`,
		`encode_raw_headers: false`, `validate_mutations: true`, `stream_idle_timeout: "300s"`,
	} {
		if !strings.Contains(string(config), line+"\n") {
			t.Errorf("YAML lacks %s", line)
		}
	}
}

// Text comes out of the YAML as it went in.
func TestBootstrapEscapes(t *testing.T) {
	b := largest("c", "k")
	config, err := b.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(config, &doc); err != nil {
		t.Fatal(err)
	}
	var found []string
	collect(doc, &found)
	for _, want := range append(b.JWT.Audiences, b.JWT.Issuer, b.JWT.JWKS, b.JWT.Prefix, b.Clusters[1].Name, `/run/a "b": #c.sock`) {
		var n int
		for _, s := range found {
			if s == want {
				n++
			}
		}
		if n == 0 {
			t.Errorf("%q is not in the YAML as a string", want)
		}
	}
}

// collect appends every string in a YAML value.
func collect(v any, to *[]string) {
	switch v := v.(type) {
	case string:
		*to = append(*to, v)
	case []any:
		for _, e := range v {
			collect(e, to)
		}
	case map[string]any:
		for _, e := range v {
			collect(e, to)
		}
	}
}

func TestBootstrapRefuses(t *testing.T) {
	tests := []struct {
		name, want string
		edit       func(*envoy.Bootstrap)
	}{
		{"no_port", `listen "localhost" is not host:port`, func(b *envoy.Bootstrap) { b.Listen = "localhost" }},
		{"port_beyond_range", "is not host:port", func(b *envoy.Bootstrap) { b.Clusters[0].Target = "app:65536" }},
		{"relative_socket", "absolute path", func(b *envoy.Bootstrap) { b.Authz.Targets = []string{"unix://run/a.sock"} }},
		{"no_target", "no target", func(b *envoy.Bootstrap) { b.Authz.Targets = nil }},
		{"no_route", "no route", func(b *envoy.Bootstrap) { b.Routes = nil }},
		{"unknown_cluster", `no cluster is called "other"`, func(b *envoy.Bootstrap) { b.Routes[0].Cluster = "other" }},
		{"route_to_the_authz_cluster", "no cluster is called", func(b *envoy.Bootstrap) { b.Routes[0].Cluster = envoy.AuthzCluster }},
		{"cluster_twice", "taken", func(b *envoy.Bootstrap) { b.Clusters = append(b.Clusters, b.Clusters[0]) }},
		{"relative_prefix", "slash", func(b *envoy.Bootstrap) { b.Routes[0].Prefix = "oauth2" }},
		{"token_that_is_not_described", "asks for a token", func(b *envoy.Bootstrap) { b.Routes[0].JWT = true }},
		{"token_without_a_check", "asks for a token", func(b *envoy.Bootstrap) {
			b.JWT, b.Routes[0].JWT, b.Routes[0].NoAuth = &envoy.JWT{Cluster: "app"}, true, true
		}},
		{"tls_to_anybody", "server name", func(b *envoy.Bootstrap) { b.Authz.TLS = &envoy.AuthzTLS{} }},
		{"public_admin_socket", "admin", func(b *envoy.Bootstrap) { b.Admin = "unix:///a" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := smallest()
			tt.edit(&b)
			if _, err := b.YAML(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("YAML: %v, want %q", err, tt.want)
			}
		})
	}
	_, err := envoy.Bootstrap{}.YAML()
	if err == nil || strings.Count(err.Error(), "\n") < 2 {
		t.Errorf("YAML of nothing: %v, want all errors together", err)
	}
}

// certificate writes a self-signed certificate for example.com and 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", s.Certificate().Raw), write("key.pem", "PRIVATE KEY", key)
}

func TestRealTLS(t *testing.T) {
	certFile, keyFile := certificate(t)
	w := start(t, deciding(nil), func(b *envoy.Bootstrap) { b.TLS = &envoy.TLS{CertFile: certFile, KeyFile: keyFile} })
	for _, proto := range []string{"h2", "http/1.1"} {
		conn, err := tls.Dial("tcp", w.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != proto {
			t.Errorf("ALPN chose %q, want %q", got, proto)
		}
		_ = conn.Close()
	}
	if _, err := tls.Dial("tcp", w.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is let in")
	}
}

// The login prefix goes to another cluster, unchecked, and for its hosts alone.
func TestRealRoutes(t *testing.T) {
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("login " + r.RequestURI))
	}))
	defer login.Close()
	w := start(t, always(authz.Decision{}), func(b *envoy.Bootstrap) {
		b.Clusters = append(b.Clusters, envoy.Cluster{Name: "login", Target: login.Listener.Addr().String()})
		b.Routes = append([]envoy.Route{{Hosts: []string{"app.example"}, Prefix: "/oauth2/", Cluster: "login", NoAuth: true}}, b.Routes...)
	})
	if resp, body := w.send("GET /oauth2/start?rd=/ HTTP/1.1"); resp.StatusCode != 200 || body != "login /oauth2/start?rd=/" {
		t.Errorf("login prefix: %s, %q", resp.Status, body)
	}
	w.stops(403, "GET /oauth2 HTTP/1.1")
	w.stops(403, "GET /oauth2/../admin HTTP/1.1")
	w.stops(307, "GET /oauth2/..%2fadmin HTTP/1.1")
	w.stops(403, "GET http://other.example/oauth2/start HTTP/1.1")
}

// A WebSocket comes through where the check allows it.
func TestRealWebSocket(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "upgrade")
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		w.WriteHeader(http.StatusSwitchingProtocols)
	}))
	defer upstream.Close()
	w := start(t, deciding(map[string]authz.Decision{"/no": {}}), func(b *envoy.Bootstrap) {
		b.Clusters[0].Target = upstream.Listener.Addr().String()
	})
	for path, want := range map[string]int{"/yes": 101, "/no": 403} {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		req, _ := http.NewRequest(http.MethodGet, "http://app.example"+path, nil)
		req.Header.Set("Connection", "upgrade")
		req.Header.Set("Upgrade", "websocket")
		_ = req.Write(conn)
		status := make([]byte, len("HTTP/1.1 101"))
		if _, err := conn.Read(status); err != nil || string(status) != fmt.Sprintf("HTTP/1.1 %d", want) {
			t.Errorf("%s: %q (%v), want %d", path, status, err, want)
		}
		conn.Close()
	}
}

// Envoy's own jwt_authn sees the header that the check sets, and no other.
func TestRealJWT(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	}))
	defer keys.Close()
	token := func(audience string) string {
		unsigned := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
			Issuer: "https://app.example/oauth2", Subject: "alice", Audience: jwt.ClaimStrings{audience}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
		})
		unsigned.Header["kid"] = "k"
		signed, err := unsigned.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	bringing := func(value string) authz.Decision {
		return authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{Set: []authz.Field{{Name: "authorization", Value: value}}}}
	}
	good := "Bearer " + token("app")
	w := start(t, deciding(map[string]authz.Decision{
		"/good": bringing(good), "/alien": bringing("Bearer " + token("other")), "/bare": bringing(token("app")),
	}), func(b *envoy.Bootstrap) {
		b.Clusters = append(b.Clusters, envoy.Cluster{Name: "keys", Target: keys.Listener.Addr().String()})
		b.JWT = &envoy.JWT{
			Issuer: "https://app.example/oauth2", Audiences: []string{"app"}, JWKS: keys.URL + "/jwks", Cluster: "keys",
			Header: "authorization", Prefix: "Bearer ",
		}
		b.Routes = []envoy.Route{{Prefix: "/open", Cluster: "upstream"}, {Cluster: "upstream", JWT: true}}
	})
	if got := w.passes("GET /good HTTP/1.1", "authorization: Bearer forged").Header.Values("Authorization"); len(got) != 1 || got[0] != good {
		t.Errorf("Authorization = %q, want the token alone", got)
	}
	w.passes("GET /open HTTP/1.1")
	w.stops(401, "GET /none HTTP/1.1")
	w.stops(401, "GET /none?access_token="+token("app")+" HTTP/1.1")
	w.stops(401, "GET /bare HTTP/1.1")
	w.stops(403, "GET /alien HTTP/1.1")
}

func TestFind(t *testing.T) {
	t.Setenv("ENVOY", filepath.Join(t.TempDir(), "none"))
	if _, err := envoytest.Find(); err == nil || !strings.Contains(err.Error(), "scripts/parts.sh envoy") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Find: %v, want one line that says how to get an Envoy", err)
	}
}
