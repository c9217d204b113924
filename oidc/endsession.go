package oidc

import "net/url"

// EndSession returns the address that ends the provider's own session (OpenID
// Connect RP-Initiated Logout 1.0 §2). The provider sends the browser back to
// returnTo, which has to be registered there, with state. An empty idToken or
// returnTo is left out, and state with the latter. The second result is false
// when the provider has no such address, or has not been discovered yet.
//
// The address holds the ID token: it is for a redirect and not for a log.
func (p *Provider) EndSession(idToken Secret, returnTo, state string) (string, bool) {
	m := p.metadata.Load()
	if m == nil || m.EndSession == "" {
		return "", false
	}
	u, err := url.Parse(m.EndSession)
	if err != nil {
		return "", false
	}
	q := u.Query()
	q.Set("client_id", p.config.ClientID)
	if idToken != "" {
		q.Set("id_token_hint", idToken.Reveal())
	}
	if returnTo != "" {
		q.Set("post_logout_redirect_uri", returnTo)
		if state != "" {
			q.Set("state", state)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), true
}
