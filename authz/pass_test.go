package authz_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/session"
)

// upstream is what a proxy sends on: the request's header with the edits.
func upstream(req authz.Request, d authz.Decision) authz.Header {
	var h authz.Header
	edited := func(name string) bool {
		return slices.Contains(d.Upstream.Remove, name) ||
			slices.ContainsFunc(d.Upstream.Set, func(f authz.Field) bool { return f.Name == name })
	}
	for _, f := range req.Header {
		if !edited(f.Name) {
			h = append(h, f)
		}
	}
	return append(h, d.Upstream.Set...)
}

// assertionsOf are the verified subjects of every token in a header.
func (w *world) assertionsOf(tb testing.TB, h authz.Header, name, prefix string) []string {
	tb.Helper()
	var subjects []string
	for _, v := range h.Values(name) {
		subjects = append(subjects, w.claimsOf(tb, strings.TrimPrefix(v, prefix))["sub"].(string)) //nolint:errcheck,forcetypeassert // a panic fails the test
	}
	return subjects
}

// TestIdentityHeaders: nothing that the client sends says who somebody is.
func TestIdentityHeaders(t *testing.T) {
	const assertion = "x-countersign-assertion"
	tests := []struct {
		name  string
		at    string
		lines []string // of the client
		gone  []string // of which nothing of the client's reaches the upstream
	}{
		{"presets_ID-A01", "/public/x", []string{"x-forwarded-user", "root", "x-forwarded-email", "a@b", "x-forwarded-groups", "admin", "x-auth-jwt", "e30"}, nil},
		{"assertion_ID-A02", "/x", []string{assertion, "root"}, nil},
		{"claim_that_alice_lacks_ID-A03", "/x", []string{"x-auth-request-email", "chief@x"}, nil},
		{"two_lines_one_empty_ID-A04", "/x", []string{assertion, "root", assertion, ""}, nil},
		{"underscores_ID-A05", "/x", []string{"x_countersign_assertion", "root", "x_auth_request_groups", "admin"}, nil},
		{"underscores_on_a_public_page_ID-A05", "/public/x", []string{"x_countersign_assertion", "root", "x_auth_jwt", "e30"}, nil},
		{"dots_ID-A06", "/x", []string{"x.countersign.assertion", "root"}, nil},
		{"a_mixture_ID-A06", "/x", []string{"x_countersign-assertion", "root", "x-auth.request_user", "root", "x.forwarded-user", "root"}, nil},
		{"capitals", "/x", []string{"X-Countersign-Assertion", "root", "X_Auth_Jwt", "e30"}, nil},
		{"header_of_another_rule", "/x", []string{"x-auth-jwt", "e30", "x_auth-jwt", "e30"}, nil},
		{"header_of_the_rule", "/legacy/x", []string{"x-auth-jwt", "e30", "x_auth_jwt", "e30", assertion, "root"}, nil},
		{"connection_ID-A07", "/x", []string{"connection", "x-countersign-assertion, x-auth-jwt", assertion, "root"}, nil},
		{"names_that_only_we_may_set", "/x", []string{"x-countersign-anything", "1", "x_countersign_user", "root", "x-auth-request-anything", "1"}, nil},
		{"optional_page_of_nobody", "/optional/x", []string{assertion, "root", "x_forwarded_user", "root"}, nil},
		{"passthrough_ID-A10", "/v1/x", []string{"authorization", "Bearer forged", assertion, "root", "x.auth.jwt", "e30"}, nil},
	}
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := with(page(tt.at), tt.lines...)
			if strings.HasPrefix(tt.at, "/x") || strings.HasPrefix(tt.at, "/legacy") {
				req = signed(req, cookie)
			}
			d := w.check(t, req)
			if d.Outcome != authz.Allow {
				t.Fatalf("Check = %s, want a pass", d.Reason)
			}
			got := upstream(req, d)
			carrier := map[bool]string{false: assertion, true: "x-auth-jwt"}[strings.HasPrefix(tt.at, "/legacy")]
			var want []string
			if d.Reason == authz.SignedIn {
				want = []string{alice.Subject}
			}
			if diff := cmp.Diff(want, w.assertionsOf(t, got, carrier, "")); diff != "" {
				t.Errorf("assertions in %s (-want +got):\n%s", carrier, diff)
			}
			for i := 0; i < len(tt.lines); i += 2 {
				name, value := tt.lines[i], tt.lines[i+1]
				if name != "connection" && name != "authorization" && slices.Contains(got, authz.Field{Name: name, Value: value}) {
					t.Errorf("the client's %s: %s reaches the upstream", name, value)
				}
			}
		})
	}
}

// TestEveryHeaderIsRemoved is ID-A09: also what this request does not bring, for
// a proxy that adds it afterwards.
func TestEveryHeaderIsRemoved(t *testing.T) {
	w := quickWorld(t)
	want := []string{
		"x-auth-jwt", "x-auth-request-access-token", "x-auth-request-email", "x-auth-request-groups",
		"x-auth-request-preferred-username", "x-auth-request-user", "x-countersign-assertion",
		"x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username", "x-forwarded-user",
	}
	got := slices.Sorted(slices.Values(w.check(t, page("/public/x")).Upstream.Remove))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Remove on a public page (-want +got):\n%s", diff)
	}
	signedIn := w.check(t, signed(page("/x"), w.sessionOf(t, "", alice)))
	if got := append(slices.Clone(signedIn.Upstream.Remove), "x-countersign-assertion"); len(got) != len(want)+1 { // and the cookie
		t.Errorf("Remove = %q, want all but what is set", got)
	}
}

// TestAuthorization is the table of what becomes of the client's Authorization.
func TestAuthorization(t *testing.T) {
	const client = "Bearer the client's own"
	tests := []struct {
		name   string
		at     string
		signed string // the app, if alice is signed in there
		token  string // "passed on", "removed" or "replaced"
		also   string // the header in which a token of ours goes on; empty: in none
	}{
		{"public_and_another_header", "https://app.test/public/x", "", "passed on", ""},
		{"public_and_authorization", "https://admin.test/public/x", "", "removed", ""},
		{"session_and_another_header", "https://app.test/x", "app.test", "passed on", "x-countersign-assertion"},
		{"session_and_authorization", "https://admin.test/x", "admin.test", "replaced", "authorization"},
		{"passthrough_and_another_header", "https://app.test/v1/x", "", "passed on", ""},
		{"passthrough_and_authorization", "https://admin.test/v1/x", "", "passed on", ""},
		{"passthrough_beside_a_session", "https://app.test/v1/x", "app.test", "passed on", ""},
		{"optional_without_a_session", "https://app.test/optional/x", "", "passed on", ""},
		{"optional_with_a_session", "https://app.test/optional/x", "app.test", "passed on", "x-countersign-assertion"},
		{"app_without_a_token", "https://tools.test/tools/private/x", "tools.test", "passed on", ""},
	}
	w := quickWorld(t)
	names := map[string]string{"app.test": "", "admin.test": "admin", "tools.test": "tools"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := with(page(tt.at), "authorization", client)
			if name, ok := names[tt.signed]; ok {
				req = with(req, "cookie", session.CookieName(name, true)+"="+w.sessionOf(t, name, alice))
			}
			d := w.check(t, req)
			if d.Outcome != authz.Allow {
				t.Fatalf("Check = %s, want a pass", d.Reason)
			}
			got := upstream(req, d)
			became := "removed"
			switch values := got.Values("authorization"); {
			case len(values) == 1 && values[0] == client:
				became = "passed on"
			case len(values) == 1 && strings.HasPrefix(values[0], "Bearer ey"):
				became = "replaced"
			case len(values) != 0:
				t.Errorf("Authorization = %q", values)
			}
			if became != tt.token {
				t.Errorf("the client's Authorization is %s, want %s", became, tt.token)
			}
			for _, name := range []string{"x-countersign-assertion", "x-auth-jwt"} {
				if got.Has(name) != (tt.also == name) {
					t.Errorf("header %s is there: %t, want %t", name, got.Has(name), tt.also == name)
				}
			}
		})
	}
}

// TestAssertion: what an upstream learns.
func TestAssertion(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	id := mustParse(t, cookie).ID()
	for at, audience := range map[string]string{"/x": "https://app.test", "/legacy/x": "https://legacy.test"} {
		d := w.check(t, signed(page(at), cookie))
		i := slices.IndexFunc(d.Upstream.Set, func(f authz.Field) bool { return f.Name != "cookie" })
		if i < 0 {
			t.Fatalf("%s: no token in %v", at, d.Upstream.Set)
		}
		got := w.claimsOf(t, d.Upstream.Set[i].Value)
		delete(got, "jti")
		want := map[string]any{
			"iss": audience + "/oauth2", "aud": audience, "sub": alice.Subject, "idp": issuer, "sid": id.SID(),
			"iat": float64(noon.Unix()), "nbf": float64(noon.Unix()), "exp": float64(noon.Add(5 * time.Minute).Unix()),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: claims (-want +got):\n%s", at, diff)
		}
		if d.Subject != alice.Subject || d.Session != id || d.App != "app.test" {
			t.Errorf("%s: decision names %q, %v at %q", at, d.Subject, d.Session, d.App)
		}
	}
	w.clock.pass(30 * time.Minute)
	if got := len(w.check(t, signed(page("/x"), cookie)).Upstream.Set); got != 1 {
		t.Errorf("a later request sets %d headers, want 1", got)
	}
}

func mustParse(tb testing.TB, cookie string) session.Token {
	tb.Helper()
	token, ok := session.ParseToken(cookie)
	if !ok {
		tb.Fatalf("%q is no session cookie", cookie)
	}
	return token
}

// TestCookies: which session the cookies mean, and what of them goes on.
func TestCookies(t *testing.T) {
	w := quickWorld(t)
	var (
		hers  = w.sessionOf(t, "", alice)
		his   = w.sessionOf(t, "", bob)
		other = w.sessionOf(t, "admin", alice)
	)
	const name = sessionCookie
	tests := []struct {
		name  string
		lines []string
		who   string   // the subject that goes on; empty: a login is asked for
		rest  []string // the Cookie lines that go on, where somebody is signed in
	}{
		{"one", []string{name + "=" + hers}, alice.Subject, nil},
		{"none", nil, "", nil},
		{"among_others", []string{"a=1; " + name + "=" + hers + "; b=2"}, alice.Subject, []string{"a=1; b=2"}},
		{"on_a_second_line", []string{"a=1", name + "=" + hers}, alice.Subject, []string{"a=1"}},
		{"joined_by_a_comma", []string{"a=1," + name + "=" + hers + ",b=2"}, alice.Subject, []string{"a=1; b=2"}},
		{"joined_by_a_comma_and_a_blank", []string{"a=1, " + name + "=" + hers + ", b=2; c=3"}, alice.Subject, []string{"a=1; b=2; c=3"}},
		{"without_blanks", []string{"a=1;" + name + "=" + hers + ";b=2"}, alice.Subject, []string{"a=1; b=2"}},
		{"blanks_around_it", []string{" \t" + name + " = " + hers + " \t"}, alice.Subject, nil},
		{"twice_alike", []string{name + "=" + hers + "; " + name + "=" + hers}, alice.Subject, nil},
		{"beside_an_attempt_and_a_sign_out", []string{name + "=" + hers + "; " + attemptPrefix + "x=y; __Host-countersign-logout=z; a=1"}, alice.Subject, []string{"a=1"}},
		{"of_another_app_beside_it", []string{name + "=" + hers + "; " + name + ".admin=" + other}, alice.Subject, nil},
		{"joined_to_a_name_without_a_value", []string{"a,b," + name + "=" + hers + ",c"}, alice.Subject, []string{"a,b; c"}},
		{"commas_in_a_foreign_cookie", []string{"a=1,2,b=3; " + name + "=" + hers}, alice.Subject, []string{"a=1,2,b=3"}},
		{"nothing_of_ours", []string{"a=1"}, "", nil},
		{"space_before_the_name_CK-A02", []string{"\u2000" + name + "=" + his + "; " + name + "=" + hers}, alice.Subject, nil},
		{"only_with_a_space_before_the_name_CK-A02", []string{"\u2000" + name + "=" + hers}, "", nil},
		{"two_values_CK-A03", []string{name + "=" + hers + "; " + name + "=" + his}, "", nil},
		{"two_values_on_two_lines_CK-A03", []string{name + "=" + hers, name + "=" + his}, "", nil},
		{"two_values_one_empty_CK-A03", []string{name + "=" + hers + "; " + name + "="}, "", nil},
		{"two_values_joined_by_a_comma_CK-A03", []string{name + "=" + hers + "," + name + "=" + his}, "", nil},
		{"tossed_within_a_value_CK-A10", []string{"x=1," + name + "=" + hers}, "", nil},
		{"tossed_beside_the_own_CK-A10", []string{name + "=" + hers + "; x=1," + name + "=" + his}, alice.Subject, []string{"x=1"}},
		{"lower_case_name_CK-A04", []string{"__host-countersign=" + hers}, "", nil},
		{"name_without_its_prefix_CK-A04", []string{"countersign=" + hers}, "", nil},
		{"version_CK-A05", []string{"$Version=1; " + name + "=" + hers}, alice.Subject, []string{"$Version=1"}},
		{"quoted_CK-A05", []string{name + `="` + hers + `"`}, "", nil},
		{"padding_CK-A06", []string{name + "=" + hers + "="}, "", nil},
		{"more_padding_CK-A06", []string{name + "=" + hers + "=="}, "", nil},
		{"one_character_changed", []string{name + "=" + flip(hers)}, "", nil},
		{"one_character_less", []string{name + "=" + hers[1:]}, "", nil},
		{"second_spelling_of_the_last_character", []string{name + "=" + secondSpelling(hers)}, "", nil},
		{"of_another_app_HO-A05", []string{name + "=" + other}, "", nil},
		{"zero_token", []string{name + "=" + session.Token{}.Reveal()}, "", nil},
		{"forged_token", []string{name + "=" + session.NewToken().Reveal()}, "", nil},
		{"id_for_a_token", []string{name + "=" + base64.RawURLEncoding.EncodeToString(idOf(t, hers))}, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := page("/x")
			if strings.Contains(tt.name, "joined") { // by a proxy, for a program: browsers send one line
				req = with(request(http.MethodGet, "/x"), "accept", "text/html")
			}
			for _, l := range tt.lines {
				req = with(req, "cookie", l)
			}
			d := w.check(t, req)
			if d.Subject != tt.who || (d.Reason == authz.SignedIn) != (tt.who != "") {
				t.Fatalf("Check = %s for %q, want %q", d.Reason, d.Subject, tt.who)
			}
			if tt.who == "" {
				if d.Reason != authz.LoginRequired || d.Outcome != authz.Redirect {
					t.Errorf("Check = %s %s, want a login", d.Outcome, d.Reason)
				}
				return
			}
			if diff := cmp.Diff(tt.rest, upstream(req, d).Values("cookie")); diff != "" {
				t.Errorf("cookies that go on (-want +got):\n%s", diff)
			}
		})
	}
}

func flip(cookie string) string {
	if cookie[0] == 'A' {
		return "B" + cookie[1:]
	}
	return "A" + cookie[1:]
}

// secondSpelling decodes to the same bytes for a decoder that ignores stray bits.
func secondSpelling(cookie string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, cookie[len(cookie)-1])
	return cookie[:len(cookie)-1] + string(alphabet[last|1])
}

func idOf(tb testing.TB, cookie string) []byte {
	tb.Helper()
	id := mustParse(tb, cookie).ID()
	return id[:]
}

// TestCookiesOnPublicPages: no session is looked at, and no cookie of ours goes on.
func TestCookiesOnPublicPages(t *testing.T) {
	w := quickWorld(t)
	loads := w.store.count("load")
	for _, line := range []string{"__Host-countersign=x", "COUNTERSIGN-debug=x", "countersign=x, a=1", "x-countersign-y=z", "__Secure-countersign=x"} {
		req := with(page("/public/x"), "cookie", line, "cookie", "b=2")
		d := w.check(t, req)
		got := strings.Join(upstream(req, d).Values("cookie"), "; ")
		if d.Reason != authz.Public || strings.Contains(strings.ToLower(got), "countersign") || !strings.Contains(got, "b=2") {
			t.Errorf("Cookie %q: %s, %q goes on", line, d.Reason, got)
		}
	}
	if got := w.store.count("load") - loads; got != 0 {
		t.Errorf("the store was asked %d times", got)
	}
}

// TestHostileCookies: reading cookies costs what their length costs.
func TestHostileCookies(t *testing.T) {
	w := quickWorld(t)
	for _, part := range []string{",", "A,", ";", "=", "a=,", ",countersign", ", countersign=,", "countersign=;", "\t"} {
		line := strings.Repeat(part, 16<<10/len(part))
		began := time.Now()
		for range 10 {
			w.check(t, with(page("/public/x"), "cookie", line))
		}
		if took := time.Since(began) / 10; took > 50*time.Millisecond { // quadratic, it takes 300 ms and more
			t.Errorf("16 KiB of %q take %v", part, took)
		}
	}
}

// TestRandomCookies is CK-A07.
func TestRandomCookies(t *testing.T) {
	w := quickWorld(t)
	for range 100 {
		random := session.NewToken()
		for _, value := range []string{string(random[:]), fmt.Sprintf("%x", random[:]), random.Reveal()} {
			if d := w.check(t, signed(page("/x"), value)); d.Reason != authz.LoginRequired || d.Status != http.StatusFound {
				t.Errorf("Check with %q = %s %d, want a login", value, d.Reason, d.Status)
			}
		}
	}
}

// TestForwardedHeaders is FH-A01 to FH-A07: what a client says about the way of
// its request changes nothing.
func TestForwardedHeaders(t *testing.T) {
	tests := []struct{ name, header, value string }{
		{"uri_FH-A01", "x-forwarded-uri", "/public/x"},
		{"original_url_FH-A02", "x-original-url", "/public/x"},
		{"rewrite_url_FH-A02", "x-rewrite-url", "/public/x"},
		{"envoy_original_path_FH-A02", "x-envoy-original-path", "/public/x"},
		{"proto_FH-A03", "x-forwarded-proto", "http"},
		{"health_checker_FH-A04", "user-agent", "GoogleHC/1.0"},
		{"probe_FH-A04", "user-agent", "kube-probe/1.30"},
		{"for_FH-A05", "x-forwarded-for", "127.0.0.1"},
		{"host_FH-A06", "x-forwarded-host", "evil.example"},
		{"prefix_FH-A07", "x-forwarded-prefix", "https://evil.example"},
		{"method", "x-http-method-override", "OPTIONS"},
		{"forwarded", "forwarded", "host=evil.example;proto=http"},
	}
	w := newWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := w.check(t, with(page("/admin"), tt.header, tt.value))
			location := d.Client.Get("Location")
			if d.Outcome != authz.Redirect || d.Rule != "admin" || !strings.Contains(location, "redirect_uri=https%3A%2F%2Fapp.test%2Foauth2%2Fcallback") {
				t.Errorf("Check = %s %s by %q to %s, want the login of /admin", d.Outcome, d.Reason, d.Rule, location)
			}
		})
	}
}
