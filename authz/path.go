package authz

import (
	"errors"
	"slices"
	"strings"
)

// Upstreams read paths differently: some decode %2F, some drop ;parameters,
// some take a backslash as a slash, some merge slashes, some decode twice, and
// they do so in different orders. A path is therefore read in every way that is
// known of one of them, and only a rule that all readings pick decides.

// errPath is why a path is refused in every reading.
var errPath = errors.New("path cannot be read safely")

// read returns the readings of a raw path, first of them the path as it was
// sent. It fails for what no upstream should get to interpret: control
// characters, a fragment, a broken escape, no leading slash, dot segments that
// climb above the root.
func read(raw string) ([]string, error) {
	if raw == "" || raw[0] != '/' {
		return nil, errPath
	}
	if plain(raw) {
		return []string{raw}, nil
	}
	if strings.IndexByte(raw, '#') >= 0 || hasControl(raw) {
		return nil, errPath
	}
	once, ok := unescape(raw, false)
	if !ok || hasControl(once) {
		return nil, errPath
	}
	twice, _ := unescape(once, true)
	if hasControl(twice) || climbsAboveRoot(once) || climbsAboveRoot(twice) {
		return nil, errPath
	}
	all := readings{raw}
	for _, sent := range []string{raw, withoutParameters(raw)} {
		once, _ := unescape(sent, true)
		twice, _ := unescape(once, true)
		for _, p := range []string{sent, once, twice} {
			all.add(p)
		}
	}
	for _, p := range slices.Clone(all) { // to a server behind one that resolved it
		if again, _ := unescape(p, true); again != p {
			all.add(again)
		}
	}
	return all, nil
}

// readings are the distinct ways to read a path.
type readings []string

func (r *readings) note(p string) {
	if !slices.Contains(*r, p) {
		*r = append(*r, p)
	}
}

// add notes how servers may resolve p.
func (r *readings) add(p string) {
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		r.add(p[:i]) // the rest is lost to whoever passes a decoded path on
	}
	for _, p := range []string{p, strings.ReplaceAll(p, `\`, "/")} {
		r.note(p)
		for _, q := range []string{p, withoutParameters(p), merged(p), merged(withoutParameters(p))} {
			for _, q := range []string{withoutDots(q), withoutDots(spelledDots.Replace(q))} {
				r.note(q)
				r.note(merged(q))
			}
		}
	}
}

// spelledDots are dots to whoever follows the WHATWG URL Standard.
var spelledDots = strings.NewReplacer("%2e", ".", "%2E", ".")

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

// withoutParameters is p with the ;parameters of each segment taken away.
func withoutParameters(p string) string {
	if strings.IndexByte(p, ';') < 0 {
		return p
	}
	var b strings.Builder
	b.Grow(len(p))
	inParameters := false
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case ';':
			inParameters = true
		case '/':
			inParameters = false
		}
		if !inParameters {
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

// merged is p without its empty segments.
func merged(p string) string {
	if !strings.Contains(p, "//") {
		return p
	}
	var b strings.Builder
	b.Grow(len(p))
	for i := 0; i < len(p); i++ {
		if p[i] != '/' || i == 0 || p[i-1] != '/' {
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

// withoutDots resolves dot segments (RFC 3986 §5.2.4) and does nothing else: an
// empty segment is one, and nothing is above the root.
func withoutDots(p string) string {
	if !strings.Contains(p, "/.") {
		return p
	}
	var kept []string
	directory := false // does the path end in a dot segment, and so in a slash?
	for s := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		directory = s == "." || s == ".."
		switch {
		case !directory:
			kept = append(kept, s)
		case s == ".." && len(kept) > 0:
			kept = kept[:len(kept)-1]
		}
	}
	if directory {
		kept = append(kept, "")
	}
	return "/" + strings.Join(kept, "/")
}

// climbsAboveRoot reports whether the dot segments of a decoded path lead out of
// it, to a server that merges slashes first.
func climbsAboveRoot(p string) bool {
	depth := 0
	for s := range strings.SplitSeq(withoutParameters(strings.ReplaceAll(p, `\`, "/")), "/") {
		switch s {
		case "..":
			depth--
		case "", ".":
		default:
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}
