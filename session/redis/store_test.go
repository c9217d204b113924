package redis_test

import (
	"testing"

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

func TestStore(t *testing.T) {
	server := redistest.Start(t)
	sessiontest.Run(t, func(t *testing.T) session.Store {
		t.Helper()
		return open(t, redis.Options{URL: server.URL})
	})
}
