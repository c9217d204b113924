package envoy

import (
	"errors"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/countersign/countersign/authz"
)

var (
	errNotHTTP = errors.New("envoy: the message describes no HTTP request")
	errNoPath  = errors.New("envoy: the HTTP request has no path")
)

// readRequest translates what Envoy tells about a request. Strings are not
// copied, apart from raw header values.
func readRequest(in *authv3.CheckRequest) (authz.Request, error) {
	http := in.GetAttributes().GetRequest().GetHttp()
	if http == nil {
		return authz.Request{}, errNotHTTP // also a check of Envoy's network filter
	}
	return newRequest(http.GetMethod(), http.GetScheme(), http.GetHost(), http.GetPath(), readHeader(http))
}

func newRequest(method, scheme, host, target string, header authz.Header) (authz.Request, error) {
	path, query, _ := strings.Cut(target, "?") // http.query is never filled
	if path == "" {
		return authz.Request{}, errNoPath // CONNECT, CVE-2026-73547
	}
	return authz.Request{Method: method, Scheme: scheme, Host: host, Path: path, Query: query, Header: header}, nil
}

// readHeader prefers header_map, which keeps lines apart (encode_raw_headers).
// Pseudo-headers stay in: ":protocol" says what an extended CONNECT asks for.
func readHeader(http *authv3.AttributeContext_HttpRequest) authz.Header {
	if lines := http.GetHeaderMap().GetHeaders(); len(lines) > 0 {
		return readLines(lines)
	}
	return readMap(http.GetHeaders())
}

// readMap reads the form that joins the lines of a name with ",". The order of a
// Go map is random; that of the result is not, so that equal requests have
// equal answers.
func readMap(headers map[string]string) authz.Header {
	h := make(authz.Header, 0, len(headers))
	for name, value := range headers {
		h = append(h, authz.Field{Name: lower(name), Value: value})
	}
	sortFields(h)
	return h
}

// readLines reads the form with one entry per line, in raw bytes. All values
// share one string, which spares an allocation for each.
func readLines(lines []*corev3.HeaderValue) authz.Header {
	var size int
	for _, l := range lines {
		size += len(l.GetRawValue())
	}
	var raw strings.Builder
	raw.Grow(size)
	for _, l := range lines {
		raw.Write(l.GetRawValue())
	}
	values := raw.String()
	h := make(authz.Header, 0, len(lines))
	for _, l := range lines {
		n := len(l.GetRawValue())
		value := values[:n]
		values = values[n:]
		if n == 0 {
			value = l.GetValue()
		}
		h = append(h, authz.Field{Name: lower(l.GetKey()), Value: sanitise(value)})
	}
	return h
}

// sanitise does to a raw value what Envoy does when it fills the map: a byte
// that is not UTF-8 becomes "!". So both forms lead to the same decision, and
// what is copied into an answer can be encoded.
func sanitise(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	b := []byte(s)
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			b[i] = '!'
		}
		i += n
	}
	return string(b)
}

// lower folds the ASCII letters of a header name; Envoy has done so already.
func lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, name)
		}
	}
	return name
}
