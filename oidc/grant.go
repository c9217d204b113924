package oidc

import "time"

// Grant is what a provider gave at the end of a login: who it is, and the
// tokens. The zero Grant is nobody's.
type Grant struct {
	Identity
	IDToken Secret
	Access  Secret
	Refresh Secret    // empty when the provider gave none
	Expires time.Time // end of Access; zero when the provider did not say
}

// Attempt is one login under way. It waits, sealed, in a cookie of the browser
// that began it, and nowhere else. The zero Attempt is expired.
type Attempt struct {
	Provider string // the provider's configured name
	State    Secret // RFC 6749 §10.12
	Nonce    Secret // OpenID Connect Core 1.0 §15.5.2
	Verifier Secret // RFC 7636 §4.1
	ReturnTo string // path and query of the page that the person wanted
	Started  time.Time
}

// AttemptLife is how long an attempt may take.
const AttemptLife = 10 * time.Minute

// Expired reports whether the attempt is over at now. Exactly at its end it is.
func (a Attempt) Expired(now time.Time) bool {
	return !now.Before(a.Started.Add(AttemptLife))
}
