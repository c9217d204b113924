package metrics

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/countersign/countersign/session"
)

// Store measures the calls to next.
func (m *Metrics) Store(next session.Store) session.Store { return store{next, m} }

type store struct {
	session.Store
	m *Metrics
}

// result names what an error of a store means.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, session.ErrNotFound):
		return "not_found"
	case errors.Is(err, session.ErrExists), errors.Is(err, session.ErrConflict):
		return "conflict"
	}
	return "error"
}

func (s store) observe(operation string, began time.Time, err error) {
	s.m.store.WithLabelValues(operation, result(err)).Observe(time.Since(began).Seconds())
}

func (s store) Create(ctx context.Context, id session.ID, r session.Record, claimed time.Time) (err error) {
	defer func(t time.Time) { s.observe("create", t, err) }(time.Now())
	return s.Store.Create(ctx, id, r, claimed)
}

func (s store) Load(ctx context.Context, id session.ID) (r session.Record, err error) {
	defer func(t time.Time) { s.observe("load", t, err) }(time.Now())
	return s.Store.Load(ctx, id)
}

func (s store) LoadWhole(ctx context.Context, id session.ID) (r session.Record, err error) {
	defer func(t time.Time) { s.observe("load_whole", t, err) }(time.Now())
	return s.Store.LoadWhole(ctx, id)
}

func (s store) Replace(ctx context.Context, id session.ID, version uint64, r session.Record) (err error) {
	defer func(t time.Time) { s.observe("replace", t, err) }(time.Now())
	return s.Store.Replace(ctx, id, version, r)
}

func (s store) Delete(ctx context.Context, ids ...session.ID) (n int, err error) {
	defer func(t time.Time) { s.observe("delete", t, err) }(time.Now())
	return s.Store.Delete(ctx, ids...)
}

func (s store) Touch(ctx context.Context, uses map[session.ID]session.Use) (err error) {
	defer func(t time.Time) { s.observe("touch", t, err) }(time.Now())
	return s.Store.Touch(ctx, uses)
}

func (s store) Find(ctx context.Context, index session.Index) (ids []session.ID, err error) {
	defer func(t time.Time) { s.observe("find", t, err) }(time.Now())
	return s.Store.Find(ctx, index)
}

func (s store) List(ctx context.Context, prefix string) iter.Seq2[session.Listed, error] {
	return func(yield func(session.Listed, error) bool) {
		var last error
		defer func(t time.Time) { s.observe("list", t, last) }(time.Now())
		for l, err := range s.Store.List(ctx, prefix) {
			last = err
			if !yield(l, err) {
				return
			}
		}
	}
}

func (s store) Bury(ctx context.Context, life time.Duration, indexes ...session.Index) (err error) {
	defer func(t time.Time) { s.observe("bury", t, err) }(time.Now())
	return s.Store.Bury(ctx, life, indexes...)
}

func (s store) Lock(ctx context.Context, id session.ID, owner session.Owner, life time.Duration) (ok bool, err error) {
	defer func(t time.Time) { s.observe("lock", t, err) }(time.Now())
	return s.Store.Lock(ctx, id, owner, life)
}

func (s store) Unlock(ctx context.Context, id session.ID, owner session.Owner, pause time.Duration) (err error) {
	defer func(t time.Time) { s.observe("unlock", t, err) }(time.Now())
	return s.Store.Unlock(ctx, id, owner, pause)
}

func (s store) Claim(ctx context.Context, c session.Claim, life time.Duration) (at time.Time, first bool, err error) {
	defer func(t time.Time) { s.observe("claim", t, err) }(time.Now())
	return s.Store.Claim(ctx, c, life)
}

func (s store) Settle(ctx context.Context, c session.Claim, result []byte, life time.Duration) (err error) {
	defer func(t time.Time) { s.observe("settle", t, err) }(time.Now())
	return s.Store.Settle(ctx, c, result, life)
}

func (s store) Settled(ctx context.Context, c session.Claim) (b []byte, err error) {
	defer func(t time.Time) { s.observe("settled", t, err) }(time.Now())
	return s.Store.Settled(ctx, c)
}

func (s store) Ping(ctx context.Context) (err error) {
	defer func(t time.Time) { s.observe("ping", t, err) }(time.Now())
	return s.Store.Ping(ctx)
}
