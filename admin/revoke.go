package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// errSeveral means that the first digits of an identifier fit several sessions.
var errSeveral = errors.New("the identifier fits several sessions")

// revoke ends sessions. It goes on when the caller hangs up: somebody who closes
// a terminal in a hurry still wants them ended.
func (h *Handler) revoke(w http.ResponseWriter, r *http.Request) {
	s, refused := parseRevocation(r.URL.RawQuery)
	if refused != nil {
		refused.write(w)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), timeout)
	defer cancel()
	n, err := h.end(ctx, s)
	if h.OnRevoked != nil {
		h.OnRevoked(n)
	}
	h.audit(ctx, r.RemoteAddr, s, n, err)
	switch {
	case errors.Is(err, errSeveral):
		problem(http.StatusConflict, "The id fits several sessions, so that none was ended. Give more of its digits.").write(w)
	case err != nil:
		unavailable(w, "The session store gives no answer. It may be half done, and can be repeated.")
	default:
		write(w, http.StatusOK, "application/json", Revoked{n})
	}
}

// end ends the sessions that s means and returns how many there were. Beside an
// error that is how many are known to have ended.
func (h *Handler) end(ctx context.Context, s Selector) (int, error) {
	switch {
	case s.All:
		return h.Sessions.RevokeAll(ctx)
	case s.ID != "":
		found, err := h.beginning(ctx, s.ID, 2)
		switch {
		case err != nil:
			return 0, err
		case len(found) > 1:
			return 0, errSeveral
		case len(found) == 0:
			return 0, nil
		}
		return h.Sessions.Revoke(ctx, found[0].ID)
	}
	ended, err := h.Sessions.RevokeUser(ctx, s.Issuer, s.Subject)
	if err != nil {
		return 0, err
	}
	return len(ended), nil
}

// audit says who ended what. Its level keeps the line where the decisions are not
// logged.
func (h *Handler) audit(ctx context.Context, remote string, s Selector, n int, err error) {
	attrs := []slog.Attr{
		slog.String("remote", remote), slog.String("issuer", s.Issuer), slog.String("subject", s.Subject),
		slog.String("id", s.ID), slog.Bool("all", s.All), slog.Int("revoked", n),
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "sessions revoked", attrs...)
}
