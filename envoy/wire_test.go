package envoy_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
)

// nested is a field that holds messages, one after the other.
func nested(number protowire.Number, messages ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(messages...))
}

// describing is a CheckRequest whose HTTP request has these fields.
func describing(fields ...[]byte) []byte { return nested(1, nested(4, nested(2, fields...))) }

func field(number protowire.Number, s string) []byte { return nested(number, []byte(s)) }

// header is an entry of the map: its fields are those of a HeaderValue.
func header(name, value string) []byte { return nested(3, field(1, name), field(2, value)) }

var (
	orders = field(4, "/a?b")
	number = protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.VarintType), 1<<64-1)
)

// wires are messages in all the forms that protobuf allows; fast are those that
// must be read without it.
var wires = []struct {
	name string
	wire []byte
	fast bool
}{
	{"nothing", nil, true},
	{"no_request", nested(1), true},
	{"no_http", nested(1, nested(4)), true},
	{"empty_http", describing(), true},
	{"all_that_is_read", describing(field(2, "GET"), orders, field(5, "h"), field(6, "https"), header("a", "b")), true},
	{"in_parts", slices.Concat(describing(field(2, "GET"), header("a", "b")), describing(orders, header("c", "d"))), true},
	{"twice", describing(orders, field(4, "/last")), true},
	{"emptied", describing(orders, field(4, "")), true},
	{"numbers_and_fixed", describing(orders, number, protowire.AppendFixed64(protowire.AppendTag(nil, 20, protowire.Fixed64Type), 1),
		protowire.AppendFixed32(protowire.AppendTag(nil, 21, protowire.Fixed32Type), 1)), true},
	{"path_as_a_number", describing(protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), 7), orders), true},
	{"long_length", describing(append(protowire.AppendTag(nil, 4, protowire.BytesType), 0x82, 0x80, 0x00, '/', 'x')), true},
	{"line_with_both_values", describing(orders, nested(13, nested(1, field(1, "A"), field(2, "text"), field(3, "raw")))), true},
	{"line_of_text", describing(orders, nested(13, nested(1, field(1, "a"), field(2, "text"), field(3, "")))), true},
	{"line_not_utf8", describing(orders, nested(13, nested(1, field(1, "a"), field(3, "\xff\r\n")))), true},
	{"line_without_a_name", describing(orders, nested(13, nested(1))), true},
	{"no_lines_but_a_map", describing(orders, nested(13), header("a", "b")), true},
	{"map_and_lines", describing(orders, header("a", "b"), nested(13, nested(1, field(1, "c"), field(3, "d")))), true},
	{"map_with_a_raw_value", describing(orders, nested(3, field(1, "a"), field(3, "raw"))), true},
	{"map_out_of_order", describing(orders, header("b", "1"), header("a", "2")), true},

	{"map_with_a_name_twice", describing(orders, header("a", "1"), header("a", "2")), false},
	{"map_with_a_name_in_two_spellings", describing(orders, header("A", "1"), header("a", "2")), false},
	{"group", describing(orders, protowire.AppendTag(nil, 30, protowire.StartGroupType), protowire.AppendTag(nil, 30, protowire.EndGroupType)), false},
	{"path_not_utf8", describing(field(4, "/\xff")), false},
	{"host_not_utf8", describing(orders, field(5, "\xff")), false},
	{"name_not_utf8", describing(orders, header("\xff", "a")), false},
	{"value_not_utf8", describing(orders, header("a", "\xff")), false},
	{"field_zero", describing(orders, []byte{0x02, 0x00}), false},
	{"number_too_long", describing(orders, []byte{0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}), false},
	{"tag_too_long", describing(orders, []byte{0x80, 0x80, 0x80, 0x80, 0x10, 0x00}), false},
	{"cut_short", describing(orders)[:8], false},
	{"length_beyond_the_end", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, false},
	{"tag_alone", []byte{0x0a}, false},
}

func TestDecode(t *testing.T) {
	for _, tt := range wires {
		t.Run(tt.name, func(t *testing.T) {
			if got := envoy.DecodesFast(tt.wire); got != tt.fast {
				t.Errorf("read without protobuf: %t, want %t", got, tt.fast)
			}
			readsAlike(t, tt.wire)
		})
	}
}

// readsAlike holds the server's reading against that of protobuf.
func readsAlike(t *testing.T, wire []byte) {
	t.Helper()
	got, gotErr := envoy.Decode(wire)
	in := new(authv3.CheckRequest)
	if proto.Unmarshal(wire, in) != nil {
		if gotErr == nil { // something is broken in what is skipped
			onlyText(t, got)
		}
		return
	}
	want, wantErr := envoy.Read(in)
	if got.Method != want.Method || got.Scheme != want.Scheme || got.Host != want.Host || got.Path != want.Path ||
		got.Query != want.Query || !slices.Equal(got.Header, want.Header) || gotErr != wantErr { //nolint:errorlint // the very same
		t.Errorf("read %+v (%v), protobuf %+v (%v)", got, gotErr, want, wantErr)
	}
}

func onlyText(t *testing.T, req authz.Request) {
	t.Helper()
	all := []string{req.Method, req.Scheme, req.Host, req.Path, req.Query}
	for _, f := range req.Header {
		all = append(all, f.Name, f.Value)
	}
	if !utf8.ValidString(strings.Join(all, "")) {
		t.Errorf("read %+q, which is not UTF-8", all)
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range wires {
		f.Add(tt.wire)
	}
	for _, in := range []*authv3.CheckRequest{browser(page), browser(raw)} {
		wire, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(readsAlike)
}

func TestEncode(t *testing.T) {
	set := func(name, value string) authz.Decision {
		return authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{Set: []authz.Field{{Name: name, Value: value}}}}
	}
	tests := []struct {
		name string
		d    authz.Decision
	}{
		{"signed_in", signedIn()},
		{"nothing_to_say", authz.Decision{Outcome: authz.Allow}},
		{"empty_value", set("a", "")},
		{"upper_case", set("X-A", "b")},
		{"value_of_127_bytes", set("a", strings.Repeat("a", 127))},
		{"value_of_20000_bytes", set("a", strings.Repeat("a", 20_000))},
		{"value_with_a_line_feed", set("a", "b\nc: d")},
		{"value_with_a_zero", set("a", "\x00")},
		{"value_not_utf8", set("a", "\xff")},
		{"name_with_a_space", set("a b", "c")},
		{"no_name", set("", "c")},
		{"remove_in_upper_case", authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{Remove: []string{"X-A"}}}},
		{"remove_a_pseudo_header", authz.Decision{Outcome: authz.Allow, Upstream: authz.HeaderEdits{Remove: []string{":path"}}}},
		{"subject_not_utf8", authz.Decision{Outcome: authz.Allow, Subject: "\xff"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := check(t, serving(always(tt.d)), page("/"))
			encodesAlike(t, tt.d, out)
		})
	}
}

// encodesAlike holds what the server sends for an allow against the message.
func encodesAlike(t *testing.T, d authz.Decision, want *authv3.CheckResponse) {
	t.Helper()
	wire, err := envoy.Encode(d)
	if allows(want) != (err == nil) {
		t.Fatalf("Encode fails with %v, while the message is %v", err, want)
	}
	if err != nil {
		return
	}
	got := new(authv3.CheckResponse)
	if err := proto.Unmarshal(wire, got); err != nil {
		t.Fatalf("Encode writes what cannot be read: %v", err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
}

// What the wire costs is a promise, too: a copy of the message and its lines, and
// the answer.
func TestWireAllocations(t *testing.T) {
	for name, in := range map[string]*authv3.CheckRequest{"joined": browser(page), "raw": browser(raw)} {
		wire, err := proto.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := testing.AllocsPerRun(1000, func() { _, _ = envoy.Decode(wire) }); got > 6 {
			t.Errorf("%s: %v allocations to decode, want at most 6", name, got)
		}
	}
	d := signedIn()
	if got := testing.AllocsPerRun(1000, func() { _, _ = envoy.Encode(d) }); got > 1 {
		t.Errorf("%v allocations to encode, want 1", got)
	}
}
