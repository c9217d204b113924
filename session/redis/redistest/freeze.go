package redistest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// FreezeProcess stops a process where it stands, and returns when it does: the
// signal alone may arrive after another request was answered. Only Linux tells.
func FreezeProcess(tb testing.TB, pid int) {
	tb.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		tb.Fatalf("process %d cannot be frozen: %v", pid, err)
	}
	for deadline := time.Now().Add(5 * time.Second); !stands(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("process %d does not stand still", pid)
		}
	}
}

// stands reports whether every thread of a process is stopped (proc(5)).
func stands(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it ended meanwhile
		}
		// The state follows the name, which stands in parentheses.
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'T' {
			return false
		}
	}
	return true
}
