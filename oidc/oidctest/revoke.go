package oidctest

import "net/http"

// serveRevoke ends a token and everything of the same login (RFC 7009 §2). A
// token that is unknown, or another client's, is no error (§2.2).
func (p *Provider) serveRevoke(w http.ResponseWriter, r *http.Request) {
	client, ok := p.authenticate(w, r)
	if !ok {
		return
	}
	token, now := r.PostForm.Get("token"), p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range []*shelf[*login]{&p.access, &p.refresh} {
		if k := s.find(now, token); k != nil && k.value.client.ID == client.ID {
			k.value.revoked = true
		}
	}
	w.WriteHeader(http.StatusOK)
}
