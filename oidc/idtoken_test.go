package oidc_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/google/go-cmp/cmp"
)

func TestIDToken_times(t *testing.T) {
	w := discovered(t, nil)
	const leeway = 60
	for _, tt := range []struct {
		name, claim string
		seconds     int64 // from now
		want        error
	}{
		{"exp_with_its_leeway_ends_exactly_now", "exp", -leeway, oidc.ErrExpired},
		{"exp_with_its_leeway_ends_in_a_second", "exp", -leeway + 1, nil},
		{"exp_with_its_leeway_ended_a_second_ago", "exp", -leeway - 1, oidc.ErrExpired},
		{"exp_exactly_now", "exp", 0, nil},
		{"exp_at_the_epoch", "exp", -noon.Unix(), oidc.ErrExpired},
		{"exp_before_the_epoch", "exp", -noon.Unix() - 1, oidc.ErrMalformed},
		{"nbf_with_its_leeway_begins_exactly_now", "nbf", leeway, nil},
		{"nbf_with_its_leeway_begins_in_a_second", "nbf", leeway + 1, oidc.ErrIssuedAt},
		{"nbf_exactly_now", "nbf", 0, nil},
		{"iat_with_its_leeway_begins_exactly_now", "iat", leeway, nil},
		{"iat_with_its_leeway_begins_in_a_second", "iat", leeway + 1, oidc.ErrIssuedAt},
		{"iat_exactly_now", "iat", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			claims := genuine()
			claims[tt.claim] = noon.Unix() + tt.seconds
			if _, err := w.present(t, w.sign(t, claims), "Bearer", nil); !errors.Is(err, tt.want) {
				t.Errorf("Finish = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestIDToken_that_is_none(t *testing.T) {
	w := discovered(t, nil)
	good := w.sign(t, genuine())
	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"words", "hello", oidc.ErrMalformed},
		{"two_parts", "e30.e30", oidc.ErrMalformed},
		{"four_parts", good + ".e30", oidc.ErrMalformed},
		{"json_serialization", fmt.Sprintf(`{"payload":"e30","signatures":[{"protected":"e30","signature":%q}]}`, good), oidc.ErrMalformed},
		{"padded", good + "=", oidc.ErrMalformed},
		{"blank_before", " " + good, oidc.ErrMalformed},
		{"of_another_realm", strangersToken(t), oidc.ErrKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := w.present(t, tt.token, "Bearer", nil); !errors.Is(err, tt.want) {
				t.Errorf("Finish = %v, want %v", err, tt.want)
			}
		})
	}
}

// strangersToken has all the right claims, signed by another provider.
func strangersToken(tb testing.TB) string {
	tb.Helper()
	stranger, err := oidctest.New(oidctest.Config{Issuer: "https://evil.test"})
	if err != nil {
		tb.Fatal(err)
	}
	token, err := stranger.Sign("JWT", genuine())
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func TestIDToken_acr_must_be_one_that_was_asked_for(t *testing.T) {
	w := discovered(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.ACRValues = []string{"eidas2", "eidas3"} })
	for _, tt := range []struct {
		name string
		acr  any
		want error
	}{
		{"one_of_them", "eidas3", nil},
		{"another", "eidas1", oidc.ErrACR},
		{"none", nil, oidc.ErrACR},
		{"a_list", []string{"eidas2"}, oidc.ErrACR},
		{"both_in_one", "eidas2 eidas3", oidc.ErrACR},
	} {
		t.Run(tt.name, func(t *testing.T) {
			claims := genuine()
			claims["acr"] = tt.acr
			if _, err := w.present(t, w.sign(t, claims), "Bearer", nil); !errors.Is(err, tt.want) {
				t.Errorf("Finish = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAlgorithms_narrowed(t *testing.T) {
	w := discovered(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.Algorithms = []string{"RS256"} })
	if _, err := w.login(t); !errors.Is(err, oidc.ErrAlgorithm) { // the provider signs with ES256
		t.Errorf("Finish = %v, want ErrAlgorithm", err)
	}
}

// claims of two sources, and the address that comes of them.
func TestEmail(t *testing.T) {
	const a, b = "alice@example.org", "bob@example.org"
	type c = map[string]any
	for _, tt := range []struct {
		name            string
		token, userinfo c
		assume          bool
		want            string
	}{
		{"verified", c{"email": a, "email_verified": true}, nil, false, a},
		{"verified_in_a_string", c{"email": a, "email_verified": "true"}, nil, false, a},
		{"verified_by_a_number", c{"email": a, "email_verified": 1}, nil, false, ""},
		{"verified_by_a_list", c{"email": a, "email_verified": []bool{true}}, nil, true, ""},
		{"not_said", c{"email": a}, nil, false, ""},
		{"not_said_and_assumed", c{"email": a}, nil, true, a},
		{"false", c{"email": a, "email_verified": false}, nil, false, ""},
		{"false_and_assumed", c{"email": a, "email_verified": false}, nil, true, ""},
		{"false_in_a_string_and_assumed", c{"email": a, "email_verified": "false"}, nil, true, ""},
		{"verified_by_userinfo", c{"email": a}, c{"email": a, "email_verified": true}, false, a},
		{"denied_by_userinfo", c{"email": a, "email_verified": true, "name": nil}, c{"email_verified": false}, false, ""},
		{"another_one_verified_by_userinfo", c{"email": a}, c{"email": b, "email_verified": true}, false, ""},
		{"only_in_userinfo", nil, c{"email": b, "email_verified": true}, false, b},
		{"only_in_userinfo_denied_by_the_token", c{"email_verified": false}, c{"email": b, "email_verified": true}, false, ""},
		{"token_wins", c{"email": a, "email_verified": true, "name": nil}, c{"email": b, "email_verified": true}, false, a},
		{"two_at_signs", c{"email": "eve@evil.test@example.org", "email_verified": true}, nil, false, ""},
		{"no_at_sign", c{"email": "alice", "email_verified": true}, nil, false, ""},
		{"nothing_before_it", c{"email": "@example.org", "email_verified": true}, nil, false, ""},
		{"nothing_after_it", c{"email": "alice@", "email_verified": true}, nil, false, ""},
		{"line_break", c{"email": "a\r\nx: y@example.org", "email_verified": true}, nil, false, ""},
		{"control_character", c{"email": "alice@example.org\x7f", "email_verified": true}, nil, false, ""},
		{"blank", c{"email": "eve@evil.test alice", "email_verified": true}, nil, false, ""},
		{"a_list", c{"email": []string{a}, "email_verified": true}, c{"email": []string{a}}, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := discovered(t, func(theirs *oidctest.Config, ours *oidc.Config) {
				theirs.People[0].Email = ""
				theirs.People[0].Claims = tt.userinfo
				ours.Scopes = []string{"openid", "email", "profile"}
				ours.AssumeEmailVerified = tt.assume
			})
			w.SetLies(oidctest.Lies{Claims: onlyEmail(tt.token)})
			grant, err := w.login(t)
			if err != nil || grant.Email != tt.want {
				t.Errorf("Email = %q, %v, want %q", grant.Email, err, tt.want)
			}
		})
	}
}

// onlyEmail are the lies that make claims the only ones about an address.
func onlyEmail(claims map[string]any) map[string]any {
	lies := map[string]any{"email": oidctest.Missing, "email_verified": oidctest.Missing}
	for name, v := range claims {
		if lies[name] = v; v == nil {
			lies[name] = oidctest.Missing
		}
	}
	return lies
}

func TestGroups(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		claims     map[string]any
		want       []string
	}{
		{"list", "", map[string]any{"groups": []string{"a", "b"}}, []string{"a", "b"}},
		{"single_string", "", map[string]any{"groups": "admin"}, []string{"admin"}},
		{"single_string_with_a_comma", "", map[string]any{"groups": "admin,staff"}, []string{"admin,staff"}},
		{"empty_list", "", map[string]any{"groups": []string{}}, []string{}},
		{"empty_string", "", map[string]any{"groups": ""}, []string{}},
		{"not_only_strings", "", map[string]any{"groups": []any{"a", 1, nil, "", []string{"b"}}}, []string{"a"}},
		{"an_object", "", map[string]any{"groups": map[string]any{"admin": true}}, nil},
		{"missing", "", nil, nil},
		{"nested", "realm_access.roles", map[string]any{"realm_access": map[string]any{"roles": []string{"r"}}}, []string{"r"}},
		{"name_with_dots", "https://app.test/groups", map[string]any{"https://app.test/groups": []string{"g"}}, []string{"g"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := discovered(t, func(theirs *oidctest.Config, ours *oidc.Config) {
				theirs.People[0].Groups = nil
				theirs.People[0].Claims = tt.claims
				ours.GroupsClaim = tt.path
			})
			grant, err := w.login(t)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, grant.Groups); diff != "" {
				t.Errorf("Groups (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUserinfo_is_asked_for_what_is_missing(t *testing.T) {
	w := discovered(t, func(theirs *oidctest.Config, _ *oidc.Config) {
		theirs.ClaimsInUserinfoOnly = true
		theirs.People[0].Claims = map[string]any{"badge": 9007199254740993}
	})
	grant, err := w.login(t)
	if err != nil {
		t.Fatal(err)
	}
	if n := w.Count(oidctest.Userinfo); n != 1 {
		t.Errorf("userinfo was asked %d times, want once", n)
	}
	got := []string{grant.Email, grant.Name, grant.Username, fmt.Sprint(grant.Groups), fmt.Sprint(grant.Claims["badge"])}
	want := []string{"alice@example.org", "Alice Martin", "alice", "[staff admin]", "9007199254740993"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Identity (-want +got):\n%s", diff)
	}
}

func TestUserinfo_of_a_provider_without(t *testing.T) {
	w := newWorld(t, func(theirs *oidctest.Config, _ *oidc.Config) { theirs.ClaimsInUserinfoOnly = true })
	w.SetLies(oidctest.Lies{Metadata: map[string]any{"userinfo_endpoint": oidctest.Missing}})
	run(t, w.client)
	await(t, func() bool { return w.client.Ready() == nil })
	if grant, err := w.login(t); err != nil || grant.Subject != "a1" || grant.Email != "" {
		t.Errorf("Finish = %+v, %v", grant.Identity, err)
	}
}
