package session

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrFull means that a Memory holds as many live sessions as it may.
var ErrFull = errors.New("session: memory store is full")

// Memory is a [Store] in this process. A restart forgets it, and another replica
// does not see it. It never ends a live session to make room for another.
type Memory struct {
	// Max is how many sessions it holds at most, and likewise how many claims and
	// results; it must not change. Zero means 100,000.
	Max int

	// Now is the clock that ends are measured by. It must not change; nil means
	// [time.Now].
	Now func() time.Time

	mu       sync.Mutex
	sessions map[ID]Record      // guarded by mu
	claims   map[Claim]expiring // guarded by mu
	results  map[Claim]expiring // guarded by mu
	swept    time.Time          // last sweep for expired ones; guarded by mu
}

var _ Store = (*Memory)(nil)

// expiring is something that is kept until an end.
type expiring struct {
	value []byte
	end   time.Time
}

// sweepEvery is how often a Memory looks for what has expired. Until then, it
// is there and not found.
const sweepEvery = time.Minute

const defaultMax = 100_000

// NewMemory returns an empty Memory, which is the zero one.
func NewMemory() *Memory { return &Memory{} }

// Create implements [Store]. It returns ErrFull when there is no room.
func (m *Memory) Create(ctx context.Context, id ID, r Record) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	r = kept(r, 1)
	if !now.Before(r.End()) {
		return ErrNotFound
	}
	if _, ok := m.live(id, now); ok {
		return ErrExists
	}
	if m.full(now, func() int { return len(m.sessions) }) {
		return ErrFull
	}
	m.sessions[id] = r
	return nil
}

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, id ID) (Record, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return Record{}, err
	}
	defer done()
	r, ok := m.live(id, now)
	if !ok {
		return Record{}, ErrNotFound
	}
	r.Hot, r.Tokens = bytes.Clone(r.Hot), nil
	return r, nil
}

// LoadTokens implements [Store].
func (m *Memory) LoadTokens(ctx context.Context, id ID) ([]byte, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	r, ok := m.live(id, now)
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(r.Tokens), nil
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
	switch {
	case !ok, !now.Before(r.End()):
		return ErrNotFound
	case old.Version != version:
		return ErrConflict
	}
	m.sessions[id] = r
	return nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, id ID) error {
	_, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	delete(m.sessions, id)
	return nil
}

// Touch implements [Store].
func (m *Memory) Touch(ctx context.Context, seen map[ID]time.Time) error {
	now, done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	for id, at := range seen {
		r, ok := m.live(id, now)
		if at = atMilli(at); ok && at.After(r.Seen) {
			r.Seen = at
			m.sessions[id] = r
		}
	}
	return nil
}

// Claim implements [Store]. It returns ErrFull when there is no room.
func (m *Memory) Claim(ctx context.Context, c Claim, life time.Duration) (bool, error) {
	now, done, err := m.begin(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	if old, ok := m.claims[c]; ok && now.Before(old.end) {
		return false, nil
	}
	if m.full(now, func() int { return len(m.claims) }) {
		return false, ErrFull
	}
	m.claims[c] = expiring{end: now.Add(life)}
	return true, nil
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

// Ping implements [Store].
func (m *Memory) Ping(ctx context.Context) error { return ctx.Err() }

// begin locks m unless ctx has ended, and sweeps when that is due.
func (m *Memory) begin(ctx context.Context) (now time.Time, done func(), err error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, nil, err
	}
	m.mu.Lock()
	if m.sessions == nil {
		m.sessions, m.claims, m.results = map[ID]Record{}, map[Claim]expiring{}, map[Claim]expiring{}
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

// full reports whether there is no room for one more, once what has expired is
// removed. The caller holds mu.
func (m *Memory) full(now time.Time, count func() int) bool {
	if count() < m.max() {
		return false
	}
	m.sweep(now)
	return count() >= m.max()
}

// sweep removes what has expired. The caller holds mu.
func (m *Memory) sweep(now time.Time) {
	m.swept = now
	for id, r := range m.sessions {
		if !now.Before(r.End()) {
			delete(m.sessions, id)
		}
	}
	for _, kept := range []map[Claim]expiring{m.claims, m.results} {
		for c, e := range kept {
			if !now.Before(e.end) {
				delete(kept, c)
			}
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
	r.Hot, r.Tokens = bytes.Clone(r.Hot), bytes.Clone(r.Tokens)
	r.Seen, r.Ends = atMilli(r.Seen), atMilli(r.Ends)
	r.Idle = r.Idle.Truncate(time.Millisecond)
	return r
}

func atMilli(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
