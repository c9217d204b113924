package config

import (
	"regexp"
	"strings"

	"github.com/countersign/countersign/authz"
)

// decodeRules reads the rules of an app whose token is known.
func decodeRules(v value, a *authz.App) []authz.Rule {
	var rules, sound []authz.Rule
	var places []value // of the sound ones
	for _, item := range v.items() {
		o, ok := item.object()
		if !ok {
			continue
		}
		r, pathOK := decodeRule(o, a)
		rules = append(rules, r)
		if pathOK {
			sound, places = append(sound, r), append(places, item)
		}
	}
	for later, earlier := range authz.Shadowed(sound) {
		places[later].fail("is never reached: %s in line %d, %s, comes first and takes all its requests",
			places[earlier].key, places[earlier].at.line, sound[earlier].Path)
	}
	return rules
}

// decodeRule also reports whether the rule's path is good.
func decodeRule(o *object, a *authz.App) (authz.Rule, bool) {
	path, pathOK := decodePath(o, a)
	r := authz.Rule{
		Name:    o.get("name").textOr(path.String()),
		Path:    path,
		Methods: o.get("methods").textsAs(method),
		Access:  decodeAccess(o.get("access")),
		Allow:   authz.Permission{Everyone: true}, // only the app's decides
		Token:   decodeToken(o.get("token"), a.Token),
	}
	r.Explain, _ = o.get("explain").raw()
	r.Explain = strings.TrimSpace(r.Explain)
	r.Passthrough = o.get("bearer").choose("", "passthrough") == "passthrough"
	if allow := o.get("allow"); allow.given() {
		r.Allow = decodeAllow(allow)
		if !signsIn(r) {
			allow.warn("is never asked: access says who passes")
		}
	}
	o.close()
	return r, pathOK
}

func decodeAccess(v value) authz.Access {
	other := "required"
	if v.given() {
		other = "denied"
	}
	return map[string]authz.Access{
		"required": authz.Required, "optional": authz.Optional,
		"public": authz.Unprotected, "denied": authz.Denied,
	}[v.choose(other, "required", "optional", "public", "denied")]
}

var methodForm = regexp.MustCompile(`\A[A-Z][A-Z0-9-]{0,31}\z`)

func method(v value, s string) string {
	if !methodForm.MatchString(s) {
		v.fail("must be a method in upper case, as in GET, not %s", v.quote())
	}
	return s
}

// decodePath reads path or path_regex.
func decodePath(o *object, a *authz.App) (authz.Pattern, bool) {
	path, expression := o.get("path"), o.get("path_regex")
	v, parse := path, authz.ParsePattern
	switch {
	case path.given() && expression.given():
		expression.fail("must not stand beside path: write one of them")
		return authz.Pattern{}, false
	case expression.given():
		v, parse = expression, authz.ParseRegexp
	case !path.given():
		path.fail("is required, or path_regex: /** covers everything")
		return authz.Pattern{}, false
	}
	s, ok := v.text()
	if !ok {
		return authz.Pattern{}, false
	}
	p, err := parse(s)
	if err != nil {
		v.fail("%v", err)
		return authz.Pattern{}, false
	}
	switch {
	case expression.given():
	case !meets(s, a.URL.Path):
		v.fail("is never reached: the app's url begins at %s, and paths are those of the host", a.URL.Path)
	case below(strings.TrimSuffix(s, "/**"), a.Prefix):
		v.fail("is never reached: the login endpoints are at %s", a.Prefix)
	default:
		return p, true
	}
	return p, expression.given()
}

// meets reports whether a pattern can match base or something below it.
func meets(pattern, base string) bool {
	text, prefix := strings.CutSuffix(pattern, "/**")
	want, have := strings.Split(base, "/"), strings.Split(text, "/")
	for i := range want {
		if i >= len(have) {
			return prefix
		}
		if have[i] != "*" && have[i] != want[i] {
			return false
		}
	}
	return true
}
