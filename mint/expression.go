package mint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/oidc"
)

// Expression is the value of a configured claim. It is read by [ParseExpression]
// and does not change. The zero Expression finds nothing.
type Expression struct {
	source string
	path   string // for oidc.Identity.Lookup; empty for a literal
	other  any    // the literal, or what orValue gives; nil for neither
}

// ParseExpression reads an expression. It knows three forms of CEL:
//
//	"text"                                 quoted by " or ', with CEL's escapes
//	user.email, user.claims.address.city   a path of [oidc.Identity.Lookup]
//	user.claims.?roles.orValue([])         the same, and what stands in for it: [] or a text
//
// A step may be written .?step; what is not there is then, as without the
// question mark, no claim at all, unless orValue says otherwise. An error names
// the column, counted in characters from 1.
func ParseExpression(source string) (Expression, error) {
	p := parser{source: source}
	if !utf8.ValidString(source) {
		return Expression{}, p.fail(0, "not valid UTF-8")
	}
	p.space()
	var e Expression
	var err error
	if p.quote() != 0 {
		e.other, err = p.text()
	} else {
		e, err = p.reference()
	}
	if err != nil {
		return Expression{}, err
	}
	if p.space(); p.at < len(source) {
		return Expression{}, p.fail(p.at, "unexpected %s", p.next())
	}
	e.source = source
	return e, nil
}

// String returns the source of e.
func (e Expression) String() string { return e.source }

// Value returns what e is for somebody, with its type as the provider sent it.
// It is not to be changed. The second result is false when there is nothing.
func (e Expression) Value(who oidc.Identity) (any, bool) {
	if e.path != "" {
		if value, ok := who.Lookup(e.path); ok {
			return value, true
		}
	}
	return e.other, e.other != nil
}

// possible ends every message, since most who meet one wrote other CEL.
const possible = `; possible are a quoted text as in "api", a path as in user.email or user.claims.address.city, ` +
	`and what stands in for it as in user.claims.?roles.orValue([])`

// parser reads source from at on.
type parser struct {
	source string
	at     int // in bytes
}

func (p *parser) fail(at int, format string, args ...any) error {
	column := 1 + utf8.RuneCountInString(p.source[:at])
	return fmt.Errorf("column %d: %s%s", column, fmt.Sprintf(format, args...), possible)
}

// next describes what comes next, for messages.
func (p *parser) next() string {
	if p.at >= len(p.source) {
		return "end"
	}
	if word := p.peekWord(); word != "" {
		return strconv.Quote(word)
	}
	r, _ := utf8.DecodeRuneInString(p.source[p.at:])
	return strconv.Quote(string(r))
}

// space skips the white space of CEL.
func (p *parser) space() {
	for p.at < len(p.source) && strings.IndexByte("\t\n\f\r ", p.source[p.at]) >= 0 {
		p.at++
	}
}

// take skips b, if it comes next after white space.
func (p *parser) take(b byte) bool {
	p.space()
	if p.at >= len(p.source) || p.source[p.at] != b {
		return false
	}
	p.at++
	return true
}

// word reads an identifier after white space. It is empty if there is none.
func (p *parser) word() string {
	p.space()
	word := p.peekWord()
	p.at += len(word)
	return word
}

func (p *parser) peekWord() string {
	end := p.at
	for end < len(p.source) && (letter(p.source[end]) || end > p.at && digit(p.source[end])) {
		end++
	}
	return p.source[p.at:end]
}

func letter(b byte) bool { return b == '_' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' }
func digit(b byte) bool  { return '0' <= b && b <= '9' }

// reference reads user, its steps, and orValue.
func (p *parser) reference() (Expression, error) {
	start := p.at
	if word := p.word(); word != "user" {
		p.at = start
		return Expression{}, p.fail(start, "unexpected %s", p.next())
	}
	var steps []string
	optional := false
	for p.take('.') {
		question := p.take('?')
		p.space()
		at := p.at
		word := p.word()
		if word == "orValue" && p.take('(') {
			if !optional || question {
				return Expression{}, p.fail(at, "orValue follows a step written .?step")
			}
			other, err := p.orValue()
			return Expression{path: strings.Join(steps, "."), other: other}, err
		}
		if err := p.checkStep(at, word, steps); err != nil {
			return Expression{}, err
		}
		steps, optional = append(steps, word), optional || question
	}
	if len(steps) == 0 {
		return Expression{}, p.fail(p.at, "user needs an attribute: one of %s", strings.Join(oidc.Attributes, " "))
	}
	return Expression{path: strings.Join(steps, ".")}, nil
}

func (p *parser) checkStep(at int, word string, before []string) error {
	switch {
	case word == "":
		return p.fail(at, "want a name, not %s", p.next())
	case slices.Contains([]string{"true", "false", "null", "in"}, word):
		return p.fail(at, "%s is a word of CEL and cannot be a step", word)
	case len(before) == 0 && !slices.Contains(oidc.Attributes, word):
		return p.fail(at, "user has no attribute %q: want one of %s", word, strings.Join(oidc.Attributes, " "))
	case len(before) > 0 && before[0] != "claims":
		return p.fail(at, "user.%s has no parts", before[0])
	}
	return nil
}

// orValue reads what stands between the parentheses, and the closing one.
func (p *parser) orValue() (any, error) {
	p.space()
	var other any
	switch {
	case p.quote() != 0:
		text, err := p.text()
		if err != nil {
			return nil, err
		}
		other = text
	case p.take('['):
		if !p.take(']') {
			p.space()
			return nil, p.fail(p.at, "a list must be empty, not begin with %s", p.next())
		}
		other = []any{}
	default:
		return nil, p.fail(p.at, "orValue takes [] or a quoted text, not %s", p.next())
	}
	if !p.take(')') {
		p.space()
		return nil, p.fail(p.at, `want ")", not %s`, p.next())
	}
	return other, nil
}

// quote returns the quotation mark that comes next, or 0.
func (p *parser) quote() byte {
	if p.at < len(p.source) && (p.source[p.at] == '"' || p.source[p.at] == '\'') {
		return p.source[p.at]
	}
	return 0
}

// text reads a quoted text (CEL specification, "String and Bytes Values").
func (p *parser) text() (string, error) {
	start, quote := p.at, p.quote()
	p.at++
	var text strings.Builder
	for p.at < len(p.source) {
		switch b := p.source[p.at]; b {
		case quote:
			p.at++
			return text.String(), nil
		case '\n', '\r':
			return "", p.fail(p.at, `a text must not run over a line: write \n`)
		case '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			text.WriteRune(r)
		default:
			text.WriteByte(b)
			p.at++
		}
	}
	return "", p.fail(start, "the text has no closing %c", quote)
}

// plainEscapes are those of one character, and what they stand for.
var plainEscapes = map[byte]rune{
	'\\': '\\', '?': '?', '"': '"', '\'': '\'', '`': '`',
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

// escape reads an escape sequence, which is a character also where CEL writes
// it in hexadecimal or octal digits.
func (p *parser) escape() (rune, error) {
	start := p.at
	rest := p.source[p.at+1:]
	if rest == "" {
		return 0, p.fail(start, "an escape is not finished")
	}
	if r, ok := plainEscapes[rest[0]]; ok {
		p.at += 2
		return r, nil
	}
	skip, digits, base := 1, 0, 16
	switch rest[0] {
	case 'x', 'X':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case '0', '1', '2', '3':
		skip, digits, base = 0, 3, 8
	}
	if digits == 0 || len(rest) < skip+digits {
		return 0, p.fail(start, "not an escape of CEL")
	}
	value, err := strconv.ParseUint(rest[skip:skip+digits], base, 32)
	if err != nil || value > utf8.MaxRune || !utf8.ValidRune(rune(value)) {
		return 0, p.fail(start, "not an escape of CEL")
	}
	p.at += 1 + skip + digits
	return rune(value), nil
}
