package oidc_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*oidc.Config)
		want   string // part of the error; empty for none
	}{
		{"good", func(*oidc.Config) {}, ""},
		{"issuer_with_a_path_and_slash", func(c *oidc.Config) { c.Issuer = "https://id.test/realms/main/" }, ""},
		{"loopback_IPv4", func(c *oidc.Config) { c.Issuer = "http://127.8.8.8:8080" }, ""},
		{"loopback_IPv6", func(c *oidc.Config) { c.Issuer = "http://[::1]:8080/realm" }, ""},
		{"localhost", func(c *oidc.Config) { c.Issuer = "http://localhost:8080" }, ""},
		{"plain_http", func(c *oidc.Config) { c.Issuer = "http://id.test" }, "issuer"},
		{"looks_like_localhost", func(c *oidc.Config) { c.Issuer = "http://localhost.id.test" }, "issuer"},
		{"looks_like_loopback", func(c *oidc.Config) { c.Issuer = "http://127.0.0.1.id.test" }, "issuer"},
		{"every_address", func(c *oidc.Config) { c.Issuer = "http://0.0.0.0" }, "issuer"},
		{"no_scheme", func(c *oidc.Config) { c.Issuer = "id.test" }, "issuer"},
		{"no_host", func(c *oidc.Config) { c.Issuer = "https:///realm" }, "issuer"},
		{"no_issuer", func(c *oidc.Config) { c.Issuer = "" }, "issuer"},
		{"query", func(c *oidc.Config) { c.Issuer = "https://id.test?a=b" }, "issuer"},
		{"fragment", func(c *oidc.Config) { c.Issuer = "https://id.test#" }, "issuer"},
		{"user", func(c *oidc.Config) { c.Issuer = "https://me@id.test" }, "issuer"},
		{"broken", func(c *oidc.Config) { c.Issuer = "https://id.test/%zz" }, "issuer"},
		{"no_name", func(c *oidc.Config) { c.Name = "" }, "name"},
		{"no_client", func(c *oidc.Config) { c.ClientID = "" }, "client_id"},
		{"no_secret", func(c *oidc.Config) { c.ClientSecret = "" }, "client_secret"},
		{"public_client", func(c *oidc.Config) { c.ClientSecret, c.AuthMethod = "", oidc.AuthNone }, ""},
		{"unknown_method", func(c *oidc.Config) { c.AuthMethod = "tls" }, "auth_method"},
		{"no_openid", func(c *oidc.Config) { c.Scopes = []string{"email"} }, "scopes"},
		{"none", func(c *oidc.Config) { c.Algorithms = []string{"RS256", "none"} }, `algorithms: "none"`},
		{"symmetric", func(c *oidc.Config) { c.Algorithms = []string{"HS256"} }, `algorithms: "HS256"`},
		{"negative_timeout", func(c *oidc.Config) { c.Timeout = -1 }, "timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := oidc.Config{Name: "main", Issuer: issuer, ClientID: "app", ClientSecret: clientSecret}
			tt.change(&c)
			p, err := oidc.New(c)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("New = %v", err)
			case tt.want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("New = %v, want an error about %s", err, tt.want)
			}
		})
	}
}

func TestNew_tells_everything_at_once(t *testing.T) {
	_, err := oidc.New(oidc.Config{})
	for _, part := range []string{"name", "issuer", "client_id", "client_secret"} {
		if err == nil || !strings.Contains(err.Error(), part+":") {
			t.Errorf("New = %v, want something about %s too", err, part)
		}
	}
}

func TestDiscovery_refuses(t *testing.T) {
	metadata := func(name string, value any) oidctest.Lies {
		return oidctest.Lies{Metadata: map[string]any{name: value}}
	}
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
		want string // part of Ready's words
	}{
		{"issuer_with_slash", oidctest.Lies{DiscoveryIssuer: issuer + "/"}, "equal to the letter"},
		{"issuer_of_another", oidctest.Lies{DiscoveryIssuer: "https://evil.test"}, `"https://evil.test"`},
		{"issuer_missing", oidctest.Lies{DiscoveryIssuer: oidctest.Missing}, "equal to the letter"},
		{"plain_token_endpoint", metadata("token_endpoint", "http://id.test/token"), "token_endpoint"},
		{"plain_token_endpoint_on_loopback", metadata("token_endpoint", "http://127.0.0.1/token"), "token_endpoint"},
		{"plain_authorization_endpoint", metadata("authorization_endpoint", "http://id.test/authorize"), "authorization_endpoint"},
		{"script_authorization_endpoint", metadata("authorization_endpoint", "javascript:alert(1)"), "authorization_endpoint"},
		{"plain_keys", metadata("jwks_uri", "http://id.test/keys"), "jwks_uri"},
		{"keys_in_a_file", metadata("jwks_uri", "file:///etc/passwd"), "jwks_uri"},
		{"plain_userinfo", metadata("userinfo_endpoint", "http://id.test/userinfo"), "userinfo_endpoint"},
		{"plain_introspection", metadata("introspection_endpoint", "http://id.test/introspect"), "introspection_endpoint"},
		{"plain_end_session", metadata("end_session_endpoint", "http://id.test/end"), "end_session_endpoint"},
		{"endpoint_with_user", metadata("token_endpoint", "https://a:b@id.test/token"), "token_endpoint"},
		{"no_token_endpoint", metadata("token_endpoint", oidctest.Missing), "token_endpoint"},
		{"no_keys", metadata("jwks_uri", oidctest.Missing), "jwks_uri"},
		{"endpoint_a_number", metadata("token_endpoint", 7), "JSON"},
		{"unknown_authentication", metadata("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}), "neither"},
		{"status_404", oidctest.Lies{Discovery: oidctest.Fault{Status: 404, Body: "{}"}}, "status 404"},
		{"status_500", oidctest.Lies{Discovery: oidctest.Fault{Status: 500}}, "status 500"},
		{"html", oidctest.Lies{Discovery: oidctest.Fault{Body: "<html>"}}, "JSON"},
		{"null", oidctest.Lies{Discovery: oidctest.Fault{Body: "null"}}, "equal to the letter"},
		{"out_of_bounds", oidctest.Lies{Discovery: oidctest.Fault{Padding: 1 << 20}}, "too large"},
		{"dropped", oidctest.Lies{Discovery: oidctest.Fault{Drop: true}}, "connection closed"},
		{"redirect", oidctest.Lies{Discovery: oidctest.Fault{
			Status: 302, Header: http.Header{"Location": {"http://169.254.169.254/"}},
		}}, "status 302"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, realTime)
				if err := w.client.Ready(); !errors.Is(err, oidc.ErrUnavailable) || !strings.Contains(err.Error(), "not discovered yet") {
					t.Errorf("Ready before Run = %v", err)
				}
				w.SetLies(tt.lies)
				run(t, w.client)
				synctest.Wait()
				err := w.client.Ready()
				if !errors.Is(err, oidc.ErrUnavailable) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "main") {
					t.Errorf("Ready = %v, want ErrUnavailable about %s", err, tt.want)
				}
				if _, _, err := w.client.Begin(time.Now(), redirect, "/", false); !errors.Is(err, oidc.ErrUnavailable) {
					t.Errorf("Begin = %v, want ErrUnavailable", err)
				}
				a, query := attempt()
				if _, err := w.client.Finish(t.Context(), a, redirect, query); !errors.Is(err, oidc.ErrUnavailable) {
					t.Errorf("Finish = %v, want ErrUnavailable", err)
				}
				if n := w.Count(oidctest.Keys); n != 0 {
					t.Errorf("keys were read %d times", n)
				}
				w.SetLies(oidctest.Lies{})
				time.Sleep(time.Minute)
				if _, err := w.login(t); err != nil {
					t.Errorf("honest again, Finish = %v", err)
				}
			})
		})
	}
}

func TestDiscovery_on_loopback(t *testing.T) {
	const loopback = "http://127.0.0.1:8080"
	for _, tt := range []struct {
		name, keys, want string
	}{
		{"endpoints_there_too", loopback + "/keys", ""},
		{"endpoint_with_tls", "https://id.test/keys", ""},
		{"plain_endpoint_elsewhere", "http://id.test/keys", "jwks_uri"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(theirs *oidctest.Config, ours *oidc.Config) {
					realTime(theirs, ours)
					theirs.Issuer, ours.Issuer = loopback, loopback
				})
				w.SetLies(oidctest.Lies{Metadata: map[string]any{"jwks_uri": tt.keys}})
				run(t, w.client)
				synctest.Wait()
				switch err := w.client.Ready(); {
				case tt.want == "" && err != nil:
					t.Errorf("Ready = %v", err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("Ready = %v, want something about %s", err, tt.want)
				}
			})
		})
	}
}

func TestDiscovery_last_good_copy_is_kept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		w.SetLies(oidctest.Lies{DiscoveryIssuer: "https://evil.test"})
		time.Sleep(time.Hour)
		if n := w.Count(oidctest.Discovery); n < 10 {
			t.Errorf("the provider was asked %d times in an hour", n)
		}
		if err := w.client.Ready(); err != nil {
			t.Errorf("Ready = %v", err)
		}
		if _, err := w.login(t); err != nil {
			t.Errorf("Finish = %v", err)
		}
	})
}

func TestRun_backs_off(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &times{}
		w := newWorld(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.Transport = asked })
		run(t, w.client)
		time.Sleep(10 * time.Minute)

		limit := 250 * time.Millisecond
		for i, at := range asked.all()[1:] {
			if wait := at.Sub(asked.all()[i]); wait > limit {
				t.Errorf("wait %d was %v, want at most %v", i, wait, limit)
			}
			limit = min(2*limit, 30*time.Second)
		}
		// Full jitter waits for 15 s on average.
		if n := len(asked.all()); n < 25 || n > 120 {
			t.Errorf("asked %d times in ten minutes", n)
		}
	})
}

// times notes when it was asked, and never answers.
type times struct {
	mu sync.Mutex
	at []time.Time // guarded by mu
}

func (n *times) RoundTrip(*http.Request) (*http.Response, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = append(n.at, time.Now())
	return nil, errors.New("no route to host")
}

func (n *times) all() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at
}

func TestRun_warns_once_without_S256(t *testing.T) {
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
		want int
	}{
		{"announced", oidctest.Lies{}, 0},
		{"not_among_them", oidctest.Lies{NoS256: true}, 1},
		{"no_list", oidctest.Lies{Metadata: map[string]any{"code_challenge_methods_supported": oidctest.Missing}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				w := newWorld(t, func(theirs *oidctest.Config, ours *oidc.Config) {
					realTime(theirs, ours)
					ours.Log = slog.New(slog.NewTextHandler(&out, nil))
				})
				w.SetLies(tt.lies)
				run(t, w.client)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if got := strings.Count(out.String(), "level=WARN"); got != tt.want {
					t.Errorf("%d warnings, want %d:\n%s", got, tt.want, out.String())
				}
				_, address, err := w.client.Begin(time.Now(), redirect, "/", false)
				if err != nil || !strings.Contains(address, "code_challenge_method=S256") {
					t.Errorf("Begin = %s, %v, want S256", address, err)
				}
			})
		})
	}
}
