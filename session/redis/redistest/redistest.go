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

	t      testing.TB
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
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("redis-server is needed: %v", err)
		}
		t.Skipf("SKIPPED, NOTHING IS TESTED ON REDIS: %v", err)
	}
	s := &Server{t: t, dir: t.TempDir(), flags: flags}
	t.Cleanup(s.kill)
	// Another process may take the port between looking for it and using it.
	for range 5 {
		s.Addr = freeAddr(t)
		if s.run() {
			s.URL = "redis://" + s.Addr + "/0"
			return s
		}
		s.kill()
	}
	t.Fatalf("redis-server does not start:\n%s", s.log)
	return nil
}

// Stop ends the server as an operator would: it writes what it must and exits.
func (s *Server) Stop() {
	s.t.Helper()
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
	s.t.Helper()
	s.Stop()
	if !s.run() {
		s.kill()
		s.t.Fatalf("redis-server does not start again:\n%s", s.log)
	}
}

// Freeze makes the server silent: it keeps its connections, and the kernel accepts
// new ones, but nothing is answered until Thaw.
func (s *Server) Freeze() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	s.frozen = true
}

// Thaw undoes Freeze.
func (s *Server) Thaw() {
	s.t.Helper()
	if s.frozen {
		s.signal(syscall.SIGCONT)
		s.frozen = false
	}
}

// Do runs one command and returns its answer.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true, PoolSize: 1})
	defer client.Close()
	answer, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args[0], err)
	}
	return answer
}

// Dump saves what the server holds and returns the file.
func (s *Server) Dump() []byte {
	s.t.Helper()
	s.Do("SAVE")
	return s.read(filepath.Join(s.dir, "dump.rdb"))
}

// AOF returns the append-only files, one after the other. The server must run
// with "--appendonly", "yes".
func (s *Server) AOF() []byte {
	s.t.Helper()
	var all []byte
	for _, pattern := range []string{"appendonly.aof", "appendonlydir/*"} { // before Redis 7, and since
		names, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, name := range names {
			all = append(all, s.read(name)...)
		}
	}
	if len(all) == 0 {
		s.t.Fatal("there is no append-only file")
	}
	return all
}

// Monitor captures every command that the server gets from now on. The returned
// function ends that and returns what MONITOR printed.
func (s *Server) Monitor() func() []byte {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	const ok = "+OK\r\n"
	greeting := make([]byte, len(ok))
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != ok {
		s.t.Fatalf("MONITOR: %q, %v", greeting, err)
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
	s.t.Cleanup(func() { conn.Close() })
	return sync.OnceValue(func() []byte {
		s.Do("ECHO", end)
		return <-captured
	})
}

// run starts the process and reports whether it answers.
func (s *Server) run() bool {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.log = &bytes.Buffer{}
	s.cmd = exec.Command("redis-server", append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--dbfilename", "dump.rdb",
		"--save", "", "--rdbcompression", "no", "--daemonize", "no",
	}, s.flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.t.Fatalf("redis-server: %v", err)
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
	conn, err := net.Dial("tcp", s.Addr)
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
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("redis-server is not running")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) read(name string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
