package redis_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
	"github.com/countersign/countersign/session/sessiontest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The client looks once a second for a Redis that was away, and notices only
		// then that it has been closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// open returns a Store that is closed when the test ends.
func open(t *testing.T, o redis.Options) *redis.Store {
	t.Helper()
	s, err := redis.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return s
}

// shapes are all the ways in which Redis may be there. Each is started for a test
// and returns how to open it, and its servers.
var shapes = []struct {
	name  string
	start func(t *testing.T) (redis.Options, []*redistest.Server)
}{
	{"standalone", func(t *testing.T) (redis.Options, []*redistest.Server) {
		t.Helper()
		s := redistest.Start(t)
		return redis.Options{URL: s.URL}, []*redistest.Server{s}
	}},
	{"unix", func(t *testing.T) (redis.Options, []*redistest.Server) {
		t.Helper()
		s := redistest.StartUnix(t)
		return redis.Options{URL: s.URL + "?db=3"}, []*redistest.Server{s}
	}},
	{"mtls_acl", func(t *testing.T) (redis.Options, []*redistest.Server) {
		t.Helper()
		s := redistest.StartTLS(t, true)
		return asLeast(t, redis.Options{URL: s.URL, TLS: s.TLS}, s), []*redistest.Server{s}
	}},
	{"sentinel", func(t *testing.T) (redis.Options, []*redistest.Server) {
		t.Helper()
		s := redistest.StartSentinel(t)
		o := redis.Options{URL: s.URL, SentinelPasswordFile: file(t, redistest.SentinelPassword)}
		return asLeast(t, o, s.Nodes...), s.Nodes
	}},
	{"cluster", func(t *testing.T) (redis.Options, []*redistest.Server) {
		t.Helper()
		c := redistest.StartCluster(t)
		return asLeast(t, redis.Options{URL: c.URL}, c.Nodes...), c.Nodes
	}},
	{"valkey", func(t *testing.T) (redis.Options, []*redistest.Server) {
		t.Helper()
		s := redistest.StartValkey(t)
		return asLeast(t, redis.Options{URL: s.URL}, s), []*redistest.Server{s}
	}},
}

// asLeast returns o for a user who may do no more than ACL says, at each server.
func asLeast(t *testing.T, o redis.Options, servers ...*redistest.Server) redis.Options {
	t.Helper()
	for _, s := range servers {
		s.SetUser("countersign", "hunter2", redis.ACL(o.Prefix))
	}
	o.Username, o.PasswordFile = "countersign", file(t, "hunter2")
	return o
}

// file returns the name of a file that holds a line.
func file(t *testing.T, line string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestStore(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			t.Parallel()
			o, servers := shape.start(t)
			o.Timeout = 5 * time.Second // a hundred cases at once are many for a small machine
			var (
				mu  sync.Mutex
				ran = map[string]bool{} // guarded by mu
			)
			sessiontest.Run(t, func(t *testing.T) session.Store {
				t.Helper()
				mu.Lock()
				defer mu.Unlock()
				ran[t.Name()] = true
				return open(t, o)
			})
			if len(ran) == 0 {
				t.Error("no cases")
			}
			t.Logf("conformance: %s: %s: %d cases", shape.name, servers[0].Version(), len(ran))
		})
	}
}
