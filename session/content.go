package session

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/countersign/countersign/oidc"
)

// What is sealed is CBOR (RFC 8949): a session that is not remembered is decoded
// at its check, and JSON takes four times as long. Fields go by numbers, which
// must never be given to another field; one that is not there is its zero value.

// hotContent is what the hot part of a record holds. What is in it is decoded
// after it and not within: a check's stack must suffice for that.
type hotContent struct {
	App      string          `cbor:"1,keyasint"`
	Identity cbor.RawMessage `cbor:"2,keyasint"`          // an identityContent
	AuthTime moment          `cbor:"3,keyasint,omitzero"` // of Identity
	Created  moment          `cbor:"4,keyasint"`
	Ends     moment          `cbor:"5,keyasint"`
	Idle     time.Duration   `cbor:"6,keyasint"` // in nanoseconds
	Checked  moment          `cbor:"7,keyasint,omitzero"`
	Due      moment          `cbor:"8,keyasint,omitzero"`
	Claims   cbor.RawMessage `cbor:"9,keyasint,omitzero"` // of Identity, a map
}

// displayContent is what an administrator sees of a session, beside the times
// that the store knows.
type displayContent struct {
	App     string `cbor:"1,keyasint"`
	Browser string `cbor:"2,keyasint,omitzero"`
	Created moment `cbor:"3,keyasint"`
}

// identityContent is an [oidc.Identity]. It uses omitzero, which keeps an empty
// list apart from none.
type identityContent struct {
	Provider  string         `cbor:"1,keyasint,omitzero"`
	Issuer    string         `cbor:"2,keyasint,omitzero"`
	Subject   string         `cbor:"3,keyasint,omitzero"`
	Email     string         `cbor:"4,keyasint,omitzero"`
	Name      string         `cbor:"5,keyasint,omitzero"`
	Username  string         `cbor:"6,keyasint,omitzero"`
	Groups    []string       `cbor:"7,keyasint,omitzero"`
	ACR       string         `cbor:"8,keyasint,omitzero"`
	AMR       []string       `cbor:"9,keyasint,omitzero"`
	AuthTime  time.Time      `cbor:"-"` // see hotContent
	SessionID string         `cbor:"10,keyasint,omitzero"`
	Claims    map[string]any `cbor:"-"` // see hotContent
}

// tokensContent is what the other part holds. The strings are plain here,
// because an [oidc.Secret] never encodes its value.
type tokensContent struct {
	IDToken string `cbor:"1,keyasint,omitzero"`
	Access  string `cbor:"2,keyasint,omitzero"`
	Refresh string `cbor:"3,keyasint,omitzero"`
	Expires moment `cbor:"4,keyasint,omitzero"`
}

// moment is a time in Unix milliseconds; zero is no time.
type moment int64

func momentOf(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	return moment(t.UnixMilli())
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

func encodeHot(s Session) ([]byte, error) {
	c := hotContent{
		App: s.App, AuthTime: momentOf(s.Identity.AuthTime),
		Created: momentOf(s.Created), Ends: momentOf(s.Ends), Idle: s.Idle,
		Checked: momentOf(s.Checked), Due: momentOf(s.Due),
	}
	var err error
	if c.Identity, err = encode(identityContent(s.Identity)); err != nil {
		return nil, err
	}
	if s.Identity.Claims != nil {
		if c.Claims, err = encode(s.Identity.Claims); err != nil {
			return nil, err
		}
	}
	return encode(c)
}

func decodeHot(plain []byte) (*Session, error) {
	var c hotContent
	if err := decode(plain, &c); err != nil {
		return nil, err
	}
	var who identityContent
	if err := decode(c.Identity, &who); err != nil {
		return nil, err
	}
	if c.Claims != nil {
		if err := decode(c.Claims, &who.Claims); err != nil {
			return nil, err
		}
	}
	s := &Session{
		App: c.App, Identity: oidc.Identity(who),
		Created: c.Created.time(), Ends: c.Ends.time(), Idle: c.Idle, Checked: c.Checked.time(), Due: c.Due.time(),
	}
	s.Identity.AuthTime = c.AuthTime.time()
	return s, nil
}

func encodeTokens(g oidc.Grant) ([]byte, error) {
	return encode(tokensContent{
		IDToken: g.IDToken.Reveal(), Access: g.Access.Reveal(), Refresh: g.Refresh.Reveal(),
		Expires: momentOf(g.Expires),
	})
}

func decodeTokens(plain []byte) (oidc.Grant, error) {
	var c tokensContent
	if err := decode(plain, &c); err != nil {
		return oidc.Grant{}, err
	}
	return oidc.Grant{
		IDToken: oidc.Secret(c.IDToken), Access: oidc.Secret(c.Access), Refresh: oidc.Secret(c.Refresh),
		Expires: c.Expires.time(),
	}, nil
}

// numberTag marks the number of a claim, which stays a json.Number, so that an
// integer is still one when it is signed into a token. The tag is of those that
// anybody may take (RFC 8949 §9.2).
const numberTag = 0x6373 // "cs"

// Bounds on claims beyond any that a provider can send in its 1 MiB, but for the
// nesting: those that are nested more deeply make no session.
const (
	maxNested   = 256
	maxElements = 1 << 20
)

var encoding, decoding = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	tags := cbor.NewTagSet()
	required := cbor.TagOptions{EncTag: cbor.EncTagRequired, DecTag: cbor.DecTagRequired}
	if err := tags.Add(required, reflect.TypeFor[json.Number](), numberTag); err != nil {
		panic(err) // the tag is no reserved one
	}
	enc, err := cbor.EncOptions{}.EncModeWithTags(tags)
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{
		DefaultMapType: reflect.TypeFor[map[string]any](),
		UTF8:           cbor.UTF8DecodeInvalid, // what was sealed is what comes out
		// A provider's answer has a bound in bytes, and what it holds must open again.
		MaxNestedLevels: maxNested, MaxArrayElements: maxElements, MaxMapPairs: maxElements,
	}.DecModeWithTags(tags)
	if err != nil {
		panic(err)
	}
	return enc, dec
}

// encode writes what decode will read again, or fails.
func encode(content any) ([]byte, error) {
	plain, err := encoding.Marshal(content)
	if err != nil {
		return nil, err
	}
	return plain, decoding.Wellformed(plain)
}

// decode reads what we sealed ourselves. Its error does not name the value, which
// is somebody's.
func decode(plain []byte, into any) error {
	if decoding.Unmarshal(plain, into) != nil { // also when there is a rest
		return fmt.Errorf("session: sealed content of an unknown shape (%T)", into)
	}
	return nil
}
