package session

import (
	"net/http"
	"strings"
)

// mark is what the name of every cookie of ours holds, and of no other that
// reaches an upstream.
const mark = "countersign"

// CookieName is the name of an app's session cookie. Over plain HTTP, which
// only the loopback has, browsers would drop the __Host- prefix (RFC 6265bis
// §4.1.3.2).
func CookieName(app string, secure bool) string {
	return cookieName(mark, app, secure)
}

// AttemptCookieName is the name of the cookie that holds one login attempt.
func AttemptCookieName(app, tag string, secure bool) string {
	base := mark + "-login-"
	if app != "" {
		base += app + "."
	}
	return cookieName(base+tag, "", secure)
}

// SignOutCookieName is the name of the cookie that holds the state of a
// sign-out at the provider.
func SignOutCookieName(app string, secure bool) string {
	return cookieName(mark+"-logout", app, secure)
}

func cookieName(base, suffix string, secure bool) string {
	if suffix != "" {
		base += "." + suffix
	}
	if secure {
		return "__Host-" + base
	}
	return base
}

// Cookie is a pair of a Cookie header (RFC 6265 §4.2.1).
type Cookie struct {
	Name, Value string

	text    string // the pair as it stood in the header
	ours    bool   // its name is taken by Countersign
	dubious bool   // it may be a part of another cookie's value
}

// ReadCookies splits the values of the Cookie header lines into pairs. Only
// spaces and tabs around a pair are dropped, so that no other white space can
// turn a foreign name into ours.
//
// Two lines may have been joined by a comma on their way: a comma therefore also
// ends a pair where a cookie of ours stands on one of its sides. But a browser
// sends one line, or what Envoy joins with "; ", and a neighbouring domain could give it a
// cookie such as x=1,__Host-countersign=…, past all that __Host- promises. So
// what follows a comma is believed only of a program, not of a browser.
func ReadCookies(lines []string, browser bool) []Cookie {
	var cookies []Cookie
	for _, line := range lines {
		behindComma := false
		for line != "" {
			pair, rest, comma := nextPair(line)
			pair = strings.Trim(pair, " \t")
			name, value, _ := strings.Cut(pair, "=")
			if name != "" || value != "" {
				name = strings.TrimRight(name, " \t")
				cookies = append(cookies, Cookie{
					Name: name, Value: strings.TrimLeft(value, " \t"),
					text: pair, ours: ours(name), dubious: browser && behindComma,
				})
			}
			line, behindComma = rest, comma
		}
	}
	return cookies
}

// nextPair cuts the first pair off a line, and tells whether a comma ended it. It
// looks at each byte a fixed number of times: a header may hold thousands of
// commas.
func nextPair(line string) (pair, rest string, comma bool) {
	pair, rest, _ = strings.Cut(line, ";")
	mine := names(pair)
	for i := range len(pair) {
		if pair[i] == ',' && (mine || names(pair[i+1:])) {
			return pair[:i], line[i+1:], true
		}
	}
	return pair, rest, false
}

// names reports whether what stands before the next comma names a cookie of ours.
func names(s string) bool {
	part, _, _ := strings.Cut(s, ",")
	name, _, _ := strings.Cut(part, "=")
	return ours(name)
}

// ours reports whether a cookie's name is taken by Countersign. It is generous:
// whatever looks like one of ours stays away from upstreams.
func ours(name string) bool {
	return len(name) >= len(mark) && strings.Contains(strings.ToLower(name), mark)
}

// HasOurs reports whether any cookie is ours.
func HasOurs(cookies []Cookie) bool {
	for _, c := range cookies {
		if c.ours {
			return true
		}
	}
	return false
}

// WithoutOurs is the Cookie header that is left when every cookie of ours but
// the one named keep is taken out; empty when nothing is left.
func WithoutOurs(cookies []Cookie, keep string) string {
	var b strings.Builder
	for _, c := range cookies {
		if c.ours && c.Name != keep {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(c.text)
	}
	return b.String()
}

// FindCookie returns the value of the cookie with exactly that name. One that
// comes twice with one value is one; with two values it is nobody's.
func FindCookie(cookies []Cookie, name string) (string, bool) {
	var value string
	var found bool
	for _, c := range cookies {
		if c.Name != name || c.dubious {
			continue
		}
		if found && c.Value != value {
			return "", false
		}
		value, found = c.Value, true
	}
	return value, found
}

// SetCookie returns a Set-Cookie value. A maxAge of 0 lasts as long as the
// browser runs; one below 0 deletes the cookie.
func SetCookie(name, value string, maxAge int, secure bool) string {
	c := http.Cookie{ //nolint:gosec // plain HTTP is for the loopback alone, see CookieName
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	return c.String()
}
