package oidc

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Introspect asks the provider whether g's refresh token, or its access token
// where it has none, is still good (RFC 7662 §2). It returns g unchanged if so.
//
// A token that is not active is ErrEnded, and another subject is ErrSubject.
// Every other error is ErrInvalid or ErrUnavailable and no answer, as it is when
// the provider has no such endpoint or does not take this client there.
func (p *Provider) Introspect(ctx context.Context, g Grant) (Grant, error) {
	return p.revisit(ctx, g, func(m *metadata) (Grant, error) {
		said, err := p.introspect(ctx, m, g)
		if err != nil {
			return Grant{}, err
		}
		switch sub := said["sub"]; {
		case said["active"] == false:
			return Grant{}, fmt.Errorf("%w: the token is not active", ErrEnded)
		case said["active"] != true:
			return Grant{}, ErrActive
		case sub != nil && sub != g.Subject: // optional in RFC 7662 §2.2
			return Grant{}, fmt.Errorf("%w: introspection is about somebody else", ErrSubject)
		}
		return g, nil
	})
}

func (p *Provider) introspect(ctx context.Context, m *metadata, g Grant) (claims, error) {
	const who = "introspection"
	token, hint := g.Refresh, "refresh_token"
	if token == "" {
		token, hint = g.Access, "access_token"
	}
	switch {
	case m.Introspection == "":
		return nil, unavailable(who, errNoEndpoint)
	case token == "":
		return nil, unavailable(who, errNothingToSend)
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}}
	req, err := p.clientRequest(ctx, m.Introspection, m.endpoint.AuthStyle, form)
	if err != nil {
		return nil, unavailable(who, err)
	}
	r, err := p.do(req, who)
	if err != nil {
		return nil, err
	}
	var said claims
	if err := decode(r.body, &said); err != nil {
		return nil, unavailable(who, fmt.Errorf("status %d: %w", r.status, err))
	}
	if code := said.text("error"); code != "" {
		secrets := p.sentWith(req, form)
		return nil, unavailable(who, newRefusal(secrets.cutCode(code), secrets.cut(said.text("error_description"))))
	}
	if r.status != http.StatusOK {
		return nil, unavailable(who, fmt.Errorf("status %d without an error", r.status))
	}
	return said, nil
}
