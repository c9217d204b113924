package oidctest

import (
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed page/*.html page/style.css
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page/*.html"))

// view is what the pages show.
type view struct {
	Style   string // address of the stylesheet
	Action  string // where the form goes
	Client  string // who is asking, or was left
	Hint    string // the user name to begin with
	Here    string // who is signed in, and has to do something about it
	Mistake string
	People  []Person // to choose from; nil unless Config.ShowPeople
}

func (p *Provider) showSignIn(w http.ResponseWriter, r *http.Request, a authorization, status int, mistake string) {
	v := view{
		Action: p.path + signInPath + "?" + r.Form.Encode(),
		Client: a.client.Name, Hint: a.loginHint, Mistake: mistake,
	}
	if !a.asks("select_account") {
		v.Here = p.sessionOf(r).username
	}
	if v.Hint == "" {
		v.Hint = v.Here
	}
	if p.config.ShowPeople {
		p.mu.Lock()
		v.People = slices.Clone(p.people)
		p.mu.Unlock()
	}
	p.show(w, status, "sign_in.html", v, a.client.RedirectURIs)
}

func (p *Provider) showConfirm(w http.ResponseWriter, r *http.Request, g goodbye) {
	v := view{
		Action: p.path + confirmPath + "?" + r.Form.Encode(),
		Client: g.client.Name, Here: p.sessionOf(r).username,
	}
	p.show(w, http.StatusOK, "confirm.html", v, g.client.PostLogoutRedirectURIs)
}

func (p *Provider) showSignedOut(w http.ResponseWriter) {
	p.show(w, http.StatusOK, "signed_out.html", view{}, nil)
}

// showMistake answers a request that must not be sent back to anybody.
func (p *Provider) showMistake(w http.ResponseWriter, mistake string) {
	p.show(w, http.StatusBadRequest, "mistake.html", view{Mistake: mistake}, nil)
}

// show writes a page whose form may lead to targets: browsers apply form-action
// to the redirects that follow a form, too.
func (p *Provider) show(w http.ResponseWriter, status int, name string, v view, targets []string) {
	v.Style = p.path + stylePath
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; "+
		"frame-ancestors 'none'; form-action 'self'"+origins(targets))
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // the address holds the state
	w.WriteHeader(status)
	// The templates are tested; what is left is the client going away.
	_ = pages.ExecuteTemplate(w, name, v)
}

// origins lists the distinct origins of URIs, each after a blank.
func origins(uris []string) string {
	var b strings.Builder
	var seen []string
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil || strings.ContainsAny(u.Host, ";, ") {
			continue
		}
		if origin := u.Scheme + "://" + u.Host; !slices.Contains(seen, origin) {
			seen = append(seen, origin)
			b.WriteString(" " + origin)
		}
	}
	return b.String()
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "page/style.css")
}
