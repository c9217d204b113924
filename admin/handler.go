package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/countersign/countersign/session"
)

// Sessions is what a Handler asks; session.Vault is one, and documents the
// methods. Any error means that the store gave no answer.
type Sessions interface {
	List(ctx context.Context, prefix string) iter.Seq2[session.Listing, error]
	OfUser(ctx context.Context, issuer, subject string) ([]session.Listing, error)
	Revoke(ctx context.Context, ids ...session.ID) (int, error)
	RevokeUser(ctx context.Context, issuer, subject string) ([]session.ID, error)
	RevokeAll(ctx context.Context) (int, error)
}

// Handler answers administrators at /api/v1/sessions: GET lists sessions, DELETE
// ends them. All fields but OnRevoked must be set. Whoever lacks the token learns
// nothing, not even which paths there are.
type Handler struct {
	Sessions  Sessions
	TokenFile string // what a caller must know; read for each request
	Log       *slog.Logger
	OnRevoked func(n int) // nil: nobody counts
}

// List is the answer to a GET.
type List struct {
	Sessions  []Session `json:"sessions"`  // by their beginning
	Truncated bool      `json:"truncated"` // there are more than were asked for; which are missing is chance
}

// Revoked is the answer to a DELETE.
type Revoked struct {
	Revoked int `json:"revoked"` // how many there were
}

// Session is what an administrator sees of one. Created, App and Browser are
// empty when they were sealed by a key that the server does not have.
type Session struct {
	ID      string    `json:"id"` // in hex
	App     string    `json:"app"`
	Browser string    `json:"browser"`
	Created time.Time `json:"created,omitzero"`
	Seen    time.Time `json:"seen"`
	IdleEnd time.Time `json:"idle_end"` // unless it is seen again
	Ends    time.Time `json:"ends"`
}

const path = "/api/v1/sessions"

// timeout bounds what one request may take. A server should let it write for
// longer.
const timeout = 50 * time.Second

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if refused := h.guard(w, r); refused != nil {
		refused.write(w)
		return
	}
	switch {
	case r.URL.Path != path:
		problem(http.StatusNotFound, "There is nothing but "+path+".").write(w)
	case r.Method == http.MethodGet:
		h.list(w, r)
	case r.Method == http.MethodDelete:
		h.revoke(w, r)
	default:
		w.Header().Set("Allow", "GET, DELETE")
		problem(http.StatusMethodNotAllowed, "GET lists sessions, DELETE ends them.").write(w)
	}
}

func (h *Handler) list(w http.ResponseWriter, r *http.Request) {
	s, limit, refused := parseListing(r.URL.RawQuery)
	if refused != nil {
		refused.write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	found, err := h.find(ctx, s, limit+1)
	if err != nil {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "sessions not listed", slog.String("remote", r.RemoteAddr), slog.Any("error", err))
		unavailable(w, "The session store gives no answer. Try again.")
		return
	}
	list := List{Sessions: []Session{}, Truncated: len(found) > limit}
	for _, l := range found[:min(limit, len(found))] {
		list.Sessions = append(list.Sessions, shown(l))
	}
	write(w, http.StatusOK, "application/json", list)
}

// find returns at most so many of the sessions that s means, each once, by their
// beginning.
func (h *Handler) find(ctx context.Context, s Selector, most int) (found []session.Listing, err error) {
	if s.Issuer != "" {
		found, err = h.Sessions.OfUser(ctx, s.Issuer, s.Subject)
	} else {
		found, err = h.beginning(ctx, s.ID, most)
	}
	slices.SortFunc(found, func(a, b session.Listing) int {
		return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return found[:min(most, len(found))], err
}

// beginning returns at most so many of the sessions whose identifier begins with
// prefix, each once: a store may name one again.
func (h *Handler) beginning(ctx context.Context, prefix string, most int) ([]session.Listing, error) {
	var found []session.Listing
	known := map[session.ID]bool{}
	for l, err := range h.Sessions.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if known[l.ID] {
			continue
		}
		known[l.ID] = true
		if found = append(found, l); len(found) == most {
			break
		}
	}
	return found, nil
}

func unavailable(w http.ResponseWriter, detail string) {
	w.Header().Set("Retry-After", "5")
	problem(http.StatusServiceUnavailable, detail).write(w)
}

func shown(l session.Listing) Session {
	return Session{
		ID: hex.EncodeToString(l.ID[:]), App: l.App, Browser: l.Browser,
		Created: l.Created.UTC(), Seen: l.Seen.UTC(), IdleEnd: l.End().UTC(), Ends: l.Ends.UTC(),
	}
}
