package authz

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/countersign/countersign/oidc"
)

// Permission says who may pass, as an allow key does. The zero Permission
// permits nobody.
type Permission struct {
	Everyone bool        // whoever is signed in
	AnyOf    []Condition // or whoever meets one of these
}

// Condition is a set of demands, which must all hold; of the values within
// one demand any will do. The zero Condition holds for nobody.
type Condition struct {
	Emails       []string            // whole addresses, compared without regard to case
	EmailDomains []string            // what follows the "@", exactly: no sub-domain
	Groups       []string            // compared exactly
	Claims       map[string][]string // by the claim's path
}

// Permits reports whether somebody may pass.
func (a Permission) Permits(who oidc.Identity) bool {
	if who.Nobody() {
		return false
	}
	if a.Everyone {
		return true
	}
	for _, c := range a.AnyOf {
		if c.holds(who) {
			return true
		}
	}
	return false
}

func (c Condition) holds(who oidc.Identity) bool {
	if c.empty() {
		return false
	}
	if len(c.Emails) > 0 && !containsWord(c.Emails, who.Email) {
		return false
	}
	if len(c.EmailDomains) > 0 && !containsWord(c.EmailDomains, emailDomain(who.Email)) {
		return false
	}
	if len(c.Groups) > 0 && !intersects(c.Groups, who.Groups) {
		return false
	}
	for path, wanted := range c.Claims {
		value, ok := who.Lookup("claims." + path)
		if !ok || !intersects(wanted, claimWords(value)) {
			return false
		}
	}
	return true
}

func (c Condition) empty() bool {
	return len(c.Emails)+len(c.EmailDomains)+len(c.Groups)+len(c.Claims) == 0
}

// containsWord compares without regard to case. The empty word is nowhere. The
// lengths must agree too: Unicode folds "ſ" to "s" and the Kelvin sign to "k",
// and boſs@ is somebody else than boss@.
func containsWord(list []string, word string) bool {
	if word == "" {
		return false
	}
	for _, s := range list {
		if len(s) == len(word) && strings.EqualFold(s, word) {
			return true
		}
	}
	return false
}

// emailDomain returns what follows the only "@", in its ASCII form, or "" where
// there is none or more than one (CVE-2026-40574).
func emailDomain(email string) string {
	local, domain, ok := strings.Cut(email, "@")
	if !ok || local == "" || strings.Contains(domain, "@") {
		return ""
	}
	return ASCIIDomain(domain)
}

// ASCIIDomain returns a domain name as it stands in the DNS, lower-case, with
// international labels in their xn-- form (RFC 5891), or "" if it is none.
func ASCIIDomain(domain string) string {
	for i := 0; i < len(domain); i++ {
		if domain[i] >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(domain)
			if err != nil {
				return ""
			}
			return ascii
		}
	}
	return strings.ToLower(domain)
}

func intersects(wanted, have []string) bool {
	for _, w := range wanted {
		if slices.Contains(have, w) {
			return true
		}
	}
	return false
}

// claimWords is the value of a claim as the words that a rule compares: a
// list's items one by one, a number and a boolean as JSON writes them.
func claimWords(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case bool:
		return []string{strconv.FormatBool(v)}
	case json.Number:
		return []string{v.String()}
	case []string:
		return v
	case []any:
		var words []string
		for _, item := range v {
			if _, nested := item.([]any); !nested {
				words = append(words, claimWords(item)...)
			}
		}
		return words
	}
	return nil
}
