package server_test

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// renewal is a question to the provider that is under way.
type renewal struct {
	token  session.Token
	answer chan struct{} // closed by whoever lets the provider answer
}

func (r *running) renew(t *testing.T) renewal {
	t.Helper()
	token, s := r.signIn(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	r.Vault().RenewAhead(t.Context(), time.Now(), token, s, provider{func(g oidc.Grant) (oidc.Grant, error) {
		close(asked)
		<-answer
		return renewed(g)
	}})
	<-asked
	return renewal{token, answer}
}

// mustKeep stops the server and lets the provider answer, once ended tells that
// the requests have: the new token must be stored.
func (r *running) mustKeep(t *testing.T, renewal renewal, ended <-chan struct{}) {
	t.Helper()
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	<-ended
	select {
	case err := <-stopped:
		t.Errorf("Run = %v before the provider answered", err)
		stopped <- err
	case <-time.After(300 * time.Millisecond):
	}
	close(renewal.answer)
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
	if g, err := r.Vault().Grant(t.Context(), renewal.token); err != nil || g.Refresh != "refresh-new" {
		t.Errorf("the new refresh token is not kept: %v", err)
	}
	if got := r.log.all(t, "stopped"); !slices.ContainsFunc(got, func(l map[string]any) bool { return l["level"] == "INFO" }) {
		t.Errorf("logged %v", got)
	}
}

// watch watches the health of a server, as some proxies do: for ever. It tells
// when it was ended, and stop ends it from this side.
func (r *running) watch(t *testing.T) (ended <-chan struct{}, stop func()) {
	t.Helper()
	conn, err := grpc.NewClient(r.Addresses().GRPC.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // nothing is under way
	ctx, stop := context.WithCancel(t.Context())
	stream, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for err == nil {
			_, err = stream.Recv()
		}
	}()
	return over, stop
}

// watchOn is watch that only the server ends.
func (r *running) watchOn(t *testing.T) <-chan struct{} {
	t.Helper()
	ended, stop := r.watch(t)
	t.Cleanup(stop)
	return ended
}

// idle begins nothing, and that has ended.
func (*running) idle(*testing.T) <-chan struct{} {
	ended := make(chan struct{})
	close(ended)
	return ended
}

// dawdle begins a request that never comes to its end, and tells when it was cut
// off.
func (r *running) dawdle(t *testing.T) <-chan struct{} {
	t.Helper()
	conn, err := net.Dial("tcp", r.Addresses().HTTP.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a.example.org\r\nContent-Length: 9\r\n"); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		io.Copy(io.Discard, conn) //nolint:errcheck // either end will do
	}()
	return over
}

func TestDrainingWaitsForTheProvider(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		grpc, requests time.Duration
		begin          func(*running, *testing.T) (ended <-chan struct{})
	}{
		{"with_nothing_else", time.Minute, time.Minute, (*running).idle},
		{"while_the_health_is_watched", 100 * time.Millisecond, time.Minute, (*running).watchOn},
		{"after_requests_took_all_their_time", 100 * time.Millisecond, 200 * time.Millisecond, (*running).dawdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, "", "")
			r.Hurry(tt.grpc, tt.requests)
			renewal := r.renew(t)
			r.mustKeep(t, renewal, tt.begin(r, t))
		})
	}
}

// TestADrainTakesNoLogins looks whether the other listeners wait for a gRPC stream
// that goes on.
func TestADrainTakesNoLogins(t *testing.T) {
	t.Parallel()
	admins, address := socket(t)
	r := start(t, admins, "")
	r.Hurry(time.Minute, 2*time.Minute)
	ended, hangUp := r.watch(t)
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	dialer := &net.Dialer{}
	for _, at := range []struct{ network, address string }{
		{"tcp", r.Addresses().HTTP.String()}, {"unix", address[len("unix://"):]},
	} {
		for {
			conn, err := dialer.DialContext(t.Context(), at.network, at.address)
			if err != nil {
				break
			}
			conn.Close()
			time.Sleep(10 * time.Millisecond)
		}
	}
	select {
	case <-ended:
		t.Error("the stream ended first")
	default:
	}
	hangUp()
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestStoppedBeforeItServes stops a server that still looks for its provider.
func TestStoppedBeforeItServes(t *testing.T) {
	t.Parallel()
	for range 20 {
		if err := start(t, "", "").stop(); err != nil {
			t.Fatalf("Run = %v", err)
		}
	}
}
