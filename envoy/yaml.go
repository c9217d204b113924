package envoy

import (
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

// mapping is a piece of configuration: its entries in their order, each with
// the reason for it, which is written above it. An entry whose value is nil is
// left out.
type mapping []entry

type entry struct {
	key   string
	value any // string, bool, int, time.Duration, mapping, []mapping, []string or []any
	why   string
}

// typed is a mapping that says its protobuf type.
func typed(name string, m mapping) mapping {
	return append(mapping{{"@type", "type.googleapis.com/" + name, ""}}, m...)
}

// extension names an extension and configures it.
func extension(name, typeName string, m mapping) mapping {
	return mapping{{"name", name, ""}, {"typed_config", typed(typeName, m), ""}}
}

// node encodes a value. Strings are always quoted, since Envoy's parser takes
// more plain words for a boolean or a number than YAML 1.2 does.
func node(value any) *yaml.Node {
	switch v := value.(type) {
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v, Style: yaml.DoubleQuotedStyle}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(v)}
	case time.Duration: // as in the JSON form of google.protobuf.Duration
		return node(strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s")
	case mapping:
		return v.node()
	case []mapping:
		return sequence(v)
	case []string:
		return sequence(v)
	case []any:
		return sequence(v)
	}
	panic(fmt.Sprintf("envoy: %T in a configuration", value))
}

func (m mapping) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, e := range m {
		if e.value == nil {
			continue
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.key}
		if e.key[0] == '@' {
			key.Style = yaml.DoubleQuotedStyle
		}
		if e.why != "" {
			key.HeadComment = "# " + e.why
		}
		n.Content = append(n.Content, key, node(e.value))
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle // {}
	}
	return n
}

func sequence[T any](values []T) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, v := range values {
		n.Content = append(n.Content, node(v))
	}
	if len(values) == 0 {
		n.Style = yaml.FlowStyle // []
	}
	return n
}
