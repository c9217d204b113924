package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/server"
	"github.com/countersign/countersign/session"
)

const (
	issuer     = "http://127.0.0.1:1" // nobody is there
	adminToken = "t0k3n-0123456789-0123456789-0123456789"
)

// running is a server that runs until the test ends.
type running struct {
	*server.Server
	log  *record
	stop func() error
}

// start starts a server; admins is what stands for listen.admin, and sessions for
// session.
func start(t *testing.T, admins, sessions string) *running {
	t.Helper()
	file := `
listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0", health: "127.0.0.1:0"` + admins + `}
providers: [{name: p, issuer: "` + issuer + `", client_id: c, client_secret: "${SECRET}"}]
session: {` + sessions + `}
apps: [{url: "https://a.example.org", allow: everyone}]
log: {level: debug}
`
	c, err := config.Parse("countersign.yaml", []byte(file), config.Environment{
		Getenv: func(string) (string, bool) { return "s3cret", true },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{log: &record{}}
	r.Server, err = server.New(server.Options{Config: c, Log: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return r
}

// signIn begins a session of alice, whose provider gave a refresh token.
func (r *running) signIn(t *testing.T) (session.Token, session.Session) {
	t.Helper()
	token, s, err := r.Vault().Create(t.Context(), time.Now(), session.Login{App: "a", Grant: oidc.Grant{
		Identity: oidc.Identity{Issuer: issuer, Subject: "alice"}, Access: "access", Refresh: "refresh",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return token, s
}

// metric returns the lines of /metrics that begin with name.
func (r *running) metric(t *testing.T, name string) string {
	t.Helper()
	resp, err := http.Get("http://" + r.Addresses().Health.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, name) {
			found.WriteString(line)
		}
	}
	return found.String()
}

// record keeps what was logged.
type record struct {
	mu    sync.Mutex
	lines bytes.Buffer // guarded by mu
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(p)
}

// all returns the lines with a message, without their times.
func (r *record) all(t *testing.T, msg string) (found []map[string]any) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.lines.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if delete(l, "time"); l["msg"] == msg {
			found = append(found, l)
		}
	}
	return found
}

// socket returns a listen.admin on a socket, and its address.
func socket(t *testing.T) (admins, address string) {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "admin")
	if err := os.WriteFile(token, []byte(adminToken), 0o600); err != nil {
		t.Fatal(err)
	}
	address = "unix://" + filepath.Join(dir, "admin.sock")
	return `, admin: {address: "` + address + `", token_file: "` + token + `"}`, address
}

func TestAdministration(t *testing.T) {
	t.Parallel() // most of each is waiting for a provider that is not there
	admins, address := socket(t)
	r := start(t, admins, "")
	r.signIn(t)
	client, err := admin.NewClient(address, adminToken)
	if err != nil {
		t.Fatal(err)
	}
	if at := r.Addresses().Admin; at == nil || "unix://"+at.String() != address {
		t.Errorf("Addresses().Admin = %v", at)
	}
	if list, err := client.List(t.Context(), admin.Selector{}, 0); err != nil || len(list.Sessions) != 1 {
		t.Errorf("List = %+v, %v", list, err)
	}
	if n, err := client.Revoke(t.Context(), admin.Selector{Issuer: issuer, Subject: "alice"}); n != 1 || err != nil {
		t.Errorf("Revoke = %d, %v", n, err)
	}
	if got := r.log.all(t, "sessions revoked"); len(got) != 1 || got[0]["subject"] != "alice" {
		t.Errorf("logged %v", got)
	}
	if got := r.metric(t, "countersign_sessions_revoked_total"); got != "countersign_sessions_revoked_total 1\n" {
		t.Errorf("counted %s", got)
	}
	if got := r.log.all(t, "serving"); len(got) != 1 || got[0]["admin"] != strings.TrimPrefix(address, "unix://") {
		t.Errorf("logged %v", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.List(t.Context(), admin.Selector{}, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("List of a server that has left = %v", err)
	}
}

func TestWithoutAdministration(t *testing.T) {
	t.Parallel()
	r := start(t, "", "")
	if at := r.Addresses().Admin; at != nil {
		t.Errorf("Addresses().Admin = %v", at)
	}
	if r.Administers() {
		t.Error("there is a server for administrators")
	}
	for _, at := range []net.Addr{r.Addresses().HTTP, r.Addresses().Health} {
		resp, err := http.Get("http://" + at.String() + "/api/v1/sessions")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("sessions are listed at %s", at)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := r.log.all(t, "serving"); len(got) != 1 || got[0]["admin"] != nil {
		t.Errorf("logged %v", got)
	}
}

func TestTheVaultIsAsConfigured(t *testing.T) {
	t.Parallel()
	r := start(t, "", "absolute: 8h, idle: 30m, store_outage: 7s, revalidate: {every: 10m, grace: 1m}")
	v := r.Vault()
	if v.Absolute != 8*time.Hour || v.Idle != 30*time.Minute || v.Outage != 7*time.Second ||
		v.Revalidation != (session.Revalidation{Via: session.ViaRefresh, Every: 10 * time.Minute, Grace: time.Minute}) {
		t.Errorf("vault = absolute %s, idle %s, outage %s, %+v", v.Absolute, v.Idle, v.Outage, v.Revalidation)
	}
	if got := r.metric(t, "countersign_sessions_cached"); got != "countersign_sessions_cached 0\n" {
		t.Errorf("remembered before anybody came: %s", got) // and what begins to watch the store has begun
	}
	token, _ := r.signIn(t)
	if _, err := v.Load(t.Context(), time.Now(), token); err != nil {
		t.Fatal(err)
	}
	if got := r.metric(t, "countersign_sessions_cached"); got != "countersign_sessions_cached 1\n" {
		t.Errorf("remembered: %s", got)
	}
}

// provider answers a refresh as a test says.
type provider struct {
	refresh func(g oidc.Grant) (oidc.Grant, error)
}

func (provider) Name() string { return "p" }

func (p provider) Refresh(_ context.Context, g oidc.Grant) (oidc.Grant, error) { return p.refresh(g) }

func (provider) Userinfo(context.Context, oidc.Grant) (oidc.Grant, error) {
	return oidc.Grant{}, errors.ErrUnsupported
}

func (provider) Introspect(context.Context, oidc.Grant) (oidc.Grant, error) {
	return oidc.Grant{}, errors.ErrUnsupported
}

func renewed(g oidc.Grant) (oidc.Grant, error) {
	g.Refresh += "-new"
	return g, nil
}

func TestWhatIsSaidOfARenewal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		result session.RenewalResult
		level  string
		answer func(*running, oidc.Grant) (oidc.Grant, error)
	}{
		{session.Renewed, "DEBUG", func(_ *running, g oidc.Grant) (oidc.Grant, error) { return renewed(g) }},
		{session.Refused, "INFO", func(*running, oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrEnded }},
		{session.OtherPerson, "INFO", func(*running, oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrSubject }},
		{session.Gone, "INFO", func(r *running, g oidc.Grant) (oidc.Grant, error) {
			_, err := r.Vault().RevokeAll(context.Background())
			g, _ = renewed(g)
			return g, err
		}},
		{session.NoAnswer, "WARN", func(*running, oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, io.ErrUnexpectedEOF }},
	} {
		t.Run(string(tt.result), func(t *testing.T) {
			t.Parallel()
			r := start(t, "", "")
			token, s := r.signIn(t)
			_, renewal := r.Vault().Renew(t.Context(), time.Now(), token, s, provider{func(g oidc.Grant) (oidc.Grant, error) { return tt.answer(r, g) }})
			want := map[string]any{
				"level": tt.level, "msg": "provider asked", "provider": "p", "session": s.ID.String(), "subject": "alice", "result": string(tt.result),
			}
			got := r.log.all(t, "provider asked")
			if len(got) != 1 {
				t.Fatalf("logged %v", got)
			}
			if said := got[0]["error"]; (said == nil) != (renewal == nil) {
				t.Errorf("error = %v, want %v", said, renewal)
			}
			delete(got[0], "error")
			if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Errorf("logged (-want +got):\n%s", diff)
			}
			if got := r.metric(t, "countersign_refreshes_total"); got != `countersign_refreshes_total{provider="p",result="`+string(tt.result)+"\"} 1\n" {
				t.Errorf("counted %s", got)
			}
		})
	}
}
