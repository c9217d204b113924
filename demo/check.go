package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/websocket"

	"github.com/countersign/countersign/oidc/oidctest"
)

// Check walks through the running demo as a browser and as a program, and
// prints each step with its result. It returns an error if any step failed.
func (d *Demo) Check(ctx context.Context, out io.Writer) error {
	w := walk{demo: d, out: out}
	w.browser = newBrowser()
	for _, step := range w.steps() {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := step.do(ctx)
		cancel()
		if err != nil {
			fmt.Fprintf(out, "FAIL  %s: %v\n", step.name, err)
			w.failed++
			continue
		}
		fmt.Fprintf(out, "ok    %s\n", step.name)
	}
	if w.failed > 0 {
		return fmt.Errorf("%d of %d steps failed", w.failed, len(w.steps()))
	}
	return nil
}

type step struct {
	name string
	do   func(context.Context) error
}

type walk struct {
	demo    *Demo
	out     io.Writer
	browser *http.Client
	cookie  string // alice's session, for when she has signed out
	failed  int
}

func (w *walk) steps() []step {
	return []step{
		{"the open path answers without a login", w.openPath},
		{"a program without a session gets 401", w.programIsRefused},
		{"the API refuses a request that did not come through Envoy", w.directIsRefused},
		{"a browser is sent to the provider and comes back signed in", w.signIn},
		{"the API learns who it is from the signed token", w.apiLearns},
		{"a forged identity header reaches nobody", w.forgedHeader},
		{"server-sent events stream", w.stream},
		{"a WebSocket echoes", w.echo},
		{"somebody outside the group is refused, by name", w.forbidden},
		{"signing out ends the session here and at the provider", w.signOut},
		{"the old cookie opens nothing", w.oldCookie},
	}
}

// newBrowser keeps cookies and follows no redirect by itself.
func newBrowser() *http.Client {
	jar, _ := cookiejar.New(nil) // fails for no options
	return &http.Client{
		Jar:           jar,
		Timeout:       15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get sends a request as a person's browser does when it navigates.
func (w *walk) get(ctx context.Context, client *http.Client, address string) (answer, error) {
	return send(ctx, client, http.MethodGet, address, http.Header{
		"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"},
	})
}

// answer is an HTTP response that has been read to its end.
type answer struct {
	path   string // of the request
	status int
	header http.Header
	body   string
}

func send(ctx context.Context, client *http.Client, method, address string, h http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	maps.Copy(req.Header, h)
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{req.URL.Path, resp.StatusCode, resp.Header, string(body)}, err
}

func (a answer) want(status int) error {
	if a.status != status {
		return fmt.Errorf("%s answered %d, want %d", a.path, a.status, status)
	}
	return nil
}

func (w *walk) openPath(ctx context.Context) error {
	resp, err := send(ctx, http.DefaultClient, http.MethodGet, w.demo.URL+"/ping", nil)
	if err != nil {
		return err
	}
	if !strings.Contains(resp.body, "pong") {
		return fmt.Errorf("no pong: %q", resp.body)
	}
	return resp.want(http.StatusOK)
}

func (w *walk) programIsRefused(ctx context.Context) error {
	resp, err := send(ctx, http.DefaultClient, http.MethodGet, w.demo.URL+"/api/whoami", nil)
	if err != nil {
		return err
	}
	if resp.header.Get("WWW-Authenticate") == "" {
		return errors.New("no WWW-Authenticate")
	}
	return resp.want(http.StatusUnauthorized)
}

func (w *walk) directIsRefused(ctx context.Context) error {
	resp, err := send(ctx, http.DefaultClient, http.MethodGet, w.demo.apiURL+"/api/whoami",
		http.Header{assertion: {"eyJhbGciOiJub25lIn0.e30."}})
	if err != nil {
		return err
	}
	return resp.want(http.StatusUnauthorized)
}

// enter signs somebody in and returns the page that they end on.
func (w *walk) enter(ctx context.Context, browser *http.Client, who oidctest.Person, path string) (answer, error) {
	resp, err := w.get(ctx, browser, w.demo.URL+path)
	if err != nil {
		return answer{}, err
	}
	if err := resp.want(http.StatusFound); err != nil {
		return answer{}, err
	}
	callback, err := oidctest.SignIn(ctx, browser, resp.header.Get("Location"), who.Username, who.Password)
	if err != nil {
		return answer{}, err
	}
	resp, err = w.get(ctx, browser, callback)
	if err != nil {
		return answer{}, err
	}
	if err := resp.want(http.StatusSeeOther); err != nil {
		return answer{}, err
	}
	return w.get(ctx, browser, resp.header.Get("Location"))
}

func (w *walk) signIn(ctx context.Context) error {
	alice := People[0]
	resp, err := w.enter(ctx, w.browser, alice, "/")
	if err != nil {
		return err
	}
	if !strings.Contains(resp.body, alice.Name) {
		return errors.New("the page does not know her name")
	}
	address, err := url.Parse(w.demo.URL)
	if err != nil {
		return err
	}
	for _, c := range w.browser.Jar.Cookies(address) {
		if c.Name == sessionCookie {
			w.cookie = c.Value
		}
	}
	return resp.want(http.StatusOK)
}

// ask calls the API in alice's session.
func (w *walk) ask(ctx context.Context, h http.Header) (seenBy, error) {
	var s seenBy
	resp, err := send(ctx, w.browser, http.MethodGet, w.demo.URL+"/api/whoami", h)
	if err != nil {
		return s, err
	}
	if err := resp.want(http.StatusOK); err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(resp.body), &s)
}

func (w *walk) apiLearns(ctx context.Context) error {
	s, err := w.ask(ctx, nil)
	if err != nil {
		return err
	}
	if alice := People[0]; s.Learned.Email != alice.Email || s.Learned.Audience != "api" {
		return fmt.Errorf("it learned %q for %q", s.Learned.Email, s.Learned.Audience)
	}
	for _, name := range s.Cookies {
		if strings.Contains(name, "countersign") {
			return fmt.Errorf("it saw the cookie %s", name)
		}
	}
	return nil
}

func (w *walk) forgedHeader(ctx context.Context) error {
	s, err := w.ask(ctx, http.Header{
		"X-Countersign-Assertion": {"forged", "twice"}, "X-Countersign.Assertion": {"forged"},
		"X-Auth-Request-Email": {"chief@example.org"}, "X-Forwarded-User": {"root"},
	})
	if err != nil {
		return err
	}
	if len(s.IdentityHeaders) != 1 || len(s.IdentityHeaders[assertion]) != 1 {
		return fmt.Errorf("the API saw %v", s.IdentityHeaders)
	}
	return nil
}

func (w *walk) stream(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.demo.URL+"/api/chat", nil)
	if err != nil {
		return err
	}
	resp, err := w.browser.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data: ") {
			events++
		}
	}
	if events < 10 {
		return fmt.Errorf("status %d and %d events", resp.StatusCode, events)
	}
	return nil
}

func (w *walk) echo(ctx context.Context) error {
	address := "ws" + strings.TrimPrefix(w.demo.URL, "http") + "/api/echo"
	config, err := websocket.NewConfig(address, w.demo.URL)
	if err != nil {
		return err
	}
	config.Header.Set("Cookie", sessionCookie+"="+w.cookie)
	socket, err := config.DialContext(ctx)
	if err != nil {
		return err
	}
	defer socket.Close() //nolint:errcheck // the echo is what counts
	if deadline, ok := ctx.Deadline(); ok {
		if err := socket.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if err := websocket.Message.Send(socket, "hello"); err != nil {
		return err
	}
	var heard string
	if err := websocket.Message.Receive(socket, &heard); err != nil || heard != "hello" {
		return fmt.Errorf("heard %q: %w", heard, err)
	}
	return nil
}

func (w *walk) forbidden(ctx context.Context) error {
	guest := People[len(People)-1]
	resp, err := w.enter(ctx, newBrowser(), guest, "/")
	if err != nil {
		return err
	}
	if !strings.Contains(resp.body, guest.Email) {
		return errors.New("the page does not name the account")
	}
	return resp.want(http.StatusForbidden)
}

func (w *walk) signOut(ctx context.Context) error {
	resp, err := send(ctx, w.browser, http.MethodPost, w.demo.URL+"/oauth2/sign_out", http.Header{
		"Origin": {w.demo.URL}, "Sec-Fetch-Site": {"same-origin"}, "Accept": {"text/html"},
	})
	if err != nil {
		return err
	}
	if err := resp.want(http.StatusSeeOther); err != nil {
		return err
	}
	atProvider := resp.header.Get("Location")
	if !strings.HasPrefix(atProvider, w.demo.providerURL) {
		return errors.New("the browser is not sent to the provider")
	}
	resp, err = w.get(ctx, w.browser, atProvider)
	if err != nil {
		return err
	}
	resp, err = w.get(ctx, w.browser, resp.header.Get("Location"))
	if err != nil {
		return err
	}
	if !strings.Contains(strings.ToLower(resp.body), "signed out") {
		return errors.New("the last page does not say so")
	}
	return resp.want(http.StatusOK)
}

func (w *walk) oldCookie(ctx context.Context) error {
	resp, err := send(ctx, http.DefaultClient, http.MethodGet, w.demo.URL+"/api/whoami",
		http.Header{"Cookie": {sessionCookie + "=" + w.cookie}})
	if err != nil {
		return err
	}
	return resp.want(http.StatusUnauthorized)
}
