// Package redistest runs real Redis servers for a test: one, one with its replica
// and sentinels, or a cluster.
package redistest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server on a free port of the loopback interface. It keeps its
// files uncompressed in a directory of the test, and ends with it.
type Server struct {
	Addr string      // host:port
	URL  string      // redis://host:port/0, or what the function that started it says
	TLS  *tls.Config // what a client needs; nil for none

	tb       testing.TB
	binary   string
	dir      string
	password string // of the operator, if need be
	args     func(port string) []string
	cmd      *exec.Cmd     // nil while stopped
	frozen   bool          // between Freeze and Thaw
	log      *bytes.Buffer // of the running process; complete once it has ended
}

// startTimeout is how long what is started may take to answer.
const startTimeout = 20 * time.Second

// Start starts a server with further flags, such as "--appendonly", "yes".
// Without redis-server in the PATH it skips the test, or fails it if the
// environment has CI=true.
func Start(tb testing.TB, flags ...string) *Server {
	tb.Helper()
	s := &Server{tb: tb, binary: redisServer(tb), dir: tb.TempDir()}
	s.args = s.plain(flags)
	s.start()
	s.URL = "redis://" + s.Addr + "/0"
	return s
}

// StartUnix starts a server whose URL is that of a Unix socket.
func StartUnix(tb testing.TB, flags ...string) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // it is below the folder for such files
	socket := filepath.Join(dir, "s")
	s := Start(tb, append(flags, "--unixsocket", socket)...)
	s.URL = "unix://" + socket
	return s
}

// StartValkey starts a valkey-server, or skips the test without one.
func StartValkey(tb testing.TB, flags ...string) *Server {
	tb.Helper()
	binary, err := exec.LookPath("valkey-server")
	if err != nil {
		tb.Skipf("SKIPPED, NOTHING IS TESTED ON VALKEY: %v", err)
	}
	s := &Server{tb: tb, binary: binary, dir: tb.TempDir()}
	s.args = s.plain(flags)
	s.start()
	s.URL = "redis://" + s.Addr + "/0"
	return s
}

// Version returns which server it is: its name and version.
func (s *Server) Version() string {
	s.tb.Helper()
	info, _ := s.Do("INFO", "server").(string)
	for _, name := range []string{"valkey_version:", "redis_version:"} {
		if _, rest, found := strings.Cut(info, name); found {
			version, _, _ := strings.Cut(rest, "\r")
			return strings.TrimSuffix(name, "_version:") + " " + version
		}
	}
	return "unknown"
}

// SetUser makes a user with a password, and with a rule as ACL SETUSER takes it.
func (s *Server) SetUser(name, password, rule string) {
	s.tb.Helper()
	args := []any{"ACL", "SETUSER", name, "reset", "on", ">" + password}
	for word := range strings.FieldsSeq(rule) {
		args = append(args, word)
	}
	s.Do(args...)
}

func redisServer(tb testing.TB) string {
	tb.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("redis-server is needed: %v", err)
		}
		tb.Skipf("SKIPPED, NOTHING IS TESTED ON REDIS: %v", err)
	}
	return binary
}

// plain are the arguments of a server that listens without TLS.
func (s *Server) plain(flags []string) func(string) []string {
	return func(port string) []string { return append([]string{"--port", port}, s.common(flags)...) }
}

func (s *Server) common(flags []string) []string {
	return append([]string{
		"--bind", "127.0.0.1", "--dir", s.dir, "--dbfilename", "dump.rdb",
		"--save", "", "--rdbcompression", "no", "--daemonize", "no",
	}, flags...)
}

// start starts the server for the first time, at a free port.
func (s *Server) start() {
	s.tb.Helper()
	s.tb.Cleanup(s.kill)
	// Another process may take the port between looking for it and using it.
	for range 5 {
		s.Addr = freeAddr(s.tb)
		if s.run() {
			return
		}
		s.kill()
	}
	s.tb.Fatalf("%s does not start:\n%s", s.binary, s.log)
}

// Kill ends the server as a power failure would.
func (s *Server) Kill() {
	s.tb.Helper()
	s.kill()
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
	s.StartAgain()
}

// StartAgain starts a server that was stopped or killed, at the same address.
func (s *Server) StartAgain() {
	s.tb.Helper()
	if !s.run() {
		s.kill()
		s.tb.Fatalf("%s does not start again:\n%s", s.binary, s.log)
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
	answer, err := s.ask(args...)
	if err != nil {
		s.tb.Fatalf("%v: %v", args[0], err)
	}
	return answer
}

// ask runs one command of an operator.
func (s *Server) ask(args ...any) (any, error) {
	client := redis.NewClient(&redis.Options{
		Addr: s.Addr, TLSConfig: s.TLS, Password: s.password, Protocol: 2, DisableIdentity: true, PoolSize: 1,
	})
	defer client.Close() //nolint:errcheck // the answer has been read
	return client.Do(context.Background(), args...).Result()
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
	conn, err := s.dial(context.Background())
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
	s.cmd = exec.Command(s.binary, s.args(port)...) //nolint:gosec,noctx // the flags are the test's own, and so is its end
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.tb.Fatalf("%s: %v", s.binary, err)
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // then the read fails
	hello := "INFO server\r\n"
	if s.password != "" {
		hello = "AUTH " + s.password + "\r\n" + hello
	}
	if _, err := io.WriteString(conn, hello); err != nil {
		return false
	}
	want := fmt.Sprintf("process_id:%d", s.cmd.Process.Pid)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "process_id:") {
			return line == want
		}
	}
	return false
}

func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	if s.TLS == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Addr)
	}
	return (&tls.Dialer{Config: s.TLS}).DialContext(ctx, "tcp", s.Addr)
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
		s.tb.Fatalf("%s is not running", s.binary)
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
