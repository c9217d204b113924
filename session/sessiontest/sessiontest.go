// Package sessiontest is what every [session.Store] promises, as a test kit.
package sessiontest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/session"
)

// Run checks that what newStore returns keeps the contract of [session.Store].
// Each sentence of that contract is a subtest. Stores of different subtests may
// share what they keep: every subtest makes up identifiers of its own. The
// store's clock must be that of this machine.
func Run(t *testing.T, newStore func(t *testing.T) session.Store) {
	t.Helper()
	groups := []struct {
		name  string
		tests []promise
	}{
		{"create", create},
		{"load", load},
		{"replace", replace},
		{"delete", deletion},
		{"touch", touch},
		{"claim", claim},
		{"ends", ends},
		{"concurrency", concurrency},
		{"context", cancelled},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			if len(g.tests) == 0 {
				t.Fatal("no tests")
			}
			for _, p := range g.tests {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					p.test(&bench{T: t, store: newStore(t), began: time.Now().Truncate(time.Millisecond)})
				})
			}
		})
	}
}

// promise is one sentence of the contract.
type promise struct {
	name string
	test func(b *bench)
}

var create = []promise{
	{"keeps_a_new_record_as_version_1", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		b.holds(id, 1, r)
	}},
	{"does_not_overwrite", func(b *bench) {
		id, first := b.newID(), b.record("first")
		b.must(b.create(id, first))
		b.fails("Create", b.create(id, b.record("second")), session.ErrExists)
		b.holds(id, 1, first)
	}},
	{"again_after_delete_starts_at_version_1", func(b *bench) {
		id, r := b.newID(), b.record("again")
		b.must(b.create(id, b.record("first")))
		b.must(b.store.Replace(b.Context(), id, 1, b.record("second")))
		b.must(b.deletes(id))
		b.must(b.create(id, r))
		b.holds(id, 1, r)
	}},
	{"ignores_the_version_of_the_record", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Version = 77
		b.must(b.create(id, r))
		b.holds(id, 1, r)
	}},
	{"of_what_has_ended_finds_nothing_to_keep", func(b *bench) {
		id, r := b.newID(), b.record("late")
		r.Ends = time.Now().Add(-time.Minute)
		b.fails("Create", b.create(id, r), session.ErrNotFound)
		b.missing(id)
	}},
	{"of_what_ends_exactly_now_finds_nothing_to_keep", func(b *bench) {
		id, r := b.newID(), b.record("late")
		r.Ends = time.Now()
		b.fails("Create", b.create(id, r), session.ErrNotFound)
		b.missing(id)
	}},
	{"of_what_has_idled_out", func(b *bench) {
		id, r := b.newID(), b.record("late")
		r.Seen = time.Now().Add(-r.Idle - time.Minute)
		b.fails("Create", b.create(id, r), session.ErrNotFound)
		b.missing(id)
	}},
	{"with_an_idle_end_beyond_every_date", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Idle = math.MaxInt64
		b.must(b.create(id, r))
		got, err := b.store.Load(b.Context(), id)
		if err != nil || !got.End().Equal(r.Ends) {
			b.Errorf("End = %v, %v, want %v", got.End(), err, r.Ends)
		}
	}},
	{"keeps_any_bytes", func(b *bench) {
		id, r := b.newID(), b.record("")
		for i := range 256 {
			r.Hot, r.Tokens = append(r.Hot, byte(i)), append(r.Tokens, byte(255-i))
		}
		r.Tokens = bytes.Repeat(r.Tokens, 256)
		b.must(b.create(id, r))
		b.holds(id, 1, r)
	}},
}

var load = []promise{
	{"of_what_never_was", func(b *bench) { b.missing(b.newID()) }},
	{"leaves_the_tokens_empty", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		r, err := b.store.Load(b.Context(), id)
		if err != nil || r.Tokens != nil {
			b.Errorf("Load = %d bytes of tokens, %v, want none", len(r.Tokens), err)
		}
	}},
	{"has_a_precision_of_a_millisecond", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Seen = r.Seen.Add(999_999)
		b.must(b.create(id, r))
		got, err := b.store.Load(b.Context(), id)
		if want := r.Seen.Truncate(time.Millisecond); err != nil || !got.Seen.Equal(want) {
			b.Errorf("Seen = %v, %v, want %v", got.Seen, err, want)
		}
	}},
	{"returns_a_copy", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		want := r
		r.Hot, r.Tokens = bytes.Clone(r.Hot), bytes.Clone(r.Tokens)
		clear(want.Hot)
		clear(want.Tokens)
		got, err := b.store.Load(b.Context(), id)
		b.must(err)
		clear(got.Hot)
		whole, err := b.store.LoadWhole(b.Context(), id)
		b.must(err)
		clear(whole.Tokens)
		clear(whole.Hot)
		clear(whole.Display)
		b.holds(id, 1, r)
	}},
	{"ping_is_answered", func(b *bench) { b.must(b.store.Ping(b.Context())) }},
}

var replace = []promise{
	{"puts_both_parts_and_the_times", func(b *bench) {
		id, second := b.newID(), b.record("second")
		second.Seen, second.Ends, second.Idle = second.Seen.Add(time.Second), second.Ends.Add(-time.Hour), time.Minute
		b.must(b.create(id, b.record("first")))
		b.must(b.store.Replace(b.Context(), id, 1, second))
		b.holds(id, 2, second)
	}},
	{"raises_the_version_by_one_each_time", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("1")))
		for v := range uint64(4) {
			b.must(b.store.Replace(b.Context(), id, v+1, b.record(fmt.Sprint(v+2))))
		}
		b.holds(id, 5, b.record("5"))
	}},
	{"of_an_old_version_changes_nothing", func(b *bench) {
		id, second := b.newID(), b.record("second")
		b.must(b.create(id, b.record("first")))
		b.must(b.store.Replace(b.Context(), id, 1, second))
		b.fails("Replace", b.store.Replace(b.Context(), id, 1, b.record("late")), session.ErrConflict)
		b.holds(id, 2, second)
	}},
	{"of_a_version_to_come_changes_nothing", func(b *bench) {
		id, first := b.newID(), b.record("first")
		b.must(b.create(id, first))
		b.fails("Replace", b.store.Replace(b.Context(), id, 2, b.record("early")), session.ErrConflict)
		b.fails("Replace", b.store.Replace(b.Context(), id, 0, b.record("early")), session.ErrConflict)
		b.holds(id, 1, first)
	}},
	{"of_what_never_was_creates_nothing", func(b *bench) {
		id := b.newID()
		for _, version := range []uint64{0, 1} {
			b.fails("Replace", b.store.Replace(b.Context(), id, version, b.record("mallory")), session.ErrNotFound)
		}
		b.missing(id)
	}},
	{"after_delete_loses", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.must(b.deletes(id))
		b.fails("Replace", b.store.Replace(b.Context(), id, 1, b.record("late")), session.ErrNotFound)
		b.missing(id)
	}},
	{"by_what_has_ended_changes_nothing", func(b *bench) {
		id, first, over := b.newID(), b.record("first"), b.record("over")
		over.Ends = time.Now().Add(-time.Minute)
		b.must(b.create(id, first))
		b.fails("Replace", b.store.Replace(b.Context(), id, 1, over), session.ErrNotFound)
		b.holds(id, 1, first)
	}},
}

var deletion = []promise{
	{"forgets_both_parts", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.must(b.deletes(id))
		b.missing(id)
	}},
	{"of_what_never_was_is_no_error", func(b *bench) { b.must(b.deletes(b.newID())) }},
	{"twice_is_no_error", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.must(b.deletes(id))
		b.must(b.deletes(id))
	}},
	{"leaves_others_alone", func(b *bench) {
		alice, bob, r := b.newID(), b.newID(), b.record("bob")
		b.must(b.create(alice, b.record("alice")))
		b.must(b.create(bob, r))
		b.must(b.deletes(alice))
		b.holds(bob, 1, r)
	}},
}

var touch = []promise{
	{"moves_seen_forward_and_no_version", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		r.Seen = r.Seen.Add(10 * time.Second)
		b.must(b.touch(id, r.Seen))
		b.holds(id, 1, r)
	}},
	{"never_moves_seen_back", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		b.must(b.touch(id, r.Seen.Add(-time.Second)))
		b.holds(id, 1, r)
	}},
	{"to_the_seen_that_it_has_exactly_now", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		b.must(b.touch(id, r.Seen))
		b.holds(id, 1, r)
	}},
	{"never_revives_what_was_deleted", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.must(b.deletes(id))
		b.must(b.touch(id, time.Now()))
		b.missing(id)
	}},
	{"never_makes_what_was_not", func(b *bench) {
		id := b.newID()
		b.must(b.touch(id, time.Now()))
		b.missing(id)
		b.must(b.create(id, b.record("alice")))
	}},
	{"of_many_skips_what_is_not_found", func(b *bench) {
		uses, at := map[session.ID]session.Use{}, time.Now().Add(5*time.Second).Truncate(time.Millisecond)
		var there []session.ID
		for i := range 1200 { // more than any batch
			id := b.newID()
			if i%3 == 0 {
				b.must(b.create(id, b.record("alice")))
				there = append(there, id)
			}
			uses[id] = session.Use{Seen: at, Ends: b.began.Add(day)}
		}
		b.must(b.store.Touch(b.Context(), uses))
		for _, id := range there {
			r, err := b.store.Load(b.Context(), id)
			if err != nil || !r.Seen.Equal(at) {
				b.Fatalf("Load = seen %v, %v, want seen %v", r.Seen, err, at)
			}
		}
	}},
	{"of_none_does_nothing", func(b *bench) { b.must(b.store.Touch(b.Context(), nil)) }},
	{"does_not_lose_a_replace_its_race", func(b *bench) {
		id, second := b.newID(), b.record("second")
		b.must(b.create(id, b.record("first")))
		b.must(b.touch(id, second.Seen.Add(time.Second)))
		b.must(b.store.Replace(b.Context(), id, 1, second))
		b.holds(id, 2, second)
	}},
}

var claim = []promise{
	{"is_the_first_once", func(b *bench) {
		c := session.Claim(b.newID())
		b.claims(c, time.Minute, true)
		b.claims(c, time.Minute, false)
		b.claims(session.Claim(b.newID()), time.Minute, true)
	}},
	{"has_one_winner_among_fifty", func(b *bench) {
		c := session.Claim(b.newID())
		var won atomic.Int32
		b.together(50, func(int) error {
			_, first, err := b.store.Claim(b.Context(), c, time.Minute)
			if first {
				won.Add(1)
			}
			return err
		})
		if won.Load() != 1 {
			b.Errorf("%d callers won the claim, want 1", won.Load())
		}
	}},
	{"is_free_again_when_its_life_has_passed", func(b *bench) {
		c := session.Claim(b.newID())
		b.claims(c, 30*time.Millisecond, true)
		b.eventually("the claim is free again", func() bool {
			_, first, err := b.store.Claim(b.Context(), c, time.Minute)
			b.must(err)
			return first
		})
		b.claims(c, time.Minute, false)
	}},
	{"is_not_prolonged_by_those_who_lose_it", func(b *bench) {
		c := session.Claim(b.newID())
		b.claims(c, 30*time.Millisecond, true)
		b.eventually("the claim is free again", func() bool {
			_, first, err := b.store.Claim(b.Context(), c, time.Hour)
			b.must(err)
			return first
		})
	}},
	{"without_a_result_is_not_found", func(b *bench) {
		c := session.Claim(b.newID())
		b.claims(c, time.Minute, true)
		b.unsettled(c)
	}},
	{"has_its_result_for_every_caller", func(b *bench) {
		c := session.Claim(b.newID())
		b.claims(c, time.Minute, true)
		b.must(b.store.Settle(b.Context(), c, []byte("sealed\x00\xff"), time.Minute))
		for range 2 {
			got, err := b.store.Settled(b.Context(), c)
			if err != nil || string(got) != "sealed\x00\xff" {
				b.Errorf("Settled = %q, %v", got, err)
			}
		}
		b.unsettled(session.Claim(b.newID()))
	}},
	{"outlives_its_result", func(b *bench) {
		c := session.Claim(b.newID())
		b.claims(c, time.Minute, true)
		b.must(b.store.Settle(b.Context(), c, []byte("sealed"), 30*time.Millisecond))
		b.eventually("the result is forgotten", func() bool {
			_, err := b.store.Settled(b.Context(), c)
			return errors.Is(err, session.ErrNotFound)
		})
		b.claims(c, time.Minute, false)
	}},
	{"is_no_session", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.claims(session.Claim(id), time.Minute, true)
		b.must(b.store.Settle(b.Context(), session.Claim(id), []byte("sealed"), time.Minute))
		b.holds(id, 1, b.record("alice"))
		b.must(b.deletes(id))
		b.claims(session.Claim(id), time.Minute, false)
	}},
}

var ends = []promise{
	{"absolutely", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Ends = time.Now().Add(50 * time.Millisecond)
		b.must(b.create(id, r))
		b.forgets(id)
	}},
	{"when_idle", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Idle = time.Since(r.Seen) + 50*time.Millisecond
		b.must(b.create(id, r))
		b.forgets(id)
	}},
	{"later_when_touched_before", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Idle = time.Since(r.Seen) + 200*time.Millisecond
		end := r.End()
		b.must(b.create(id, r))
		b.must(b.touch(id, time.Now().Add(time.Minute)))
		b.eventually("its first end has passed", func() bool { return time.Now().After(end) })
		for _, load := range []func(context.Context, session.ID) error{b.load, b.loadWhole} {
			b.must(load(b.Context(), id))
		}
	}},
	{"absolutely_however_often_it_is_touched", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Ends = time.Now().Add(100 * time.Millisecond)
		b.must(b.create(id, r))
		b.must(b.touch(id, time.Now().Add(time.Hour)))
		b.forgets(id)
	}},
	{"where_a_replace_has_put_it", func(b *bench) {
		id, r := b.newID(), b.record("second")
		b.must(b.create(id, b.record("first")))
		r.Ends = time.Now().Add(50 * time.Millisecond)
		b.must(b.store.Replace(b.Context(), id, 1, r))
		b.forgets(id)
	}},
	{"and_leaves_its_place_free", func(b *bench) {
		id, r := b.newID(), b.record("first")
		r.Ends = time.Now().Add(50 * time.Millisecond)
		b.must(b.create(id, r))
		b.forgets(id)
		b.fails("Replace", b.store.Replace(b.Context(), id, 1, b.record("late")), session.ErrNotFound)
		b.must(b.touch(id, time.Now()))
		b.missing(id)
		b.must(b.create(id, b.record("second")))
		b.holds(id, 1, b.record("second"))
	}},
}

var concurrency = []promise{
	{"one_of_many_creates_wins", func(b *bench) {
		id := b.newID()
		var won atomic.Int32
		b.together(20, func(int) error {
			err := b.create(id, b.record("alice"))
			if errors.Is(err, session.ErrExists) {
				return nil
			}
			won.Add(1)
			return err
		})
		if won.Load() != 1 {
			b.Errorf("%d creates won, want 1", won.Load())
		}
	}},
	{"one_of_many_replaces_wins", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		var won atomic.Int32
		b.together(20, func(int) error {
			err := b.store.Replace(b.Context(), id, 1, b.record("alice"))
			if errors.Is(err, session.ErrConflict) {
				return nil
			}
			won.Add(1)
			return err
		})
		if won.Load() != 1 {
			b.Errorf("%d replaces won, want 1", won.Load())
		}
		b.holds(id, 2, b.record("alice"))
	}},
	{"both_parts_are_of_one_version", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.together(10, func(i int) error {
			r, err := b.store.Load(b.Context(), id)
			if err != nil {
				return err
			}
			err = b.store.Replace(b.Context(), id, r.Version, b.record(fmt.Sprint(i)))
			if errors.Is(err, session.ErrConflict) {
				return nil
			}
			return err
		})
		whole, err := b.store.LoadWhole(b.Context(), id)
		b.must(err)
		who := string(bytes.TrimPrefix(whole.Hot, []byte("hot of ")))
		b.holds(id, whole.Version, b.record(who))
	}},
	{"nothing_revives_what_is_deleted_meanwhile", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.together(30, func(i int) error {
			switch i % 3 {
			case 0:
				return b.deletes(id)
			case 1:
				return b.touch(id, time.Now().Add(time.Second))
			}
			err := b.store.Replace(b.Context(), id, 1, b.record("late"))
			if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
				return nil
			}
			return err
		})
		b.missing(id)
	}},
	{"of_everything_at_once", func(b *bench) {
		var ids []session.ID
		for range 4 {
			ids = append(ids, b.newID())
		}
		b.together(40, func(i int) error {
			ctx, id := b.Context(), ids[i%len(ids)]
			return errors.Join(
				known(b.store.Create(ctx, id, b.record("alice"), time.Now())),
				known(b.load(ctx, id)), known(b.loadWhole(ctx, id)),
				known(b.store.Replace(ctx, id, 1, b.record("bob"))),
				b.touch(id, time.Now()),
				b.deletes(id),
				b.store.Ping(ctx),
			)
		})
	}},
}

var cancelled = []promise{
	{"that_has_ended_is_obeyed", func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		other := b.newID()
		_, _, claimErr := b.store.Claim(ctx, session.Claim(other), time.Minute)
		_, settledErr := b.store.Settled(ctx, session.Claim(other))
		_, deleteErr := b.store.Delete(ctx, id)
		for name, err := range map[string]error{
			"Create":    b.store.Create(ctx, other, r, time.Now()),
			"Load":      b.load(ctx, id),
			"LoadWhole": b.loadWhole(ctx, id),
			"Replace":   b.store.Replace(ctx, id, 1, b.record("late")),
			"Delete":    deleteErr,
			"Touch":     b.store.Touch(ctx, map[session.ID]session.Use{id: {Seen: time.Now().Add(time.Second)}}),
			"Claim":     claimErr,
			"Settle":    b.store.Settle(ctx, session.Claim(other), []byte("late"), time.Minute),
			"Settled":   settledErr,
			"Ping":      b.store.Ping(ctx),
		} {
			b.fails(name, err, context.Canceled)
		}
		b.holds(id, 1, r)
		b.missing(other)
		b.claims(session.Claim(other), time.Minute, true)
		b.unsettled(session.Claim(other))
	}},
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

// bench is a test with a store.
type bench struct {
	*testing.T
	store session.Store
	began time.Time
}

const day = 24 * time.Hour

func (b *bench) newID() (id session.ID) {
	rand.Read(id[:]) // never fails since Go 1.24
	return id
}

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

func (b *bench) claims(c session.Claim, life time.Duration, want bool) {
	b.Helper()
	if _, first, err := b.store.Claim(b.Context(), c, life); err != nil || first != want {
		b.Errorf("Claim = %v, %v, want %v", first, err, want)
	}
}

func (b *bench) unsettled(c session.Claim) {
	b.Helper()
	_, err := b.store.Settled(b.Context(), c)
	b.fails("Settled", err, session.ErrNotFound)
}

// forgets waits until a session has ended, and checks that no part is left.
func (b *bench) forgets(id session.ID) {
	b.Helper()
	b.eventually("the session has ended", func() bool {
		return errors.Is(b.load(b.Context(), id), session.ErrNotFound)
	})
	b.missing(id)
}

// eventually waits for what only the store's own clock brings about.
func (b *bench) eventually(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain until %s", what)
		}
	}
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
