package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/server"
)

// countersign is one replica, in this process or in a child.
type countersign struct {
	grpc, http, health string // host:port
	admin              string // the same, if setup.Admin

	log  *transcript
	stop func() error // drains, and returns how it ended; only the first call counts

	process *exec.Cmd // of a child, which gets signals; nil in this process
}

// configuration writes the file as an operator would.
func (s *stack) configuration() string {
	var b strings.Builder
	b.WriteString(`listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0", health: "127.0.0.1:0"`)
	if s.setup.Admin {
		fmt.Fprintf(&b, `, admin: {address: "127.0.0.1:0", token_file: %s}`, s.files.adminToken)
	}
	fmt.Fprintf(&b, `}
providers:
  - name: idp
    issuer: %s
    client_id: %s
    client_secret_file: %s
    scopes: [openid, email, profile, groups]
mint: {keys_file: %s}
session:
  keys_file: %s
`, s.provider.issuer, clientID, s.files.clientSecret, s.files.mintKeys, s.files.sessionKeys)
	if url := s.redisURL(); url != "" {
		fmt.Fprintf(&b, "  redis:\n    url: %q\n    %s\n", url, s.setup.RedisKey)
	}
	for line := range strings.Lines(s.setup.Session) {
		b.WriteString("  " + line)
	}
	fmt.Fprintf(&b, "\nlog: {level: debug}\napps:\n%s", strings.TrimPrefix(s.setup.Apps, "\n"))
	return b.String()
}

// startCountersign starts one replica more. Envoy learns of those that are there
// before it starts.
func (s *stack) startCountersign(t *testing.T) *countersign {
	t.Helper()
	if s.setup.Process {
		return startProcess(t, s.configuration())
	}
	return startWith(t, s.configuration(), nil)
}

// startWith starts Countersign in this process until the test ends, with further
// options where edit makes some.
func startWith(t *testing.T, file string, edit func(*server.Options)) *countersign {
	t.Helper()
	cfg, err := config.Parse("countersign.yaml", []byte(file), config.Environment{})
	if err != nil {
		t.Fatalf("configuration: %v\n%s", err, file)
	}
	c := &countersign{log: new(transcript)}
	c.log.showOnFailure(t, "Countersign")
	o := server.Options{
		Config: cfg, Version: "e2e",
		Log: slog.New(slog.NewJSONHandler(c.log, &slog.HandlerOptions{Level: cfg.Log.Level})),
	}
	if edit != nil {
		edit(&o)
	}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	at := s.Addresses()
	c.grpc, c.http, c.health = at.GRPC.String(), at.HTTP.String(), at.Health.String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	c.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Errorf("Countersign ended with %v", err)
		}
	})
	return c
}

// startProcess runs `countersign serve` as a child. It is ended by its pid.
func startProcess(t *testing.T, file string) *countersign {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatalf("build the program: %v", err)
	}
	path := filepath.Join(t.TempDir(), "countersign.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &countersign{log: new(transcript)}
	c.log.showOnFailure(t, "countersign serve")
	c.process = exec.Command(program, "serve", "--config", path, "--drain-delay", "100ms")
	reader, writer := io.Pipe()
	c.process.Stdout, c.process.Stderr = c.log, io.MultiWriter(c.log, writer)
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := c.process.Wait()
		ended <- errors.Join(err, writer.Close())
	}()
	c.stop = sync.OnceValue(func() error {
		if err := c.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return <-ended
	})
	t.Cleanup(func() {
		if err := c.stop(); err != nil && !strings.Contains(err.Error(), "killed") {
			t.Errorf("countersign serve ended with %v", err)
		}
	})
	c.readAddresses(t, reader)
	return c
}

// readAddresses waits for the line in which the program says where it listens,
// then goes on draining what it says.
func (c *countersign) readAddresses(t *testing.T, said io.Reader) {
	t.Helper()
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		var line struct{ Msg, GRPC, HTTP, Health, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			c.grpc, c.http, c.health, c.admin = line.GRPC, line.HTTP, line.Health, line.Admin
			go io.Copy(io.Discard, said) //nolint:errcheck // ends with the process
			return
		}
	}
	t.Fatal("countersign serve ended before it served")
}

// signal sends a signal to the child.
func (c *countersign) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := c.process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// startTimeout is how long a part may take to become ready.
const startTimeout = 20 * time.Second

// awaitReady returns once the replica knows its provider and its store.
func (c *countersign) awaitReady(t *testing.T) {
	t.Helper()
	var last string
	eventually(t, startTimeout, func() bool {
		_, last = plainGet(t, "http://"+c.health+"/readyz")
		return strings.Contains(last, `"ready"`)
	}, func() string { return "Countersign is not ready: " + last })
}

// eventually waits for something to become true.
func eventually(tb testing.TB, limit time.Duration, is func() bool, otherwise func() string) {
	tb.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatal(otherwise())
		}
	}
}

// plainClient asks for what is not behind Envoy, and keeps no connection.
var plainClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// plainGet returns status and body, or 0 and the error where nobody answers.
func plainGet(tb testing.TB, address string) (status int, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, address, nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}
