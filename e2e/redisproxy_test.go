package e2e_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// redisProxy stands between a replica and its Redis, as the network does, and
// fails as networks fail. What it does to a connection follows from its weather,
// which may change at any time. The zero weather is fine.
type redisProxy struct {
	address string // host:port
	target  string

	mu      sync.Mutex
	weather weather           // guarded by mu
	changed chan struct{}     // closed when the weather changes; guarded by mu
	open    map[net.Conn]bool // the ends at the replica, and whether it subscribed; guarded by mu
	served  int               // connections so far; guarded by mu
	group   sync.WaitGroup
}

// weather is what happens to connections.
type weather struct {
	latency   time.Duration // of every answer
	blackHole bool          // connections stay, and nothing arrives
	refuse    bool          // connections are closed at once

	subscriptions bool // only those that subscribed have this weather
	deaf          bool // subscriptions hear heartbeats, and of no change
}

func startRedisProxy(t *testing.T, target string) *redisProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &redisProxy{
		address: l.Addr().String(), target: target,
		changed: make(chan struct{}), open: map[net.Conn]bool{},
	}
	p.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.set(weather{})
		p.reset(false)
		p.group.Wait()
	})
	return p
}

// set changes the weather. Connections that it does not let live are closed.
func (p *redisProxy) set(w weather) {
	p.mu.Lock()
	p.weather = w
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	if w.refuse {
		p.reset(w.subscriptions)
	}
}

// reset closes the connections that there are, as a router that restarts does.
func (p *redisProxy) reset(subscriptionsOnly bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, subscribed := range p.open {
		if subscribed || !subscriptionsOnly {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // ECONNRESET, and no orderly end
			}
			c.Close() // that is the fault
		}
	}
}

// connections returns how many there are, and how many there have been.
func (p *redisProxy) connections() (now, ever int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open), p.served
}

// serve joins one connection to Redis.
func (p *redisProxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	p.served++
	refused := p.weather.refuse && !p.weather.subscriptions
	p.open[c] = false
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.open, c)
		p.mu.Unlock()
	}()
	if refused {
		return
	}
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer up.Close()
	var ways sync.WaitGroup
	ways.Go(func() {
		defer up.Close()
		p.pass(c, up, c, func(b []byte) []byte {
			if bytes.Contains(bytes.ToLower(b), []byte("subscribe\r\n")) {
				p.mu.Lock()
				p.open[c] = true
				p.mu.Unlock()
			}
			return b
		})
	})
	defer ways.Wait()
	defer c.Close()
	p.pass(up, c, c, func(b []byte) []byte {
		if w, _ := p.at(c); w.deaf {
			return onlyHeartbeats(b)
		}
		return b
	})
}

// pass copies until either end is closed, in whatever weather there is.
func (p *redisProxy) pass(from io.Reader, to io.Writer, c net.Conn, edit func([]byte) []byte) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			data := edit(bytes.Clone(buffer[:n]))
			w, _ := p.at(c)
			if w.refuse {
				return
			}
			if from != io.Reader(c) && w.latency > 0 {
				time.Sleep(w.latency)
			}
			if !p.awaitLight(c) {
				return
			}
			if _, err := to.Write(data); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// awaitLight waits while c is in a black hole. It reports false when c is closed.
func (p *redisProxy) awaitLight(c net.Conn) bool {
	for {
		w, changed := p.at(c)
		if w.refuse {
			return false
		}
		if !w.blackHole {
			return true
		}
		<-changed
	}
}

// at returns the weather that c has, and what is closed when that changes.
func (p *redisProxy) at(c net.Conn) (weather, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.weather
	if w.subscriptions && !p.open[c] {
		w = weather{}
	}
	return w, p.changed
}

// onlyHeartbeats leaves out of what a subscriber is sent what came over the channel
// of changes. Heartbeats have one of their own. One read holds whole messages
// here: they are short and sent at once.
func onlyHeartbeats(b []byte) []byte {
	const begin = "*3\r\n$7\r\nmessage\r\n"
	parts := bytes.Split(b, []byte(begin))
	kept := parts[0]
	for _, m := range parts[1:] {
		if !bytes.Contains(m, []byte("changes\r\n")) {
			kept = append(append(kept, begin...), m...)
		}
	}
	return kept
}
