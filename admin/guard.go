package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/countersign/countersign/oidc"
)

// Why a request is refused.
var (
	errForeignOrigin = errors.New("the request comes from a browser")
	errNoToken       = errors.New("no token")
	errWrongToken    = errors.New("wrong token")
)

// guard returns what a request without authority is answered, else nil.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request) *Problem {
	err := h.authorize(r.Header)
	if err == nil {
		return nil
	}
	h.Log.LogAttrs(r.Context(), slog.LevelWarn, "administration refused",
		slog.String("remote", r.RemoteAddr), slog.String("method", r.Method), slog.Any("error", err))
	switch {
	case errors.Is(err, errForeignOrigin):
		return problem(http.StatusForbidden, "Browsers have no business here.")
	case errors.Is(err, errNoToken):
		w.Header().Set("WWW-Authenticate", `Bearer realm="countersign admin"`)
		return problem(http.StatusUnauthorized, "Send the token of listen.admin as Authorization: Bearer.")
	case errors.Is(err, errWrongToken):
		w.Header().Set("WWW-Authenticate", `Bearer realm="countersign admin", error="invalid_token"`)
		return problem(http.StatusUnauthorized, "The token is not the one in the token file of listen.admin.")
	}
	return problem(http.StatusServiceUnavailable, "The token file of listen.admin cannot be used, and until it can nobody is let in. The log says why.")
}

// authorize returns nil for a request with the token that the file holds now. It
// is read for each request: there are few, and one that was changed because
// it became known must not work a moment longer.
func (h *Handler) authorize(header http.Header) error {
	if len(header["Origin"]) > 0 {
		return errForeignOrigin
	}
	want, err := ReadToken(h.TokenFile)
	if err != nil {
		return err
	}
	got, ok := bearer(header["Authorization"])
	if !ok {
		return errNoToken
	}
	// Hashes are of one length, so that the time tells nothing about that either.
	a, b := sha256.Sum256([]byte(got.Reveal())), sha256.Sum256([]byte(want.Reveal()))
	if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return errWrongToken
	}
	return nil
}

// bearer returns the one token of a request (RFC 6750 §2.1).
func bearer(values []string) (oidc.Secret, bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return oidc.Secret(token), ok && strings.EqualFold(scheme, "Bearer")
}
