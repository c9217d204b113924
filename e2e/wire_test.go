package e2e_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// wire is a connection to Envoy on which a test writes HTTP/1.1 byte for byte,
// since every library would tidy what it is given.
type wire struct {
	t     testing.TB
	stack *stack
	conn  net.Conn
	in    *bufio.Reader
}

// wire connects to Envoy.
func (s *stack) wire(tb testing.TB) *wire {
	tb.Helper()
	w := &wire{t: tb, stack: s}
	w.dial()
	tb.Cleanup(func() { w.conn.Close() })
	return w
}

func (w *wire) dial() {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.stack.front, w.stack.tls("http/1.1"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.conn, w.in = conn, bufio.NewReader(conn)
}

// get sends a GET of target, exactly so, with a Host line and lines that are not
// empty.
func (w *wire) get(target string, lines ...string) *answer {
	w.t.Helper()
	return w.do(http.MethodGet, target, lines...)
}

// do sends a request without a body.
func (w *wire) do(method, target string, lines ...string) *answer {
	w.t.Helper()
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n")
	for _, line := range lines {
		if line != "" {
			b.WriteString(line + "\r\n")
		}
	}
	return w.send(b.String()+"\r\n", method, target)
}

// send writes bytes and reads one response. Where Envoy closes the connection
// afterwards, the next request gets a new one.
func (w *wire) send(request, method, target string) *answer {
	w.t.Helper()
	if err := w.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(w.conn, request); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, target, err)
	}
	a := w.stack.read(w.t, resp, &url.URL{Scheme: "https", Host: host, Opaque: target})
	if resp.Close {
		w.conn.Close()
		w.dial()
	}
	return a
}
