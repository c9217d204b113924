package authz_test

import (
	"encoding/json"
	"testing"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/oidc"
)

func mail(address string) oidc.Identity {
	return oidc.Identity{Issuer: issuer, Subject: "s", Email: address}
}

func groups(names ...string) oidc.Identity {
	return oidc.Identity{Issuer: issuer, Subject: "s", Groups: names}
}

func claim(value any) oidc.Identity {
	return oidc.Identity{Issuer: issuer, Subject: "s", Claims: map[string]any{"c": value, "o": map[string]any{"c": value}}}
}

func TestPermits(t *testing.T) {
	var (
		company = authz.Condition{EmailDomains: []string{"company.com"}}
		intl    = authz.Condition{EmailDomains: []string{authz.ASCIIDomain("bücher.example")}}
		boss    = authz.Condition{Emails: []string{"boss@company.com"}}
		admin   = authz.Condition{Groups: []string{"admin", "root"}}
		both    = authz.Condition{EmailDomains: []string{"company.com"}, Groups: []string{"admin"}}
		has     = func(values ...string) authz.Condition {
			return authz.Condition{Claims: map[string][]string{"c": values}}
		}
		within = authz.Condition{Claims: map[string][]string{"o.c": {"yes"}}}
		two    = authz.Condition{Claims: map[string][]string{"c": {"yes"}, "d": {"yes"}}}
	)
	tests := []struct {
		name string
		of   authz.Condition
		who  oidc.Identity
		want bool
	}{
		{"domain", company, mail("x@company.com"), true},
		{"domain_in_capitals_AZ-A04", company, mail("X@COMPANY.COM"), true},
		{"domain_listed_in_capitals", authz.Condition{EmailDomains: []string{"Company.Com"}}, mail("x@company.com"), true},
		{"two_domains_in_one_address_AZ-A01", company, mail("attacker@evil.com@company.com"), false},
		{"quoted_at_sign_AZ-A01", company, mail(`"attacker@evil.com"@company.com`), false},
		{"address_that_is_not_verified_AZ-A02", company, mail(""), false}, // oidc leaves Email empty then
		{"domain_that_ends_alike_AZ-A03", company, mail("x@evil-company.com"), false},
		{"domain_that_begins_alike_AZ-A03", company, mail("x@company.com.evil.com"), false},
		{"sub_domain", company, mail("x@sub.company.com"), false},
		{"domain_with_a_dot_at_the_end", company, mail("x@company.com."), false},
		{"domain_with_a_space", company, mail("x@company.com "), false},
		{"domain_with_a_line_break", company, mail("x@company.com\n"), false},
		{"domain_behind_a_nul", company, mail("x@company.com\x00.evil.com"), false},
		{"no_local_part", company, mail("@company.com"), false},
		{"no_domain", company, mail("x@"), false},
		{"no_address", company, mail("company.com"), false},
		{"empty_word_in_the_list", authz.Condition{EmailDomains: []string{""}}, mail(""), false},
		{"international_domain", intl, mail("x@bücher.example"), true},
		{"international_domain_in_capitals", intl, mail("x@BÜCHER.example"), true},
		{"international_domain_as_in_the_dns", intl, mail("x@xn--bcher-kva.example"), true},
		{"domain_of_letters_that_look_alike", company, mail("x@соmpany.com"), false},
		{"domain_that_is_none", company, mail("x@company.com\u200d"), false},

		{"address", boss, mail("boss@company.com"), true},
		{"address_in_capitals", boss, mail("BOSS@Company.com"), true},
		{"address_of_somebody_else", boss, mail("x@company.com"), false},
		{"address_with_a_long_s", boss, mail("boſs@company.com"), false},
		{"address_with_a_kelvin_sign", authz.Condition{Emails: []string{"kate@company.com"}}, mail("\u212aate@company.com"), false},
		{"nobody_has_the_empty_address", authz.Condition{Emails: []string{""}}, mail(""), false},

		{"group", admin, groups("staff", "root"), true},
		{"group_as_one_word_AZ-A05", admin, groups("admin"), true}, // oidc makes one group of a string
		{"group_in_capitals", admin, groups("Admin"), false},
		{"group_that_begins_alike", admin, groups("administrators"), false},
		{"no_group", admin, groups(), false},

		{"both_demands", both, oidc.Identity{Issuer: issuer, Subject: "s", Email: "x@company.com", Groups: []string{"admin"}}, true},
		{"one_of_two_demands", both, mail("x@company.com"), false},
		{"the_other_of_two_demands", both, groups("admin"), false},

		{"claim_is_a_string", has("yes"), claim("yes"), true},
		{"claim_is_another_string", has("yes"), claim("yes."), false},
		{"claim_is_an_integer", has("7"), claim(json.Number("7")), true},
		{"claim_is_a_long_integer", has("12345678901234567890"), claim(json.Number("12345678901234567890")), true},
		{"claim_is_a_fraction", has("0.10"), claim(json.Number("0.10")), true},
		{"claim_is_another_number", has("7"), claim(json.Number("70")), false},
		{"claim_is_true", has("true"), claim(true), true},
		{"claim_is_false", has("true"), claim(false), false},
		{"claim_is_null", has("null", ""), claim(nil), false},
		{"claim_is_empty", has("yes"), claim(""), false},
		{"claim_is_a_list", has("no", "yes"), claim([]any{"other", "yes"}), true},
		{"claim_is_a_list_of_all_sorts", has("7"), claim([]any{"other", true, nil, json.Number("7")}), true},
		{"claim_is_a_list_of_strings", has("yes"), claim([]string{"yes"}), true},
		{"claim_is_an_empty_list", has("yes"), claim([]any{}), false},
		{"claim_is_a_list_in_a_list", has("yes"), claim([]any{[]any{"yes"}}), false},
		{"claim_is_an_object", has("yes", "c"), claim(map[string]any{"yes": "yes"}), false},
		{"claim_is_an_object_in_a_list", has("yes"), claim([]any{map[string]any{"yes": "yes"}}), false},
		{"claim_within_an_object", within, claim("yes"), true},
		{"claim_not_within_an_object", within, oidc.Identity{Issuer: issuer, Subject: "s", Claims: map[string]any{"o": "yes"}}, false},
		{"claim_is_missing", has("yes"), groups(), false},
		{"one_of_two_claims", two, claim("yes"), false},
		{"claim_without_values", has(), claim("yes"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (authz.Permission{AnyOf: []authz.Condition{tt.of}}).Permits(tt.who); got != tt.want {
				t.Errorf("Permits = %t, want %t", got, tt.want)
			}
			if got := (authz.Permission{AnyOf: []authz.Condition{{}, tt.of}}).Permits(tt.who); got != tt.want {
				t.Errorf("Permits beside an empty condition = %t, want %t", got, tt.want)
			}
			tt.who.Issuer = ""
			if (authz.Permission{Everyone: true, AnyOf: []authz.Condition{tt.of}}).Permits(tt.who) {
				t.Error("Permits = true for nobody")
			}
		})
	}
}

func TestASCIIDomain(t *testing.T) {
	tests := []struct{ name, domain, want string }{
		{"plain", "example.org", "example.org"},
		{"capitals", "Example.ORG", "example.org"},
		{"international", "Bücher.example", "xn--bcher-kva.example"},
		{"invisible_joiner", "exam\u200dple.org", ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := authz.ASCIIDomain(tt.domain); got != tt.want {
				t.Errorf("ASCIIDomain(%q) = %q, want %q", tt.domain, got, tt.want)
			}
		})
	}
}
