package mint_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// alice is somebody of whom everything is known.
var alice = oidc.Identity{
	Provider: "keycloak",
	Issuer:   "https://id.example.org/realms/main",
	Subject:  "alice-7",
	Email:    "alice@example.org",
	Name:     "Alice",
	Username: "alice",
	Groups:   []string{"admin", "staff"},
	ACR:      "eidas1",
	AMR:      []string{"pwd", "otp"},
	AuthTime: noon.Add(-time.Hour),
	Claims: map[string]any{
		"roles":   []any{"editor", json.Number("7"), nil},
		"siret":   json.Number("12345678901234567890"),
		"score":   json.Number("0.10"),
		"staff":   true,
		"nothing": nil,
		"empty":   []any{},
		"address": map[string]any{"city": "Lyon", "door": json.Number("9007199254740993")},
	},
}

// signedIn is a session that was made at noon and ends twelve hours later, or an
// hour after its last use.
func signedIn(who oidc.Identity) session.Session {
	return session.Session{
		ID: session.Token{1}.ID(), App: "playground", Identity: who, Version: 1,
		Created: noon, Seen: noon, Ends: noon.Add(12 * time.Hour), Idle: time.Hour,
	}
}

func endingAt(end time.Time) session.Session {
	s := signedIn(alice)
	s.Ends = end
	return s
}

func template(claims map[string]string) *mint.Template {
	t := &mint.Template{Issuer: "playground", Audience: "api", Claims: map[string]mint.Expression{}}
	for name, source := range claims {
		e, err := mint.ParseExpression(source)
		if err != nil {
			panic(err)
		}
		t.Claims[name] = e
	}
	return t
}

func newKeys(tb testing.TB) *mint.Keys {
	tb.Helper()
	keys, err := mint.GenerateKeys()
	if err != nil {
		tb.Fatalf("GenerateKeys: %v", err)
	}
	return keys
}

func mustMint(tb testing.TB, s *mint.Signer, now time.Time, tmpl *mint.Template, sess session.Session) string {
	tb.Helper()
	token, err := s.Mint(now, tmpl, sess)
	if err != nil {
		tb.Fatalf("Mint at %v: %v", now, err)
	}
	return token
}

// verify opens a token as an upstream does, with an implementation that shares
// no code with the signer, and returns its claims as JSON has them.
func verify(jwks []byte, token string) (map[string]any, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, err
	}
	var payload json.RawMessage
	if err := parsed.Claims(set, &payload); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(strings.NewReader(string(payload)))
	decoder.UseNumber()
	claims := map[string]any{}
	return claims, decoder.Decode(&claims)
}

func mustVerify(tb testing.TB, keys *mint.Keys, token string) map[string]any {
	tb.Helper()
	claims, err := verify(keys.JWKS(), token)
	if err != nil {
		tb.Fatalf("verify: %v", err)
	}
	return claims
}

func decodeSegment(tb testing.TB, segment string) []byte {
	tb.Helper()
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		tb.Fatalf("segment %q: %v", segment, err)
	}
	return raw
}
