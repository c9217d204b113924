package authz_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
)

// readers are what servers are known to make of a path, each in its own order.
var readers = map[string]func(string) string{
	"as_sent":             func(p string) string { return p },
	"decoded":             decoded,
	"decoded_twice":       func(p string) string { return decoded(decoded(p)) },
	"rfc_3986":            literalDots,
	"rfc_3986_decoded":    func(p string) string { return decoded(literalDots(p)) },
	"whatwg_url":          func(p string) string { return literalDots(spelledDots(backslashes(p))) },
	"posix_normalize":     path.Clean,
	"nginx":               func(p string) string { return path.Clean(decoded(p)) },
	"nginx_unmerged":      func(p string) string { return literalDots(decoded(p)) },
	"java_uri":            func(p string) string { return decoded(literalDots(stripped(p))) },
	"tomcat":              func(p string) string { return path.Clean(backslashes(decoded(stripped(p)))) },
	"jetty":               func(p string) string { return literalDots(decoded(stripped(p))) },
	"strips_what_decodes": func(p string) string { return path.Clean(stripped(decoded(p))) },
	"iis":                 func(p string) string { return path.Clean(backslashes(decoded(p))) },
	"passes_decoded_on":   func(p string) string { return untilQuery(decoded(p)) },
	"decodes_behind_a_proxy_that_resolves_alone": func(p string) string { return path.Clean(decoded(literalDots(p))) },
	"decodes_behind_a_proxy_that_resolves": func(p string) string {
		return path.Clean(decoded(path.Clean(decoded(p))))
	},
}

// decoded is p decoded once, or as it is where it cannot be.
func decoded(p string) string {
	if d, err := url.PathUnescape(p); err == nil {
		return d
	}
	return p
}

func backslashes(p string) string { return strings.ReplaceAll(p, `\`, "/") }
func stripped(p string) string    { return parameters.ReplaceAllString(p, "") }

func spelledDots(p string) string {
	return strings.ReplaceAll(strings.ReplaceAll(p, "%2e", "."), "%2E", ".")
}

func untilQuery(p string) string {
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		return p[:i]
	}
	return p
}

// literalDots is RFC 3986 §5.2.4 to the letter.
func literalDots(in string) string {
	var out string
	for in != "" {
		switch {
		case strings.HasPrefix(in, "/./"):
			in = in[2:]
		case in == "/.":
			in = "/"
		case strings.HasPrefix(in, "/../"), in == "/..":
			in = "/" + strings.TrimPrefix(in[3:], "/")
			out = out[:max(strings.LastIndexByte(out, '/'), 0)]
		default:
			end := strings.IndexByte(in[1:], '/') + 1
			if end == 0 {
				end = len(in)
			}
			out, in = out+in[:end], in[end:]
		}
	}
	return out
}

// A path that any server reads as a guarded one never passes the looser rule.
func TestNoReaderIsLetPastAGuard(t *testing.T) {
	w := quickWorld(t)
	for _, p := range []string{
		"/x/../admin//../u", "/x//../admin/u", "/x/;/../admin/u", "/x/;a/../admin/u", "/x%2fy/../admin/u", "/a%2fb/../admin/u",
		"/%61dmin/../u", "/admin%2f../u", "/x/..;%2fy/admin/u", "/admin%3fu", "/admin%23u", "/x/../admin/..;/u",
		"/x/../admin/..;v=1/u", `/x/../admin/..\u`, "/x/../admin/%2e%2e/u", "/x/../admin/..%2Fu", "/x/../admin/..%5Cu",
		"/x/../admin/..%3B/u", "/x/../admin/%252e%252e/u", "/admin;%2fu", "/x%5c..%5cadmin/u", "/x/%3b/../admin/u", "/x/%3b/%2e%2e/admin/u", "/x/%3B/..%2fadmin/u",
		"/p/x%2fy/../..%2fadmin/u", "/p/x%252fy/../..%252fadmin/u",
	} {
		t.Run(p, func(t *testing.T) {
			guarded := false
			for name, reader := range readers {
				if exactly("/admin/**").Match(reader(p)) {
					guarded = true
					t.Logf("%s reads %q", name, reader(p))
				}
			}
			if !guarded {
				t.Error("nobody reads a guarded path: the row proves nothing")
			}
			if d := w.check(t, raw("open.test", p)); d.Outcome == authz.Allow {
				t.Errorf("Check = %s by %s", d.Reason, d.Rule)
			}
		})
	}
}

// What a hostile path costs is bounded: there are so many readings, and a path
// that needs them is so long at most.
func TestHostilePathHasABound(t *testing.T) {
	w := quickWorld(t)
	for _, part := range []string{"/%2e.;a", `/x\..//`, "/a;b%2f", "/%252e%252e/a", "//", "/.%2E/;/x", "/%3f/..%23"} {
		long := "/" + strings.Repeat("x/", 1000)
		if all, _ := authz.Read(long + strings.Repeat(part, 200)); len(all) > 150 {
			t.Errorf("%q has %d readings", part, len(all))
		}
		if d := w.check(t, raw("open.test", long+strings.Repeat(part, 1500))); d.Reason != authz.TooLarge {
			t.Errorf("Check of much %q = %s, want too_large", part, d.Reason)
		}
	}
}

// guardedByAReader names a reader to whom p is guarded, if there is one.
func guardedByAReader(p string) string {
	for name, reader := range readers {
		if exactly("/admin/**").Match(reader(p)) {
			return name
		}
	}
	return ""
}

// contains reports whether all of want is in got.
func contains(got, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(got, s) })
}
