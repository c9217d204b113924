package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder reads one file and collects what is wrong with it.
type decoder struct {
	file     string
	env      Environment
	asked    map[string]bool // the keys that were looked for, as in reference.go
	failed   map[string]bool // the keys that have a problem
	problems []Problem
	warnings []Problem
}

func newDecoder(file string, env Environment) *decoder {
	return &decoder{file: file, env: env, asked: map[string]bool{}, failed: map[string]bool{}}
}

// value is what a file says for a key, if it says something.
type value struct {
	d    *decoder
	key  string
	node *node // nil where it says nothing
	at   place // of the node, else of the map that could have it
}

// given reports whether the file says something.
func (v value) given() bool { return v.node != nil }

// failed reports whether a problem was told already.
func (v value) failed() bool { return v.d.failed[v.key] || v.node != nil && v.node.broken }

func (v value) fail(format string, args ...any) {
	v.d.failed[v.key] = true
	v.d.problems = append(v.d.problems, v.problem(format, args...))
}

func (v value) warn(format string, args ...any) {
	v.d.warnings = append(v.d.warnings, v.problem(format, args...))
}

func (v value) problem(format string, args ...any) Problem {
	return Problem{v.d.file, v.at.line, v.at.column, v.key, fmt.Sprintf(format, args...)}
}

// require reports a value that is missing.
func (v value) require() bool {
	if v.node == nil {
		v.fail("is required")
	}
	return v.node != nil
}

// quote is the value for a message, with its variables as they stand in the file:
// what they hold may be a secret in the wrong place.
func (v value) quote() string { return strconv.Quote(clip(v.node.source)) }

// raw returns a scalar as it is, without a word where nothing is given.
func (v value) raw() (string, bool) {
	switch {
	case v.node == nil || v.node.broken:
		return "", false
	case v.node.null:
		v.fail("has no value: write one or remove the key")
		return "", false
	case v.node.kind != scalar:
		v.fail("must be a single value, not %s", v.node.kind)
		return "", false
	}
	return v.node.text, true
}

// text returns a scalar that is a word or a line.
func (v value) text() (string, bool) {
	s, ok := v.raw()
	switch {
	case !ok:
		return "", false
	case s == "":
		v.fail("must not be empty")
		return "", false
	case hasControl(s):
		v.fail("must be one line, without control characters")
		return "", false
	}
	return s, true
}

// textOr returns the text, or what stands in for it.
func (v value) textOr(other string) string {
	if s, ok := v.text(); ok {
		return s
	}
	return other
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

var nameForm = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,64}\z`)

// name returns the name of something, which goes into addresses and cookies.
func (v value) name() string {
	s, ok := v.text()
	if ok && !nameForm.MatchString(s) {
		v.fail("must be at most 64 letters, digits, - or _, not %s", v.quote())
	}
	return s
}

// choose returns one of the words, or what stands in for it.
func (v value) choose(other string, words ...string) string {
	s, ok := v.text()
	if !ok {
		return other
	}
	if !slices.Contains(words, s) {
		v.fail("must be %s, not %s", oneOf(words), v.quote())
		return other
	}
	return s
}

// chooseNow is choose where some more words are known and not supported yet.
func (v value) chooseNow(now string, later ...string) {
	s, ok := v.text()
	switch {
	case !ok || s == now:
	case slices.Contains(later, s):
		v.fail("%s is not supported yet: only %s is", s, now)
	default:
		v.fail("must be %s, not %s", now, v.quote())
	}
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// flag returns true or false, and false where nothing is given.
func (v value) flag() bool { return v.choose("false", "true", "false") == "true" }

// duration returns a duration between least and most, or what stands in for it.
func (v value) duration(other, least, most time.Duration) time.Duration {
	s, ok := v.text()
	if !ok {
		return other
	}
	t, err := time.ParseDuration(s)
	switch {
	case err != nil:
		v.fail("must be a duration such as 90s, 30m or 12h, not %s", v.quote())
	case t < least || t > most:
		v.fail("must be between %s and %s, not %s", short(least), short(most), v.quote())
	default:
		return t
	}
	return other
}

// short is a duration without the zeros that Go appends.
func short(t time.Duration) string {
	s := t.String()
	if t >= time.Minute {
		s = strings.TrimSuffix(s, "0s")
	}
	if t >= time.Hour {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// items returns the values of a list that has some.
func (v value) items() []value {
	switch {
	case v.node == nil || v.node.broken:
		return nil
	case v.node.kind != list:
		v.fail("must be a list")
		return nil
	case len(v.node.items) == 0:
		v.fail("must not be empty")
		return nil
	}
	values := make([]value, len(v.node.items))
	for i, n := range v.node.items {
		values[i] = value{d: v.d, key: v.key + "[" + strconv.Itoa(i) + "]", node: n, at: n.at}
	}
	return values
}

// texts returns a list of words.
func (v value) texts() []string {
	return v.textsAs(func(_ value, s string) string { return s })
}

// textsAs returns a list of words, each as read makes it.
func (v value) textsAs(read func(value, string) string) []string {
	var texts []string
	for _, item := range v.items() {
		if s, ok := item.text(); ok {
			texts = append(texts, read(item, s))
		}
	}
	return texts
}

// entries returns the values of a map whose keys are the user's own.
func (v value) entries() []entry {
	o, ok := v.object()
	if !ok {
		return nil
	}
	if len(v.node.pairs) == 0 {
		v.fail("must not be empty")
	}
	var entries []entry
	for _, p := range v.node.pairs {
		if p.name == "" {
			v.fail("a name must not be empty")
			continue
		}
		entries = append(entries, entry{p.name, o.child(p)})
	}
	return entries
}

type entry struct {
	name string
	value
}
