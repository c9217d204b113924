package session

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrFull means that a Memory holds as many live sessions as it may.
var ErrFull = errors.New("session: memory store is full")

// Memory is a [Store] in this process. A restart forgets it, and another replica
// does not see it. It never ends a live session to make room for another.
type Memory struct {
	// Max is how many sessions it holds at most, and likewise how many claims,
	// results and locks; it must not change. Zero means 100,000.
	Max int

	// Now is the clock that ends are measured by. It must not change; nil means
	// [time.Now].
	Now func() time.Time

	mu       sync.Mutex
	sessions map[ID]Record             // guarded by mu
	lists    map[Index]map[ID]struct{} // guarded by mu
	buried   map[Index]expiring        // guarded by mu
	locks    map[ID]expiring           // guarded by mu
	claims   map[Claim]expiring        // guarded by mu
	results  map[Claim]expiring        // guarded by mu
	watchers map[chan struct{}]Watcher // guarded by mu
	swept    time.Time                 // last sweep for expired ones; guarded by mu
}

var _ Store = (*Memory)(nil)

// expiring is something that is kept until an end.
type expiring struct {
	value []byte
	at    time.Time // when it was put there
	end   time.Time
}

// A Memory looks for what has expired now and then. Until it does, that is there
// and not found. One that is full looks more often, but not at each call.
const (
	sweepEvery = time.Minute
	sweepFull  = time.Second
)

const defaultMax = 100_000

// NewMemory returns an empty Memory, which is the zero one.
func NewMemory() *Memory { return &Memory{} }

// Create implements [Store]. It returns ErrFull when there is no room.
func (m *Memory) Create(ctx context.Context, id ID, r Record, claimed time.Time) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	r = kept(r, 1)
	if !now.Before(r.End()) {
		return ErrNotFound
	}
	for _, index := range r.Indexes {
		if b, ok := m.buried[index]; ok && now.Before(b.end) && !b.at.Before(atMilli(claimed)) {
			return ErrNotFound
		}
	}
	if _, ok := m.live(id, now); ok {
		return ErrExists
	}
	if m.full(now, func() int { return len(m.sessions) }) {
		return ErrFull
	}
	m.forget(id)
	m.keep(id, r)
	return nil
}

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, id ID) (Record, error) {
	r, err := m.LoadWhole(ctx, id)
	r.Tokens, r.Display = nil, nil
	return r, err
}

// LoadWhole implements [Store].
func (m *Memory) LoadWhole(ctx context.Context, id ID) (Record, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return Record{}, err
	}
	defer done()
	r, ok := m.live(id, now)
	if !ok {
		return Record{}, ErrNotFound
	}
	r = kept(r, r.Version)
	r.Indexes = nil
	return r, nil
}

// Replace implements [Store].
func (m *Memory) Replace(ctx context.Context, id ID, version uint64, r Record) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	old, ok := m.live(id, now)
	r = kept(r, version+1)
	if old.Seen.After(r.Seen) {
		r.Seen = old.Seen
	}
	switch {
	case !ok, !now.Before(r.End()):
		return ErrNotFound
	case old.Version != version:
		return ErrConflict
	}
	m.forget(id)
	m.keep(id, r)
	m.tell(id, r.Version)
	return nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, ids ...ID) (int, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	n := 0
	for _, id := range ids {
		if _, ok := m.live(id, now); ok {
			n++
		}
		m.forget(id)
		m.tell(id, 0)
	}
	return n, nil
}

// Touch implements [Store].
func (m *Memory) Touch(ctx context.Context, uses map[ID]Use) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	for id, use := range uses {
		r, ok := m.live(id, now)
		if !ok {
			continue
		}
		if at := atMilli(use.Seen); at.After(r.Seen) {
			r.Seen = at
		}
		for _, index := range use.Indexes {
			if !slices.Contains(r.Indexes, index) {
				r.Indexes = append(r.Indexes, index)
			}
		}
		m.keep(id, r)
	}
	return nil
}

// Find implements [Store].
func (m *Memory) Find(ctx context.Context, index Index) ([]ID, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var found []ID
	for id := range m.lists[index] {
		if _, ok := m.live(id, now); ok {
			found = append(found, id)
		}
	}
	return found, nil
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		all, err := m.listed(ctx, prefix)
		if err != nil {
			yield(Listed{}, err)
			return
		}
		for _, l := range all {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (m *Memory) listed(ctx context.Context, prefix string) ([]Listed, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var all []Listed
	for id, r := range m.sessions {
		if now.Before(r.End()) && strings.HasPrefix(hex.EncodeToString(id[:]), prefix) {
			r = kept(r, r.Version)
			r.Hot, r.Tokens, r.Indexes = nil, nil, nil
			all = append(all, Listed{id, r})
		}
	}
	return all, nil
}

// Bury implements [Store]. It returns ErrFull when there is no room for all of
// them, and then buries none.
func (m *Memory) Bury(ctx context.Context, life time.Duration, indexes ...Index) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if m.full(now, func() int { return len(m.buried) + m.unburied(indexes) - 1 }) {
		return ErrFull
	}
	for _, index := range indexes {
		b := expiring{at: atMilli(now), end: now.Add(life)}
		if old := m.buried[index]; old.end.After(b.end) {
			b.end = old.end // what was promised for longer
		}
		m.buried[index] = b
	}
	return nil
}

// Lock implements [Store]. It returns ErrFull when there is no room.
func (m *Memory) Lock(ctx context.Context, id ID, owner Owner, life time.Duration) (bool, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	if l, ok := m.locks[id]; ok && now.Before(l.end) && !bytes.Equal(l.value, owner[:]) {
		return false, nil
	}
	if _, again := m.locks[id]; !again && m.full(now, func() int { return len(m.locks) }) {
		return false, ErrFull
	}
	m.locks[id] = expiring{value: bytes.Clone(owner[:]), end: now.Add(life)}
	return true, nil
}

// Unlock implements [Store].
func (m *Memory) Unlock(ctx context.Context, id ID, owner Owner, pause time.Duration) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	l, ok := m.locks[id]
	switch {
	case !ok || !now.Before(l.end) || !bytes.Equal(l.value, owner[:]):
	case pause <= 0:
		delete(m.locks, id)
	default:
		// Nobody's, so that the owner is held to the pause, too.
		m.locks[id] = expiring{end: now.Add(pause)}
	}
	return nil
}

// Claim implements [Store]. It returns ErrFull when there is no room.
func (m *Memory) Claim(ctx context.Context, c Claim, life time.Duration) (time.Time, bool, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	defer done()
	if old, ok := m.claims[c]; ok && now.Before(old.end) {
		return time.Time{}, false, nil
	}
	if m.full(now, func() int { return len(m.claims) }) {
		return time.Time{}, false, ErrFull
	}
	m.claims[c] = expiring{end: now.Add(life)}
	return atMilli(now), true, nil
}

// Settle implements [Store]. It returns ErrFull when there is no room.
func (m *Memory) Settle(ctx context.Context, c Claim, result []byte, life time.Duration) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, again := m.results[c]; !again && m.full(now, func() int { return len(m.results) }) {
		return ErrFull
	}
	m.results[c] = expiring{value: bytes.Clone(result), end: now.Add(life)}
	return nil
}

// Settled implements [Store].
func (m *Memory) Settled(ctx context.Context, c Claim) ([]byte, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	r, ok := m.results[c]
	if !ok || !now.Before(r.end) {
		return nil, ErrNotFound
	}
	return bytes.Clone(r.value), nil
}

// heardEvery is how often a Memory says that it has told everything.
const heardEvery = 200 * time.Millisecond

// Watch implements [Store].
func (m *Memory) Watch(ctx context.Context, w Watcher) error {
	name := make(chan struct{})
	m.mu.Lock()
	if m.watchers == nil {
		m.watchers = map[chan struct{}]Watcher{}
	}
	m.watchers[name] = w
	w.Lost()
	w.Heard(time.Now())
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, name)
	}()
	tick := time.NewTicker(heardEvery)
	defer tick.Stop()
	for {
		select {
		case at := <-tick.C:
			w.Heard(at) // what comes later is told at once
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ahead implements [Store]: the clock is our own.
func (m *Memory) Ahead() time.Duration { return 0 }

// Ping implements [Store].
func (m *Memory) Ping(ctx context.Context) error { return ctx.Err() }

// begin locks m unless ctx has ended, and sweeps when that is due.
func (m *Memory) begin(ctx context.Context) (now time.Time, done func(), err error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, nil, err
	}
	m.mu.Lock()
	if m.sessions == nil {
		m.sessions, m.lists = map[ID]Record{}, map[Index]map[ID]struct{}{}
		m.buried, m.locks = map[Index]expiring{}, map[ID]expiring{}
		m.claims, m.results = map[Claim]expiring{}, map[Claim]expiring{}
	}
	now = time.Now()
	if m.Now != nil {
		now = m.Now()
	}
	if now.Sub(m.swept) >= sweepEvery {
		m.sweep(now)
	}
	return now, m.mu.Unlock, nil
}

// live returns the record of id unless its end has passed. The caller holds mu.
func (m *Memory) live(id ID, now time.Time) (Record, bool) {
	r, ok := m.sessions[id]
	if !ok || !now.Before(r.End()) {
		return Record{}, false
	}
	return r, true
}

// keep keeps a record and lists it. The caller holds mu.
func (m *Memory) keep(id ID, r Record) {
	m.sessions[id] = r
	for _, index := range r.Indexes {
		if m.lists[index] == nil {
			m.lists[index] = map[ID]struct{}{}
		}
		m.lists[index][id] = struct{}{}
	}
}

// forget removes a record from its place and its lists. The caller holds mu.
func (m *Memory) forget(id ID) {
	for _, index := range m.sessions[id].Indexes {
		delete(m.lists[index], id)
		if len(m.lists[index]) == 0 {
			delete(m.lists, index)
		}
	}
	delete(m.sessions, id)
}

// unburied is how many of the indexes have no burial, over or not. The caller
// holds mu.
func (m *Memory) unburied(indexes []Index) (n int) {
	for _, index := range indexes {
		if _, ok := m.buried[index]; !ok {
			n++
		}
	}
	return n
}

// tell tells all watchers of a change. The caller holds mu.
func (m *Memory) tell(id ID, version uint64) {
	for _, w := range m.watchers {
		w.Changed(id, version)
	}
}

// full reports whether there is no room for one more, once what has expired is
// removed. The caller holds mu.
func (m *Memory) full(now time.Time, count func() int) bool {
	if count() < m.max() {
		return false
	}
	if now.Sub(m.swept) >= sweepFull {
		m.sweep(now)
	}
	return count() >= m.max()
}

// sweep removes what has expired. The caller holds mu.
func (m *Memory) sweep(now time.Time) {
	m.swept = now
	for id, r := range m.sessions {
		if !now.Before(r.End()) {
			m.forget(id)
		}
	}
	sweepOut(m.claims, now)
	sweepOut(m.results, now)
	sweepOut(m.buried, now)
	sweepOut(m.locks, now)
}

func sweepOut[K comparable](kept map[K]expiring, now time.Time) {
	for k, e := range kept {
		if !now.Before(e.end) {
			delete(kept, k)
		}
	}
}

func (m *Memory) max() int {
	if m.Max == 0 {
		return defaultMax
	}
	return m.Max
}

// kept returns r as a Store keeps it: of its own, and with the precision that
// every Store has.
func kept(r Record, version uint64) Record {
	r.Version = version
	r.Hot, r.Tokens, r.Display = bytes.Clone(r.Hot), bytes.Clone(r.Tokens), bytes.Clone(r.Display)
	r.Indexes = append([]Index(nil), r.Indexes...)
	r.Seen, r.Ends = atMilli(r.Seen), atMilli(r.Ends)
	r.Idle = r.Idle.Truncate(time.Millisecond)
	return r
}

func atMilli(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
