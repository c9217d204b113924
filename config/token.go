package config

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/mint"
)

// decodeToken reads what is said of a token. What is not said is taken from base,
// down to the template itself, so that equal tokens are signed once.
func decodeToken(v value, base authz.Token) authz.Token {
	o, ok := v.object()
	issuer, audience := o.get("issuer"), o.get("audience")
	lifetime, claims := o.get("lifetime"), o.get("claims")
	header, prefix := o.get("header"), o.get("prefix")
	o.close()
	if !ok {
		return base
	}
	t := base
	if header.given() {
		t.Header = header.headerName(base.Header)
		t.Prefix = defaultPrefix(t.Header)
	}
	if prefix.given() {
		t.Prefix = prefix.tokenPrefix()
	}
	if issuer.given() || audience.given() || lifetime.given() || claims.given() {
		t.Template = &mint.Template{
			Issuer:   issuer.textOr(base.Template.Issuer),
			Audience: audience.textOr(base.Template.Audience),
			Lifetime: lifetime.duration(base.Template.Lifetime, shortestToken, longestToken),
			Claims:   claims.expressions(base.Template.Claims),
		}
		if err := t.Template.Validate(); err != nil {
			o.report(err, nil)
			t.Template.Claims = nil // told once, not for every rule that takes them over
		}
	}
	return t
}

// tokenOf is the token of an app that says nothing about it.
func tokenOf(a *authz.App, lifetime time.Duration) authz.Token {
	origin := a.URL.Scheme + "://" + a.URL.Host
	return authz.Token{
		Header: authz.AssertionHeader,
		Template: &mint.Template{
			Issuer:   origin + a.Prefix,
			Audience: origin + a.URL.Path,
			Lifetime: lifetime,
		},
	}
}

func defaultPrefix(header string) string {
	if header == "authorization" {
		return "Bearer "
	}
	return ""
}

// foreignHeaders mean something on the way to the upstream, so that a token in
// them would break the request or be lost (RFC 9110 §7.6.1).
var foreignHeaders = []string{
	"host", "cookie", "set-cookie", "content-length", "content-type", "content-encoding", "transfer-encoding",
	"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
	"upgrade", "expect", "date", "via", "forwarded", "origin", "referer", "user-agent", "accept", "accept-encoding",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id",
	"x-countersign-decision",
}

var headerForm = regexp.MustCompile(`\A[a-z0-9!#$%&'*+^|~-]{1,128}\z`)

// headerName reads the name of the header that carries the token.
func (v value) headerName(other string) string {
	s, ok := v.text()
	if !ok {
		return other
	}
	s = strings.ToLower(s)
	switch {
	case slices.Contains(foreignHeaders, s) || strings.HasPrefix(s, "x-envoy-"):
		v.fail("cannot be %s, which has a meaning of its own", v.quote())
	case strings.ContainsAny(s, "_."):
		v.fail(`must be written with "-": proxies drop names with "_" or ".", or take them for another`)
	case !headerForm.MatchString(s):
		v.fail("must be the name of a header (RFC 9110 §5.1), not %s", v.quote())
	default:
		return s
	}
	return other
}

// tokenPrefix reads what stands before the token. It may be empty.
func (v value) tokenPrefix() string {
	s, _ := v.raw()
	if len(s) > 64 || hasControl(s) || strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) {
		v.fail("must be at most 64 printable ASCII characters")
	}
	return s
}

// expressions reads the configured claims.
func (v value) expressions(other map[string]mint.Expression) map[string]mint.Expression {
	if !v.given() {
		return other
	}
	claims := map[string]mint.Expression{}
	for _, claim := range v.entries() {
		s, ok := claim.raw()
		if !ok {
			continue
		}
		e, err := mint.ParseExpression(s)
		if err != nil {
			claim.fail("%v", err)
		}
		claims[claim.name] = e
	}
	return claims
}
