package sessiontest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/session"
)

var find = []promise{
	{"returns_what_create_has_listed", func(b *bench) {
		id, alice := b.newID(), b.newIndex()
		b.must(b.create(id, b.under("alice", alice)))
		b.finds(alice, id)
		b.holds(id, 1, b.record("alice"))
	}},
	{"returns_nothing_under_another_index", func(b *bench) {
		b.must(b.create(b.newID(), b.under("alice", b.newIndex())))
		b.finds(b.newIndex())
	}},
	{"returns_many_sessions_under_one_index", func(b *bench) {
		var ids []session.ID
		alice := b.newIndex()
		for range 1200 { // more than any batch
			id := b.newID()
			b.must(b.create(id, b.under("alice", alice)))
			ids = append(ids, id)
		}
		b.finds(alice, ids...)
	}},
	{"returns_one_session_under_many_indexes", func(b *bench) {
		id, indexes := b.newID(), []session.Index{b.newIndex(), b.newIndex(), b.newIndex(), b.newIndex(), b.newIndex()}
		b.must(b.create(id, b.under("alice", indexes...)))
		for _, index := range indexes {
			b.finds(index, id)
		}
	}},
	{"returns_once_what_is_listed_twice", func(b *bench) {
		id, alice := b.newID(), b.newIndex()
		b.must(b.create(id, b.under("alice", alice, alice)))
		b.must(b.touch(id, b.began, alice))
		b.must(b.store.Replace(b.Context(), id, 1, b.under("alice", alice)))
		b.finds(alice, id)
	}},
	{"returns_what_replace_has_listed", func(b *bench) {
		id, kept, fresh := b.newID(), b.newIndex(), b.newIndex()
		b.must(b.create(id, b.under("alice", kept, b.newIndex())))
		b.must(b.store.Replace(b.Context(), id, 1, b.under("alice", kept, fresh)))
		b.finds(kept, id)
		b.finds(fresh, id)
	}},
	{"returns_nothing_for_a_replace_that_lost", func(b *bench) {
		id, kept, late := b.newID(), b.newIndex(), b.newIndex()
		b.must(b.create(id, b.under("alice", kept)))
		b.fails("Replace", b.store.Replace(b.Context(), id, 2, b.under("late", late)), session.ErrConflict)
		b.finds(kept, id)
		b.finds(late)
	}},
	{"returns_what_touch_has_listed_again", func(b *bench) {
		id, alice := b.newID(), b.newIndex()
		b.must(b.create(id, b.record("alice")))
		b.must(b.touch(id, b.began.Add(time.Second), alice))
		b.finds(alice, id)
	}},
	{"returns_what_touch_has_listed_though_it_was_seen_later", func(b *bench) {
		id, alice := b.newID(), b.newIndex()
		b.must(b.create(id, b.record("alice")))
		b.must(b.touch(id, b.began.Add(-time.Second), alice))
		b.finds(alice, id)
		b.holds(id, 1, b.record("alice"))
	}},
	{"returns_nothing_for_a_touch_of_what_is_not_found", func(b *bench) {
		never, deleted, alice := b.newID(), b.newID(), b.newIndex()
		b.must(b.create(deleted, b.under("alice", alice)))
		b.must(b.deletes(deleted))
		b.must(b.touch(never, time.Now(), alice))
		b.must(b.touch(deleted, time.Now(), alice))
		b.finds(alice)
	}},
	{"returns_nothing_that_was_deleted", func(b *bench) {
		laptop, phone, alice, device := b.newID(), b.newID(), b.newIndex(), b.newIndex()
		b.must(b.create(laptop, b.under("alice", alice, device)))
		b.must(b.create(phone, b.under("alice", alice)))
		b.must(b.touch(laptop, time.Now(), alice, device))
		b.must(b.deletes(laptop))
		b.finds(alice, phone)
		b.finds(device)
	}},
	{"returns_nothing_that_has_ended", func(b *bench) {
		brief, long, alice := b.newID(), b.newID(), b.newIndex()
		b.must(b.create(long, b.under("alice", alice)))
		b.createSoon(brief, b.under("alice", alice))
		b.forgets(brief)
		b.finds(alice, long)
	}},
	{"returns_what_is_touched_beyond_its_idle_end", func(b *bench) {
		alice := b.newIndex()
		b.finds(alice, b.createAndTouch(b.under("alice", alice)))
	}},
	{"returns_what_outlives_others_of_its_index", func(b *bench) {
		brief, long, alice := b.newID(), b.newID(), b.newIndex()
		b.must(b.create(long, b.under("alice", alice)))
		soon := b.createSoon(brief, b.under("alice", alice)) // the last to be listed is the first to end
		b.must(b.store.Touch(b.Context(), map[session.ID]session.Use{
			brief: {Seen: b.began, Ends: soon, Indexes: []session.Index{alice}},
		}))
		b.forgets(brief)
		time.Sleep(50 * time.Millisecond) // a list that ended with it would be gone by now
		b.finds(alice, long)
	}},
	{"loses_nothing_that_is_made_meanwhile", func(b *bench) {
		alice, ids := b.newIndex(), make([]session.ID, 30)
		for i := range ids {
			ids[i] = b.newID()
		}
		b.together(2*len(ids), func(i int) error {
			if i < len(ids) {
				return b.create(ids[i], b.under("alice", alice))
			}
			for range 5 {
				if _, err := b.store.Find(b.Context(), alice); err != nil {
					return err
				}
			}
			return nil
		})
		b.finds(alice, ids...)
	}},
	{"loses_nothing_while_others_go", func(b *bench) {
		alice := b.newIndex()
		var stay, gone []session.ID
		for range 20 {
			stay, gone = append(stay, b.newID()), append(gone, b.newID())
		}
		for i := range stay {
			b.must(b.create(stay[i], b.under("alice", alice)))
			b.must(b.create(gone[i], b.under("alice", alice)))
		}
		b.together(2*len(gone), func(i int) error {
			if i < len(gone) {
				return errors.Join(b.deletes(gone[i]), b.touch(gone[i], time.Now(), alice), b.touch(stay[i], time.Now(), alice))
			}
			found, err := b.store.Find(b.Context(), alice)
			for _, id := range stay {
				if err == nil && !slices.Contains(found, id) {
					return errors.New("a session was not found that was there all the while")
				}
			}
			return err
		})
		b.finds(alice, stay...)
	}},
}

var list = []promise{
	{"has_display_and_times", func(b *bench) {
		id, r := b.newID(), b.under("alice", b.newIndex())
		b.must(b.create(id, r))
		r.Seen = r.Seen.Add(time.Second)
		b.must(b.touch(id, r.Seen))
		got := b.lists(hex.EncodeToString(id[:]))[id]
		got.Version = 0 // not promised
		want := session.Record{Display: r.Display, Seen: r.Seen, Ends: r.Ends, Idle: r.Idle}
		if diff := cmp.Diff(want, got); diff != "" {
			b.Errorf("List finds something else (-want +got):\n%s", diff)
		}
	}},
	{"has_what_was_replaced", func(b *bench) {
		id, second := b.newID(), b.record("second")
		b.must(b.create(id, b.record("first")))
		b.must(b.store.Replace(b.Context(), id, 1, second))
		if got := b.lists(hex.EncodeToString(id[:]))[id]; !bytes.Equal(got.Display, second.Display) {
			b.Errorf("Display = %q, want %q", got.Display, second.Display)
		}
	}},
	{"goes_through_all_without_a_prefix", func(b *bench) {
		var ids []session.ID
		for range 20 {
			id := b.newID()
			b.must(b.create(id, b.record("alice")))
			ids = append(ids, id)
		}
		all := b.lists("")
		for _, id := range ids {
			if _, ok := all[id]; !ok {
				b.Errorf("List left out %v", id)
			}
		}
	}},
	{"goes_through_those_that_begin_with_the_prefix", func(b *bench) {
		alice := b.newID()
		near, far := alice, b.newID()
		near[8] ^= 0x0f // its hex begins with the same 17 digits
		far[0] = ^alice[0]
		for _, id := range []session.ID{alice, near, far} {
			b.must(b.create(id, b.record("alice")))
		}
		text := hex.EncodeToString(alice[:])
		for _, tt := range []struct {
			digits int
			want   map[session.ID]bool
		}{
			{1, map[session.ID]bool{alice: true, near: true, far: false}},
			{2, map[session.ID]bool{alice: true, near: true, far: false}},
			{16, map[session.ID]bool{alice: true, near: true, far: false}},
			{17, map[session.ID]bool{alice: true, near: true, far: false}},
			{18, map[session.ID]bool{alice: true, near: false, far: false}},
			{64, map[session.ID]bool{alice: true, near: false, far: false}},
		} {
			got := b.lists(text[:tt.digits])
			for id, want := range tt.want {
				if _, ok := got[id]; ok != want {
					b.Errorf("List of %d digits has %v = %v, want %v", tt.digits, id, ok, want)
				}
			}
		}
	}},
	{"finds_nothing_with_a_prefix_that_is_no_hex", func(b *bench) {
		b.must(b.create(b.newID(), b.record("alice")))
		for _, prefix := range []string{"*", "?", "[0-9a-f]", "[^x]", `\`, "}", "{", "x", "0\n"} {
			if got := b.lists(prefix); len(got) > 0 {
				b.Errorf("List of %q has %d sessions, want none", prefix, len(got))
			}
		}
	}},
	{"has_nothing_else_that_is_kept", func(b *bench) {
		id := b.newID()
		b.claims(session.Claim(id), time.Minute, true)
		b.must(b.store.Settle(b.Context(), session.Claim(id), []byte("sealed"), time.Minute))
		b.must(b.store.Bury(b.Context(), time.Minute, session.Index(id)))
		b.locks(id, session.Owner{1}, time.Minute, true)
		if got := b.lists(hex.EncodeToString(id[:])); len(got) > 0 {
			b.Errorf("List = %v, want nothing", got)
		}
	}},
	{"ends_early_with_the_loop", func(b *bench) {
		for range 3 {
			b.must(b.create(b.newID(), b.record("alice")))
		}
		n := 0
		for _, err := range b.store.List(b.Context(), "") {
			b.must(err)
			if n++; n == 2 {
				break
			}
		}
		if n != 2 {
			b.Errorf("the loop ran %d times, want 2", n)
		}
		b.must(b.store.Ping(b.Context()))
	}},
	{"can_be_gone_through_twice", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		sessions := b.store.List(b.Context(), hex.EncodeToString(id[:]))
		for range 2 {
			n := 0
			for _, err := range sessions {
				b.must(err)
				n++
			}
			if n == 0 {
				b.Error("List has nothing, want one session")
			}
		}
	}},
	{"has_nothing_that_was_deleted", func(b *bench) {
		id := b.newID()
		b.must(b.create(id, b.record("alice")))
		b.must(b.deletes(id))
		if got := b.lists(hex.EncodeToString(id[:])); len(got) > 0 {
			b.Errorf("List = %v, want nothing", got)
		}
	}},
	{"has_nothing_that_has_ended", func(b *bench) {
		id := b.newID()
		b.createSoon(id, b.record("alice"))
		b.forgets(id)
		if got := b.lists(hex.EncodeToString(id[:])); len(got) > 0 {
			b.Errorf("List = %v, want nothing", got)
		}
	}},
	{"leaves_out_none_that_is_there_all_the_while", func(b *bench) {
		family := b.newID()
		member := func() session.ID {
			id := b.newID()
			copy(id[:4], family[:4])
			return id
		}
		var stay []session.ID
		for range 200 {
			id := member()
			b.must(b.create(id, b.record("alice")))
			stay = append(stay, id)
		}
		b.together(8, func(i int) error {
			if i < 4 { // others come and go
				for range 50 {
					id := member()
					if err := errors.Join(b.create(id, b.record("bob")), b.deletes(id)); err != nil {
						return err
					}
				}
				return nil
			}
			for range 3 {
				got := map[session.ID]bool{}
				for l, err := range b.store.List(b.Context(), hex.EncodeToString(family[:4])) {
					if err != nil {
						return err
					}
					got[l.ID] = true
				}
				for _, id := range stay {
					if !got[id] {
						return errors.New("a session was left out that was there all the while")
					}
				}
			}
			return nil
		})
	}},
}

func (b *bench) newIndex() session.Index { return session.Index(b.newID()) }

// under is what is kept for somebody, listed under indexes.
func (b *bench) under(who string, indexes ...session.Index) session.Record {
	r := b.record(who)
	r.Indexes = indexes
	return r
}

// finds checks all that is listed under an index.
func (b *bench) finds(index session.Index, want ...session.ID) {
	b.Helper()
	got, err := b.store.Find(b.Context(), index)
	if err != nil {
		b.Fatalf("Find = %v", err)
	}
	order := func(x, y session.ID) int { return bytes.Compare(x[:], y[:]) }
	want = slices.SortedFunc(slices.Values(want), order)
	got = slices.SortedFunc(slices.Values(got), order)
	if !slices.Equal(want, got) {
		b.Errorf("Find = %d sessions, want %d:\n%s", len(got), len(want), cmp.Diff(want, got))
	}
}

// lists returns all that List finds.
func (b *bench) lists(prefix string) map[session.ID]session.Record {
	b.Helper()
	got := map[session.ID]session.Record{}
	for l, err := range b.store.List(b.Context(), prefix) {
		if err != nil {
			b.Fatalf("List of %q = %v", prefix, err)
		}
		got[l.ID] = l.Record
	}
	return got
}
