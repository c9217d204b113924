package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/countersign/countersign/envoy"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/server"
	"github.com/countersign/countersign/session"
)

// readiness is what /readyz says.
type readiness struct {
	Status       string            `json:"status"`
	Dependencies map[string]string `json:"dependencies"`
}

func (c *countersign) readiness(t *testing.T) (status int, r readiness) {
	t.Helper()
	status, body := plainGet(t, "http://"+c.health+"/readyz")
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("/readyz: %d %s", status, body)
	}
	return status, r
}

// serving is what the gRPC listener says about its health.
func (c *countersign) serving(t *testing.T) healthv1.HealthCheckResponse_ServingStatus {
	t.Helper()
	conn := c.dial(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var last healthv1.HealthCheckResponse_ServingStatus
	for _, service := range []string{envoy.ServiceName, ""} {
		answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatalf("health of %q: %v", service, err)
		}
		last = answer.GetStatus()
	}
	return last
}

// dial connects to the gRPC listener, as Envoy does.
func (c *countersign) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+c.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // nothing is under way
	return conn
}

func TestStartWithoutProviderAndRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true}, fault{away: true})
	replica := w.replicas[0]

	status, ready := replica.readiness(t)
	if status != http.StatusOK || ready.Status != "degraded" {
		t.Errorf("/readyz is %d and %q, want 200 and degraded", status, ready.Status)
	}
	for _, name := range []string{"sessions", "provider idp"} {
		if said := ready.Dependencies[name]; said == "" || said == "ok" {
			t.Errorf("/readyz says of %s: %q", name, said)
		}
	}
	if got := replica.serving(t); got != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health is %v", got)
	}

	nobody := w.browser(t)
	nobody.fetch(publicPath).passed(t)
	nobody.fetch("/data").stopped(t, 401)
	page := nobody.get("/page").stopped(t, 503).page(t, "The sign-in service is not answering")
	if got := page.header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After is %q, want 30", got)
	}
	nobody.get("/oauth2/start").stopped(t, 503)
	somebody := "Cookie: " + sessionCookie + "=" + session.NewToken().Reveal()
	nobody.get("/page", somebody).stopped(t, 503).mustWait(t, "5")
	nobody.fetch("/data", somebody).stopped(t, 503).mustWait(t, "5")
	nobody.get("/oauth2/.well-known/jwks.json").want(t, 200)

	w.redis.Restart()
	w.idp.comeBack()
	back := time.Now()
	replica.awaitReady(t)
	t.Logf("ready %v after both came", time.Since(back))
	if _, ready := replica.readiness(t); ready.Dependencies["sessions"] != "ok" || ready.Dependencies["provider idp"] != "ok" {
		t.Errorf("/readyz says %v", ready)
	}
	nobody.get("/page", somebody).want(t, 302)
	alice := w.browser(t)
	alice.signInAt("/data", "alice").want(t, 200).passed(t)
	w.identity(t, alice.fetch("/data").passed(t))
}

// A replica that is new takes no login before it knows its provider: the one
// that it replaces would have sent them on.
func TestStartMeetsASlowProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true}, fault{})
	w.provider.SetLies(oidctest.Lies{Discovery: oidctest.Fault{Delay: 400 * time.Millisecond}})
	replica := startWith(t, w.configuration(), nil)
	answer, err := grpcCheck(t, replica.dial(t), checkRequest(t, "/page", field{"accept", "text/html"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.GetDeniedResponse().GetStatus().GetCode(); got != http.StatusFound {
		t.Errorf("the first navigation is answered with %d, want 302", got)
	}
}

func TestReadinessWhileDraining(t *testing.T) {
	t.Parallel()
	const delay = 1500 * time.Millisecond
	w := newWorld(t, setup{Redis: true}, fault{options: func(o *server.Options) { o.DrainDelay = delay }})
	replica := w.replicas[0]
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	if got := replica.serving(t); got != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("gRPC health is %v", got)
	}

	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- replica.stop() }()
	eventually(t, delay, func() bool { return strings.Contains(replica.log.String(), "draining") },
		func() string { return "it does not say that it drains" })
	status, ready := replica.readiness(t)
	if status != http.StatusServiceUnavailable || ready.Status != "draining" {
		t.Errorf("/readyz is %d and %q, want 503 and draining", status, ready.Status)
	}
	if got := replica.serving(t); got != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("gRPC health is %v", got)
	}
	if code, _ := plainGet(t, "http://"+replica.health+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz is %d, and the process lives", code)
	}
	// Until its proxy has noticed, it answers.
	answer, err := grpcCheck(t, replica.dial(t), nil)
	if err != nil || answer.GetDeniedResponse() == nil {
		t.Errorf("a check is answered with %v, %v", answer, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("it left after %v, before its proxy can have noticed", took)
	}
}
