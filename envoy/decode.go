package envoy

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/mem"

	"github.com/countersign/countersign/authz"
)

// message is a CheckRequest as it is read from the wire: nothing but what a
// decision needs. The generated type made 100 allocations and was 19 µs of a check
// of 74 µs, for addresses, certificates and metadata that nobody looks at. What is
// skipped is not validated either. The zero message describes no request.
type message struct {
	found                      bool // an HTTP request
	method, scheme, host, path string
	lines                      authz.Header // of header_map
	joined                     authz.Header // of headers
}

// request is what readRequest makes of the same CheckRequest.
func (m *message) request() (authz.Request, error) {
	if !m.found {
		return authz.Request{}, errNotHTTP
	}
	header := m.lines
	if len(header) == 0 {
		header = m.joined
	}
	return newRequest(m.method, m.scheme, m.host, m.path, header)
}

// take is for what readCheck leaves to protobuf.
func (m *message) take(in *authv3.CheckRequest) {
	http := in.GetAttributes().GetRequest().GetHttp()
	*m = message{
		found:  http != nil,
		method: http.GetMethod(), scheme: http.GetScheme(), host: http.GetHost(), path: http.GetPath(),
		lines: readHeader(http),
	}
}

// text copies a message off the wire, so that all that is read can share it.
func text(data mem.BufferSlice) wire {
	var b strings.Builder
	b.Grow(data.Len())
	for _, part := range data {
		b.Write(part.ReadOnlyData())
	}
	return wire(b.String())
}

// wire is an encoded protobuf message, or what is left of one.
type wire string

// Numbers of the fields that are read; all of them are length-delimited.
const (
	checkAttributes   = 1
	attributesRequest = 4
	requestHTTP       = 2

	httpMethod    = 2
	httpHeaders   = 3
	httpPath      = 4
	httpHost      = 5
	httpScheme    = 6
	httpHeaderMap = 13

	mapHeaders = 1

	lineKey   = 1
	lineValue = 2
	lineRaw   = 3
)

// readCheck reads a CheckRequest. It reports false for what is broken, and for
// what Envoy does not send: protobuf itself must be asked then. Where it reports
// true it reads what protobuf reads: a message that comes in parts is merged, and
// of a field that comes twice the last one counts.
func (m *message) readCheck(w wire) bool {
	ok := w.each(checkAttributes, func(w wire) bool {
		return w.each(attributesRequest, func(w wire) bool {
			return w.each(requestHTTP, m.readHTTP)
		})
	})
	return ok && m.sortJoined()
}

func (m *message) readHTTP(w wire) bool {
	m.found = true
	for w != "" {
		number, value, ok := w.next()
		if !ok {
			return false
		}
		switch number {
		case httpMethod:
			m.method, ok = value.text()
		case httpPath:
			m.path, ok = value.text()
		case httpHost:
			m.host, ok = value.text()
		case httpScheme:
			m.scheme, ok = value.text()
		case httpHeaders:
			ok = m.readEntry(value)
		case httpHeaderMap:
			ok = value.each(mapHeaders, m.readLine)
		}
		if !ok {
			return false
		}
	}
	return true
}

// readLine reads a HeaderValue.
func (m *message) readLine(w wire) bool {
	name, value, raw, ok := readFields(w)
	if raw != "" {
		value = sanitise(string(raw))
	}
	m.lines = appendLine(m.lines, name, value)
	return ok
}

// readEntry reads an entry of the map, which has no raw form.
func (m *message) readEntry(w wire) bool {
	name, value, _, ok := readFields(w)
	m.joined = appendLine(m.joined, name, value)
	return ok
}

func readFields(w wire) (name, value string, raw wire, ok bool) {
	for w != "" {
		number, v, ok := w.next()
		switch {
		case !ok:
		case number == lineKey:
			name, ok = v.text()
		case number == lineValue:
			value, ok = v.text()
		case number == lineRaw:
			raw = v
		}
		if !ok {
			return "", "", "", false
		}
	}
	return name, value, raw, true
}

func appendLine(h authz.Header, name, value string) authz.Header {
	if h == nil {
		h = make(authz.Header, 0, usualLines)
	}
	return append(h, authz.Field{Name: lower(name), Value: value})
}

// usualLines is how many a browser and Envoy send at most, commonly.
const usualLines = 32

// sortJoined gives the joined form its order. Of a name that comes twice the map
// would know which counts.
func (m *message) sortJoined() bool {
	sortFields(m.joined)
	for i := 1; i < len(m.joined); i++ {
		if m.joined[i].Name == m.joined[i-1].Name {
			return false
		}
	}
	return true
}

func sortFields(h authz.Header) {
	slices.SortFunc(h, func(a, b authz.Field) int {
		if c := cmp.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return cmp.Compare(a.Value, b.Value)
	})
}

// each calls read with every field of w that has the number.
func (w wire) each(number uint64, read func(wire) bool) bool {
	for w != "" {
		n, value, ok := w.next()
		if !ok || n == number && !read(value) {
			return false
		}
	}
	return true
}

// next cuts the first field off w, which is not empty. The number is 0 where the
// field is not length-delimited, and so none that is read.
func (w *wire) next() (number uint64, value wire, ok bool) {
	tag, ok := w.varint()
	if !ok || tag>>3 == 0 || tag > 1<<32-1 {
		return 0, "", false
	}
	var size uint64
	switch tag & 7 {
	case 0:
		_, ok = w.varint()
		return 0, "", ok
	case 1:
		size = 8
	case 5:
		size = 4
	case 2:
		number = tag >> 3
		if size, ok = w.varint(); !ok {
			return 0, "", false
		}
	default: // a group: nothing has had one for years
		return 0, "", false
	}
	if size > uint64(len(*w)) {
		return 0, "", false
	}
	value, *w = (*w)[:size], (*w)[size:]
	return number, value, true
}

// varint cuts a number off w, in at most as many bytes as 64 bits need.
func (w *wire) varint() (n uint64, ok bool) {
	for i := 0; i < len(*w) && i < 10; i++ {
		c := (*w)[i]
		if i == 9 && c > 1 {
			return 0, false
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			*w = (*w)[i+1:]
			return n, true
		}
	}
	return 0, false
}

// text is w as a field of type string, which is UTF-8.
func (w wire) text() (string, bool) { return string(w), utf8.ValidString(string(w)) }
