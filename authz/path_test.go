package authz_test

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign/countersign/authz"
)

// slowReadings is another implementation of the three main readings, made of other
// parts of the library.
func slowReadings(raw string) ([]string, bool) {
	if !strings.HasPrefix(raw, "/") || strings.ContainsFunc(raw, control) || strings.Contains(raw, "#") {
		return nil, false
	}
	once, err := url.PathUnescape(raw)
	if err != nil {
		return nil, false
	}
	twice := escape.ReplaceAllStringFunc(once, func(e string) string {
		s, err := url.PathUnescape(e)
		if err != nil {
			panic(err)
		}
		return s
	})
	all := []string{raw}
	for _, decoded := range []string{once, twice} {
		if strings.ContainsFunc(decoded, control) {
			return nil, false
		}
		resolved, ok := slowResolve(decoded)
		if !ok {
			return nil, false
		}
		all = append(all, resolved)
	}
	return all, true
}

var (
	escape     = regexp.MustCompile(`(?s)%[0-9A-Fa-f]{2}`)
	parameters = regexp.MustCompile(`(?s);[^/]*`)
	slashes    = regexp.MustCompile(`//+`)
	directory  = regexp.MustCompile(`(^|/)\.{0,2}$`)
)

func control(c rune) bool { return c < 0x20 || c == 0x7f }

func slowResolve(p string) (string, bool) {
	p = parameters.ReplaceAllString(strings.ReplaceAll(p, `\`, "/"), "")
	p = slashes.ReplaceAllString(p, "/")
	// Below a root of its own, a path that climbs is seen to leave it.
	resolved := path.Clean("/base" + p)
	if resolved != "/base" && !strings.HasPrefix(resolved, "/base/") || climbs(p) {
		return "", false
	}
	resolved = strings.TrimPrefix(resolved, "/base")
	if directory.MatchString(p) {
		resolved += "/"
	}
	return resolved, true
}

// climbs reports whether a path leaves its root on the way, even if it returns.
func climbs(p string) bool {
	depth := 0
	for s := range strings.SplitSeq(p, "/") {
		switch s {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}

func TestReadings(t *testing.T) {
	tests := []struct {
		name, raw   string
		once, twice string // empty: refused
	}{
		{"plain", "/a/b", "/a/b", "/a/b"},
		{"root", "/", "/", "/"},
		{"slash_at_the_end", "/a/", "/a/", "/a/"},
		{"dots_in_a_name", "/a..b/c.d", "/a..b/c.d", "/a..b/c.d"},
		{"hidden_file", "/.well-known/x", "/.well-known/x", "/.well-known/x"},
		{"three_dots", "/.../x", "/.../x", "/.../x"},
		{"not_ascii", "/é/\xff", "/é/\xff", "/é/\xff"},
		{"escape", "/%61%2Fb", "/a/b", "/a/b"},
		{"escape_in_lower_case", "/%2f%c3%a9", "/é", "/é"},
		{"escape_within_an_escape", "/%2561", "/%61", "/a"},
		{"percent_sign", "/100%25/x", "/100%/x", "/100%/x"},
		{"dot", "/a/./b", "/a/b", "/a/b"},
		{"dots", "/a/../b", "/b", "/b"},
		{"dots_at_the_end", "/a/b/..", "/a/", "/a/"},
		{"dot_at_the_end", "/a/.", "/a/", "/a/"},
		{"dots_to_the_root", "/a/..", "/", "/"},
		{"escaped_dots", "/a/%2e%2E/b", "/b", "/b"},
		{"slashes", "//a///b", "/a/b", "/a/b"},
		{"backslash", `/a\..\b`, "/b", "/b"},
		{"escaped_backslash", "/a%5cb", "/a/b", "/a/b"},
		{"parameter", "/a;v=1/b;w", "/a/b", "/a/b"},
		{"parameter_on_dots", "/a/..;x/b", "/b", "/b"},
		{"escaped_parameter", "/a%3bx/b", "/a/b", "/a/b"},
		{"parameter_alone", "/;x", "/", "/"},
		{"escaped_question_mark", "/a%3fb", "/a?b", "/a?b"},
		{"escaped_hash", "/a%23b", "/a#b", "/a#b"},

		{"empty", "", "", ""},
		{"no_slash", "a", "", ""},
		{"asterisk", "*", "", ""},
		{"backslash_first", `\a`, "", ""},
		{"fragment", "/a#b", "", ""},
		{"tab", "/a\tb", "", ""},
		{"nul", "/a\x00b", "", ""},
		{"delete", "/a\x7fb", "", ""},
		{"escaped_nul", "/a%00b", "", ""},
		{"escaped_line_break", "/a%0d%0ab", "", ""},
		{"line_break_escaped_twice", "/a%250ab", "", ""},
		{"broken_escape", "/a%zz", "", ""},
		{"cut_escape", "/a%2", "", ""},
		{"percent_at_the_end", "/a%", "", ""},
		{"climbs", "/..", "", ""},
		{"climbs_and_returns", "/../a", "", ""},
		{"climbs_when_decoded_twice", "/%252e%252e/a", "", ""},
		{"climbs_on_the_way", "/a/../../b/c", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, ok := []string{tt.raw, tt.once, tt.twice}, tt.once != ""
			if got, read := authz.Read(tt.raw); read != ok || ok && !contains(got, want) {
				t.Errorf("read(%q) = %q, %t, want at least %q, %t", tt.raw, got, read, want, ok)
			}
			if got, read := slowReadings(tt.raw); read != ok || ok && !slices.Equal(got, want) {
				t.Errorf("slowReadings(%q) = %q, %t, want %q, %t", tt.raw, got, read, want, ok)
			}
		})
	}
}

func TestPattern(t *testing.T) {
	tests := []struct {
		name    string
		pattern authz.Pattern
		matches []string
		not     []string
	}{
		{"exact", exactly("/a"), []string{"/a"}, []string{"/a/", "/a/b", "/ab", "/A", "/", ""}},
		{"exact_with_a_slash", exactly("/a/"), []string{"/a/"}, []string{"/a", "/a/b"}},
		{"root", exactly("/"), []string{"/"}, []string{"/a", ""}},
		{"everything", exactly("/**"), []string{"/", "/a", "/a/b", "//"}, nil},
		{"prefix", exactly("/a/**"), []string{"/a", "/a/", "/a/b", "/a/b/c"}, []string{"/ab", "/", "/b/a"}},
		{"one_segment", exactly("/a/*"), []string{"/a/b", "/a/*"}, []string{"/a", "/a/", "/a/b/", "/a/b/c"}},
		{"segment_within", exactly("/a/*/c"), []string{"/a/b/c"}, []string{"/a/c", "/a//c", "/a/b/c/", "/a/b/d", "/a/b"}},
		{"segment_and_prefix", exactly("/*/b/**"), []string{"/a/b", "/a/b/", "/a/b/c"}, []string{"/b", "/a", "/a/bc", "//b"}},
		{"regexp", matching("/a|/b"), []string{"/a", "/b"}, []string{"/ab", "/a/b", "/a\n", "x/a"}},
		{"regexp_with_anchors", matching("^/a$"), []string{"/a"}, []string{"/a\n", "/ab"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, p := range tt.matches {
				if !tt.pattern.Match(p) {
					t.Errorf("Match(%q) = false, want true", p)
				}
			}
			for _, p := range tt.not {
				if tt.pattern.Match(p) {
					t.Errorf("Match(%q) = true, want false", p)
				}
			}
		})
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "no_slash": "a", "query": "/a?b", "fragment": "/a#b", "escape": "/a%20", "parameter": "/a;b", "backslash": `/a\b`,
		"control": "/a\n", "star_within_a_segment": "/a*b", "stars_in_the_middle": "/**/a", "three_stars": "/a/***", "dots": "/a/../b", "dot": "/./a",
		"empty_segment": "/a//b", "empty_segment_before_stars": "/a//**", "only_an_empty_segment": "//**",
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := authz.ParsePattern(s); err == nil {
				t.Errorf("ParsePattern(%q) = %s, want an error", s, p)
			}
		})
	}
	for _, s := range []string{"", "(", "a{1001}"} {
		if p, err := authz.ParseRegexp(s); err == nil {
			t.Errorf("ParseRegexp(%q) = %s, want an error", s, p)
		}
	}
}

func TestPatternString(t *testing.T) {
	for _, s := range []string{"/", "/**", "/a", "/a/**", "/a/*/b", "/*/**"} {
		if got := exactly(s).String(); got != s {
			t.Errorf("String = %q, want %q", got, s)
		}
	}
}

func TestShadowed(t *testing.T) {
	of := func(p authz.Pattern, methods ...string) authz.Rule { return authz.Rule{Path: p, Methods: methods} }
	tests := []struct {
		name    string
		earlier authz.Rule
		later   authz.Rule
		want    bool
	}{
		{"same_path", of(exactly("/a")), of(exactly("/a")), true},
		{"below_a_prefix", of(exactly("/a/**")), of(exactly("/a/b")), true},
		{"prefix_itself", of(exactly("/a/**")), of(exactly("/a")), true},
		{"prefix_below_a_prefix", of(exactly("/a/**")), of(exactly("/a/b/**")), true},
		{"segment_below_a_prefix", of(exactly("/a/**")), of(exactly("/a/*/c")), true},
		{"beside_a_prefix", of(exactly("/a/**")), of(exactly("/ab")), false},
		{"prefix_behind_an_exact_path", of(exactly("/a")), of(exactly("/a/**")), false},
		{"everything_takes_a_regexp", of(exactly("/**")), of(matching("/a.*")), true},
		{"prefix_and_regexp", of(exactly("/a/**")), of(matching("/a/b")), false},
		{"same_regexp", of(matching("/a+")), of(matching("/a+")), true},
		{"regexp_and_a_path_of_the_same_letters", of(matching("/a.b")), of(exactly("/a.b")), false},
		{"regexp_that_does_not_match_its_own_letters", of(matching("/a+")), of(exactly("/a+")), false},
		{"segment_and_a_regexp_of_the_same_letters", of(exactly("/a/*")), of(matching("/a/*")), false},
		{"same_segments", of(exactly("/a/*")), of(exactly("/a/*")), true},
		{"earlier_is_for_one_method", of(exactly("/a"), "GET"), of(exactly("/a")), false},
		{"later_is_for_one_method", of(exactly("/a")), of(exactly("/a"), "GET"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules := []authz.Rule{of(exactly("/z")), tt.earlier, tt.later}
			earlier, got := authz.Shadowed(rules)[2]
			if got != tt.want || got && earlier != 1 {
				t.Errorf("Shadowed = %t by %d, want %t by 1", got, earlier, tt.want)
			}
		})
	}
}

// raw is a navigation whose path is sent as it stands.
func raw(host, p string) authz.Request {
	r := page("https://" + host + "/")
	r.Path = p
	return r
}

// TestRoutes: which rule a request finds, or why none.
func TestRoutes(t *testing.T) {
	get := func(at string) authz.Request { return page(at) }
	post := func(at string) authz.Request { return with(request(http.MethodPost, at), "accept", "*/*") }
	const login = authz.LoginRequired
	tests := []struct {
		name string
		req  authz.Request
		want authz.Reason
		rule string
	}{
		{"dots_PN-A01", raw("app.test", "/public/../admin"), authz.Ambiguous, ""},
		{"escaped_dots_PN-A02", raw("app.test", "/public/%2e%2e/admin"), authz.Ambiguous, ""},
		{"escaped_slash_behind_dots_PN-A02", raw("app.test", "/public/..%2fadmin"), authz.Ambiguous, ""},
		{"escaped_slashes_PN-A02", raw("app.test", "/public%2f..%2fadmin"), authz.Ambiguous, ""},
		{"two_slashes_PN-A03", raw("app.test", "//admin"), authz.Ambiguous, ""},
		{"query_with_a_public_path_PN-A04", get("/admin?x=/public/a"), login, "admin"},
		{"query_that_is_a_public_path_PN-A04", get("/admin?/health"), login, "admin"},
		{"fragment_PN-A05", raw("app.test", "/admin#/public/"), authz.Malformed, ""},
		{"escaped_fragment_PN-A05", raw("app.test", "/admin%23/assets/a.css"), authz.Ambiguous, ""},
		{"capitals_PN-A06", get("/PUBLIC/x"), login, "members"},
		{"one_capital_PN-A06", get("/Health"), login, "members"},
		{"parameter_PN-A07", raw("app.test", "/public;x/../admin"), authz.Ambiguous, ""},
		{"parameter_on_dots_PN-A07", raw("app.test", "/public/..;/admin"), authz.Ambiguous, ""},
		{"slash_at_the_end_PN-A08", get("/health/"), login, "members"},
		{"name_that_begins_alike_PN-A08", get("/healthz"), login, "members"},
		{"space_at_the_end_PN-A08", raw("app.test", "/health%20"), login, "members"},
		{"asset_and_dots_PN-A09", raw("app.test", "/assets/a.css/../../admin"), authz.Ambiguous, ""},
		{"asset_is_posted_PN-A10", post("/assets/a.css"), login, "members"},
		{"asset", get("/assets/a.css"), authz.Public, "assets"},
		{"no_path_PN-A11", raw("app.test", ""), authz.Malformed, ""},
		{"asterisk_PN-A11", withMethod(raw("app.test", "*"), http.MethodOptions), authz.Malformed, ""},
		{"connect_PN-A11", withMethod(raw("app.test", ""), http.MethodConnect), authz.Malformed, ""},
		{"absolute_form_PN-A12", raw("app.test", "http://app.test/public/x"), authz.Malformed, ""},
		{"no_slash_PN-A13", raw("app.test", "public/x"), authz.Malformed, ""},
		{"query_with_dots_PN-A14", get("/public/a?next=/../admin"), authz.Public, "public"},
		{"exact_rule_with_a_query_PN-A15", get("/health?foo=bar"), authz.Public, "health"},
		{"no_rules_PN-A16", get("https://empty.test/"), authz.NoRule, ""},
		{"no_rule_matches_PN-A16", get("https://tools.test/tools/x"), authz.NoRule, ""},
		{"parameter_on_a_looser_rule_PN-A17", raw("open.test", "/admin;x=1/u"), authz.Ambiguous, ""},
		{"escape_on_a_looser_rule_PN-A18", raw("open.test", "/%61dmin/u"), authz.Ambiguous, ""},
		{"escaped_slash_under_one_rule_PN-A19", raw("app.test", "/a/%2fb"), login, "members"},
		{"percent_sign_under_one_rule_PN-A20", raw("app.test", "/files/100%25/x"), login, "members"},
		{"escape_within_an_escape_PN-A21", raw("open.test", "/%2561dmin"), authz.Ambiguous, ""},
		{"control_in_the_query", withQuery(page("/public/x"), "a\nb"), authz.Malformed, ""},

		{"capitals_in_the_host_HO-A01", get("https://APP.TEST/public/x"), authz.Public, "public"},
		{"one_capital_in_the_host_HO-A01", get("https://Admin.Test/public/x"), authz.Public, "bearer_public"},
		{"dot_behind_the_host_HO-A02", get("https://admin.test./public/x"), authz.Public, "bearer_public"},
		{"dot_and_port_HO-A02", get("https://admin.test.:443/public/x"), authz.Public, "bearer_public"},
		{"default_port_HO-A03", get("https://app.test:443/public/x"), authz.Public, "public"},
		{"another_port_HO-A03", get("https://app.test:8443/public/x"), authz.UnknownHost, ""},
		{"port_of_the_app_HO-A03", get("http://127.0.0.1:8080/"), login, "local_members"},
		{"no_port_where_the_app_has_one_HO-A03", get("http://127.0.0.1/"), authz.UnknownHost, ""},
		{"no_host_HO-A04", withHost(page("/public/x"), ""), authz.Malformed, ""},
		{"unknown_host_HO-A06", get("https://unknown.test/public/x"), authz.UnknownHost, ""},
		{"host_of_a_wildcard_RD-A14", get("https://evil.example/x"), authz.UnknownHost, ""},
		{"host_that_ends_alike", get("https://evil-app.test/public/x"), authz.UnknownHost, ""},
		{"host_with_two_dots", get("https://app.test../public/x"), authz.UnknownHost, ""},
		{"host_with_a_user", withHost(page("/public/x"), "x@app.test"), authz.UnknownHost, ""},
		{"no_method", withMethod(page("/public/x"), ""), authz.Malformed, ""},

		{"app_below_a_path", get("https://tools.test/tools/public/x"), authz.Public, "tools_public"},
		{"app_itself", get("https://tools.test/tools"), authz.NoRule, ""},
		{"app_above", get("https://tools.test/toolshed"), authz.Public, "yard_rest"},
		{"out_of_an_app_by_dots", raw("tools.test", "/tools/../x"), authz.Ambiguous, ""},
		{"into_an_app_by_dots", raw("tools.test", "/x/../tools/private/x"), authz.Ambiguous, ""},
		{"into_an_app_by_an_escape", raw("tools.test", "/%74ools/private/x"), authz.Ambiguous, ""},

		{"endpoint", get("/oauth2/start"), authz.LoginStarted, "start"},
		{"endpoint_of_an_app_below_a_path", get("https://tools.test/tools/oauth2/start"), authz.LoginStarted, "start"},
		{"endpoint_of_the_app_above", get("https://tools.test/oauth2/start"), authz.LoginStarted, "start"},
		{"endpoint_of_an_app_without_rules", get("https://empty.test/oauth2/start"), authz.LoginStarted, "start"},
		{"endpoint_in_capitals", get("/OAUTH2/start"), login, "members"},
		{"endpoint_by_an_escape", raw("app.test", "/oauth2/%73tart"), authz.Ambiguous, ""},
		{"endpoint_by_a_parameter", raw("app.test", "/oauth2;x/start"), authz.Ambiguous, ""},
		{"endpoint_by_dots", raw("app.test", "/public/../oauth2/start"), authz.Ambiguous, ""},
		{"out_of_the_endpoints_by_dots", raw("app.test", "/oauth2/../public/x"), authz.Ambiguous, ""},
		{"unknown_endpoint", get("/oauth2/nothing"), authz.NotFound, "unknown"},
		{"below_an_endpoint", get("/oauth2/start/x"), authz.NotFound, "unknown"},
		{"endpoint_with_a_slash", get("/oauth2/start/"), authz.NotFound, "unknown"},
		{"prefix_itself", get("/oauth2"), authz.NotFound, "unknown"},
		{"prefix_beside_the_app", get("https://moved.test/login/start"), authz.LoginStarted, "start"},
		{"callback_beside_the_prefix", get("https://moved.test/gtf/oauth2?state=x&code=y"), authz.LoginExpired, "callback"},
		{"below_a_callback_beside_the_prefix", get("https://moved.test/gtf/oauth2/x"), authz.NoRule, ""},
		{"unknown_endpoint_beside_the_app", get("https://moved.test/login/x"), authz.NotFound, "unknown"},
		{"no_endpoint_where_the_prefix_moved_away", get("https://moved.test/app/oauth2/start"), login, "moved_members"},
		{"name_that_begins_like_the_prefix", get("/oauth2x"), login, "members"},
	}
	w := quickWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := w.check(t, tt.req)
			if d.Reason != tt.want || d.Rule != tt.rule {
				t.Errorf("Check = %s by %q, want %s by %q", d.Reason, d.Rule, tt.want, tt.rule)
			}
			endpoint := slices.Contains([]string{"start", "callback", "unknown"}, tt.rule)
			upstream := d.Rule != "" && !endpoint || d.Reason == authz.NoRule
			if got := w.Routes.Upstream(tt.req); got != upstream {
				t.Errorf("Upstream = %t, want %t", got, upstream)
			}
		})
	}
}

func withMethod(r authz.Request, method string) authz.Request {
	r.Method = method
	return r
}

func withHost(r authz.Request, host string) authz.Request {
	r.Host = host
	return r
}

func withQuery(r authz.Request, query string) authz.Request {
	r.Query = query
	return r
}

// TestSignedInPath: one rule that covers every reading decides, and the path
// goes on as it is (PN-A19, PN-A20), since nothing edits it.
func TestSignedInPath(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	for _, p := range []string{"/a/%2fb", "/files/100%25/x", "/repo;v=1/x", "/a//b"} {
		d := w.check(t, signed(raw("app.test", p), cookie))
		if d.Reason != authz.SignedIn || d.Subject != alice.Subject {
			t.Errorf("Check(%s) = %s %s, want alice signed in", p, d.Reason, d.Subject)
		}
		for _, f := range d.Upstream.Set {
			if strings.HasPrefix(f.Name, ":") {
				t.Errorf("Check(%s) sets %s", p, f.Name)
			}
		}
	}
}

func TestNewRoutesRefuses(t *testing.T) {
	for name, u := range map[string]*url.URL{
		"no_url": nil, "no_host": {Scheme: "https"}, "no_scheme": {Host: "app.test"}, "another_scheme": {Scheme: "ftp", Host: "app.test"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := authz.NewRoutes([]*authz.App{{URL: u}}); err == nil {
				t.Error("NewRoutes = nil, want an error")
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	lines := func(n int, value string) []string {
		var all []string
		for range n {
			all = append(all, "x", value)
		}
		return all
	}
	long := func(n int) string { return strings.Repeat("a", n) }
	tests := []struct {
		name string
		req  authz.Request
		want bool
	}{
		{"target_of_16_KiB", request(http.MethodGet, "/"+long(16<<10-1)), false},
		{"target_of_one_byte_more", request(http.MethodGet, "/"+long(16<<10)), true},
		{"target_and_query", request(http.MethodGet, "/?"+long(16<<10)), true},
		{"lines", with(request(http.MethodGet, "/"), lines(1000, "")...), false},
		{"one_line_more", with(request(http.MethodGet, "/"), lines(1001, "")...), true},
		{"cookies_of_16_KiB", with(request(http.MethodGet, "/"), "cookie", long(8<<10), "cookie", long(8<<10)), false},
		{"cookies_of_one_byte_more", with(request(http.MethodGet, "/"), "cookie", long(8<<10), "cookie", long(8<<10+1)), true},
		{"headers_of_64_KiB", with(request(http.MethodGet, "/"), "x", long(64<<10-1)), false},
		{"headers_of_one_byte_more", with(request(http.MethodGet, "/"), "x", long(64<<10)), true},
	}
	w := quickWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := w.check(t, tt.req).Reason == authz.TooLarge; got != tt.want {
				t.Errorf("too large = %t, want %t", got, tt.want)
			}
		})
	}
}

// FuzzPath compares the readings with those of a slow implementation and of known
// servers, and holds
// that no looser rule passes what a stricter one guards in any reading.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/a/b", "/admin", "/admin/u", "//admin", "/admin;x=1/u", "/%61dmin/u", "/%2561dmin", "/x/../admin", "/x/..;/admin", `/x\..\admin`,
		"/x%2f..%2fadmin", "/a/%2fb", "/files/100%25/x", "/a/.", "/a/..", "/..", "/;", "/.;/admin", "/a%00", "/a%", "/a#b", "*", "", "/%2e%2e%5cadmin",
		"/%25%36%31dmin", "/admin%2f", "/admin/.", "/./admin", "/\xff", "/%c0%af", "/a?b", "/public/../admin", "/%252e%252e/admin", "/admin%23", "/%3b/admin",
	} {
		f.Add(seed)
	}
	w := quickWorld(f)
	strict, loose := exactly("/admin/**"), exactly("/**")
	f.Fuzz(func(t *testing.T, p string) {
		want, ok := slowReadings(p)
		got, read := authz.Read(p)
		if read != ok || ok && !contains(got, want) {
			t.Fatalf("read(%q) = %q, %t, want at least %q, %t", p, got, read, want, ok)
		}
		if !ok || len(p) > 16<<10 {
			return
		}
		w.log.clear()
		d := w.check(t, raw("open.test", p))
		if who := guardedByAReader(p); who != "" && d.Outcome == authz.Allow {
			t.Errorf("Check(%q) = %s by %s, though %s reads %q", p, d.Reason, d.Rule, who, readers[who](p))
		}
		guarded := slices.ContainsFunc(got, strict.Match)
		if guarded && d.Outcome == authz.Allow {
			t.Errorf("Check(%q) = %s by %s, though a reading is %q", p, d.Reason, d.Rule, want)
		}
		login := slices.ContainsFunc(got, exactly("/oauth2/**").Match)
		if !guarded && !login && d.Reason != authz.Public {
			t.Errorf("Check(%q) = %s, want public: no reading of %q is guarded", p, d.Reason, got)
		}
		for _, reading := range want {
			if !loose.Match(reading) {
				t.Errorf("reading %q of %q is no path", reading, p)
			}
		}
		if utf8.ValidString(p) && plain.MatchString(p) && slices.ContainsFunc(want, func(s string) bool { return s != p }) {
			t.Errorf("read(%q) = %q, want a plain path to read alike", p, want)
		}
	})
}

// plain is a path without anything to decode, to merge or to resolve.
var plain = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?$`)
