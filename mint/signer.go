package mint

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/countersign/countersign/session"
)

// Sizes of a token, in bytes. Servers commonly take 8 KiB for all headers
// together.
const (
	LargeSize = 4 << 10 // above it, the operator should hear of it: see Minted
	MaxSize   = 8 << 10 // above it, there is none: ErrTooLarge
)

// Errors of Mint that a caller acts on.
var (
	ErrEnded    = errors.New("mint: the session has ended") // or ends within this second
	ErrTooLarge = errors.New("mint: token too large")       // more than MaxSize
)

// Minted is what is known about a token that was just signed.
type Minted struct {
	App       string
	Audience  string
	Algorithm Algorithm
	Size      int // in bytes; more than LargeSize is worth a warning
}

// Signer signs tokens and remembers them. Each has a cache of its own, so that
// tokens die with their key: for new keys, make a new Signer. It is safe for
// concurrent use.
type Signer struct {
	// OnSign, if not nil, is called once for every signature, by the request
	// that needed it. Set it before the first Mint.
	OnSign func(Minted)

	keys   *Keys
	cache  *otter.Cache[session.ID, tokens]
	signed atomic.Uint64
}

// NewSigner returns a Signer that signs with the keys' first.
func NewSigner(keys *Keys) *Signer {
	return &Signer{keys: keys, cache: newCache()}
}

// Mint returns the token that t's audience gets for the session: a signed JWT
// (RFC 7519) of type JWT. Times in it are whole seconds, and exp is never beyond
// the session's end as it is known now.
//
// The token may be one that was signed before, for the same template and the
// same version of the session, until 80 % of its life have passed. Of requests
// that need a new one at once, one signs. Mint returns ErrEnded when the session
// has no whole second left, ErrTooLarge when there is more to say than an
// upstream takes; any other error is a fault of the template or the session.
func (s *Signer) Mint(now time.Time, t *Template, sess session.Session) (string, error) {
	if sess.State(now) == session.Ended {
		return "", ErrEnded
	}
	known, _ := s.cache.GetIfPresent(sess.ID)
	if text, ok := known.find(now, t, &sess); ok {
		return text, nil
	}
	return s.renew(now, t, sess)
}

// Forget drops the tokens of a session that has ended. It saves memory: Mint
// never gives a token to a session that has ended, remembered or not.
func (s *Signer) Forget(id session.ID) { s.cache.Invalidate(id) }

// JWKS returns the public JWK Set that verifies what s signs; see [Keys.JWKS].
func (s *Signer) JWKS() []byte { return s.keys.JWKS() }

// Signed returns how many signatures were made.
func (s *Signer) Signed() uint64 { return s.signed.Load() }

// renew signs, remembers and reports a token, unless another request just did.
// It is apart from Mint because its closure moves sess to the heap.
func (s *Signer) renew(now time.Time, t *Template, sess session.Session) (text string, err error) {
	fresh := false
	// Compute runs one function at a time for a session: whoever waited finds
	// the token of the one that signed. A signature takes some 30 µs.
	s.cache.Compute(sess.ID, func(known tokens, _ bool) (tokens, otter.ComputeOp) {
		var ok bool
		if text, ok = known.find(now, t, &sess); ok {
			return known, otter.CancelOp
		}
		var k token
		if k, err = s.sign(now, t, sess); err != nil {
			return known, otter.CancelOp
		}
		text, fresh = k.text, true
		return known.with(k, now), otter.WriteOp
	})
	if fresh {
		s.signed.Add(1)
		if s.OnSign != nil {
			s.OnSign(Minted{App: sess.App, Audience: t.Audience, Algorithm: s.keys.Algorithm(), Size: len(text)})
		}
	}
	return text, err
}

// sign makes a token in the compact form of RFC 7515 §7.1.
func (s *Signer) sign(now time.Time, t *Template, sess session.Session) (token, error) {
	if s.keys == nil || s.keys.signing == nil {
		return token{}, errors.New("mint: no key to sign with")
	}
	if err := t.Validate(); err != nil {
		return token{}, fmt.Errorf("mint: template: %w", err)
	}
	if sess.Identity.Nobody() {
		return token{}, errors.New("mint: the session is nobody's")
	}
	issued, expires := life(now, t, sess)
	if !expires.After(now) {
		return token{}, ErrEnded
	}

	method := jwt.SigningMethodES256
	unsigned := jwt.NewWithClaims(method, claims(issued, expires, t, sess))
	unsigned.Header["kid"] = s.keys.kid
	text, err := unsigned.SigningString()
	if err != nil {
		return token{}, fmt.Errorf("mint: claims: %w", err)
	}
	// Known before the work is done: r and s are 32 bytes each (RFC 7518 §3.4).
	if size := len(text) + len(".") + base64.RawURLEncoding.EncodedLen(64); size > MaxSize {
		return token{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxSize)
	}
	signature, err := method.Sign(text, s.keys.signing)
	if err != nil {
		return token{}, fmt.Errorf("mint: sign: %w", err)
	}
	return newToken(text+"."+unsigned.EncodeSegment(signature), t, sess.Version, issued, expires), nil
}

// life returns iat and exp. NumericDate may have a fraction (RFC 7519 §2), but
// not every verifier reads one, so both are rounded down: exp never reaches
// beyond the end.
func life(now time.Time, t *Template, sess session.Session) (issued, expires time.Time) {
	expires = now.Add(t.lifetime())
	if end := sess.End(); end.Before(expires) {
		expires = end
	}
	return time.Unix(now.Unix(), 0), time.Unix(expires.Unix(), 0)
}

// claims puts the configured claims first: nothing replaces our own.
func claims(issued, expires time.Time, t *Template, sess session.Session) jwt.MapClaims {
	who := sess.Identity
	c := make(jwt.MapClaims, len(t.Claims)+len(reserved))
	for name, expression := range t.Claims {
		if value, ok := expression.Value(who); ok {
			c[name] = value
		}
	}
	c["iss"], c["aud"], c["sub"] = t.Issuer, t.Audience, who.Subject
	c["iat"], c["nbf"], c["exp"] = issued.Unix(), issued.Unix(), expires.Unix()
	c["jti"] = newJTI()
	c["sid"] = sess.ID.SID()
	c["idp"] = who.Issuer // sub is unique only with it (OpenID Connect Core 1.0 §5.7)
	if !who.AuthTime.IsZero() {
		c["auth_time"] = who.AuthTime.Unix()
	}
	if who.ACR != "" {
		c["acr"] = who.ACR
	}
	if len(who.AMR) > 0 {
		c["amr"] = who.AMR
	}
	return c
}

// newJTI names a token: 128 random bits in hex (RFC 7519 §4.1.7).
func newJTI() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
