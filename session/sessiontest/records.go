package sessiontest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/session"
)

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
	{"knows_parts_that_are_empty", func(b *bench) {
		id, r := b.newID(), b.record("")
		r.Hot, r.Tokens, r.Display = []byte("hot"), []byte{}, []byte{}
		b.must(b.create(id, r))
		got, err := b.store.LoadWhole(b.Context(), id)
		if err != nil || string(got.Hot) != "hot" || len(got.Tokens) > 0 || len(got.Display) > 0 {
			b.Errorf("LoadWhole = %q, %q, %q, %v, want the hot part alone", got.Hot, got.Tokens, got.Display, err)
		}
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
			r.Display = append(r.Display, byte(i^0x55))
		}
		r.Tokens = bytes.Repeat(r.Tokens, 256)
		b.must(b.create(id, r))
		b.holds(id, 1, r)
	}},
}

var load = []promise{
	{"of_what_never_was", func(b *bench) { b.missing(b.newID()) }},
	{"leaves_the_other_parts_empty", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.under("alice", b.newIndex())))
		r, err := b.store.Load(b.Context(), id)
		if err != nil || r.Tokens != nil || r.Display != nil || r.Indexes != nil {
			b.Errorf("Load = %d bytes of tokens, %d of display, %d indexes, %v, want none",
				len(r.Tokens), len(r.Display), len(r.Indexes), err)
		}
	}},
	{"whole_has_every_part_but_the_indexes", func(b *bench) {
		id, want := b.newID(), b.under("alice", b.newIndex())
		b.must(b.create(id, want))
		want.Version, want.Indexes = 1, nil
		got, err := b.store.LoadWhole(b.Context(), id)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			b.Errorf("LoadWhole = %v (-want +got):\n%s", err, diff)
		}
	}},
	{"has_a_precision_of_a_millisecond", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		r.Seen = r.Seen.Add(999_999)
		b.must(b.create(id, r))
		got, err := b.store.Load(b.Context(), id)
		if want := b.began; err != nil || !got.Seen.Equal(want) {
			b.Errorf("Seen = %v, %v, want %v", got.Seen, err, want)
		}
	}},
	{"returns_a_copy", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		want := r
		r.Hot, r.Tokens, r.Display = bytes.Clone(r.Hot), bytes.Clone(r.Tokens), bytes.Clone(r.Display)
		clear(want.Hot)
		clear(want.Tokens)
		clear(want.Display)
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
	{"finds_no_clock_ahead_of_its_own", func(b *bench) {
		if ahead := b.store.Ahead(); ahead.Abs() >= time.Second {
			b.Errorf("Ahead = %v, want less than a second", ahead)
		}
	}},
	{"ping_is_answered", func(b *bench) { b.must(b.store.Ping(b.Context())) }},
}

var replace = []promise{
	{"puts_all_parts_and_the_times", func(b *bench) {
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
	{"forgets_every_part", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.must(b.deletes(id))
		b.missing(id)
	}},
	{"of_what_never_was_is_no_error", func(b *bench) { b.deletesSome(0, b.newID()) }},
	{"twice_is_no_error", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.deletesSome(1, id)
		b.deletesSome(0, id)
	}},
	{"of_none_is_no_error", func(b *bench) { b.deletesSome(0) }},
	{"of_several_tells_how_many_there_were", func(b *bench) {
		var ids []session.ID
		for i := range 1200 { // more than any batch
			id := b.newID()
			if i%4 == 0 {
				b.must(b.create(id, b.record("alice")))
			}
			ids = append(ids, id)
		}
		b.deletesSome(300, ids...)
		for i := 0; i < len(ids); i += 4 {
			b.missing(ids[i])
		}
	}},
	{"of_the_same_twice_counts_it_once", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.deletesSome(1, id, id)
	}},
	{"does_not_count_what_has_ended", func(b *bench) {
		id := b.newID()
		b.createSoon(id, b.record("alice"))
		b.forgets(id)
		b.deletesSome(0, id)
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
	{"moves_no_end", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.must(b.create(id, r))
		b.must(b.store.Touch(b.Context(), map[session.ID]session.Use{id: {Seen: r.Seen, Ends: r.Ends.Add(day)}}))
		b.holds(id, 1, r)
	}},
	{"of_none_does_nothing", func(b *bench) { b.must(b.store.Touch(b.Context(), nil)) }},
	{"does_not_lose_a_replace_its_race_nor_is_undone_by_it", func(b *bench) {
		id, second := b.newID(), b.record("second")
		touched := second.Seen.Add(time.Second)
		b.must(b.create(id, b.record("first")))
		b.must(b.touch(id, touched))
		b.must(b.store.Replace(b.Context(), id, 1, second))
		second.Seen = touched
		b.holds(id, 2, second)
	}},
}

var ends = []promise{
	{"absolutely", func(b *bench) {
		id := b.newID()
		b.createSoon(id, b.record("alice"))
		b.forgets(id)
	}},
	{"when_idle", func(b *bench) {
		id, r := b.newID(), b.record("alice")
		b.soon(func(life time.Duration) error {
			r.Idle = time.Since(r.Seen) + life
			return b.create(id, r)
		})
		b.forgets(id)
	}},
	{"later_when_touched_before", func(b *bench) {
		id := b.createAndTouch(b.record("alice"))
		for _, load := range []func(context.Context, session.ID) error{b.load, b.loadWhole} {
			b.must(load(b.Context(), id))
		}
	}},
	{"absolutely_however_often_it_is_touched", func(b *bench) {
		id := b.newID()
		b.createSoon(id, b.record("alice"))
		b.must(b.touch(id, time.Now().Add(time.Hour)))
		b.forgets(id)
	}},
	{"where_a_replace_has_put_it", func(b *bench) {
		id, r := b.newID(), b.record("second")
		b.must(b.create(id, b.record("first")))
		b.soon(func(life time.Duration) error {
			r.Ends = time.Now().Add(life)
			return b.store.Replace(b.Context(), id, 1, r)
		})
		b.forgets(id)
	}},
	{"and_leaves_its_place_free", func(b *bench) {
		id := b.newID()
		b.createSoon(id, b.record("first"))
		b.forgets(id)
		b.fails("Replace", b.store.Replace(b.Context(), id, 1, b.record("late")), session.ErrNotFound)
		b.must(b.touch(id, time.Now()))
		b.missing(id)
		b.must(b.create(id, b.record("second")))
		b.holds(id, 1, b.record("second"))
	}},
}
