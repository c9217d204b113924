package oidc_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

// echoes are the texts that a provider may put a secret into.
func echoes(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret),
		strings.NewReplacer("%2F", "%2f", "%2B", "%2b", "%3D", "%3d").Replace(url.QueryEscape(secret)),
	}
}

// A provider may say in a refusal what it was sent.
func TestRefusal_echoes_no_secret(t *testing.T) {
	const state, code, verifier, refresh, access, ours = "a/+state=", "a/+code=", "a/+verifier=", "a/+refresh=", "a/+access=", "a/+secret="
	a, _ := attempt()
	a.State, a.Nonce, a.Verifier = state, "a nonce", verifier
	g := known()
	g.Refresh, g.Access = refresh, access
	tokenless := g
	tokenless.Refresh = ""

	finish := func(w *world, query url.Values) error {
		query.Set("iss", issuer)
		query.Set("state", state)
		_, err := w.client.Finish(t.Context(), a, redirect, query)
		return err
	}
	login := func(w *world, _ string) error { return finish(w, url.Values{"code": {code}}) }
	denied := func(w *world, text string) error {
		return finish(w, url.Values{"code": {code}, "error": {"no" + text[1:]}, "error_description": {text}})
	}
	asks := func(name string, g oidc.Grant) func(*world, string) error {
		return func(w *world, _ string) error {
			_, err := w.revisit(t, visits[name], g)
			return err
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte("app:" + url.QueryEscape(ours)))
	for _, tt := range []struct {
		name, secret string
		method       oidc.AuthMethod
		ask          func(w *world, text string) error
	}{
		{"code", code, oidc.AuthBasic, login},
		{"code_verifier", verifier, oidc.AuthBasic, login},
		{"client_secret", ours, oidc.AuthPost, login},
		{"client_secret_in_the_header", ours, oidc.AuthBasic, login},
		{"header", basic, oidc.AuthBasic, asks("Refresh", g)},
		{"refresh_token", refresh, oidc.AuthBasic, asks("Refresh", g)},
		{"introspected_refresh_token", refresh, oidc.AuthPost, asks("Introspect", g)},
		{"introspected_access_token", access, oidc.AuthBasic, asks("Introspect", tokenless)},
		{"client_secret_of_an_introspection", ours, oidc.AuthPost, asks("Introspect", g)},
		{"state_in_the_redirect", state, oidc.AuthBasic, denied},
		{"code_in_the_redirect", code, oidc.AuthBasic, denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			w, _ := lasting(t, func(_ *oidctest.Config, config *oidc.Config) {
				config.ClientSecret, config.AuthMethod = ours, tt.method
				config.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			for _, echo := range echoes(tt.secret) {
				// The second one is cut off in its middle if it is cut out too late.
				text := "<" + echo + "> is malformed" + strings.Repeat(".", 230-len(echo)) + echo
				w.SetLies(oidctest.Lies{Token: refuses("no"+echo, text), Introspection: refuses("no"+echo, text)})
				err := tt.ask(w, text)
				r, ok := errors.AsType[*oidc.Refusal](err)
				if !ok || !strings.HasPrefix(r.Code, "no[secret]") || !strings.HasPrefix(r.Description, "<[secret]> is malformed") {
					t.Errorf("%q: %v, want a Refusal without it", echo, err)
				}
				if told := log.String() + err.Error(); strings.Contains(told, echo) || strings.Contains(told, "..a") {
					t.Errorf("%q was told: %s", echo, told)
				}
			}
		})
	}
}

// refuses is an endpoint that answers with an error.
func refuses(code, description string) oidctest.Fault {
	body, _ := json.Marshal(map[string]string{"error": code, "error_description": description}) // strings always marshal
	return oidctest.Fault{Status: http.StatusBadRequest, Body: string(body)}
}

// The visitor chooses the code, and so could turn one refusal into another.
func TestRefusal_keeps_the_codes_that_are_known(t *testing.T) {
	w := discovered(t, nil)
	w.SetLies(oidctest.Lies{Token: refuses("invalid_grant", "")})
	a, query := attempt()
	query.Set("code", "invalid_grant")
	if _, err := w.client.Finish(t.Context(), a, redirect, query); !errors.Is(err, oidc.ErrCode) {
		t.Errorf("Finish = %v, want %v", err, oidc.ErrCode)
	}
}

// A token_type is told too, when it is not Bearer.
func TestTokenType_echoes_no_secret(t *testing.T) {
	w, _ := lasting(t, nil)
	w.SetLies(oidctest.Lies{TokenType: clientSecret})
	if _, err := w.login(t); !errors.Is(err, oidc.ErrTokenType) || strings.Contains(err.Error(), clientSecret) {
		t.Errorf("Finish = %v, want %v and no secret", err, oidc.ErrTokenType)
	}
}
