package oidctest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
)

// maxForm bounds every request body that the provider reads.
const maxForm = 64 << 10

// The endpoints, below the path of the issuer.
const (
	discoveryPath  = "/.well-known/openid-configuration"
	keysPath       = "/keys"
	authorizePath  = "/authorize"
	signInPath     = "/sign-in"
	tokenPath      = "/token"
	revokePath     = "/revoke"
	introspectPath = "/introspect"
	userinfoPath   = "/userinfo"
	endSessionPath = "/end_session"
	confirmPath    = "/end_session/confirm"
	stylePath      = "/style.css"
	forgedKeysPath = "/forged/keys"
	forgedCertPath = "/forged/certificate"
)

func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	on := func(event Event, path string, handler http.HandlerFunc, methods ...string) {
		counted := p.counted(event, handler)
		for _, method := range methods {
			mux.Handle(method+" "+p.path+path, counted)
		}
	}
	on(Discovery, discoveryPath, p.serveDiscovery, http.MethodGet)
	on(Keys, keysPath, p.serveKeys, http.MethodGet)
	// OpenID Connect Core 1.0 §3.1.2.1: an authorization request comes by GET or POST.
	on(Authorize, authorizePath, p.serveAuthorize, http.MethodGet, http.MethodPost)
	on(PasswordSent, signInPath, ownForm(p.serveSignIn), http.MethodPost)
	on(TokenAsked, tokenPath, p.serveToken, http.MethodPost)
	on(Revocation, revokePath, p.serveRevoke, http.MethodPost)
	on(Introspection, introspectPath, p.serveIntrospect, http.MethodPost)
	on(Userinfo, userinfoPath, p.serveUserinfo, http.MethodGet, http.MethodPost)
	on(EndSession, endSessionPath, p.serveEndSession, http.MethodGet, http.MethodPost)
	on(EndSession, confirmPath, ownForm(p.serveConfirmed), http.MethodPost)
	on(ForgedKeys, forgedKeysPath, p.forger.serveKeys, http.MethodGet)
	on(ForgedKeys, forgedCertPath, p.forger.serveCertificate, http.MethodGet)
	mux.HandleFunc("GET "+p.path+stylePath, serveStyle)
	return mux
}

// counted counts a request, bounds its body and lets the endpoint's fault, if
// there is one, have its way.
func (p *Provider) counted(event Event, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count(event)
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if event == TokenAsked && asksRefresh(r) {
			p.count(RefreshAsked)
		}
		p.Lies().fault(event).serve(w, r, next)
	})
}

// asksRefresh reads ahead in the body of a token request, since a fault may leave
// it unread.
func asksRefresh(r *http.Request) bool {
	body, _ := io.ReadAll(r.Body) // whoever reads on gets the same error again
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	form, err := url.ParseQuery(string(body))
	return err == nil && form.Get("grant_type") == "refresh_token"
}

// ownForm lets only the provider's own pages post: a foreign one could sign
// somebody in as somebody else, or out.
func ownForm(next http.HandlerFunc) http.HandlerFunc {
	return http.NewCrossOriginProtection().Handler(next).ServeHTTP
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error here is the client going away: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(v)
}
