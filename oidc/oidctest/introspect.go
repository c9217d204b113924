package oidctest

import (
	"net/http"
	"strings"
)

// serveIntrospect tells a client about one of its tokens (RFC 7662 §2.2). Of a
// token that is no good, or another client's, it says nothing but that.
func (p *Provider) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	client, ok := p.authenticate(w, r)
	if !ok {
		return
	}
	answer := p.introspect(client, r.PostForm.Get("token"))
	p.Lies().twistIntrospection(answer)
	writeJSON(w, http.StatusOK, answer)
}

func (p *Provider) introspect(client Client, token string) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range []*shelf[*login]{&p.access, &p.refresh} {
		k := s.find(p.now(), token)
		if k == nil || k.spent || k.value.revoked || k.value.client.ID != client.ID {
			continue
		}
		if person, known := p.person(k.value.username); known {
			return map[string]any{
				"active":    true,
				"iss":       p.config.Issuer,
				"sub":       person.Subject,
				"client_id": client.ID,
				"scope":     strings.Join(k.value.scopes, " "),
				"exp":       k.ends.Unix(),
			}
		}
	}
	return map[string]any{"active": false}
}
