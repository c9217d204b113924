package oidctest_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/oidc/oidctest"
)

func TestNewReportsAllMistakesTogether(t *testing.T) {
	_, err := oidctest.New(oidctest.Config{
		Issuer:    "http://127.0.0.1:1/",
		Algorithm: "HS256",
		Clients: []oidctest.Client{
			{ID: "no secret"},
			{ID: "relative", Secret: "s", RedirectURIs: []string{"/callback"}},
			{ID: "fragment", Secret: "s", PostLogoutRedirectURIs: []string{"https://app.test/#x"}},
		},
		People: []oidctest.Person{{Username: "no password"}},
	})
	for _, want := range []string{"issuer", "HS256", "no secret", "relative", "fragment", "no password"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want a line about %q", err, want)
		}
	}
}

func TestAnIssuerIsAnAddress(t *testing.T) {
	for _, issuer := range []string{
		"", "app", "ftp://a.test", "https://", "https://a.test/", "https://a.test?x=1", "https://a.test#x", "https://a.test/{x}",
	} {
		if _, err := oidctest.New(oidctest.Config{Issuer: issuer}); err == nil {
			t.Errorf("New(%q) succeeds", issuer)
		}
	}
	if _, err := oidctest.New(oidctest.Config{Issuer: "https://a.test", Algorithm: "none"}); err == nil {
		t.Error("New with algorithm none succeeds")
	}
}

func TestASignedTokenIsTheProvidersWhateverTheLies(t *testing.T) {
	p := serve(t, config())
	p.provider.SetLies(oidctest.Lies{Signature: oidctest.FlippedBit, Type: "odd"})
	token, err := p.provider.Sign("logout+jwt", map[string]any{"sid": "s"})
	if err != nil {
		t.Fatal(err)
	}
	if !p.genuine(token) {
		t.Error("no published key signed it")
	}
	if got := p.object(strings.Split(token, ".")[0])["typ"]; got != "logout+jwt" {
		t.Errorf("typ = %v, want logout+jwt", got)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	b, err := json.Marshal([]any{alice, app})
	if err != nil {
		t.Fatal(err)
	}
	printed := string(b) + fmt.Sprintf("%v %+v %v", alice, app, config())
	for _, secret := range []string{"password", "secret"} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q is in %s", secret, printed)
		}
	}
}

// The product's demonstration links this package.
func TestItLinksNeitherTestingNorTheRelyingParty(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "net/http") {
		t.Fatalf("go list -deps shows no net/http: %v", deps)
	}
	for _, unwanted := range []string{"testing", "github.com/countersign/countersign/oidc", "github.com/coreos/go-oidc/v3/oidc"} {
		if slices.Contains(deps, unwanted) {
			t.Errorf("links %s", unwanted)
		}
	}
}

// A relying party under test logs alice in, and then meets a lie.
func ExampleProvider_SetLies() {
	p, err := oidctest.New(oidctest.Config{
		Issuer:  "https://provider.test",
		Clients: []oidctest.Client{{ID: "app", Secret: "secret", RedirectURIs: []string{"https://app.test/callback"}}},
		People:  []oidctest.Person{{Username: "alice", Password: "password"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	p.SetLies(oidctest.Lies{
		Audience:  oidctest.Missing,                               // TK-A10
		Signature: oidctest.HMACSecret,                            // TK-A03
		Keys:      oidctest.Fault{Status: 500, Body: "very sick"}, // JK-A03
	})
	fmt.Println(p.Issuer(), p.Count(oidctest.Keys))
	// Output: https://provider.test 0
}
