package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/envoy/envoytest"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session/redis/redistest"
)

const (
	drainRate  = 300                     // requests a second
	drainDelay = 2500 * time.Millisecond // Envoy looks each second, and believes the second look
	slowLogin  = drainDelay + time.Second
)

// Two replicas are changed for new ones while people work and sign in.
func TestDrainUnderLoad(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatalf("build the program: %v", err)
	}
	w := newPair(t, program)
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	cookie := alice.cookieLine()

	load := w.fire(t, drainRate,
		kind{"session", "/data", adding(script, cookie)},
		kind{"public", publicPath, script},
		kind{"session", "/page", adding(navigation, cookie)},
		kind{"start", "/oauth2/start?rd=/page", navigation},
		kind{"session", "/data", adding(script, cookie)},
		kind{"userinfo", "/oauth2/userinfo", adding(script, cookie)},
		kind{"nobody", "/page", navigation},
	)
	began := time.Now()
	time.Sleep(time.Second)
	for _, c := range w.replicas {
		if n := c.decided(t, "signed_in"); n == 0 {
			t.Errorf("Envoy asks only one of the two")
		}
	}

	logins := w.beginSlowLogins(t, 4)
	w.replace(t, 0, program)
	logins()
	w.replace(t, 1, program)
	ended := time.Now()
	all := load.stop()

	all.of("session").mustAll(t, "with a session", 200)
	all.of("public").mustAll(t, "public", 200)
	all.of("userinfo").mustAll(t, "userinfo", 200)
	all.of("start").mustAll(t, "start", 302)
	all.of("nobody").mustAll(t, "nobody", 302)
	rate := all.rate(began, ended)
	t.Logf("%d requests, %.0f a second, the slowest answer took %v", len(all), rate, all.slowest())
	if rate < drainRate*0.9 {
		t.Errorf("%.0f requests a second, want %d", rate, drainRate)
	}
	alice.fetch("/data").passed(t)
}

// newPair starts two replicas as children, with keys that the program made, and
// an Envoy that asks both about their health.
func newPair(t *testing.T, program string) *world {
	t.Helper()
	requireEnvoy(t)
	o := setup{Apps: worldApps, Redis: true, Routes: []route{{"/", "api"}}}
	w := &world{stack: &stack{setup: o, files: writeFiles(t)}}
	w.files.sessionKeys = generate(t, program, "session")
	w.files.mintKeys = generate(t, program, "mint")
	w.redis = redistest.Start(t)
	w.idp = startOutlet(t, nil)
	w.provider = &provider{issuer: w.idp.Issuer(), Provider: w.idp.Provider}
	for range 2 {
		c := &countersign{grpc: freeAddress(t), http: freeAddress(t), health: freeAddress(t)}
		w.replicas = append(w.replicas, c)
		w.serve(t, c, program)
	}
	w.startUpstreams(t)
	w.startPairedEnvoy(t)
	for _, c := range w.replicas {
		c.awaitReady(t)
	}
	w.awaitHealthy(t)
	return w
}

// generate has the program make a key file.
func generate(t *testing.T, program, which string) (path string) {
	t.Helper()
	made, err := exec.Command(program, "keys", "generate", which).Output()
	if err != nil {
		t.Fatalf("keys generate %s: %v", which, err)
	}
	path = filepath.Join(t.TempDir(), which)
	if err := os.WriteFile(path, made, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve runs the program at the addresses of c, until c.stop.
func (w *world) serve(t *testing.T, c *countersign, program string) {
	t.Helper()
	file := strings.Replace(w.configuration(), `grpc: "127.0.0.1:0", http: "127.0.0.1:0", health: "127.0.0.1:0"`,
		fmt.Sprintf("grpc: %q, http: %q, health: %q", c.grpc, c.http, c.health), 1)
	if !strings.Contains(file, c.health) {
		t.Fatalf("the addresses cannot be set in\n%s", file)
	}
	path := filepath.Join(t.TempDir(), "countersign.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c.log = new(transcript)
	c.log.showOnFailure(t, "countersign serve")
	cmd := exec.Command(program, "serve", "--config", path, "--drain-delay", drainDelay.String())
	cmd.Stdout, cmd.Stderr = io.Discard, c.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	c.process = cmd
	c.stop = sync.OnceValue(func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return <-ended
	})
	t.Cleanup(func() { c.stop() }) //nolint:errcheck // replace looks at how it ends
}

// startPairedEnvoy starts the Envoy of our generator with one thing more: the
// login endpoints are at both replicas too.
func (w *world) startPairedEnvoy(t *testing.T) {
	t.Helper()
	written, err := w.bootstrap(t).YAML()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(written, &doc); err != nil {
		t.Fatal(err)
	}
	resources, _ := doc["static_resources"].(map[string]any)
	clusters, _ := resources["clusters"].([]any)
	changed := false
	for _, c := range clusters {
		if c, ok := c.(map[string]any); ok && c["name"] == "login" {
			maps.Copy(c, w.loginCluster(t))
			changed = true
		}
	}
	var out bytes.Buffer
	if err := yaml.NewEncoder(&out).Encode(doc); err != nil || !changed {
		t.Fatalf("there is no cluster of the login endpoints in\n%s\n%v", written, err)
	}
	w.envoy, err = envoytest.StartYAML(context.WithoutCancel(t.Context()), requireEnvoy(t), out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.envoy.Stop(); err != nil {
			t.Error(err)
		}
	})
	w.front = w.envoy.Addr(envoy.ListenerName)
}

// loginCluster is both HTTP listeners, judged by /readyz of the health listener.
func (w *world) loginCluster(t *testing.T) map[string]any {
	t.Helper()
	socket := func(address string) (string, int) {
		ip, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		return ip, n
	}
	var endpoints []any
	for _, c := range w.replicas {
		ip, port := socket(c.http)
		_, health := socket(c.health)
		endpoints = append(endpoints, map[string]any{"endpoint": map[string]any{
			"address":             map[string]any{"socket_address": map[string]any{"address": ip, "port_value": port}},
			"health_check_config": map[string]any{"port_value": health},
		}})
	}
	return map[string]any{
		"load_assignment": map[string]any{"cluster_name": "login", "endpoints": []any{map[string]any{"lb_endpoints": endpoints}}},
		"health_checks": []any{map[string]any{
			"interval": "1s", "no_traffic_interval": "1s", "timeout": "1s", "unhealthy_threshold": 2, "healthy_threshold": 1,
			"http_health_check": map[string]any{"path": "/readyz"},
		}},
	}
}

// awaitHealthy waits until Envoy would ask either replica, for either thing.
func (w *world) awaitHealthy(t *testing.T) {
	t.Helper()
	healthy := func(cluster, address string) bool {
		_, body := plainGet(t, w.envoy.Admin()+"/clusters")
		return strings.Contains(body, cluster+"::"+address+"::health_flags::healthy\n")
	}
	eventually(t, startTimeout, func() bool {
		for _, c := range w.replicas {
			if !healthy(envoy.AuthzCluster, c.grpc) || !healthy("login", c.http) {
				return false
			}
		}
		return true
	}, func() string { return "Envoy does not take both replicas for healthy" })
}

// replace tells a replica to stop, and starts another at its address.
func (w *world) replace(t *testing.T, i int, program string) {
	t.Helper()
	c := w.replicas[i]
	began := time.Now()
	if err := c.stop(); err != nil || c.process.ProcessState.ExitCode() != 0 {
		t.Errorf("replica %d ended with %v", i, err)
	}
	took := time.Since(began)
	t.Logf("replica %d left after %v", i, took)
	if took < drainDelay {
		t.Errorf("replica %d left after %v", i, took)
	}
	w.serve(t, c, program)
	c.awaitReady(t)
	w.awaitHealthy(t)
}

// beginSlowLogins has people come back from the provider, which then takes so
// long that the replica that is told to stop meanwhile has nothing else left to
// do. The returned function waits for them.
func (w *world) beginSlowLogins(t *testing.T, n int) (wait func()) {
	t.Helper()
	var logins sync.WaitGroup
	pages := make([]*answer, n)
	asked := w.idp.Count(oidctest.TokenAsked)
	w.idp.SetLies(oidctest.Lies{Token: oidctest.Fault{Delay: slowLogin}})
	for i := range n {
		p := w.browser(t)
		callback := p.atProvider(p.get("/after-the-login").want(t, 302), "bob")
		logins.Go(func() { pages[i] = p.get(callback) })
	}
	eventually(t, startTimeout, func() bool { return w.idp.Count(oidctest.TokenAsked) == asked+n },
		func() string { return "the logins do not reach the provider" })
	return func() {
		t.Helper()
		logins.Wait()
		w.idp.SetLies(oidctest.Lies{})
		for i, page := range pages {
			if page.status != 303 || page.header.Get("Location") != origin+"/after-the-login" {
				t.Errorf("slow login %d ended with %d", i, page.status)
			}
		}
	}
}
