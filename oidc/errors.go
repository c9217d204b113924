package oidc

import (
	"errors"
	"fmt"
	"unicode"
)

// The ways in which a provider fails somebody. A caller chooses by them.
//
// Every error of [Provider.Begin] and [Provider.Finish], a login, is one of
// ErrRefused, ErrInvalid and ErrUnavailable.
//
// Every error of [Provider.Refresh], [Provider.Userinfo] and
// [Provider.Introspect], about a login that exists, is one of ErrEnded,
// ErrInvalid and ErrUnavailable. Two of them say something about that login:
// ErrEnded, and [ErrSubject], which is ErrInvalid too. All others are no answer:
// what was known is neither confirmed nor taken back.
var (
	// ErrRefused: the provider said no to a login. The error also holds a
	// [*Refusal].
	ErrRefused = errors.New("oidc: refused by the provider")

	// ErrInvalid: an answer failed a check, and the error is also the sentinel of
	// that check, [ErrNonce] for one. Nobody is signed in; trying the same answer
	// again cannot end better.
	ErrInvalid = errors.New("oidc: invalid answer")

	// ErrUnavailable: no answer. The network failed, or time ran out, or the
	// answer was a 429, a 5xx or not JSON, or the provider itself says
	// server_error or temporarily_unavailable, or it is not discovered yet, or too
	// many calls wait for it already, or the time that it named in Retry-After
	// (RFC 9110 §10.2.3) has not come. About a login that exists it is also every
	// refusal but ErrEnded, such as invalid_client, and then holds a [*Refusal]:
	// a client that is set up wrongly signs nobody out.
	ErrUnavailable = errors.New("oidc: provider unavailable")

	// ErrEnded: the provider ended a login that exists. It answered invalid_grant
	// to the refresh token, 401 to the access token, or that the token is not
	// active. A provider that rotates refresh tokens also says so to whoever sends
	// one a second time.
	ErrEnded = errors.New("oidc: ended by the provider")
)

// One sentinel for each check. All of them are [ErrInvalid] too.
var (
	ErrAttempt    error = invalid("attempt expired or of another provider")
	ErrParameters error = invalid("redirect parameters")     // twice, missing, or a token among them (RFC 6749 §3.1)
	ErrState      error = invalid("state")                   // RFC 6749 §10.12
	ErrIssuer     error = invalid("issuer")                  // RFC 9207 §2.4; OpenID Connect Core 1.0 §3.1.3.7 (2)
	ErrCode       error = invalid("code")                    // invalid_grant: used, expired or somebody else's (RFC 6749 §5.2)
	ErrTokens     error = invalid("token response")          // without access token or ID token (OpenID Connect Core 1.0 §3.1.3.3)
	ErrTokenType  error = invalid("token_type")              // not Bearer (RFC 6749 §7.1)
	ErrMalformed  error = invalid("malformed ID token")      // not a compact JWS of JSON claims of the right types
	ErrAlgorithm  error = invalid("algorithm")               // not on the list (RFC 8725 §3.1)
	ErrType       error = invalid("token kind")              // typ of an access or logout token (RFC 8725 §3.12)
	ErrKey        error = invalid("unknown key")             // no key of the provider has this kid
	ErrSignature  error = invalid("signature")               // OpenID Connect Core 1.0 §3.1.3.7 (6)
	ErrAudience   error = invalid("audience")                // §3.1.3.7 (3)
	ErrParty      error = invalid("authorized party")        // azp, §3.1.3.7 (4) and (5)
	ErrExpired    error = invalid("expired")                 // exp, §3.1.3.7 (9)
	ErrIssuedAt   error = invalid("issued in the future")    // iat, or nbf (RFC 7519 §4.1.5)
	ErrNonce      error = invalid("nonce")                   // §3.1.3.7 (11)
	ErrSubject    error = invalid("subject")                 // §2; §5.3.2 for userinfo; §12.2 for refresh, for another issuer too
	ErrAccessHash error = invalid("access token hash")       // at_hash, §3.1.3.8
	ErrACR        error = invalid("authentication context")  // acr, §3.1.3.7 (12)
	ErrAuthTime   error = invalid("authentication time")     // auth_time of a refreshed token, earlier than before (§12.2)
	ErrUserinfo   error = invalid("userinfo not understood") // declined, about nobody, or signed or encrypted (§5.3.2)
	ErrActive     error = invalid("active")                  // neither true nor false (RFC 7662 §2.2)
)

// invalid is a check that failed.
type invalid string

func (e invalid) Error() string { return "oidc: invalid answer: " + string(e) }

// Is makes every check an ErrInvalid.
func (invalid) Is(target error) bool { return target == ErrInvalid }

// Refusal is how a provider says no (RFC 6749 §4.1.2.1 and §5.2). Both fields
// come from outside and are for the log, never for a page; they are cut to 256
// characters and hold no control characters.
type Refusal struct {
	Code        string // such as access_denied
	Description string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%q: %q", r.Code, r.Description) }

// Hint says what the operator can do about it, or nothing.
func (r *Refusal) Hint() string { return hints[r.Code] }

var hints = map[string]string{
	"access_denied":                     "the person or a policy of the provider declined; nothing to do here",
	"invalid_client":                    "check client_id, client_secret and the client's authentication method at the provider",
	"invalid_grant":                     "the code or refresh token was used before or has expired, or the code was given for another redirect URI",
	"invalid_request":                   "check that the redirect URI is registered at the provider, to the letter",
	"invalid_scope":                     "check scopes: the provider does not give one of them to this client",
	"redirect_uri_mismatch":             "register the redirect URI at the provider, to the letter",
	"server_error":                      "see the log of the provider",
	"temporarily_unavailable":           "the provider is overloaded or in maintenance",
	"unauthorized_client":               "allow the authorization code and refresh token grants for this client at the provider",
	"unmet_authentication_requirements": "the person cannot reach any of acr_values",
	"unsupported_grant_type":            "allow the authorization code and refresh token grants for this client at the provider",
	"unsupported_response_type":         "allow response_type=code for this client at the provider",
}

// refusal sorts an error that the provider states about a login. server_error and
// temporarily_unavailable stand for the statuses 500 and 503, which a redirect
// cannot carry (RFC 6749 §4.1.2.1).
func refusal(code, description string) error {
	class := ErrRefused
	switch code {
	case "server_error", "temporarily_unavailable":
		class = ErrUnavailable
	case "invalid_grant":
		class = ErrCode
	}
	return fmt.Errorf("%w: %w", class, newRefusal(code, description))
}

// declined sorts an error that a token endpoint states about a refresh. Only
// invalid_grant is about the login; all others are about the client or the
// provider itself (RFC 6749 §5.2).
func declined(code, description string) error {
	class := ErrUnavailable
	if code == "invalid_grant" {
		class = ErrEnded
	}
	return fmt.Errorf("%w: %w", class, newRefusal(code, description))
}

func newRefusal(code, description string) *Refusal {
	return &Refusal{Code: clip(code), Description: clip(description)}
}

// unavailable says who gave no answer, and why.
func unavailable(who string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, who, err)
}

// clip makes text from outside fit for a line of the log.
func clip(s string) string {
	const most = 256
	out := make([]rune, 0, min(len(s), most))
	for _, r := range s {
		if len(out) == most {
			break
		}
		if unicode.IsPrint(r) {
			out = append(out, r)
		}
	}
	return string(out)
}
