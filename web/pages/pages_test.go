package pages_test

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/web/pages"
	"golang.org/x/net/html"
)

// pageless are the reasons that are never answered with a page.
var pageless = []authz.Reason{
	authz.Public, authz.SignedIn, authz.Passthrough, // the upstream answers
	authz.LoginStarted, authz.LoginFinished, // a redirect
	authz.Information, // JSON
}

const hostile = `"><script>alert(1)</script><img src=//evil.example style='x'>` + "\x00\u202e"

// full is a page of r with every field that a page can have.
func full(r authz.Reason) authz.Page {
	return authz.Page{
		Reason:         r,
		Status:         403,
		App:            "wiki.example.com",
		Account:        "alice@example.com",
		Explain:        "Only the finance team.\nAsk Bob for access.",
		Decision:       "01JB3Q7Z9K4T6V8X",
		RetryURL:       "/docs?page=2&lang=en",
		SwitchURL:      "/oauth2/start?prompt=select_account",
		SignOutURL:     "/oauth2/sign_out",
		RefreshSeconds: 5,
	}
}

func TestEveryReason(t *testing.T) {
	reasons := authz.Reasons()
	if len(reasons) == 0 {
		t.Fatal("Reasons = none, nothing was tested")
	}
	for _, r := range append(reasons, "", "no_such_reason") {
		t.Run("reason_"+string(r), func(t *testing.T) {
			mustHold(t, authz.Page{Reason: r})
			mustHold(t, full(r))
		})
	}
}

func TestEveryReasonWithAPageHasItsOwnText(t *testing.T) {
	said := map[string]authz.Reason{}
	for _, r := range authz.Reasons() {
		if slices.Contains(pageless, r) {
			continue
		}
		h1 := textOf(one(t, show(t, authz.Page{Reason: r}), "h1"))
		if other, taken := said[h1]; taken {
			t.Errorf("Render(%s) = heading %q, which is that of %s", r, h1, other)
		}
		said[h1] = r
	}
}

func TestAnUnknownReasonIsOurOwnFault(t *testing.T) {
	got := pages.New().Render(authz.Page{Reason: "no_such_reason"})
	want := pages.New().Render(authz.Page{Reason: authz.Internal})
	if !bytes.Equal(got, want) {
		t.Errorf("Render = %s, want the page of internal", got)
	}
}

func TestPageStaysSmall(t *testing.T) {
	for _, r := range authz.Reasons() {
		if n := len(pages.New().Render(full(r))); n >= 16<<10 {
			t.Errorf("Render(%s) = %d bytes, want less than 16 KiB", r, n)
		}
	}
}

func TestAPageShows(t *testing.T) {
	doc := show(t, full(authz.Forbidden))
	for _, want := range []string{
		"You do not have access", "wiki.example.com", "alice@example.com",
		"Only the finance team.\nAsk Bob for access.", "01JB3Q7Z9K4T6V8X",
	} {
		if got := textOf(one(t, doc, "main")); !strings.Contains(got, want) {
			t.Errorf("Render = %q, want %q in it", got, want)
		}
	}
}

func TestAPageReloads(t *testing.T) {
	for _, tt := range []struct {
		name    string
		seconds int
		want    string
	}{
		{"never", 0, ""},
		{"never_in_the_past", -1, ""},
		{"soon", 5, "5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := show(t, authz.Page{Reason: authz.StoreUnavailable, RefreshSeconds: tt.seconds})
			if got := meta(doc, "http-equiv", "refresh"); got != tt.want {
				t.Errorf("refresh = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestButtons(t *testing.T) {
	const retry, change, out = "/retry", "/switch", "/out"
	for _, tt := range []struct {
		name string
		page authz.Page
		want []string
	}{
		{
			"none_without_addresses",
			authz.Page{Reason: authz.Forbidden},
			nil,
		},
		{
			"forbidden_offers_another_account_first",
			authz.Page{Reason: authz.Forbidden, RetryURL: retry, SwitchURL: change, SignOutURL: out},
			[]string{"GET /switch Use another account", "GET /retry Try again", "POST /out Sign out"},
		},
		{
			"nobody_signs_in",
			authz.Page{Reason: authz.LoginRequired, RetryURL: retry},
			[]string{"GET /retry Sign in"},
		},
		{
			"expired_login_starts_again",
			authz.Page{Reason: authz.LoginExpired, RetryURL: retry},
			[]string{"GET /retry Start again"},
		},
		{
			"store_away_tries_again_or_signs_in_anew",
			authz.Page{Reason: authz.StoreUnavailable, RetryURL: retry, SwitchURL: change},
			[]string{"GET /retry Try again", "GET /switch Sign in again"},
		},
		{
			"signed_out_may_sign_in_again",
			authz.Page{Reason: authz.SignedOut, RetryURL: retry},
			[]string{"GET /retry Sign in again"},
		},
		{
			"sign_out_is_asked_about_first",
			authz.Page{Reason: authz.SignedOut, RetryURL: retry, SignOutURL: out},
			[]string{"POST /out Sign out", "GET /retry Stay signed in"},
		},
		{
			"whole_address_is_kept",
			authz.Page{Reason: authz.UnknownHost, RetryURL: "https://wiki.example.com/a%2Fb?x=1&y=%22"},
			[]string{"GET https://wiki.example.com/a%2Fb?x=1&y=%22 Try again"},
		},
		{
			"script_is_no_address",
			authz.Page{Reason: authz.Forbidden, RetryURL: "javascript:alert(1)", SwitchURL: "JaVaScRiPt:alert(1)", SignOutURL: "data:text/html,x"},
			nil,
		},
		{
			"script_behind_a_space_is_no_address",
			authz.Page{Reason: authz.Forbidden, RetryURL: " javascript:alert(1)", SwitchURL: "java\tscript:alert(1)", SignOutURL: "https:"},
			nil,
		},
		{
			"path_that_leaves_the_site_is_no_path",
			authz.Page{Reason: authz.Forbidden, RetryURL: "//evil.example/", SwitchURL: `/\evil.example/`, SignOutURL: `https://"/`},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mustHold(t, tt.page)
			if got := buttons(show(t, tt.page)); !slices.Equal(got, tt.want) {
				t.Errorf("buttons = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOneReasonTwoTexts(t *testing.T) {
	for _, tt := range []struct {
		name string
		page authz.Page
		want string
	}{
		{"session_ended", authz.Page{Reason: authz.SignedOut}, "You are signed out"},
		{"session_to_be_ended", authz.Page{Reason: authz.SignedOut, SignOutURL: "/out"}, "Sign out?"},
		{"provider_away", authz.Page{Reason: authz.ProviderUnavailable}, "The sign-in service is not answering"},
		{"provider_still_awaited", authz.Page{Reason: authz.ProviderUnavailable, RefreshSeconds: 1}, "One moment, please"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := textOf(one(t, show(t, tt.page), "h1")); got != tt.want {
				t.Errorf("heading = %q, want %q", got, tt.want)
			}
		})
	}
}

// A form posted under no-referrer carries "Origin: null" (Fetch §3.2), which
// the sign-out endpoint cannot tell from another site's.
func TestAPageWithAFormTellsItsOrigin(t *testing.T) {
	for _, tt := range []struct {
		name string
		page authz.Page
		want string
	}{
		{"no_form", authz.Page{Reason: authz.NotFound, RetryURL: "/"}, "no-referrer"},
		{"form", authz.Page{Reason: authz.Forbidden, SignOutURL: "/out"}, "strict-origin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := meta(show(t, tt.page), "name", "referrer"); got != tt.want {
				t.Errorf("referrer = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestABrokenTemplateStillAnswers(t *testing.T) {
	doc := parse(t, pages.Broken())
	one(t, doc, "main")
	if got := textOf(one(t, doc, "h1")); got != "This page could not be opened" {
		t.Errorf("heading = %q, want that of the plain page", got)
	}
}

func FuzzRender(f *testing.F) {
	for _, r := range authz.Reasons() {
		f.Add(string(r), "wiki.example.com", "alice", "ask Bob", "01JB", "/", "/switch", "/out", 5)
	}
	f.Add("forbidden", hostile, hostile, hostile, hostile, hostile, "/"+hostile, "https://a.example/"+hostile, -1)
	f.Fuzz(func(t *testing.T, reason, app, account, explain, decision, retry, change, out string, seconds int) {
		mustHold(t, authz.Page{
			Reason: authz.Reason(reason), App: app, Account: account, Explain: explain, Decision: decision,
			RetryURL: retry, SwitchURL: change, SignOutURL: out, RefreshSeconds: seconds,
		})
	})
}

// mustHold fails unless the page of p keeps what every page promises.
func mustHold(t *testing.T, p authz.Page) {
	t.Helper()
	doc := show(t, p)
	isAccessible(t, doc)
	isSelfContained(t, doc)
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			isLocalOrAskedFor(t, p, n, a)
		}
	}
	if got, want := strconv.Itoa(p.RefreshSeconds), meta(doc, "http-equiv", "refresh"); want != "" && got != want {
		t.Errorf("refresh = %q, want %q", got, want)
	}
	shows(t, doc, "bdi", p.App, p.Account)
	shows(t, doc, "code", p.Decision)
}

func isAccessible(t *testing.T, doc *html.Node) {
	t.Helper()
	if got := attr(one(t, doc, "html"), "lang"); got != "en" {
		t.Errorf("lang = %q, want en", got)
	}
	if textOf(one(t, doc, "title")) == "" || textOf(one(t, doc, "h1")) == "" {
		t.Error("Render = a page without title or heading")
	}
	one(t, doc, "main")
	one(t, doc, "footer")
	if got := meta(doc, "name", "viewport"); got != "width=device-width, initial-scale=1" {
		t.Errorf("viewport = %q, want one that can be zoomed", got)
	}
	if got := meta(doc, "name", "robots"); got != "noindex" {
		t.Errorf("robots = %q, want noindex", got)
	}
	for _, tag := range []string{"a", "button"} {
		for _, n := range all(doc, tag) {
			if strings.TrimSpace(textOf(n)) == "" {
				t.Errorf("<%s> has no name", tag)
			}
		}
	}
	for _, n := range all(doc, "svg") {
		if attr(n, "aria-hidden") != "true" {
			t.Error("<svg> is not hidden from a screen reader")
		}
	}
}

// ours are the elements that pages are made of.
var ours = strings.Fields(`html head meta title style body main footer svg circle path rect
	h1 p span code div dl dt dd bdi form button a`)

func isSelfContained(t *testing.T, doc *html.Node) {
	t.Helper()
	for n := range doc.Descendants() {
		switch n.Type {
		case html.ElementNode:
			if !slices.Contains(ours, n.Data) {
				t.Errorf("Render = a page with <%s>", n.Data)
			}
		case html.CommentNode:
			t.Errorf("Render = a page with the comment %q", n.Data)
		}
	}
	if got := textOf(one(t, doc, "style")); !allowed(got) {
		t.Errorf("Content-Security-Policy = %s, which does not allow the stylesheet", pages.New().ContentSecurityPolicy())
	}
}

// isLocalOrAskedFor fails if a is forbidden by the policy, or leads to a place
// that p does not name.
func isLocalOrAskedFor(t *testing.T, p authz.Page, n *html.Node, a html.Attribute) {
	t.Helper()
	switch {
	case a.Key == "style", a.Key == "src", strings.HasPrefix(a.Key, "on"):
		t.Errorf("<%s> has the attribute %s=%q", n.Data, a.Key, a.Val)
	case a.Key == "href", a.Key == "action":
		u, err := url.Parse(a.Val)
		if err != nil || (u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https") {
			t.Errorf("<%s> leads to %q", n.Data, a.Val)
		}
		if !slices.ContainsFunc([]string{p.RetryURL, p.SwitchURL, p.SignOutURL}, func(s string) bool { return sameHost(s, u) }) {
			t.Errorf("<%s> leads to %q, which the page does not name", n.Data, a.Val)
		}
	case strings.Contains(a.Val, "//"):
		t.Errorf("<%s> has an address in %s=%q", n.Data, a.Key, a.Val)
	}
}

func sameHost(address string, u *url.URL) bool {
	named, err := url.Parse(address)
	return err == nil && u != nil && named.Scheme == u.Scheme && named.Host == u.Host
}

// shows fails unless the elements called tag hold exactly the values that are
// not empty.
func shows(t *testing.T, doc *html.Node, tag string, values ...string) {
	t.Helper()
	var got, want []string
	for _, n := range all(doc, tag) {
		got = append(got, textOf(n))
	}
	for _, v := range values {
		if v != "" {
			want = append(want, asParsed(v))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("<%s> = %q, want %q", tag, got, want)
	}
}

// asParsed returns what a browser reads where s was written: HTML has no NUL,
// and one kind of line end (HTML §13.2.3.5).
func asParsed(s string) string {
	return strings.NewReplacer("\x00", "\uFFFD", "\r\n", "\n", "\r", "\n").Replace(s)
}
