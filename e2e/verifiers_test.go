package e2e_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Two implementations that are not ours verify what Countersign signs: jose, by
// the published keys, and Envoy's own jwt_authn, in front of the API.
func TestTokenVerifiesElsewhere(t *testing.T) {
	t.Parallel()
	const issuer, audience = origin + "/oauth2", "api"
	stack := newStack(t, setup{
		Apps: `
  - url: https://app.example.test
    allow: everyone
    token: {audience: api, header: authorization}
    rules:
      - {path: /reports, token: {audience: reports}}
      - {path: /as-it-comes, bearer: passthrough}
      - {path: /**}
`,
		Routes:   []route{{"/reports", "reports"}, {"/", "api"}},
		JWTAuthn: &jwtAuthn{issuer, audience, "authorization", "Bearer "},
	})
	alice := stack.browser(t)
	alice.signInAt("/data", "alice").want(t, 200)
	// Behind ext_authz stands jwt_authn, and it believes what she brings.
	captured := bearerOf(t, alice.fetch("/data").passed(t))
	elsewhere := bearerOf(t, alice.fetch("/reports").passed(t))
	claims := stack.verify(t, captured, issuer, audience)

	const signature = "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"
	tests := []struct {
		name  string
		token string
		says  string // jose, or how that begins
	}{
		{"as_captured", captured, "good"},
		{"bit_of_the_header_flipped", flipBit(t, captured, 0), "ERR_J"}, // it may not even be JSON
		{"bit_of_the_claims_flipped", flipBit(t, captured, 1), signature},
		{"bit_of_the_signature_flipped", flipBit(t, captured, 2), signature},
		{"for_another_audience", elsewhere, "ERR_JWT_CLAIM_VALIDATION_FAILED"},
		{"of_another_issuer", sign(t, stack.files.signing, with(claims, "iss", "https://evil.example")), "ERR_JWT_CLAIM_VALIDATION_FAILED"},
		{"expired", sign(t, stack.files.signing, with(claims, "exp", time.Now().Add(-2*time.Minute).Unix())), "ERR_JWT_EXPIRED"},
		{"by_another_key", sign(t, anotherKey(t), claims), signature},
		{"not_signed", unsigned(captured), "ERR_J"},
		// The rows above fail for what they say, not for how the test signs.
		{"signed_again_with_the_key", sign(t, stack.files.signing, claims), "good"},
	}
	var tokens []string
	for _, tt := range tests {
		tokens = append(tokens, tt.token)
	}
	said := stack.jose(t, issuer, audience, tokens)
	nobody := stack.browser(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.HasPrefix(said[i], tt.says) {
				t.Errorf("jose says %s, want %s", said[i], tt.says)
			}
			a := nobody.fetch("/as-it-comes", "Authorization: Bearer "+tt.token)
			switch {
			case tt.says == "good":
				a.passed(t)
			case a.saw != nil || (a.status != 401 && a.status != 403):
				t.Errorf("jwt_authn answers %d, and the API is reached: %v", a.status, a.saw != nil)
			}
		})
	}
}

// bearerOf is the token in the one Authorization line of a request.
func bearerOf(t *testing.T, saw *seen) string {
	t.Helper()
	lines := saw.spelled("authorization")
	if len(lines) != 1 || lines[0].name != "authorization" {
		t.Fatalf("want one authorization, the upstream saw %v", lines)
	}
	token, ok := strings.CutPrefix(lines[0].value, "Bearer ")
	if !ok {
		t.Fatalf("want a bearer, the upstream saw %v", lines)
	}
	return token
}

// jose returns what jose says about each token.
func (s *stack) jose(t *testing.T, issuer, audience string, tokens []string) []string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "NODE", err)
	}
	if _, err := os.Stat("providers/op9/node_modules/jose"); err != nil {
		missing(t, "JOSE", err)
	}
	cmd := exec.CommandContext(t.Context(), node, "verify.mjs", s.jwksURL(), issuer, audience)
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(tokens, "\n")+"\n"), &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, complaints.String())
	}
	said := strings.Fields(string(out))
	if len(said) != len(tokens) {
		t.Fatalf("jose was asked about %d tokens, and said %q", len(tokens), said)
	}
	return said
}

// flipBit changes one bit of one part of a token.
func flipBit(t *testing.T, token string, part int) string {
	t.Helper()
	parts := strings.Split(token, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		t.Fatal(err)
	}
	decoded[len(decoded)/2] ^= 1
	parts[part] = base64.RawURLEncoding.EncodeToString(decoded)
	return strings.Join(parts, ".")
}

// unsigned is a token that asks to be believed (RFC 8725 §2.1).
func unsigned(token string) string {
	parts := strings.Split(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
}

func with(claims map[string]any, name string, value any) map[string]any {
	changed := maps.Clone(claims)
	changed[name] = value
	return changed
}

func anotherKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
