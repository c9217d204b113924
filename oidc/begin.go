package oidc

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Begin returns a new attempt, which the caller keeps for [Provider.Finish], and
// the address of the provider to which the browser goes: an authorization
// request with response_type=code, state, nonce and PKCE S256 (OpenID Connect
// Core 1.0 §3.1.2.1, RFC 7636 §4.3). redirectURI is one that is registered, the
// same at Finish. returnTo only travels in the attempt. With force the provider
// lets the person choose another account or sign in again, whatever session it
// has.
//
// It returns ErrUnavailable when the provider has not been discovered yet, or is
// known to be away.
func (p *Provider) Begin(now time.Time, redirectURI, returnTo string, force bool) (Attempt, string, error) {
	if err := p.Ready(); err != nil {
		return Attempt{}, "", err
	}
	m := p.metadata.Load() // which is there once it was, and is only replaced
	a := Attempt{
		Provider: p.config.Name,
		State:    NewSecret(),
		Nonce:    NewSecret(),
		Verifier: NewSecret(),
		ReturnTo: returnTo,
		Started:  now,
	}
	options := []oauth2.AuthCodeOption{
		oauth2.S256ChallengeOption(a.Verifier.Reveal()),
		oauth2.SetAuthURLParam("nonce", a.Nonce.Reveal()),
	}
	if len(p.config.ACRValues) > 0 {
		options = append(options, oauth2.SetAuthURLParam("acr_values", strings.Join(p.config.ACRValues, " ")))
	}
	if force {
		options = append(options, oauth2.SetAuthURLParam("prompt", m.otherAccount()))
	}
	client := oauth2.Config{
		ClientID:    p.config.ClientID,
		Endpoint:    m.endpoint,
		RedirectURL: redirectURI,
		Scopes:      p.config.Scopes,
	}
	return a, client.AuthCodeURL(a.State.Reveal(), options...), nil
}

// otherAccount is the prompt that lets somebody change accounts. login is for
// the providers that announce it without select_account; those that announce
// nothing know select_account in practice.
func (m *metadata) otherAccount() string {
	if slices.Contains(m.Prompts, "login") && !slices.Contains(m.Prompts, "select_account") {
		return "login"
	}
	return "select_account"
}
