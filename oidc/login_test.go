package oidc_test

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLogin(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			w := discovered(t, func(theirs *oidctest.Config, _ *oidc.Config) { theirs.Algorithm = algorithm })
			grant, err := w.login(t)
			if err != nil {
				t.Fatal(err)
			}
			want := oidc.Identity{
				Provider: "main", Issuer: issuer, Subject: "a1",
				Email: "alice@example.org", Name: "Alice Martin", Username: "alice",
				Groups: []string{"staff", "admin"}, ACR: "1", AMR: []string{"pwd"}, AuthTime: noon,
			}
			ignore := cmpopts.IgnoreFields(oidc.Identity{}, "Claims", "SessionID")
			if diff := cmp.Diff(want, grant.Identity, ignore); diff != "" {
				t.Errorf("Identity (-want +got):\n%s", diff)
			}
			if grant.SessionID == "" || grant.Claims["email"] != "alice@example.org" {
				t.Errorf("sid = %q, claims = %v", grant.SessionID, grant.Claims)
			}
			if want := noon.Add(5 * time.Minute); !grant.Expires.Equal(want) {
				t.Errorf("Expires = %v, want %v", grant.Expires, want)
			}
			if n := w.Count(oidctest.Userinfo); n != 0 {
				t.Errorf("userinfo was asked %d times for nothing", n)
			}
		})
	}
}

func TestLogin_over_a_network_with_parallel_attempts(t *testing.T) {
	provider := oidctest.Serve(t, oidctest.Config{
		Issuer:  "/realm",
		Clients: []oidctest.Client{{ID: "app", Secret: clientSecret, RedirectURIs: []string{redirect}}},
		People:  []oidctest.Person{alice},
	})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := oidc.New(oidc.Config{
		Name: "main", Issuer: provider.Issuer(), ClientID: "app", ClientSecret: clientSecret, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, client)
	await(t, func() bool { return client.Ready() == nil })

	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a, address, err := client.Begin(time.Now(), redirect, "/", false)
			if err != nil {
				t.Error(err)
				return
			}
			callback, err := oidctest.SignIn(t.Context(), &http.Client{Transport: transport}, address, "alice", "pw")
			if err != nil {
				t.Error(err)
				return
			}
			u, _ := url.Parse(callback)
			grant, err := client.Finish(t.Context(), a, redirect, u.Query())
			if err != nil || grant.Subject != "a1" {
				t.Errorf("Finish = %v, %v", grant.Subject, err)
			}
		})
	}
	wg.Wait()
	if n := provider.Count(oidctest.CodeSpent); n != 20 {
		t.Errorf("%d codes were spent, want 20", n)
	}
}

func TestBegin(t *testing.T) {
	w := discovered(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.ACRValues = []string{"1", "2"} })
	seen := map[string]bool{}
	for range 100 {
		a, address, err := w.client.Begin(noon, redirect, "/wanted", false)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		for name, want := range map[string]string{
			"response_type": "code", "client_id": "app", "redirect_uri": redirect,
			"scope": "openid email profile groups", "code_challenge_method": "S256", "acr_values": "1 2",
			"state": a.State.Reveal(), "nonce": a.Nonce.Reveal(), "prompt": "",
		} {
			if got := q.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		for _, once := range []string{a.State.Reveal(), a.Nonce.Reveal(), a.Verifier.Reveal(), q.Get("code_challenge")} {
			if seen[once] || len(once) != 43 {
				t.Errorf("%q is not 43 characters of its own", once)
			}
			seen[once] = true
		}
		if a.Provider != "main" || a.ReturnTo != "/wanted" || !a.Started.Equal(noon) {
			t.Errorf("Attempt = %+v", a)
		}
	}
}

func TestBegin_for_another_account(t *testing.T) {
	for _, tt := range []struct {
		name      string
		announced any
		want      string
	}{
		{"both_announced", []string{"none", "login", "select_account"}, "select_account"},
		{"only_login_announced", []string{"none", "login"}, "login"},
		{"nothing_announced", oidctest.Missing, "select_account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.SetLies(oidctest.Lies{Metadata: map[string]any{"prompt_values_supported": tt.announced}})
			run(t, w.client)
			await(t, func() bool { return w.client.Ready() == nil })
			_, address, err := w.client.Begin(noon, redirect, "/", true)
			if err != nil {
				t.Fatal(err)
			}
			if u, _ := url.Parse(address); u.Query().Get("prompt") != tt.want {
				t.Errorf("prompt = %q, want %q", u.Query().Get("prompt"), tt.want)
			}
		})
	}
}

func TestAuthMethod(t *testing.T) {
	for _, tt := range []struct {
		name      string
		announced any
		method    oidc.AuthMethod
		want      string
	}{
		{"both_announced", []string{"client_secret_post", "client_secret_basic"}, "", "client_secret_basic"},
		{"only_post_announced", []string{"private_key_jwt", "client_secret_post"}, "", "client_secret_post"},
		{"nothing_announced", oidctest.Missing, "", "client_secret_basic"},
		{"configured", []string{"client_secret_basic"}, oidc.AuthPost, "client_secret_post"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.AuthMethod = tt.method })
			w.SetLies(oidctest.Lies{Metadata: map[string]any{"token_endpoint_auth_methods_supported": tt.announced}})
			run(t, w.client)
			await(t, func() bool { return w.client.Ready() == nil })
			if _, err := w.login(t); err != nil {
				t.Fatal(err)
			}
			if got := w.TokenRequests(); len(got) != 1 || got[0].AuthMethod != tt.want {
				t.Errorf("token requests = %+v, want one with %s", got, tt.want)
			}
		})
	}
}

func TestAuthMethod_encodes_id_and_secret(t *testing.T) {
	const id, secret = "https://app:1", "p&ss:w%rd+ ü"
	w := discovered(t, func(theirs *oidctest.Config, ours *oidc.Config) {
		theirs.Clients = []oidctest.Client{{ID: id, Secret: secret, RedirectURIs: []string{redirect}}}
		ours.ClientID, ours.ClientSecret = id, secret
	})
	if _, err := w.login(t); err != nil {
		t.Error(err)
	}
}

func TestEndSession(t *testing.T) {
	w := newWorld(t, nil)
	if _, ok := w.client.EndSession("token", "https://app.test/bye", "s"); ok {
		t.Error("EndSession before discovery = true, want false")
	}
	run(t, w.client)
	await(t, func() bool { return w.client.Ready() == nil })
	address, ok := w.client.EndSession("token", "https://app.test/bye", "s")
	u, err := url.Parse(address)
	if !ok || err != nil {
		t.Fatalf("EndSession = %v, %v", ok, err)
	}
	want := url.Values{
		"client_id": {"app"}, "id_token_hint": {"token"}, "state": {"s"},
		"post_logout_redirect_uri": {"https://app.test/bye"},
	}
	if diff := cmp.Diff(want, u.Query()); diff != "" || u.Host != "id.test" {
		t.Errorf("EndSession = %s (-want +got):\n%s", address, diff)
	}
	if address, _ := w.client.EndSession("", "", "s"); address != issuer+u.Path+"?client_id=app" {
		t.Errorf("EndSession with nothing = %s", address)
	}
}

func TestEndSession_of_a_provider_without(t *testing.T) {
	w := newWorld(t, nil)
	w.SetLies(oidctest.Lies{Metadata: map[string]any{"end_session_endpoint": oidctest.Missing}})
	run(t, w.client)
	await(t, func() bool { return w.client.Ready() == nil })
	if address, ok := w.client.EndSession("token", "https://app.test/bye", "s"); ok {
		t.Errorf("EndSession = %s, want none", address)
	}
}

func TestFinish_sends_a_code_once(t *testing.T) {
	w := discovered(t, nil)
	a, query := w.signIn(t)
	if _, err := w.client.Finish(t.Context(), a, redirect, query); err != nil {
		t.Fatal(err)
	}
	_, err := w.client.Finish(t.Context(), a, redirect, query)
	if !errors.Is(err, oidc.ErrCode) {
		t.Errorf("second Finish = %v, want ErrCode", err)
	}

	w.SetLies(oidctest.Lies{Token: oidctest.Fault{Drop: true}})
	before := w.Count(oidctest.TokenAsked)
	if _, err := w.login(t); !errors.Is(err, oidc.ErrUnavailable) {
		t.Errorf("Finish without an answer = %v, want ErrUnavailable", err)
	}
	if n := w.Count(oidctest.TokenAsked) - before; n != 1 {
		t.Errorf("the code was sent %d times, want once", n)
	}
}
