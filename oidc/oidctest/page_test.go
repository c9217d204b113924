package oidctest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/oidc/oidctest"
)

func TestTheSignInPage(t *testing.T) {
	c := config()
	c.Issuer, c.ShowPeople = "/realm", true
	mallory := oidctest.Client{ID: "mallory", Secret: "s", Name: "<script>alert(1)</script>", RedirectURIs: []string{callback}}
	c.Clients = append(c.Clients, mallory)
	p := serve(t, c)
	address, _ := p.begin("login_hint=bob")
	resp := p.get(address)
	page := body(t, resp)
	for _, want := range []string{
		"<strong>The App</strong>", `value="bob"`, `<label for="username">`, `<label for="password">`, `lang="en"`,
		"<code>alice</code>", `href="/realm/style.css"`, `action="/realm/sign-in?`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	policy := resp.Header.Get("Content-Security-Policy")
	want := "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' https://app.test"
	if policy != want {
		t.Errorf("Content-Security-Policy = %s\nwant %s", policy, want)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q, want no-store", got)
	}
	style := p.get(p.provider.Issuer() + "/style.css")
	if got := style.Header.Get("Content-Type"); style.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/css") {
		t.Errorf("stylesheet: status %d, %s", style.StatusCode, got)
	}
	address, _ = p.begin("client_id=mallory")
	if strings.Contains(body(t, p.get(address)), "<script") {
		t.Error("the client's name is not escaped")
	}
}

func TestThePageSaysWhoIsSignedIn(t *testing.T) {
	p := serve(t, config())
	p.signIn(alice)
	tests := []struct {
		more []string
		says bool
	}{
		{[]string{"prompt=login"}, true},
		{[]string{"prompt=login", "login_hint=bob"}, true},
		{[]string{"prompt=select_account"}, false},
	}
	for _, tt := range tests {
		address, _ := p.begin(tt.more...)
		if says := strings.Contains(body(t, p.get(address)), "signed in as <strong>alice</strong>"); says != tt.says {
			t.Errorf("%v: says so = %t, want %t", tt.more, says, tt.says)
		}
	}
}

func TestPasswordsAreShownOnlyInADemonstration(t *testing.T) {
	p := serve(t, config())
	address, _ := p.begin()
	if strings.Contains(body(t, p.get(address)), "alice") {
		t.Error("the page lists people")
	}
}
