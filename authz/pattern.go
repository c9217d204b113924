package authz

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Pattern matches paths. The zero Pattern matches none.
type Pattern struct {
	text     string
	prefix   bool           // everything below, by whole segments
	segments []string       // set when a segment is "*"
	regexp   *regexp.Regexp // set for a path_regex
}

// ParsePattern reads a rule's path: exact, or everything below it when it ends
// in "/**"; "*" stands for one whole segment.
func ParsePattern(s string) (Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return Pattern{}, errors.New(`must start with "/"`)
	}
	if strings.ContainsAny(s, "?#;\\%") || hasControl(s) {
		return Pattern{}, errors.New("must be a plain path: no query, fragment, parameter, escape or backslash")
	}
	p := Pattern{text: s}
	p.text, p.prefix = strings.CutSuffix(s, "/**")
	segments := strings.Split(p.text, "/")
	for i, segment := range segments {
		switch {
		case segment == "*":
			p.segments = segments
		case strings.Contains(segment, "*"):
			return Pattern{}, errors.New(`"*" stands for one whole segment, and "**" only at the end`)
		case segment == "." || segment == "..":
			return Pattern{}, errors.New("must have no dot segments")
		case segment == "" && i > 0 && (p.prefix || i < len(segments)-1):
			return Pattern{}, errors.New("must have no empty segment")
		}
	}
	return p, nil
}

// ParseRegexp reads a rule's path_regex: RE2, matched against the whole path.
func ParseRegexp(s string) (Pattern, error) {
	if s == "" {
		return Pattern{}, errors.New("must not be empty")
	}
	if _, err := regexp.Compile(s); err != nil { // by itself, so that it cannot close our group
		return Pattern{}, fmt.Errorf("is no RE2 expression: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return Pattern{}, fmt.Errorf("is no RE2 expression: %w", err)
	}
	return Pattern{text: s, regexp: re}, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string {
	if p.prefix {
		return p.text + "/**"
	}
	return p.text
}

// Match reports whether p covers a path.
func (p Pattern) Match(path string) bool {
	switch {
	case p.regexp != nil:
		return p.regexp.MatchString(path)
	case p.segments != nil:
		return p.matchSegments(path)
	case p.prefix:
		return below(path, p.text)
	default:
		return p.text != "" && path == p.text
	}
}

// below reports whether path is base or lies below it, by whole segments.
func below(path, base string) bool {
	return strings.HasPrefix(path, base) && (len(path) == len(base) || path[len(base)] == '/')
}

func (p Pattern) matchSegments(path string) bool {
	for i, want := range p.segments {
		segment, rest, more := strings.Cut(path, "/")
		if want == "*" && segment == "" || want != "*" && segment != want {
			return false
		}
		last := i == len(p.segments)-1
		if last {
			return !more || p.prefix
		}
		if !more {
			return false
		}
		path = rest
	}
	return false
}

// covers reports whether every path that q matches is matched by p too, as far
// as that can be told without comparing regular expressions.
func (p Pattern) covers(q Pattern) bool {
	switch {
	case (p.regexp == nil) != (q.regexp == nil): // the same letters mean something else
		return p.prefix && p.text == ""
	case p.regexp != nil || p.segments != nil:
		return p.String() == q.String()
	case p.prefix:
		return below(q.text, p.text)
	default:
		return !q.prefix && q.text == p.text
	}
}
