package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/session"
)

// How often a watch does what.
const (
	beatEvery   = 200 * time.Millisecond // says that a subscription is heard
	silentFor   = time.Second            // is a subscription dropped
	retryEvery  = 250 * time.Millisecond // subscribes anew
	lookEvery   = time.Second            // looks for the masters of a Cluster
	askEvery    = 10 * time.Second       // asks for the time
	watchAnswer = time.Second            // may one of these take
	maxMissing  = 25                     // heartbeats may be on their way
)

// Watch implements [session.Store].
//
// It subscribes at each node that takes writes, since a script tells of a change
// where it makes it: no bus between the nodes is relied on. Beside the channel of
// changes each subscription has one of its own, on which this process sends itself
// heartbeats through the connections that it uses for everything else. One that
// comes back proves that what was told at that node before has come, too; one that
// nobody got says that the subscription is at another node than our commands.
func (s *Store) Watch(ctx context.Context, w session.Watcher) error {
	watch := &watch{store: s, watcher: w, ears: map[*redis.Client]*ear{}}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { s.askTime(ctx) })
	for {
		watch.follow(ctx, &all)
		if err := sleep(ctx, lookEvery); err != nil {
			watch.stop()
			return err
		}
	}
}

// askTime keeps Ahead up to date.
func (s *Store) askTime(ctx context.Context) {
	for wait := time.Duration(0); sleep(ctx, wait) == nil; {
		bounded, cancel := context.WithTimeout(ctx, watchAnswer)
		wait = askEvery
		if _, err := s.time(bounded); err != nil {
			wait = lookEvery
		}
		cancel()
	}
}

// watch is one call of Watch.
type watch struct {
	store   *Store
	watcher session.Watcher

	mu   sync.Mutex
	ears map[*redis.Client]*ear // guarded by mu
	told time.Time              // the last moment that was told; guarded by mu
	lost bool                   // since then, something may have been missed; guarded by mu
}

// ear is the subscription at one node.
type ear struct {
	stop  context.CancelFunc
	heard time.Time // all until then has come; zero while there is no subscription; guarded by watch.mu
}

// follow makes an ear for each master, and ends those of nodes that are none.
func (w *watch) follow(ctx context.Context, all *sync.WaitGroup) {
	bounded, cancel := context.WithTimeout(ctx, watchAnswer)
	defer cancel()
	masters, err := w.store.masters(bounded)
	if err != nil || len(masters) == 0 {
		return // those that we know are asked on
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	gone := w.ears
	w.ears = make(map[*redis.Client]*ear, len(masters))
	for _, m := range masters {
		e, ok := gone[m]
		if !ok {
			var listening context.Context
			e = &ear{}
			listening, e.stop = context.WithCancel(ctx)
			all.Go(func() { w.listen(listening, m, e) })
		}
		w.ears[m] = e
		delete(gone, m)
	}
	for _, e := range gone {
		e.stop()
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.ears {
		e.stop()
	}
}

// listen keeps up a subscription at a node until ctx ends.
func (w *watch) listen(ctx context.Context, node *redis.Client, e *ear) {
	for {
		w.subscribe(ctx, node, e)
		w.mu.Lock()
		e.heard = time.Time{}
		w.mu.Unlock()
		if sleep(ctx, retryEvery) != nil {
			return
		}
	}
}

// subscribe listens at a node until something goes wrong there.
func (w *watch) subscribe(ctx context.Context, node *redis.Client, e *ear) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var name [8]byte
	rand.Read(name[:]) // never fails since Go 1.24
	own := w.store.channel + ":" + hex.EncodeToString(name[:])

	dialing, dialed := context.WithTimeout(ctx, watchAnswer)
	sub := node.Subscribe(dialing, w.store.channel, own)
	dialed()
	defer sub.Close() //nolint:errcheck // nothing is lost with it
	// Nothing else wakes who waits for a message.
	defer context.AfterFunc(ctx, func() { sub.Close() })() //nolint:errcheck // nothing is lost with it
	for range 2 {
		if m, err := sub.ReceiveTimeout(ctx, silentFor); err != nil || !isSubscription(m) {
			return
		}
	}
	w.mu.Lock()
	w.lost = true
	w.mu.Unlock()

	b := &beats{node: node, channel: own, sent: map[uint64]time.Time{}}
	var beating sync.WaitGroup
	defer beating.Wait()
	defer cancel()
	beating.Go(func() { b.send(ctx, cancel) })
	for {
		m, err := sub.ReceiveTimeout(ctx, silentFor)
		if err != nil || ctx.Err() != nil {
			return
		}
		if !w.receive(m, b, e) {
			return
		}
	}
}

func isSubscription(message any) bool {
	s, ok := message.(*redis.Subscription)
	return ok && s.Kind == "subscribe"
}

// receive tells what a message says. It reports false for one that no
// subscription of ours gets, as when the connection was made anew.
func (w *watch) receive(m any, b *beats, e *ear) bool {
	message, ok := m.(*redis.Message)
	if !ok {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if message.Channel == b.channel {
		if at := b.back(message.Payload); !at.IsZero() {
			e.heard = at
			w.tell()
		}
		return true
	}
	if id, version, ok := parseMessage(message.Payload); ok {
		w.watcher.Changed(id, version)
	} else {
		w.watcher.Lost()
	}
	return true
}

// tell tells until when all has been heard, at every node, and before that if
// some of it may have been missed: a watch that begins at three nodes has lost
// once. Until then nothing is believed anyway. The caller holds mu.
func (w *watch) tell() {
	var first time.Time
	for _, e := range w.ears {
		if e.heard.IsZero() {
			return
		}
		if first.IsZero() || e.heard.Before(first) {
			first = e.heard
		}
	}
	if !first.After(w.told) {
		return
	}
	if w.lost {
		w.watcher.Lost()
	}
	w.told, w.lost = first, false
	w.watcher.Heard(first)
}

// beats are the heartbeats of one subscription.
type beats struct {
	node    *redis.Client
	channel string

	mu   sync.Mutex
	last uint64               // guarded by mu
	sent map[uint64]time.Time // on their way; guarded by mu
}

// errElsewhere means that nobody got a heartbeat.
var errElsewhere = errors.New("the subscription is at another node")

// send sends heartbeats until ctx ends, or calls lost when one had no listener.
// No breaker is asked, so that it goes on as soon as the node does.
func (b *beats) send(ctx context.Context, lost func()) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if errors.Is(b.sendOne(ctx), errElsewhere) {
			lost()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *beats) sendOne(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchAnswer)
	defer cancel()
	b.mu.Lock()
	b.last++
	n := b.last
	b.sent[n] = time.Now()
	missing := len(b.sent) > maxMissing
	b.mu.Unlock()
	if missing {
		return errElsewhere
	}
	got, err := b.node.Publish(ctx, b.channel, strconv.FormatUint(n, 10)).Result()
	if err != nil {
		b.mu.Lock()
		delete(b.sent, n)
		b.mu.Unlock()
		return err
	}
	if got == 0 {
		return errElsewhere
	}
	return nil
}

// back returns when a heartbeat was sent that has come back, or the zero time.
func (b *beats) back(payload string) time.Time {
	n, err := strconv.ParseUint(payload, 10, 64)
	if err != nil {
		return time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.sent[n]
	for k := range b.sent {
		if k <= n {
			delete(b.sent, k)
		}
	}
	return at
}

// parseMessage reads what message wrote.
func parseMessage(payload string) (id session.ID, version uint64, ok bool) {
	name, number, found := strings.Cut(payload, " ")
	if !found || len(name) != hex.EncodedLen(len(id)) {
		return session.ID{}, 0, false
	}
	if _, err := hex.Decode(id[:], []byte(name)); err != nil {
		return session.ID{}, 0, false
	}
	version, err := strconv.ParseUint(number, 10, 64)
	return id, version, err == nil
}
