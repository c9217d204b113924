package config

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Bounds of a tree, with every alias written out.
const (
	maxDepth = 32
	maxNodes = 100_000
)

// place is a line and a column, both from 1.
type place struct{ line, column int }

// node is a value of the file: a scalar, a list or a map. Variables in it are
// replaced, aliases resolved.
type node struct {
	at     place
	kind   kind
	text   string // of a scalar
	source string // the same, before variables were replaced
	said   bool   // some of the text stands in the file itself
	null   bool   // nothing was written, or null
	broken bool   // a problem was reported already; the text means nothing
	items  []*node
	pairs  []pair
}

// pair is a key of a map and its value.
type pair struct {
	name  string
	at    place
	value *node
}

type kind uint8

const (
	scalar kind = iota
	list
	mapping
)

func (k kind) String() string { return [...]string{"a single value", "a list", "a map"}[k] }

// parse reads the one document of a file. It reports what is wrong with its form.
func (d *decoder) parse(data []byte) (*node, bool) {
	problems := len(d.problems)
	whole := value{d: d, at: place{1, 1}}
	if len(data) > maxBytes {
		whole.fail("is too large: more than %d KiB", maxBytes>>10)
		return nil, false
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		whole.fail("cannot be read")
		return nil, false
	}
	var document, second yaml.Node
	if err := loader.Load(&document); err != nil && !errors.Is(err, io.EOF) {
		d.syntax(err)
		return nil, false
	}
	if len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
		whole.fail("is empty: it needs at least providers and apps")
		return nil, false
	}
	if err := loader.Load(&second); err == nil {
		whole.at = place{max(second.Line, 1), max(second.Column, 1)}
		whole.fail("is a second document: a configuration is one")
		return nil, false
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return nil, false
	}
	b := builder{d: d}
	root := b.build("", document.Content[0], 0)
	if root.kind != mapping && len(d.problems) == problems {
		whole.at = root.at
		whole.fail("must be a map of keys, with at least providers and apps; it is %s", root.kind)
	}
	// Duplicates and missing variables leave a tree whose other problems can
	// be told in the same go.
	return root, root.kind == mapping && !b.tooLarge
}

// syntax reports where the file is no YAML. The message is the library's, but
// for those that quote the file, in which a secret may stand.
func (d *decoder) syntax(err error) {
	at, message := place{1, 1}, "is not YAML"
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		at = place{max(e.Mark.Line, 1), max(e.Mark.Column, 1)}
		switch e.Stage {
		case yaml.ReaderStage:
			message += ": not valid UTF-8 text"
		case yaml.ScannerStage, yaml.ParserStage:
			message += ": " + e.Message
			if strings.Contains(e.Message, "cannot start any token") {
				message += "; put the value in quotes, and indent with spaces"
			}
		case yaml.ComposerStage:
			message += ": an alias (*name) without an anchor (&name) before it; put the value in quotes if it is text"
		}
	}
	value{d: d, at: at}.fail("%s", message)
}

// builder makes nodes of the library's, and counts them.
type builder struct {
	d        *decoder
	nodes    int
	tooLarge bool
}

func (b *builder) build(key string, y *yaml.Node, depth int) *node {
	n := &node{at: place{max(y.Line, 1), max(y.Column, 1)}}
	v := value{d: b.d, key: key, node: n, at: n.at}
	if b.nodes++; b.tooLarge || b.nodes > maxNodes || depth > maxDepth {
		if !b.tooLarge {
			v.fail("is nested too deep or too large, with aliases written out")
		}
		b.tooLarge = true
		n.broken = true
		return n
	}
	if y.Style&yaml.TaggedStyle != 0 {
		v.fail("must have no tag (!name); put the value in quotes if it is text")
		n.broken = true
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return b.build(key, y.Alias, depth+1)
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.items = append(n.items, b.build(key+"["+strconv.Itoa(i)+"]", item, depth+1))
		}
	case yaml.MappingNode:
		n.kind = mapping
		b.buildPairs(key, n, y, depth)
	case yaml.ScalarNode:
		n.null = y.Tag == "!!null"
		n.source = y.Value
		n.expand(v)
	}
	return n
}

func (b *builder) buildPairs(key string, n *node, y *yaml.Node, depth int) {
	first := map[string]int{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, name := y.Content[i], y.Content[i].Value
		at := place{max(k.Line, 1), max(k.Column, 1)}
		v := value{d: b.d, key: join(key, name), at: at}
		if k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 {
			v.key = key
			v.fail("a key must be plain text")
			continue
		}
		if k.Tag == "!!merge" {
			v.fail("merging maps is not supported: write the keys out")
			continue
		}
		if line, twice := first[name]; twice {
			v.fail("duplicate key, the first is in line %d", line)
			continue
		}
		first[name] = at.line
		if strings.Contains(name, "${") {
			v.fail("a key cannot hold a variable")
		}
		n.pairs = append(n.pairs, pair{name, at, b.build(v.key, y.Content[i+1], depth+1)})
	}
}

// join adds a step to a key.
func join(key, name string) string {
	for i := range len(name) {
		if !plainKey(name[i]) {
			name = strconv.Quote(clip(name))
			break
		}
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

func plainKey(c byte) bool {
	return c == '_' || c == '-' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// clip shortens text for a message.
func clip(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
