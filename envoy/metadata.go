package envoy

import (
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/countersign/countersign/authz"
)

// metadata says about a decision what Envoy's access log and later filters can
// read, under envoy.filters.http.ext_authz. Nothing empty is in it.
func metadata(d authz.Decision) *structpb.Struct {
	entries := [...]struct{ name, value string }{
		{"decision", d.ID},
		{"reason", string(d.Reason)},
		{"app", d.App},
		{"rule", d.Rule},
		{"subject", d.Subject},
	}
	m := new(struct { // one allocation instead of eleven
		fields structpb.Struct
		values [len(entries)]structpb.Value
		kinds  [len(entries)]structpb.Value_StringValue
	})
	m.fields.Fields = make(map[string]*structpb.Value, len(entries))
	for i, e := range entries {
		if e.value == "" {
			continue
		}
		m.kinds[i].StringValue = strings.ToValidUTF8(e.value, "\uFFFD")
		m.values[i].Kind = &m.kinds[i]
		m.fields.Fields[e.name] = &m.values[i]
	}
	return &m.fields
}
