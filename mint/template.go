package mint

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// DefaultLifetime is how long a token is good for when its template does not say.
const DefaultLifetime = 5 * time.Minute

// MaxLifetime is the longest life that a template may ask for: a token cannot
// be called back, so its life is how long a revoked session is still believed.
const MaxLifetime = time.Hour

// Template is what one audience gets. It is found in the cache by its address
// and must not be changed once it has been minted from. The zero Template is
// not valid.
type Template struct {
	Issuer   string                // iss, as verifiers compare it
	Audience string                // aud
	Lifetime time.Duration         // a second to MaxLifetime; zero means DefaultLifetime
	Claims   map[string]Expression // further claims by name; one that finds nothing is left out
}

// reserved are the claims that only Countersign states (RFC 7519 §4.1,
// OpenID Connect Core 1.0 §2), in the order in which [Metadata] lists them.
var reserved = []string{
	"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "auth_time", "acr", "amr", "idp",
}

// Validate reports everything that is wrong with t, joined, in a stable order.
func (t *Template) Validate() error {
	var errs []error
	if t.Issuer == "" {
		errs = append(errs, errors.New("issuer: must not be empty"))
	}
	if t.Audience == "" {
		errs = append(errs, errors.New("audience: must not be empty"))
	}
	if life := t.lifetime(); life < time.Second || life > MaxLifetime {
		errs = append(errs, fmt.Errorf("lifetime: %v is not between %v and %v", life, time.Second, MaxLifetime))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		switch {
		case name == "":
			errs = append(errs, errors.New("claims: a name must not be empty"))
		case slices.Contains(reserved, name):
			errs = append(errs, fmt.Errorf("claims.%s: is stated by Countersign itself and cannot be configured", name))
		}
	}
	return errors.Join(errs...)
}

func (t *Template) lifetime() time.Duration {
	if t.Lifetime == 0 {
		return DefaultLifetime
	}
	return t.Lifetime
}
