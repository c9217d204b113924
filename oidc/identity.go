package oidc

import (
	"strings"
	"time"
)

// Identity says who somebody is, as a provider stated it and Finish verified
// it. A person is the pair of Issuer and Subject (OpenID Connect Core 1.0 §5.7);
// nothing else identifies anybody. The zero Identity is nobody.
type Identity struct {
	Provider string // the provider's configured name
	Issuer   string // iss
	Subject  string // sub

	Email    string // empty unless the provider vouches for it
	Name     string
	Username string
	Groups   []string

	ACR      string
	AMR      []string
	AuthTime time.Time // zero when the provider did not say

	SessionID string         // the provider's own sid, empty when it has none
	Claims    map[string]any // every claim of the ID token and of userinfo
}

// Nobody reports whether i identifies no one.
func (i Identity) Nobody() bool { return i.Issuer == "" || i.Subject == "" }

// Account is the word by which a person recognises the account: the e-mail
// address, else the user name, else the subject.
func (i Identity) Account() string {
	for _, s := range []string{i.Email, i.Username, i.Subject} {
		if s != "" {
			return s
		}
	}
	return ""
}

// Attributes lists the first steps that [Identity.Lookup] knows.
var Attributes = []string{
	"issuer", "subject", "provider", "email", "name", "username", "groups", "acr", "amr", "auth_time", "claims",
}

// Lookup finds a value by its dotted path: one of [Attributes], or "claims."
// followed by the path of a claim. Types are kept as the provider sent them;
// groups and amr are []string and auth_time is in Unix seconds. The second
// result is false when there is nothing there.
func (i Identity) Lookup(path string) (any, bool) {
	first, rest, nested := strings.Cut(path, ".")
	if first == "claims" && nested {
		return claim(i.Claims, rest)
	}
	if nested {
		return nil, false
	}
	switch first {
	case "issuer":
		return i.Issuer, i.Issuer != ""
	case "subject":
		return i.Subject, i.Subject != ""
	case "provider":
		return i.Provider, i.Provider != ""
	case "email":
		return i.Email, i.Email != ""
	case "name":
		return i.Name, i.Name != ""
	case "username":
		return i.Username, i.Username != ""
	case "groups":
		return i.Groups, i.Groups != nil
	case "acr":
		return i.ACR, i.ACR != ""
	case "amr":
		return i.AMR, i.AMR != nil
	case "auth_time":
		return i.AuthTime.Unix(), !i.AuthTime.IsZero()
	case "claims":
		return i.Claims, i.Claims != nil
	}
	return nil, false
}

// claim walks a dotted path through nested claims. A claim whose own name holds
// dots is found before its first part is taken as an object.
func claim(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, v != nil
	}
	first, rest, nested := strings.Cut(path, ".")
	if !nested {
		return nil, false
	}
	object, ok := claims[first].(map[string]any)
	if !ok {
		return nil, false
	}
	return claim(object, rest)
}
