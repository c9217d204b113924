package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	leeway     = time.Minute // between the provider's clock and ours
	maxSubject = 255         // OpenID Connect Core 1.0 §2
)

// claims are the claims of one source, numbers as json.Number.
type claims map[string]any

// verify returns the claims of the ID token if all checks of OpenID Connect Core
// 1.0 §3.1.3.7 hold, and also those that its occasion adds: sub is one of these.
// go-oidc reads the token a second time, with checks of its own: what the two
// readings do not agree on is refused.
func (p *Provider) verify(ctx context.Context, now time.Time, t tokens, also func(claims) error) (claims, error) {
	jws, err := p.parse(t.ID)
	if err != nil {
		return nil, err
	}
	payload, err := p.keys.verify(ctx, jws)
	if err != nil {
		return nil, err
	}
	var c claims
	if err := decode(payload, &c); err != nil || c == nil {
		return nil, fmt.Errorf("%w: claims are no JSON object", ErrMalformed)
	}
	if err := p.checkClaims(now, c); err != nil {
		return nil, err
	}
	if err := also(c); err != nil {
		return nil, err
	}
	second, err := gooidc.NewVerifier(p.config.Issuer, verified(payload), &gooidc.Config{
		ClientID:             p.config.ClientID,
		SupportedSigningAlgs: p.config.Algorithms,
		Now:                  func() time.Time { return now.Add(-leeway) },
	}).Verify(ctx, t.ID.Reveal())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, ok := c["at_hash"]; ok && second.VerifyAccessToken(t.Access.Reveal()) != nil {
		return nil, ErrAccessHash
	}
	return c, nil
}

// verified is the key set of a token whose signature has been verified.
type verified []byte

func (v verified) VerifySignature(context.Context, string) ([]byte, error) { return v, nil }

// parse reads the header. It decides by alg and typ only; jku, jwk, x5u and x5c
// mean nothing here (RFC 8725 §3.10).
func (p *Provider) parse(token Secret) (*jose.JSONWebSignature, error) {
	jws, err := jose.ParseSignedCompact(token.Reveal(), p.algorithms)
	if alg, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return nil, fmt.Errorf("%w: %q", ErrAlgorithm, clip(string(alg.Got)))
	}
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrMalformed
	}
	switch typ := jws.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(type) {
	case nil:
		return jws, nil
	case string:
		kind := strings.TrimPrefix(strings.ToLower(typ), "application/") // RFC 7515 §4.1.9
		if kind != "at+jwt" && kind != "logout+jwt" {
			return jws, nil
		}
		return nil, fmt.Errorf("%w: %q", ErrType, clip(typ))
	}
	return nil, fmt.Errorf("%w: typ is no string", ErrMalformed)
}

func (p *Provider) checkClaims(now time.Time, c claims) error {
	if iss, ok := c["iss"].(string); !ok || iss != p.config.Issuer {
		return fmt.Errorf("%w: the ID token has %q", ErrIssuer, clip(iss))
	}
	if err := p.checkAudience(c); err != nil {
		return err
	}
	return checkTimes(now, c)
}

// namesSubject: sub is one that a provider may give to somebody.
func (c claims) namesSubject() bool {
	sub := c.text("sub")
	return sub != "" && len(sub) <= maxSubject
}

// ofAttempt checks what a token says of the login that it ends.
func (p *Provider) ofAttempt(nonce Secret) func(claims) error {
	return func(c claims) error {
		if !c.namesSubject() {
			return ErrSubject
		}
		got, ok := c["nonce"].(string)
		if !ok || nonce == "" || subtle.ConstantTimeCompare([]byte(got), []byte(nonce.Reveal())) != 1 {
			return ErrNonce
		}
		return p.checkACR(c)
	}
}

// checkACR: the acr is one of those that were asked for, if any were.
func (p *Provider) checkACR(c claims) error {
	asked := p.config.ACRValues
	if acr, ok := c["acr"].(string); len(asked) > 0 && (!ok || !slices.Contains(asked, acr)) {
		return fmt.Errorf("%w: the ID token has %q", ErrACR, clip(acr))
	}
	return nil
}

// checkAudience: the token is for this client, and if it is for others too, or
// says to whom it was given, then it was given to this client.
func (p *Provider) checkAudience(c claims) error {
	audience := c.strings("aud")
	if !slices.Contains(audience, p.config.ClientID) {
		return ErrAudience
	}
	azp, present := c["azp"]
	if (present || len(audience) > 1) && azp != p.config.ClientID {
		return ErrParty
	}
	return nil
}

// checkTimes requires exp and iat. A token is expired from exp on, and good from
// nbf on (RFC 7519 §4.1.4 and §4.1.5), both with leeway.
func checkTimes(now time.Time, c claims) error {
	exp, ok := c.time("exp")
	if !ok {
		return fmt.Errorf("%w: exp is no time", ErrMalformed)
	}
	if !now.Before(exp.Add(leeway)) {
		return fmt.Errorf("%w: %s ago", ErrExpired, now.Sub(exp))
	}
	iat, ok := c.time("iat")
	if !ok {
		return fmt.Errorf("%w: iat is no time", ErrMalformed)
	}
	if iat.After(now.Add(leeway)) {
		return fmt.Errorf("%w: iat is %s ahead", ErrIssuedAt, iat.Sub(now))
	}
	nbf, ok := c.time("nbf")
	if _, present := c["nbf"]; present && !ok {
		return fmt.Errorf("%w: nbf is no time", ErrMalformed)
	}
	if ok && nbf.After(now.Add(leeway)) {
		return fmt.Errorf("%w: nbf is %s ahead", ErrIssuedAt, nbf.Sub(now))
	}
	return nil
}
