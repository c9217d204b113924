package mint

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for thumbprints
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Algorithm is how tokens are signed (RFC 7518 §3.1). The zero Algorithm
// means ES256.
type Algorithm string

// ES256 is ECDSA over P-256 with SHA-256.
const ES256 Algorithm = "ES256"

// Validate returns nil for an algorithm that can sign.
func (a Algorithm) Validate() error {
	switch a {
	case "", ES256:
		return nil
	case "EdDSA", "RS256", "HS256":
		return fmt.Errorf("algorithm %s: not supported yet, only ES256 is", string(a))
	}
	return fmt.Errorf("algorithm %q: not known, only ES256 is supported", string(a))
}

// Keys are the private key that signs and the public keys that verifiers get.
// They do not change. The zero Keys sign nothing.
type Keys struct {
	kid     string
	signing *ecdsa.PrivateKey
	jwks    []byte
}

// GenerateKeys returns a new ES256 key, named by its thumbprint (RFC 7638).
func GenerateKeys() (*Keys, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return newKeys([]jose.JSONWebKey{{Key: private}})
}

// LoadKeys reads a private JWK Set (RFC 7517 §5). The first private key of the
// algorithm signs, the public part of every key is published. A key without a
// kid gets its thumbprint (RFC 7638). One key that is not good refuses the whole
// set; errors are joined, and name keys by index and kid, never by content.
func LoadKeys(data []byte, algorithm Algorithm) (*Keys, error) {
	if err := algorithm.Validate(); err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
		Type any               `json:"kty"`
	}
	// go-jose's decoder refuses a member that stands there twice (RFC 7517 §4)
	// or in another case. Its error is dropped because it may quote the file.
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New(`keys: not a JWK Set: want JSON of the form {"keys": […]}`)
	}
	if set.Type != nil {
		return nil, errors.New(`keys: a single JWK: put it into a set, {"keys": […]}`)
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("keys: the set is empty")
	}

	keys := make([]jose.JSONWebKey, len(set.Keys))
	var errs []error
	for i, raw := range set.Keys {
		var err error
		if keys[i], err = parseKey(raw); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", keyName(i, keys[i].KeyID), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return newKeys(keys)
}

// JWKS returns the public JWK Set. It is the same, byte for byte, for the same
// keys in the same order, and holds no private member.
func (k *Keys) JWKS() []byte { return bytes.Clone(k.jwks) }

// KeyID returns the kid of the key that signs.
func (k *Keys) KeyID() string { return k.kid }

// Algorithm returns how k signs.
func (k *Keys) Algorithm() Algorithm { return ES256 }

func keyName(i int, kid string) string {
	if kid == "" {
		return fmt.Sprintf("keys[%d]", i)
	}
	return fmt.Sprintf("keys[%d] (kid %q)", i, kid)
}

// parseKey reads one JWK. With an error it returns the kid as far as it is known.
func parseKey(raw json.RawMessage) (jose.JSONWebKey, error) {
	var header struct {
		Kid string `json:"kid"`
		Kty string `json:"kty"`
		Use string `json:"use"`
	}
	if err := json.Unmarshal(raw, &header); err != nil {
		return jose.JSONWebKey{}, errors.New("not a JWK: want an object that names each member once, with kty, kid and use as strings")
	}
	name := jose.JSONWebKey{KeyID: header.Kid}
	switch header.Kty {
	case "":
		return name, errors.New("kty is missing")
	case "oct":
		return name, errors.New("a shared secret (kty oct): HS256 is not supported yet")
	case "EC", "RSA", "OKP":
	default:
		return name, errors.New("its kty is not supported: want EC, RSA or OKP")
	}
	if header.Use != "" && header.Use != "sig" {
		return name, errors.New(`its use is not "sig"`)
	}
	var key jose.JSONWebKey
	// go-jose says more, but may quote what it read.
	if err := json.Unmarshal(raw, &key); err != nil {
		return name, fmt.Errorf("not a good %s key: a member is missing, malformed, too long or too short, "+
			"or the key is not on a supported curve", header.Kty)
	}
	return key, checkKey(key)
}

// checkKey refuses what go-jose lets through: weak keys, keys whose private
// part is not that of the public one, and keys made for another algorithm.
func checkKey(key jose.JSONWebKey) error {
	if k, ok := public(key).(*rsa.PublicKey); ok {
		if k.N.BitLen() < 2048 { // RFC 7518 §3.3
			return fmt.Errorf("weak: RSA of %d bits, want 2048 or more", k.N.BitLen())
		}
		if k.E < 1<<16+1 || k.E%2 == 0 {
			return errors.New("weak: RSA with an exponent below 65537, or an even one")
		}
	}
	if k, ok := key.Key.(*ecdsa.PrivateKey); ok {
		if err := checkPair(k); err != nil {
			return err
		}
	}
	if want := keyAlgorithm(key); key.Algorithm != "" && key.Algorithm != want {
		return fmt.Errorf("its alg is not that of its type: want %s, or none", want)
	}
	return nil
}

func checkPair(k *ecdsa.PrivateKey) error {
	d, err := k.Bytes()
	if err != nil {
		return errors.New("the private part is out of range")
	}
	own, err := ecdsa.ParseRawPrivateKey(k.Curve, d)
	if err != nil {
		return errors.New("the private part is out of range")
	}
	if !own.PublicKey.Equal(&k.PublicKey) {
		return errors.New("the private part does not belong to the public one")
	}
	return nil
}

// keyAlgorithm returns the one algorithm that a key is published for.
func keyAlgorithm(key jose.JSONWebKey) string {
	switch k := public(key).(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return "ES256"
		case elliptic.P384():
			return "ES384"
		}
		return "ES512"
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return "RS256"
}

func public(key jose.JSONWebKey) any {
	public := key.Public()
	return public.Key
}

// newKeys names, publishes and picks from keys that have been checked.
func newKeys(keys []jose.JSONWebKey) (*Keys, error) {
	var k Keys
	var set jose.JSONWebKeySet
	named := make(map[string]int)
	for i, key := range keys {
		// A new value, so that no certificate or other member comes along.
		published := jose.JSONWebKey{Key: public(key), KeyID: key.KeyID, Algorithm: keyAlgorithm(key), Use: "sig"}
		if published.KeyID == "" {
			thumbprint, err := published.Thumbprint(crypto.SHA256)
			if err != nil {
				return nil, fmt.Errorf("keys[%d]: thumbprint: %w", i, err)
			}
			published.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
		}
		if first, ok := named[published.KeyID]; ok {
			return nil, fmt.Errorf("%s: has the kid of keys[%d]", keyName(i, published.KeyID), first)
		}
		named[published.KeyID] = i
		set.Keys = append(set.Keys, published)

		if private, ok := key.Key.(*ecdsa.PrivateKey); ok && k.signing == nil && private.Curve == elliptic.P256() {
			k.signing, k.kid = private, published.KeyID
		}
	}
	if k.signing == nil {
		return nil, errors.New("keys: no private key for ES256: want one with kty EC, crv P-256 and d")
	}
	var err error
	if k.jwks, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &k, nil
}
