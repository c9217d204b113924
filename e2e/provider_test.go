package e2e_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign/oidc/oidctest"
)

// The client that every provider of the tests knows.
const (
	clientID     = "countersign"
	clientSecret = "s3cret-s3cret-s3cret-s3cret-s3cret"
)

// people can sign in at oidctest; npm's provider believes any name.
var people = []oidctest.Person{
	{
		Username: "alice", Password: "wonderland", Name: "Alice Liddell",
		Email: "alice@example.org", EmailVerified: true, Groups: []string{"staff", "admin"},
	},
	{
		Username: "bob", Password: "builder", Name: "Bob Mason",
		Email: "bob@example.org", EmailVerified: true, Groups: []string{"staff"},
	},
	{
		Username: "guest", Password: "guest", Name: "Gwen Guest",
		Email: "guest@elsewhere.example", EmailVerified: true,
	},
}

// credentials are what a person types into a provider's page, by field.
func credentials(name string) map[string]string {
	typed := map[string]string{"user": name, "username": name}
	for _, p := range people {
		if p.Username == name {
			typed["password"] = p.Password
		}
	}
	return typed
}

// provider is an OpenID provider that is running.
type provider struct {
	issuer string
	*oidctest.Provider
}

// startProvider starts oidctest's provider, or, where release says op9 or op7,
// npm's. Both know every host of the tests.
func startProvider(t *testing.T, release string) *provider {
	t.Helper()
	var callbacks, goodbyes []string
	for _, h := range []string{host, "chat.example.test", "other.example.test"} {
		callbacks = append(callbacks, "https://"+h+"/oauth2/callback")
		goodbyes = append(goodbyes, "https://"+h+"/oauth2/signed_out")
	}
	if release != "" {
		return startNPM(t, release, callbacks, goodbyes)
	}
	p := oidctest.Serve(t, oidctest.Config{
		People: people,
		Clients: []oidctest.Client{{
			ID: clientID, Secret: clientSecret, Name: "the playground",
			RedirectURIs: callbacks, PostLogoutRedirectURIs: goodbyes,
		}},
	})
	return &provider{issuer: p.Issuer(), Provider: p}
}

// startNPM runs providers/provider.mjs. Claims stand in userinfo only, which is
// where the library puts them unless it is told otherwise.
func startNPM(t *testing.T, release string, callbacks, goodbyes []string) *provider {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "NODE", err)
	}
	if _, err := os.Stat("providers/" + release + "/node_modules/oidc-provider"); err != nil {
		missing(t, "NPM'S OIDC-PROVIDER", err)
	}
	said := new(transcript)
	said.showOnFailure(t, release)
	cmd := exec.Command(node, "provider.mjs")
	cmd.Dir = "providers"
	cmd.Env = append(os.Environ(), "OP_DIR="+release, "CLAIMS_IN_ID_TOKEN=0",
		"CALLBACK="+strings.Join(callbacks, ","), "POST_LOGOUT="+strings.Join(goodbyes, ","))
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, cmd) })
	line, err := bufio.NewReader(io.TeeReader(out, said)).ReadString('\n')
	issuer, ready := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ready {
		t.Fatalf("%s did not start: %q, %v", release, line, err)
	}
	return &provider{issuer: issuer}
}

// end ends a child by its pid.
func end(tb testing.TB, cmd *exec.Cmd) {
	tb.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Log(err)
	}
	cmd.Wait() //nolint:errcheck // says that it was told to
}
