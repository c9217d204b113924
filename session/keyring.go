package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// Errors of [Sealer.Open].
var (
	// ErrForged means that it does not open: it was sealed by nobody, for
	// something else, or it was changed since.
	ErrForged = errors.New("session: seal does not open")

	// ErrUnknownKey means that this server cannot tell: it was sealed by a key
	// that is not in the ring or in a format that this version does not know.
	// That is a fault of the configuration, and what was sealed is left alone.
	// One sentinel covers both, because there is one thing to do about them:
	// wait until this replica has caught up with the one that sealed it.
	ErrUnknownKey = errors.New("session: sealed by a key or in a format that is not known here")
)

// Binding is what a seal holds true for. What was sealed opens under an equal
// Binding only.
type Binding struct {
	Purpose string   // what the content is; each purpose has keys of its own
	Secret  []byte   // needed to open beside the ring, such as a Token; nil for none
	Parts   []string // where it belongs; {"a", "bc"} and {"ab", "c"} differ
}

// Sealer seals what a store or a browser keeps for us.
type Sealer interface {
	// Seal returns plain encrypted and bound to b.
	Seal(b Binding, plain []byte) []byte

	// Open returns what was sealed under b, or ErrForged or ErrUnknownKey.
	Open(b Binding, sealed []byte) ([]byte, error)

	// Current reports whether sealed looks as Seal would seal it now.
	Current(sealed []byte) bool

	// Index returns a keyed hash of the parts under each key, that which seals now
	// first. {"a", "bc"} and {"ab", "c"} differ.
	Index(parts ...string) []Index
}

// Keyring is a [Sealer] with the server's keys: the first seals, all open. It
// is immutable. The zero Keyring opens nothing, and panics when it is to seal.
//
// A seal is the version byte 1, the name of the key (the first 8 bytes of the
// SHA-256 of "countersign key name", a zero byte and the key), 8 random bytes of
// salt, a 12-byte random nonce, and the AES-256-GCM ciphertext with its tag. The
// cipher's key is the HKDF-SHA256 (RFC 5869) of the ring's key followed by the
// Secret, with the salt "countersign seal" followed by those 8 bytes, and the
// Purpose as info. Authenticated beside the content are version, name and salt,
// then Purpose and each of the Parts, every one after its length in 8 bytes,
// big-endian. The salt gives each seal a key of its own, more or less, so that
// the 2³² seals that one is good for (NIST SP 800-38D §8.3) are never reached.
type Keyring struct {
	keys []ringKey
}

// keySize is the size of a key of the ring in bytes.
const keySize = 32

type ringKey struct {
	name  [8]byte // stands in front of what the key sealed
	value [keySize]byte
}

func newRingKey(value [keySize]byte) ringKey {
	k := ringKey{value: value}
	sum := sha256.Sum256(append([]byte("countersign key name\x00"), value[:]...))
	copy(k.name[:], sum[:])
	return k
}

// GenerateKeyring returns a ring of one new key. What it seals opens nowhere
// else and not after a restart.
func GenerateKeyring() *Keyring {
	var value [keySize]byte
	rand.Read(value[:]) // never fails since Go 1.24
	return &Keyring{keys: []ringKey{newRingKey(value)}}
}

// ParseKeyring reads a key file: on each line one key of 32 bytes in standard
// base64 with padding. Blank lines and lines that start with # are skipped. It
// reports all its errors together; they name the line and never what stands on it.
func ParseKeyring(data []byte) (*Keyring, error) {
	var (
		ring  Keyring
		lines = map[ringKey]int{}
		errs  []error
	)
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := parseKey(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("session keys: line %d: %w", n, err))
			continue
		}
		if first, twice := lines[key]; twice {
			errs = append(errs, fmt.Errorf("session keys: line %d: same key as line %d", n, first))
			continue
		}
		lines[key] = n
		ring.keys = append(ring.keys, key)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(ring.keys) == 0 {
		return nil, errors.New("session keys: no key found")
	}
	return &ring, nil
}

func parseKey(line []byte) (ringKey, error) {
	// The length is checked here because the decoder skips line breaks, and the
	// array holds what 44 characters may decode to at most.
	var raw [keySize + 1]byte
	if len(line) != base64.StdEncoding.EncodedLen(keySize) {
		return ringKey{}, errors.New("want 32 bytes in base64, which are 44 characters")
	}
	if n, err := base64.StdEncoding.Strict().Decode(raw[:], line); err != nil || n != keySize {
		return ringKey{}, errors.New("want 32 bytes in standard base64 with padding")
	}
	return newRingKey([keySize]byte(raw[:keySize])), nil
}

// sealVersion is the format of a seal and of everything that this package
// seals. It is raised when either changes.
const sealVersion = 1

// Sizes in bytes. The header is the version, the name of the key and the salt.
const (
	saltSize   = 8
	nameEnd    = 1 + len(ringKey{}.name)
	headerSize = nameEnd + saltSize
)

// Seal implements [Sealer].
func (k *Keyring) Seal(b Binding, plain []byte) []byte {
	if len(k.keys) == 0 {
		panic("session: a Keyring without a key cannot seal")
	}
	key := k.keys[0]
	header := make([]byte, headerSize)
	header[0] = sealVersion
	copy(header[1:], key.name[:])
	rand.Read(header[nameEnd:]) // never fails since Go 1.24
	return key.aead(b, header[nameEnd:]).Seal(header, nil, plain, b.additional(header))
}

// Open implements [Sealer].
func (k *Keyring) Open(b Binding, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, ErrForged
	}
	if sealed[0] != sealVersion {
		return nil, ErrUnknownKey
	}
	if len(sealed) < headerSize {
		return nil, ErrForged
	}
	header, body := sealed[:headerSize:headerSize], sealed[headerSize:]
	i := slices.IndexFunc(k.keys, func(key ringKey) bool { return bytes.Equal(key.name[:], header[1:nameEnd]) })
	if i < 0 {
		return nil, ErrUnknownKey
	}
	plain, err := k.keys[i].aead(b, header[nameEnd:]).Open(nil, nil, body, b.additional(header))
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// Current implements [Sealer]: the first key sealed it, in this format.
func (k *Keyring) Current(sealed []byte) bool {
	return len(sealed) >= headerSize && len(k.keys) > 0 && sealed[0] == sealVersion &&
		bytes.Equal(sealed[1:nameEnd], k.keys[0].name[:])
}

// Index implements [Sealer]. It is the HMAC-SHA256 of the parts, each after its
// length in 8 bytes, big-endian, under a key that HKDF-SHA256 derives from the
// ring's with the salt "countersign index".
func (k *Keyring) Index(parts ...string) []Index {
	message := appendParts(nil, parts)
	indexes := make([]Index, len(k.keys))
	for i, key := range k.keys {
		derived, err := hkdf.Key(sha256.New, key.value[:], []byte("countersign index"), "", keySize)
		if err != nil {
			panic(err) // SHA-256 and 32 bytes are always allowed
		}
		mac := hmac.New(sha256.New, derived)
		mac.Write(message)
		mac.Sum(indexes[i][:0])
	}
	return indexes
}

// aead returns the cipher for one purpose, secret and salt. The ring's key has a fixed
// length, so that no other pair of key and secret joins to the same input.
func (k ringKey) aead(b Binding, salt []byte) cipher.AEAD {
	secret := slices.Concat(k.value[:], b.Secret)
	derived, err := hkdf.Key(sha256.New, secret, append([]byte("countersign seal"), salt...), b.Purpose, keySize)
	if err != nil {
		panic(err) // SHA-256 and 32 bytes are always allowed
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // 32 bytes are an AES-256 key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return aead
}

// additional returns what is authenticated beside the content. Each part has its
// length in front, so that parts that join to the same string still differ.
func (b Binding) additional(header []byte) []byte {
	return appendParts(slices.Clone(header), append([]string{b.Purpose}, b.Parts...))
}

func appendParts(data []byte, parts []string) []byte {
	for _, part := range parts {
		data = binary.BigEndian.AppendUint64(data, uint64(len(part)))
		data = append(data, part...)
	}
	return data
}

// String implements fmt.Stringer.
func (Keyring) String() string { return "[secret]" }

// GoString implements fmt.GoStringer, for %#v.
func (Keyring) GoString() string { return "[secret]" }

// LogValue implements slog.LogValuer.
func (Keyring) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText implements encoding.TextMarshaler.
func (Keyring) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
