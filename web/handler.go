// Package web answers over HTTP what an Authorizer answers below an app's login
// prefix, and publishes the keys of the minted token.
package web

import (
	"net/http"
	"strings"

	"github.com/countersign/countersign/authz"
)

// Handler serves the endpoints that a proxy routes to Countersign with ext_authz
// off. It never answers for an upstream: whatever is for one is not found, and
// the rest is answered as a check would be. Checker and Authorizer must be set.
type Handler struct {
	Authorizer *authz.Authorizer // whose endpoints these are
	Checker    authz.Checker     // answers; the Authorizer, with whatever observes it around it
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := Request(r)
	switch {
	case req.Path == "/.well-known/jwks.json" || req.Path == "/.well-known/openid-configuration":
		Write(w, h.Authorizer.Publish(req))
	case h.Authorizer.Routes.Upstream(req):
		Write(w, authz.Failed(authz.NotFound, nil))
	default:
		Write(w, h.Checker.Check(r.Context(), req))
	}
}

// Request reads an HTTP request as authz sees it: the target as it was sent,
// header names in lower case.
func Request(r *http.Request) authz.Request {
	req := authz.Request{Method: r.Method, Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		req.Scheme = "https"
	}
	req.Path, req.Query, _ = strings.Cut(r.RequestURI, "?")
	for name, values := range r.Header {
		name = strings.ToLower(name)
		for _, v := range values {
			req.Header = append(req.Header, authz.Field{Name: name, Value: v})
		}
	}
	return req
}

// Write answers with a decision. An allow, which is an answer for a proxy and
// not for a browser, is written as a fault.
func Write(w http.ResponseWriter, d authz.Decision) {
	if d.Outcome == authz.Allow {
		d = authz.Failed(authz.Internal, nil)
	}
	h := w.Header()
	for name, values := range d.Client {
		h[http.CanonicalHeaderKey(name)] = values
	}
	status := d.Status
	if status == 0 {
		status = http.StatusForbidden
	}
	w.WriteHeader(status)
	w.Write(d.Body)
}
