package admin_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// token is what administrators know in the tests. No answer and no log shows it.
const token = "t0k3n-0123456789-0123456789-0123456789"

const issuer = "https://id.example.org"

// world is a real vault with a listener in front of it.
type world struct {
	t     *testing.T
	vault *session.Vault
	file  string // of the token
	url   string
	log   *record
	ended int // as OnRevoked counts
}

func newWorld(t *testing.T) *world {
	t.Helper()
	vault := &session.Vault{
		Store: session.NewMemory(), Sealer: session.GenerateKeyring(), Absolute: 12 * time.Hour, Idle: time.Hour,
	}
	return serve(t, vault, vault)
}

// serve answers for sessions, which is the vault, or a worse one.
func serve(t *testing.T, vault *session.Vault, sessions admin.Sessions) *world {
	t.Helper()
	w := &world{t: t, vault: vault, file: filepath.Join(t.TempDir(), "token"), log: &record{}}
	w.setToken(token + "\n")
	s := httptest.NewServer(&admin.Handler{
		Sessions: sessions, TokenFile: w.file, Log: slog.New(slog.NewJSONHandler(w.log, nil)),
		OnRevoked: func(n int) { w.ended += n },
	})
	t.Cleanup(func() {
		s.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:errcheck,forcetypeassert // it is one
	})
	w.url = s.URL
	return w
}

func (w *world) setToken(content string) {
	w.t.Helper()
	if err := os.WriteFile(w.file, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// signIn begins a session and returns its identifier.
func (w *world) signIn(subject string) session.ID {
	w.t.Helper()
	_, s, err := w.vault.Create(w.t.Context(), time.Now(), session.Login{
		App: "portal", Browser: "Firefox on Linux",
		Grant: oidc.Grant{Identity: oidc.Identity{Issuer: issuer, Subject: subject}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s.ID
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// detail is the sentence of a problem.
func (a answer) detail() string {
	var p admin.Problem
	if json.Unmarshal([]byte(a.body), &p) != nil || p.Status != a.status {
		return ""
	}
	return p.Detail
}

// ask asks as somebody who knows the token.
func (w *world) ask(method, target string) answer {
	w.t.Helper()
	return w.send(method, target, http.Header{"Authorization": {"Bearer " + token}})
}

func (w *world) send(method, target string, header http.Header) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+target, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{resp.StatusCode, resp.Header, string(body)}
	w.mustHold(a)
	return a
}

// mustHold is what is true of every answer.
func (w *world) mustHold(a answer) {
	w.t.Helper()
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		w.t.Errorf("an answer that could be kept: %v", a.header)
	}
	kind := "application/problem+json"
	if a.status == http.StatusOK {
		kind = "application/json"
	}
	if a.header.Get("Content-Type") != kind || kind != "application/json" && a.detail() == "" && a.body != "" {
		w.t.Errorf("status %d with %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if (a.status == http.StatusUnauthorized) != (a.header.Get("WWW-Authenticate") != "") {
		w.t.Errorf("status %d with WWW-Authenticate %q", a.status, a.header.Get("WWW-Authenticate"))
	}
	if strings.Contains(a.body+w.log.String(), "t0k3n") {
		w.t.Errorf("the token is shown:\n%s\n%s", a.body, w.log)
	}
}

// left are the sessions that there are, by subject.
func (w *world) left(subjects ...string) (n int) {
	w.t.Helper()
	for _, subject := range subjects {
		found, err := w.vault.OfUser(w.t.Context(), issuer, subject)
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(found)
	}
	return n
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

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}

// last is the last line, without its time.
func (r *record) last(t *testing.T) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.String()), "\n")
	line := map[string]any{}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatalf("log: %v", err)
	}
	delete(line, "time")
	return line
}

var errAway = errors.New("session store: no answer")

// away is a store that gives no answer, but for those that it had given before.
type away struct {
	admin.Sessions
	ended int
}

func (a away) List(context.Context, string) iter.Seq2[session.Listing, error] {
	return func(yield func(session.Listing, error) bool) { yield(session.Listing{}, errAway) }
}

func (a away) OfUser(context.Context, string, string) ([]session.Listing, error) { return nil, errAway }

func (a away) RevokeUser(context.Context, string, string) ([]session.ID, error) {
	return make([]session.ID, 2), errAway
}

func (a away) RevokeAll(context.Context) (int, error) { return a.ended, errAway }

// twins are sessions whose identifiers differ in the last digit, in no order and
// one of them twice, as a store may name them.
type twins struct {
	admin.Sessions
	revoked []session.ID
}

func twin(n byte) session.ID { return session.ID{0: 0xab, 31: n} }

func (w *twins) List(_ context.Context, prefix string) iter.Seq2[session.Listing, error] {
	return func(yield func(session.Listing, error) bool) {
		for _, n := range []byte{3, 1, 2, 1} {
			id := twin(n)
			l := session.Listing{ID: id, Created: time.Unix(int64(n), 0)}
			if strings.HasPrefix(hex.EncodeToString(id[:]), prefix) && !yield(l, nil) {
				return
			}
		}
	}
}

func (w *twins) Revoke(_ context.Context, ids ...session.ID) (int, error) {
	w.revoked = append(w.revoked, ids...)
	return len(ids), nil
}
