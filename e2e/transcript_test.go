package e2e_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// transcript keeps what a part says. The zero transcript is empty.
type transcript struct {
	mu   sync.Mutex
	said bytes.Buffer // guarded by mu
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// showOnFailure puts the end of the transcript into the log of a failed test.
func (s *transcript) showOnFailure(tb testing.TB, who string) {
	tb.Helper()
	tb.Cleanup(func() {
		if !tb.Failed() {
			return
		}
		lines := strings.Split(strings.TrimSpace(s.String()), "\n")
		tb.Logf("%s said:\n%s", who, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	})
}
