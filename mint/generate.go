package mint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// GenerateKeySet returns a private JWK Set (RFC 7517 §5) of one new ES256 key,
// named by its thumbprint (RFC 7638): the content of a key file. It is secret.
func GenerateKeySet() ([]byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	keys, err := newKeys([]jose.JSONWebKey{{Key: private}})
	if err != nil {
		return nil, err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: private, KeyID: keys.KeyID(), Algorithm: string(ES256), Use: "sig"},
	}}
	return json.MarshalIndent(set, "", "  ")
}
