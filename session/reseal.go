package session

import (
	"context"
	"sync"
	"time"
)

const (
	maxReseals    = 256     // waiting
	maxResealed   = 100_000 // remembered, so that each is tried once
	resealTimeout = 5 * time.Second
)

// reseals are the sessions that an older key sealed. Each is sealed anew once in
// the life of a process: while a new first key is rolled out, two replicas could
// else go on correcting each other.
type reseals struct {
	mu     sync.Mutex
	tried  map[ID]struct{} // guarded by mu
	wanted []Token         // guarded by mu
}

// want notes that t's session should be sealed anew, unless that was tried or
// there is no room.
func (r *reseals) want(t Token) {
	id := t.ID()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.tried[id]; again || len(r.wanted) >= maxReseals {
		return
	}
	if r.tried == nil || len(r.tried) >= maxResealed {
		r.tried = map[ID]struct{}{}
	}
	r.tried[id] = struct{}{}
	r.wanted = append(r.wanted, t)
}

func (r *reseals) take() []Token {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := r.wanted
	r.wanted = nil
	return wanted
}

// sealAnew seals, until ctx ends, what is wanted.
func (v *Vault) sealAnew(ctx context.Context) {
	tick := time.NewTicker(flushUses)
	defer tick.Stop()
	for {
		for _, t := range v.reseals.take() {
			v.reseal(ctx, t)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// reseal seals all of a session anew, unless it changes meanwhile. If that fails,
// the session stays as it was: the older key still opens it.
func (v *Vault) reseal(ctx context.Context, t Token) {
	ctx, cancel := context.WithTimeout(ctx, resealTimeout)
	defer cancel()
	id := t.ID()
	old, err := v.Store.LoadWhole(ctx, id)
	if err != nil || v.Sealer.Current(old.Hot) {
		return
	}
	hot, err := v.Sealer.Open(bind(hotPurpose, t, id), old.Hot)
	if err != nil {
		return
	}
	tokens, err := v.Sealer.Open(bind(tokensPurpose, t, id), old.Tokens)
	if err != nil {
		return
	}
	s, err := decodeHot(hot)
	if err != nil {
		return
	}
	r := old
	r.Hot = v.Sealer.Seal(bind(hotPurpose, t, id), hot)
	r.Tokens = v.Sealer.Seal(bind(tokensPurpose, t, id), tokens)
	r.Display = v.resealDisplay(id, old.Display)
	r.Indexes = v.indexes(s.Identity)
	_ = v.Store.Replace(ctx, id, old.Version, r)
}

// resealDisplay seals a display record by the present key, if it opens.
func (v *Vault) resealDisplay(id ID, sealed []byte) []byte {
	if v.Sealer.Current(sealed) {
		return sealed
	}
	plain, err := v.Sealer.Open(bindDisplay(id), sealed)
	if err != nil {
		return sealed
	}
	return v.Sealer.Seal(bindDisplay(id), plain)
}
