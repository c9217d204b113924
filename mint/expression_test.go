package mint_test

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
)

var goodExpressions = []struct {
	name   string
	source string
	want   any // for alice; nil for nothing
}{
	{"a_text", `"playground"`, "playground"},
	{"a_text_in_single_quotes", `'playground'`, "playground"},
	{"an_empty_text", `""`, ""},
	{"the_other_quotes_within", `"it's"`, "it's"},
	{"space_around", " \t\n'x' ", "x"},
	{"escaped_quotes", `"\"\'\` + "`" + `\?"`, "\"'`?"},
	{"escaped_control_characters", `"\a\b\f\n\r\t\v\\"`, "\a\b\f\n\r\t\v\\"},
	{"hexadecimal_is_a_character", `"\x41\XE9"`, "Aé"},
	{"octal_is_a_character", `"\101\351"`, "Aé"},
	{"unicode", `"\u00e9\U0001F511é"`, "é🔑é"},
	{"user_in_quotes_is_a_text", `"user.email"`, "user.email"},

	{"issuer", "user.issuer", "https://id.example.org/realms/main"},
	{"subject", "user.subject", "alice-7"},
	{"provider", "user.provider", "keycloak"},
	{"email", "user.email", "alice@example.org"},
	{"name", "user.name", "Alice"},
	{"username", "user.username", "alice"},
	{"groups", "user.groups", []string{"admin", "staff"}},
	{"acr", "user.acr", "eidas1"},
	{"amr", "user.amr", []string{"pwd", "otp"}},
	{"auth_time", "user.auth_time", int64(1785582000)},
	{"all_claims", "user.claims", alice.Claims},
	{"a_claim", "user.claims.staff", true},
	{"a_number", "user.claims.siret", json.Number("12345678901234567890")},
	{"a_nested_claim", "user.claims.address.city", "Lyon"},
	{"space_between", "user . claims\n. ? staff", true},
	{"a_claim_called_orValue", "user.claims.orValue", nil},
	{"a_claim_that_is_missing", "user.claims.missing", nil},
	{"a_claim_that_is_null", "user.claims.nothing", nil},
	{"a_part_of_a_text", "user.claims.address.city.street", nil},

	{"optional_and_there", "user.claims.?staff", true},
	{"optional_and_missing", "user.claims.?missing", nil},
	{"optional_attribute", "user.?email.orValue('none')", "alice@example.org"},
	{"list_for_what_is_there", "user.claims.?empty.orValue('x')", []any{}},
	{"list_for_what_is_missing", "user.claims.?missing.orValue([])", []any{}},
	{"text_for_what_is_missing", `user.claims.?missing.orValue("none")`, "none"},
	{"empty_text_for_what_is_missing", `user.claims.?missing.orValue("")`, ""},
	{"text_for_what_is_null", `user.claims.?nothing.orValue("none")`, "none"},
	{"text_for_what_is_missing_within", `user.claims.?address.street.orValue("none")`, "none"},
	{"space_within_orValue", `user.claims.?missing . orValue ( [ ] ) `, []any{}},
}

func TestExpression(t *testing.T) {
	for _, tt := range goodExpressions {
		t.Run(tt.name, func(t *testing.T) {
			e, err := mint.ParseExpression(tt.source)
			if err != nil {
				t.Fatalf("ParseExpression: %v", err)
			}
			got, ok := e.Value(alice)
			if ok != (tt.want != nil) {
				t.Errorf("Value found something: %v", ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Value (-want +got):\n%s", diff)
			}
			mustHoldOfExpression(t, tt.source)
		})
	}
}

var badExpressions = []struct {
	name   string
	source string
	want   string // what the error begins with
}{
	{"nothing", "", `column 1: unexpected end`},
	{"only_space", "  ", `column 3: unexpected end`},
	{"no_quotes", "playground", `column 1: unexpected "playground"`},
	{"a_number", "42", `column 1: unexpected "4"`},
	{"a_list", `["a"]`, `column 1: unexpected "["`},
	{"a_boolean", "true", `column 1: unexpected "true"`},
	{"another_variable", " app.name", `column 2: unexpected "app"`},
	{"a_word_that_begins_like_user", "users.email", `column 1: unexpected "users"`},
	{"concatenation", `user.name + "x"`, `column 11: unexpected "+"`},
	{"concatenated_texts", `"a" + "b"`, `column 5: unexpected "+"`},
	{"comparison", `user.name == "x"`, `column 11: unexpected "="`},
	{"an_index", `user.claims["x"]`, `column 12: unexpected "["`},
	{"a_call", `user.name.size()`, `column 11: user.name has no parts`},
	{"a_call_of_a_claim", `user.claims.x.size()`, `column 19: unexpected "("`},
	{"a_triple_quoted_text", `"""x"""`, `column 3: unexpected "\""`},
	{"a_raw_text", `r"x"`, `column 1: unexpected "r"`},
	{"after_the_text", `"é" x`, `column 5: unexpected "x"`},

	{"user_alone", "user", `column 5: user needs an attribute: one of issuer subject`},
	{"no_attribute", "user.", `column 6: want a name, not end`},
	{"no_step", "user..email", `column 6: want a name, not "."`},
	{"a_dot_too_many", "user.email.", `column 12: want a name, not end`},
	{"a_step_that_is_a_number", "user.claims.7", `column 13: want a name, not "7"`},
	{"a_step_of_other_letters", "user.claims.prénom", `column 15: unexpected "é"`},
	{"an_unknown_attribute", "user.mail", `column 6: user has no attribute "mail": want one of issuer subject`},
	{"an_attribute_in_another_case", "user.Email", `column 6: user has no attribute "Email"`},
	{"a_part_of_an_attribute", "user.email.domain", `column 12: user.email has no parts`},
	{"a_word_of_cel", "user.claims.in", `column 13: in is a word of CEL`},

	{"orValue_without_question_mark", "user.claims.roles.orValue([])", `column 19: orValue follows a step written .?step`},
	{"orValue_with_question_mark", "user.claims.?roles.?orValue([])", `column 21: orValue follows`},
	{"orValue_with_question_mark_and_space", "user.? orValue([])", `column 8: orValue follows`},
	{"orValue_of_nothing", "user.orValue([])", `column 6: orValue follows`},
	{"orValue_without_a_value", "user.?name.orValue()", `column 20: orValue takes [] or a quoted text, not ")"`},
	{"orValue_of_a_number", "user.?name.orValue(0)", `column 20: orValue takes [] or a quoted text, not "0"`},
	{"orValue_of_a_list", `user.?name.orValue(["x"])`, `column 21: a list must be empty, not begin with "\""`},
	{"orValue_not_closed", `user.?name.orValue([]`, `column 22: want ")", not end`},
	{"orValue_of_two", `user.?name.orValue([], [])`, `column 22: want ")", not ","`},
	{"after_orValue", `user.?name.orValue("").size`, `column 23: unexpected "."`},

	{"not_closed", `"abc`, `column 1: the text has no closing "`},
	{"closed_by_the_other_quote", `user.?name.orValue('abc")`, `column 20: the text has no closing '`},
	{"over_a_line", "'a\nb'", `column 3: a text must not run over a line`},
	{"escape_at_the_end", `"a\`, `column 3: an escape is not finished`},
	{"escaped_quote_at_the_end", `"a\"`, `column 1: the text has no closing "`},
	{"unknown_escape", `"\d"`, `column 2: not an escape of CEL`},
	{"short_hexadecimal", `"\x4"`, `column 2: not an escape of CEL`},
	{"short_octal", `"\10"`, `column 2: not an escape of CEL`},
	{"octal_out_of_range", `"\400"`, `column 2: not an escape of CEL`},
	{"half_a_surrogate_pair", `"\ud800"`, `column 2: not an escape of CEL`},
	{"beyond_unicode", `"\U00110000"`, `column 2: not an escape of CEL`},
	{"signed_hexadecimal", `"\x+1"`, `column 2: not an escape of CEL`},
	{"not_utf8", "'\xff'", `column 1: not valid UTF-8`},
}

func TestExpressionRefused(t *testing.T) {
	for _, tt := range badExpressions {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mint.ParseExpression(tt.source)
			if err == nil || len(err.Error()) < len(tt.want) || err.Error()[:len(tt.want)] != tt.want {
				t.Errorf("ParseExpression = %v, want %s", err, tt.want)
			}
			mustHoldOfExpression(t, tt.source)
		})
	}
}

func TestZeroExpressionFindsNothing(t *testing.T) {
	if got, ok := (mint.Expression{}).Value(alice); ok || got != nil {
		t.Errorf("Value = %v, %v, want nothing", got, ok)
	}
}

// mustHoldOfExpression is true of every source.
func mustHoldOfExpression(t *testing.T, source string) {
	t.Helper()
	e, err := mint.ParseExpression(source)
	if err != nil {
		if !regexp.MustCompile(`(?s)^column [1-9][0-9]*: .*; possible are .*orValue`).MatchString(err.Error()) {
			t.Errorf("error says neither where nor what is possible: %v", err)
		}
		return
	}
	if e.String() != source {
		t.Errorf("String = %q, want %q", e.String(), source)
	}
	for _, who := range []oidc.Identity{alice, {}} {
		value, ok := e.Value(who)
		if ok != (value != nil) {
			t.Errorf("Value = %v, %v", value, ok)
		}
		if _, err := json.Marshal(value); err != nil {
			t.Errorf("Value is no JSON: %v", err)
		}
	}
	switch value, _ := e.Value(oidc.Identity{}); value.(type) {
	case nil, string, []any:
	default:
		t.Errorf("nobody has %T", value)
	}
}

func FuzzParseExpression(f *testing.F) {
	for _, tt := range goodExpressions {
		f.Add(tt.source)
	}
	for _, tt := range badExpressions {
		f.Add(tt.source)
	}
	f.Fuzz(mustHoldOfExpression)
}
