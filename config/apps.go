package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/oidc"
)

func decodeApps(v value, providers []oidc.Config, lifetime time.Duration) []App {
	if !v.require() {
		return nil
	}
	var apps []App
	var objects []*object
	for _, item := range v.items() {
		o, ok := item.object()
		if !ok {
			continue
		}
		apps = append(apps, decodeApp(o, providers, lifetime))
		objects = append(objects, o)
	}
	for i, o := range objects {
		for j := range i {
			if !compareApps(o, apps[i].App, objects[j], apps[j].App) {
				break
			}
		}
	}
	return apps
}

func decodeApp(o *object, providers []oidc.Config, lifetime time.Duration) App {
	a := new(authz.App)
	a.Name = o.get("name").name()
	a.URL = decodeURL(o.get("url"))
	a.Prefix = decodePrefix(o.get("prefix"), a.URL)
	a.Callback = a.Prefix + "/callback"
	app := App{App: a, ProviderName: decodeProviderName(o.get("providers"), providers)}

	allow := o.get("allow")
	a.Allow = decodeAllow(allow)
	a.Token = decodeToken(o.get("token"), tokenOf(a, lifetime))
	rules := o.get("rules")
	a.Rules = decodeRules(rules, a)
	off := o.get("sso").choose("", "off") == "off"
	o.close()

	switch {
	case off:
		a.Rules = []authz.Rule{everything(authz.Unprotected, a.Token)}
		for _, v := range []value{allow, rules} {
			if v.given() {
				v.warn("is not looked at while sso is off: everybody passes")
			}
		}
	case !rules.given():
		a.Rules = []authz.Rule{everything(authz.Required, a.Token)}
	}
	if !allow.given() && slices.ContainsFunc(a.Rules, signsIn) {
		allow.fail("is required: write everyone, or who may enter")
	}
	return app
}

// everything is the rule of all paths. The app's allow decides alone.
func everything(access authz.Access, t authz.Token) authz.Rule {
	path, err := authz.ParsePattern("/**")
	if err != nil {
		return authz.Rule{} // covers nothing
	}
	return authz.Rule{Name: "/**", Path: path, Access: access, Allow: authz.Permission{Everyone: true}, Token: t}
}

// signsIn reports whether a rule's answer can depend on who somebody is.
func signsIn(r authz.Rule) bool { return r.Access == authz.Required || r.Access == authz.Optional }

// faultyURL stands for one that is wrong, so that the rest can be read too.
func faultyURL() *url.URL { return &url.URL{Scheme: "https", Host: "url.invalid"} }

// decodeURL reads where browsers find an app, into the form in which they name
// it: lower case, no port where it is the scheme's, no slash at the end.
func decodeURL(v value) *url.URL {
	v.require()
	s, ok := v.text()
	if !ok {
		return faultyURL()
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		v.fail("must be an address such as https://chat.example.org, not %s", v.quote())
		return faultyURL()
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#") {
		v.fail("must have no user, query or fragment")
		return faultyURL()
	}
	host := authz.ASCIIDomain(u.Hostname())
	switch {
	case !hostForm.MatchString(host) && net.ParseIP(host) == nil:
		v.fail("must have the name of one host, not %s", v.quote())
	case u.Port() != "" && !isPort(u.Port()):
		v.fail("must have a port between 1 and 65535, or none")
	case u.Scheme == "http" && !loopback(host) && !strings.HasSuffix(host, ".localhost"):
		v.fail("must begin with https:// (http:// is for loopback only)")
	case u.Scheme != "http" && u.Scheme != "https":
		v.fail("must begin with https://")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if path != "" && !plainPath(path) {
		v.fail("must have a plain path: no escapes, dot segments, empty segments or *")
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && port != map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		host += ":" + port
	}
	return &url.URL{Scheme: u.Scheme, Host: host, Path: path}
}

// plainPath reports whether a path says where it leads in one reading only.
func plainPath(path string) bool {
	_, err := authz.ParsePattern(path)
	return err == nil && !strings.Contains(path, "*") && !strings.HasSuffix(path, "/")
}

// decodePrefix reads where an app's login endpoints are.
func decodePrefix(v value, u *url.URL) string {
	other := u.Path + "/oauth2"
	s, ok := v.text()
	switch {
	case !ok:
		return other
	case !strings.HasPrefix(s, "/"):
		v.fail(`must start with "/"`)
	case !plainPath(s):
		v.fail("must be a plain path such as /oauth2: no escapes, dot segments, empty segments, * or slash at the end")
	case below(u.Path, s):
		v.fail("must not hold the app itself: everything below it is Countersign's")
	default:
		return s
	}
	return other
}

// below reports whether path is base or lies below it, by whole segments.
func below(path, base string) bool {
	rest, ok := strings.CutPrefix(path, base)
	return ok && (rest == "" || rest[0] == '/')
}

// decodeProviderName returns the one provider of an app.
func decodeProviderName(v value, providers []oidc.Config) string {
	var known []string
	for _, p := range providers {
		known = append(known, p.Name)
	}
	if !v.given() {
		if len(known) > 1 {
			v.fail("is required with several providers: name one of %s, a chooser is not supported yet", strings.Join(known, " "))
		}
		return strings.Join(known[:min(1, len(known))], "")
	}
	names := v.textsAs(func(item value, s string) string {
		if !slices.Contains(known, s) {
			near := nearest(s, known)
			if near != "" {
				near = ", did you mean " + near + "?"
			}
			item.fail("%s is none of the providers%s", item.quote(), near)
		}
		return s
	})
	if len(names) > 1 {
		v.fail("must name one provider: a chooser is not supported yet")
	}
	return strings.Join(names[:min(1, len(names))], "")
}

// compareApps reports what two apps cannot both have, and whether all is well.
func compareApps(o *object, a *authz.App, other *object, b *authz.App) bool {
	problems := len(o.d.problems)
	if a.Name != "" && a.Name == b.Name {
		o.find("name").fail("is also the name of %s", other.key)
	}
	url := o.find("url")
	switch {
	case url.failed() || other.find("url").failed():
		return len(o.d.problems) == problems
	// Cookies know no port (RFC 6265 §8.5).
	case a.Name == "" && b.Name == "" && a.URL.Hostname() == b.URL.Hostname():
		o.find("name").fail("is required: %s has the same host and no name either, and their cookies would be the same", other.key)
	}
	switch {
	case a.URL.Host != b.URL.Host:
	case a.URL.Path == b.URL.Path:
		url.fail("is also the url of %s", other.key)
	case takes(a, b) || takes(b, a):
		url.fail("lies across the login endpoints of %s, or the reverse: change a prefix", other.key)
	}
	return len(o.d.problems) == problems
}

// takes reports whether the login endpoints of b take addresses of a: its own
// endpoints, all of it, or a part that is not b's anyway.
func takes(b, a *authz.App) bool {
	return below(a.Prefix, b.Prefix) || below(a.URL.Path, b.Prefix) ||
		below(b.Prefix, a.URL.Path) && !below(b.URL.Path, a.URL.Path)
}
