package session

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/countersign/countersign/oidc"
)

// SealAttempt returns a as a cookie value of base64url characters, sealed for one
// app and redirect URI. Started is kept to the millisecond. With secrets of
// [oidc.NewSecret], the value has fewer than 900 characters as long as Provider
// and ReturnTo have at most 523 bytes together.
//
// The provider is sealed as content and not bound: whoever opens the attempt does
// not know it yet. That an attempt at one provider is not finished at another
// follows from the redirect URI, of which each provider of an app has its own.
func (v *Vault) SealAttempt(a oidc.Attempt, app, redirectURI string) string {
	return base64.RawURLEncoding.EncodeToString(v.Sealer.Seal(bindAttempt(app, redirectURI), encodeAttempt(a)))
}

// OpenAttempt returns the attempt of a cookie value. It returns ErrForged for
// what was sealed by nobody, for another app or for another redirect URI, and
// ErrUnknownKey. Whether the attempt has expired is for the caller to ask.
func (v *Vault) OpenAttempt(value, app, redirectURI string) (oidc.Attempt, error) {
	// Strict refuses stray bits in the last character; line breaks are skipped by
	// the decoder. Either would be a second spelling.
	if strings.ContainsAny(value, "\r\n") {
		return oidc.Attempt{}, ErrForged
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return oidc.Attempt{}, ErrForged
	}
	plain, err := v.Sealer.Open(bindAttempt(app, redirectURI), sealed)
	if err != nil {
		return oidc.Attempt{}, err
	}
	a, ok := decodeAttempt(plain)
	if !ok {
		return oidc.Attempt{}, ErrForged
	}
	return a, nil
}

// claimOf names a in the store.
func claimOf(a oidc.Attempt) Claim { return sha256.Sum256([]byte(a.State.Reveal())) }

func bindAttempt(app, redirectURI string) Binding {
	return Binding{Purpose: attemptPurpose, Parts: []string{app, redirectURI}}
}

// encodeAttempt writes the fields one after the other, each with its length in
// front, because JSON would not fit into the cookie.
func encodeAttempt(a oidc.Attempt) []byte {
	b := binary.AppendVarint(nil, a.Started.UnixMilli())
	for _, s := range []oidc.Secret{a.State, a.Nonce, a.Verifier} {
		b = appendSecret(b, s.Reveal())
	}
	b = appendString(b, a.Provider)
	return append(b, a.ReturnTo...)
}

func decodeAttempt(b []byte) (a oidc.Attempt, ok bool) {
	milli, n := binary.Varint(b)
	if n <= 0 {
		return oidc.Attempt{}, false
	}
	b = b[n:]
	for _, s := range []*oidc.Secret{&a.State, &a.Nonce, &a.Verifier} {
		if *s, b, ok = cutSecret(b); !ok {
			return oidc.Attempt{}, false
		}
	}
	provider, rest, ok := cutString(b)
	if !ok {
		return oidc.Attempt{}, false
	}
	a.Provider, a.ReturnTo = string(provider), string(rest)
	a.Started = time.UnixMilli(milli).UTC()
	return a, true
}

// appendSecret writes a secret with its length, doubled, in front. Secrets of
// [oidc.NewSecret] are base64url, of which the bytes take three quarters; an odd
// number says that it is text of another kind.
func appendSecret(b []byte, s string) []byte {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err == nil && base64.RawURLEncoding.EncodeToString(raw) == s {
		return append(binary.AppendUvarint(b, uint64(len(raw))<<1), raw...)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))<<1|1), s...)
}

func cutSecret(b []byte) (s oidc.Secret, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size>>1 > uint64(len(b)-n) {
		return "", nil, false
	}
	value, rest := b[n:n+int(size>>1)], b[n+int(size>>1):]
	if size&1 == 1 {
		return oidc.Secret(value), rest, true
	}
	return oidc.Secret(base64.RawURLEncoding.EncodeToString(value)), rest, true
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cutString(b []byte) (s, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}
