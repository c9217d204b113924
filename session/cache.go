package session

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	maxCacheBytes = 64 << 20         // for sessions that are remembered, roughly
	maxUnknown    = 10_000           // identifiers that are known to be nobody's
	cacheLife     = 60 * time.Second // a session is read again after that, whatever was heard
	unknownLife   = 2 * time.Second
	silence       = 600 * time.Millisecond // without a word from the store, nothing is known
)

// cache remembers sessions, so that a check need not ask the store. It is a
// [Watcher]: what it is told decides how far it believes itself. It believes an
// entry while the store is heard; else the entry is only good for an outage.
//
// Time is measured from base, by the monotonic clock.
type cache struct {
	base    time.Time
	entries *otter.Cache[ID, *entry]
	unknown *otter.Cache[ID, absence]
	guards  [256]guard // by the first byte of an ID

	heard atomic.Int64  // everything until then has been told, in ns since base; 0 for never
	epoch atomic.Uint64 // rises when something may have been missed
	last  atomic.Int64  // heard, at the end of the epoch before
}

// guard keeps a session that was read before it was changed from being
// remembered after.
type guard struct {
	mu         sync.Mutex
	generation uint64 // rises with every change; guarded by mu
}

// entry is a session as it was read. It is immutable.
type entry struct {
	session *Session // never changed
	epoch   uint64
	at      int64 // when it was read
	weight  uint32
}

// absence is a session that was not there.
type absence struct {
	epoch uint64
	at    int64 // when it was looked for
}

// stamp is what a reader notes before it reads.
type stamp struct{ generation, epoch uint64 }

func newCache() *cache {
	return &cache{
		base: time.Now().Add(-1), // so that no moment is 0
		entries: otter.Must(&otter.Options[ID, *entry]{
			MaximumWeight: maxCacheBytes,
			Weigher:       func(_ ID, e *entry) uint32 { return e.weight },
		}),
		unknown: otter.Must(&otter.Options[ID, absence]{MaximumSize: maxUnknown}),
	}
}

func (c *cache) now() int64 { return int64(time.Since(c.base)) }

// find returns what is remembered of a session, and whether that may be believed
// without asking the store.
func (c *cache) find(id ID) (e *entry, believed bool) {
	e, ok := c.entries.GetIfPresent(id)
	if !ok || e.epoch+1 < c.epoch.Load() {
		return nil, false
	}
	now := c.now()
	heard := c.heard.Load()
	return e, e.epoch == c.epoch.Load() && heard != 0 && now-heard < int64(silence) && now-e.at < int64(cacheLife)
}

// outlasts reports whether e may be used though the store gives no answer: until
// it has been silent for as long as outage, after the last moment when e was
// known to be right.
func (c *cache) outlasts(e *entry, outage time.Duration) bool {
	good := e.at
	switch c.epoch.Load() - e.epoch {
	case 0:
		good = max(good, c.heard.Load())
	case 1:
		good = max(good, c.last.Load())
	default:
		return false
	}
	return outage > 0 && c.now()-good < int64(silence+outage)
}

// isUnknown reports whether the store said a moment ago that there is no such
// session.
func (c *cache) isUnknown(id ID) bool {
	e, ok := c.unknown.GetIfPresent(id)
	return ok && e.epoch == c.epoch.Load() && c.now()-e.at < int64(unknownLife)
}

func (c *cache) guard(id ID) *guard { return &c.guards[id[0]] }

// stamp is what must be noted before a session is read that is to be remembered.
func (c *cache) stamp(id ID) stamp {
	g := c.guard(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	return stamp{g.generation, c.epoch.Load()}
}

// remember keeps a session that was read after noted, unless it may have
// changed since.
func (c *cache) remember(s *Session, noted stamp) {
	g := c.guard(s.ID)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.generation != noted.generation || c.epoch.Load() != noted.epoch {
		return
	}
	c.entries.Set(s.ID, &entry{session: s, epoch: noted.epoch, at: c.now(), weight: weigh(s)})
}

// rememberUnknown keeps that there is no such session. An identifier belongs to a
// secret that nobody can have made before, so that none comes into being later.
// The generation stays: else junk would keep sessions that are being read from
// being remembered.
func (c *cache) rememberUnknown(id ID, noted stamp) {
	c.drop(id)
	c.unknown.Set(id, absence{epoch: noted.epoch, at: c.now()})
}

// seen moves the last use of what is remembered.
func (c *cache) seen(id ID, at time.Time) {
	g := c.guard(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := c.entries.GetIfPresent(id)
	if !ok || !at.After(old.session.Seen) {
		return
	}
	e, s := *old, *old.session
	s.Seen = at
	e.session = &s
	c.entries.Set(id, &e)
}

// drop drops what is remembered of a session.
func (c *cache) drop(id ID) {
	g := c.guard(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	c.entries.Invalidate(id)
}

// forget drops what is remembered of a session, and what is being read of it.
func (c *cache) forget(id ID) { c.Changed(id, 0) }

// Changed implements [Watcher]. What is as new as the change may stay.
func (c *cache) Changed(id ID, version uint64) {
	g := c.guard(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.generation++
	if e, ok := c.entries.GetIfPresent(id); ok && (version == 0 || e.session.Version < version) {
		c.entries.Invalidate(id)
	}
}

// Lost implements [Watcher]: nothing that is remembered is believed any more.
func (c *cache) Lost() {
	c.last.Store(c.heard.Swap(0))
	c.epoch.Add(1)
}

// Heard implements [Watcher].
func (c *cache) Heard(at time.Time) { c.heard.Store(int64(at.Sub(c.base))) }

// weigh is what an entry takes in memory, roughly.
func weigh(s *Session) uint32 {
	const fixed = 1 << 10 // the entry, its place in the cache, the session, its short strings
	who := &s.Identity
	size := fixed + len(who.Email) + len(who.Name) + len(who.Username)
	for _, list := range [][]string{who.Groups, who.AMR} {
		for _, s := range list {
			size += word + len(s)
		}
	}
	return uint32(size + footprint(who.Claims))
}

const word = 16 // of a string, an interface

// footprint is what a claim takes in memory, roughly. A map has room for eight
// pairs at least, unless it is empty.
func footprint(claim any) int {
	const emptyMap, smallMap, eachMore = 64, 320, 64
	switch c := claim.(type) {
	case string:
		return word + len(c)
	case json.Number:
		return word + len(c)
	case []any:
		size := 2 * word
		for _, v := range c {
			size += word + footprint(v)
		}
		return size
	case map[string]any:
		if len(c) == 0 {
			return emptyMap
		}
		size := smallMap + eachMore*max(0, len(c)-8)
		for k, v := range c {
			size += len(k) + footprint(v)
		}
		return size
	}
	return word
}
