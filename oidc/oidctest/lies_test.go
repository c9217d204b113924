package oidctest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/oidc/oidctest"
)

// A lie is seen at a dotted path of what a whole login shows; "metadata",
// "header", "claims", "tokens", "userinfo" and "callback" are the parts of it.
// Refused is what the independent relying party says to it, and empty where that
// one does not look.
type lieRow struct {
	lies    oidctest.Lies
	see     string
	want    any
	refused string
}

func lieRows() []lieRow {
	type L = oidctest.Lies
	type F = oidctest.Fault
	rows := []lieRow{
		{L{Issuer: "https://evil.test"}, "claims.iss", "https://evil.test", "different provider"},
		{L{Subject: ""}, "claims.sub", "", "somebody else's"},
		{L{Subject: oidctest.Missing}, "claims.sub", nil, "somebody else's"},
		{L{Audience: "other"}, "claims.aud", "other", "expected audience"},
		{L{Audience: []string{"app", "other"}}, "claims.aud", []any{"app", "other"}, ""},
		{L{Audience: oidctest.Missing}, "claims.aud", nil, "expected audience"},
		{L{AuthorizedParty: "other"}, "claims.azp", "other", ""},
		{L{Nonce: "wrong"}, "claims.nonce", "wrong", "nonce"},
		{L{Nonce: oidctest.Missing}, "claims.nonce", nil, "nonce"},
		{L{Nonce: 7}, "claims.nonce", 7., "unmarshal"},
		{L{IssuedAt: oidctest.Missing}, "claims.iat", nil, ""},
		{L{IssuedAhead: time.Hour}, "claims.iat", "3600 from now", ""},
		{L{Expired: time.Hour}, "claims.exp", "-3600 from now", "expired"},
		{L{NotBefore: time.Hour}, "claims.nbf", "3600 from now", "nbf"},
		{L{AtHash: "wrong"}, "claims.at_hash", "wrong", "access token hash"},
		{L{Claims: map[string]any{"events": "none"}}, "claims.events", "none", ""},
		{L{Type: "at+jwt"}, "header.typ", "at+jwt", ""},
		{L{KeyID: "../../../dev/null"}, "header.kid", "../../../dev/null", "verify signature"},

		{L{TokenType: "mac"}, "tokens.token_type", "mac", "userinfo"},
		{L{TokenType: oidctest.Missing}, "tokens.token_type", nil, ""},
		{L{ExpiresIn: -1}, "tokens.expires_in", -1., ""},
		{L{ExpiresIn: "soon"}, "tokens.expires_in", "soon", "cannot parse json"},
		{L{NoIDToken: true}, "tokens.id_token", nil, "id_token is missing"},
		{L{NoRotation: true}, "refreshed.refresh_token", nil, ""},
		{L{RefreshNoIDToken: true}, "refreshed.id_token", nil, ""},
		{L{RefreshSubject: "another"}, "refreshed.claims.sub", "another", ""},
		{L{IntrospectionActive: "true"}, "introspected.active", "true", ""},
		{L{IntrospectionSubject: oidctest.Missing}, "introspected.sub", nil, ""},
		{L{UserinfoSubject: "another"}, "userinfo.sub", "another", "somebody else's"},

		{L{CallbackIssuer: "https://evil.test"}, "callback.iss", "https://evil.test", "callback issuer"},
		{L{CallbackIssuer: oidctest.Missing}, "callback.iss", nil, "callback issuer"},
		{L{CallbackState: "wrong"}, "callback.state", "wrong", "callback state"},
		{L{AuthorizeError: oidctest.Refusal{Code: "access_denied", Description: "no"}}, "callback.error", "access_denied", "access_denied"},

		{L{DiscoveryIssuer: "https://evil.test"}, "metadata.issuer", "https://evil.test", "did not match"},
		{L{NoS256: true}, "metadata.code_challenge_methods_supported", []any{"plain"}, ""},
		{L{Metadata: map[string]any{"token_endpoint": oidctest.Missing}}, "metadata.token_endpoint", nil, ""},
		{L{NoKeys: true}, "keys.keys", []any{}, "verify signature"},

		{L{Discovery: F{Status: 500}}, "metadata.status", 500., "500"},
		{L{Keys: F{Body: "<html>", Header: http.Header{"Content-Type": {"text/html"}}}}, "keys.type", "text/html", "verify signature"},
		{L{Keys: F{Status: 302, Header: http.Header{"Location": {"http://127.0.0.1:1/"}}}}, "keys.location", "http://127.0.0.1:1/", "verify signature"},
		{L{Token: F{Status: 429, Header: http.Header{"Retry-After": {"7"}}}}, "tokens.retry_after", "7", "429"},
		{L{Token: F{Body: `{"error":"invalid_grant"}`}}, "tokens.error", "invalid_grant", "exchange"},
		{L{Token: F{Drop: true}}, "tokens.dropped", true, "EOF"},
		{L{Token: F{Padding: 3 << 20}}, "tokens.blanks", 3. * (1 << 20), "exchange"},
		{L{Introspection: F{Status: 503, Header: http.Header{"Retry-After": {"7"}}}}, "introspected.retry_after", "7", ""},
		{L{Userinfo: F{Delay: 50 * time.Millisecond}}, "userinfo.slow", true, ""},
	}
	for _, forgery := range oidctest.Forgeries() {
		see, want := "signature", any("wrong")
		switch forgery {
		case oidctest.EmptySignature:
			want = "none"
		case oidctest.AlgNone, oidctest.AlgNoneTitle, oidctest.AlgNoneMixed:
			see, want = "header.alg", string(forgery)
		case oidctest.HMACPublicPEM, oidctest.HMACPublicDER, oidctest.HMACPublicJWK, oidctest.HMACSecret:
			see, want = "header.alg", "HS256"
		case oidctest.HeaderJWK, oidctest.HeaderJKU, oidctest.HeaderX5C, oidctest.HeaderX5U:
			see, want = "invites", strings.TrimSuffix(string(forgery), " header")
		}
		refused := "verify signature"
		if see == "header.alg" {
			refused = "malformed jwt"
		}
		rows = append(rows, lieRow{oidctest.Lies{Signature: forgery}, see, want, refused})
	}
	return rows
}

func TestEveryLieIsSeen(t *testing.T) {
	honest := observe(t, oidctest.Lies{})
	for _, row := range lieRows() {
		name := strings.Join(append(fields(row.lies), row.see), "_")
		t.Run(name, func(t *testing.T) {
			got := observe(t, row.lies)
			if diff := cmp.Diff(row.want, at(got, row.see)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", row.see, diff)
			}
			if reflect.DeepEqual(at(honest, row.see), row.want) {
				t.Errorf("%s is the same when the provider is honest", row.see)
			}
		})
	}
}

func TestTheIndependentRelyingPartyRefusesTheLiesThatItLooksFor(t *testing.T) {
	for _, row := range lieRows() {
		t.Run(strings.Join(append(fields(row.lies), row.see), "_"), func(t *testing.T) {
			p := serve(t, config())
			p.provider.SetLies(row.lies)
			_, _, err := p.logIn(alice)
			switch {
			case row.refused == "" && err != nil:
				t.Errorf("login: %v, want it to pass unnoticed", err)
			case row.refused != "" && (err == nil || !strings.Contains(err.Error(), row.refused)):
				t.Errorf("login: %v, want an error with %q", err, row.refused)
			}
			if got := p.provider.Count(oidctest.ForgedKeys); got != 0 {
				t.Errorf("Count(ForgedKeys) = %d, want 0", got)
			}
		})
	}
}

// A new lie needs a row.
func TestNoLieIsWithoutARow(t *testing.T) {
	told := map[string]bool{}
	for _, row := range lieRows() {
		if n := reflect.ValueOf(row.lies); len(fields(row.lies)) != 1 {
			t.Errorf("row tells %v of %d lies, want one", fields(row.lies), n.NumField())
		}
		for _, name := range fields(row.lies) {
			told[name] = true
			if fault, ok := reflect.TypeAssert[oidctest.Fault](reflect.ValueOf(row.lies).FieldByName(name)); ok {
				for _, part := range fields(fault) {
					told["Fault."+part] = true
				}
			}
		}
		told["Signature."+string(row.lies.Signature)] = true
	}
	for f := range reflect.TypeFor[oidctest.Lies]().Fields() {
		if !told[f.Name] {
			t.Errorf("Lies.%s has no row", f.Name)
		}
	}
	for f := range reflect.TypeFor[oidctest.Fault]().Fields() {
		if !told["Fault."+f.Name] {
			t.Errorf("Fault.%s has no row", f.Name)
		}
	}
	for _, forgery := range oidctest.Forgeries() {
		if !told["Signature."+string(forgery)] {
			t.Errorf("Forgery %q has no row", forgery)
		}
	}
}

func TestADroppedAnswerSpendsTheCodeAndAStatusDoesNot(t *testing.T) {
	tests := []struct {
		name  string
		fault oidctest.Fault
		spent int
	}{
		{"dropped", oidctest.Fault{Drop: true}, 1},
		{"status_500", oidctest.Fault{Status: 500}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t, config())
			q, a := p.signIn(alice)
			p.provider.SetLies(oidctest.Lies{Token: tt.fault})
			if _, _, err := p.finish(q, a); err == nil {
				t.Error("exchange got an answer")
			}
			if got := p.provider.Count(oidctest.CodeSpent); got != tt.spent {
				t.Errorf("Count(CodeSpent) = %d, want %d", got, tt.spent)
			}
			p.provider.SetLies(oidctest.Lies{})
			if _, _, err := p.finish(q, a); (err == nil) != (tt.spent == 0) {
				t.Errorf("second exchange: %v", err)
			}
		})
	}
}

func TestADelayEndsWithItsRequest(t *testing.T) {
	p := serve(t, config())
	p.provider.SetLies(oidctest.Lies{Discovery: oidctest.Fault{Delay: time.Hour}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.provider.Issuer()+"/.well-known/openid-configuration", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := p.browser.Do(req); err == nil {
		resp.Body.Close()
		t.Error("it answered")
	}
	// That the handler is gone, too, is what goleak and the cleanup of Serve find.
}

// fields names the fields of v that are not zero.
func fields(v any) []string {
	var set []string
	for f, value := range reflect.ValueOf(v).Fields() {
		if !value.IsZero() {
			set = append(set, f.Name)
		}
	}
	return set
}

// at follows a dotted path; nil means that nothing is there.
func at(seen map[string]any, path string) any {
	first, rest, nested := strings.Cut(path, ".")
	if !nested {
		return seen[first]
	}
	inner, _ := seen[first].(map[string]any)
	return at(inner, rest)
}

// observe is all that a login shows to somebody who only looks: it checks nothing.
func observe(t *testing.T, lies oidctest.Lies) map[string]any {
	t.Helper()
	p := serve(t, config())
	p.provider.SetLies(lies)
	issuer := p.provider.Issuer()

	seen := map[string]any{
		"metadata": p.see(http.MethodGet, issuer+"/.well-known/openid-configuration", nil),
		"keys":     p.see(http.MethodGet, issuer+"/keys", nil),
	}
	q, a := p.signIn(alice)
	seen["callback"] = flat(q)
	tokens := p.see(http.MethodPost, issuer+"/token", url.Values{
		"grant_type": {"authorization_code"}, "code": q["code"], "redirect_uri": {callback}, "code_verifier": {a.verifier},
	})
	seen["tokens"] = tokens
	access, _ := tokens["access_token"].(string)
	seen["userinfo"] = p.see(http.MethodGet, issuer+"/userinfo", nil, "Bearer "+access)
	if refresh, ok := tokens["refresh_token"].(string); ok {
		seen["introspected"] = p.see(http.MethodPost, issuer+"/introspect", url.Values{"token": {refresh}})
		refreshed := p.see(http.MethodPost, issuer+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
		if id, ok := refreshed["id_token"].(string); ok {
			p.lookInto(id, refreshed)
		}
		seen["refreshed"] = refreshed
	}
	if id, ok := tokens["id_token"].(string); ok {
		p.lookInto(id, seen)
	}
	return seen
}

// see is the JSON object of an answer, together with what else strikes.
func (p *party) see(method, address string, form url.Values, authorization ...string) map[string]any {
	p.Helper()
	req, err := http.NewRequestWithContext(p.ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		p.Fatal(err)
	}
	req.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.ClientSecret))
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, a := range authorization {
		req.Header.Set("Authorization", a)
	}
	began := time.Now()
	resp, err := p.browser.Transport.RoundTrip(req)
	if err != nil {
		return map[string]any{"dropped": true}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	seen := map[string]any{}
	_ = json.Unmarshal(b, &seen) // it may be anything
	seen["status"] = float64(resp.StatusCode)
	seen["type"] = resp.Header.Get("Content-Type")
	seen["retry_after"] = resp.Header.Get("Retry-After")
	seen["location"] = resp.Header.Get("Location")
	seen["blanks"] = float64(len(b) - len(strings.TrimLeft(string(b), " ")))
	seen["slow"] = time.Since(began) >= 50*time.Millisecond
	return seen
}

// lookInto takes an ID token apart.
func (p *party) lookInto(token string, seen map[string]any) {
	p.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		p.Fatalf("ID token has %d parts", len(parts))
	}
	header, claims := p.object(parts[0]), p.object(parts[1])
	for _, name := range []string{"iat", "exp", "nbf"} {
		if seconds, ok := claims[name].(float64); ok {
			// To the nearest ten: the login took a moment.
			claims[name] = strconv.Itoa(int(time.Until(time.Unix(int64(seconds), 0)).Round(10*time.Second).Seconds())) + " from now"
		}
	}
	seen["header"], seen["claims"] = header, claims
	for _, name := range []string{"jwk", "jku", "x5c", "x5u"} {
		if header[name] != nil {
			seen["invites"] = name
		}
	}
	seen["signature"] = "right"
	if parts[2] == "" {
		seen["signature"] = "none"
	} else if !p.genuine(token) {
		seen["signature"] = "wrong"
	}
}

func (p *party) object(part string) map[string]any {
	p.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		p.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		p.Fatal(err)
	}
	return object
}

func flat(q url.Values) map[string]any {
	all := map[string]any{}
	for name := range q {
		all[name] = q.Get(name)
	}
	return all
}
