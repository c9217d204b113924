package authz

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
)

// App is one application behind the proxy. NewRoutes completes it; from then on
// it does not change.
type App struct {
	Name     string   // empty for the only app of a host
	URL      *url.URL // scheme, host and path prefix, as browsers reach it
	Prefix   string   // of the login endpoints; empty: the URL's path and "/oauth2"
	Callback string   // path of the redirect URI; empty: Prefix and "/callback"
	Provider Provider
	Allow    Permission // who may enter at all
	Rules    []Rule
	Token    Token // what the upstream gets where a rule says nothing else
}

// Token is what the upstream is given.
type Token struct {
	Template *mint.Template // nil: no token
	Header   string         // lower-case name of the header that carries it
	Prefix   string         // before the token, such as "Bearer "
}

// Access is what a rule asks of a caller. The zero Access asks for a login.
type Access uint8

// The kinds of access.
const (
	Required    Access = iota // somebody who is allowed
	Optional                  // the same, or nobody
	Unprotected               // anybody; the session is not even looked at
	Denied                    // nobody at all
)

// Rule says what is asked of the requests that it covers. The zero Rule covers
// none, and permits nobody.
type Rule struct {
	Name    string
	App     *App // set by NewRoutes
	Methods []string
	Path    Pattern
	Access  Access
	Allow   Permission // beside the app's, which must hold too

	Passthrough bool   // a bearer goes on, for the upstream to judge
	Explain     string // for whom the rule refuses
	Token       Token  // set by NewRoutes where empty

	endpoint endpoint // of ours, instead of the upstream
}

// covers reports whether r is the rule for a request.
func (r *Rule) covers(method, path string) bool {
	if !r.Path.Match(path) {
		return false
	}
	if len(r.Methods) == 0 {
		return true
	}
	return slices.Contains(r.Methods, method)
}

// permits reports whether both the app and the rule let a session pass.
func (r *Rule) permits(c Caller) bool {
	return r.App != nil && r.App.Allow.Permits(c.Session.Identity) && r.Allow.Permits(c.Session.Identity)
}

// id names the app among all that share the sessions: by its name or, where it
// has none, by its host.
func (a *App) id() string { return cmp.Or(a.Name, a.URL.Host) }

// trusts reports whether an identity comes from the app's provider.
func (a *App) trusts(who oidc.Identity) bool {
	return !who.Nobody() && a.Provider != nil && who.Provider == a.Provider.Name()
}

// origin is the app's scheme and host, as in an Origin header (RFC 6454 §6.2).
func (a *App) origin() string { return a.URL.Scheme + "://" + strings.ToLower(a.URL.Host) }

// address is the absolute address of a path on the app's host.
func (a *App) address(path string) string { return a.origin() + path }

// home is where the app begins.
func (a *App) home() string {
	if a.URL.Path == "" {
		return "/"
	}
	return a.URL.Path
}

func (a *App) redirectURI() string { return a.address(a.Callback) }

// complete fills what follows from the URL and checks that it makes sense.
func (a *App) complete() error {
	if a.URL == nil || a.URL.Host == "" || (a.URL.Scheme != "https" && a.URL.Scheme != "http") {
		return errors.New("url must have a scheme and a host")
	}
	a.URL.Path = strings.TrimSuffix(a.URL.Path, "/")
	if a.Prefix == "" {
		a.Prefix = a.URL.Path + "/oauth2"
	}
	if a.Callback == "" {
		a.Callback = a.Prefix + "/callback"
	}
	for i := range a.Rules {
		r := &a.Rules[i]
		r.App = a
		if r.Token.Template == nil {
			r.Token.Template = a.Token.Template
		}
		if r.Token.Header == "" {
			r.Token.Header, r.Token.Prefix = a.Token.Header, a.Token.Prefix
		}
		if r.Name == "" {
			r.Name = r.Path.String()
		}
	}
	return nil
}

// Shadowed names the rules that no request can ever reach, each with the
// earlier rule that takes all of its requests.
func Shadowed(rules []Rule) map[int]int {
	shadowed := map[int]int{}
	for later := range rules {
		for earlier := range later {
			if rules[earlier].takesMethodsOf(rules[later]) && rules[earlier].Path.covers(rules[later].Path) {
				shadowed[later] = earlier
				break
			}
		}
	}
	return shadowed
}

// takesMethodsOf reports whether r covers every method that other does.
func (r *Rule) takesMethodsOf(other Rule) bool {
	if len(r.Methods) == 0 {
		return true
	}
	return len(other.Methods) > 0 && !slices.ContainsFunc(other.Methods, func(m string) bool {
		return !slices.Contains(r.Methods, m)
	})
}

// Describe says in words what a rule asks.
func (r *Rule) Describe() string {
	what := map[Access]string{
		Required: "asks for a login", Optional: "takes anybody, and says who it is",
		Unprotected: "takes anybody", Denied: "takes nobody",
	}[r.Access]
	s := r.Path.String()
	if len(r.Methods) > 0 {
		s = strings.Join(r.Methods, ", ") + " " + s
	}
	s += " " + what
	if r.Passthrough {
		s += "; a bearer goes on, for the upstream to judge"
	}
	return s
}
