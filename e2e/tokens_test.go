package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
)

// files are what an operator gives Countersign beside its configuration. The
// tests hold the signing key too, to sign tokens that Countersign never would.
type files struct {
	dir                                             string
	clientSecret, sessionKeys, mintKeys, adminToken string // paths
	signing                                         *ecdsa.PrivateKey
}

const keyID = "e2e"

// adminToken is what the admin listeners of the tests ask for.
const adminToken = "an-admin-token-of-the-end-to-end-tests"

func writeFiles(t *testing.T) files {
	t.Helper()
	f := files{dir: t.TempDir()}
	sealing := make([]byte, 32)
	rand.Read(sealing)
	signing, jwks := signingKey(t)
	f.signing = signing
	f.clientSecret = f.write(t, "client_secret", []byte(clientSecret+"\n"))
	f.adminToken = f.write(t, "admin-token", []byte(adminToken+"\n"))
	f.sessionKeys = f.write(t, "session-keys", []byte(base64.StdEncoding.EncodeToString(sealing)+"\n"))
	f.mintKeys = f.write(t, "mint.jwks", jwks)
	return f
}

// write writes one file more and returns its path.
func (f files) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// signingKey makes a key, also as a private JWK Set (RFC 7518 §6.2).
func signingKey(tb testing.TB) (*ecdsa.PrivateKey, []byte) {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	public, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := private.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": keyID,
		"x": text(public[1:33]), "y": text(public[33:]), "d": text(secret),
	}}})
	if err != nil {
		tb.Fatal(err)
	}
	return private, jwks
}

// sign signs claims as Countersign would, with any key.
func sign(tb testing.TB, key *ecdsa.PrivateKey, claims map[string]any) string {
	tb.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(claims))
	token.Header["kid"] = keyID
	signed, err := token.SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return signed
}

// jwksURL is where upstreams find the keys, past Envoy.
func (s *stack) jwksURL() string { return "http://" + s.replicas[0].http + "/.well-known/jwks.json" }

// verify checks a token as any upstream can: by the published keys, the issuer
// and its own audience. It returns the claims.
func (s *stack) verify(tb testing.TB, token, issuer, audience string) map[string]any {
	tb.Helper()
	ctx := gooidc.ClientContext(context.Background(), plainClient)
	keys := gooidc.NewRemoteKeySet(ctx, s.jwksURL())
	verified, err := gooidc.NewVerifier(issuer, keys, &gooidc.Config{
		ClientID: audience, SupportedSigningAlgs: []string{gooidc.ES256},
	}).Verify(ctx, token)
	if err != nil {
		tb.Fatalf("the token that the upstream got: %v", err)
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		tb.Fatal(err)
	}
	return claims
}

// identity is what the upstream learned from a request of the default app: the
// claims of the one assertion in it.
func (s *stack) identity(tb testing.TB, saw *seen) map[string]any {
	tb.Helper()
	lines := saw.spelled(assertion)
	if len(lines) != 1 || lines[0].name != assertion {
		tb.Fatalf("want one assertion, the upstream saw %d: %v", len(lines), lines)
	}
	return s.verify(tb, lines[0].value, origin+"/oauth2", "api")
}
