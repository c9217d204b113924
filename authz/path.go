package authz

import (
	"errors"
	"strings"
)

// Upstreams read paths differently: some decode %2F, some drop ;parameters,
// some merge slashes, some decode twice. A path is therefore read in three
// ways, and only a rule that all three pick decides (see docs/architecture.md).

// errPath is why a path is refused in every reading.
var errPath = errors.New("path cannot be read safely")

// readings are the three ways to read a path: as sent; decoded once and
// resolved; decoded twice and resolved.
type readings [3]string

// read returns the readings of a raw path. It fails for what no upstream
// should get to interpret: control characters, a fragment, a broken escape, no
// leading slash, dot segments that climb above the root.
func read(raw string) (readings, error) {
	if raw == "" || raw[0] != '/' {
		return readings{}, errPath
	}
	if plain(raw) {
		return readings{raw, raw, raw}, nil
	}
	if strings.IndexByte(raw, '#') >= 0 || hasControl(raw) {
		return readings{}, errPath
	}
	once, ok := unescape(raw, false)
	if !ok || hasControl(once) {
		return readings{}, errPath
	}
	twice, _ := unescape(once, true)
	if hasControl(twice) {
		return readings{}, errPath
	}
	first, ok1 := resolve(once)
	second, ok2 := resolve(twice)
	if !ok1 || !ok2 {
		return readings{}, errPath
	}
	return readings{raw, first, second}, nil
}

// plain reports whether every upstream reads p alike: nothing to decode, to
// merge or to resolve. It is the case of nearly every request.
func plain(p string) bool {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c < 0x20, c == 0x7f, c == '%', c == ';', c == '\\', c == '#':
			return false
		case c == '/' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.'):
			return false
		}
	}
	return true
}

func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// unescape decodes percent escapes once. A "%" that starts no escape is an
// error, unless lenient: then it stays.
func unescape(s string, lenient bool) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		if !lenient {
			return "", false
		}
		b.WriteByte('%')
	}
	return b.String(), true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// resolve takes backslashes as slashes, strips ;parameters, merges slashes and
// resolves dot segments (RFC 3986 §5.2.4). It fails where they climb above the
// root.
func resolve(p string) (string, bool) {
	segments := strings.Split(strings.ReplaceAll(p, `\`, "/"), "/")[1:]
	kept := segments[:0]
	var directory bool // does the path end in a slash?
	for _, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		directory = s == "" || s == "." || s == ".."
		switch {
		case s == "..":
			if len(kept) == 0 {
				return "", false
			}
			kept = kept[:len(kept)-1]
		case !directory:
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		return "/", true
	}
	resolved := "/" + strings.Join(kept, "/")
	if directory {
		resolved += "/"
	}
	return resolved, true
}
