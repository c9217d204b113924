package mint_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

func TestMint(t *testing.T) {
	always := map[string]any{
		"iss": "playground", "aud": "api", "sub": "alice-7",
		"iat": json.Number("1785585600"), "nbf": json.Number("1785585600"), "exp": json.Number("1785585900"),
		"sid": session.Token{1}.ID().SID(), "idp": "https://id.example.org/realms/main",
	}
	known := map[string]any{
		"auth_time": json.Number("1785582000"), "acr": "eidas1", "amr": []any{"pwd", "otp"},
	}
	bob := oidc.Identity{Issuer: alice.Issuer, Subject: alice.Subject}

	tests := []struct {
		name   string
		who    oidc.Identity
		claims map[string]string
		want   []map[string]any
	}{
		{"what_is_known_is_stated", alice, nil, []map[string]any{always, known}},
		{"what_is_not_known_is_left_out", bob, nil, []map[string]any{always}},
		{"a_text", bob, map[string]string{"scope": `"playground"`}, []map[string]any{always, {"scope": "playground"}}},
		{"an_attribute", alice, map[string]string{"email": "user.email"}, []map[string]any{always, known, {"email": "alice@example.org"}}},
		{"a_claim_that_finds_nothing_is_left_out", bob, map[string]string{"email": "user.email", "c": "user.claims.x"}, []map[string]any{always}},
		{"an_empty_list_is_no_missing_one", alice, map[string]string{"c": "user.claims.empty"}, []map[string]any{always, known, {"c": []any{}}}},
		{"no_roles", bob, map[string]string{"roles": "user.claims.?roles.orValue([])"}, []map[string]any{always, {"roles": []any{}}}},
		{"groups_are_a_list", alice, map[string]string{"g": "user.groups"}, []map[string]any{always, known, {"g": []any{"admin", "staff"}}}},
		{"integers_stay_exact", alice, map[string]string{"n": "user.claims.siret"}, []map[string]any{always, known, {"n": json.Number("12345678901234567890")}}},
		{"fractions_stay_as_written", alice, map[string]string{"n": "user.claims.score"}, []map[string]any{always, known, {"n": json.Number("0.10")}}},
		{"booleans_stay_booleans", alice, map[string]string{"b": "user.claims.staff"}, []map[string]any{always, known, {"b": true}}},
		{
			"lists_keep_the_types_within", alice,
			map[string]string{"r": "user.claims.roles"},
			[]map[string]any{always, known, {"r": []any{"editor", json.Number("7"), nil}}},
		},
		{
			"objects_stay_objects", alice,
			map[string]string{"a": "user.claims.address"},
			[]map[string]any{always, known, {"a": map[string]any{"city": "Lyon", "door": json.Number("9007199254740993")}}},
		},
		{"a_moment_is_a_number", alice, map[string]string{"at": "user.auth_time"}, []map[string]any{always, known, {"at": json.Number("1785582000")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys := newKeys(t)
			token := mustMint(t, mint.NewSigner(keys), noon, template(tt.claims), signedIn(tt.who))
			got := mustVerify(t, keys, token)

			if jti, _ := got["jti"].(string); !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(jti) {
				t.Errorf("jti = %q, want 128 bits in hex", jti)
			}
			delete(got, "jti")
			want := map[string]any{}
			for _, part := range tt.want {
				maps.Copy(want, part)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMintHeader(t *testing.T) {
	keys := newKeys(t)
	token := mustMint(t, mint.NewSigner(keys), noon, template(nil), signedIn(alice))
	want := `{"alg":"ES256","kid":"` + keys.KeyID() + `","typ":"JWT"}`
	if got := string(decodeSegment(t, strings.Split(token, ".")[0])); got != want {
		t.Errorf("header = %s, want %s", got, want)
	}
}

func TestMintNamesEachTokenAnew(t *testing.T) {
	keys := newKeys(t)
	first := mustVerify(t, keys, mustMint(t, mint.NewSigner(keys), noon, template(nil), signedIn(alice)))
	second := mustVerify(t, keys, mustMint(t, mint.NewSigner(keys), noon, template(nil), signedIn(alice)))
	if first["jti"] == second["jti"] {
		t.Errorf("two tokens have the jti %v", first["jti"])
	}
}

func TestEveryBitCounts(t *testing.T) {
	keys := newKeys(t)
	token := mustMint(t, mint.NewSigner(keys), noon, template(nil), signedIn(alice))
	if _, err := verify(keys.JWKS(), token); err != nil {
		t.Fatalf("the token itself: %v", err)
	}
	if _, err := verify(newKeys(t).JWKS(), token); err == nil {
		t.Error("verified by another key")
	}
	segments := strings.Split(token, ".")
	flipped := 0
	for s, segment := range segments {
		raw := decodeSegment(t, segment)
		for i := range raw {
			for bit := range 8 {
				raw[i] ^= 1 << bit
				changed := append([]string{}, segments...)
				changed[s] = base64.RawURLEncoding.EncodeToString(raw)
				if _, err := verify(keys.JWKS(), strings.Join(changed, ".")); err == nil {
					t.Errorf("verified with bit %d of byte %d of part %d flipped", bit, i, s)
				}
				raw[i] ^= 1 << bit
				flipped++
			}
		}
	}
	if flipped < 8*(64+100) {
		t.Errorf("flipped %d bits, too few to mean anything", flipped)
	}
}

func TestMintEnds(t *testing.T) {
	idle := signedIn(alice)
	idle.Idle = time.Minute

	tests := []struct {
		name    string
		now     time.Time
		life    time.Duration
		sess    session.Session
		wantEnd time.Time // zero: ErrEnded
	}{
		{"five_minutes_by_default", noon, 0, signedIn(alice), noon.Add(5 * time.Minute)},
		{"as_the_template_says", noon, 10 * time.Second, signedIn(alice), noon.Add(10 * time.Second)},
		{"session_ends_after_the_token", noon, time.Minute, endingAt(noon.Add(61 * time.Second)), noon.Add(time.Minute)},
		{"session_ends_with_the_token", noon, time.Minute, endingAt(noon.Add(time.Minute)), noon.Add(time.Minute)},
		{"session_ends_before_the_token", noon, time.Minute, endingAt(noon.Add(59 * time.Second)), noon.Add(59 * time.Second)},
		{"session_ends_within_a_second_of_the_token", noon, time.Minute, endingAt(noon.Add(59900 * time.Millisecond)), noon.Add(59 * time.Second)},
		{"session_idles_out_before_the_token", noon, 0, idle, noon.Add(time.Minute)},
		{"session_ends_in_a_second", noon, 0, endingAt(noon.Add(time.Second)), noon.Add(time.Second)},
		{"session_ends_in_less_than_a_second", noon, 0, endingAt(noon.Add(999 * time.Millisecond)), time.Time{}},
		{"session_ends_a_nanosecond_from_now", noon, 0, endingAt(noon.Add(1)), time.Time{}},
		{"session_ends_exactly_now", noon, 0, endingAt(noon), time.Time{}},
		{"session_idles_out_exactly_now", noon.Add(time.Minute), 0, idle, time.Time{}},
		{"session_has_ended", noon, 0, endingAt(noon.Add(-time.Second)), time.Time{}},
		{"no_session", noon, 0, session.Session{}, time.Time{}},
		{"fractions_are_cut", noon.Add(900 * time.Millisecond), time.Minute, signedIn(alice), noon.Add(time.Minute)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys := newKeys(t)
			tmpl := template(nil)
			tmpl.Lifetime = tt.life
			token, err := mint.NewSigner(keys).Mint(tt.now, tmpl, tt.sess)
			if tt.wantEnd.IsZero() {
				if !errors.Is(err, mint.ErrEnded) || token != "" {
					t.Errorf("Mint = %q, %v, want ErrEnded", token, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Mint: %v", err)
			}
			mustHoldOfLife(t, tt.now, tt.sess, mustVerify(t, keys, token))
			if got := unix(t, mustVerify(t, keys, token)["exp"]); !got.Equal(tt.wantEnd) {
				t.Errorf("exp = %v, want %v", got.UTC(), tt.wantEnd)
			}
		})
	}
}

// mustHoldOfLife is true of every token at the moment that it is given out.
func mustHoldOfLife(tb testing.TB, now time.Time, sess session.Session, claims map[string]any) {
	tb.Helper()
	issued, notBefore, expires := unix(tb, claims["iat"]), unix(tb, claims["nbf"]), unix(tb, claims["exp"])
	if expires.After(sess.End()) {
		tb.Errorf("exp %v is beyond the end of the session, %v", expires.UTC(), sess.End())
	}
	if !expires.After(now) {
		tb.Errorf("exp %v has passed at %v", expires.UTC(), now)
	}
	if notBefore.After(now) {
		tb.Errorf("nbf %v has not come at %v", notBefore.UTC(), now)
	}
	if !issued.Equal(notBefore) {
		tb.Errorf("iat %v is not nbf %v", issued.UTC(), notBefore.UTC())
	}
	if life := expires.Sub(issued); life > mint.MaxLifetime {
		tb.Errorf("lives %v, longer than any template may ask", life)
	}
}

func unix(tb testing.TB, claim any) time.Time {
	tb.Helper()
	number, ok := claim.(json.Number)
	if !ok {
		tb.Fatalf("claim %v is no number", claim)
	}
	seconds, err := number.Int64()
	if err != nil {
		tb.Fatalf("claim %v is not in whole seconds", claim)
	}
	return time.Unix(seconds, 0)
}

func TestMintRefuses(t *testing.T) {
	nobody := signedIn(oidc.Identity{Email: "nobody@example.org"})
	overriding := template(map[string]string{"sub": `"root"`})
	broken := alice
	broken.Claims = map[string]any{"x": json.Number("1;2")}

	tests := []struct {
		name string
		keys *mint.Keys
		tmpl *mint.Template
		sess session.Session
		want string
	}{
		{"a_session_of_nobody", newKeys(t), template(nil), nobody, "nobody's"},
		{"a_template_that_overrides", newKeys(t), overriding, signedIn(alice), "claims.sub"},
		{"an_empty_template", newKeys(t), &mint.Template{}, signedIn(alice), "issuer"},
		{"no_keys", nil, template(nil), signedIn(alice), "no key"},
		{"zero_keys", &mint.Keys{}, template(nil), signedIn(alice), "no key"},
		{"a_claim_that_is_no_json", newKeys(t), template(map[string]string{"x": "user.claims.x"}), signedIn(broken), "claims"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mint.NewSigner(tt.keys)
			token, err := s.Mint(noon, tt.tmpl, tt.sess)
			if token != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Mint = %q, %v, want an error with %q", token, err, tt.want)
			}
			if s.Signed() != 0 {
				t.Errorf("Signed = %d, want 0", s.Signed())
			}
		})
	}
}

func TestMintSize(t *testing.T) {
	// A text of n bytes makes 4n/3 bytes of token; these two meet the bound.
	largest := 1
	for sizeWith(t, largest+1) <= mint.MaxSize {
		largest += max(1, (mint.MaxSize-sizeWith(t, largest+1))/2)
	}
	if got := sizeWith(t, largest); got > mint.MaxSize || got < mint.MaxSize-2 {
		t.Fatalf("largest token has %d bytes", got)
	}
	s := mint.NewSigner(newKeys(t))
	text, err := s.Mint(noon, template(map[string]string{"x": quoted(largest + 1)}), signedIn(alice))
	if text != "" || !errors.Is(err, mint.ErrTooLarge) {
		t.Errorf("Mint = %d bytes, %v, want ErrTooLarge", len(text), err)
	}
	if s.Signed() != 0 {
		t.Errorf("Signed = %d for a token that nobody gets, want 0", s.Signed())
	}
}

// sizeWith returns the size of a token with a text of n bytes, or more than
// MaxSize if there is none.
func sizeWith(tb testing.TB, n int) int {
	tb.Helper()
	token, err := mint.NewSigner(newKeys(tb)).Mint(noon, template(map[string]string{"x": quoted(n)}), signedIn(alice))
	if errors.Is(err, mint.ErrTooLarge) {
		return mint.MaxSize + 1
	}
	if err != nil {
		tb.Fatalf("Mint: %v", err)
	}
	return len(token)
}

func quoted(n int) string { return `"` + strings.Repeat("x", n) + `"` }

func TestOnSign(t *testing.T) {
	s := mint.NewSigner(newKeys(t))
	var got []mint.Minted
	s.OnSign = func(m mint.Minted) { got = append(got, m) }
	small := mustMint(t, s, noon, template(nil), signedIn(alice))
	large := mustMint(t, s, noon, template(map[string]string{"x": quoted(4000)}), signedIn(alice))

	want := []mint.Minted{
		{App: "playground", Audience: "api", Algorithm: mint.ES256, Size: len(small)},
		{App: "playground", Audience: "api", Algorithm: mint.ES256, Size: len(large)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("OnSign (-want +got):\n%s", diff)
	}
	if len(small) > mint.LargeSize || len(large) <= mint.LargeSize {
		t.Errorf("sizes %d and %d are not on either side of LargeSize", len(small), len(large))
	}
}
