package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// headerApps has a rule of each access. One rule names a header of its own,
// which is therefore nobody else's to set, on no path.
const headerApps = `
  - url: https://app.example.test
    allow: everyone
    token: {audience: api}
    rules:
      - {path: /public, access: public}
      - {path: /optional, access: optional}
      - {path: /required}
      - {path: /staff, token: {header: x-staff-token}}
`

// forgeable are the headers that the permutations are made of.
var forgeable = []string{assertion, "x-auth-request-email", "x-forwarded-user", "x-staff-token"}

// identityHeaders are all that say who somebody is, in that setup.
var identityHeaders = append([]string{
	"x-auth-request-user", "x-auth-request-groups", "x-auth-request-preferred-username", "x-auth-request-access-token",
	"x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
}, forgeable...)

// forgery is in the value of every header that somebody forged.
const forgery = "forged-by-the-client"

// spellings are all ways to write a header's name that some server takes for
// the name itself: "-", "_" and "." in every position, in four cases.
func spellings(name string) []string {
	names := []string{""}
	for i, part := range strings.Split(name, "-") {
		var longer []string
		for _, n := range names {
			if i == 0 {
				longer = append(longer, part)
				continue
			}
			for _, separator := range []string{"-", "_", "."} {
				longer = append(longer, n+separator+part)
			}
		}
		names = longer
	}
	var all []string
	for _, n := range names {
		all = append(all, n, strings.ToUpper(n), titled(n), alternating(n))
	}
	return all
}

// titled is a name as in X-Forwarded-User.
func titled(name string) string {
	b := []byte(name)
	for i := range b {
		if i == 0 || strings.IndexByte("-_.", b[i-1]) >= 0 {
			b[i] = strings.ToUpper(string(b[i]))[0]
		}
	}
	return string(b)
}

// alternating is a name as in xFoRwArDeD.
func alternating(name string) string {
	b := []byte(name)
	for i := 1; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i]))[0]
	}
	return string(b)
}

// manners are the ways to send a forged header.
var manners = []struct {
	name  string
	lines func(spelling string) []string
}{
	{"once", func(s string) []string { return []string{s + ": " + forgery} }},
	{"three times", func(s string) []string {
		return []string{s + ": " + forgery, s + ": " + forgery + "-2", strings.ToLower(s) + ": "}
	}},
	{"named in Connection", func(s string) []string {
		return []string{s + ": " + forgery, "Connection: keep-alive, " + s}
	}},
}

func TestSpellings(t *testing.T) {
	if got := len(spellings(assertion)); got != 36 {
		t.Errorf("%d spellings of %s, want 3² separators in 4 cases", got, assertion)
	}
	for _, s := range spellings("x-forwarded-user") {
		if canonical(s) != "x-forwarded-user" {
			t.Errorf("%s is no spelling of it", s)
		}
	}
}

func TestForgedHeaderReachesNobody(t *testing.T) {
	for _, raw := range []bool{false, true} {
		t.Run(map[bool]string{false: "headers_joined", true: "headers_raw"}[raw], func(t *testing.T) {
			t.Parallel()
			stack := newStack(t, setup{RawHeaders: raw, Apps: headerApps})
			alice := stack.browser(t)
			alice.signInAt("/required", "alice").want(t, 200)
			for _, rule := range []string{"/public", "/optional", "/required", "/staff"} {
				for _, who := range []string{"nobody", "alice"} {
					t.Run(strings.TrimPrefix(rule, "/")+"_"+who, func(t *testing.T) {
						cookie := ""
						if who == "alice" {
							cookie = alice.cookieLine()
						}
						forge(t, stack, rule, cookie)
					})
				}
			}
		})
	}
}

// forge sends every forgery to a rule, and checks what arrives.
func forge(t *testing.T, stack *stack, rule, cookie string) {
	t.Helper()
	client := stack.wire(t)
	// What must arrive: ours, if somebody is signed in and the rule looks.
	var genuine string
	switch {
	case cookie == "" || rule == "/public":
	case rule == "/staff":
		genuine = "x-staff-token"
	default:
		genuine = assertion
	}
	refused := cookie == "" && (rule == "/required" || rule == "/staff")
	try := func(what string, lines ...string) {
		t.Helper()
		a := client.get(rule, append(lines, cookie)...)
		if refused {
			a.stopped(t, 401)
			return
		}
		if a.saw == nil {
			t.Fatalf("%s: status %d, and the upstream saw nothing", what, a.status)
		}
		for _, fault := range mustHold(a.saw, genuine) {
			t.Errorf("%s: %s", what, fault)
		}
	}
	tried := 0
	for _, name := range forgeable {
		for _, spelling := range spellings(name) {
			for _, m := range manners {
				try(spelling+" "+m.name, m.lines(spelling)...)
				tried++
			}
		}
	}
	var every []string
	for _, spelling := range spellings(assertion) {
		every = append(every, spelling+": "+forgery)
	}
	try("every spelling at once", every...)
	for _, name := range identityHeaders {
		try(name, name+": "+forgery, strings.ReplaceAll(name, "-", "_")+": "+forgery)
	}
	if tried != 3*(3*36+108) {
		t.Errorf("%d forgeries were tried", tried)
	}
}

// mustHold says what is wrong with the identity in a request that reached an
// upstream: it must be that in the header genuine, once, or none at all.
func mustHold(saw *seen, genuine string) []string {
	var faults []string
	if lines := saw.holds(forgery); len(lines) > 0 {
		faults = append(faults, fmt.Sprintf("the upstream saw the forgery: %v", lines))
	}
	for _, name := range identityHeaders {
		lines := saw.spelled(name)
		switch {
		case name != genuine && len(lines) > 0:
			faults = append(faults, fmt.Sprintf("the upstream saw %v", lines))
		case name == genuine && (len(lines) != 1 || lines[0].name != name || !strings.HasPrefix(lines[0].value, "eyJ")):
			faults = append(faults, fmt.Sprintf("the upstream saw %d times %s: %v", len(lines), name, lines))
		}
	}
	if lines := saw.holds("countersign"); slices.ContainsFunc(lines, func(f field) bool { return f.name == "cookie" }) {
		faults = append(faults, fmt.Sprintf("the upstream saw our cookie: %v", lines))
	}
	return faults
}

func TestOurCookiesReachNoUpstream(t *testing.T) {
	for _, raw := range []bool{false, true} {
		t.Run(map[bool]string{false: "headers_joined", true: "headers_raw"}[raw], func(t *testing.T) {
			t.Parallel()
			stack := newStack(t, setup{RawHeaders: raw, Apps: headerApps})
			alice := stack.browser(t)
			alice.signInAt("/required", "alice").want(t, 200)
			ours := strings.TrimPrefix(alice.cookieLine(), "Cookie: ")
			client := stack.wire(t)
			for _, tt := range []struct {
				name  string
				lines []string
				kept  string // of the other cookies
			}{
				{"alone", []string{"Cookie: " + ours}, ""},
				{"first", []string{"Cookie: " + ours + "; theme=dark"}, "theme=dark"},
				{"in_the_middle", []string{"Cookie: theme=dark; " + ours + "; lang=fr"}, "theme=dark; lang=fr"},
				{"twice", []string{"Cookie: " + ours + "; theme=dark; " + ours}, "theme=dark"},
				{"two_lines", []string{"Cookie: theme=dark", "Cookie: " + ours + "; lang=fr"}, "theme=dark; lang=fr"},
				{"two_lines_ours_first", []string{"Cookie: " + ours, "Cookie: lang=fr"}, "lang=fr"},
				{"two_lines_both_ours", []string{"Cookie: " + ours, "Cookie: " + ours}, ""},
				{"an_attempt_beside_it", []string{"Cookie: " + ours + "; __Host-countersign-login-abc=sealed; a=b=c"}, "a=b=c"},
				{"another_case_beside_it", []string{"Cookie: " + ours + "; COUNTERSIGN=x; lang=fr"}, "lang=fr"},
			} {
				for _, rule := range []string{"/public", "/optional", "/required"} {
					t.Run(tt.name+"_"+rule[1:], func(t *testing.T) {
						saw := client.get(rule, tt.lines...).passed(t)
						if got := strings.Join(saw.values("cookie"), "; "); got != tt.kept {
							t.Errorf("the upstream saw the cookies %q, want %q", got, tt.kept)
						}
						if got := len(saw.spelled(assertion)); got != 1 && rule != "/public" {
							t.Errorf("the upstream saw %d assertions, want 1", got)
						}
					})
				}
			}
		})
	}
}
