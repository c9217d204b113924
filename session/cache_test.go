package session_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/session"
)

// hot is a replica that has just read alice's session, and another one that uses
// the same store.
type hot struct {
	*testing.T
	here, there *session.Vault
	store       *faulty // of here
	memory      *session.Memory
	token       session.Token
	alice       session.Session
}

// remembered runs a test in which alice's session is remembered. Its time begins
// with a word from the store, which comes five times a second.
func remembered(t *testing.T, name string, test func(h hot), change ...func(*session.Vault)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := session.NewMemory()
			h := hot{T: t, memory: memory, store: behind(memory)}
			h.here, h.there = replica(t, h.store, change...), replica(t, memory, change...)
			h.token, h.alice = enter(t, h.there, alice())
			h.finds(nil)
			h.reads(1)
			test(h)
		})
	})
}

// finds wants what is said of alice here.
func (h hot) finds(want error) session.Session {
	h.Helper()
	return find(h.T, h.here, h.token, want)
}

// reads wants that the store was read so often since the last time.
func (h hot) reads(want int) {
	h.Helper()
	if got := h.store.count("Load"); got != want {
		h.Errorf("the store was read %d times, want %d", got, want)
	}
}

// after lets so much time pass since the test began.
func (h hot) after(d time.Duration) {
	h.Helper()
	time.Sleep(time.Until(h.alice.Created.Add(d)))
	synctest.Wait()
}

func (h hot) revoke(v *session.Vault) {
	h.Helper()
	if n, err := v.Revoke(h.Context(), h.alice.ID); n != 1 || err != nil {
		h.Errorf("Revoke = %d, %v, want 1", n, err)
	}
}

func TestCacheSparesTheStore(t *testing.T) {
	remembered(t, "a_hot_session_asks_nothing", func(h hot) {
		for range 1000 {
			h.finds(nil)
			time.Sleep(59 * time.Millisecond)
		}
		h.reads(0)
	})
	remembered(t, "not_where_that_is_strict", func(h hot) {
		h.finds(nil)
		h.finds(nil)
		h.reads(2)
		h.store.leave()
		h.finds(errAway)
	}, func(v *session.Vault) { v.Strict, v.Outage = true, 0 })
	remembered(t, "for_less_than_a_minute", func(h hot) { h.after(time.Minute - 1); h.finds(nil); h.reads(0) })
	remembered(t, "for_a_minute_exactly_now", func(h hot) {
		h.after(time.Minute)
		h.finds(nil)
		h.reads(1)
		h.finds(nil)
		h.reads(0)
	})
	remembered(t, "while_the_store_is_silent_for_less_than_600_ms", func(h hot) {
		h.store.cut()
		h.after(600*time.Millisecond - 1)
		h.finds(nil)
		h.reads(0)
	})
	remembered(t, "not_while_it_is_silent_for_600_ms_exactly_now", func(h hot) {
		h.store.cut()
		h.after(600 * time.Millisecond)
		h.finds(nil)
		h.finds(nil)
		h.reads(2)
	})
	remembered(t, "again_once_it_is_heard_again", func(h hot) {
		h.store.cut()
		h.after(time.Second)
		h.store.mend()
		h.finds(nil)
		h.reads(1)
		h.finds(nil)
		h.reads(0)
	})
	t.Run("not_before_it_was_heard_at_all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := behind(session.NewMemory())
			v := &session.Vault{Store: store, Sealer: ring(t, oldKey), Absolute: time.Hour, Idle: time.Hour}
			token, _ := enter(t, v, alice())
			find(t, v, token, nil)
			find(t, v, token, nil)
			if n := store.count("Load"); n != 2 {
				t.Errorf("the store was read %d times, want 2", n)
			}
		})
	})
	remembered(t, "one_that_idled_out_here_is_read_again", func(h hot) {
		h.after(50 * time.Minute)
		h.there.Use(h.alice, time.Now())
		h.after(51 * time.Minute)
		h.finds(nil)
		h.store.count("Load")
		h.after(51*time.Minute + 30*time.Second)
		h.reads(0)
		h.after(time.Hour)
		if s := h.finds(nil); s.State(time.Now()) != session.Fresh {
			h.Errorf("State = %v, want %v: it was used elsewhere", s.State(time.Now()), session.Fresh)
		}
	})
	remembered(t, "one_whose_absolute_end_has_passed_asks_nothing", func(h hot) {
		h.after(30 * time.Second)
		if s := h.finds(nil); s.State(time.Now()) != session.Ended {
			h.Errorf("State = %v, want %v", s.State(time.Now()), session.Ended)
		}
		h.reads(0)
	}, func(v *session.Vault) { v.Absolute = 30 * time.Second })
	remembered(t, "its_own_use_is_seen_at_once", func(h hot) {
		h.after(30 * time.Second)
		h.here.Use(h.alice, time.Now())
		if s := h.finds(nil); !s.Seen.Equal(time.Now()) {
			h.Errorf("Seen = %v, want %v", s.Seen, time.Now())
		}
		h.reads(0)
	}, func(v *session.Vault) { v.Idle = time.Minute })
}

func TestCacheOutlastsAnOutage(t *testing.T) {
	const end = 600*time.Millisecond + 5*time.Second // after the last word
	remembered(t, "until_just_before_its_end", func(h hot) { h.store.leave(); h.after(end - 1); h.finds(nil) })
	remembered(t, "over_exactly_now", func(h hot) { h.store.leave(); h.after(end); h.finds(errAway) })
	remembered(t, "over_and_nobody_is_signed_out", func(h hot) {
		h.store.leave()
		h.after(time.Minute)
		h.finds(errAway)
		h.store.comeBack()
		h.finds(nil)
	})
	remembered(t, "from_the_last_word_and_not_from_the_last_reading", func(h hot) {
		h.after(30*time.Second + time.Millisecond)
		h.store.leave()
		h.after(30*time.Second + end - 1)
		h.finds(nil)
		h.after(30*time.Second + end)
		h.finds(errAway)
	})
	remembered(t, "from_a_reading_that_was_later", func(h hot) {
		h.store.cut()
		h.after(10 * time.Second)
		h.finds(nil)
		h.store.leave()
		h.after(10*time.Second + end - 1)
		h.finds(nil)
		h.after(10*time.Second + end)
		h.finds(errAway)
	})
	remembered(t, "none_is_strict", func(h hot) {
		h.store.leave()
		h.after(600*time.Millisecond - 1)
		h.finds(nil) // nothing is lost yet
		h.after(600 * time.Millisecond)
		h.finds(errAway)
	}, func(v *session.Vault) { v.Outage = 0 })
	remembered(t, "none_is_strict_also_when_what_came_was_lost_a_moment_ago", func(h hot) {
		h.store.mend()
		h.store.leave()
		h.finds(errAway)
	}, func(v *session.Vault) { v.Outage = 0 })
	remembered(t, "not_for_one_that_was_never_read_here", func(h hot) {
		token, _ := enter(h.T, h.there, alice())
		h.store.leave()
		find(h.T, h.here, token, errAway)
	})
	remembered(t, "not_for_one_that_idles_out_in_it", func(h hot) {
		h.store.leave()
		h.after(2 * time.Second)
		h.finds(errAway)
	}, func(v *session.Vault) { v.Idle = 2 * time.Second })
	remembered(t, "not_for_one_that_was_to_be_ended_here", func(h hot) {
		h.store.leave()
		if err := h.here.Delete(h.Context(), h.alice.ID); !errors.Is(err, errAway) {
			h.Errorf("Delete = %v, want %v", err, errAway)
		}
		h.finds(errAway)
	})
	remembered(t, "also_after_what_came_was_lost", func(h hot) {
		h.after(30*time.Second + time.Millisecond)
		h.store.mend() // an interruption that was so short that nobody was asked
		h.store.leave()
		h.after(30*time.Second + end - 1)
		h.finds(nil)
		h.after(30*time.Second + end)
		h.finds(errAway)
	})
	remembered(t, "from_the_last_word_before_what_came_was_lost", func(h hot) {
		h.store.cut()
		h.after(3 * time.Second)
		h.store.mend()
		h.store.leave()
		h.after(end - 1)
		h.finds(nil)
		h.after(end)
		h.finds(errAway)
	})
	remembered(t, "not_after_two_interruptions", func(h hot) {
		h.store.mend()
		h.store.mend()
		h.store.leave()
		h.finds(errAway)
	})
	remembered(t, "not_when_the_store_says_that_there_is_none", func(h hot) {
		h.store.cut()
		h.after(time.Second)
		h.revoke(h.there)
		h.finds(session.ErrNotFound)
		h.store.leave()
		h.after(4 * time.Second)
		h.finds(errAway)
	})
	remembered(t, "a_key_that_is_not_known_is_no_outage", func(h hot) {
		h.store.put(func(_ context.Context, op string, call func() error) error {
			return errors.Join(call(), session.ErrUnknownKey)
		})
		h.store.cut()
		h.after(time.Second)
		h.finds(session.ErrUnknownKey)
	})
}

// held puts a reader between reading and remembering, until release is called.
func (h hot) held() (release func()) {
	gate := make(chan struct{})
	h.store.put(func(ctx context.Context, op string, call func() error) error {
		err := call()
		if op == "Load" {
			select {
			case <-gate:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return err
	})
	h.store.cut() // so that the session is read again
	h.after(600 * time.Millisecond)
	h.store.mend()
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = h.here.Load(h.Context(), time.Now(), h.token) })
	synctest.Wait()
	return func() {
		h.store.put(nil)
		close(gate)
		reading.Wait()
		h.store.count("Load")
	}
}

func TestCacheNeverBelievesWhatWasRevoked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		happen func(h hot, release func())
	}{
		{"elsewhere_while_it_was_read", func(h hot, release func()) { h.revoke(h.there); release() }},
		{"here_while_it_was_read", func(h hot, release func()) { h.revoke(h.here); release() }},
		{"by_sign_out_while_it_was_read", func(h hot, release func()) {
			if err := h.here.SignOut(h.Context(), h.alice); err != nil {
				h.Error(err)
			}
			release()
		}},
		{"unheard_and_lost_while_it_was_read", func(h hot, release func()) {
			h.store.cut()
			h.revoke(h.there)
			h.store.mend()
			release()
		}},
		{"unheard_while_it_was_read_and_lost_later", func(h hot, release func()) {
			h.store.cut()
			h.revoke(h.there)
			release()
			h.store.mend()
		}},
		{"with_nobody_reading", func(h hot, release func()) { release(); h.finds(nil); h.revoke(h.there) }},
	} {
		remembered(t, tt.name, func(h hot) {
			tt.happen(h, h.held())
			h.finds(session.ErrNotFound)
			h.store.leave() // and not in an outage either
			time.Sleep(3 * time.Second)
			h.finds(errAway)
		})
	}
	remembered(t, "with_nobody_to_change_it_the_reader_is_believed", func(h hot) {
		h.held()()
		h.finds(nil)
		h.reads(0)
	})
	remembered(t, "at_once_where_it_is_heard", func(h hot) {
		h.revoke(h.there)
		h.finds(session.ErrNotFound)
	})
	remembered(t, "within_a_second_where_nothing_is_heard", func(h hot) {
		h.store.cut()
		h.revoke(h.there)
		time.Sleep(time.Second)
		h.finds(session.ErrNotFound)
	})
	remembered(t, "within_a_second_by_who_waits_for_an_earlier_reader", func(h hot) {
		release := h.held()
		h.revoke(h.there)
		time.Sleep(time.Second)
		go func() { time.Sleep(time.Millisecond); release() }()
		if s, err := h.here.Load(h.Context(), time.Now(), h.token); err == nil {
			h.Errorf("Load = %v, a second after it was revoked", s.ID)
		}
		time.Sleep(time.Second)
	})
	remembered(t, "at_once_where_it_was_revoked_and_nothing_is_heard", func(h hot) {
		h.store.cut()
		h.revoke(h.here)
		h.finds(session.ErrNotFound)
	})
	remembered(t, "though_it_was_read_here_while_the_revocation_was_on_its_way", func(h hot) {
		h.store.cut()
		h.store.put(fault("Delete", 1, func(call func() error) error {
			h.finds(nil)
			return call()
		}))
		h.revoke(h.here)
		h.finds(session.ErrNotFound)
	})
	remembered(t, "when_the_answer_to_that_was_lost", func(h hot) {
		h.store.cut()
		h.store.put(func(_ context.Context, op string, call func() error) error {
			if err := call(); err != nil || op != "Delete" {
				return err
			}
			return errAway
		})
		if err := h.here.Delete(h.Context(), h.alice.ID); !errors.Is(err, errAway) {
			h.Errorf("Delete = %v, want %v", err, errAway)
		}
		h.finds(session.ErrNotFound)
	})
}

func TestCacheKeepsTheNewerVersion(t *testing.T) {
	// tells is what the watcher is told of alice, whose version is 1.
	for _, tt := range []struct {
		name    string
		version uint64
		reads   int
	}{
		{"an_older_one_was_replaced_by_what_is_here", 1, 0},
		{"it_was_replaced", 2, 1},
		{"it_was_deleted", 0, 1},
	} {
		remembered(t, tt.name, func(h hot) {
			h.store.watchers[0].Changed(h.alice.ID, tt.version)
			h.finds(nil)
			h.reads(tt.reads)
		})
	}
	remembered(t, "somebody_else_changed", func(h hot) {
		h.store.watchers[0].Changed(session.NewToken().ID(), 0)
		h.finds(nil)
		h.reads(0)
	})
	remembered(t, "a_use_here_does_not_bring_back_what_was_deleted", func(h hot) {
		h.after(30 * time.Second)
		h.revoke(h.there)
		h.here.Use(h.alice, time.Now())
		time.Sleep(3 * time.Second)
		h.finds(session.ErrNotFound)
	}, func(v *session.Vault) { v.Idle = time.Minute })
}

func TestCacheRemembersWhoIsNobody(t *testing.T) {
	nobody := session.NewToken()
	remembered(t, "for_less_than_two_seconds", func(h hot) {
		find(h.T, h.here, nobody, session.ErrNotFound)
		time.Sleep(2*time.Second - 1)
		find(h.T, h.here, nobody, session.ErrNotFound)
		h.reads(1)
	})
	remembered(t, "for_two_seconds_exactly_now", func(h hot) {
		find(h.T, h.here, nobody, session.ErrNotFound)
		time.Sleep(2 * time.Second)
		find(h.T, h.here, nobody, session.ErrNotFound)
		h.reads(2)
	})
	remembered(t, "not_beyond_what_was_lost", func(h hot) {
		find(h.T, h.here, nobody, session.ErrNotFound)
		h.store.mend()
		find(h.T, h.here, nobody, session.ErrNotFound)
		h.reads(2)
	})
	remembered(t, "not_when_the_store_gave_no_answer", func(h hot) {
		h.store.leave()
		find(h.T, h.here, nobody, errAway)
		h.store.comeBack()
		find(h.T, h.here, nobody, session.ErrNotFound)
	})
	remembered(t, "ten_thousand_and_roughly_no_more", func(h hot) {
		for range 2 {
			for i := range 15_000 {
				var t session.Token
				binary.BigEndian.PutUint32(t[:], uint32(i+1))
				find(h.T, h.here, t, session.ErrNotFound)
			}
			synctest.Wait()
		}
		if n := h.store.count("Load"); n < 20_000-500 {
			h.Errorf("the store was read %d times for 15,000 twice, want 20,000 or so", n)
		}
	})
	remembered(t, "and_that_takes_no_room_from_sessions", func(h hot) {
		for range 11_000 {
			find(h.T, h.here, session.NewToken(), session.ErrNotFound)
		}
		h.reads(11_000)
		h.finds(nil)
		h.reads(0)
	})
	remembered(t, "and_no_session_is_forgotten_because_junk_came_while_it_was_read", func(h hot) {
		release := h.held()
		h.store.put(nil)
		for range 2000 {
			find(h.T, h.here, session.NewToken(), session.ErrNotFound)
		}
		release()
		h.finds(nil)
		h.reads(0)
	})
}

func TestCacheReadsOnceForAll(t *testing.T) {
	const all = 1000
	// loads is what so many requests at the same time are told.
	loads := func(h hot, token session.Token) (found, unknown, failed int) {
		var mu sync.Mutex
		var group sync.WaitGroup
		for range all {
			group.Go(func() {
				_, err := h.here.Load(h.Context(), time.Now(), token)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					found++
				case errors.Is(err, session.ErrNotFound):
					unknown++
				default:
					failed++
				}
			})
		}
		group.Wait()
		return found, unknown, failed
	}
	slow := func(h hot) {
		h.store.put(func(_ context.Context, _ string, call func() error) error {
			time.Sleep(100 * time.Millisecond)
			return call()
		})
		h.after(time.Minute)
	}
	remembered(t, "a_session", func(h hot) {
		slow(h)
		if found, _, _ := loads(h, h.token); found != all {
			h.Errorf("%d found it, want %d", found, all)
		}
		h.reads(1)
	})
	remembered(t, "nobody", func(h hot) {
		slow(h)
		if _, unknown, _ := loads(h, session.NewToken()); unknown != all {
			h.Errorf("%d were told so, want %d", unknown, all)
		}
		h.reads(1)
	})
	remembered(t, "and_a_panic_of_the_store_ends_no_process", func(h hot) {
		slow(h)
		h.store.put(func(context.Context, string, func() error) error {
			time.Sleep(time.Millisecond)
			panic("store")
		})
		if _, _, failed := loads(h, session.NewToken()); failed != all {
			h.Errorf("%d were told so, want %d", failed, all)
		}
		h.store.put(nil)
		h.finds(nil)
	})
	remembered(t, "and_who_goes_away_spoils_it_for_nobody", func(h hot) {
		slow(h)
		var group sync.WaitGroup
		group.Go(func() {
			ctx, cancel := context.WithTimeout(h.Context(), time.Millisecond)
			defer cancel()
			if _, err := h.here.Load(ctx, time.Now(), session.NewToken()); !errors.Is(err, context.DeadlineExceeded) {
				h.Errorf("Load = %v, want %v", err, context.DeadlineExceeded)
			}
			ctx, cancel = context.WithTimeout(h.Context(), time.Millisecond)
			defer cancel()
			_, _ = h.here.Load(ctx, time.Now(), h.token)
		})
		group.Go(func() { time.Sleep(50 * time.Millisecond); h.finds(nil) })
		group.Wait()
		h.reads(2)
	})
	remembered(t, "and_a_store_that_hangs_is_left_after_600_ms", func(h hot) {
		h.store.put(func(ctx context.Context, _ string, _ func() error) error { <-ctx.Done(); return ctx.Err() })
		began := time.Now()
		find(h.T, h.here, session.NewToken(), context.DeadlineExceeded)
		if took := time.Since(began); took != 600*time.Millisecond {
			h.Errorf("Load took %v, want 600ms", took)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Run("by_weight", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := replica(t, session.NewMemory())
			fat := alice()
			fat.Claims = map[string]any{"fat": strings.Repeat("x", 1<<20)}
			for range 80 {
				token, _ := enter(t, v, fat)
				find(t, v, token, nil)
			}
			synctest.Wait()
			if n := v.Cached(); n == 0 || n > 63 {
				t.Errorf("%d sessions of some 1 MB are remembered, want 63 at most in 64 MB", n)
			}
		})
	})
}

// Many at once, on the clock of the world: for the race detector, and because
// whoever was told that a session has ended must not find it any more.
func TestCacheWithManyAtOnce(t *testing.T) {
	memory := session.NewMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var running, working sync.WaitGroup
	vaults := make([]*session.Vault, 3)
	for i := range vaults {
		vaults[i] = &session.Vault{
			Store: memory, Sealer: ring(t, oldKey), Absolute: time.Hour, Idle: time.Second, Outage: time.Second,
		}
		running.Go(func() { _ = vaults[i].Run(ctx) })
	}
	for i := range 8 {
		working.Go(func() {
			for range 100 {
				token, s := enter(t, vaults[i%3], alice())
				var readers sync.WaitGroup
				for _, v := range vaults {
					readers.Go(func() {
						for range 20 {
							if s, err := v.Load(ctx, time.Now(), token); err == nil {
								v.Use(s, time.Now().Add(200*time.Millisecond))
							}
						}
					})
				}
				if err := vaults[(i+1)%3].Delete(ctx, s.ID); err != nil {
					t.Error(err)
				}
				readers.Wait() // whoever joined one of them may have been told what it read before
				for _, v := range vaults {
					find(t, v, token, session.ErrNotFound)
				}
			}
		})
	}
	working.Wait()
	cancel()
	running.Wait()
}

// What a session weighs in the cache is what it takes in memory, within a factor
// of two, whatever its claims are made of.
func TestCacheWeighsWhatItHolds(t *testing.T) {
	texts := make([]any, 200)
	objects := make([]any, 100)
	empty := make([]any, 1000)
	for i := range texts {
		texts[i] = fmt.Sprint("role-of-some-length-", i)
	}
	for i := range objects {
		objects[i] = map[string]any{"id": fmt.Sprint(i), "name": "a role"}
	}
	for i := range empty {
		empty[i] = map[string]any{}
	}
	for name, claim := range map[string]any{"none": nil, "strings": texts, "objects": objects, "empty_objects": empty} {
		t.Run(name, func(t *testing.T) {
			v := &session.Vault{Store: session.NewMemory(), Sealer: session.GenerateKeyring(), Absolute: time.Hour, Idle: time.Hour}
			const many = 50
			g := alice()
			g.Claims = map[string]any{"claim": claim}
			var tokens []session.Token
			for range many {
				token, _, err := v.Create(t.Context(), time.Now(), session.Login{App: "chat", Grant: g})
				if err != nil {
					t.Fatal(err)
				}
				tokens = append(tokens, token)
			}
			before := heap()
			for _, token := range tokens {
				find(t, v, token, nil)
			}
			took, weighs := (heap()-before)/many, session.CacheWeight(v)/many
			if weighs*2 < took || took*2+4096 < weighs {
				t.Errorf("it weighs %d, and takes %d bytes", weighs, took)
			}
			runtime.KeepAlive(v)
		})
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
