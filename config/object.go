package config

import (
	"regexp"
	"slices"
	"strings"
)

// object is a map whose keys the schema knows. One that the file does not have
// gives nothing for every key.
type object struct {
	value
	names []string // asked for
}

// object returns the map. It reports false, and a problem, if it is something
// else, and false if there is nothing.
func (v value) object() (*object, bool) {
	o := &object{value: v}
	if v.node == nil || v.node.broken {
		return o, false
	}
	if v.node.kind != mapping {
		if v.node.null {
			v.fail("has no value: write one or remove the key")
		} else {
			v.fail("must be a map of keys, not %s", v.node.kind)
		}
		return o, false
	}
	return o, true
}

// get returns the value of a key.
func (o *object) get(name string) value {
	o.names = append(o.names, name)
	key := join(o.key, name)
	o.d.asked[general(key)] = true
	if o.node != nil {
		for _, p := range o.node.pairs {
			if p.name == name {
				return o.child(p)
			}
		}
	}
	return value{d: o.d, key: key, at: o.at}
}

func (o *object) child(p pair) value {
	at := p.value.at
	if p.value.null {
		at = p.at // nothing is written there
	}
	return value{d: o.d, key: join(o.key, p.name), node: p.value, at: at}
}

// close reports the keys that nobody asked for.
func (o *object) close() {
	if o.node == nil {
		return
	}
	for _, p := range o.node.pairs {
		if slices.Contains(o.names, p.name) {
			continue
		}
		v := value{d: o.d, key: join(o.key, p.name), at: p.at}
		switch near := nearest(p.name, o.names); {
		case later[general(v.key)]:
			v.fail("is not supported yet")
		case near != "":
			v.fail("unknown key, did you mean %q?", near)
		default:
			v.fail("unknown key, possible are %s", strings.Join(o.names, " "))
		}
	}
}

// report turns the joined errors of another package, which begin with the key
// that they are about, into problems, unless that key has one already.
func (o *object) report(err error, keys map[string]string) {
	for _, err := range joined(err) {
		name, message, found := strings.Cut(err.Error(), ": ")
		if !found {
			name, message = "", err.Error()
		}
		if other, ok := keys[name]; ok {
			name = other
		}
		if v := o.find(name); !v.failed() {
			v.fail("%s", message)
		}
	}
}

// find returns the value at a dotted key, or the last of its steps that there is.
func (o *object) find(key string) value {
	v := o.value
	for step := range strings.SplitSeq(key, ".") {
		if v.node == nil || step == "" {
			break
		}
		at := v.at
		inner := object{value: v}
		v = value{d: o.d, key: join(v.key, step), at: at}
		for _, p := range inner.node.pairs {
			if p.name == step {
				v = inner.child(p)
			}
		}
	}
	return v
}

// joined returns the parts of an error of errors.Join. An error that wraps one
// stays whole.
func joined(err error) []error {
	if err == nil {
		return nil
	}
	if parts, ok := err.(interface{ Unwrap() []error }); ok {
		return parts.Unwrap()
	}
	return []error{err}
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// general is a key as reference.go writes it: without indexes, and what
// a rule shares with its app under the name of the app.
func general(key string) string {
	key = indexes.ReplaceAllString(key, "[]")
	key = strings.Replace(key, ".allow[].", ".allow.", 1)
	for _, shared := range []string{"allow.", "token."} {
		key = strings.Replace(key, "apps[].rules[]."+shared, "apps[]."+shared, 1)
	}
	return key
}

// nearest returns the name that a misspelt one was meant to be, or nothing.
func nearest(name string, names []string) string {
	best, least := "", max(2, len(name)/3)+1
	if len(name) <= 2 {
		least = 2
	}
	for _, n := range names {
		if distance := editDistance(strings.ToLower(name), n); distance < least {
			best, least = n, distance
		}
	}
	return best
}

// editDistance counts the letters to insert, remove or replace. A key longer
// than any of ours is near to none.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
