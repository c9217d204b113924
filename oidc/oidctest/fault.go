package oidctest

import (
	"bytes"
	"maps"
	"net/http"
	"time"
)

// Fault is how an endpoint fails. The zero Fault does not.
//
// With a Status, Header or Body the endpoint answers with these and does nothing
// else: no code is spent. Without them it does its work first.
type Fault struct {
	Delay   time.Duration // before everything else; over when the request is given up
	Status  int           // zero is 200
	Header  http.Header   // such as Retry-After, Location or Content-Type
	Body    string
	Padding int64 // so many blanks before the body: JSON stays JSON for whoever reads all of it
	Drop    bool  // does the work, then closes the connection without an answer
}

// serve fails as f says, or lets next answer. It panics with
// [http.ErrAbortHandler], which is the way of net/http to close a connection
// without an answer.
func (f Fault) serve(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if f.Drop {
		next(discard{}, r)
		panic(http.ErrAbortHandler)
	}
	if f.Padding > 0 {
		w = &padded{ResponseWriter: w, blanks: f.Padding}
	}
	if f.Status == 0 && f.Header == nil && f.Body == "" {
		next(w, r)
		return
	}
	maps.Copy(w.Header(), f.Header)
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	// An error here is the client going away: there is nobody left to tell.
	_, _ = w.Write([]byte(f.Body))
}

// discard is the writer of an answer that nobody gets.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// padded writes blanks before the first byte.
type padded struct {
	http.ResponseWriter
	blanks int64
}

func (p *padded) Write(b []byte) (int, error) {
	chunk := bytes.Repeat([]byte(" "), int(min(p.blanks, 64<<10)))
	for p.blanks > 0 {
		n, err := p.ResponseWriter.Write(chunk[:min(p.blanks, int64(len(chunk)))])
		p.blanks -= int64(n)
		if err != nil {
			return 0, err
		}
	}
	return p.ResponseWriter.Write(b)
}
