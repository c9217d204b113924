package config

import "strings"

// expand replaces the variables of a scalar and reports those that are missing.
// What a variable holds is text and never read as YAML.
func (n *node) expand(v value) {
	var text strings.Builder
	rest := n.source
	for {
		before, after, found := strings.Cut(rest, "${")
		text.WriteString(before)
		n.said = n.said || before != ""
		if !found {
			break
		}
		if strings.HasSuffix(before, "$") { // $${ stands for ${
			text.WriteString("{")
			rest = after
			continue
		}
		inner, tail, closed := strings.Cut(after, "}")
		name, fallback, hasFallback := strings.Cut(inner, ":-")
		if !closed || !isVariable(name) || strings.Contains(fallback, "${") {
			v.fail("${ begins no variable: write ${NAME} or ${NAME:-default}, or $${ for the text itself")
			n.broken = true
			return
		}
		set, ok := v.d.env.getenv(name)
		switch {
		case hasFallback && set == "":
			text.WriteString(fallback)
			n.said = n.said || fallback != ""
		case ok:
			text.WriteString(set)
		default:
			v.fail("variable %s is not set and has no default", name)
			n.broken = true
		}
		rest = tail
	}
	n.text = text.String()
}

// isVariable reports whether a shell would take name as one of a variable.
func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
