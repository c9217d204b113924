package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
)

// Token is the cookie's secret: it opens a session. It is never stored, logged
// or printed. The zero Token is nobody's.
type Token [32]byte

// NewToken returns 256 random bits.
func NewToken() Token {
	var t Token
	rand.Read(t[:]) // never fails since Go 1.24
	return t
}

// ParseToken reads a cookie value. It accepts exactly what [Token.Reveal]
// writes and no second spelling of it.
func ParseToken(s string) (Token, bool) {
	var t Token
	if len(s) != base64.RawURLEncoding.EncodedLen(len(t)) {
		return Token{}, false
	}
	// Strict refuses stray bits in the last character: a second spelling.
	if n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(s)); err != nil || n != len(t) {
		return Token{}, false
	}
	return t, true
}

// Reveal returns the cookie value: 43 base64url characters.
func (t Token) Reveal() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// ID returns the identifier under which the store finds the token's session.
func (t Token) ID() ID { return sha256.Sum256(t[:]) }

// String implements fmt.Stringer.
func (Token) String() string { return "[secret]" }

// GoString implements fmt.GoStringer, for %#v.
func (Token) GoString() string { return "[secret]" }

// LogValue implements slog.LogValuer.
func (Token) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText implements encoding.TextMarshaler.
func (Token) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// ID is the SHA-256 of a Token: it finds, indexes and deletes a session and
// opens nothing. The zero ID is no session's.
type ID [32]byte

// SID returns the public name of the session, the hex of its first 16 bytes,
// as the sid claim of minted tokens has it.
func (id ID) SID() string { return hex.EncodeToString(id[:16]) }

// String returns the first 8 hex digits, enough to join log lines.
func (id ID) String() string { return hex.EncodeToString(id[:4]) }

// LogValue implements slog.LogValuer. The zero ID is logged as nothing.
func (id ID) LogValue() slog.Value {
	if id == (ID{}) {
		return slog.StringValue("")
	}
	return slog.StringValue(id.String())
}
