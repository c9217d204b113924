package oidc

import (
	"encoding/json"
	"maps"
	"math"
	"strings"
	"time"
	"unicode"
)

// identify turns verified claims into an identity: those of the ID token, and
// beside them more, those of userinfo, which may be nil.
func (p *Provider) identify(token, more claims) Identity {
	all := merge(token, more)
	i := Identity{
		Provider:  p.config.Name,
		Issuer:    token.text("iss"),
		Subject:   token.text("sub"),
		Email:     vouchedEmail(all, token, more, p.config.AssumeEmailVerified),
		Name:      all.text("name"),
		Username:  all.text("preferred_username"),
		Groups:    all.strings(p.config.GroupsClaim),
		ACR:       token.text("acr"),
		AMR:       token.strings("amr"),
		SessionID: token.text("sid"),
		Claims:    all,
	}
	if t, ok := token.time("auth_time"); ok {
		i.AuthTime = t
	}
	return i
}

// merge puts the claims of the ID token over those of userinfo. email_verified
// belongs to an address: that of another one is not taken over.
func merge(token, more claims) claims {
	all := claims{}
	maps.Copy(all, more)
	if _, ok := token["email"]; ok && token.text("email") != more.text("email") {
		delete(all, "email_verified")
	}
	maps.Copy(all, token)
	return all
}

// vouchedEmail is the address if the provider, or the configuration where the
// provider is silent, says that it is the person's. A false of either source
// stands.
func vouchedEmail(all, token, more claims, assume bool) string {
	says := func(c claims, b bool, text string) bool {
		v := c["email_verified"]
		return v == b || v == text
	}
	if says(token, false, "false") || says(more, false, "false") {
		return ""
	}
	email := all.text("email")
	if _, told := all["email_verified"]; !says(all, true, "true") && (told || !assume) {
		return ""
	}
	local, domain, _ := strings.Cut(email, "@")
	if local == "" || domain == "" || strings.Contains(domain, "@") || strings.ContainsFunc(email, unfitForEmail) {
		return ""
	}
	return email
}

func unfitForEmail(r rune) bool {
	return unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar
}

// text is a claim that is a string, else empty.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// strings is the claim at a dotted path as a list. A single string is a list of
// one; members that are not strings, and empty ones, are left out. It is nil
// when there is no such claim.
func (c claims) strings(path string) []string {
	v, _ := claim(c, path)
	switch v := v.(type) {
	case string:
		if v == "" {
			return []string{}
		}
		return []string{v}
	case []any:
		list := make([]string, 0, len(v))
		for _, member := range v {
			if s, ok := member.(string); ok && s != "" {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// time is a claim that is a NumericDate (RFC 7519 §2) between the years 1970 and
// 9999.
func (c claims) time(name string) (time.Time, bool) {
	n, ok := c[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, ok := number(n)
	if !ok || seconds < 0 || seconds > 253402300799 {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true
}

// number reads a number, also one in a string.
func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if s, text := v.(string); text {
		n, ok = json.Number(s), true
	}
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
