package oidc_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

func TestSecret_is_never_printed(t *testing.T) {
	const canary = "canary-4711"
	values := map[string]any{
		"Grant":    oidc.Grant{IDToken: canary, Access: canary, Refresh: canary},
		"Attempt":  oidc.Attempt{State: canary, Nonce: canary, Verifier: canary},
		"Config":   oidc.Config{ClientSecret: canary},
		"Secret":   oidc.Secret(canary),
		"*Grant":   &oidc.Grant{IDToken: canary},
		"[]Secret": []oidc.Secret{canary},
	}
	p, err := oidc.New(oidc.Config{Name: "main", Issuer: issuer, ClientID: "app", ClientSecret: canary})
	if err != nil {
		t.Fatal(err)
	}
	values["*Provider"] = p
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			slog.New(slog.NewTextHandler(&out, nil)).LogAttrs(t.Context(), slog.LevelInfo, "printed", slog.Any("v", v))
			slog.New(slog.NewJSONHandler(&out, nil)).LogAttrs(t.Context(), slog.LevelInfo, "printed", slog.Any("v", v))
			b, err := json.Marshal(v)
			if err != nil {
				t.Error(err)
			}
			out.Write(b)
			for _, trace := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), "4711"} {
				if strings.Contains(out.String(), trace) {
					t.Errorf("%q was printed:\n%s", trace, out.String())
				}
			}
		})
	}
}

// Every login ends in an error or a Grant; neither, nor the log at debug, shows
// what must stay secret.
func TestFinish_tells_no_secret(t *testing.T) {
	var out bytes.Buffer
	w := discovered(t, func(_ *oidctest.Config, ours *oidc.Config) {
		ours.Log = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	rows := append(lies(), lie{"honest", oidctest.Lies{}, nil},
		lie{"userinfo", oidctest.Lies{Claims: map[string]any{"groups": oidctest.Missing}}, nil})
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			out.Reset()
			w.SetLies(tt.lies)
			a, query := w.signIn(t)
			grant, err := w.client.Finish(t.Context(), a, redirect, query)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Finish = %v, want %v", err, tt.want)
			}
			fmt.Fprintf(&out, "%v %+v %#v", err, grant.IDToken, grant.Access)
			for name, secret := range map[string]string{
				"state": a.State.Reveal(), "nonce": a.Nonce.Reveal(), "verifier": a.Verifier.Reveal(),
				"code": query.Get("code"), "client secret": clientSecret, "name": "Alice", "email": "alice@",
				"id token": grant.IDToken.Reveal(), "access token": grant.Access.Reveal(),
			} {
				if secret != "" && strings.Contains(out.String(), secret) {
					t.Errorf("the %s was told:\n%s", name, out.String())
				}
			}
		})
	}
}
