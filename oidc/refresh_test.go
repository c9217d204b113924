package oidc_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

// AZ-A06: what somebody may do is what the provider says now.
func TestRefresh(t *testing.T) {
	w, c := lasting(t, nil)
	g := w.granted(t)
	promoted := alice
	promoted.Groups, promoted.Name = []string{"staff"}, "Alice Durand"
	if err := w.SetPerson(promoted); err != nil {
		t.Fatal(err)
	}
	c.sleep(5 * time.Minute)
	got, err := w.revisit(t, visits["Refresh"], g)
	if err != nil {
		t.Fatal(err)
	}
	if got.Access == g.Access || got.Refresh == g.Refresh || got.IDToken == g.IDToken {
		t.Error("one of the tokens is the old one")
	}
	want := g
	want.Access, want.Refresh, want.IDToken, want.Expires = got.Access, got.Refresh, got.IDToken, noon.Add(10*time.Minute)
	want.Name, want.Groups = "Alice Durand", []string{"staff"}
	want.Claims["name"], want.Claims["groups"] = "Alice Durand", []any{"staff"}
	sameGrant(t, want, got)
	if _, there := got.Claims["nonce"]; there {
		t.Error("the nonce of the login is carried over")
	}
	if n := w.Count(oidctest.Userinfo); n != 0 {
		t.Errorf("userinfo was asked %d times for nothing", n)
	}
}

func TestRefresh_keeps_what_the_answer_lacks(t *testing.T) {
	without := func(claims ...string) oidctest.Lies {
		lies := oidctest.Lies{Claims: map[string]any{}}
		for _, name := range claims {
			lies.Claims[name] = oidctest.Missing
		}
		return lies
	}
	for _, tt := range []struct {
		name   string
		lies   oidctest.Lies
		change func(want *oidc.Grant, g oidc.Grant)
	}{
		{"refresh_token", oidctest.Lies{NoRotation: true}, func(want *oidc.Grant, g oidc.Grant) { want.Refresh = g.Refresh }},
		{"id_token", oidctest.Lies{RefreshNoIDToken: true}, func(want *oidc.Grant, g oidc.Grant) { want.IDToken = g.IDToken }},
		{"id_token_of_a_provider_without_userinfo", oidctest.Lies{
			RefreshNoIDToken: true, Metadata: map[string]any{"userinfo_endpoint": oidctest.Missing},
		}, func(want *oidc.Grant, g oidc.Grant) { want.IDToken = g.IDToken }},
		{"claims_of_the_sign_in", without("auth_time", "acr", "amr", "sid"), nil},
		{"claim_of_the_sign_in_that_is_null", oidctest.Lies{Claims: map[string]any{"acr": json.RawMessage("null")}}, nil},
		{"but_no_auth_time_before_a_later_sign_in", oidctest.Lies{Claims: map[string]any{"auth_time": noon.Unix() + 60}}, func(want *oidc.Grant, _ oidc.Grant) {
			want.AuthTime, want.Claims["auth_time"] = noon.Add(time.Minute), json.Number(strconv.FormatInt(noon.Unix()+60, 10))
		}},
		{"but_no_claim_of_the_sign_in_that_is_empty", oidctest.Lies{Claims: map[string]any{"sid": ""}}, func(want *oidc.Grant, _ oidc.Grant) {
			want.SessionID, want.Claims["sid"] = "", ""
		}},
		{"but_no_other_claim", without("preferred_username", "badge"), func(want *oidc.Grant, _ oidc.Grant) {
			want.Username = ""
			delete(want.Claims, "preferred_username")
			delete(want.Claims, "badge")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(theirs *oidctest.Config, _ *oidc.Config) {
				theirs.Clients[0].AlwaysRefresh = true
				theirs.People[0].Claims = map[string]any{"badge": "7"}
			})
			w.SetLies(tt.lies) // while the metadata is read
			run(t, w.client)
			await(t, func() bool { return w.client.Ready() == nil && w.Count(oidctest.Keys) > 0 })
			g := w.granted(t)
			w.SetLies(tt.lies)
			got, err := w.revisit(t, visits["Refresh"], g)
			if err != nil {
				t.Fatal(err)
			}
			want := g
			want.Access, want.Refresh, want.IDToken, want.Expires = got.Access, got.Refresh, got.IDToken, noon.Add(5*time.Minute)
			if tt.change != nil {
				tt.change(&want, g)
			}
			sameGrant(t, want, got)
			if got.Access == g.Access {
				t.Error("the access token is the old one")
			}
		})
	}
}

func TestRefresh_refuses_each_lie(t *testing.T) {
	const nothing, rotated, verified = false, true, "verified"
	claim := func(name string, value any) oidctest.Lies {
		return oidctest.Lies{Claims: map[string]any{name: value}}
	}
	says := func(status int, body string) oidctest.Lies {
		return oidctest.Lies{Token: oidctest.Fault{Status: status, Body: body}}
	}
	userinfo := func(lies oidctest.Lies) oidctest.Lies {
		lies.Claims = map[string]any{"groups": oidctest.Missing}
		return lies
	}
	w, _ := lasting(t, nil)
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
		want error
		kept any // of the new tokens
	}{
		{"invalid_grant", says(400, `{"error":"invalid_grant"}`), oidc.ErrEnded, nothing},
		{"invalid_grant_with_200", says(200, `{"error":"invalid_grant"}`), oidc.ErrEnded, nothing},
		{"invalid_grant_with_500", says(500, `{"error":"invalid_grant"}`), oidc.ErrUnavailable, nothing},
		{"invalid_client", says(401, `{"error":"invalid_client"}`), oidc.ErrUnavailable, nothing},
		{"unauthorized_client", says(400, `{"error":"unauthorized_client"}`), oidc.ErrUnavailable, nothing},
		{"unsupported_grant_type", says(400, `{"error":"unsupported_grant_type"}`), oidc.ErrUnavailable, nothing},
		{"invalid_scope", says(400, `{"error":"invalid_scope"}`), oidc.ErrUnavailable, nothing},
		{"invalid_request", says(400, `{"error":"invalid_request"}`), oidc.ErrUnavailable, nothing},
		{"access_denied", says(403, `{"error":"access_denied"}`), oidc.ErrUnavailable, nothing},
		{"temporarily_unavailable", says(400, `{"error":"temporarily_unavailable"}`), oidc.ErrUnavailable, nothing},
		{"an_error_of_no_name", says(400, `{"error":""}`), oidc.ErrUnavailable, nothing},
		{"an_error_that_is_no_text", says(400, `{"error":["invalid_grant"]}`), oidc.ErrUnavailable, nothing},
		{"html", says(200, "<html>invalid_grant"), oidc.ErrUnavailable, nothing},
		{"404", says(404, `{}`), oidc.ErrUnavailable, nothing},
		{"429", says(429, `{"error":"invalid_grant"}`), oidc.ErrUnavailable, nothing},
		{"503", says(503, ""), oidc.ErrUnavailable, nothing},
		{"redirect", oidctest.Lies{Token: oidctest.Fault{
			Status: 307, Header: http.Header{"Location": {issuer + "/token"}},
		}}, oidc.ErrUnavailable, nothing},
		{"nothing_but_braces", says(200, `{}`), oidc.ErrTokenType, nothing},

		{"token_type_mac", oidctest.Lies{TokenType: "mac"}, oidc.ErrTokenType, rotated},
		{"iss_of_another", oidctest.Lies{Issuer: "https://evil.test"}, oidc.ErrSubject, rotated},
		{"iss_with_slash", oidctest.Lies{Issuer: issuer + "/"}, oidc.ErrSubject, rotated},
		{"sub_of_another", oidctest.Lies{RefreshSubject: "eve"}, oidc.ErrSubject, rotated},
		{"sub_missing", oidctest.Lies{RefreshSubject: oidctest.Missing}, oidc.ErrMalformed, rotated},
		{"sub_empty", oidctest.Lies{RefreshSubject: ""}, oidc.ErrMalformed, rotated},
		{"sub_a_number", oidctest.Lies{RefreshSubject: 1}, oidc.ErrMalformed, rotated},
		{"sub_of_256_characters", oidctest.Lies{RefreshSubject: strings.Repeat("s", 256)}, oidc.ErrMalformed, rotated},
		{"aud_of_another", oidctest.Lies{Audience: "other"}, oidc.ErrAudience, rotated},
		{"azp_of_another", oidctest.Lies{AuthorizedParty: "other"}, oidc.ErrParty, rotated},
		{"exp_past", oidctest.Lies{Expired: time.Minute}, oidc.ErrExpired, rotated},
		{"iat_missing", oidctest.Lies{IssuedAt: oidctest.Missing}, oidc.ErrMalformed, rotated},
		{"iat_ahead", oidctest.Lies{IssuedAhead: time.Hour}, oidc.ErrIssuedAt, rotated},
		{"auth_time_of_an_earlier_sign_in", claim("auth_time", noon.Unix()-1), oidc.ErrAuthTime, rotated},
		{"auth_time_a_string", claim("auth_time", "noon"), oidc.ErrAuthTime, rotated},
		{"at_hash_wrong", oidctest.Lies{AtHash: "AAAA"}, oidc.ErrAccessHash, rotated},
		{"signature_flipped", oidctest.Lies{Signature: oidctest.FlippedBit}, oidc.ErrSignature, rotated},
		{"alg_none", oidctest.Lies{Signature: oidctest.AlgNone}, oidc.ErrAlgorithm, rotated},
		{"key_unknown", oidctest.Lies{Signature: oidctest.UnknownKey}, oidc.ErrKey, rotated},
		{"typ_of_a_logout_token", oidctest.Lies{Type: "logout+jwt"}, oidc.ErrType, rotated},

		{"userinfo_500", userinfo(oidctest.Lies{Userinfo: oidctest.Fault{Status: 500}}), oidc.ErrUnavailable, verified},
		{"userinfo_401", userinfo(oidctest.Lies{Userinfo: oidctest.Fault{Status: 401}}), oidc.ErrUserinfo, verified},
		{"userinfo_of_another", userinfo(oidctest.Lies{UserinfoSubject: "eve"}), oidc.ErrSubject, verified},
		{"userinfo_of_nobody", userinfo(oidctest.Lies{UserinfoSubject: oidctest.Missing}), oidc.ErrUserinfo, verified},
		{"no_id_token_and_userinfo_500", oidctest.Lies{RefreshNoIDToken: true, Userinfo: oidctest.Fault{Status: 500}}, oidc.ErrUnavailable, rotated},
		{"no_id_token_and_userinfo_of_another", oidctest.Lies{RefreshNoIDToken: true, UserinfoSubject: "eve"}, oidc.ErrSubject, rotated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := w.granted(t)
			w.SetLies(tt.lies)
			asked := w.Count(oidctest.RefreshAsked)
			got, err := w.revisit(t, visits["Refresh"], g)
			if !errors.Is(err, tt.want) {
				t.Errorf("Refresh = %v, want %v", err, tt.want)
			}
			if n := w.Count(oidctest.RefreshAsked) - asked; n != 1 {
				t.Errorf("the refresh token was sent %d times, want once", n)
			}
			if (got.Refresh != "") != (tt.kept != nothing) || tt.kept != nothing && got.Refresh == g.Refresh {
				t.Errorf("Refresh token = %q after %q", got.Refresh.Reveal(), g.Refresh.Reveal())
			}
			if tt.kept != nothing && (got.IDToken != g.IDToken) != (tt.kept == verified) {
				t.Errorf("new ID token kept = %v, want %v", got.IDToken != g.IDToken, tt.kept)
			}
			if tt.kept == nothing {
				got = g
			}
			w.SetLies(oidctest.Lies{})
			if _, err := w.revisit(t, visits["Refresh"], got); err != nil {
				t.Errorf("honest again, Refresh = %v", err)
			}
		})
	}
}

func TestRefresh_accepts_what_only_looks_odd(t *testing.T) {
	w, _ := lasting(t, nil)
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
	}{
		{"azp_ours", oidctest.Lies{AuthorizedParty: "app"}},
		{"nonce", oidctest.Lies{Nonce: "other"}},
		{"auth_time_with_a_fraction", oidctest.Lies{Claims: map[string]any{"auth_time": float64(noon.Unix()) + 0.25}}},
		{"another_acr", oidctest.Lies{Claims: map[string]any{"acr": "2"}}},
		{"unneeded_userinfo_away", oidctest.Lies{Userinfo: oidctest.Fault{Status: 500}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := w.granted(t)
			w.SetLies(tt.lies)
			if _, err := w.revisit(t, visits["Refresh"], g); err != nil {
				t.Errorf("Refresh = %v", err)
			}
		})
	}
}

func TestRefresh_acr_is_checked_where_there_is_one(t *testing.T) {
	w, _ := lasting(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.ACRValues = []string{"1", "2"} })
	for _, tt := range []struct {
		name string
		acr  any
		acrs string
		want error
	}{
		{"one_of_those_asked_for", "2", "2", nil},
		{"another", "0", "1", oidc.ErrACR},
		{"none", oidctest.Missing, "1", nil},
		{"a_list", []string{"1"}, "1", oidc.ErrACR},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := w.granted(t)
			w.SetLies(oidctest.Lies{Claims: map[string]any{"acr": tt.acr}})
			if got, err := w.revisit(t, visits["Refresh"], g); !errors.Is(err, tt.want) || got.ACR != tt.acrs {
				t.Errorf("Refresh = acr %q, %v, want %q, %v", got.ACR, err, tt.acrs, tt.want)
			}
		})
	}
}

// RF-A07
func TestRefresh_makes_sense_of_expires_in(t *testing.T) {
	w, _ := lasting(t, nil)
	for _, tt := range []struct {
		name string
		says any
		want time.Time
	}{
		{"a_number", 60, noon.Add(time.Minute)},
		{"a_number_in_a_string", "60", noon.Add(time.Minute)},
		{"missing", oidctest.Missing, time.Time{}},
		{"zero", 0, time.Time{}},
		{"negative", -5, time.Time{}},
		{"huge", 1e18, noon.Add(365 * 24 * time.Hour)},
		{"words", "soon", time.Time{}},
		{"an_object", map[string]any{}, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := w.granted(t)
			w.SetLies(oidctest.Lies{ExpiresIn: tt.says})
			if got, err := w.revisit(t, visits["Refresh"], g); err != nil || !got.Expires.Equal(tt.want) {
				t.Errorf("Expires = %v, %v, want %v", got.Expires, err, tt.want)
			}
		})
	}
}

// A spent refresh token ends the login, so a lost answer must not be asked for
// again, neither by us nor by net/http on a connection that was used before.
func TestRefresh_is_never_sent_again(t *testing.T) {
	provider := oidctest.Serve(t, oidctest.Config{
		Clients: []oidctest.Client{{ID: "app", Secret: clientSecret, RedirectURIs: []string{redirect}, AlwaysRefresh: true}},
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
	g := known()
	g.Issuer = provider.Issuer()
	provider.SetLies(oidctest.Lies{Token: oidctest.Fault{Drop: true}})
	for range 3 { // then it is left alone for a moment
		before := provider.Count(oidctest.RefreshAsked)
		if got, err := client.Refresh(t.Context(), g); !errors.Is(err, oidc.ErrUnavailable) || got.Refresh != "" {
			t.Errorf("Refresh without an answer = %+v, %v, want ErrUnavailable", got, err)
		}
		if n := provider.Count(oidctest.RefreshAsked) - before; n != 1 {
			t.Errorf("the refresh token was sent %d times, want once", n)
		}
	}
}

func TestRevisit_authenticates_as_a_login_does(t *testing.T) {
	for _, method := range []oidc.AuthMethod{oidc.AuthBasic, oidc.AuthPost} {
		w, _ := lasting(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.AuthMethod = method })
		g := w.granted(t)
		for _, name := range []string{"Introspect", "Refresh"} {
			if _, err := w.revisit(t, visits[name], g); err != nil {
				t.Errorf("%s with %s = %v", name, method, err)
			}
		}
		all := w.TokenRequests()
		if last := all[len(all)-1]; last.AuthMethod != string(method) || last.Form.Get("grant_type") != "refresh_token" {
			t.Errorf("token request = %+v, want a refresh with %s", last, method)
		}
	}
}

func TestRefresh_that_was_refused_says_why(t *testing.T) {
	var log strings.Builder
	w, _ := lasting(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	g := w.granted(t)
	for _, tt := range []struct {
		code   string
		logged bool
	}{{"invalid_client", true}, {"invalid_grant", false}} {
		log.Reset()
		w.SetLies(oidctest.Lies{Token: oidctest.Fault{Status: 400, Body: `{"error":"` + tt.code + `","error_description":"no"}`}})
		_, err := w.revisit(t, visits["Refresh"], g)
		if r, ok := errors.AsType[*oidc.Refusal](err); !ok || *r != (oidc.Refusal{Code: tt.code, Description: "no"}) || r.Hint() == "" {
			t.Errorf("%s: Refresh = %v, want a Refusal with a hint", tt.code, err)
		}
		if strings.Contains(log.String(), "provider refused") != tt.logged {
			t.Errorf("%s: log = %q", tt.code, log.String())
		}
	}
}
