package authz_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
)

// hostOf returns the host to which a browser goes that follows location from a
// page of app.test, as the URL Standard of the WHATWG has it, and "" where it is
// no web address.
func hostOf(location string) string {
	s := strings.TrimFunc(location, func(c rune) bool { return c <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	scheme, rest := cutScheme(s)
	if scheme != "" && scheme != "https" && scheme != "http" {
		return ""
	}
	slashed := strings.ReplaceAll(rest, `\`, "/")
	if scheme == "" && !strings.HasPrefix(slashed, "//") {
		return "app.test"
	}
	authority := strings.TrimLeft(slashed, "/")
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority = authority[:i]
	}
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if decoded, err := url.PathUnescape(authority); err == nil {
		authority = decoded
	}
	host := strings.ToLower(authority)
	if scheme != "http" {
		host = strings.TrimSuffix(host, ":443")
	}
	return host
}

func cutScheme(s string) (scheme, rest string) {
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return strings.ToLower(s[:i]), s[i+1:]
		default:
			return "", s
		}
	}
	return "", s
}

// TestHostOf tests the judge.
func TestHostOf(t *testing.T) {
	for location, want := range map[string]string{
		"/x": "app.test", "x": "app.test", "?x": "app.test", "": "app.test", "/x//evil.example": "app.test",
		"//evil.example/x": "evil.example", `/\evil.example`: "evil.example", `\\evil.example`: "evil.example",
		"/\t/evil.example": "evil.example", " //evil.example": "evil.example", "https:evil.example": "evil.example",
		"HTTPS://EVIL.example:443": "evil.example", "https://app.test@evil.example/": "evil.example",
		`https://app.test\@evil.example/`: "app.test", "https://app.test//evil.example": "app.test",
		"https:///evil.example": "evil.example", "javascript:alert(1)": "", "https://evil%2eexample": "evil.example",
	} {
		if got := hostOf(location); got != want {
			t.Errorf("hostOf(%q) = %q, want %q", location, got, want)
		}
	}
}

// TestReturnTo: where a person ends up who asked for a page, or who was sent to
// the start endpoint with an rd parameter.
func TestReturnTo(t *testing.T) {
	const home = "https://app.test/"
	long := "/" + strings.Repeat("a", 511)
	tests := []struct{ name, at, want string }{
		{"page", "/docs?page=2", "https://app.test/docs?page=2"},
		{"page_with_an_escape", "/a%20b?q=%2F%5C", "https://app.test/a%20b?q=%2F%5C"},
		{"page_that_looks_like_a_host_RD-A01", "//evil.example/x", "https://app.test//evil.example/x"},
		{"page_with_a_backslash_RD-A02", `/\evil.example/x`, "https://app.test/%5Cevil.example/x"},
		{"page_with_an_escaped_backslash_RD-A03", "/%5Cevil.example", "https://app.test/%5Cevil.example"},
		{"page_with_escaped_slashes_RD-A03", "/%2F%2Fevil.example", "https://app.test/%2F%2Fevil.example"},
		{"page_of_512_bytes", long, "https://app.test" + long},
		{"page_of_513_bytes", long + "a", home},

		{"start", "/oauth2/start", home},
		{"sign_in", "/oauth2/sign_in?rd=/docs", "https://app.test/docs"},
		{"rd_is_a_path", rd("/docs?page=2"), "https://app.test/docs?page=2"},
		{"rd_is_an_address_of_the_app", rd("https://app.test/docs"), "https://app.test/docs"},
		{"rd_is_the_app", rd("https://app.test"), home},
		{"rd_is_empty", rd(""), home},
		{"rd_is_an_escaped_path", rd("/a%2Fb"), "https://app.test/a%2Fb"},
		{"rd_is_another_host_RD-A04", rd("https://evil.example/"), home},
		{"rd_is_another_host_without_a_scheme_RD-A05", rd("//evil.example"), home},
		{"rd_has_a_tab_RD-A06", rd("/\t/evil.example"), home},
		{"rd_has_an_escaped_tab_RD-A06", rd("/%09/evil.example"), home},
		{"rd_has_the_app_as_its_user_RD-A07", rd("https://app.test@evil.example/"), home},
		{"rd_begins_like_the_app_RD-A08", rd("https://app.test.evil.example/"), home},
		{"rd_ends_like_the_app_RD-A08", rd("https://evil-app.test/"), home},
		{"rd_is_a_script_RD-A09", rd("javascript:alert(1)"), home},
		{"rd_breaks_the_line_RD-A10", rd("/\r\nSet-Cookie: x=1"), home},
		{"rd_breaks_the_line_when_decoded_RD-A10", rd("/%0d%0aSet-Cookie:%20x=1"), home},
		{"rd_is_the_app_without_tls_RD-A11", rd("http://app.test/"), home},
		{"rd_is_another_port", rd("https://app.test:8443/"), home},
		{"rd_is_relative", rd("docs"), home},
		{"rd_has_a_backslash", rd(`/\evil.example`), home},
		{"rd_has_a_backslash_in_its_query", rd(`/x?\\evil.example`), "https://app.test/x?%5C%5Cevil.example"},
		{"rd_climbs_above_the_root", rd("/..//evil.example"), home},
		{"rd_has_a_fragment", rd("/x#y"), home},
		{"rd_is_a_login_endpoint", rd("/oauth2/sign_out"), home},
		{"rd_is_a_login_endpoint_in_another_reading", rd("/x/../oauth2%2Fsign_out"), home},
		{"rd_comes_twice", rd("/a") + "&rd=/b", home},
		{"rd_of_513_bytes", rd(long + "a"), home},
		{"rd_in_a_query_that_cannot_be_read", "/oauth2/start?rd=/a;b", home},

		{"page_of_an_app_below_a_path", "https://tools.test/tools/private/x", "https://tools.test/tools/private/x"},
		{"start_of_an_app_below_a_path", "https://tools.test/tools/oauth2/start", "https://tools.test/tools"},
		{"rd_within_an_app_below_a_path", "https://tools.test/tools/oauth2/start?rd=/tools/x", "https://tools.test/tools/x"},
		{"rd_of_the_app_above", "https://tools.test/tools/oauth2/start?rd=/x", "https://tools.test/tools"},
		{"rd_that_begins_like_the_app_below_a_path", "https://tools.test/tools/oauth2/start?rd=/toolshed", "https://tools.test/tools"},
		{"rd_that_leaves_the_app_below_a_path", "https://tools.test/tools/oauth2/start?rd=/tools/../x", "https://tools.test/tools"},
	}
	w := quickWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := w.browser()
			if got := b.endsUp(t, page(tt.at)); got != tt.want {
				t.Errorf("Location = %q, want %q", got, tt.want)
			}
		})
	}
}

func rd(address string) string { return "/oauth2/start?rd=" + url.QueryEscape(address) }

// endsUp begins a login with a request and returns where the person ends up, or
// "" if none begins.
func (b *browser) endsUp(tb testing.TB, req authz.Request) string {
	tb.Helper()
	begun := b.send(tb, req)
	if begun.Outcome != authz.Redirect {
		return ""
	}
	u, err := url.Parse(begun.Client.Get("Location"))
	if err != nil {
		tb.Fatal(err)
	}
	callback := request(http.MethodGet, "/oauth2/callback?code=c&state="+u.Query().Get("state"))
	callback.Host = req.Host
	if strings.HasPrefix(req.Path, "/tools/") {
		callback.Path = "/tools" + callback.Path
	}
	d := b.send(tb, callback)
	if d.Reason != authz.LoginFinished {
		tb.Fatalf("callback = %s: %v", d.Reason, d.Cause)
	}
	return d.Client.Get("Location")
}

// generated are addresses of an attacker: every nth of all that the parts make.
func generated(nth int) []string {
	parts := [][]string{
		{"", "https:", "http:", "HTTPS:", "javascript:", "data:text/html,", "ht\ntps:", " https:", "\x00", "https"},
		{"", "/", "//", "///", `/\`, `\/`, `\\`, "/\t/", "/\n/", "/%2f", "/%5c", "%2f%2f", "/./", "/.//", "/..//", "/x/..//", "/;/", "/%09/", "/%252f"},
		{"", "app.test@", "app.test:pw@", "app.test%40", "@", `app.test\@`, "https://app.test@"},
		{"evil.example", "app.test", "app.test.evil.example", "evil-app.test", "EVIL.EXAMPLE", "evil。example", "[::1]", "2130706433", "evil%2eexample", ""},
		{"", ":443", ":8443", ":"},
		{"", "/", "/x", "/../x", "/%2e%2e/%2e%2e/x", "?https://app.test/", "#@app.test", `\@app.test`, "?\r\nSet-Cookie:x=1", "/;/..", "/\xff"},
	}
	total := 1
	for _, p := range parts {
		total *= len(p)
	}
	var all []string
	for n := 0; n < total; n += nth {
		var b strings.Builder
		rest := n
		for _, p := range parts {
			b.WriteString(p[rest%len(p)])
			rest /= len(p)
		}
		all = append(all, b.String())
	}
	return all
}

// TestNoOpenRedirect is RD-A12.
func TestNoOpenRedirect(t *testing.T) {
	w := quickWorld(t)
	// 389 shares no factor with a part, so that all pairs of parts come up.
	addresses := generated(389)
	if len(addresses) < 1000 {
		t.Fatalf("%d addresses, want a thousand", len(addresses))
	}
	var away, paths int
	for _, a := range addresses {
		if hostOf(a) != "app.test" {
			away++
		}
		raw := page("/")
		raw.Path, raw.Query, _ = strings.Cut("/"+strings.TrimPrefix(a, "/"), "?")
		for kind, req := range map[string]authz.Request{"rd": page(rd(a)), "path": raw} {
			location := w.browser().endsUp(t, req)
			if kind == "rd" && location == "" {
				t.Errorf("rd=%q begins no login", a)
			}
			if kind == "path" && location != "" {
				paths++
			}
			if location != "" && (!stays(location, "app.test") || !strings.HasPrefix(location, "https://app.test/")) {
				t.Errorf("%s %q leads to %q", kind, a, location)
			}
		}
	}
	if away < 500 || paths < 500 {
		t.Errorf("%d addresses lead away and %d are pages: the grammar tests too little", away, paths)
	}
}

// TestLocationIsOneLine is RD-A10 on the wire.
func TestLocationIsOneLine(t *testing.T) {
	w := quickWorld(t)
	for _, a := range []string{"/\r\nSet-Cookie: x=1", "/%0d%0aSet-Cookie: x=1", "/x?%0d%0aSet-Cookie: x=1"} {
		d := w.check(t, page("/oauth2/start?rd="+strings.ReplaceAll(strings.ReplaceAll(a, "\r", "%0d"), "\n", "%0a")))
		if len(d.Client.Values("Location")) != 1 || len(d.Client.Values("Set-Cookie")) != 1 {
			t.Errorf("rd=%q: header %s, want one Location and one Set-Cookie", a, fmt.Sprint(d.Client))
		}
	}
}
