package sessiontest

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/session"
)

// bench is a test with a store.
type bench struct {
	*testing.T
	store    session.Store
	newStore func(t *testing.T) session.Store
	began    time.Time // in whole milliseconds
}

func (b *bench) newID() (id session.ID) {
	rand.Read(id[:]) // never fails since Go 1.24
	return id
}

const day = 24 * time.Hour

// record returns what is kept for somebody: seen as the test began, good for a
// day.
func (b *bench) record(who string) session.Record {
	return session.Record{
		Hot: []byte("hot of " + who), Tokens: []byte("tokens of " + who), Display: []byte("display of " + who),
		Seen: b.began, Ends: b.began.Add(day), Idle: time.Hour,
	}
}

// create keeps a record whose login was claimed now.
func (b *bench) create(id session.ID, r session.Record) error {
	return b.store.Create(b.Context(), id, r, time.Now())
}

func (b *bench) deletes(ids ...session.ID) error {
	_, err := b.store.Delete(b.Context(), ids...)
	return err
}

// deletesSome checks how many sessions there were to delete.
func (b *bench) deletesSome(want int, ids ...session.ID) {
	b.Helper()
	if n, err := b.store.Delete(b.Context(), ids...); err != nil || n != want {
		b.Errorf("Delete = %d, %v, want %d", n, err, want)
	}
}

func (b *bench) touch(id session.ID, at time.Time, indexes ...session.Index) error {
	return b.store.Touch(b.Context(), map[session.ID]session.Use{id: {Seen: at, Ends: b.began.Add(day), Indexes: indexes}})
}

func (b *bench) load(ctx context.Context, id session.ID) error {
	_, err := b.store.Load(ctx, id)
	return err
}

func (b *bench) loadWhole(ctx context.Context, id session.ID) error {
	_, err := b.store.LoadWhole(ctx, id)
	return err
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) fails(name string, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("%s = %v, want %v", name, err, want)
	}
}

// holds checks all that the store holds of a session.
func (b *bench) holds(id session.ID, version uint64, want session.Record) {
	b.Helper()
	whole, err := b.store.LoadWhole(b.Context(), id)
	if err != nil {
		b.Fatalf("LoadWhole = %v", err)
	}
	want.Version, want.Indexes = version, nil
	if diff := cmp.Diff(want, whole); diff != "" {
		b.Errorf("LoadWhole finds something else (-want +got):\n%s", diff)
	}
	hot, err := b.store.Load(b.Context(), id)
	if err != nil {
		b.Fatalf("Load = %v", err)
	}
	want.Tokens, want.Display = nil, nil
	if diff := cmp.Diff(want, hot); diff != "" {
		b.Errorf("Load finds something else (-want +got):\n%s", diff)
	}
}

func (b *bench) missing(id session.ID) {
	b.Helper()
	b.fails("Load", b.load(b.Context(), id), session.ErrNotFound)
	b.fails("LoadWhole", b.loadWhole(b.Context(), id), session.ErrNotFound)
}

// forgets waits until a session has ended, and checks that no part is left.
func (b *bench) forgets(id session.ID) {
	b.Helper()
	b.eventually("the session has ended", func() bool {
		return errors.Is(b.load(b.Context(), id), session.ErrNotFound)
	})
	b.missing(id)
}

// patience is how long a test waits for what a sound store does at once.
const patience = 10 * time.Second

// eventually waits for what only the store or its clock brings about.
func (b *bench) eventually(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain until %s", what)
		}
	}
}

// soon keeps what ends in a moment, which is as brief as the machine is fast: what
// came too late to be kept is kept for longer.
func (b *bench) soon(keep func(life time.Duration) error) {
	b.Helper()
	for life := 50 * time.Millisecond; life < patience; life *= 2 {
		err := keep(life)
		if err == nil {
			return
		}
		b.fails("keeping it", err, session.ErrNotFound)
	}
	b.Fatal("what ends soon was never kept")
}

// createSoon keeps a record that ends in a moment, and returns when.
func (b *bench) createSoon(id session.ID, r session.Record) time.Time {
	b.Helper()
	b.soon(func(life time.Duration) error {
		r.Ends = time.Now().Add(life)
		return b.create(id, r)
	})
	return r.Ends
}

// createAndTouch keeps a record that would idle out in a moment, touches it in
// time, and waits until that moment has passed.
func (b *bench) createAndTouch(r session.Record) session.ID {
	b.Helper()
	var (
		id  session.ID
		end time.Time
	)
	b.soon(func(life time.Duration) error {
		id = b.newID()
		r.Idle = time.Since(r.Seen) + 4*life
		end = r.End()
		err := errors.Join(b.create(id, r), b.touch(id, time.Now().Add(time.Minute), r.Indexes...))
		if err == nil && !time.Now().Before(end) {
			return session.ErrNotFound // perhaps touched too late
		}
		return err
	})
	b.eventually("its first end has passed", func() bool { return time.Now().After(end) })
	return id
}

// together runs n calls at once and fails for any error.
func (b *bench) together(n int, call func(i int) error) {
	b.Helper()
	var (
		wg   sync.WaitGroup
		gate = make(chan struct{})
		errs = make([]error, n)
	)
	for i := range n {
		wg.Go(func() {
			<-gate
			errs[i] = call(i)
		})
	}
	close(gate)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Error(err)
	}
}

// known drops the errors that an operation may always meet.
func known(err error) error {
	for _, e := range []error{session.ErrNotFound, session.ErrExists, session.ErrConflict} {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}
