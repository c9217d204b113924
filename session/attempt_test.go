package session_test

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

const callback = "https://chat.example.org/oauth2/callback"

func TestSealAttempt(t *testing.T) {
	with := func(change func(*oidc.Attempt)) oidc.Attempt {
		a := attempt()
		change(&a)
		return a
	}
	var filled oidc.Attempt
	fill(t, reflect.ValueOf(&filled).Elem(), "")
	for _, tt := range []struct {
		name string
		a    oidc.Attempt
		max  int // characters of its cookie, 0 for as many as it takes
	}{
		{"an_ordinary_one", attempt(), 260},
		{"the_longest_return_address", with(func(a *oidc.Attempt) {
			a.ReturnTo, a.Provider = "/"+strings.Repeat("é", 256)[1:], strings.Repeat("p", 11)
		}), 899},
		{"every_field", filled, 0},
		{"the_zero_one", oidc.Attempt{Started: time.Time{}.UTC()}, 0},
		{"secrets_of_another_kind", with(func(a *oidc.Attempt) { a.State, a.Nonce, a.Verifier = "a+b/", "", "~-._" }), 0},
		{"a_secret_with_stray_bits", with(func(a *oidc.Attempt) { a.State = "AB" }), 0},
		{"a_secret_with_a_line_break", with(func(a *oidc.Attempt) { a.State = "AAAA\nAAAA" }), 0},
		{"a_return_address_that_is_no_text", with(func(a *oidc.Attempt) { a.ReturnTo = "/\xff\x00" }), 0},
		{"started_between_milliseconds", with(func(a *oidc.Attempt) { a.Started = a.Started.Add(999_999) }), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := vault(t)
			value := v.SealAttempt(tt.a, "chat", callback)
			got, err := v.OpenAttempt(value, "chat", callback)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.a
			want.Started = want.Started.Truncate(time.Millisecond)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("OpenAttempt (-want +got):\n%s", diff)
			}
			if tt.max > 0 && len(value) > tt.max {
				t.Errorf("%d characters, want %d at most", len(value), tt.max)
			}
			if strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				t.Errorf("%q is no cookie value", value)
			}
		})
	}
}

func TestOpenAttempt(t *testing.T) {
	v, _ := vault(t)
	value := v.SealAttempt(attempt(), "chat", callback)
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := vault(t, otherKey)
	for _, tt := range []struct {
		name       string
		v          *session.Vault
		value      string
		app, where string
		want       error
	}{
		{"its_own", v, value, "chat", callback, nil},
		{"another_app", v, value, "wiki", callback, session.ErrForged},
		{"another_redirect_uri", v, value, "chat", callback + "/google", session.ErrForged},
		{"app_and_redirect_uri_that_join_to_the_same", v, value, "cha", "t" + callback, session.ErrForged},
		{"another_ring", other, value, "chat", callback, session.ErrUnknownKey},
		{"nothing", v, "", "chat", callback, session.ErrForged},
		{"what_is_no_base64", v, "%%%%", "chat", callback, session.ErrForged},
		{"with_padding", v, base64.URLEncoding.EncodeToString(sealed[:len(sealed)-1]) + "=", "chat", callback, session.ErrForged},
		{"with_a_line_break", v, value[:8] + "\n" + value[8:], "chat", callback, session.ErrForged},
		{"with_a_carriage_return_behind", v, value + "\r", "chat", callback, session.ErrForged},
		{"with_a_character_more", v, value + "A", "chat", callback, session.ErrForged},
		{"with_four_characters_more", v, value + "AAAA", "chat", callback, session.ErrForged},
		{"sealed_for_something_else", v, base64.RawURLEncoding.EncodeToString(
			v.Sealer.Seal(session.Binding{Purpose: "login result", Parts: []string{"chat", callback}}, []byte("x"))), "chat", callback, session.ErrForged},
		{"of_an_unknown_shape", v, base64.RawURLEncoding.EncodeToString(
			v.Sealer.Seal(session.Binding{Purpose: "login attempt", Parts: []string{"chat", callback}}, []byte("x\xff"))), "chat", callback, session.ErrForged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := tt.v.OpenAttempt(tt.value, tt.app, tt.where)
			if !errors.Is(err, tt.want) || (err != nil) != (a == oidc.Attempt{}) {
				t.Errorf("OpenAttempt = %+v, %v, want %v", a, err, tt.want)
			}
		})
	}
	t.Run("every_beginning_of_it", func(t *testing.T) {
		for i := range value {
			if _, err := v.OpenAttempt(value[:i], "chat", callback); !errors.Is(err, session.ErrForged) {
				t.Errorf("OpenAttempt of %d characters = %v, want %v", i, err, session.ErrForged)
			}
		}
	})
	t.Run("no_second_spelling_of_it", func(t *testing.T) {
		for i := range value {
			for _, c := range []byte("Ab0-_=+/ ") {
				if changed := value[:i] + string(c) + value[i+1:]; changed != value {
					if _, err := v.OpenAttempt(changed, "chat", callback); err == nil {
						t.Errorf("OpenAttempt with %q at %d opens", c, i)
					}
				}
			}
		}
	})
}

// unsealed seals nothing, so that a fuzzer reaches what is inside.
type unsealed struct{ *session.Keyring }

func (unsealed) Seal(_ session.Binding, plain []byte) []byte           { return plain }
func (unsealed) Open(_ session.Binding, sealed []byte) ([]byte, error) { return sealed, nil }

func FuzzOpenAttempt(f *testing.F) {
	sealing, _ := vault(f)
	inside := &session.Vault{Sealer: unsealed{}}
	fixed := oidc.Attempt{Provider: "keycloak", State: "c3RhdGU", Nonce: "~", Verifier: "", ReturnTo: "/inbox", Started: noon}
	f.Add(inside.SealAttempt(fixed, "chat", callback))
	f.Add(inside.SealAttempt(oidc.Attempt{}, "chat", callback))
	f.Add("AQ")
	f.Add("AAAA\n")
	f.Fuzz(func(t *testing.T, value string) {
		if a, err := sealing.OpenAttempt(value, "chat", callback); err == nil {
			t.Errorf("OpenAttempt = %+v of what nobody sealed", a)
		}
		a, err := inside.OpenAttempt(value, "chat", callback)
		if err != nil {
			return
		}
		again, err := inside.OpenAttempt(inside.SealAttempt(a, "chat", callback), "chat", callback)
		if err != nil || again != a {
			t.Errorf("OpenAttempt = %+v, %v after another round, want %+v", again, err, a)
		}
	})
}
