package sessiontest

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/session"
)

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
	{"has_the_time_of_the_stores_clock", func(b *bench) {
		before := time.Now()
		at := b.claimed()
		if at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
			b.Errorf("claimed at %v, want the second after %v", at, before)
		}
	}},
	{"has_no_earlier_time_than_one_before", func(b *bench) {
		last := b.claimed()
		for range 50 {
			at := b.claimed()
			if at.Before(last) {
				b.Fatalf("claimed at %v, after one at %v", at, last)
			}
			last = at
		}
	}},
	{"has_a_precision_of_a_millisecond", func(b *bench) {
		for range 20 {
			if at := b.claimed(); !at.Equal(at.Truncate(time.Millisecond)) {
				b.Fatalf("claimed at %v, want whole milliseconds", at)
			}
		}
	}},
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
