package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys    = 64
	minRSABits = 2048 // RFC 7518 §3.3
)

// fetchKeys reads the JWK Set from where the metadata says it is.
func (p *Provider) fetchKeys(ctx context.Context) ([]byte, error) {
	m := p.metadata.Load()
	if m == nil {
		return nil, p.Ready()
	}
	return p.get(ctx, "keys", m.JWKS)
}

// parseKeys keeps what can verify a signature: public, valid, strong enough and
// not meant for encryption. Kinds of key that are unknown are passed over.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var document struct{ Keys []json.RawMessage }
	if err := decode(body, &document); err != nil {
		return nil, unavailable("keys", err)
	}
	var set []jose.JSONWebKey
	for _, raw := range document.Keys[:min(len(document.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.IsPublic() && key.Valid() && key.Use != "enc" && !weak(key) {
			set = append(set, key)
		}
	}
	if len(set) == 0 {
		return nil, unavailable("keys", errors.New("no usable key in the set"))
	}
	return set, nil
}

func weak(key jose.JSONWebKey) bool {
	public, ok := key.Key.(*rsa.PublicKey)
	return ok && public.N.BitLen() < minRSABits
}
