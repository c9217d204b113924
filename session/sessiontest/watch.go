package sessiontest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/session"
)

var watch = []promise{
	{"tells_of_a_delete", func(b *bench) {
		w, other, id := b.watched(), b.other(), b.newID()
		b.must(b.create(id, b.record("alice")))
		_, err := other.Delete(b.Context(), id)
		b.must(err)
		b.tells(w, id, 0)
	}},
	{"tells_of_each_that_is_deleted_at_once", func(b *bench) {
		w, other := b.watched(), b.other()
		var ids []session.ID
		for range 50 {
			id := b.newID()
			b.must(b.create(id, b.record("alice")))
			ids = append(ids, id)
		}
		_, err := other.Delete(b.Context(), ids...)
		b.must(err)
		for _, id := range ids {
			b.tells(w, id, 0)
		}
	}},
	{"tells_of_a_replace_with_its_version", func(b *bench) {
		w, other, id := b.watched(), b.other(), b.newID()
		b.must(b.create(id, b.record("1")))
		b.must(other.Replace(b.Context(), id, 1, b.record("2")))
		b.tells(w, id, 2)
		b.must(other.Replace(b.Context(), id, 2, b.record("3")))
		b.tells(w, id, 3)
	}},
	{"tells_of_changes_of_its_own", func(b *bench) {
		w, id := b.watched(), b.newID()
		b.must(b.create(id, b.record("1")))
		b.must(b.store.Replace(b.Context(), id, 1, b.record("2")))
		b.tells(w, id, 2)
		b.must(b.deletes(id))
		b.tells(w, id, 0)
	}},
	{"tells_every_watcher", func(b *bench) {
		first, second, id := b.watched(), b.watched(), b.newID()
		b.must(b.create(id, b.record("alice")))
		b.must(b.deletes(id))
		b.tells(first, id, 0)
		b.tells(second, id, 0)
	}},
	{"tells_nothing_of_what_changed_nothing", func(b *bench) {
		w, other, id := b.watched(), b.other(), b.newID()
		b.must(b.create(id, b.under("alice", b.newIndex())))
		b.hears(w, time.Now())
		before := w.changes(id) // Create may tell
		b.must(other.Touch(b.Context(), map[session.ID]session.Use{
			id: {Seen: b.began.Add(time.Second), Ends: b.began.Add(day), Indexes: []session.Index{b.newIndex()}},
		}))
		b.fails("Replace", other.Replace(b.Context(), id, 7, b.record("late")), session.ErrConflict)
		_, err := other.LoadWhole(b.Context(), id)
		b.must(err)
		b.hears(w, time.Now())
		if told := w.changes(id); len(told) > len(before) {
			b.Errorf("versions %v were told, want %v", told, before)
		}
	}},
	{"has_lost_at_the_beginning_only", func(b *bench) {
		w := b.watched()
		b.must(b.deletes(b.newID()))
		for range 3 {
			b.hears(w, time.Now())
		}
		events := w.all() // what others did may come first
		lost := slices.IndexFunc(events, func(e event) bool { return e.lost })
		heard := slices.IndexFunc(events, func(e event) bool { return !e.heard.IsZero() })
		if lost < 0 || lost > heard {
			b.Errorf("Lost came as number %d, and Heard as %d, want Lost first", lost, heard)
		}
		if w.interrupted() {
			b.Error("Lost came after Heard, though nothing was interrupted")
		}
	}},
	{"is_heard_again_and_again", func(b *bench) {
		began := time.Now()
		w := b.watched()
		b.hears(w, time.Now())
		b.hears(w, time.Now())
		for _, e := range w.all() {
			if !e.heard.IsZero() && e.heard.After(e.told) {
				b.Errorf("Heard(%v) came at %v, before its moment", e.heard, e.told)
			}
			if !e.heard.IsZero() && e.heard.Before(began) {
				b.Errorf("Heard(%v), though the watch began at %v", e.heard, began)
			}
		}
	}},
	{"is_heard_after_all_that_was_complete", func(b *bench) {
		w, other := b.watched(), b.other()
		const writers, each = 4, 60
		var (
			ids         [writers * each]session.ID
			begun, done [writers * each]time.Time
		)
		for i := range ids {
			ids[i] = b.newID()
			b.must(b.create(ids[i], b.record("alice")))
		}
		b.together(writers, func(i int) error {
			for n := i * each; n < (i+1)*each; n++ {
				begun[n] = time.Now()
				if _, err := other.Delete(b.Context(), ids[n]); err != nil {
					return err
				}
				done[n] = time.Now()
				time.Sleep(5 * time.Millisecond) // so that some are heard of in between
			}
			return nil
		})
		b.hears(w, time.Now())
		events := w.all()
		for i, id := range ids {
			place := slices.IndexFunc(events, func(e event) bool { return e.id == id || e.lost && e.told.After(begun[i]) })
			if place < 0 {
				b.Fatalf("change %d of %d was never told", i, len(ids))
			}
			for _, e := range events[:place] {
				if e.heard.After(done[i]) {
					b.Fatalf("Heard(%v) came before a change that was complete %v earlier", e.heard, e.heard.Sub(done[i]))
				}
			}
		}
	}},
	{"ends_with_the_error_of_its_context", func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		ended := b.watches(ctx, &witness{})
		cancel()
		b.fails("Watch", b.within(ended), context.Canceled)

		ctx, cancel = context.WithTimeout(b.Context(), 50*time.Millisecond)
		defer cancel()
		b.fails("Watch", b.within(b.watches(ctx, &witness{})), context.DeadlineExceeded)
	}},
	{"tells_nothing_once_it_has_ended", func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		w, id, witnessed := &witness{}, b.newID(), b.watched()
		ended := b.watches(ctx, w)
		b.hears(w, time.Now())
		cancel()
		b.fails("Watch", b.within(ended), context.Canceled)
		told := len(w.all())
		b.must(b.deletes(id))
		b.tells(witnessed, id, 0)
		if n := len(w.all()); n > told {
			b.Errorf("%d more things were told after Watch returned", n-told)
		}
	}},
}

// watched is told what the store tells until the test ends, and has been told
// once that all is well.
func (b *bench) watched() *witness {
	b.Helper()
	w := &witness{}
	ended := b.watches(b.Context(), w)
	b.Cleanup(func() { b.fails("Watch", b.within(ended), context.Canceled) })
	b.hears(w, time.Time{})
	return w
}

// watches begins to watch and returns how it ends.
func (b *bench) watches(ctx context.Context, w *witness) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- b.store.Watch(ctx, w) }()
	return ended
}

// within waits for the end of a watch.
func (b *bench) within(ended <-chan error) error {
	b.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		b.Fatal("Watch goes on though its context has ended")
		return nil
	}
}

// other is another handle of the same store, if there is one.
func (b *bench) other() session.Store {
	b.Helper()
	other, id := b.newStore(b.T), b.newID()
	b.must(b.create(id, b.record("nobody")))
	_, err := other.Load(b.Context(), id)
	b.must(known(err))
	if err != nil {
		return b.store // each handle is a store of its own
	}
	return other
}

// tells waits until a change has been told, or may have been lost.
func (b *bench) tells(w *witness, id session.ID, version uint64) {
	b.Helper()
	b.eventually("the change is told", func() bool {
		return slices.Contains(w.changes(id), version) || w.interrupted()
	})
}

// hears waits until all up to that moment has been told.
func (b *bench) hears(w *witness, at time.Time) {
	b.Helper()
	b.eventually("all is heard", func() bool {
		return slices.ContainsFunc(w.all(), func(e event) bool { return e.heard.After(at) })
	})
}

// witness is a [session.Watcher] that remembers everything in its order.
type witness struct {
	mu     sync.Mutex
	events []event // guarded by mu
}

// event is what a witness was told: a change unless it is one of the others.
type event struct {
	id      session.ID
	version uint64
	lost    bool
	heard   time.Time
	told    time.Time // when it was told
}

func (w *witness) Changed(id session.ID, version uint64) { w.note(event{id: id, version: version}) }
func (w *witness) Lost()                                 { w.note(event{lost: true}) }
func (w *witness) Heard(at time.Time)                    { w.note(event{heard: at}) }

func (w *witness) note(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.told = time.Now()
	w.events = append(w.events, e)
}

func (w *witness) all() []event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// changes are the versions that were told of a session.
func (w *witness) changes(id session.ID) (versions []uint64) {
	for _, e := range w.all() {
		if e.id == id {
			versions = append(versions, e.version)
		}
	}
	return versions
}

// interrupted reports whether Lost came after the beginning, which is over once
// something was heard.
func (w *witness) interrupted() bool {
	events := w.all()
	first := slices.IndexFunc(events, func(e event) bool { return !e.heard.IsZero() })
	return first >= 0 && slices.ContainsFunc(events[first:], func(e event) bool { return e.lost })
}
