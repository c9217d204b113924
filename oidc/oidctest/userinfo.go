package oidctest

import (
	"net/http"
	"strings"
)

// serveUserinfo tells the bearer of an access token whose it is (OpenID Connect
// Core 1.0 §5.3, RFC 6750 §2.1).
func (p *Provider) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeJSON(w, http.StatusUnauthorized, struct{}{})
		return
	}
	person, scopes, ok := p.bearer(token)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	claims := person.claims(scopes)
	claims["sub"] = person.Subject
	p.Lies().twistUserinfo(claims)
	writeJSON(w, http.StatusOK, claims)
}

func (p *Provider) bearer(token string) (person Person, scopes []string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.access.find(p.now(), token)
	if k == nil || k.value.revoked {
		return Person{}, nil, false
	}
	person, ok = p.person(k.value.username)
	return person, k.value.scopes, ok
}
