package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"io"
	"maps"
	"net"
	"net/http"
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
	stack := newStack(t, setup{
		Apps: `
  - url: https://app.example.test
    allow: everyone
    token: {audience: api}
    rules:
      - {path: /reports, token: {audience: reports}}
      - {path: /**}
`,
		Routes:   []route{{"/reports", "reports"}, {"/", "api"}},
		JWTAuthn: &jwtAuthn{issuer: origin + "/oauth2", audience: "api", header: assertion},
	})
	alice := stack.browser(t)
	// Between the browser and this page stand ext_authz and jwt_authn.
	alice.signInAt("/data", "alice").want(t, 200)
	captured := alice.fetch("/data").passed(t).first(assertion)
	elsewhere := alice.fetch("/reports").passed(t).first(assertion)
	claims := stack.verify(t, captured, origin+"/oauth2", "api")

	for _, tt := range []struct {
		name  string
		token string
		says  string // of jose
	}{
		{"as_captured", captured, "good"},
		{"bit_of_the_header_flipped", flipBit(t, captured, 0), "ERR_J"}, // whichever check is the first
		{"bit_of_the_claims_flipped", flipBit(t, captured, 1), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{"bit_of_the_signature_flipped", flipBit(t, captured, 2), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{"for_another_audience", elsewhere, "ERR_JWT_CLAIM_VALIDATION_FAILED"},
		{"of_another_issuer", sign(t, stack.files.signing, with(claims, "iss", "https://evil.example")), "ERR_JWT_CLAIM_VALIDATION_FAILED"},
		{"expired", sign(t, stack.files.signing, with(claims, "exp", time.Now().Add(-2*time.Minute).Unix())), "ERR_JWT_EXPIRED"},
		{"by_another_key", sign(t, anotherKey(t), claims), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"},
		{"not_signed", unsigned(captured), "ERR_J"},
		// What the rows above say is about the tokens, not about how the test signs.
		{"signed_again_with_the_key", sign(t, stack.files.signing, claims), "good"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := stack.jose(t, tt.token, origin+"/oauth2", "api"); !strings.HasPrefix(got, tt.says) {
				t.Errorf("jose says %s, want %s", got, tt.says)
			}
			status := stack.callAPI(t, tt.token)
			if good := tt.says == "good"; good != (status == http.StatusOK) {
				t.Errorf("in front of the API, jwt_authn answers %d", status)
			}
		})
	}
	if status := stack.callAPI(t, ""); status != http.StatusUnauthorized {
		t.Errorf("without a token, jwt_authn answers %d", status)
	}
}

// jose returns what jose says about a token.
func (s *stack) jose(t *testing.T, token, issuer, audience string) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "NODE", err)
	}
	if _, err := os.Stat("providers/op9/node_modules/jose"); err != nil {
		missing(t, "JOSE", err)
	}
	cmd := exec.CommandContext(t.Context(), node, "verify.mjs",
		"http://"+s.replicas[0].http+"/.well-known/jwks.json", issuer, audience)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(token+"\n"), &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// callAPI sends a token straight to the jwt_authn in front of the API, past
// ext_authz, as somebody who captured it would. It returns the status.
func (s *stack) callAPI(t *testing.T, token string) int {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.envoy.api)
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api/data", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set(s.setup.JWTAuthn.header, s.setup.JWTAuthn.prefix+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if reached := s.find(resp.Header.Get(seenHeader)) != nil; reached != (resp.StatusCode == http.StatusOK) {
		t.Errorf("status %d, and the API was reached: %v", resp.StatusCode, reached)
	}
	return resp.StatusCode
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
