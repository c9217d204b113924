package metrics_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/sessiontest"
)

type always authz.Decision

func (a always) Check(context.Context, authz.Request) authz.Decision { return authz.Decision(a) }

// scrape returns the metrics as Prometheus reads them.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

func wantLine(t *testing.T, text, line string) {
	t.Helper()
	if !strings.Contains(text, line+"\n") {
		t.Errorf("there is no line %s", line)
	}
}

func TestDecisionsAndLoginsAreCounted(t *testing.T) {
	m := metrics.New("v1")
	pass := m.Checker(always{Outcome: authz.Allow, Reason: authz.SignedIn, App: "chat"})
	for range 3 {
		pass.Check(t.Context(), authz.Request{})
	}
	m.Checker(always{Reason: authz.LoginRefused, App: "chat", Login: "keycloak"}).Check(t.Context(), authz.Request{})
	m.Minted(mint.Minted{App: "chat", Algorithm: mint.ES256})
	m.Asked(session.Renewal{Provider: "keycloak", Result: session.Renewed})
	m.Revoked(2)
	m.Cached(func() int { return 7 })

	text := scrape(t, m)
	wantLine(t, text, `countersign_decisions_total{app="chat",reason="signed_in"} 3`)
	wantLine(t, text, `countersign_decisions_total{app="chat",reason="login_refused"} 1`)
	wantLine(t, text, `countersign_logins_total{provider="keycloak",result="login_refused"} 1`)
	wantLine(t, text, `countersign_check_seconds_count 4`)
	wantLine(t, text, `countersign_tokens_minted_total{alg="ES256",app="chat"} 1`)
	wantLine(t, text, `countersign_refreshes_total{provider="keycloak",result="renewed"} 1`)
	wantLine(t, text, `countersign_sessions_revoked_total 2`)
	wantLine(t, text, `countersign_sessions_cached 7`)
	wantLine(t, text, `countersign_build_info{version="v1"} 1`)
}

func TestAMeasuredStoreIsStillAStore(t *testing.T) {
	m := metrics.New("v1")
	sessiontest.Run(t, func(*testing.T) session.Store { return m.Store(session.NewMemory()) })
	text := scrape(t, m)
	for _, operation := range []string{
		"create", "load", "load_whole", "replace", "delete", "touch", "find", "list", "bury", "lock", "unlock",
		"claim", "settle", "settled", "ping",
	} {
		if !strings.Contains(text, `countersign_store_seconds_count{operation="`+operation+`",result="ok"}`) {
			t.Errorf("%s is not measured", operation)
		}
	}
}

// away is a store that gives no answer.
type away struct{ session.Store }

func (away) Ping(context.Context) error { return errors.New("no answer") }

func TestAFaultOfTheStoreIsAnError(t *testing.T) {
	m := metrics.New("v1")
	if err := m.Store(away{}).Ping(t.Context()); err == nil {
		t.Error("the error is lost")
	}
	wantLine(t, scrape(t, m), `countersign_store_seconds_count{operation="ping",result="error"} 1`)
}
