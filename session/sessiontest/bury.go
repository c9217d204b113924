package sessiontest

import (
	"errors"
	"sync"
	"time"

	"github.com/countersign/countersign/session"
)

var bury = []promise{
	{"refuses_what_was_claimed_before", func(b *bench) {
		id, alice, claimed := b.newID(), b.newIndex(), b.claimed()
		b.must(b.store.Bury(b.Context(), time.Minute, alice))
		b.refuses(id, claimed, alice)
		b.finds(alice)
	}},
	{"refuses_what_was_claimed_just_before", func(b *bench) {
		for range 50 { // some of them in the same millisecond
			alice, claimed := b.newIndex(), b.claimed()
			b.must(b.store.Bury(b.Context(), time.Minute, alice))
			b.refuses(b.newID(), claimed, alice)
		}
	}},
	{"lets_what_is_claimed_afterwards_be", func(b *bench) {
		id, alice := b.newID(), b.newIndex()
		b.must(b.store.Bury(b.Context(), time.Hour, alice))
		b.letsLater(id, alice)
		b.finds(alice, id)
	}},
	{"refuses_for_any_of_the_indexes", func(b *bench) {
		alice, sid, claimed := b.newIndex(), b.newIndex(), b.claimed()
		b.must(b.store.Bury(b.Context(), time.Minute, sid))
		b.refuses(b.newID(), claimed, alice, sid)
		b.finds(alice)
		b.refuses(b.newID(), claimed, sid, alice)
		b.finds(alice)
	}},
	{"of_several_refuses_each", func(b *bench) {
		alice, bob, claimed := b.newIndex(), b.newIndex(), b.claimed()
		b.must(b.store.Bury(b.Context(), time.Minute, alice, bob))
		b.refuses(b.newID(), claimed, alice)
		b.refuses(b.newID(), claimed, bob)
	}},
	{"of_none_is_no_error", func(b *bench) { b.must(b.store.Bury(b.Context(), time.Minute)) }},
	{"lets_other_indexes_be", func(b *bench) {
		id, bob, claimed := b.newID(), b.newIndex(), b.claimed()
		b.must(b.store.Bury(b.Context(), time.Minute, b.newIndex()))
		b.must(b.store.Create(b.Context(), id, b.under("bob", bob), claimed))
		b.must(b.store.Create(b.Context(), b.newID(), b.record("nobody"), claimed))
		b.finds(bob, id)
	}},
	{"leaves_alone_what_is_there", func(b *bench) {
		id, alice := b.newID(), b.newIndex()
		b.must(b.create(id, b.under("alice", alice)))
		b.must(b.store.Bury(b.Context(), time.Minute, alice))
		b.holds(id, 1, b.record("alice"))
		b.must(b.touch(id, b.began, alice))
		b.must(b.store.Replace(b.Context(), id, 1, b.under("alice", alice)))
		b.finds(alice, id)
	}},
	{"refuses_again_and_again", func(b *bench) {
		alice, claimed := b.newIndex(), b.claimed()
		b.must(b.store.Bury(b.Context(), time.Minute, alice))
		for range 3 {
			b.refuses(b.newID(), claimed, alice)
		}
	}},
	{"lets_be_when_its_life_has_passed", func(b *bench) {
		id, alice, claimed := b.newID(), b.newIndex(), b.claimed()
		b.must(b.store.Bury(b.Context(), 50*time.Millisecond, alice))
		b.eventually("the burial is forgotten", func() bool {
			err := b.store.Create(b.Context(), id, b.under("alice", alice), claimed)
			b.must(known(err))
			return err == nil
		})
		b.finds(alice, id)
	}},
	{"again_refuses_what_was_claimed_between", func(b *bench) {
		alice := b.newIndex()
		b.must(b.store.Bury(b.Context(), time.Hour, alice))
		time.Sleep(5 * time.Millisecond)
		claimed := b.claimed()
		b.must(b.store.Bury(b.Context(), time.Hour, alice))
		b.refuses(b.newID(), claimed, alice)
	}},
	{"again_for_less_forgets_nothing", func(b *bench) {
		alice, claimed := b.newIndex(), b.claimed()
		b.must(b.store.Bury(b.Context(), time.Hour, alice))
		b.must(b.store.Bury(b.Context(), 20*time.Millisecond, alice))
		time.Sleep(100 * time.Millisecond) // a burial that was shortened is over by now
		b.refuses(b.newID(), claimed, alice)
	}},
	{"wins_every_race_with_a_login", func(b *bench) {
		for range 60 {
			b.signOutRace()
		}
	}},
}

// signOutRace signs somebody out while she logs in many times: half of the
// logins were claimed before, the others are claimed meanwhile. A login that was
// claimed before the burial must not live when the sign-out is done.
func (b *bench) signOutRace() {
	b.Helper()
	type login struct {
		id      session.ID
		claimed time.Time
	}
	const logins = 8
	var (
		alice  = b.newIndex()
		early  [logins]time.Time
		mu     sync.Mutex
		made   []login
		before time.Time // a moment before the burial
	)
	for i := 0; i < logins; i += 2 {
		early[i] = b.claimed()
	}
	b.together(logins+1, func(i int) error {
		if i == logins {
			at, _, err := b.store.Claim(b.Context(), session.Claim(b.newID()), time.Minute)
			before = at
			return errors.Join(err, b.signOut(alice))
		}
		l := login{b.newID(), early[i]}
		if l.claimed.IsZero() {
			at, _, err := b.store.Claim(b.Context(), session.Claim(b.newID()), time.Minute)
			if err != nil {
				return err
			}
			l.claimed = at
		}
		err := b.store.Create(b.Context(), l.id, b.under("alice", alice), l.claimed)
		if errors.Is(err, session.ErrNotFound) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		made = append(made, l)
		return err
	})
	for _, l := range made {
		err := b.load(b.Context(), l.id)
		b.must(known(err))
		if err == nil && !l.claimed.After(before) {
			b.Errorf("a login that was claimed at %v lives, though its owner was signed out after %v", l.claimed, before)
		}
	}
}

// signOut does what a logout by index does.
func (b *bench) signOut(index session.Index) error {
	if err := b.store.Bury(b.Context(), time.Minute, index); err != nil {
		return err
	}
	ids, err := b.store.Find(b.Context(), index)
	return errors.Join(err, b.deletes(ids...))
}

// claimed is the moment of a claim.
func (b *bench) claimed() time.Time {
	b.Helper()
	at, first, err := b.store.Claim(b.Context(), session.Claim(b.newID()), time.Minute)
	if err != nil || !first {
		b.Fatalf("Claim = %v, %v, want the first", first, err)
	}
	return at
}

// refuses checks that a session under indexes is not made.
func (b *bench) refuses(id session.ID, claimed time.Time, indexes ...session.Index) {
	b.Helper()
	b.fails("Create", b.store.Create(b.Context(), id, b.under("late", indexes...), claimed), session.ErrNotFound)
	b.missing(id)
}

// letsLater claims anew until a session under the index is made, which at the
// latest it is in the next millisecond.
func (b *bench) letsLater(id session.ID, index session.Index) {
	b.Helper()
	b.eventually("a new claim is let be", func() bool {
		err := b.store.Create(b.Context(), id, b.under("alice", index), b.claimed())
		b.must(known(err))
		return err == nil
	})
}
