package admin_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/oidc"
)

func (w *world) client(t *testing.T, token oidc.Secret) *admin.Client {
	t.Helper()
	c, err := admin.NewClient(w.url, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClient(t *testing.T) {
	w := newWorld(t)
	c := w.client(t, token)
	id := w.signIn("alice & bob=eve/ü")
	w.signIn("bob")

	list, err := c.List(t.Context(), admin.Selector{}, 1)
	if err != nil || len(list.Sessions) != 1 || !list.Truncated {
		t.Errorf("List of one = %+v, %v", list, err)
	}
	list, err = c.List(t.Context(), admin.Selector{Issuer: issuer, Subject: "alice & bob=eve/ü"}, 0)
	if err != nil || len(list.Sessions) != 1 || list.Sessions[0].ID != digits(id, 64) {
		t.Errorf("List of a person = %+v, %v", list, err)
	}
	if n, err := c.Revoke(t.Context(), admin.Selector{ID: digits(id, 8)}); n != 1 || err != nil {
		t.Errorf("Revoke of one = %d, %v", n, err)
	}
	if n, err := c.Revoke(t.Context(), admin.Selector{All: true}); n != 1 || err != nil {
		t.Errorf("Revoke of all = %d, %v", n, err)
	}
	if n, err := c.Revoke(t.Context(), admin.Selector{}); n != 0 || status(err) != http.StatusBadRequest {
		t.Errorf("Revoke of nobody = %d, %v", n, err)
	}
	if _, err := w.client(t, "wrong").List(t.Context(), admin.Selector{}, 0); status(err) != http.StatusUnauthorized {
		t.Errorf("List with a wrong token = %v", err)
	}
}

// status is that of a Problem.
func status(err error) int {
	if p, ok := errors.AsType[*admin.Problem](err); ok {
		return p.Status
	}
	return 0
}

func TestClientOnASocket(t *testing.T) {
	w := newWorld(t)
	w.signIn("alice")
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a := w.send(r.Method, r.URL.String(), r.Header)
		rw.Header().Set("Content-Type", a.header.Get("Content-Type"))
		rw.WriteHeader(a.status)
		rw.Write([]byte(a.body))
	}))
	s.Listener = l
	s.Start()
	defer s.Close()
	c, err := admin.NewClient("unix://"+socket, token)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := c.List(t.Context(), admin.Selector{}, 0); err != nil || len(list.Sessions) != 1 {
		t.Errorf("List = %+v, %v", list, err)
	}
}

func TestClientOfSomethingElse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		says   string
	}{
		{"a_page", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, "none of an admin listener"},
		{"a_redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "status 302"},
		{"half_an_answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"sessions": [`))
		}, "answer: "},
		{"no_answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.answer)
			defer s.Close()
			c, err := admin.NewClient(s.URL, token)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Revoke(t.Context(), admin.Selector{Issuer: issuer, Subject: "alice"})
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), token) {
				t.Errorf("Revoke = %v, want %q and no name", err, tt.says)
			}
		})
	}
}

func TestBadAddresses(t *testing.T) {
	for _, base := range []string{
		"", "127.0.0.1:9192", "ftp://h", "http://", "http://u:p@h", "http://h/x", "http://h?x=1", "http://h#x", "unix://", "unix://run/x", "http://h:port",
	} {
		if _, err := admin.NewClient(base, token); err == nil {
			t.Errorf("NewClient of %q finds nothing wrong", base)
		}
	}
}
