package redis

import (
	"sync"
	"time"
)

// A breaker opens after as many failures within so long, and lets one call try
// again after each pause. Those under way when Redis freezes are then all there
// ever are: the rate of requests times the timeout.
const (
	maxFailures = 5
	failWindow  = time.Second
	failPause   = 500 * time.Millisecond
)

// result is what a call said about the health of Redis.
type result uint8

const (
	unknown result = iota
	healthy
	sick
)

// breaker spares callers the wait for a Redis that does not answer. The zero
// breaker is closed: it lets everybody through.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row; guarded by mu
	first    time.Time // the first of them; guarded by mu
	until    time.Time // end of the pause, zero while closed; guarded by mu
	probing  bool      // somebody tries after a pause; guarded by mu
}

// begin reports whether a call may be made. If so, done must be called once.
func (b *breaker) begin() (done func(result), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	probe := !b.until.IsZero()
	if probe && (b.probing || time.Now().Before(b.until)) {
		return nil, false
	}
	b.probing = probe
	return func(r result) { b.end(r, probe) }, true
}

func (b *breaker) end(r result, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = b.probing && !probe
	now := time.Now()
	switch r {
	case unknown:
	case healthy:
		b.failures, b.until = 0, time.Time{}
	case sick:
		if b.failures == 0 || now.Sub(b.first) > failWindow {
			b.failures, b.first = 0, now
		}
		if b.failures++; b.failures >= maxFailures || !b.until.IsZero() {
			b.until = now.Add(failPause)
		}
	}
}
