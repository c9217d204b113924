package sessiontest

import (
	"crypto/rand"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/session"
)

var lock = []promise{
	{"belongs_to_the_first", func(b *bench) {
		id, alice, bob := b.locked()
		b.locks(id, bob, time.Minute, false)
		b.locks(id, bob, time.Minute, false)
		b.locks(id, alice, time.Minute, true)
	}},
	{"has_one_owner_among_fifty", func(b *bench) {
		id := b.newID()
		var won atomic.Int32
		b.together(50, func(int) error {
			ours, err := b.store.Lock(b.Context(), id, b.newOwner(), time.Minute)
			if ours {
				won.Add(1)
			}
			return err
		})
		if won.Load() != 1 {
			b.Errorf("%d owners got the lock, want 1", won.Load())
		}
	}},
	{"of_another_session_is_another_lock", func(b *bench) {
		_, _, bob := b.locked()
		b.locks(b.newID(), bob, time.Minute, true)
	}},
	{"is_prolonged_by_its_owner", func(b *bench) {
		id, alice, bob := b.newID(), b.newOwner(), b.newOwner()
		b.locks(id, alice, 100*time.Millisecond, true)
		b.locks(id, alice, time.Minute, true)
		time.Sleep(200 * time.Millisecond) // its first end has passed
		b.locks(id, bob, time.Minute, false)
	}},
	{"is_not_prolonged_by_those_who_lose_it", func(b *bench) {
		id, alice, bob := b.newID(), b.newOwner(), b.newOwner()
		b.locks(id, alice, 50*time.Millisecond, true)
		b.locksInTheEnd(id, bob, time.Hour)
		b.locks(id, alice, time.Minute, false)
	}},
	{"is_free_for_all_once_it_is_unlocked", func(b *bench) {
		id, alice, bob := b.locked()
		b.must(b.store.Unlock(b.Context(), id, alice, 0))
		b.locks(id, bob, time.Minute, true)
		b.locks(id, alice, time.Minute, false)
	}},
	{"can_be_had_again_by_its_owner", func(b *bench) {
		id, alice, _ := b.locked()
		b.must(b.store.Unlock(b.Context(), id, alice, 0))
		b.locks(id, alice, time.Minute, true)
	}},
	{"is_not_unlocked_by_somebody_else", func(b *bench) {
		id, alice, bob := b.locked()
		b.must(b.store.Unlock(b.Context(), id, bob, 0))
		b.must(b.store.Unlock(b.Context(), id, bob, time.Millisecond))
		time.Sleep(20 * time.Millisecond) // such a pause is over
		b.locks(id, bob, time.Minute, false)
		b.locks(id, alice, time.Minute, true)
	}},
	{"of_nobody_is_unlocked_without_error", func(b *bench) {
		id, alice := b.newID(), b.newOwner()
		b.must(b.store.Unlock(b.Context(), id, alice, 0))
		b.must(b.store.Unlock(b.Context(), id, alice, time.Minute))
		b.locks(id, b.newOwner(), time.Minute, true)
	}},
	{"that_has_ended_is_not_paused", func(b *bench) {
		id, alice, bob := b.newID(), b.newOwner(), b.newOwner()
		b.locks(id, alice, time.Millisecond, true)
		time.Sleep(20 * time.Millisecond)
		b.must(b.store.Unlock(b.Context(), id, alice, time.Minute))
		b.locks(id, bob, time.Minute, true)
	}},
	{"holds_everybody_off_while_it_pauses", func(b *bench) {
		id, alice, bob := b.locked()
		b.must(b.store.Unlock(b.Context(), id, alice, time.Minute))
		b.locks(id, bob, time.Minute, false)
		b.locks(id, alice, time.Minute, false)
	}},
	{"that_pauses_is_nobodys_to_unlock", func(b *bench) {
		id, alice, bob := b.locked()
		b.must(b.store.Unlock(b.Context(), id, alice, time.Minute))
		b.must(b.store.Unlock(b.Context(), id, alice, 0))
		b.must(b.store.Unlock(b.Context(), id, bob, 0))
		b.locks(id, bob, time.Minute, false)
		b.locks(id, alice, time.Minute, false)
	}},
	{"is_free_when_the_pause_is_over", func(b *bench) {
		id, alice, bob := b.locked()
		b.must(b.store.Unlock(b.Context(), id, alice, 50*time.Millisecond))
		b.locksInTheEnd(id, bob, time.Minute)
	}},
	{"is_no_session", func(b *bench) {
		id, alice, _ := b.locked()
		b.missing(id)
		b.must(b.create(id, b.record("alice")))
		b.locks(id, alice, time.Minute, true)
		b.must(b.store.Unlock(b.Context(), id, alice, 0))
		b.holds(id, 1, b.record("alice"))
	}},
	{"hinders_no_change", func(b *bench) {
		id, second := b.newID(), b.record("second")
		b.must(b.create(id, b.record("first")))
		b.locks(id, b.newOwner(), time.Minute, true)
		b.must(b.touch(id, second.Seen))
		b.must(b.store.Replace(b.Context(), id, 1, second))
		b.holds(id, 2, second)
		b.deletesSome(1, id)
	}},
}

func (b *bench) newOwner() (owner session.Owner) {
	rand.Read(owner[:]) // never fails since Go 1.24
	return owner
}

// locked is a lock, its owner and another.
func (b *bench) locked() (id session.ID, owner, other session.Owner) {
	b.Helper()
	id, owner, other = b.newID(), b.newOwner(), b.newOwner()
	b.locks(id, owner, time.Minute, true)
	return id, owner, other
}

func (b *bench) locks(id session.ID, owner session.Owner, life time.Duration, want bool) {
	b.Helper()
	if ours, err := b.store.Lock(b.Context(), id, owner, life); err != nil || ours != want {
		b.Errorf("Lock = %v, %v, want %v", ours, err, want)
	}
}

// locksInTheEnd waits until the lock is owner's.
func (b *bench) locksInTheEnd(id session.ID, owner session.Owner, life time.Duration) {
	b.Helper()
	b.eventually("the lock is free", func() bool {
		ours, err := b.store.Lock(b.Context(), id, owner, life)
		b.must(err)
		return ours
	})
}
