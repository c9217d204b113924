package oidctest

import (
	"fmt"
	"net/url"
	"time"
)

// Lies is what a dishonest provider tells. The zero Lies is honest.
//
// A field of type any is the value of a claim or a parameter: nil is the honest
// one, [Missing] leaves it out, and everything else is sent as it is. Codes such
// as TK-A09 name the attack in the project's catalogue.
type Lies struct {
	// In the ID token (OpenID Connect Core 1.0 §3.1.3.7).
	Issuer          any            // iss, TK-A09, TK-A17
	Subject         any            // sub, TK-A14, TK-A18
	Audience        any            // aud: a string or a list, TK-A10, TK-A11
	AuthorizedParty any            // azp, TK-A11; the honest token has none
	Nonce           any            // nonce, MX-A05, TK-A12, TK-A13; it appears on refresh too
	IssuedAt        any            // iat, TK-A08
	IssuedAhead     time.Duration  // iat lies this far in the future, TK-A08
	Expired         time.Duration  // exp lies this far in the past, TK-A06
	NotBefore       time.Duration  // nbf lies this far in the future, TK-A07
	AtHash          any            // at_hash, TK-A15
	Claims          map[string]any // any others, over everything above
	Type            any            // typ of the header, TK-A16
	KeyID           any            // kid of the header, TK-A04
	Signature       Forgery        // TK-A01 to TK-A05, JK-A02

	// In the answers of the token and userinfo endpoints.
	TokenType       any  // token_type, MX-A07
	ExpiresIn       any  // expires_in, RF-A07
	NoIDToken       bool // no id_token
	UserinfoSubject any  // sub, TK-A14

	// In the answers to a refresh alone, and of the introspection endpoint.
	NoRotation           bool // no new refresh token, and the old one stays good, RF-A05
	RefreshNoIDToken     bool // no id_token
	RefreshSubject       any  // sub of the ID token, over Subject
	IntrospectionActive  any  // active
	IntrospectionSubject any  // sub

	// At the redirect URI.
	CallbackIssuer any     // iss, MX-A01, MX-A02
	CallbackState  any     // state
	AuthorizeError Refusal // instead of a sign-in

	// In the metadata and the keys.
	DiscoveryIssuer any            // issuer, JK-A08
	NoS256          bool           // only plain is supported, MX-A06
	Metadata        map[string]any // any others, over everything above, JK-A09
	NoKeys          bool           // the set of keys is empty, JK-A04

	// Endpoints that fail, DS-A05.
	Discovery     Fault // JK-A06, JK-A07
	Keys          Fault // JK-A03, JK-A05, JK-A06, JK-A07, JK-A11
	Token         Fault // MX-A08, RF-A02, RF-A03, RF-A04
	Userinfo      Fault
	Introspection Fault
}

// Missing is the value of what is left out.
const Missing = missing("missing")

type missing string

// twist puts a lie in place of values[name].
func twist(values map[string]any, name string, lie any) {
	switch lie {
	case nil:
	case Missing:
		delete(values, name)
	default:
		values[name] = lie
	}
}

// twistAll is twist for each of lies.
func twistAll(values, lies map[string]any) {
	for name, lie := range lies {
		twist(values, name, lie)
	}
}

func (l Lies) twistIDToken(claims map[string]any, now time.Time) {
	twist(claims, "iss", l.Issuer)
	twist(claims, "sub", l.Subject)
	twist(claims, "aud", l.Audience)
	twist(claims, "azp", l.AuthorizedParty)
	twist(claims, "nonce", l.Nonce)
	twist(claims, "iat", l.IssuedAt)
	twist(claims, "at_hash", l.AtHash)
	if l.IssuedAhead != 0 {
		claims["iat"] = now.Add(l.IssuedAhead).Unix()
	}
	if l.Expired != 0 {
		claims["exp"] = now.Add(-l.Expired).Unix()
	}
	if l.NotBefore != 0 {
		claims["nbf"] = now.Add(l.NotBefore).Unix()
	}
	twistAll(claims, l.Claims)
}

func (l Lies) twistHeader(header map[string]any) {
	twist(header, "typ", l.Type)
	twist(header, "kid", l.KeyID)
}

func (l Lies) twistTokens(answer map[string]any) {
	twist(answer, "token_type", l.TokenType)
	twist(answer, "expires_in", l.ExpiresIn)
	if l.NoIDToken {
		delete(answer, "id_token")
	}
}

// onRefresh are the lies that an answer to a refresh tells.
func (l Lies) onRefresh() Lies {
	l.NoIDToken = l.NoIDToken || l.RefreshNoIDToken
	if l.RefreshSubject != nil {
		l.Subject = l.RefreshSubject
	}
	return l
}

func (l Lies) twistIntrospection(answer map[string]any) {
	twist(answer, "active", l.IntrospectionActive)
	twist(answer, "sub", l.IntrospectionSubject)
}

func (l Lies) twistUserinfo(claims map[string]any) {
	twist(claims, "sub", l.UserinfoSubject)
}

func (l Lies) twistCallback(answer url.Values) {
	for name, lie := range map[string]any{"iss": l.CallbackIssuer, "state": l.CallbackState} {
		switch lie {
		case nil:
		case Missing:
			answer.Del(name)
		default:
			answer.Set(name, fmt.Sprint(lie))
		}
	}
}

func (l Lies) twistMetadata(metadata map[string]any) {
	twist(metadata, "issuer", l.DiscoveryIssuer)
	if l.NoS256 {
		metadata["code_challenge_methods_supported"] = []string{"plain"}
	}
	twistAll(metadata, l.Metadata)
}

func (l Lies) fault(event Event) Fault {
	switch event {
	case Discovery:
		return l.Discovery
	case Keys:
		return l.Keys
	case TokenAsked:
		return l.Token
	case Userinfo:
		return l.Userinfo
	case Introspection:
		return l.Introspection
	}
	return Fault{}
}
