package oidc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

// renewEvery is the least time between two fetches because of a token whose key
// is not known.
const renewEvery = 10 * time.Second

// keys are a provider's signing keys: the last good copy of its JWK Set. A token
// that names an unknown key has them fetched again, at most once in renewEvery
// for all tokens together; one that a known key did not sign never does.
type keys struct {
	get func(context.Context) ([]byte, error)
	now func() time.Time

	flight singleflight.Group

	mu    sync.Mutex
	set   []jose.JSONWebKey // guarded by mu; empty until fetched once; replaced whole
	asked time.Time         // guarded by mu; when a token last had them fetched
	err   error             // guarded by mu; of the latest fetch
}

// verify returns the payload of jws if a key of the provider signed it, else
// ErrSignature, ErrKey, or ErrUnavailable when the keys cannot be had.
func (k *keys) verify(ctx context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	payload, err := k.try(jws)
	// A token without kid may be signed by a key that we have not seen.
	if err == nil || errors.Is(err, ErrSignature) && jws.Signatures[0].Header.KeyID != "" {
		return payload, err
	}
	if err := k.renew(ctx); err != nil {
		return nil, err
	}
	return k.try(jws)
}

// try verifies with what is known. The token's kid is only ever compared
// (RFC 8725 §3.10), and a key inside its header is never looked at.
func (k *keys) try(jws *jose.JSONWebSignature) ([]byte, error) {
	k.mu.Lock()
	set := k.set
	k.mu.Unlock()

	header, found := jws.Signatures[0].Header, false
	for _, key := range set {
		named := header.KeyID == "" || header.KeyID == key.KeyID
		if !named && key.KeyID != "" {
			continue
		}
		found = found || named
		if key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	if found {
		return nil, ErrSignature
	}
	return nil, ErrKey
}

// renew fetches the keys unless that was done a moment ago; then the outcome of
// that time stands. Callers share one fetch, which outlives any of them.
func (k *keys) renew(ctx context.Context) error {
	done := k.flight.DoChan("", func() (any, error) {
		k.mu.Lock()
		recent, err := k.now().Before(k.asked.Add(renewEvery)), k.err
		if !recent {
			k.asked = k.now()
		}
		k.mu.Unlock()
		if recent {
			return nil, err
		}
		return nil, k.fetch(context.WithoutCancel(ctx))
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return unavailable("keys", ctx.Err())
	}
}

// fetch replaces the keys by what the provider publishes now. An answer without
// a usable key changes nothing.
func (k *keys) fetch(ctx context.Context) error {
	body, err := k.get(ctx)
	var set []jose.JSONWebKey
	if err == nil {
		set, err = parseKeys(body)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err = err; err == nil {
		k.set = set
	}
	return err
}
