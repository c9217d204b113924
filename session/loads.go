package session

import (
	"context"
	"errors"
	"sync"
)

// loads are the reads under way, one for each session. Whoever comes first reads,
// in its own time; the others wait for that. It takes no goroutine, whose stack
// would have to grow first: a tenth of what a read costs.
type loads struct {
	mu  sync.Mutex
	all map[ID]*loading // guarded by mu
}

// loading is one read. session, err and gaveUp are set before done is closed.
type loading struct {
	done    chan struct{}
	session *Session
	err     error
	gaveUp  bool // it had not the time, which says nothing to the others
}

var errReadPanic = errors.New("session: panic while it was read")

// do calls read, or waits for who does.
func (l *loads) do(ctx context.Context, id ID, read func() (*Session, error)) (*Session, error) {
	for {
		one, mine := l.join(id)
		if mine {
			defer l.finish(ctx, id, one)
			one.session, one.err = read()
			return one.session, one.err
		}
		select {
		case <-one.done:
			if !one.gaveUp {
				return one.session, one.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *loads) join(id ID) (one *loading, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one, ok := l.all[id]; ok {
		return one, false
	}
	if l.all == nil {
		l.all = map[ID]*loading{}
	}
	one = &loading{done: make(chan struct{}), err: errReadPanic, gaveUp: true}
	l.all[id] = one
	return one, true
}

func (l *loads) finish(ctx context.Context, id ID, one *loading) {
	one.gaveUp = one.err != nil && (ctx.Err() != nil || errors.Is(one.err, errReadPanic))
	l.mu.Lock()
	delete(l.all, id)
	l.mu.Unlock()
	close(one.done)
}
