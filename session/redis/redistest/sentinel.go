package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// MasterName is what the sentinels of a test call the primary.
const MasterName = "countersign"

// SentinelPassword is what the sentinels of a test want to be told.
const SentinelPassword = "sentinel-hunter2"

// Sentinels are a primary, a replica, and three sentinels that watch over them.
type Sentinels struct {
	URL   string // redis+sentinel://…/0?master=…
	Nodes []*Server
	// Guards are the sentinels; they are no stores.
	Guards []*Server

	tb testing.TB
}

// StartSentinel starts them, with further flags for primary and replica. A
// primary that is silent for a second is replaced.
func StartSentinel(tb testing.TB, flags ...string) *Sentinels {
	tb.Helper()
	s := &Sentinels{tb: tb}
	flags = append([]string{"--repl-diskless-sync-delay", "0"}, flags...)
	primary := Start(tb, flags...)
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	s.Nodes = []*Server{primary, Start(tb, append(flags, "--replicaof", host+" "+port)...)}
	var addrs []string
	for range 3 {
		guard := startGuard(tb, host, port)
		s.Guards = append(s.Guards, guard)
		addrs = append(addrs, guard.Addr)
	}
	s.URL = "redis+sentinel://" + strings.Join(addrs, ",") + "/0?master=" + MasterName
	s.await("all know each other", func() bool {
		for _, g := range s.Guards {
			state := fmt.Sprint(g.try("SENTINEL", "MASTER", MasterName))
			if !strings.Contains(state, "num-slaves 1") || !strings.Contains(state, "num-other-sentinels 2") {
				return false
			}
		}
		return strings.Contains(fmt.Sprint(s.Nodes[1].try("INFO", "replication")), "master_link_status:up")
	})
	return s
}

func startGuard(tb testing.TB, host, port string) *Server {
	tb.Helper()
	g := &Server{tb: tb, binary: redisServer(tb), dir: tb.TempDir(), password: SentinelPassword}
	g.args = func(own string) []string {
		conf := filepath.Join(g.dir, "sentinel.conf")
		if _, err := os.Stat(conf); err != nil { // else it is what the sentinel has learnt
			g.write(conf, own, host, port)
		}
		return []string{conf, "--sentinel"}
	}
	g.start()
	return g
}

func (s *Server) write(conf, own, host, port string) {
	s.tb.Helper()
	content := fmt.Sprintf(`port %s
bind 127.0.0.1
dir %s
requirepass %s
sentinel sentinel-pass %s
sentinel monitor %s %s %s 2
sentinel down-after-milliseconds %s 1000
sentinel failover-timeout %s 5000
`, own, s.dir, SentinelPassword, SentinelPassword, MasterName, host, port, MasterName, MasterName)
	if err := os.WriteFile(conf, []byte(content), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

// Primary returns the server that all sentinels name.
func (s *Sentinels) Primary() *Server {
	s.tb.Helper()
	var primary *Server
	s.await("they agree about the primary", func() bool {
		addrs := map[string]bool{}
		for _, g := range s.Guards {
			addrs[strings.Join(strings.Fields(strings.Trim(fmt.Sprint(g.try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)), "[]")), ":")] = true
		}
		for _, n := range s.Nodes {
			if len(addrs) == 1 && addrs[n.Addr] {
				primary = n
				return true
			}
		}
		return false
	})
	return primary
}

// KillPrimary ends the primary as a power failure would, and returns it. Until
// another takes over, there is none.
func (s *Sentinels) KillPrimary() *Server {
	s.tb.Helper()
	primary := s.Primary()
	primary.Kill()
	return primary
}

// AwaitPrimary waits until all sentinels name another primary than old, and it
// is one.
func (s *Sentinels) AwaitPrimary(old *Server) *Server {
	s.tb.Helper()
	primary := old
	s.await("another takes over", func() bool {
		primary = s.Primary()
		return primary != old && strings.Contains(fmt.Sprint(primary.try("INFO", "replication")), "role:master")
	})
	return primary
}

func (s *Sentinels) await(what string, holds func() bool) {
	s.tb.Helper()
	await(s.tb, what, holds)
}

func await(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(startTimeout); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain until %s", what)
		}
	}
}

// try is Do, but an answer that does not come is awaited.
func (s *Server) try(args ...any) any {
	answer, _ := s.ask(args...)
	return answer
}
