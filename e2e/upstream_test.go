package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// recorder is an upstream that keeps every request as it came over the wire,
// since an HTTP library would tidy it first. It answers with a page, and says
// in seenHeader under which number it keeps the request.
type recorder struct {
	name, address string

	mu   sync.Mutex
	seen []*seen // guarded by mu
}

const seenHeader = "X-Seen"

// seen is a request that reached an upstream.
type seen struct {
	upstream       string
	method, target string
	lines          []field
}

// field is a header line. Envoy has put its name in lower case.
type field struct{ name, value string }

func (f field) String() string { return f.name + ": " + f.value }

// startRecorder starts an upstream on a free port.
func startRecorder(t *testing.T, name string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{name: name, address: l.Addr().String()}
	var running sync.WaitGroup
	connections := make(map[net.Conn]bool)
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			connections[conn] = true
			r.mu.Unlock()
			running.Go(func() { defer conn.Close(); r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for conn := range connections {
			conn.Close()
		}
		r.mu.Unlock()
		running.Wait()
	})
	return r
}

// serve answers the requests of one connection.
func (r *recorder) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		s, err := readRequest(reader)
		if err != nil {
			return
		}
		s.upstream = r.name
		r.mu.Lock()
		r.seen = append(r.seen, s)
		number := len(r.seen) - 1
		r.mu.Unlock()
		body := fmt.Sprintf("<!doctype html><html lang=en><title>%s</title><h1>This is the %s</h1><p>%s</p>", r.name, r.name, s.method)
		if s.method == "HEAD" {
			body = ""
		}
		_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n%s: %s/%d\r\nContent-Length: %d\r\n\r\n%s",
			seenHeader, r.name, number, len(body), body)
		if err != nil {
			return
		}
	}
}

// readRequest reads a request line, header lines as they are, and drops the body.
func readRequest(r *bufio.Reader) (*seen, error) {
	text := textproto.NewReader(r)
	first, err := text.ReadLine()
	if err != nil {
		return nil, err
	}
	s := new(seen)
	s.method, s.target, _ = strings.Cut(first, " ")
	s.target, _, _ = strings.Cut(s.target, " ")
	for {
		line, err := text.ReadLine()
		if err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		s.lines = append(s.lines, field{name, strings.TrimSpace(value)})
	}
	body := io.LimitReader(r, 0)
	if n, err := strconv.ParseInt(s.first("content-length"), 10, 64); err == nil {
		body = io.LimitReader(r, n)
	} else if s.first("transfer-encoding") == "chunked" {
		body = httputil.NewChunkedReader(r)
	}
	_, err = io.Copy(io.Discard, body)
	return s, err
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// find returns what the answer with that seenHeader was for, or nil for an
// answer that no recorder gave.
func (s *stack) find(number string) *seen {
	name, n, ok := strings.Cut(number, "/")
	i, err := strconv.Atoi(n)
	r := s.recorders[name]
	if !ok || err != nil || r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[i]
}

// values returns the values of a header, line by line.
func (s *seen) values(name string) []string {
	var values []string
	for _, f := range s.lines {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return values
}

// first returns the first value of a header, or "".
func (s *seen) first(name string) string {
	for _, v := range s.values(name) {
		return v
	}
	return ""
}

// spelled returns the lines whose name some server would read as name: "_" and
// "." for "-", and any case.
func (s *seen) spelled(name string) []field {
	var lines []field
	for _, f := range s.lines {
		if canonical(f.name) == name {
			lines = append(lines, f)
		}
	}
	return lines
}

func canonical(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
}

// holds returns the lines whose value holds text.
func (s *seen) holds(text string) []field {
	var lines []field
	for _, f := range s.lines {
		if strings.Contains(f.value, text) {
			lines = append(lines, f)
		}
	}
	return lines
}
