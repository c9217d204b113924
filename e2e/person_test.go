package e2e_test

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// person is somebody with a browser: it keeps cookies, says what browsers say
// about a navigation, and follows redirects only when it is asked to.
type person struct {
	t     testing.TB
	stack *stack
	http  *http.Client
}

// browser gives a person a browser of their own.
func (s *stack) browser(tb testing.TB) *person {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: s.tls("http/1.1"), DialContext: s.dialContext, MaxIdleConnsPerHost: 8}
	tb.Cleanup(transport.CloseIdleConnections)
	return &person{t: tb, stack: s, http: &http.Client{
		Jar: jar, Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// dialContext leads every host of the tests to Envoy.
func (s *stack) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if name, _, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(name, ".example.test") {
		address = s.front
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// answer is what somebody got.
type answer struct {
	status int
	header http.Header
	body   string
	url    *url.URL // that was asked for; nil from a raw socket
	saw    *seen    // the request as the upstream saw it; nil when it saw none
}

// want fails the test unless the status is as it should be.
func (a *answer) want(tb testing.TB, status int) *answer {
	tb.Helper()
	if a.status != status {
		tb.Fatalf("%v: status %d, want %d\n%v\n%.600s", a.url, a.status, status, a.header, a.body)
	}
	return a
}

// passed fails the test unless the request reached an upstream.
func (a *answer) passed(tb testing.TB) *seen {
	tb.Helper()
	if a.saw == nil {
		tb.Fatalf("%v: status %d and nothing reached an upstream\n%.300s", a.url, a.status, a.body)
	}
	return a.saw
}

// stopped fails the test if the request reached an upstream.
func (a *answer) stopped(tb testing.TB, status int) *answer {
	tb.Helper()
	if a.saw != nil {
		tb.Fatalf("%v: it reached the %s: %v", a.url, a.saw.upstream, a.saw)
	}
	return a.want(tb, status)
}

// page fails the test unless a person reads all of texts.
func (a *answer) page(tb testing.TB, texts ...string) *answer {
	tb.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			tb.Fatalf("%v: the page does not say %q:\n%s", a.url, text, a.body)
		}
	}
	return a
}

// get navigates to a path of the app, or to an address, and follows nothing.
// Further lines are headers, as in "Accept-Language: fr".
func (p *person) get(path string, lines ...string) *answer {
	p.t.Helper()
	return p.do(http.MethodGet, path, "", append([]string{
		"Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
	}, lines...)...)
}

// fetch asks as a script on a page of the app does.
func (p *person) fetch(path string, lines ...string) *answer {
	p.t.Helper()
	return p.do(http.MethodGet, path, "", append([]string{
		"Accept: application/json", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin",
	}, lines...)...)
}

// open navigates and follows redirects to where they end.
func (p *person) open(path string) *answer {
	p.t.Helper()
	return p.follow(p.get(path))
}

// follow follows redirects from an answer on, to where they end.
func (p *person) follow(a *answer) *answer {
	p.t.Helper()
	for range 12 {
		location := a.header.Get("Location")
		if a.status < 300 || a.status > 399 || location == "" {
			return a
		}
		next, err := a.url.Parse(location)
		if err != nil {
			p.t.Fatal(err)
		}
		a = p.get(next.String())
	}
	p.t.Fatalf("redirects without an end, now at %v", a.url)
	return nil
}

// submit fills in the first form of a page and follows where it leads. A typed
// field that the page does not have is left out.
func (p *person) submit(page *answer, typed map[string]string) *answer {
	p.t.Helper()
	f := p.form(page)
	for name, value := range typed {
		if f.fields[name] {
			f.filled.Set(name, value)
		}
	}
	a := p.do(http.MethodPost, f.action.String(), f.filled.Encode(),
		"Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin",
		"Content-Type: application/x-www-form-urlencoded", "Origin: "+page.url.Scheme+"://"+page.url.Host)
	return p.follow(a)
}

// do sends one request. The path may be a whole address.
func (p *person) do(method, path, body string, lines ...string) *answer {
	p.t.Helper()
	address := path
	if strings.HasPrefix(path, "/") {
		address = origin + path
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.stack.read(p.t, resp, req.URL)
}

// read reads a response whole.
func (s *stack) read(tb testing.TB, resp *http.Response, address *url.URL) *answer {
	tb.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("%v: %v", address, err)
	}
	return &answer{resp.StatusCode, resp.Header, string(body), address, s.find(resp.Header.Get(seenHeader))}
}

// form is a form of a page.
type form struct {
	action *url.URL
	filled url.Values      // what it would send untouched
	fields map[string]bool // by name, with those of buttons
}

func (p *person) form(page *answer) form {
	p.t.Helper()
	root, err := html.Parse(strings.NewReader(page.body))
	if err != nil {
		p.t.Fatal(err)
	}
	f := form{filled: url.Values{}, fields: map[string]bool{}}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attributes := map[string]string{}
		for _, a := range n.Attr {
			attributes[a.Key] = a.Val
		}
		switch name := attributes["name"]; n.Data {
		case "form":
			if f.action != nil {
				return f // the first is filled in
			}
			if f.action, err = page.url.Parse(attributes["action"]); err != nil {
				p.t.Fatal(err)
			}
		case "input":
			f.filled.Set(name, attributes["value"])
			f.fields[name] = true
		case "button":
			f.fields[name] = true
		}
	}
	if f.action == nil {
		p.t.Fatalf("%v: status %d and no form on the page:\n%s", page.url, page.status, page.body)
	}
	return f
}

// signIn opens the app, signs in at the provider, and returns the page that
// this ends on.
func (p *person) signIn(name string) *answer {
	p.t.Helper()
	return p.signInAt("/", name)
}

// signInAt begins on another page.
func (p *person) signInAt(path, name string) *answer {
	p.t.Helper()
	return p.submit(p.open(path), credentials(name))
}

// signOut presses the button of the sign-out page, and that of the provider if
// it asks too. It returns the last page.
func (p *person) signOut() *answer {
	p.t.Helper()
	page := p.submit(p.open("/oauth2/sign_out"), nil)
	if page.url.Host != host {
		page = p.submit(page, map[string]string{"logout": "yes"})
	}
	return page
}

// cookies returns those that the browser would send to the app, by name.
func (p *person) cookies() map[string]string {
	u, err := url.Parse(origin)
	if err != nil {
		p.t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range p.http.Jar.Cookies(u) {
		all[c.Name] = c.Value
	}
	return all
}

// sessionCookie is the name of the default app's cookie.
const sessionCookie = "__Host-countersign"

// cookieLine is a Cookie header with the person's session, for a raw socket, and
// the empty string where there is none.
func (p *person) cookieLine() string {
	value, ok := p.cookies()[sessionCookie]
	if !ok {
		return ""
	}
	return "Cookie: " + sessionCookie + "=" + value
}

// twin is a second browser with the same cookies, as somebody who stole them
// would have.
func (p *person) twin() *person {
	p.t.Helper()
	thief := p.stack.browser(p.t)
	u, err := url.Parse(origin)
	if err != nil {
		p.t.Fatal(err)
	}
	thief.http.Jar.SetCookies(u, p.http.Jar.Cookies(u))
	return thief
}

// names lists what is in a map, for messages that must not hold values.
func names(m map[string]string) []string {
	var all []string
	for name := range maps.Keys(m) {
		all = append(all, name)
	}
	return all
}
