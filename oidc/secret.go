package oidc

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that must not be printed: a token, a code verifier, a
// client secret. Every formatting verb, encoder and logger shows "[secret]";
// only [Secret.Reveal] gives the value. The zero Secret is no secret.
type Secret string

const redacted = "[secret]"

// NewSecret returns 256 random bits as 43 base64url characters, which is also a
// valid code verifier (RFC 7636 §4.1).
func NewSecret() Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return Secret(base64.RawURLEncoding.EncodeToString(b[:]))
}

// Reveal returns the value. Whoever calls it answers for where it goes.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// Format implements fmt.Formatter, for the verbs that do not ask String, such as
// %#v and %d.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
