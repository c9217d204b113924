package oidctest

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// Forgery is what is wrong with the signature of an ID token.
type Forgery string

// The forgeries. The forger's key is an ECDSA key on P-256 that no key set of
// the provider ever publishes.
const (
	Genuine        Forgery = ""
	FlippedBit     Forgery = "flipped bit"          // one bit of the signature is wrong, JK-A02
	EmptySignature Forgery = "empty signature"      // TK-A01
	AlgNone        Forgery = "none"                 // alg none and no signature, TK-A01
	AlgNoneTitle   Forgery = "None"                 // TK-A01
	AlgNoneMixed   Forgery = "nOnE"                 // TK-A01
	HMACPublicPEM  Forgery = "HS256 public key PEM" // HS256 with the provider's public key, TK-A02
	HMACPublicDER  Forgery = "HS256 public key DER" // TK-A02
	HMACPublicJWK  Forgery = "HS256 public key JWK" // TK-A02
	HMACSecret     Forgery = "HS256 client secret"  // TK-A03
	UnknownKey     Forgery = "unknown key"          // the forger's key under a kid of its own, TK-A04
	StolenKeyID    Forgery = "stolen kid"           // the forger's key under the kid of the provider's, JK-A02
	HeaderJWK      Forgery = "jwk header"           // the forger's key comes with the token, TK-A05
	HeaderJKU      Forgery = "jku header"           // an address where the forger's key is, TK-A05
	HeaderX5C      Forgery = "x5c header"           // a certificate of the forger's key comes along, TK-A05
	HeaderX5U      Forgery = "x5u header"           // an address where that certificate is, TK-A05
)

// Forgeries lists every Forgery but Genuine.
func Forgeries() []Forgery {
	return []Forgery{
		FlippedBit, EmptySignature, AlgNone, AlgNoneTitle, AlgNoneMixed,
		HMACPublicPEM, HMACPublicDER, HMACPublicJWK, HMACSecret,
		UnknownKey, StolenKeyID, HeaderJWK, HeaderJKU, HeaderX5C, HeaderX5U,
	}
}

// forger owns a key that nobody should trust.
type forger struct {
	key         key
	certificate []byte // DER, signed by the key itself
}

func newForger(now time.Time) (*forger, error) {
	k, err := newKey("ES256")
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "forger"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.signer.Public(), k.signer)
	if err != nil {
		return nil, fmt.Errorf("certificate of the forger: %w", err)
	}
	return &forger{key: k, certificate: der}, nil
}

// sign makes an ID token with what is wrong, or genuinely with k. A kid that is
// in header already as a lie stays.
func (f *forger) sign(wrong Forgery, k key, client Client, issuer string, header, claims map[string]any) (string, error) {
	switch wrong {
	case FlippedBit, EmptySignature:
		return spoil(wrong, k, header, claims)
	case AlgNone, AlgNoneTitle, AlgNoneMixed:
		header["alg"] = string(wrong)
		input, err := signingInput(header, claims)
		return input + ".", err
	case HMACPublicPEM, HMACPublicDER, HMACPublicJWK, HMACSecret:
		shared, err := sharedKey(wrong, k, client)
		if err != nil {
			return "", err
		}
		return compact(jwt.SigningMethodHS256, shared, header, claims)
	case StolenKeyID:
		return f.key.sign(header, claims)
	case UnknownKey, HeaderJWK, HeaderJKU, HeaderX5C, HeaderX5U:
		if header["kid"] == k.id {
			header["kid"] = f.key.id
		}
		f.invite(wrong, issuer, header)
		return f.key.sign(header, claims)
	}
	return k.sign(header, claims)
}

// spoil breaks the signature of a genuine token.
func spoil(wrong Forgery, k key, header, claims map[string]any) (string, error) {
	token, err := k.sign(header, claims)
	if err != nil {
		return "", err
	}
	input, signature := token[:strings.LastIndex(token, ".")+1], token[strings.LastIndex(token, ".")+1:]
	if wrong == EmptySignature {
		return input, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return "", err
	}
	b[len(b)/2] ^= 1
	return input + base64.RawURLEncoding.EncodeToString(b), nil
}

// sharedKey is what a confused verifier would take for the HMAC key.
func sharedKey(wrong Forgery, k key, client Client) ([]byte, error) {
	switch wrong {
	case HMACSecret:
		return []byte(client.Secret), nil
	case HMACPublicJWK:
		return json.Marshal(k.public())
	}
	der, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	if err != nil || wrong == HMACPublicDER {
		return der, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// invite adds the header that leads to the forger's key (RFC 7515 §4.1).
func (f *forger) invite(wrong Forgery, issuer string, header map[string]any) {
	switch wrong {
	case HeaderJWK:
		header["jwk"] = f.key.public()
	case HeaderJKU:
		header["jku"] = issuer + forgedKeysPath
	case HeaderX5C:
		header["x5c"] = []string{base64.StdEncoding.EncodeToString(f.certificate)}
	case HeaderX5U:
		header["x5u"] = issuer + forgedCertPath
	}
}

func (f *forger) serveKeys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{f.key.public()}})
}

func (f *forger) serveCertificate(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: f.certificate})
}
