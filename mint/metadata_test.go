package mint_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/mint"
)

func TestMetadata(t *testing.T) {
	var got any
	document := mint.Metadata("https://chat.example.org/oauth2", "https://chat.example.org/oauth2/.well-known/jwks.json")
	if err := json.Unmarshal(document, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"issuer":                                "https://chat.example.org/oauth2",
		"jwks_uri":                              "https://chat.example.org/oauth2/.well-known/jwks.json",
		"response_types_supported":              []any{"id_token"},
		"subject_types_supported":               []any{"public"},
		"id_token_signing_alg_values_supported": []any{"ES256"},
		"claims_supported": []any{
			"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "auth_time", "acr", "amr", "idp",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Metadata (-want +got):\n%s", diff)
	}
}

// An upstream that knows the issuer alone verifies with a library of its own.
func TestAVerifierConfiguresItself(t *testing.T) {
	keys := newKeys(t)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	issuer := server.URL + "/oauth2"
	mux.HandleFunc("/oauth2/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(mint.Metadata(issuer, issuer+"/.well-known/jwks.json"))
	})
	mux.HandleFunc("/oauth2/.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(keys.JWKS())
	})
	client := server.Client()
	defer client.CloseIdleConnections()
	ctx := oidc.ClientContext(context.Background(), client)

	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		t.Fatalf("NewProvider: %v", err)
	}
	tmpl := template(nil)
	tmpl.Issuer = issuer
	token := mustMint(t, mint.NewSigner(keys), noon, tmpl, signedIn(alice))
	at := func(now time.Time, audience string) error {
		verifier := provider.Verifier(&oidc.Config{ClientID: audience, Now: func() time.Time { return now }})
		_, err := verifier.Verify(ctx, token)
		return err
	}
	if err := at(noon.Add(time.Minute), "api"); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if err := at(noon.Add(time.Minute), "another"); err == nil {
		t.Error("Verify accepts the token for another audience")
	}
	if err := at(noon.Add(time.Hour), "api"); err == nil {
		t.Error("Verify accepts the token an hour later")
	}
}
