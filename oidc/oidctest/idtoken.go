package oidctest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"maps"
	"time"
)

// idToken signs what l says about person (OpenID Connect Core 1.0 §2), or forges
// it, with these lies.
func (p *Provider) idToken(l *login, person Person, lies Lies, nonce, access string, now time.Time) (string, error) {
	claims := map[string]any{}
	if !p.config.ClaimsInUserinfoOnly {
		maps.Copy(claims, person.claims(l.scopes))
	}
	maps.Copy(claims, map[string]any{
		"iss":       p.config.Issuer,
		"sub":       person.Subject,
		"aud":       l.client.ID,
		"iat":       now.Unix(),
		"exp":       now.Add(p.config.AccessLife).Unix(),
		"auth_time": l.authTime.Unix(),
		"acr":       p.config.ACRs[l.level],
		"amr":       []string{"pwd"}, // RFC 8176 §2
		"sid":       l.sid,
		"at_hash":   halfHash(p.config.Algorithm, access),
	})
	if nonce != "" {
		claims["nonce"] = nonce
	}
	lies.twistIDToken(claims, now)
	k := p.signingKey()
	header := map[string]any{"typ": "JWT", "kid": k.id}
	lies.twistHeader(header)
	return p.forger.sign(lies.Signature, k, l.client, p.config.Issuer, header, claims)
}

// claims is what person's tokens say for these scopes (OpenID Connect Core 1.0
// §5.4; groups is a custom of many providers).
func (person Person) claims(scopes []string) map[string]any {
	claims := maps.Clone(person.Claims)
	if claims == nil {
		claims = map[string]any{}
	}
	for _, scope := range scopes {
		switch scope {
		case "profile":
			claims["preferred_username"] = person.Username
			if person.Name != "" {
				claims["name"] = person.Name
			}
		case "email":
			if person.Email != "" {
				claims["email"] = person.Email
				claims["email_verified"] = person.EmailVerified
			}
		case "groups":
			if person.Groups != nil {
				claims["groups"] = person.Groups
			}
		}
	}
	return claims
}

// halfHash is at_hash (OpenID Connect Core 1.0 §3.1.3.6): the left half of the
// hash that belongs to the algorithm. Ed25519 hashes with SHA-512.
func halfHash(algorithm, access string) string {
	if algorithm == "EdDSA" {
		sum := sha512.Sum512([]byte(access))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
