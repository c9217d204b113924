package oidc

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// tokens is what a token endpoint answers (RFC 6749 §5.1, OpenID Connect Core
// 1.0 §3.1.3.3).
type tokens struct {
	Access    Secret `json:"access_token"`
	ID        Secret `json:"id_token"`
	Refresh   Secret `json:"refresh_token"`
	Type      string `json:"token_type"`
	ExpiresIn any    `json:"expires_in"` // of any type: providers send strings, and worse

	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// trade sends the code once and returns the tokens for it (OpenID Connect Core
// 1.0 §3.1.3.1, RFC 7636 §4.5).
func (p *Provider) trade(ctx context.Context, m *metadata, code, redirectURI string, verifier Secret) (tokens, error) {
	t, err := p.ask(ctx, m, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {redirectURI},
		"code_verifier": {verifier.Reveal()},
	})
	switch {
	case err != nil:
		return tokens{}, err
	case t.Error != "":
		return tokens{}, refusal(t.Error, t.Description)
	case t.usable() != nil:
		return tokens{}, t.usable()
	case t.ID == "":
		return tokens{}, fmt.Errorf("%w: no id_token", ErrTokens)
	}
	return t, nil
}

// usable returns what is wrong with the access token, or nil.
func (t tokens) usable() error {
	switch {
	case !strings.EqualFold(t.Type, "Bearer"):
		return fmt.Errorf("%w: %q", ErrTokenType, clip(t.Type))
	case t.Access == "":
		return fmt.Errorf("%w: no access_token", ErrTokens)
	}
	return nil
}

// ask sends one request to the token endpoint, and returns its answer, be it
// tokens or an error that the provider states, without the secrets that it was
// sent. x/oauth2 does not do it because
// its errors do not tell a refusal from no answer, and because it fails on an
// expires_in that it cannot read.
func (p *Provider) ask(ctx context.Context, m *metadata, form url.Values) (tokens, error) {
	const who = "token endpoint"
	req, err := p.clientRequest(ctx, m.endpoint.TokenURL, m.endpoint.AuthStyle, form)
	if err != nil {
		return tokens{}, unavailable(who, err)
	}
	// net/http sends a POST again after some failures of HTTP/2. The second time a
	// code or a refresh token would revoke what the first one gave.
	req.GetBody = nil
	r, err := p.do(req, who)
	if err != nil {
		return tokens{}, err
	}
	var t tokens
	if err := decode(r.body, &t); err != nil {
		return tokens{}, unavailable(who, fmt.Errorf("status %d: %w", r.status, err))
	}
	secrets := p.sentWith(req, form)
	t.Error, t.Description, t.Type = secrets.cutCode(t.Error), secrets.cut(t.Description), secrets.cut(t.Type)
	// An error counts at any status: some providers refuse with a 200.
	if t.Error == "" && r.status != http.StatusOK {
		return tokens{}, unavailable(who, fmt.Errorf("status %d without an error", r.status))
	}
	return t, nil
}

// clientRequest posts a form and authenticates the client (RFC 6749 §2.3.1),
// whose id and secret are form-encoded before they go into the header.
func (p *Provider) clientRequest(ctx context.Context, address string, style oauth2.AuthStyle, form url.Values) (*http.Request, error) {
	id, secret := p.config.ClientID, p.config.ClientSecret.Reveal()
	if style == oauth2.AuthStyleInParams {
		form.Set("client_id", id)
		if p.config.AuthMethod != AuthNone {
			form.Set("client_secret", secret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if style == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return req, nil
}
