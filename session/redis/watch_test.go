package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
)

// listener remembers what a Store tells it.
type listener struct {
	t *testing.T

	mu      sync.Mutex
	changes map[session.ID]uint64 // the last version; guarded by mu
	losses  int                   // guarded by mu
	until   time.Time             // heard; guarded by mu
	order   []string              // of losses and what was heard; guarded by mu
}

func (l *listener) Changed(id session.ID, version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes[id] = version
}

func (l *listener) Lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losses++
	l.order = append(l.order, "lost")
}

func (l *listener) Heard(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !at.After(l.until) || at.After(time.Now()) {
		l.t.Errorf("Heard(%v) after Heard(%v)", at, l.until)
	}
	l.until = at
	l.order = append(l.order, "heard")
}

// watch watches a store until the test ends, or ctx does.
func watch(ctx context.Context, t *testing.T, store session.Store) *listener {
	t.Helper()
	l := &listener{t: t, changes: map[session.ID]uint64{}}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- store.Watch(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Watch = %v, want %v", err, context.Canceled)
			}
		case <-time.After(10 * time.Second):
			t.Error("Watch does not end with its context")
		}
	})
	return l
}

// patience is how long a test waits for what comes at once on an idle machine.
const patience = 20 * time.Second

func (l *listener) eventually(what string, holds func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		ok := holds()
		l.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// heard waits until all that happened before a moment was told.
func (l *listener) heard(at time.Time) {
	l.t.Helper()
	l.eventually("all is heard", func() bool { return l.until.After(at) })
}

func (l *listener) version(id session.ID) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.changes[id]
	return v, ok
}

func (l *listener) lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses
}

// In each shape, a change that one Store makes is told to another, wherever the
// session is.
func TestWatch(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			t.Parallel()
			o, servers := shape.start(t)
			o.Timeout = 5 * time.Second
			here, there := open(t, o), open(t, o)
			l := watch(t.Context(), t, here)
			l.heard(time.Now())
			for _, s := range servers {
				if strings.Contains(fmt.Sprint(s.Do("INFO", "replication")), "role:slave") {
					continue
				}
				if n := as[[]any](t, s.Do("PUBSUB", "NUMSUB", "countersign:changes")); n[1] != int64(1) {
					t.Errorf("%v subscriptions at %s, want 1", n[1], s.Addr)
				}
			}
			ids := create(t, there, 20) // on every node of a cluster, in all likelihood
			for _, id := range ids {
				if err := there.Replace(t.Context(), id, 1, record()); err != nil {
					t.Fatal(err)
				}
			}
			l.heard(time.Now())
			for _, id := range ids {
				if v, ok := l.version(id); !ok || v != 2 {
					t.Errorf("version %d was told (%v), want 2", v, ok)
				}
			}
			if n, err := there.Delete(t.Context(), ids...); err != nil || n != len(ids) {
				t.Fatalf("Delete = %d, %v", n, err)
			}
			l.heard(time.Now())
			for _, id := range ids {
				if v, ok := l.version(id); !ok || v != 0 {
					t.Errorf("version %d was told at last (%v), want 0", v, ok)
				}
			}
			if lost := l.lost(); lost != 1 {
				t.Errorf("Lost came %d times, want once", lost)
			}
		})
	}
}

func TestWatchFindsItsWayBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProxy(t, server.Addr)
	store := open(t, redis.Options{URL: "redis://" + p.addr})
	l := watch(t.Context(), t, store)
	l.heard(time.Now())

	for _, fault := range []struct {
		name       string
		begin, end func()
	}{
		{"a_black_hole", p.swallow, p.restore},
		{"a_cut_connection", p.cut, p.restore},
		{"a_frozen_server", server.Freeze, server.Thaw},
		{"a_killed_subscription", func() {
			server.Do("CLIENT", "KILL", "TYPE", "pubsub")
		}, func() {}},
		{"a_message_that_is_none", func() {
			server.Do("PUBLISH", "countersign:changes", "mallory")
		}, func() {}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			lost := l.lost()
			fault.begin()
			if fault.name != "a_message_that_is_none" && fault.name != "a_killed_subscription" {
				l.silent(2 * time.Second)
			}
			fault.end()
			l.eventually("it has lost", func() bool { return l.losses > lost })
			l.heard(time.Now())
			l.mu.Lock()
			defer l.mu.Unlock()
			// What is heard after an interruption counts from its Lost on.
			for i, what := range l.order {
				if what == "lost" && i+1 == len(l.order) {
					t.Error("nothing was heard after it")
				}
			}
		})
	}
}

// silent checks that nothing more is heard after what is under way, for a while.
func (l *listener) silent(d time.Duration) {
	l.t.Helper()
	began := time.Now()
	for time.Since(began) < d {
		time.Sleep(20 * time.Millisecond)
		l.mu.Lock()
		until := l.until
		l.mu.Unlock()
		// One may have been on its way.
		if until.After(began.Add(time.Second)) {
			l.t.Errorf("Heard(%v), though nothing can be heard since %v", until, began)
			return
		}
	}
}

// A watch that has ended leaves no subscription.
func TestWatchEndsAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, redis.Options{URL: server.URL})
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		l := watch(ctx, t, store)
		l.heard(time.Now())
		cancel()
	}
	deadline := time.Now().Add(patience)
	for as[[]any](t, server.Do("PUBSUB", "NUMSUB", "countersign:changes"))[1] != int64(0) {
		if time.Now().After(deadline) {
			t.Fatal("a subscription is left")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// proxy stands between a Store and its server.
type proxy struct {
	addr string

	mu     sync.Mutex
	silent bool       // guarded by mu
	closed bool       // guarded by mu
	conns  []net.Conn // guarded by mu
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		p.cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil || !p.keep(client, server) {
				client.Close()
				continue
			}
			wg.Go(func() { p.copy(client, server) })
			wg.Go(func() { p.copy(server, client) })
		}
	})
	return p
}

// keep remembers a pair of connections, unless they are to be cut.
func (p *proxy) keep(pair ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, pair...)
	if p.closed {
		for _, c := range pair {
			c.Close()
		}
	}
	return !p.closed
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if silent {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// swallow passes nothing on, and keeps all connections.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// cut ends all connections and makes none.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent, p.closed = false, false
}
