// Package redistest runs a real redis-server for a test.
package redistest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server on a free port of the loopback interface. It keeps its
// files uncompressed in a directory of the test, and ends with it.
type Server struct {
	Addr string // host:port
	URL  string // redis://host:port/0

	tb     testing.TB
	dir    string
	flags  []string
	cmd    *exec.Cmd     // nil while stopped
	frozen bool          // between Freeze and Thaw
	log    *bytes.Buffer // of the running process; complete once it has ended
}

// startTimeout is how long a redis-server may take to answer.
const startTimeout = 10 * time.Second

// Start starts a server with further flags, such as "--appendonly", "yes".
// Without redis-server in the PATH it skips the test, or fails it if the
// environment has CI=true.
func Start(tb testing.TB, flags ...string) *Server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("redis-server is needed: %v", err)
		}
		tb.Skipf("SKIPPED, NOTHING IS TESTED ON REDIS: %v", err)
	}
	s := &Server{tb: tb, dir: tb.TempDir(), flags: flags}
	tb.Cleanup(s.kill)
	// Another process may take the port between looking for it and using it.
	for range 5 {
		s.Addr = freeAddr(tb)
		if s.run() {
			s.URL = "redis://" + s.Addr + "/0"
			return s
		}
		s.kill()
	}
	tb.Fatalf("redis-server does not start:\n%s", s.log)
	return nil
}

// Stop ends the server as an operator would: it writes what it must and exits.
func (s *Server) Stop() {
	s.tb.Helper()
	if s.cmd == nil {
		return
	}
	s.Thaw()
	s.signal(syscall.SIGTERM)
	s.cmd.Wait() //nolint:errcheck // it says how it was ended
	s.cmd = nil
}

// Restart stops the server, and starts it again at the same address.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	if !s.run() {
		s.kill()
		s.tb.Fatalf("redis-server does not start again:\n%s", s.log)
	}
}

// Freeze makes the server silent: it keeps its connections, and the kernel accepts
// new ones, but nothing is answered until Thaw.
func (s *Server) Freeze() {
	s.tb.Helper()
	FreezeProcess(s.tb, s.cmd.Process.Pid)
	s.frozen = true
}

// Thaw undoes Freeze.
func (s *Server) Thaw() {
	s.tb.Helper()
	if s.frozen {
		s.signal(syscall.SIGCONT)
		s.frozen = false
	}
}

// Do runs one command and returns its answer.
func (s *Server) Do(args ...any) any {
	s.tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true, PoolSize: 1})
	defer client.Close() //nolint:errcheck // the answer has been read
	answer, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		s.tb.Fatalf("%v: %v", args[0], err)
	}
	return answer
}

// Dump saves what the server holds and returns the file.
func (s *Server) Dump() []byte {
	s.tb.Helper()
	s.Do("SAVE")
	return s.read(filepath.Join(s.dir, "dump.rdb"))
}

// AOF returns the append-only files, one after the other. The server must run
// with "--appendonly", "yes".
func (s *Server) AOF() []byte {
	s.tb.Helper()
	var all []byte
	for _, pattern := range []string{"appendonly.aof", "appendonlydir/*"} { // before Redis 7, and since
		names, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			s.tb.Fatal(err)
		}
		for _, name := range names {
			all = append(all, s.read(name)...)
		}
	}
	if len(all) == 0 {
		s.tb.Fatal("there is no append-only file")
	}
	return all
}

// Monitor captures every command that the server gets from now on. The returned
// function ends that and returns what MONITOR printed.
func (s *Server) Monitor() func() []byte {
	s.tb.Helper()
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		s.tb.Fatal(err)
	}
	const ok = "+OK\r\n"
	greeting := make([]byte, len(ok))
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		s.tb.Fatal(err)
	}
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != ok {
		s.tb.Fatalf("MONITOR: %q, %v", greeting, err)
	}
	const end = "end of the capture"
	captured := make(chan []byte, 1)
	go func() {
		var all bytes.Buffer
		for lines := bufio.NewReader(conn); !bytes.Contains(all.Bytes(), []byte(end)); {
			line, err := lines.ReadBytes('\n')
			if all.Write(line); err != nil {
				break
			}
		}
		captured <- all.Bytes()
	}()
	s.tb.Cleanup(func() { conn.Close() })
	return sync.OnceValue(func() []byte {
		s.Do("ECHO", end)
		return <-captured
	})
}

// run starts the process and reports whether it answers.
func (s *Server) run() bool {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.log = &bytes.Buffer{}
	flags := append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--dbfilename", "dump.rdb",
		"--save", "", "--rdbcompression", "no", "--daemonize", "no",
	}, s.flags...)
	s.cmd = exec.Command("redis-server", flags...) //nolint:gosec,noctx // the flags are the test's own, and so is its end
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.tb.Fatalf("redis-server: %v", err)
	}
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s.answers() {
			return true
		}
	}
	return false
}

// answers reports whether it is this process, and no other at the same address,
// that answers.
func (s *Server) answers() bool {
	conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // then the read fails
	if _, err := io.WriteString(conn, "INFO server\r\nQUIT\r\n"); err != nil {
		return false
	}
	info, err := io.ReadAll(conn)
	return err == nil && bytes.Contains(info, fmt.Appendf(nil, "process_id:%d\r", s.cmd.Process.Pid))
}

// kill ends the process, whatever state it is in.
func (s *Server) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill() //nolint:errcheck // fails when it has ended already
		s.cmd.Wait()         //nolint:errcheck // it says that it was killed
		s.cmd = nil
	}
}

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if s.cmd == nil {
		s.tb.Fatal("redis-server is not running")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) read(name string) []byte {
	s.tb.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		s.tb.Fatal(err)
	}
	return data
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
