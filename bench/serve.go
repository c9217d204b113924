package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// The servers, by the names that the table has.
const (
	noop = "no-op"
	hot  = "hot"  // Countersign, which remembers the sessions
	miss = "miss" // the same, which has to read each of them
)

// redisVariable tells a server where its Redis is.
const redisVariable = "BENCH_REDIS"

// running is a server that answers.
type running struct {
	where where
	stop  func() error
}

// where tells the load where to go, and as whom.
type where struct {
	GRPC    string `json:"grpc"`              // host:port
	Metrics string `json:"metrics,omitempty"` // URL; empty for a server without metrics
}

// usage is what a process has used since it began.
type usage struct {
	CPU     time.Duration `json:"cpu"` // user and system
	Mallocs uint64        `json:"mallocs"`
}

// serve runs a server in this process until in ends. It writes where it is, and
// then its usage for every line that it reads; a line "profile FILE" also begins
// a CPU profile, which ends with the process.
func serve(name string, in io.Reader, out io.Writer) (err error) {
	start, ok := map[string]func() (*running, error){noop: startNoop, hot: startCountersign, miss: startCountersign}[name]
	if !ok {
		return fmt.Errorf("no server has the name %q", name)
	}
	r, err := start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(r.where); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if path, ok := strings.CutPrefix(lines.Text(), "profile "); ok {
			if err := beginProfile(path); err != nil {
				return err
			}
		}
		u, err := used()
		if err != nil {
			return err
		}
		if err := answers.Encode(u); err != nil {
			return err
		}
	}
	return lines.Err()
}

// listen opens a free port of the loopback.
func listen() (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(context.Background(), "tcp", "127.0.0.1:0")
}

func beginProfile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f) // the file is closed by the end of the process
}

// used asks the kernel, which counts exactly where /proc has ticks of 10 ms.
func used() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, fmt.Errorf("getrusage: %w", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Mallocs: m.Mallocs}, nil
}
