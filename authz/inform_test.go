package authz_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/authz"
)

func TestUserinfo(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	w.clock.pass(20 * time.Minute)
	d := w.check(t, signed(program("/oauth2/userinfo"), cookie))
	var got map[string]any
	if err := json.Unmarshal(d.Body, &got); err != nil || d.Client.Get("Content-Type") != "application/json" {
		t.Fatalf("body = %q (%s): %v", d.Body, d.Client.Get("Content-Type"), err)
	}
	want := map[string]any{
		"iss": issuer, "sub": alice.Subject, "provider": "main", "email": "alice@example.org", "name": "alice",
		"preferred_username": "alice", "groups": []any{"staff", "admin"}, "sid": mustParse(t, cookie).ID().SID(),
		"created": "2026-11-22T12:00:00Z", "idle_end": "2026-11-22T13:20:00Z", "ends": "2026-11-23T00:00:00Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("userinfo (-want +got):\n%s", diff)
	}
	tests := []struct {
		name string
		req  authz.Request
		want authz.Reason
	}{
		{"nobody", program("/oauth2/userinfo"), authz.LoginRequired},
		{"nobody_in_a_browser", page("/oauth2/userinfo"), authz.LoginRequired},
		{"somebody_whom_the_app_refuses", signed(program("/oauth2/userinfo"), w.sessionOf(t, "", mallory)), authz.Information},
		{"session_of_another_app", signed(program("/oauth2/userinfo"), w.sessionOf(t, "admin", alice)), authz.LoginRequired},
		{"post", withMethod(signed(program("/oauth2/userinfo"), cookie), http.MethodPost), authz.WrongMethod},
		{"head", withMethod(signed(program("/oauth2/userinfo"), cookie), http.MethodHead), authz.Information},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := w.check(t, tt.req)
			if d.Reason != tt.want || d.Outcome == authz.Redirect {
				t.Errorf("Check = %s %s, want %s", d.Outcome, d.Reason, tt.want)
			}
		})
	}
}

// TestPublished: the documents of the minted token may be kept, and are not sent
// again to whoever has them.
func TestPublished(t *testing.T) {
	w := quickWorld(t)
	for at, kind := range map[string]string{
		"/oauth2/.well-known/jwks.json": "application/jwk-set+json", "/oauth2/.well-known/openid-configuration": "application/json",
	} {
		t.Run(at, func(t *testing.T) {
			d := w.check(t, program(at))
			tag := d.Client.Get("Etag")
			if d.Status != http.StatusOK || d.Client.Get("Content-Type") != kind || len(tag) < 10 || d.Client.Get("Cache-Control") != "public, max-age=300" ||
				d.Client.Get("Access-Control-Allow-Origin") != "*" {
				t.Fatalf("Check = %d, %v", d.Status, d.Client)
			}
			for _, known := range []string{tag, "W/" + tag, `"other", ` + tag} {
				again := w.check(t, with(program(at), "if-none-match", known))
				if again.Status != http.StatusNotModified || len(again.Body) != 0 || again.Client.Get("Etag") != tag {
					t.Errorf("with If-None-Match %s: %d %q, want 304", known, again.Status, again.Body)
				}
			}
			if other := w.check(t, with(program(at), "if-none-match", `"other"`)); other.Status != http.StatusOK || len(other.Body) == 0 {
				t.Errorf("with another ETag: %d, want 200", other.Status)
			}
			if head := w.check(t, withMethod(program(at), http.MethodHead)); head.Status != http.StatusOK || head.Client.Get("Etag") != tag {
				t.Errorf("HEAD = %d %v, want the same header", head.Status, head.Client)
			}
			if post := w.check(t, withMethod(program(at), http.MethodPost)); post.Reason != authz.WrongMethod {
				t.Errorf("POST = %s, want wrong_method", post.Reason)
			}
		})
	}
	var metadata struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(w.check(t, program("/oauth2/.well-known/openid-configuration")).Body, &metadata); err != nil {
		t.Fatal(err)
	}
	if metadata.Issuer != "https://app.test/oauth2" || metadata.JWKS != "https://app.test/oauth2/.well-known/jwks.json" {
		t.Errorf("metadata = %+v", metadata)
	}
}

// TestPublish is the same outside an app's prefix.
func TestPublish(t *testing.T) {
	w := quickWorld(t)
	tests := []struct {
		name string
		req  authz.Request
		want authz.Reason
		part string // of the body
	}{
		{"keys", program("https://anything/.well-known/jwks.json"), authz.Information, `"keys"`},
		{"metadata_of_an_app", program("https://admin.test/.well-known/openid-configuration"), authz.Information, `"https://admin.test/oauth2"`},
		{"metadata_of_no_app", program("https://anything/.well-known/openid-configuration"), authz.NotFound, ""},
		{"post", request(http.MethodPost, "/.well-known/jwks.json"), authz.WrongMethod, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := w.Publish(tt.req)
			if d.Reason != tt.want || !strings.Contains(string(d.Body), tt.part) {
				t.Errorf("Publish = %s %q, want %s %s", d.Reason, d.Body, tt.want, tt.part)
			}
		})
	}
}

// TestMethods: every endpoint says which methods it answers, and HEAD changes
// nothing anywhere.
func TestMethods(t *testing.T) {
	w := quickWorld(t)
	cookie := w.sessionOf(t, "", alice)
	allowed := map[string][]string{
		"/oauth2/start": {"GET"}, "/oauth2/sign_in": {"GET"}, "/oauth2/callback": {"GET"}, "/oauth2/sign_out": {"GET", "POST"},
		"/oauth2/signed_out": {"GET", "HEAD"}, "/oauth2/userinfo": {"GET", "HEAD"},
		"/oauth2/.well-known/openid-configuration": {"GET", "HEAD"}, "/oauth2/.well-known/jwks.json": {"GET", "HEAD"},
	}
	for at, methods := range allowed {
		for _, m := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
			d := w.check(t, signed(withMethod(page(at), m), cookie))
			if (d.Reason == authz.WrongMethod) == slices.Contains(methods, m) {
				t.Errorf("%s %s = %s, want it to answer %v", m, at, d.Reason, methods)
			}
			if d.Reason == authz.WrongMethod && !slices.Equal(d.Client.Values("Allow"), methods) {
				t.Errorf("%s %s: Allow = %v, want %v", m, at, d.Client.Values("Allow"), methods)
			}
			if m == "HEAD" && (has(d, "Location") || has(d, "Set-Cookie")) {
				t.Errorf("HEAD %s = %v, want nothing to happen", at, d.Client)
			}
		}
	}
	if !w.lives(t, cookie) {
		t.Error("the session has ended")
	}
}

// TestEarlyData: what TLS early data may replay does not happen (RFC 8470 §5.2).
func TestEarlyData(t *testing.T) {
	w := quickWorld(t)
	for at, want := range map[string]authz.Reason{
		"/oauth2/start": authz.TooEarly, "/oauth2/sign_in": authz.TooEarly, "/oauth2/callback?state=x&code=y": authz.TooEarly,
		"/oauth2/sign_out": authz.TooEarly, "/oauth2/signed_out": authz.SignedOut, "/oauth2/.well-known/jwks.json": authz.Information,
	} {
		for _, value := range []string{"1", "1, 1", "yes"} { // RFC 8470 §5.1: whatever it says
			if d := w.check(t, with(page(at), "early-data", value)); d.Reason != want {
				t.Errorf("%s with Early-Data: %s = %s, want %s", at, value, d.Reason, want)
			}
		}
	}
	if d := w.check(t, page("/oauth2/start")); d.Reason != authz.LoginStarted {
		t.Errorf("start without early data = %s", d.Reason)
	}
}
