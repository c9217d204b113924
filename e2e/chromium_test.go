package e2e_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// What only a browser can tell: whether it keeps our cookie as it is meant,
// sends it along when the provider sends a person back, and lets our form lead
// to the provider.
func TestInChromium(t *testing.T) {
	t.Parallel()
	program := requireChromium(t)
	stack := newPlayground(t)
	chromium := stack.startChromium(t, program)

	alice := chromium.window(t)
	alice.visit(origin + "/")
	if at := alice.address(); !strings.HasPrefix(at, stack.provider.issuer) {
		t.Fatalf("the login is at %s, not at the provider", at)
	}
	alice.typeCredentials("alice")
	alice.reads("This is the playground")
	if at := alice.address(); at != origin+"/" {
		t.Errorf("she ends at %s", at)
	}
	cookies := alice.cookies()
	if len(cookies) != 1 {
		t.Fatalf("the browser keeps %d cookies of the app, want one", len(cookies))
	}
	for what, holds := range map[string]bool{
		"name":              cookies[0].Name == sessionCookie,
		"Secure":            cookies[0].Secure,
		"HttpOnly":          cookies[0].HTTPOnly,
		"SameSite=Lax":      cookies[0].SameSite == network.CookieSameSiteLax,
		"Path=/":            cookies[0].Path == "/",
		"no Domain":         cookies[0].Domain == host,
		"ends with browser": cookies[0].Session,
	} {
		if !holds {
			t.Errorf("the cookie's %s is not as it should be", what)
		}
	}

	alice.visit(origin + "/oauth2/sign_out")
	alice.reads("Sign out?")
	alice.shoot("sign-out")
	alice.click(`form button[type=submit]`)
	alice.reads("signed out")
	alice.shoot("signed-out")
	if at := alice.address(); !strings.HasPrefix(at, origin+"/oauth2/signed_out") {
		t.Errorf("signing out ends at %s", at)
	}
	if left := alice.cookies(); len(left) != 0 {
		t.Errorf("signed out, the browser still keeps %d cookies", len(left))
	}
	alice.visit(origin + "/")
	alice.reads("Sign in") // the provider's page: it has forgotten her too

	guest := chromium.window(t)
	guest.visit(origin + "/")
	guest.typeCredentials("guest")
	guest.reads("You do not have access")
	guest.shoot("forbidden")
	if text := guest.text("main"); !strings.Contains(text, "guest@elsewhere.example") {
		t.Errorf("the page does not name the account:\n%s", text)
	}
	guest.click(`a.button.first`) // another account
	guest.typeCredentials("bob")
	guest.reads("This is the playground")
}

// requireChromium finds a Chromium, or ends the test.
func requireChromium(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "CHROMIUM", err)
	}
	return path
}

// chromium is a real browser, for which every host of the tests is Envoy.
type chromium struct{ ctx context.Context }

func (s *stack) startChromium(t *testing.T, program string) chromium {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("ignore-certificate-errors", true), // it was made a moment ago
		chromedp.Flag("host-resolver-rules", "MAP *.example.test "+s.front),
		chromedp.WindowSize(1000, 760))
	allocator, release := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, quit := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("Chromium: %v", err)
		}
		quit()
		release()
	})
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	return chromium{ctx}
}

// window is one person's, with cookies of its own.
type window struct {
	t   *testing.T
	ctx context.Context
}

// windowTimeout bounds all that happens in a window.
const windowTimeout = 40 * time.Second

func (c chromium) window(t *testing.T) *window {
	t.Helper()
	ctx, closeWindow := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	ctx, cancel := context.WithTimeout(ctx, windowTimeout)
	t.Cleanup(func() { cancel(); closeWindow() })
	return &window{t, ctx}
}

// must fails the test for what an action returned.
func (w *window) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("in Chromium: %v", err)
	}
}

func (w *window) visit(address string) {
	w.t.Helper()
	w.must(chromedp.Do(w.ctx, chromedp.Navigate(address)))
}

// typeCredentials fills in the provider's page and presses its button.
func (w *window) typeCredentials(name string) {
	w.t.Helper()
	typed := credentials(name)
	w.must(chromedp.Do(w.ctx,
		chromedp.WaitVisible(chromedp.CSS("#password")),
		chromedp.SetValue(chromedp.CSS("#username"), typed["username"]),
		chromedp.SetValue(chromedp.CSS("#password"), typed["password"])))
	w.click("form button")
}

func (w *window) click(selector string) {
	w.t.Helper()
	w.must(chromedp.Do(w.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)))
}

// reads waits until the heading of the page holds words.
func (w *window) reads(words string) {
	w.t.Helper()
	var heading string
	eventually(w.t, 15*time.Second, func() bool {
		// While a page goes and another comes, there is none to read.
		heading, _ = chromedp.Run(w.ctx, chromedp.Evaluate[string](`document.querySelector("h1")?.innerText ?? ""`))
		return strings.Contains(heading, words)
	}, func() string { return "the page at " + w.address() + " is headed " + heading + ", want " + words })
}

func (w *window) text(selector string) string {
	w.t.Helper()
	text, err := chromedp.Run(w.ctx, chromedp.Text(chromedp.CSS(selector)))
	w.must(err)
	return text
}

// address is what the address bar shows.
func (w *window) address() string {
	w.t.Helper()
	at, err := chromedp.Run(w.ctx, chromedp.Location())
	w.must(err)
	return at
}

// cookies are those that the window keeps for the app.
func (w *window) cookies() []*network.Cookie {
	w.t.Helper()
	all, err := chromedp.Call(w.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{origin + "/", origin + "/oauth2/"}})
	w.must(err)
	return all.Cookies
}

// shoot keeps a picture of the page in E2E_SHOTS, if that is set.
func (w *window) shoot(name string) {
	w.t.Helper()
	dir := os.Getenv("E2E_SHOTS")
	if dir == "" {
		dir = w.t.TempDir()
	}
	png, err := chromedp.Run(w.ctx, chromedp.FullScreenshot(100))
	w.must(err)
	w.must(os.WriteFile(filepath.Join(dir, url.PathEscape(name)+".png"), png, 0o600))
}
