package sessiontest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/session"
)

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
	{"all_parts_are_of_one_version", func(b *bench) {
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
	{"deletes_count_each_session_once", func(b *bench) {
		ids := make([]session.ID, 10)
		for i := range ids {
			ids[i] = b.newID()
			b.must(b.create(ids[i], b.record("alice")))
		}
		var n atomic.Int32
		b.together(20, func(int) error {
			deleted, err := b.store.Delete(b.Context(), ids...)
			n.Add(int32(deleted))
			return err
		})
		if n.Load() != int32(len(ids)) {
			b.Errorf("%d sessions were deleted, want %d", n.Load(), len(ids))
		}
	}},
	{"of_everything_at_once", func(b *bench) {
		var ids []session.ID
		for range 4 {
			ids = append(ids, b.newID())
		}
		alice := b.newIndex()
		b.watched()
		b.together(40, func(i int) error {
			ctx, id, owner := b.Context(), ids[i%len(ids)], b.newOwner()
			_, findErr := b.store.Find(ctx, alice)
			_, lockErr := b.store.Lock(ctx, id, owner, time.Millisecond)
			if i%10 == 0 { // it may have to go through all that is kept
				for _, err := range b.store.List(ctx, hex.EncodeToString(id[:2])) {
					if err != nil {
						return err
					}
				}
			}
			return errors.Join(
				findErr, lockErr,
				known(b.store.Create(ctx, id, b.under("alice", alice), time.Now())),
				known(b.load(ctx, id)), known(b.loadWhole(ctx, id)),
				known(b.store.Replace(ctx, id, 1, b.record("bob"))),
				b.touch(id, time.Now(), alice),
				b.store.Bury(ctx, time.Millisecond, alice),
				b.store.Unlock(ctx, id, owner, 0),
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
		id, alice, r := b.newID(), b.newIndex(), b.record("alice")
		claimed, owner := b.claimed(), b.newOwner()
		b.must(b.create(id, r))
		b.locks(id, owner, time.Minute, true)
		other := b.newID()
		_, _, claimErr := b.store.Claim(ctx, session.Claim(other), time.Minute)
		_, settledErr := b.store.Settled(ctx, session.Claim(other))
		_, findErr := b.store.Find(ctx, alice)
		_, lockErr := b.store.Lock(ctx, other, owner, time.Minute)
		var listErr error
		for _, listErr = range b.store.List(ctx, "") {
			if listErr == nil {
				b.Error("List goes on though its context has ended")
			}
		}
		_, deleteErr := b.store.Delete(ctx, id)
		for name, err := range map[string]error{
			"Create":    b.store.Create(ctx, other, r, time.Now()),
			"Load":      b.load(ctx, id),
			"LoadWhole": b.loadWhole(ctx, id),
			"Replace":   b.store.Replace(ctx, id, 1, b.record("late")),
			"Delete":    deleteErr,
			"Touch":     b.store.Touch(ctx, map[session.ID]session.Use{id: {Seen: time.Now().Add(time.Second)}}),
			"Find":      findErr,
			"List":      listErr,
			"Bury":      b.store.Bury(ctx, time.Minute, alice),
			"Lock":      lockErr,
			"Unlock":    b.store.Unlock(ctx, id, owner, 0),
			"Watch":     b.store.Watch(ctx, &witness{}),
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
		b.locks(id, b.newOwner(), time.Minute, false)
		b.locks(other, b.newOwner(), time.Minute, true)
		b.must(b.store.Create(b.Context(), b.newID(), b.under("alice", alice), claimed))
	}},
}
