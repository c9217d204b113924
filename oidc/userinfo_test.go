package oidc_test

import (
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/google/go-cmp/cmp"
)

func TestUserinfo(t *testing.T) {
	w, _ := lasting(t, nil)
	g := w.granted(t)
	changed := alice
	changed.Groups, changed.Name, changed.Email = []string{"staff"}, "Alice Durand", "durand@example.org"
	changed.Claims = map[string]any{"badge": "7", "iss": "https://evil.test", "acr": "9", "sid": "other", "auth_time": 1, "amr": "x"}
	if err := w.SetPerson(changed); err != nil {
		t.Fatal(err)
	}
	want := g
	want.Name, want.Groups, want.Email = "Alice Durand", []string{"staff"}, "durand@example.org"
	want.Claims = maps.Clone(g.Claims)
	maps.Copy(want.Claims, map[string]any{
		"name": "Alice Durand", "groups": []any{"staff"}, "email": "durand@example.org", "badge": "7",
	})
	got, err := w.revisit(t, visits["Userinfo"], g)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Grant (-want +got):\n%s", diff)
	}
}

// A provider may leave out the groups of somebody who has none any more.
func TestUserinfo_takes_back_what_only_it_had_said(t *testing.T) {
	for _, tt := range []struct {
		name     string
		only     bool // in userinfo
		ask      string
		lies     oidctest.Lies
		idToken  oidc.Secret
		want     []string
		wantName string
	}{
		{"asked", true, "Userinfo", oidctest.Lies{}, "", nil, ""},
		{"refreshed_without_id_token", true, "Refresh", oidctest.Lies{RefreshNoIDToken: true}, "", nil, ""},
		{"refreshed", true, "Refresh", oidctest.Lies{}, "", nil, ""},
		{"but_not_what_the_id_token_said", false, "Userinfo", oidctest.Lies{}, "", []string{"staff", "admin"}, "Alice Martin"},
		{"but_nothing_without_an_id_token", true, "Userinfo", oidctest.Lies{}, "none", []string{"staff", "admin"}, "Alice Martin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := lasting(t, func(theirs *oidctest.Config, _ *oidc.Config) { theirs.ClaimsInUserinfoOnly = tt.only })
			g := w.granted(t)
			if tt.idToken != "" {
				g.IDToken = tt.idToken
			}
			left := alice
			left.Groups, left.Name = nil, ""
			if err := w.SetPerson(left); err != nil {
				t.Fatal(err)
			}
			w.SetLies(tt.lies)
			got, err := w.revisit(t, visits[tt.ask], g)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Groups); diff != "" || got.Name != tt.wantName {
				t.Errorf("Name = %q, Groups (-want +got):\n%s", got.Name, diff)
			}
			if got.ACR != "1" || got.SessionID != g.SessionID || !got.AuthTime.Equal(noon) || got.Email != alice.Email {
				t.Errorf("Identity = %+v, want the same sign-in", got.Identity)
			}
		})
	}
}

func TestUserinfo_email(t *testing.T) {
	const a, b = "alice@example.org", "bob@example.org"
	type c = map[string]any
	for _, tt := range []struct {
		name       string
		known, now c
		want       string
	}{
		{"confirmed", c{"email": a, "email_verified": true}, c{"email": a, "email_verified": true}, a},
		{"not_spoken_of", c{"email": a, "email_verified": true}, nil, a},
		{"without_email_verified", c{"email": a, "email_verified": true}, c{"email": a}, a},
		{"verified_by_now", c{"email": a, "email_verified": false}, c{"email": a, "email_verified": true}, a},
		{"not_verified_any_more", c{"email": a, "email_verified": true}, c{"email": a, "email_verified": false}, ""},
		{"denied_without_an_address", c{"email": a, "email_verified": true}, c{"email_verified": false}, ""},
		{"another_one", c{"email": a, "email_verified": true}, c{"email": b, "email_verified": true}, b},
		{"another_one_that_is_not_verified", c{"email": a, "email_verified": true}, c{"email": b}, ""},
		{"two_at_signs", c{"email": a, "email_verified": true}, c{"email": "eve@evil.test@example.org"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := lasting(t, func(theirs *oidctest.Config, _ *oidc.Config) {
				theirs.People[0].Email = ""
				theirs.People[0].Claims = tt.now
			})
			w.SetLies(oidctest.Lies{Claims: onlyEmail(tt.known)})
			g, err := w.login(t)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := w.revisit(t, visits["Userinfo"], g); err != nil || got.Email != tt.want {
				t.Errorf("Email = %q, %v, want %q", got.Email, err, tt.want)
			}
		})
	}
}

func TestUserinfo_refuses_each_lie(t *testing.T) {
	says := func(f oidctest.Fault) oidctest.Lies { return oidctest.Lies{Userinfo: f} }
	w, _ := lasting(t, nil)
	g := w.granted(t)
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
		want error
	}{
		{"401", says(oidctest.Fault{Status: 401}), oidc.ErrEnded},
		{"403", says(oidctest.Fault{Status: 403}), oidc.ErrUserinfo},
		{"404", says(oidctest.Fault{Status: 404}), oidc.ErrUserinfo},
		{"429", says(oidctest.Fault{Status: 429}), oidc.ErrUnavailable},
		{"500", says(oidctest.Fault{Status: 500}), oidc.ErrUnavailable},
		{"dropped", says(oidctest.Fault{Drop: true}), oidc.ErrUnavailable},
		{"of_2_MiB", says(oidctest.Fault{Padding: 2 << 20}), oidc.ErrUnavailable},
		{"redirect", says(oidctest.Fault{Status: 302, Header: http.Header{"Location": {issuer + "/other"}}}), oidc.ErrUserinfo},
		{"html", says(oidctest.Fault{Body: "<html>"}), oidc.ErrUnavailable},
		{"null", says(oidctest.Fault{Body: "null"}), oidc.ErrUserinfo},
		{"of_another", oidctest.Lies{UserinfoSubject: "eve"}, oidc.ErrSubject},
		{"of_nobody", oidctest.Lies{UserinfoSubject: oidctest.Missing}, oidc.ErrUserinfo},
		{"of_a_number", oidctest.Lies{UserinfoSubject: 1}, oidc.ErrUserinfo},
		{"signed", says(oidctest.Fault{Body: "a.b.c", Header: http.Header{"Content-Type": {"application/jwt"}}}), oidc.ErrUserinfo},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.SetLies(tt.lies)
			if _, err := w.revisit(t, visits["Userinfo"], g); !errors.Is(err, tt.want) {
				t.Errorf("Userinfo = %v, want %v", err, tt.want)
			}
			w.SetLies(oidctest.Lies{})
			if _, err := w.revisit(t, visits["Userinfo"], g); err != nil {
				t.Errorf("honest again, Userinfo = %v", err)
			}
		})
	}
}

func TestUserinfo_of_a_login_that_ended(t *testing.T) {
	for name, end := range map[string]func(*world, *clock){
		"signed_out":                     func(w *world, _ *clock) { w.SignOut("alice") },
		"removed":                        func(w *world, _ *clock) { w.RemovePerson("alice") },
		"access_token_ended_exactly_now": func(_ *world, c *clock) { c.sleep(5 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			w, c := lasting(t, nil)
			g := w.granted(t)
			end(w, c)
			if _, err := w.revisit(t, visits["Userinfo"], g); !errors.Is(err, oidc.ErrEnded) {
				t.Errorf("Userinfo = %v, want ErrEnded", err)
			}
		})
	}
}

func TestRevisit_of_a_provider_without_such_an_endpoint(t *testing.T) {
	for name, endpoint := range map[string]string{"Userinfo": "userinfo_endpoint", "Introspect": "introspection_endpoint"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.SetLies(oidctest.Lies{Metadata: map[string]any{endpoint: oidctest.Missing}})
			run(t, w.client)
			await(t, func() bool { return w.client.Ready() == nil })
			for range 4 {
				if _, err := w.revisit(t, visits[name], known()); !errors.Is(err, oidc.ErrUnavailable) {
					t.Errorf("%s = %v, want ErrUnavailable", name, err)
				}
			}
			if _, err := w.revisit(t, visits["Refresh"], known()); !errors.Is(err, oidc.ErrEnded) {
				t.Errorf("Refresh all the same = %v, want ErrEnded", err)
			}
		})
	}
}
