package session_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

var errAway = errors.New("the store is away")

// faulty is what lies between a replica and a store that others use, too. It
// counts calls, and lets a test stand between a call and its answer.
type faulty struct {
	session.Store
	ahead time.Duration

	mu       sync.Mutex
	calls    map[string]int    // guarded by mu
	between  between           // guarded by mu
	deaf     bool              // guarded by mu
	watchers []session.Watcher // guarded by mu
}

// between makes a call, or not, and answers it.
type between func(ctx context.Context, op string, call func() error) error

func behind(s session.Store) *faulty {
	return &faulty{Store: s, calls: map[string]int{}}
}

// put puts b between each call from now on and its answer; nil for nothing.
func (f *faulty) put(b between) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.between = b
}

// cut cuts the subscription, without a word.
func (f *faulty) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = true
}

// mend mends the subscription, as a store does: what was missed is lost.
func (f *faulty) mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = false
	for _, w := range f.watchers {
		w.Lost()
		w.Heard(time.Now())
	}
}

// leave is a store that gives no answer and says nothing any more.
func (f *faulty) leave() {
	f.cut()
	f.put(func(context.Context, string, func() error) error { return errAway })
}

func (f *faulty) comeBack() {
	f.put(nil)
	f.mend()
}

// count is how often op was called since the last count.
func (f *faulty) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.calls[op]
	f.calls[op] = 0
	return n
}

func (f *faulty) call(ctx context.Context, op string, call func() error) error {
	f.mu.Lock()
	f.calls[op]++
	b := f.between
	f.mu.Unlock()
	if b == nil {
		return call()
	}
	return b(ctx, op, call)
}

func (f *faulty) Create(ctx context.Context, id session.ID, r session.Record, claimed time.Time) error {
	return f.call(ctx, "Create", func() error { return f.Store.Create(ctx, id, r, claimed) })
}

func (f *faulty) Load(ctx context.Context, id session.ID) (r session.Record, err error) {
	err = f.call(ctx, "Load", func() (err error) { r, err = f.Store.Load(ctx, id); return err })
	return r, err
}

func (f *faulty) LoadWhole(ctx context.Context, id session.ID) (r session.Record, err error) {
	err = f.call(ctx, "LoadWhole", func() (err error) { r, err = f.Store.LoadWhole(ctx, id); return err })
	return r, err
}

func (f *faulty) Replace(ctx context.Context, id session.ID, version uint64, r session.Record) error {
	return f.call(ctx, "Replace", func() error { return f.Store.Replace(ctx, id, version, r) })
}

func (f *faulty) Delete(ctx context.Context, ids ...session.ID) (n int, err error) {
	err = f.call(ctx, "Delete", func() (err error) { n, err = f.Store.Delete(ctx, ids...); return err })
	return n, err
}

func (f *faulty) Touch(ctx context.Context, uses map[session.ID]session.Use) error {
	return f.call(ctx, "Touch", func() error { return f.Store.Touch(ctx, uses) })
}

func (f *faulty) Find(ctx context.Context, index session.Index) (ids []session.ID, err error) {
	err = f.call(ctx, "Find", func() (err error) { ids, err = f.Store.Find(ctx, index); return err })
	return ids, err
}

func (f *faulty) List(ctx context.Context, prefix string) iter.Seq2[session.Listed, error] {
	return func(yield func(session.Listed, error) bool) {
		if err := f.call(ctx, "List", func() error { return nil }); err != nil {
			yield(session.Listed{}, err)
			return
		}
		f.Store.List(ctx, prefix)(yield)
	}
}

func (f *faulty) Bury(ctx context.Context, life time.Duration, indexes ...session.Index) error {
	return f.call(ctx, "Bury", func() error { return f.Store.Bury(ctx, life, indexes...) })
}

func (f *faulty) Lock(ctx context.Context, id session.ID, owner session.Owner, life time.Duration) (mine bool, err error) {
	err = f.call(ctx, "Lock", func() (err error) { mine, err = f.Store.Lock(ctx, id, owner, life); return err })
	return mine, err
}

func (f *faulty) Unlock(ctx context.Context, id session.ID, owner session.Owner, pause time.Duration) error {
	return f.call(ctx, "Unlock", func() error { return f.Store.Unlock(ctx, id, owner, pause) })
}

// Watch gives w what comes, while nobody has cut it.
func (f *faulty) Watch(ctx context.Context, w session.Watcher) error {
	f.mu.Lock()
	f.watchers = append(f.watchers, w)
	f.mu.Unlock()
	return f.Store.Watch(ctx, wire{f, w})
}

func (f *faulty) Ahead() time.Duration { return f.ahead }

// wire is a subscription that can be cut.
type wire struct {
	f *faulty
	w session.Watcher
}

func (l wire) Changed(id session.ID, version uint64) {
	l.unlessCut(func() { l.w.Changed(id, version) })
}
func (l wire) Lost()              { l.unlessCut(l.w.Lost) }
func (l wire) Heard(at time.Time) { l.unlessCut(func() { l.w.Heard(at) }) }

func (l wire) unlessCut(tell func()) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if !l.f.deaf {
		tell()
	}
}

// replica returns a Vault over a store of others, as configured otherwise by
// change. It runs until the test ends.
func replica(t *testing.T, store session.Store, change ...func(*session.Vault)) *session.Vault {
	t.Helper()
	v := &session.Vault{
		Store: store, Sealer: ring(t, oldKey), Absolute: 12 * time.Hour, Idle: time.Hour, Outage: 5 * time.Second,
	}
	for _, c := range change {
		c(v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = v.Run(ctx) }) // its error is about a store that went away on purpose
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return v
}

// enter makes a session now.
func enter(t *testing.T, v *session.Vault, g oidc.Grant) (session.Token, session.Session) {
	t.Helper()
	token, s, err := v.Create(t.Context(), time.Now(), session.Login{App: "chat", Grant: g, Browser: "Firefox", Claimed: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return token, s
}

// find wants what a Vault says of a token now.
func find(t *testing.T, v *session.Vault, token session.Token, want error) session.Session {
	t.Helper()
	s, err := v.Load(t.Context(), time.Now(), token)
	if !errors.Is(err, want) || (err == nil) != (s.ID == token.ID()) {
		t.Errorf("Load = session %v, %v, want %v", s.ID, err, want)
	}
	return s
}
