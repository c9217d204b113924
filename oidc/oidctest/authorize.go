package oidctest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// codeLife is how long a code waits for its exchange (RFC 6749 §4.1.2 allows ten
// minutes at most).
const codeLife = time.Minute

// Refusal is an error answer of OAuth 2.0 (RFC 6749 §4.1.2.1 and §5.2). The zero
// Refusal refuses nothing.
type Refusal struct {
	Code        string // error
	Description string // error_description
}

// authorization is an authorization request from a known client for one of its
// redirect URIs.
type authorization struct {
	client      Client
	redirectURI string
	state       string
	nonce       string
	challenge   string
	scopes      []string
	prompts     []string
	loginHint   string
	wantLevel   int           // of authentication: an index of Config.ACRs
	maxAge      time.Duration // negative for none
}

// login is what one authorization request came to: what its code, and every
// token that descends from it, stands for.
type login struct {
	authorization
	session
	revoked bool // guarded by Provider.mu
}

func (p *Provider) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.showMistake(w, "The request could not be read.")
		return
	}
	p.remember(r.Form)
	a, ok := p.admit(w, r)
	if !ok {
		return
	}
	if lie := p.Lies().AuthorizeError; lie.Code != "" {
		p.refuse(w, r, a, lie)
		return
	}
	now := p.now()
	s := p.sessionOf(r)
	switch {
	case s.answers(a, now) && !a.asks("login") && !a.asks("select_account"):
		p.giveCode(w, r, a, s)
	case a.asks("none"):
		p.refuse(w, r, a, Refusal{"login_required", "nobody is signed in who would do"})
	default:
		p.showSignIn(w, r, a, http.StatusOK, "")
	}
}

// admit reads the authorization request in r.Form, and answers it if it is
// wrong. Nobody is sent to an address that the client has not registered.
func (p *Provider) admit(w http.ResponseWriter, r *http.Request) (authorization, bool) {
	p.mu.Lock()
	client, known := p.clients[r.Form.Get("client_id")]
	p.mu.Unlock()
	if !known {
		p.showMistake(w, "The application that sent you here is not known.")
		return authorization{}, false
	}
	redirectURI := r.Form.Get("redirect_uri")
	if !slices.Contains(client.RedirectURIs, redirectURI) || len(r.Form["redirect_uri"]) != 1 {
		p.showMistake(w, "The application that sent you here gave an address that it has not registered.")
		return authorization{}, false
	}
	a, refusal := readAuthorization(r.Form, p.config.ACRs)
	a.client, a.redirectURI, a.state = client, redirectURI, r.Form.Get("state")
	if refusal.Code != "" {
		p.refuse(w, r, a, refusal)
		return authorization{}, false
	}
	return a, true
}

// readAuthorization reads what may be answered at the redirect URI.
func readAuthorization(q url.Values, acrs []string) (authorization, Refusal) {
	a := authorization{
		nonce:     q.Get("nonce"),
		challenge: q.Get("code_challenge"),
		scopes:    strings.Fields(q.Get("scope")),
		prompts:   strings.Fields(q.Get("prompt")),
		loginHint: q.Get("login_hint"),
		maxAge:    -1,
	}
	for name, values := range q {
		if len(values) > 1 { // RFC 6749 §3.1
			return a, Refusal{"invalid_request", "a parameter came twice: " + name}
		}
	}
	switch {
	case q.Has("request"):
		return a, Refusal{"request_not_supported", "request objects are not supported"}
	case q.Has("request_uri"):
		return a, Refusal{"request_uri_not_supported", "request objects are not supported"}
	case q.Get("response_type") != "code":
		return a, Refusal{"unsupported_response_type", "only code is supported"}
	case q.Has("response_mode") && q.Get("response_mode") != "query":
		return a, Refusal{"invalid_request", "only response_mode query is supported"}
	case !slices.Contains(a.scopes, "openid"):
		return a, Refusal{"invalid_scope", "scope openid is missing"}
	case q.Get("code_challenge_method") != "S256" || len(a.challenge) != 43:
		// RFC 9700 §2.1.1: PKCE for everybody, and never plain.
		return a, Refusal{"invalid_request", "PKCE with S256 is required"}
	case a.asks("none") && len(a.prompts) > 1:
		return a, Refusal{"invalid_request", "prompt none stands alone"}
	}
	for acr := range strings.FieldsSeq(q.Get("acr_values")) {
		// A voluntary claim (OpenID Connect Core 1.0 §3.1.2.1): unknown levels are passed over.
		if level := slices.Index(acrs, acr); level >= 0 {
			a.wantLevel = level
			break
		}
	}
	if q.Has("max_age") {
		seconds, err := strconv.ParseUint(q.Get("max_age"), 10, 31)
		if err != nil {
			return a, Refusal{"invalid_request", "max_age is not a number of seconds"}
		}
		a.maxAge = time.Duration(seconds) * time.Second
	}
	return a, Refusal{}
}

// asks reports whether the client asked for that prompt.
func (a authorization) asks(prompt string) bool { return slices.Contains(a.prompts, prompt) }

func (a authorization) wants(scope string) bool { return slices.Contains(a.scopes, scope) }

// giveCode sends the person back with a code (RFC 6749 §4.1.2).
func (p *Provider) giveCode(w http.ResponseWriter, r *http.Request, a authorization, s session) {
	now := p.now()
	p.mu.Lock()
	code := p.codes.put(now, now.Add(codeLife), &login{authorization: a, session: s})
	p.mu.Unlock()
	p.sendBack(w, r, a, url.Values{"code": {code}})
}

func (p *Provider) refuse(w http.ResponseWriter, r *http.Request, a authorization, refusal Refusal) {
	p.sendBack(w, r, a, url.Values{"error": {refusal.Code}, "error_description": {refusal.Description}})
}

func (p *Provider) sendBack(w http.ResponseWriter, r *http.Request, a authorization, answer url.Values) {
	if a.state != "" {
		answer.Set("state", a.state)
	}
	answer.Set("iss", p.config.Issuer) // RFC 9207 §2
	p.Lies().twistCallback(answer)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, withQuery(a.redirectURI, answer), http.StatusSeeOther)
}

// withQuery adds parameters to a registered URI, keeping those that it has.
func withQuery(uri string, more url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return fmt.Sprint(uri, separator, more.Encode())
}
