package oidctest

import (
	"mime"
	"net/http"
	"net/url"
)

// authenticate finds the client that posts to the token, revocation or
// introspection endpoint, by client_secret_basic or client_secret_post (RFC 6749
// §2.3.1), and never by both. It has answered the request when its result is
// false.
func (p *Provider) authenticate(w http.ResponseWriter, r *http.Request) (Client, bool) {
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 §5.1
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err := r.ParseForm(); err != nil || media != "application/x-www-form-urlencoded" {
		writeRefusal(w, Refusal{"invalid_request", "the body is not a form"})
		return Client{}, false
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			writeRefusal(w, Refusal{"invalid_request", "a parameter came twice: " + name})
			return Client{}, false
		}
	}
	id, secret, basic := basicAuth(r)
	if posted := r.PostForm.Has("client_secret"); posted && basic {
		writeRefusal(w, Refusal{"invalid_request", "the client authenticates in two ways"})
		return Client{}, false
	} else if posted {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	p.mu.Lock()
	client, known := p.clients[id]
	p.mu.Unlock()
	if !known || !same(client.Secret, secret) {
		writeRefusal(w, Refusal{"invalid_client", "the client is not known, or its secret is not right"})
		return Client{}, false
	}
	return client, true
}

// basicAuth reads the header, in which both parts are form-encoded first.
func basicAuth(r *http.Request) (id, secret string, ok bool) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return "", "", false
	}
	id, err1 := url.QueryUnescape(user)
	secret, err2 := url.QueryUnescape(password)
	if err1 != nil || err2 != nil {
		return "", "", true
	}
	return id, secret, true
}

// writeRefusal answers as RFC 6749 §5.2 says.
func writeRefusal(w http.ResponseWriter, refusal Refusal) {
	status := http.StatusBadRequest
	if refusal.Code == "invalid_client" {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="provider"`)
	}
	writeJSON(w, status, map[string]string{"error": refusal.Code, "error_description": refusal.Description})
}
