package oidctest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
)

func TestAWrongRequestIsToldToTheClient(t *testing.T) {
	tests := []struct{ name, more, want string }{
		{"implicit", "response_type=token", "unsupported_response_type"},
		{"plain_pkce", "code_challenge_method=plain", "invalid_request"},
		{"no_challenge", "code_challenge=", "invalid_request"},
		{"not_openid", "scope=email", "invalid_scope"},
		{"request_object", "request=x", "request_not_supported"},
		{"request_object_elsewhere", "request_uri=https://x.test", "request_uri_not_supported"},
		{"form_post", "response_mode=form_post", "invalid_request"},
		{"none_with_login", "prompt=none login", "invalid_request"},
		{"max_age_in_words", "max_age=soon", "invalid_request"},
		{"nobody_is_there", "prompt=none", "login_required"},
	}
	p := serve(t, config())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address, a := p.begin(tt.more)
			location, err := p.get(address).Location()
			if err != nil {
				t.Fatal(err)
			}
			q := location.Query()
			if q.Get("error") != tt.want || q.Get("state") != a.state || q.Get("iss") != p.provider.Issuer() || q.Has("code") {
				t.Errorf("sent to %s, want error %s with state and iss", location, tt.want)
			}
		})
	}
}

func TestAnUnknownAddressIsNeverGoneTo(t *testing.T) {
	p := serve(t, config())
	for _, more := range []string{
		"client_id=nobody", "redirect_uri=https://evil.test/callback", "redirect_uri=" + callback + "/",
		"redirect_uri=" + callback + "?x=1", "redirect_uri=",
	} {
		address, _ := p.begin(more)
		resp := p.get(address)
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Location") != "" {
			t.Errorf("%s: status %d, location %q", more, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	address, _ := p.begin()
	twice := p.get(address + "&redirect_uri=" + url.QueryEscape("https://evil.test"))
	if twice.StatusCode != http.StatusBadRequest {
		t.Errorf("redirect URI twice: status %d, want 400", twice.StatusCode)
	}
}

func TestWhenThePageIsShown(t *testing.T) {
	tests := []struct {
		name  string
		more  []string
		after time.Duration // since the sign-in
		shown bool
	}{
		{"single_sign_on", nil, time.Hour, false},
		{"none", []string{"prompt=none"}, time.Hour, false},
		{"login", []string{"prompt=login"}, 0, true},
		{"select_account", []string{"prompt=select_account"}, 0, true},
		{"max_age_kept", []string{"max_age=60"}, 59 * time.Second, false},
		{"max_age_over_exactly_now", []string{"max_age=60"}, time.Minute, true},
		{"max_age_0", []string{"max_age=0"}, 0, true},
		{"same_level", []string{"acr_values=1"}, 0, false},
		{"higher_level", []string{"acr_values=2"}, 0, true},
		{"unknown_level", []string{"acr_values=gold"}, 0, false},
		{"session_over", nil, 8 * time.Hour, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now()
			c := config()
			c.Now = func() time.Time { return now }
			p := serve(t, c)
			p.signIn(alice)
			now = now.Add(tt.after)
			address, _ := p.begin(tt.more...)
			if shown := p.get(address).StatusCode == http.StatusOK; shown != tt.shown {
				t.Errorf("page shown = %t, want %t", shown, tt.shown)
			}
		})
	}
}

func TestSigningInAgain(t *testing.T) {
	now := time.Now().Add(-time.Minute)
	c := config()
	c.Now = func() time.Time { return now }
	p := serve(t, c)
	type claims struct {
		ACR      string
		SID      string
		AuthTime int64 `json:"auth_time"`
	}
	read := func(who oidctest.Person, more ...string) (got claims) {
		_, id := p.mustLogIn(who, more...)
		if err := id.Claims(&got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := read(alice)
	now = now.Add(time.Second)
	if again := read(alice); again != first {
		t.Errorf("single sign-on: %v, want %v", again, first)
	}
	stepped := read(alice, "acr_values=2")
	if want := (claims{"2", first.SID, first.AuthTime + 1}); stepped != want {
		t.Errorf("stepped up: %v, want %v", stepped, want)
	}
	if lower := read(alice, "acr_values=1"); lower != stepped {
		t.Errorf("a higher level serves a lower: %v, want %v", lower, stepped)
	}
	if bobs := read(bob, "prompt=select_account"); bobs.SID == first.SID || bobs.ACR != "1" {
		t.Errorf("bob: %v, beside alice's %v", bobs, first)
	}
}

func TestAWrongPasswordStays(t *testing.T) {
	p := serve(t, config())
	address, _ := p.begin()
	for _, form := range []url.Values{
		{"username": {"alice"}, "password": {bob.Password}},
		{"username": {"alice"}},
		{"username": {"nobody"}, "password": {""}},
	} {
		resp := p.post(strings.Replace(address, "/authorize", "/sign-in", 1), form)
		if resp.StatusCode != http.StatusForbidden || len(resp.Cookies()) != 0 {
			t.Errorf("%v: status %d, %d cookies", form["username"], resp.StatusCode, len(resp.Cookies()))
		}
		if page := body(t, resp); !strings.Contains(page, `role="alert"`) {
			t.Errorf("the page does not say so: %s", page)
		}
	}
}

func TestAForeignPageCannotSignAnybodyIn(t *testing.T) {
	p := serve(t, config())
	address, _ := p.begin()
	resp := p.post(strings.Replace(address, "/authorize", "/sign-in", 1),
		url.Values{"username": {"alice"}, "password": {alice.Password}}, "Sec-Fetch-Site", "cross-site")
	if resp.StatusCode != http.StatusForbidden || len(resp.Cookies()) != 0 {
		t.Errorf("status %d, %d cookies", resp.StatusCode, len(resp.Cookies()))
	}
}
