package authz

import (
	"strings"
)

// Request is what somebody asks for, as a transport read it. Nothing in it is
// trusted. The zero Request is malformed.
type Request struct {
	Method string
	Scheme string // what the proxy believes; no answer is built from it
	Host   string // as sent, with or without a port
	Path   string // raw, as sent, up to the first "?"
	Query  string // raw, without the "?"
	Header Header
}

// Field is one header line.
type Field struct{ Name, Value string }

// Header holds the lines of a request in their order, under lower-case names.
// Duplicates stay apart where the transport kept them apart.
type Header []Field

// Get returns the first value of a header, given its lower-case name, or "".
func (h Header) Get(name string) string {
	for i := range h {
		if h[i].Name == name {
			return h[i].Value
		}
	}
	return ""
}

// Has reports whether there is a line with that lower-case name.
func (h Header) Has(name string) bool {
	for i := range h {
		if h[i].Name == name {
			return true
		}
	}
	return false
}

// Values returns every value of a header, given its lower-case name.
func (h Header) Values(name string) []string {
	var values []string
	for i := range h {
		if h[i].Name == name {
			values = append(values, h[i].Value)
		}
	}
	return values
}

// Bounds on what a request may bring. Envoy's own default for all headers is
// 60 KiB, so behind a default Envoy none of them is ever met by accident.
const (
	maxHeaderBytes = 64 << 10
	maxHeaderLines = 1000
	maxCookieBytes = 16 << 10
	maxTargetBytes = 16 << 10
	maxReturnBytes = 512

	maxOddPathBytes = 4 << 10 // of a path that must be read in several ways
)

// TooLarge reports whether r exceeds a bound.
func (r Request) TooLarge() bool {
	if len(r.Path)+len(r.Query) > maxTargetBytes || len(r.Header) > maxHeaderLines {
		return true
	}
	var all, cookies int
	for _, f := range r.Header {
		all += len(f.Name) + len(f.Value)
		if f.Name == "cookie" {
			cookies += len(f.Value)
		}
	}
	return all > maxHeaderBytes || cookies > maxCookieBytes
}

// Target returns path and query as they were sent.
func (r Request) Target() string {
	if r.Query == "" {
		return r.Path
	}
	return r.Path + "?" + r.Query
}

// Navigates reports whether r is a top-level navigation of a browser, which
// alone can follow a redirect to a sign-in page and come back: a GET that says
// so in its fetch metadata (W3C Fetch Metadata §2), or, from a browser without
// fetch metadata, a GET that accepts HTML. A prefetch is none: nobody may be
// looking.
func (r Request) Navigates() bool {
	if r.Method != "GET" || r.Prefetches() || r.GRPC() || r.Upgrades() {
		return false
	}
	mode, dest := r.Header.Get("sec-fetch-mode"), r.Header.Get("sec-fetch-dest")
	if mode == "" && dest == "" && !r.Header.Has("sec-fetch-site") {
		return r.acceptsHTML()
	}
	return mode == "navigate" && (dest == "document" || dest == "")
}

// Prefetches reports whether a browser asks ahead of its user.
func (r Request) Prefetches() bool {
	for _, name := range [...]string{"sec-purpose", "purpose", "x-purpose", "x-moz"} {
		if containsFold(r.Header.Get(name), "prefetch") || containsFold(r.Header.Get(name), "preview") {
			return true
		}
	}
	return false
}

// GRPC reports whether the caller speaks gRPC or gRPC-Web, so that a body in
// the answer would end up in a grpc-message.
func (r Request) GRPC() bool {
	return strings.HasPrefix(r.Header.Get("content-type"), "application/grpc")
}

// Upgrades reports whether r asks to become a WebSocket (RFC 6455 §4.1, and
// RFC 8441 §4 where HTTP/2 carries it).
func (r Request) Upgrades() bool {
	return strings.EqualFold(r.Header.Get("upgrade"), "websocket") ||
		strings.EqualFold(r.Header.Get(":protocol"), "websocket")
}

// Bearer reports whether r presents a bearer credential (RFC 6750 §2.1).
func (r Request) Bearer() bool {
	const scheme = "bearer "
	v := r.Header.Get("authorization")
	return len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme)
}

// ReadsPages reports whether a person is likely to look at the answer.
func (r Request) ReadsPages() bool {
	if r.GRPC() {
		return false
	}
	switch r.Header.Get("sec-fetch-dest") {
	case "document", "iframe", "frame":
		return true
	case "":
		return r.acceptsHTML()
	}
	return false
}

func (r Request) acceptsHTML() bool {
	return containsFold(r.Header.Get("accept"), "text/html")
}

func containsFold(s, lower string) bool {
	return s != "" && strings.Contains(strings.ToLower(s), lower)
}
