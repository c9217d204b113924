package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
)

// Refresh trades g's refresh token, once and without a retry, for a new grant
// (RFC 6749 §6). The new grant keeps g's refresh token and g's ID token where the
// answer has no new one.
//
// A new ID token is verified as at login (OpenID Connect Core 1.0 §12.2): iss and
// sub must be g's, auth_time, where both have it, g's or later, and acr, if it is
// there, one that was asked for. Without a sub it is ErrMalformed. The nonce is not looked at, since the attempt that knew it
// is over. The Identity is then read anew from the token, and from userinfo for
// the claims that are wanted and missing; only auth_time, acr, amr and sid, which
// tell of the sign-in, stay as they were where the token lacks them. Without a
// new ID token userinfo is asked, and its answer taken as [Provider.Userinfo]
// takes it; the Identity stays where the provider has no such endpoint.
//
// invalid_grant is ErrEnded, and another subject or issuer is ErrSubject. Every
// other error is ErrInvalid or ErrUnavailable and no answer.
//
// If the Grant beside an error has a refresh token, it has replaced g's and must
// be kept: the provider answered with tokens, of which g's may be no good any
// more, and a later step failed. That Grant holds the new tokens (but the ID
// token only if it was verified, and g's refresh token if there is no new one)
// and g's Identity, which nothing has confirmed. With any other error the Grant
// is zero.
//
// All work happens on ctx; a caller that may go away detaches it first, since a
// refresh token that was sent may be spent.
func (p *Provider) Refresh(ctx context.Context, g Grant) (Grant, error) {
	return p.revisit(ctx, g, func(m *metadata) (Grant, error) { return p.refresh(ctx, m, g) })
}

func (p *Provider) refresh(ctx context.Context, m *metadata, g Grant) (Grant, error) {
	if g.Refresh == "" {
		return Grant{}, unavailable("token endpoint", errNothingToSend)
	}
	t, err := p.ask(ctx, m, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh.Reveal()}})
	switch {
	case err != nil:
		return Grant{}, err
	case t.Error != "":
		return Grant{}, declined(t.Error, t.Description)
	case t.Refresh == "" && t.usable() != nil:
		return Grant{}, t.usable()
	}
	g.Refresh = cmp.Or(t.Refresh, g.Refresh)
	if err := t.usable(); err != nil {
		return g, err
	}
	now := p.config.Now()
	g.Access, g.Expires = t.Access, expiry(now, t.ExpiresIn)
	if t.ID == "" {
		return p.restate(ctx, m, g)
	}
	c, err := p.verify(ctx, now, t, p.ofPerson(g.Identity))
	if errors.Is(err, ErrIssuer) {
		err = fmt.Errorf("%w: %w", ErrSubject, err)
	}
	if err != nil {
		return g, err
	}
	g.IDToken = t.ID
	more, err := p.userinfo(ctx, m, t.Access, c)
	if err != nil {
		return g, err
	}
	g.Identity = p.identify(c, more).signedInAs(g.Identity, c)
	return g, nil
}

// ofPerson checks what a refreshed token says of the sign-in that is known
// (OpenID Connect Core 1.0 §12.2). iss has been compared already.
func (p *Provider) ofPerson(known Identity) func(claims) error {
	return func(c claims) error {
		if !c.namesSubject() { // not about somebody else, which would end the session
			return fmt.Errorf("%w: sub names nobody", ErrMalformed)
		}
		if c["sub"] != known.Subject {
			return fmt.Errorf("%w: the ID token is about somebody else", ErrSubject)
		}
		if c["auth_time"] != nil && !known.AuthTime.IsZero() {
			// A later one is of somebody who signed in again elsewhere, in the same
			// session of the provider. §12.2 wants the first one; Keycloak sends the last.
			if t, ok := c.time("auth_time"); !ok || t.Unix() < known.AuthTime.Unix() {
				return ErrAuthTime
			}
		}
		if c["acr"] == nil {
			return nil
		}
		return p.checkACR(c)
	}
}

// restate is the end of a refresh without an ID token.
func (p *Provider) restate(ctx context.Context, m *metadata, g Grant) (Grant, error) {
	if m.Userinfo == "" {
		return g, nil
	}
	said, err := p.askUserinfo(ctx, m, g.Access, g.Subject)
	if err != nil {
		return g, err
	}
	g.Identity = p.restated(g, said)
	return g, nil
}
