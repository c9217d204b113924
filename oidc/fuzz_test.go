package oidc_test

import (
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// Whatever comes to the redirect URI, only the whole honest answer signs anybody
// in, and nothing but its code is sent anywhere.
func FuzzFinish_query(f *testing.F) {
	for _, seed := range []string{
		"", "code=c&state=s&iss=https://id.test", "code=c&state=s", "state=s&iss=https%3A%2F%2Fid.test&error=access_denied",
		"code=c&state=s&iss=https://evil.test", "code=c&code=d&state=s&iss=https://id.test", "code=c&state=&iss=https://id.test",
		"code=c&state=s&iss=https://id.test&id_token=a.b.c", "code=%00&state=s&iss=https://id.test", "code=c;state=s", "%zz",
	} {
		f.Add(seed)
	}
	w := discovered(f, nil)
	token := w.sign(f, genuine())
	w.SetLies(oidctest.Lies{Token: oidctest.Fault{
		Body: `{"access_token":"at","token_type":"Bearer","id_token":"` + token + `"}`,
	}})
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		before := w.Count(oidctest.TokenAsked)
		a, _ := attempt()
		grant, err := w.client.Finish(t.Context(), a, redirect, query)
		mustHold(t, grant, err)

		honest := one(query, "state") == "s" && one(query, "iss") == issuer && one(query, "code") != ""
		sent := w.Count(oidctest.TokenAsked) - before
		if !honest && (err == nil || sent != 0) {
			t.Errorf("Finish(%q) = %v, and sent %d codes", raw, err, sent)
		}
	})
}

// one is the value of a parameter that comes exactly once.
func one(query url.Values, name string) string {
	if len(query[name]) != 1 {
		return ""
	}
	return query.Get(name)
}

// Whatever a token endpoint answers as an ID token, nobody is signed in unless
// the provider signed it, as another library sees it.
func FuzzFinish_idToken(f *testing.F) {
	w := discovered(f, nil)
	key := publicKey(f, w)
	f.Add(w.sign(f, genuine()))
	f.Add(strangersToken(f))
	for _, claim := range []string{"iss", "aud", "sub", "exp", "iat", "nonce"} {
		claims := genuine()
		delete(claims, claim)
		f.Add(w.sign(f, claims))
		claims[claim] = []any{nil, 1.5, "app"}
		f.Add(w.sign(f, claims))
	}
	for _, forgery := range oidctest.Forgeries() {
		w.SetLies(oidctest.Lies{Signature: forgery})
		f.Add(w.raw(f))
	}
	f.Add("")
	f.Add("e30.e30.")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		encoded, err := json.Marshal(token)
		if err != nil {
			return
		}
		w.SetLies(oidctest.Lies{Token: oidctest.Fault{
			Body: `{"access_token":"at","token_type":"Bearer","id_token":` + string(encoded) + `}`,
		}})
		a, query := attempt()
		grant, err := w.client.Finish(t.Context(), a, redirect, query)
		mustHold(t, grant, err)
		if err != nil {
			return
		}
		parsed, err := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation()).
			Parse(grant.IDToken.Reveal(), func(*jwt.Token) (any, error) { return key, nil })
		if err != nil {
			t.Fatalf("a Grant for %q, which the provider did not sign: %v", token, err)
		}
		if sub, err := parsed.Claims.GetSubject(); err != nil || sub != grant.Subject {
			t.Errorf("Subject = %q, the token says %q", grant.Subject, sub)
		}
	})
}

// Whatever a provider signs, its token is for this client, this attempt and now,
// as another reading of its claims sees it.
func FuzzFinish_claims(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"iss":7}`, `{"aud":["app"],"azp":"app"}`, `{"aud":["app","b"]}`, `{"exp":1e308}`, `{"exp":-1}`, `{"iat":null}`,
		`{"nbf":99999999999}`, `{"nonce":["n"]}`, `{"sub":{}}`, `{"email":"a@b","email_verified":"true"}`, `{"groups":{"a":[1]}}`,
		`{"amr":"pwd","acr":1,"auth_time":"x","sid":[]}`, `{"_claim_names":{"a":"b"}}`, `{"at_hash":7}`, `{"ISS":"x","Nonce":1}`,
	} {
		f.Add([]byte(seed))
	}
	w := discovered(f, nil)
	f.Fuzz(func(t *testing.T, changes []byte) {
		claims := genuine()
		if json.Unmarshal(changes, &claims) != nil || claims == nil {
			return
		}
		grant, err := w.present(t, w.sign(t, claims), "Bearer", nil)
		if err != nil {
			return
		}
		for name, want := range map[string]any{"iss": issuer, "nonce": "n", "sub": grant.Subject} {
			if claims[name] != want {
				t.Errorf("a Grant for %s %v, want %v", name, claims[name], want)
			}
		}
		if _, one := claims["aud"].(string); one && claims["aud"] != "app" {
			t.Errorf("a Grant for aud %v", claims["aud"])
		}
		if email := grant.Email; email != "" && (claims["email_verified"] == false || claims["email_verified"] == nil) {
			t.Errorf("Email = %q with email_verified %v", email, claims["email_verified"])
		}
	})
}

// raw returns the ID token that the provider would give now.
func (w *world) raw(tb testing.TB) string {
	tb.Helper()
	a, query := w.signIn(tb)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {query.Get("code")}, "redirect_uri": {redirect},
		"code_verifier": {a.Verifier.Reveal()}, "client_id": {"app"}, "client_secret": {clientSecret},
	}
	resp, err := (&http.Client{Transport: w.config.Transport}).PostForm(issuer+"/token", form)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		IDToken string `json:"id_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.IDToken == "" {
		tb.Fatalf("no ID token to begin with: %v", err)
	}
	return answer.IDToken
}

func publicKey(tb testing.TB, w *world) crypto.PublicKey {
	tb.Helper()
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, issuer+"/keys", nil))
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		tb.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) != 1 {
		tb.Fatalf("keys: %v, %d of them", err, len(set.Keys))
	}
	return set.Keys[0].Key
}

// Whatever a token endpoint answers to a refresh, nobody becomes somebody else,
// and a login ends by the provider's word alone.
func FuzzRefresh_answer(f *testing.F) {
	w, _ := lasting(f, nil)
	g := known()
	g.IDToken, g.AuthTime = "kept", noon
	eve := genuine()
	eve["sub"] = "eve"
	for _, seed := range []string{
		`{"access_token":"a","token_type":"Bearer","refresh_token":"r","id_token":"` + w.sign(f, genuine()) + `"}`,
		`{"access_token":"a","token_type":"Bearer","refresh_token":"r","id_token":"` + w.sign(f, eve) + `"}`,
		`{"access_token":"a","token_type":"bearer","expires_in":"7"}`, `{"refresh_token":"r"}`, `{"error":"invalid_grant"}`,
		`{"error":"invalid_grant","refresh_token":"r"}`, `{"error":{}}`, `{}`, `null`, `[]`, ``, `{"ERROR":"invalid_grant"}`,
	} {
		f.Add(400, seed)
		f.Add(200, seed)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		w.SetLies(oidctest.Lies{Token: oidctest.Fault{Status: status, Body: body}})
		_, err := w.revisit(t, visits["Refresh"], g)
		if r, ok := errors.AsType[*oidc.Refusal](err); errors.Is(err, oidc.ErrEnded) && (!ok || r.Code != "invalid_grant") {
			t.Errorf("%d %q: Refresh = %v", status, body, err)
		}
	})
}
