package oidctest

import (
	"net/http"
	"net/url"
	"slices"
)

// goodbye is a logout request (OpenID Connect RP-Initiated Logout 1.0 §2).
type goodbye struct {
	sid      string // of the session that the hint names; empty without a hint
	client   Client // the zero Client when the request names none
	redirect string // where to go afterwards; empty for nowhere
	mistake  string // what is wrong with the request, in words for people
}

// serveEndSession ends the session that the ID token hint names. Without a hint
// of this very session anybody could have sent the person here, so the person
// is asked (§2).
func (p *Provider) serveEndSession(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.showMistake(w, "The request could not be read.")
		return
	}
	g := p.readGoodbye(r.Form)
	if g.mistake != "" {
		p.showMistake(w, g.mistake)
		return
	}
	here := p.sessionOf(r)
	switch here.sid {
	case "", g.sid:
		p.finish(w, r, g, g.sid)
	default:
		p.showConfirm(w, r, g)
	}
}

// serveConfirmed ends the browser's session after the person said so.
func (p *Provider) serveConfirmed(w http.ResponseWriter, r *http.Request) {
	g := p.readGoodbye(r.URL.Query())
	if g.mistake != "" {
		p.showMistake(w, g.mistake)
		return
	}
	p.finish(w, r, g, p.sessionOf(r).sid)
}

func (p *Provider) finish(w http.ResponseWriter, r *http.Request, g goodbye, sid string) {
	if sid != "" {
		p.end(w, sid)
	}
	if g.redirect == "" {
		p.showSignedOut(w)
		return
	}
	http.Redirect(w, r, g.redirect, http.StatusSeeOther)
}

func (p *Provider) readGoodbye(q url.Values) goodbye {
	var g goodbye
	id := q.Get("client_id")
	if hint := q.Get("id_token_hint"); hint != "" {
		claims, err := p.verify(hint)
		if err != nil {
			return goodbye{mistake: "The application that sent you here gave a token that is not from here."}
		}
		audience, _ := claims["aud"].(string)
		if id != "" && id != audience {
			return goodbye{mistake: "The application that sent you here gave a token of another application."}
		}
		id = audience
		g.sid, _ = claims["sid"].(string)
	}
	p.mu.Lock()
	g.client = p.clients[id]
	p.mu.Unlock()
	redirect := q.Get("post_logout_redirect_uri")
	if redirect == "" {
		return g
	}
	if !slices.Contains(g.client.PostLogoutRedirectURIs, redirect) {
		return goodbye{mistake: "The application that sent you here gave an address that it has not registered."}
	}
	g.redirect = redirect
	if q.Has("state") {
		g.redirect = withQuery(redirect, url.Values{"state": {q.Get("state")}})
	}
	return g
}
