package oidc

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

// ofSignIn are the claims that tell of the sign-in, which a refresh is not.
var ofSignIn = []string{"auth_time", "acr", "amr", "sid"}

// restated is the identity of g after userinfo has said what it says now.
func (p *Provider) restated(g Grant, said claims) Identity {
	fresh := maps.Clone(said)
	fresh["iss"] = g.Issuer
	for _, name := range ofSignIn {
		delete(fresh, name)
	}
	older := g.lasting()
	if _, ok := fresh["email_verified"]; ok {
		delete(older, "email_verified") // what was said of the address before is over
	}
	return p.identify(fresh, older).signedInAs(g.Identity, fresh)
}

// signedInAs takes over what is known of the sign-in where the claims that i was
// read from lack it.
func (i Identity) signedInAs(known Identity, c claims) Identity {
	for _, name := range ofSignIn {
		if v, ok := known.Claims[name]; ok && c[name] == nil {
			i.Claims[name] = v
		}
	}
	if c["auth_time"] == nil {
		i.AuthTime = known.AuthTime
	}
	if c["acr"] == nil {
		i.ACR = known.ACR
	}
	if c["amr"] == nil {
		i.AMR = known.AMR
	}
	if c["sid"] == nil {
		i.SessionID = known.SessionID
	}
	return i
}

// lasting are the known claims that userinfo need not repeat: those of the ID
// token, or all of them when there is none to compare with. Somebody who was
// taken out of every group may lose the claim with them.
func (g Grant) lasting() claims {
	all := maps.Clone(g.Claims)
	stated, ok := g.stated()
	if ok {
		maps.DeleteFunc(all, func(name string, _ any) bool {
			_, there := stated[name]
			return !there && !slices.Contains(ofSignIn, name)
		})
	}
	return all
}

// stated are the claims of g's ID token, which was verified when it came.
func (g Grant) stated() (claims, bool) {
	parts := strings.Split(g.IDToken.Reveal(), ".")
	if len(parts) != 3 {
		return nil, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	var c claims
	return c, decode(payload, &c) == nil && c != nil
}
