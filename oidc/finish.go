package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// Finish ends the attempt a with what the provider sent the browser back with,
// query, and returns who it is. It checks the answer, exchanges the code, once
// and without a retry, verifies the ID token (OpenID Connect Core 1.0 §3.1.3.7)
// and asks userinfo for the claims that are wanted and missing (§5.3). A login
// without an answer from userinfo does not succeed: it would be remembered for
// hours without the groups that decide.
//
// Its errors are ErrRefused, ErrInvalid and ErrUnavailable. All work happens on
// ctx; a caller that may go away detaches it first, since a code that was sent
// is spent.
func (p *Provider) Finish(ctx context.Context, a Attempt, redirectURI string, query url.Values) (Grant, error) {
	grant, err := p.finish(ctx, a, redirectURI, query)
	if err != nil {
		p.logRefusal(ctx, err)
		return Grant{}, err
	}
	return grant, nil
}

// logRefusal tells the operator what a provider says, if that is in err.
func (p *Provider) logRefusal(ctx context.Context, err error) {
	if r, ok := errors.AsType[*Refusal](err); ok {
		p.config.Log.LogAttrs(ctx, slog.LevelWarn, "provider refused", slog.String("provider", p.config.Name),
			slog.String("error", r.Code), slog.String("description", r.Description), slog.String("hint", r.Hint()))
	}
}

func (p *Provider) finish(ctx context.Context, a Attempt, redirectURI string, query url.Values) (Grant, error) {
	m := p.metadata.Load()
	if m == nil {
		return Grant{}, p.Ready()
	}
	if a.Provider != p.config.Name || a.Expired(p.config.Now()) {
		return Grant{}, ErrAttempt
	}
	code, err := p.readRedirect(m, a, query)
	if err != nil {
		return Grant{}, err
	}
	select {
	case p.exchange <- struct{}{}:
		defer func() { <-p.exchange }()
	default:
		return Grant{}, unavailable("token endpoint", fmt.Errorf("%d logins wait for it already", maxExchanges))
	}
	tokens, err := p.trade(ctx, m, code, redirectURI, a.Verifier)
	if err != nil {
		return Grant{}, err
	}
	now := p.config.Now()
	claims, err := p.verify(ctx, now, tokens, p.ofAttempt(a.Nonce))
	if err != nil {
		return Grant{}, err
	}
	more, err := p.userinfo(ctx, m, tokens.Access, claims)
	if err != nil {
		return Grant{}, err
	}
	return Grant{
		Identity: p.identify(claims, more),
		IDToken:  tokens.ID,
		Access:   tokens.Access,
		Refresh:  tokens.Refresh,
		Expires:  expiry(now, tokens.ExpiresIn),
	}, nil
}

// readRedirect returns the code out of the provider's redirect. iss comes before
// everything else (RFC 9207 §2.4), and an error is believed only from whom state
// and iss name.
func (p *Provider) readRedirect(m *metadata, a Attempt, query url.Values) (code string, err error) {
	for _, name := range []string{"iss", "state", "code", "error", "error_description"} {
		if len(query[name]) > 1 {
			return "", fmt.Errorf("%w: %s comes more than once", ErrParameters, name)
		}
	}
	if query.Has("iss") || m.SendsIssuer {
		if query.Get("iss") != p.config.Issuer {
			return "", fmt.Errorf("%w: the redirect has iss %q", ErrIssuer, clip(query.Get("iss")))
		}
	}
	if a.State == "" || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(a.State.Reveal())) != 1 {
		return "", ErrState
	}
	if query.Has("error") {
		secrets := sent{a.State.Reveal(), a.Nonce.Reveal(), query.Get("code")}
		return "", refusal(secrets.cutCode(query.Get("error")), secrets.cut(query.Get("error_description")))
	}
	// RFC 9700 §2.1.2: a token in a redirect is nothing that we asked for.
	for _, name := range []string{"id_token", "access_token"} {
		if query.Has(name) {
			return "", fmt.Errorf("%w: %s in the redirect", ErrParameters, name)
		}
	}
	if code = query.Get("code"); code == "" {
		return "", fmt.Errorf("%w: neither code nor error", ErrParameters)
	}
	return code, nil
}

// maxAccessLife bounds what a provider says about the life of an access token,
// so that no arithmetic with it overflows.
const maxAccessLife = 365 * 24 * time.Hour

// expiry is when an access token ends. What is no positive number of seconds is
// as if the provider had not said.
func expiry(now time.Time, expiresIn any) time.Time {
	seconds, ok := number(expiresIn)
	if !ok || seconds < 1 {
		return time.Time{}
	}
	return now.Add(time.Duration(min(seconds, maxAccessLife.Seconds())) * time.Second)
}
