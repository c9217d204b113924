package authz

import "net/http"

// Reason says why an answer is what it is. Logs, metrics, pages, problem
// documents and tests speak this vocabulary, and no other. It is closed: a
// Reason that is not in the table counts as [Internal].
type Reason string

// The reasons. None is ever renamed.
const (
	Public      Reason = "public"      // no login is asked for here
	SignedIn    Reason = "signed_in"   // a session that the rule allows
	Passthrough Reason = "passthrough" // the upstream judges this bearer itself

	LoginRequired Reason = "login_required" // nobody is signed in
	LoginStarted  Reason = "login_started"  // off to the provider
	LoginFinished Reason = "login_finished" // back from it, with a session
	LoginRefused  Reason = "login_refused"  // the provider said no
	LoginInvalid  Reason = "login_invalid"  // the provider's answer failed a check
	LoginExpired  Reason = "login_expired"  // the attempt is unknown here, or too old
	SignedOut     Reason = "signed_out"     // the session was ended, or is asked about
	Information   Reason = "information"    // an answer about the session or the keys

	Forbidden     Reason = "forbidden"      // signed in, but not allowed
	NoRule        Reason = "no_rule"        // no rule covers the request
	UnknownHost   Reason = "unknown_host"   // no app has this host
	NotFound      Reason = "not_found"      // nothing there below the login prefix
	WrongMethod   Reason = "wrong_method"   // an endpoint, but not with this method
	ForeignOrigin Reason = "foreign_origin" // another site asks
	TooEarly      Reason = "too_early"      // TLS early data where a replay would count
	Malformed     Reason = "malformed"      // the request cannot be read
	Ambiguous     Reason = "ambiguous_path" // the path reads as two different rules
	TooLarge      Reason = "too_large"      // a header or the path exceeds its bound

	StoreUnavailable    Reason = "store_unavailable"    // no answer from the session store
	ProviderUnavailable Reason = "provider_unavailable" // no answer from the provider
	Internal            Reason = "internal"             // our own fault
)

// answer is what a reason fixes about the answer that carries it.
type answer struct {
	outcome    Outcome
	status     int
	retryAfter int // seconds, 0 for none
}

// answers is the table. The status of login_required is that for a program; a
// browser that can follow it is answered with login_started instead.
var answers = map[Reason]answer{
	Public:      {Allow, http.StatusOK, 0},
	SignedIn:    {Allow, http.StatusOK, 0},
	Passthrough: {Allow, http.StatusOK, 0},

	LoginRequired: {Deny, http.StatusUnauthorized, 0},
	LoginStarted:  {Redirect, http.StatusFound, 0},
	LoginFinished: {Redirect, http.StatusSeeOther, 0},
	LoginRefused:  {Deny, http.StatusForbidden, 0},
	LoginInvalid:  {Deny, http.StatusBadRequest, 0},
	LoginExpired:  {Deny, http.StatusBadRequest, 0},
	SignedOut:     {Respond, http.StatusOK, 0},
	Information:   {Respond, http.StatusOK, 0},

	Forbidden:     {Deny, http.StatusForbidden, 0},
	NoRule:        {Deny, http.StatusForbidden, 0},
	UnknownHost:   {Deny, http.StatusMisdirectedRequest, 0},
	NotFound:      {Deny, http.StatusNotFound, 0},
	WrongMethod:   {Deny, http.StatusMethodNotAllowed, 0},
	ForeignOrigin: {Deny, http.StatusForbidden, 0},
	TooEarly:      {Deny, http.StatusTooEarly, 0},
	Malformed:     {Deny, http.StatusBadRequest, 0},
	Ambiguous:     {Deny, http.StatusBadRequest, 0},
	TooLarge:      {Deny, http.StatusRequestHeaderFieldsTooLarge, 0},

	StoreUnavailable:    {Fail, http.StatusServiceUnavailable, 5},
	ProviderUnavailable: {Fail, http.StatusServiceUnavailable, 30},
	Internal:            {Fail, http.StatusInternalServerError, 0},
}

// Reasons lists every reason there is, in no order.
func Reasons() []Reason {
	all := make([]Reason, 0, len(answers))
	for r := range answers {
		all = append(all, r)
	}
	return all
}

// answer returns what r fixes; that of a reason outside the table is Internal's.
func (r Reason) answer() answer {
	if a, ok := answers[r]; ok {
		return a
	}
	return answers[Internal]
}

// Detail is the sentence that a problem document gives for a reason.
func (r Reason) Detail() string {
	if s, ok := details[r]; ok {
		return s
	}
	return details[Internal]
}

var details = map[Reason]string{
	LoginRequired:       "This address asks for a login, and the request brought none that is valid.",
	LoginRefused:        "The identity provider refused the login.",
	LoginInvalid:        "The identity provider's answer failed a check; begin the login again.",
	LoginExpired:        "This login is not known here any more; begin it again.",
	Forbidden:           "The account that is signed in may not do this.",
	NoRule:              "No rule covers this address, so nobody may use it.",
	UnknownHost:         "No application is configured under this host.",
	NotFound:            "There is nothing at this address.",
	WrongMethod:         "This address does not answer this method.",
	ForeignOrigin:       "The request comes from another site.",
	TooEarly:            "The request came as TLS early data; send it again after the handshake.",
	Malformed:           "The request could not be read.",
	Ambiguous:           "The path can be read in two ways that different rules cover.",
	TooLarge:            "The headers of the request are too large.",
	StoreUnavailable:    "The session store gives no answer; sessions are not lost. Try again soon.",
	ProviderUnavailable: "The identity provider gives no answer. Try again soon.",
	Internal:            "Something is broken here. The log knows the decision by its id.",
}
