package oidctest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// leave is the address that ends a session; more is "name=value".
func (p *party) leave(more ...string) string {
	q := url.Values{}
	for _, m := range more {
		name, value, _ := strings.Cut(m, "=")
		q.Set(name, value)
	}
	return p.provider.Issuer() + "/end_session?" + q.Encode()
}

func (p *party) signedIn() bool {
	address, _ := p.begin("prompt=none")
	return strings.Contains(p.get(address).Header.Get("Location"), "code=")
}

func TestEndSession(t *testing.T) {
	const back = "post_logout_redirect_uri=" + goodbye
	tests := []struct {
		name     string
		more     []string // "HINT" is the ID token
		status   int
		location string
		signedIn bool
	}{
		{"back_to_the_client", []string{"id_token_hint=HINT", back, "state=s"}, 303, goodbye + "?state=s", false},
		{"without_state", []string{"id_token_hint=HINT", back}, 303, goodbye, false},
		{"nowhere_to_go", []string{"id_token_hint=HINT"}, 200, "", false},
		{"unregistered_address", []string{"id_token_hint=HINT", back + "/x"}, 400, "", true},
		{"address_without_a_client", []string{back}, 400, "", true},
		{"hint_of_another_client", []string{"id_token_hint=HINT", "client_id=other", back}, 400, "", true},
		{"hint_from_elsewhere", []string{"id_token_hint=e30.e30.e30"}, 400, "", true},
		{"no_hint_asks_first", []string{"client_id=app", back}, 200, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t, config())
			token, _ := p.mustLogIn(alice)
			hint, _ := token.Extra("id_token").(string)
			for i := range tt.more {
				tt.more[i] = strings.Replace(tt.more[i], "HINT", hint, 1)
			}
			resp := p.get(p.leave(tt.more...))
			if resp.StatusCode != tt.status || resp.Header.Get("Location") != tt.location {
				t.Errorf("status %d to %q, want %d to %q", resp.StatusCode, resp.Header.Get("Location"), tt.status, tt.location)
			}
			if got := p.signedIn(); got != tt.signedIn {
				t.Errorf("signed in afterwards = %t, want %t", got, tt.signedIn)
			}
			if _, err := p.refresh(token.RefreshToken); (err == nil) != tt.signedIn {
				t.Errorf("refresh afterwards: %v", err)
			}
		})
	}
}

func TestThePageAsksBeforeALogoutWithoutAHint(t *testing.T) {
	p := serve(t, config())
	p.mustLogIn(alice)
	page := body(t, p.get(p.leave("client_id=app")))
	for _, want := range []string{"<strong>The App</strong>", "<strong>alice</strong>", `action="/end_session/confirm?client_id=app"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestThePersonConfirmsALogoutThatAnybodyCouldHaveAskedFor(t *testing.T) {
	p := serve(t, config())
	p.mustLogIn(alice)
	confirm := strings.Replace(p.leave("client_id=app", "post_logout_redirect_uri="+goodbye), "/end_session", "/end_session/confirm", 1)
	if got := p.post(confirm, nil, "Sec-Fetch-Site", "cross-site").StatusCode; got != http.StatusForbidden || !p.signedIn() {
		t.Errorf("a foreign page confirms: status %d, signed in %t", got, p.signedIn())
	}
	resp := p.post(confirm, nil, "Sec-Fetch-Site", "same-origin")
	if resp.Header.Get("Location") != goodbye || p.signedIn() {
		t.Errorf("confirmed: sent to %q, signed in %t", resp.Header.Get("Location"), p.signedIn())
	}
}
