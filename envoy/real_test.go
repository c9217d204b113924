package envoy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/envoy/envoytest"
)

// findEnvoy skips a test where there is no Envoy, but never in CI.
func findEnvoy(t *testing.T) string {
	t.Helper()
	path, err := envoytest.Find()
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatal(err)
	}
	t.Skip("NOT TESTED AGAINST A REAL ENVOY: ", err)
	return ""
}

// world is a real Envoy between a client, a Checker and an upstream that tells
// what reached it.
type world struct {
	t     *testing.T
	addr  string
	authz *grpc.Server
}

// arrived is what reached the upstream.
type arrived struct {
	Method, Path, Host string
	Header             http.Header
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Upstream", "echo")
	_ = json.NewEncoder(w).Encode(arrived{r.Method, r.RequestURI, r.Host, r.Header})
}

// start builds a world around c. Each edit changes the configuration.
func start(t *testing.T, c checker, edits ...func(*envoy.Bootstrap)) *world {
	t.Helper()
	path := findEnvoy(t)
	upstream := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(upstream.Close)
	socket := filepath.Join(t.TempDir(), "authz.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := serving(c)
	server, health := envoy.NewServer(s)
	health.Set(true)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := s.Wait(context.Background()); err != nil {
			t.Errorf("Wait: %v", err)
		}
	})
	b := envoy.Bootstrap{
		Listen:   "127.0.0.1:0",
		Authz:    envoy.Authz{Targets: []string{"unix://" + socket}},
		Routes:   []envoy.Route{{Cluster: "upstream"}},
		Clusters: []envoy.Cluster{{Name: "upstream", Target: upstream.Listener.Addr().String()}},
	}
	for _, edit := range edits {
		edit(&b)
	}
	p, err := envoytest.Start(t.Context(), path, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if t.Failed() {
			t.Logf("envoy: %s", p.Log())
		}
	})
	return &world{t, p.Addr(envoy.ListenerName), server}
}

// send writes a request as it is, line by line, and returns the answer with its
// body read.
func (w *world) send(lines ...string) (*http.Response, string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	head := append(slices.Clone(lines), "host: app.example", "connection: close", "", "")
	if _, err := io.WriteString(conn, strings.Join(head, "\r\n")); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatalf("%q: %v", lines[0], err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

// sendHTTP2 asks for a path that net/http would not send, and waits for an answer.
func (w *world) sendHTTP2(path string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "app.example"}, {":path", path}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			w.t.Fatalf("%q: %v", path, err)
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			return
		}
	}
}

// passes sends a request and returns what reached the upstream.
func (w *world) passes(lines ...string) arrived {
	w.t.Helper()
	resp, body := w.send(lines...)
	var got arrived
	if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 200 {
		w.t.Fatalf("%q: %s, %q", lines[0], resp.Status, body)
	}
	return got
}

// stops sends a request and fails if it reached the upstream.
func (w *world) stops(status int, lines ...string) (*http.Response, string) {
	w.t.Helper()
	resp, body := w.send(lines...)
	if resp.Header.Get("X-Upstream") != "" {
		w.t.Errorf("%q reached the upstream: %s", lines[0], body)
	}
	if resp.StatusCode != status {
		w.t.Errorf("%q: %s, want %d; %q", lines[0], resp.Status, status, body)
	}
	return resp, body
}

// forms are the two ways in which Envoy can send headers.
var forms = map[string]func(*envoy.Bootstrap){
	"joined": func(b *envoy.Bootstrap) { b.Authz.RawHeaders = false },
	"raw":    func(b *envoy.Bootstrap) { b.Authz.RawHeaders = true },
}

func withUnderscores(b *envoy.Bootstrap) { b.Underscores = true }

// deciding answers by path, and allows the paths that it does not know.
func deciding(answers map[string]authz.Decision) checker {
	return func(_ context.Context, req authz.Request) authz.Decision {
		if d, ok := answers[req.Path]; ok {
			return d
		}
		return authz.Decision{Outcome: authz.Allow}
	}
}

func TestRealAnswers(t *testing.T) {
	cookies := []string{"a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2; Path=/", "c=; Max-Age=0"}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			w := start(t, deciding(map[string]authz.Decision{
				"/login": {Outcome: authz.Redirect, Status: 302, Client: http.Header{
					"Location": {"https://idp.example/authorize?a=1,2"}, "Set-Cookie": cookies, "Cache-Control": {"no-store"},
				}},
				"/fault": {Outcome: authz.Fail, Status: 503, Body: []byte("<p>é</p>"), Client: http.Header{
					"Retry-After": {"5"}, "Content-Type": {"text/html; charset=utf-8"},
				}},
				"/page":  {Outcome: authz.Respond, Status: 200, Body: []byte("{}"), Client: http.Header{"Content-Type": {"application/json"}}},
				"/early": {Status: 425},
				"/alien": {Status: 421},
				"/wrong": {Status: 405, Client: http.Header{"Allow": {"GET", "HEAD"}}},
				"/zero":  {},
			}), form)
			t.Run("several_cookies_come_as_several_lines", func(t *testing.T) {
				resp, _ := w.stops(302, "GET /login HTTP/1.1")
				if diff := cmp.Diff(cookies, resp.Header["Set-Cookie"]); diff != "" {
					t.Errorf("Set-Cookie (-want +got):\n%s", diff)
				}
				if got := resp.Header.Values("Location"); len(got) != 1 || got[0] != "https://idp.example/authorize?a=1,2" {
					t.Errorf("Location %q", got)
				}
			})
			t.Run("fault_keeps_body_and_retry_after", func(t *testing.T) {
				resp, body := w.stops(503, "GET /fault HTTP/1.1")
				if got := resp.Header.Get("Retry-After"); got != "5" {
					t.Errorf("Retry-After %q, want 5", got)
				}
				if got := resp.Header.Values("Content-Type"); len(got) != 1 || got[0] != "text/html; charset=utf-8" || body != "<p>é</p>" {
					t.Errorf("%q %q", got, body)
				}
			})
			t.Run("page_of_ours_may_have_status_200", func(t *testing.T) {
				if _, body := w.stops(200, "GET /page HTTP/1.1"); body != "{}" {
					t.Errorf("body %q", body)
				}
			})
			t.Run("statuses_that_envoy_has_no_name_for", func(t *testing.T) {
				w.stops(425, "GET /early HTTP/1.1")
				w.stops(421, "GET /alien HTTP/1.1")
			})
			t.Run("values_of_other_headers_are_joined", func(t *testing.T) {
				resp, _ := w.stops(405, "GET /wrong HTTP/1.1")
				if got := resp.Header.Get("Allow"); got != "GET, HEAD" {
					t.Errorf("Allow %q", got)
				}
			})
			t.Run("zero_decision_stops", func(*testing.T) { w.stops(403, "GET /zero HTTP/1.1") })
		})
	}
}

// A body would end up in grpc-message.
func TestRealGRPCCaller(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			w := start(t, always(authz.Decision{Status: 401, Body: []byte("secret words")}), form)
			resp, body := w.stops(200, "POST /pkg.Service/Method HTTP/1.1", "content-type: application/grpc", "content-length: 0")
			if got := resp.Header.Get("Grpc-Status"); got != "16" {
				t.Errorf("grpc-status %q, want 16 (UNAUTHENTICATED)", got)
			}
			if got := resp.Header.Get("Grpc-Message"); got != "" || body != "" {
				t.Errorf("grpc-message %q, body %q, want none", got, body)
			}
		})
	}
}

func TestRealEdits(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			w := start(t, always(authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{
				Set:    []authz.Field{{Name: authz.AssertionHeader, Value: "ours"}, {Name: "cookie", Value: "lang=é"}},
				Remove: []string{"x-auth-request-user", "x_auth_request_user", "x.auth.request.user", "x-not-there"},
			}}), form, withUnderscores)
			got := w.passes("GET / HTTP/1.1",
				"x-countersign-assertion: forged", "X-Countersign-Assertion: forged again",
				"x-auth-request-user: root", "X-Auth-Request-User: root", "x_auth_request_user: root", "x.auth.request.user: root",
				"cookie: __Host-countersign=token; lang=é", "x-other: stays", "x-other: too")
			if diff := cmp.Diff([]string{"ours"}, got.Header.Values(authz.AssertionHeader)); diff != "" {
				t.Errorf("assertion (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"lang=é"}, got.Header.Values("Cookie")); diff != "" {
				t.Errorf("cookie (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"stays", "too"}, got.Header.Values("X-Other")); diff != "" {
				t.Errorf("x-other (-want +got):\n%s", diff)
			}
			for name, value := range got.Header {
				if slices.Contains(value, "root") {
					t.Errorf("%s: %q reached the upstream", name, value)
				}
			}
		})
	}
}

// A header name with "_" does not come in unless that is allowed.
func TestRealUnderscores(t *testing.T) {
	w := start(t, deciding(nil))
	w.stops(400, "GET / HTTP/1.1", "x_auth_user: root")
}

// What a client can make different between the two forms must not make the
// decision different.
func TestRealRequest(t *testing.T) {
	seen := make(chan authz.Request, 1)
	recording := func(_ context.Context, req authz.Request) authz.Decision {
		seen <- req
		return authz.Decision{Outcome: authz.Allow}
	}
	// What Envoy 1.40 makes of two HTTP/1.1 Cookie lines; RFC 6265 §5.4 allows
	// one, so only an attacker or a broken proxy sends two.
	cookies := map[string][]string{"joined": {"a=1,b=2"}, "raw": {"a=1", "b=2"}}
	others := map[string][]string{"joined": {"1,2"}, "raw": {"1", "2"}}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			w := start(t, recording, form, func(b *envoy.Bootstrap) { b.RawPaths = true })
			t.Run("two_cookie_lines", func(t *testing.T) {
				w.passes("GET / HTTP/1.1", "cookie: a=1", "cookie: b=2")
				if diff := cmp.Diff(cookies[name], (<-seen).Header.Values("cookie")); diff != "" {
					t.Errorf("cookie (-want +got):\n%s", diff)
				}
			})
			t.Run("two_lines_of_another_header", func(t *testing.T) {
				w.passes("GET / HTTP/1.1", "X-A: 1", "x-a: 2")
				if diff := cmp.Diff(others[name], (<-seen).Header.Values("x-a")); diff != "" {
					t.Errorf("x-a (-want +got):\n%s", diff)
				}
			})
			t.Run("bytes_that_are_not_utf8", func(t *testing.T) {
				w.passes("GET / HTTP/1.1", "x-a: b\xff\xc3(c\xe2\x82d")
				if got := (<-seen).Header.Get("x-a"); got != "b!!(c!!d" {
					t.Errorf("x-a = %q", got)
				}
			})
			t.Run("path_and_query_as_sent", func(t *testing.T) {
				w.passes("GET /a//b/%2e./c;d?e=%2F?f HTTP/1.1")
				if req := <-seen; req.Path != "/a//b/%2e./c;d" || req.Query != "e=%2F?f" || req.Method != "GET" || req.Host != "app.example" {
					t.Errorf("Request = %+v", req)
				}
			})
			t.Run("path_that_is_not_utf8", func(t *testing.T) {
				w.stops(400, "GET /caf\xe9 HTTP/1.1") // by Envoy itself
				// Over HTTP/2 it goes on to the upstream, but comes here like a header.
				w.sendHTTP2("/caf\xe9")
				if got := (<-seen).Path; got != "/caf!" {
					t.Errorf("path %q, want /caf!", got)
				}
			})
		})
	}
}

// A check that hangs is answered by us, not by what Envoy thinks of a deadline.
func TestRealDeadline(t *testing.T) {
	hang := make(chan struct{})
	w := start(t, func(context.Context, authz.Request) authz.Decision {
		<-hang
		return authz.Decision{Outcome: authz.Allow}
	}, func(b *envoy.Bootstrap) { b.Authz.Timeout = 500 * time.Millisecond })
	defer close(hang)
	resp, _ := w.stops(503, "GET / HTTP/1.1")
	if resp.Header.Get("X-Countersign-Decision") == "" {
		t.Errorf("the answer is Envoy's own: %v", resp.Header)
	}
}

func TestRealServerDies(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			w := start(t, deciding(nil), form)
			w.passes("GET / HTTP/1.1")
			w.authz.Stop()
			began := time.Now()
			w.stops(503, "GET / HTTP/1.1")
			if took := time.Since(began); took > time.Second {
				t.Errorf("took %v: retries wait for too long", took)
			}
			w.stops(503, "GET / HTTP/1.1", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13")
		})
	}
}
