package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// maxKeys is how many keys are published after many rotations.
const maxKeys = 8

// key signs tokens. Its private half never leaves this package.
type key struct {
	id     string
	method jwt.SigningMethod
	signer crypto.Signer
}

func newKey(algorithm string) (key, error) {
	k := key{id: rand.Text(), method: jwt.GetSigningMethod(algorithm)}
	var err error
	switch algorithm {
	case "ES256":
		k.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		k.signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, k.signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("algorithm %q: want ES256, RS256 or EdDSA", algorithm)
	}
	return k, err
}

// RotateKey makes a new key sign from now on. The old ones stay published until
// [Provider.DropOldKeys].
func (p *Provider) RotateKey() error {
	k, err := newKey(p.config.Algorithm)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := append([]key{k}, p.keys...)
	p.keys = keys[:min(len(keys), maxKeys)]
	return nil
}

// DropOldKeys takes every key but the one that signs out of the published set.
func (p *Provider) DropOldKeys() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = p.keys[:1:1]
}

// KeyID returns the kid of the key that signs.
func (p *Provider) KeyID() string { return p.signingKey().id }

// Sign signs claims as the provider would, under a header with typ unless that
// is empty. It is honest whatever the lies are; the claims need not be: a logout
// token with a nonce is made so.
func (p *Provider) Sign(typ string, claims map[string]any) (string, error) {
	k := p.signingKey()
	header := map[string]any{"kid": k.id}
	if typ != "" {
		header["typ"] = typ
	}
	return k.sign(header, claims)
}

// verify returns the claims of a token that the provider signed, expired or not.
func (p *Provider) verify(token string) (jwt.MapClaims, error) {
	var claims jwt.MapClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{p.config.Algorithm}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		for _, k := range p.published() {
			if k.id == t.Header["kid"] {
				return k.signer.Public(), nil
			}
		}
		return nil, errors.New("kid is unknown")
	})
	return claims, err
}

func (p *Provider) signingKey() key { return p.published()[0] }

func (p *Provider) published() []key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys // replaced whole, never changed in place
}

func (p *Provider) serveKeys(w http.ResponseWriter, _ *http.Request) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	if !p.Lies().NoKeys {
		for _, k := range p.published() {
			set.Keys = append(set.Keys, k.public())
		}
	}
	w.Header().Set("Cache-Control", "public, max-age=60")
	writeJSON(w, http.StatusOK, set)
}

func (k key) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.id, Algorithm: k.method.Alg(), Use: "sig"}
}

// sign makes a JWT of header, to which it adds alg, and claims.
func (k key) sign(header, claims map[string]any) (string, error) {
	return compact(k.method, k.signer, header, claims)
}

// compact is a JWS compact serialization (RFC 7515 §7.1) of whatever it is given.
func compact(method jwt.SigningMethod, key any, header, claims map[string]any) (string, error) {
	header["alg"] = method.Alg()
	input, err := signingInput(header, claims)
	if err != nil {
		return "", err
	}
	signature, err := method.Sign(input, key)
	if err != nil {
		return "", err
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func signingInput(header, claims map[string]any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c), nil
}
