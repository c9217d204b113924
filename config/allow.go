package config

import (
	"strings"

	"github.com/countersign/countersign/authz"
)

// decodeAllow reads who may pass. What is faulty permits nobody.
func decodeAllow(v value) authz.Permission {
	if !v.given() || v.node.broken {
		return authz.Permission{}
	}
	var allow authz.Permission
	switch {
	case v.node.null:
		v.fail("is empty: write everyone, or who may pass")
	case v.node.kind == scalar:
		if v.node.text != "everyone" {
			v.fail("must be everyone, a map or a list of maps, not %s", v.quote())
			break
		}
		allow.Everyone = true
	case v.node.kind == mapping:
		allow.AnyOf = []authz.Condition{decodeCondition(v)}
	default:
		for _, item := range v.items() {
			allow.AnyOf = append(allow.AnyOf, decodeCondition(item))
		}
	}
	return allow
}

func decodeCondition(v value) authz.Condition {
	o, ok := v.object()
	if !ok {
		return authz.Condition{}
	}
	if len(v.node.pairs) == 0 {
		v.fail("is empty: write everyone, or who may pass")
	}
	c := authz.Condition{
		Emails:       o.get("emails").textsAs(email),
		EmailDomains: o.get("email_domains").textsAs(emailDomain),
		Groups:       o.get("groups").texts(),
	}
	if claims := o.get("claims"); claims.given() {
		c.Claims = map[string][]string{}
		for _, claim := range claims.entries() {
			c.Claims[claim.name] = claim.texts()
		}
	}
	o.close()
	return c
}

func email(v value, s string) string {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || strings.Contains(domain, "@") {
		v.fail("must be an e-mail address, not %s", v.quote())
	}
	return s
}

// emailDomain reads the name of a domain into the form that authz compares.
func emailDomain(v value, s string) string {
	domain := authz.ASCIIDomain(s)
	switch {
	case strings.Contains(s, "*"):
		v.fail("must name one domain: sub-domains are listed one by one, without *")
	case !hostForm.MatchString(domain):
		v.fail("must be what follows the @ of an address, as in example.org, not %s", v.quote())
	}
	return domain
}
