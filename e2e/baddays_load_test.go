package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/countersign/countersign/session"
)

// visitors come once in this time to each replica, each in their turn.
const visitEvery = 200 * time.Millisecond

// visitor is a kind of request of a bad day.
type visitor struct {
	name   string
	path   string
	cookie func() string
	late   bool // comes only once the fault has begun
}

// visitors are all kinds.
func (d *day) visitors() []visitor {
	cookie := func(name string) func() string {
		line := d.cookie[name]
		return func() string { return line }
	}
	return []visitor{
		{"known", "/page", cookie("alice"), false},
		{"unknown", "/page", cookie("bob"), true},
		{"leaving", "/page", cookie("erin"), false},
		{"left", "/page", cookie("carol"), false},
		{"forged", "/page", forged, false},
		{"nobody", "/page", func() string { return "" }, false},
		{"public", publicPath, func() string { return "" }, false},
	}
}

// forged is a cookie that nobody was given, another each time.
func forged() string { return "Cookie: " + sessionCookie + "=" + session.NewToken().Reveal() }

// watching is a load that goes on.
type watching struct {
	stopped chan struct{}
	once    sync.Once
	running sync.WaitGroup

	mu     sync.Mutex
	shots  shots // guarded by mu
	stalls int   // guarded by mu
}

// A machine that is busy with other things stops for a while now and then. A tick
// that comes so late says so.
const (
	tickEvery = 20 * time.Millisecond
	tooLate   = 50 * time.Millisecond
)

// feel counts how often the machine stopped.
func (w *watching) feel() {
	last := time.Now()
	w.every(tickEvery, 0, func() {
		if now := time.Now(); now.Sub(last) > tickEvery+tooLate {
			w.mu.Lock()
			w.stalls++
			w.mu.Unlock()
		}
		last = time.Now()
	})
}

// felt is how often the machine stopped.
func (w *watching) felt() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stalls
}

// watch has all visitors come to both replicas until the day ends. The names of the
// shots are those of the kind and the number of the replica, as in known/0.
func (d *day) watch() *watching {
	w := &watching{stopped: make(chan struct{})}
	d.t.Cleanup(func() { w.stop() })
	visitors := d.visitors()
	for replica := range d.replicas {
		for n, v := range visitors {
			offset := visitEvery * time.Duration(len(d.replicas)*n+replica) / time.Duration(len(d.replicas)*len(visitors))
			w.running.Go(func() {
				w.every(visitEvery, offset, func() {
					if d.awaits(v, replica) {
						w.running.Go(func() { w.visit(d, v, replica) })
					}
				})
			})
		}
	}
	w.running.Go(w.feel)
	if id := d.id("bob"); d.poke != nil {
		w.running.Go(func() { w.every(visitEvery/2, 0, func() { d.forget(id) }) })
	}
	return w
}

// awaits reports whether a replica gets a visitor now.
func (d *day) awaits(v visitor, replica int) bool {
	switch begun := d.begun.Load(); {
	case d.dead[replica].Load(), v.late && !begun:
		return false
	case d.alone && replica == 1:
		return d.faulty && begun
	}
	return true
}

// visit is one visit. That of a replica which is killed meanwhile does not count.
func (w *watching) visit(d *day, v visitor, replica int) {
	s := d.check(replica, v.path, v.cookie())
	s.kind = v.name + "/" + strconv.Itoa(replica)
	if d.dead[replica].Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shots = append(w.shots, s)
}

// forget tells of a change that was none, once the fault has begun: the replicas
// forget what they know of a session, and have to read it again.
func (d *day) forget(id string) {
	if !d.begun.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	d.poke.Publish(ctx, "countersign:changes", id+" 0") // the store may be away
}

// every calls do at a steady rate.
func (w *watching) every(interval, offset time.Duration, do func()) {
	select {
	case <-time.After(offset):
	case <-w.stopped:
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		do()
		select {
		case <-tick.C:
		case <-w.stopped:
			return
		}
	}
}

// soFar returns what was answered so far.
func (w *watching) soFar() shots {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.shots)
	slices.SortFunc(all, func(a, b shot) int { return a.at.Compare(b.at) })
	return all
}

// stop ends the load and returns all of it.
func (w *watching) stop() shots {
	w.once.Do(func() { close(w.stopped) })
	w.running.Wait()
	return w.soFar()
}

var errNeither = errors.New("the answer says neither yes nor no")

// check asks a replica about a navigation, as Envoy would. The status is 200 where
// it passes.
func (d *day) check(replica int, path, cookie string) (s shot) {
	s = shot{at: time.Now(), header: http.Header{}}
	defer func() { s.took = time.Since(s.at) }()
	lines := []field{{"accept", "text/html"}, {"sec-fetch-mode", "navigate"}, {"sec-fetch-dest", "document"}}
	if cookie != "" {
		lines = append(lines, field{"cookie", cookie[len("Cookie: "):]})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	answer := new(authv3.CheckResponse)
	s.err = d.conns[replica].Invoke(ctx, authv3.Authorization_Check_FullMethodName, checkRequest(d.t, path, lines...), answer, grpc.ForceCodecV2(raw{}))
	var headers []*corev3.HeaderValueOption
	switch ok, denied := answer.GetOkResponse(), answer.GetDeniedResponse(); {
	case s.err != nil:
	case ok != nil:
		s.status, headers = http.StatusOK, ok.GetHeaders()
	case denied != nil:
		s.status, headers = int(denied.GetStatus().GetCode()), denied.GetHeaders()
	default:
		s.err = errNeither
	}
	for _, h := range headers {
		s.header.Add(h.GetHeader().GetKey(), h.GetHeader().GetValue()+string(h.GetHeader().GetRawValue()))
	}
	return s
}
