package envoy

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/countersign/countersign/authz"
)

var (
	errEdit     = errors.New("envoy: an edit of the request's headers cannot be written")
	errLocation = errors.New("envoy: the Location cannot be written")
	errStatus   = errors.New("envoy: the status is none of an answer")
)

// response translates d, which answers req. An error means that d cannot be
// written faithfully; nothing of it may go out then.
func response(req authz.Request, d authz.Decision) (*authv3.CheckResponse, error) {
	if d.Outcome == authz.Allow {
		return allowed(d)
	}
	return denied(req, d)
}

// allowed lets the request go on with d's edits. All must be written: a lost one
// could be the assertion, or the client's own copy of it.
func allowed(d authz.Decision) (*authv3.CheckResponse, error) {
	a := new(struct { // one allocation instead of four
		response authv3.CheckResponse
		status   rpcstatus.Status
		http     authv3.CheckResponse_OkResponse
		ok       authv3.OkHttpResponse
	})
	headers := newHeaderList(len(d.Upstream.Set))
	for _, f := range d.Upstream.Set {
		if !headers.overwrite(f.Name, f.Value, explicitly) {
			return nil, errEdit
		}
	}
	remove := make([]string, 0, len(d.Upstream.Remove))
	for _, name := range d.Upstream.Remove {
		if name = lower(name); !isToken(name) {
			return nil, errEdit
		}
		remove = append(remove, name)
	}
	a.ok.Headers, a.ok.HeadersToRemove = headers.refs, remove
	a.http.OkResponse = &a.ok
	a.response.Status = &a.status // code 0
	a.response.HttpResponse = &a.http
	a.response.DynamicMetadata = metadata(d)
	return &a.response, nil
}

// denied answers in place of the upstream.
func denied(req authz.Request, d authz.Decision) (*authv3.CheckResponse, error) {
	status := d.Status
	if status == 0 {
		status = http.StatusForbidden
	}
	if status < 200 || status > 599 {
		return nil, errStatus
	}
	headers, err := clientHeaders(d.Client)
	if err != nil {
		return nil, err
	}
	out := &authv3.DeniedHttpResponse{
		Status:  &typev3.HttpStatus{Code: typev3.StatusCode(status)},
		Headers: headers,
	}
	if !req.GRPC() { // Envoy would copy it into grpc-message
		out.Body = strings.ToValidUTF8(string(d.Body), "\uFFFD")
	}
	return &authv3.CheckResponse{
		Status:          &rpcstatus.Status{Code: int32(rpcCode(status))},
		HttpResponse:    &authv3.CheckResponse_DeniedResponse{DeniedResponse: out},
		DynamicMetadata: metadata(d),
	}, nil
}

// rpcCode is never OK: to Envoy, OK allows.
func rpcCode(status int) codes.Code {
	switch {
	case status == http.StatusUnauthorized:
		return codes.Unauthenticated
	case status >= 500:
		return codes.Unavailable
	}
	return codes.PermissionDenied
}

// clientHeaders writes the headers of an answer, in the order of their names. A
// value that would break out of its line is left out, unless the answer is
// nothing without it.
func clientHeaders(h http.Header) ([]*corev3.HeaderValueOption, error) {
	names := make([]string, 0, len(h))
	var lines int
	for name, values := range h {
		names = append(names, name)
		lines += len(values)
	}
	slices.Sort(names)
	list := newHeaderList(lines)
	for _, name := range names {
		values := h[name]
		switch key := lower(name); {
		case len(values) == 0:
		case key == "set-cookie":
			for _, v := range values {
				list.add(key, v) // the lines cannot be joined (RFC 6265 §3)
			}
		case !list.overwrite(key, strings.Join(values, ", "), nil) && key == "location":
			return nil, errLocation
		}
	}
	return list.refs, nil
}

// headerList builds header options in two allocations.
type headerList struct {
	lines []headerLine
	refs  []*corev3.HeaderValueOption
}

type headerLine struct {
	option corev3.HeaderValueOption
	value  corev3.HeaderValue
}

func newHeaderList(n int) headerList {
	if n == 0 {
		return headerList{}
	}
	return headerList{make([]headerLine, 0, n), make([]*corev3.HeaderValueOption, 0, n)}
}

// explicitly is the deprecated field "append", set to false. Released Envoys read
// that field alone and take it as false when unset; with Envoy #42878 they
// would read append_action instead. On an edit of the request it is spelled out;
// on an answer it stays unset, or the last Set-Cookie would be the only one.
var explicitly = wrapperspb.Bool(false)

// overwrite replaces every line of a name. It reports whether it could.
func (l *headerList) overwrite(name, value string, appends *wrapperspb.BoolValue) bool {
	return l.put(name, value, appends, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
}

// add adds one more line. It reports whether it could.
func (l *headerList) add(name, value string) bool {
	return l.put(name, value, nil, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
}

func (l *headerList) put(name, value string, appends *wrapperspb.BoolValue, action corev3.HeaderValueOption_HeaderAppendAction) bool {
	name = lower(name)
	if !isToken(name) || !isLine(value) {
		return false
	}
	l.lines = append(l.lines, headerLine{})
	line := &l.lines[len(l.lines)-1]
	line.value.Key, line.value.Value = name, value
	line.option.Header = &line.value
	line.option.Append = appends //nolint:staticcheck // deprecated, and the only field that released Envoys read
	line.option.AppendAction = action
	l.refs = append(l.refs, &line.option)
	return true
}

// isLine reports whether a value stays on its line, and can be encoded in a
// protobuf string: one that cannot would fail the whole response.
func isLine(value string) bool {
	for _, c := range [...]byte{'\r', '\n', 0} {
		if strings.IndexByte(value, c) >= 0 { // faster than a loop, and a token is long
			return false
		}
	}
	return utf8.ValidString(value)
}

// isToken reports whether a name is a header's (RFC 9110 §5.1). A pseudo-header
// is none.
func isToken(name string) bool {
	for i := range len(name) {
		if !tokenBytes[name[i]] {
			return false
		}
	}
	return name != ""
}

// tokenBytes are those of a token.
var tokenBytes = func() (table [256]bool) {
	for c := '!'; c < 0x7f; c++ {
		table[c] = !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c)
	}
	return table
}()
