package oidc_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

// lie is what a provider does wrong after its discovery, and what refuses it.
type lie struct {
	name string
	lies oidctest.Lies
	want error
}

func lies() []lie {
	claim := func(name string, value any) oidctest.Lies {
		return oidctest.Lies{Claims: map[string]any{name: value}}
	}
	answer := func(status int, body string) oidctest.Lies {
		return oidctest.Lies{Token: oidctest.Fault{Status: status, Body: body}}
	}
	userinfo := func(f oidctest.Fault) oidctest.Lies {
		return oidctest.Lies{Claims: map[string]any{"groups": oidctest.Missing}, Userinfo: f}
	}
	return []lie{
		{"iss_with_slash", oidctest.Lies{Issuer: issuer + "/"}, oidc.ErrIssuer},
		{"iss_of_another", oidctest.Lies{Issuer: "https://evil.test"}, oidc.ErrIssuer},
		{"iss_missing", oidctest.Lies{Issuer: oidctest.Missing}, oidc.ErrIssuer},
		{"iss_a_list", oidctest.Lies{Issuer: []string{issuer}}, oidc.ErrIssuer},
		{"aud_of_another", oidctest.Lies{Audience: "other"}, oidc.ErrAudience},
		{"aud_empty", oidctest.Lies{Audience: []string{}}, oidc.ErrAudience},
		{"aud_missing", oidctest.Lies{Audience: oidctest.Missing}, oidc.ErrAudience},
		{"aud_an_object", oidctest.Lies{Audience: map[string]any{"app": true}}, oidc.ErrAudience},
		{"aud_of_two_without_azp", oidctest.Lies{Audience: []string{"app", "other"}}, oidc.ErrParty},
		{"azp_of_another", oidctest.Lies{AuthorizedParty: "other"}, oidc.ErrParty},
		{"azp_a_list", oidctest.Lies{AuthorizedParty: []string{"app"}}, oidc.ErrParty},
		{"azp_of_another_of_two", oidctest.Lies{Audience: []string{"app", "other"}, AuthorizedParty: "other"}, oidc.ErrParty},
		{"exp_past", oidctest.Lies{Expired: time.Minute + time.Second}, oidc.ErrExpired},
		{"exp_missing", claim("exp", oidctest.Missing), oidc.ErrMalformed},
		{"exp_a_string", claim("exp", "2099"), oidc.ErrMalformed},
		{"exp_beyond_all_years", claim("exp", 1e300), oidc.ErrMalformed},
		{"iat_missing", oidctest.Lies{IssuedAt: oidctest.Missing}, oidc.ErrMalformed},
		{"iat_ahead", oidctest.Lies{IssuedAhead: time.Minute + time.Second}, oidc.ErrIssuedAt},
		{"nbf_ahead", oidctest.Lies{NotBefore: time.Minute + time.Second}, oidc.ErrIssuedAt},
		{"nbf_a_string", claim("nbf", "now"), oidc.ErrMalformed},
		{"nonce_of_another", oidctest.Lies{Nonce: "other"}, oidc.ErrNonce},
		{"nonce_missing", oidctest.Lies{Nonce: oidctest.Missing}, oidc.ErrNonce},
		{"nonce_empty", oidctest.Lies{Nonce: ""}, oidc.ErrNonce},
		{"nonce_a_number", oidctest.Lies{Nonce: 7}, oidc.ErrNonce},
		{"nonce_a_list", oidctest.Lies{Nonce: []string{"n"}}, oidc.ErrNonce},
		{"sub_missing", oidctest.Lies{Subject: oidctest.Missing}, oidc.ErrSubject},
		{"sub_empty", oidctest.Lies{Subject: ""}, oidc.ErrSubject},
		{"sub_a_number", oidctest.Lies{Subject: 1}, oidc.ErrSubject},
		{"sub_too_long", oidctest.Lies{Subject: strings.Repeat("s", 256)}, oidc.ErrSubject},
		{"at_hash_wrong", oidctest.Lies{AtHash: "AAAA"}, oidc.ErrAccessHash},
		{"at_hash_empty", oidctest.Lies{AtHash: ""}, oidc.ErrAccessHash},
		{"typ_of_an_access_token", oidctest.Lies{Type: "at+jwt"}, oidc.ErrType},
		{"typ_of_an_access_token_in_full", oidctest.Lies{Type: "application/AT+JWT"}, oidc.ErrType},
		{"typ_of_a_logout_token", oidctest.Lies{Type: "logout+jwt"}, oidc.ErrType},
		{"kid_unknown", oidctest.Lies{KeyID: "../../../dev/null"}, oidc.ErrKey},
		{"kid_sql", oidctest.Lies{KeyID: "' OR 1=1"}, oidc.ErrKey},
		{"kid_of_10_KiB", oidctest.Lies{KeyID: strings.Repeat("k", 10<<10)}, oidc.ErrKey},

		{"token_type_mac", oidctest.Lies{TokenType: "mac"}, oidc.ErrTokenType},
		{"token_type_missing", oidctest.Lies{TokenType: oidctest.Missing}, oidc.ErrTokenType},
		{"no_id_token", oidctest.Lies{NoIDToken: true}, oidc.ErrTokens},
		{"error_with_200", answer(200, `{"error":"invalid_request"}`), oidc.ErrRefused},
		{"invalid_grant", answer(400, `{"error":"invalid_grant"}`), oidc.ErrCode},
		{"invalid_client", answer(401, `{"error":"invalid_client"}`), oidc.ErrRefused},
		{"nothing_but_braces", answer(200, `{}`), oidc.ErrTokenType},
		{"token_html", answer(200, "<html>"), oidc.ErrUnavailable},
		{"token_two_values", answer(200, `{} {}`), oidc.ErrUnavailable},
		{"token_403_without_an_error", answer(403, `{}`), oidc.ErrUnavailable},
		{"token_404", answer(404, "<html>"), oidc.ErrUnavailable},
		{"token_429", answer(429, `{"error":"slow_down"}`), oidc.ErrUnavailable},
		{"token_500", answer(500, `{"error":"invalid_grant"}`), oidc.ErrUnavailable},
		{"token_redirect", oidctest.Lies{Token: oidctest.Fault{
			Status: 307, Header: http.Header{"Location": {issuer + "/other"}},
		}}, oidc.ErrUnavailable},
		{"token_dropped", oidctest.Lies{Token: oidctest.Fault{Drop: true}}, oidc.ErrUnavailable},
		{"token_of_2_MiB", oidctest.Lies{Token: oidctest.Fault{Padding: 1 << 20}}, oidc.ErrUnavailable},

		{"userinfo_of_another", oidctest.Lies{
			Claims: map[string]any{"groups": oidctest.Missing}, UserinfoSubject: "eve",
		}, oidc.ErrSubject},
		{"userinfo_of_nobody", oidctest.Lies{
			Claims: map[string]any{"groups": oidctest.Missing}, UserinfoSubject: oidctest.Missing,
		}, oidc.ErrUserinfo},
		{"userinfo_null", userinfo(oidctest.Fault{Body: "null"}), oidc.ErrUserinfo},
		{"userinfo_html", userinfo(oidctest.Fault{Body: "<html>"}), oidc.ErrUnavailable},
		{"userinfo_500", userinfo(oidctest.Fault{Status: 500}), oidc.ErrUnavailable},
		{"userinfo_401", userinfo(oidctest.Fault{Status: 401}), oidc.ErrUserinfo},
		{"userinfo_dropped", userinfo(oidctest.Fault{Drop: true}), oidc.ErrUnavailable},
		{"userinfo_signed", userinfo(oidctest.Fault{
			Body: "a.b.c", Header: http.Header{"Content-Type": {"application/jwt;charset=utf-8"}},
		}), oidc.ErrUserinfo},

		{"redirect_without_iss", oidctest.Lies{CallbackIssuer: oidctest.Missing}, oidc.ErrIssuer},
		{"redirect_with_iss_of_another", oidctest.Lies{CallbackIssuer: "https://evil.test"}, oidc.ErrIssuer},
		{"redirect_with_state_of_another", oidctest.Lies{CallbackState: "other"}, oidc.ErrState},
		{"redirect_without_state", oidctest.Lies{CallbackState: oidctest.Missing}, oidc.ErrState},
		{"access_denied", oidctest.Lies{AuthorizeError: oidctest.Refusal{Code: "access_denied"}}, oidc.ErrRefused},
		{"server_error", oidctest.Lies{AuthorizeError: oidctest.Refusal{Code: "server_error"}}, oidc.ErrUnavailable},
	}
}

func TestFinish_refuses_each_lie(t *testing.T) {
	w := discovered(t, nil)
	for _, tt := range lies() {
		t.Run(tt.name, func(t *testing.T) {
			w.SetLies(tt.lies)
			if _, err := w.login(t); !errors.Is(err, tt.want) {
				t.Errorf("Finish = %v, want %v", err, tt.want)
			}
			w.SetLies(oidctest.Lies{})
			if _, err := w.login(t); err != nil {
				t.Errorf("honest again, Finish = %v", err)
			}
		})
	}
}

func TestFinish_refuses_each_forgery(t *testing.T) {
	want := map[oidctest.Forgery]error{
		oidctest.FlippedBit: oidc.ErrSignature, oidctest.EmptySignature: oidc.ErrSignature,
		oidctest.AlgNone: oidc.ErrAlgorithm, oidctest.AlgNoneTitle: oidc.ErrAlgorithm, oidctest.AlgNoneMixed: oidc.ErrAlgorithm,
		oidctest.HMACPublicPEM: oidc.ErrAlgorithm, oidctest.HMACPublicDER: oidc.ErrAlgorithm,
		oidctest.HMACPublicJWK: oidc.ErrAlgorithm, oidctest.HMACSecret: oidc.ErrAlgorithm,
		oidctest.UnknownKey: oidc.ErrKey, oidctest.StolenKeyID: oidc.ErrSignature,
		oidctest.HeaderJWK: oidc.ErrKey, oidctest.HeaderJKU: oidc.ErrKey,
		oidctest.HeaderX5C: oidc.ErrKey, oidctest.HeaderX5U: oidc.ErrKey,
	}
	for _, algorithm := range []string{"ES256", "RS256"} {
		w := discovered(t, func(theirs *oidctest.Config, _ *oidc.Config) { theirs.Algorithm = algorithm })
		for _, forgery := range oidctest.Forgeries() {
			t.Run(algorithm+"/"+string(forgery), func(t *testing.T) {
				w.SetLies(oidctest.Lies{Signature: forgery})
				if _, err := w.login(t); want[forgery] == nil || !errors.Is(err, want[forgery]) {
					t.Errorf("Finish = %v, want %v", err, want[forgery])
				}
				if n := w.Count(oidctest.ForgedKeys); n != 0 {
					t.Errorf("the forger's keys were fetched %d times", n)
				}
			})
		}
	}
}

func TestFinish_accepts_what_only_looks_odd(t *testing.T) {
	w := discovered(t, nil)
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
	}{
		{"azp_ours", oidctest.Lies{AuthorizedParty: "app"}},
		{"aud_of_two_with_azp", oidctest.Lies{Audience: []string{"other", "app"}, AuthorizedParty: "app"}},
		{"token_type_in_lower_case", oidctest.Lies{TokenType: "bearer"}},
		{"no_at_hash", oidctest.Lies{AtHash: oidctest.Missing}},
		{"no_typ", oidctest.Lies{Type: oidctest.Missing}},
		{"no_kid", oidctest.Lies{KeyID: oidctest.Missing}},
		{"sub_of_255_characters", oidctest.Lies{Subject: strings.Repeat("s", 255)}},
		{"times_with_fractions", oidctest.Lies{Claims: map[string]any{"exp": float64(noon.Unix()) + 0.5}}},
		{"unneeded_userinfo_away", oidctest.Lies{Userinfo: oidctest.Fault{Status: 500}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.SetLies(tt.lies)
			if _, err := w.login(t); err != nil {
				t.Errorf("Finish = %v", err)
			}
		})
	}
}

func TestFinish_makes_sense_of_expires_in(t *testing.T) {
	w := discovered(t, nil)
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
			w.SetLies(oidctest.Lies{ExpiresIn: tt.says})
			if grant, err := w.login(t); err != nil || !grant.Expires.Equal(tt.want) {
				t.Errorf("Expires = %v, %v, want %v", grant.Expires, err, tt.want)
			}
		})
	}
}

func TestRefusal_is_for_the_log(t *testing.T) {
	w := discovered(t, nil)
	w.SetLies(oidctest.Lies{AuthorizeError: oidctest.Refusal{
		Code: "access_denied", Description: "<script>\x1b[31m\n" + strings.Repeat("x", 400),
	}})
	_, err := w.login(t)
	r, ok := errors.AsType[*oidc.Refusal](err)
	if !ok || r.Code != "access_denied" || r.Hint() == "" {
		t.Fatalf("Finish = %v, want a Refusal with a hint", err)
	}
	if want := "<script>[31m" + strings.Repeat("x", 256-12); r.Description != want {
		t.Errorf("Description = %q, want %q", r.Description, want)
	}
}
