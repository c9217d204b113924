package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// fleet is three replicas that are restarted with other rings, one by one.
type fleet struct {
	*testing.T
	memory *session.Memory
	vaults [3]*session.Vault
	stop   [3]context.CancelFunc
	tokens []session.Token // of all the sessions
	logins []pendingLogin  // of all that are under way
}

// pendingLogin is what a browser holds during a login.
type pendingLogin struct {
	attempt oidc.Attempt
	cookie  string
}

// restart gives one of the replicas another ring.
func (f *fleet) restart(i int, keys ...string) {
	f.Helper()
	if f.stop[i] != nil {
		f.stop[i]()
	}
	ctx, cancel := context.WithCancel(f.Context())
	f.stop[i] = cancel
	v := &session.Vault{Store: f.memory, Sealer: ring(f.T, keys...), Absolute: 12 * time.Hour, Idle: time.Hour, Outage: time.Second}
	f.vaults[i] = v
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	f.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// opens wants that every replica opens whatever any of them sealed.
func (f *fleet) opens(step string) {
	f.Helper()
	for i, v := range f.vaults {
		for n, token := range f.tokens {
			s, err := v.Load(f.Context(), time.Now(), token)
			g, tokensErr := v.Grant(f.Context(), token)
			if err != nil || tokensErr != nil || s.Identity.Subject != "alice" || g.Access != "alice-access" {
				f.Fatalf("%s: replica %d, session %d: Load = %q, %v, Grant = %v", step, i, n, s.Identity.Subject, err, tokensErr)
			}
		}
		for n, l := range f.logins {
			a, err := v.OpenAttempt(l.cookie, "chat", callback)
			if err != nil || a != l.attempt {
				f.Fatalf("%s: replica %d, login %d: OpenAttempt = %v", step, i, n, err)
			}
			if result, err := v.Settled(f.Context(), l.attempt); err != nil || string(result) != "done" {
				f.Fatalf("%s: replica %d, login %d: Settled = %q, %v", step, i, n, result, err)
			}
		}
		list, err := v.OfUser(f.Context(), alice().Issuer, "alice")
		if err != nil || len(list) != len(f.tokens) {
			f.Fatalf("%s: replica %d: OfUser = %d, %v, want %d", step, i, len(list), err, len(f.tokens))
		}
		for _, l := range list {
			if l.App != "chat" || l.Browser != "Firefox" || l.Created.IsZero() {
				f.Errorf("%s: replica %d lists %+v", step, i, l)
			}
		}
	}
}

// enter makes a session and begins a login at every replica.
func (f *fleet) enter() {
	f.Helper()
	for i, v := range f.vaults {
		token, _ := enter(f.T, v, alice())
		a := attempt()
		f.tokens = append(f.tokens, token)
		f.logins = append(f.logins, pendingLogin{a, v.SealAttempt(a, "chat", callback)})
		if err := f.vaults[(i+1)%3].Settle(f.Context(), a, []byte("done")); err != nil {
			f.Fatal(err)
		}
	}
}

// Nobody signs in again because the ring changes: a key is appended everywhere,
// then put first everywhere, then the old one is dropped everywhere, replica by
// replica, in every order.
func TestRollingRotation(t *testing.T) { // CR-A04
	orders := [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for _, appended := range orders {
		for _, promoted := range orders {
			t.Run(fmt.Sprintf("appended_in_order_%v_and_put_first_in_order_%v", appended, promoted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &fleet{T: t, memory: session.NewMemory()}
					for i := range f.vaults {
						f.restart(i, oldKey)
					}
					steps := 0
					step := func(order [3]int, keys ...string) {
						for _, i := range order {
							f.restart(i, keys...)
							f.enter()
							f.opens(fmt.Sprintf("step %d", steps))
							time.Sleep(2500 * time.Millisecond) // some is sealed anew
							f.opens(fmt.Sprintf("some time after step %d", steps))
							steps++
						}
					}
					f.enter()
					f.opens("at the beginning")
					step(appended, oldKey, newKey)
					step(promoted, newKey, oldKey)
					f.logins = nil // they do not take that long
					step(appended, newKey)
				})
			})
		}
	}
}

// empty is a store with nothing in it yet.
type empty struct {
	*testing.T
	*session.Memory
}

// What an older key sealed is sealed anew, while it is used, and only that.
func TestReseal(t *testing.T) {
	rotate := func(keys ...string) func(*session.Vault) {
		return func(v *session.Vault) { v.Sealer = ring(t, keys...) }
	}
	in := func(name string, test func(e empty)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(empty{t, session.NewMemory()}) })
		})
	}
	whole := func(t *testing.T, memory *session.Memory, id session.ID) session.Record {
		t.Helper()
		r, err := memory.LoadWhole(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	in("by_the_first_key_within_seconds_of_being_used", func(e empty) {
		t, memory := e.T, e.Memory
		token, before := enter(t, replica(t, memory), alice())
		idle, _ := enter(t, replica(t, memory), alice())
		v := replica(t, memory, rotate(newKey, oldKey))
		find(t, v, token, nil)
		time.Sleep(1500 * time.Millisecond)
		r := whole(t, memory, token.ID())
		if first := ring(t, newKey); !first.Current(r.Hot) || !first.Current(r.Tokens) || !first.Current(r.Display) || r.Version != 2 {
			t.Errorf("version %d is sealed by the first key: %v, %v, %v", r.Version, first.Current(r.Hot), first.Current(r.Tokens), first.Current(r.Display))
		}
		if r := whole(t, memory, idle.ID()); r.Version != 1 {
			t.Errorf("one that nobody used has version %d, want 1", r.Version)
		}
		after := find(t, v, token, nil)
		before.Version = 2
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("the session (-before +after):\n%s", diff)
		}
		alone := replica(t, memory, rotate(newKey))
		find(t, alone, token, nil)
		find(t, alone, idle, session.ErrUnknownKey)
		if got, err := alone.OfUser(t.Context(), alice().Issuer, "alice"); err != nil || len(got) != 1 || got[0].Browser != "Firefox" {
			t.Errorf("OfUser = %+v, %v, want the one that was sealed anew", got, err)
		}
	})
	in("once_by_each_process", func(e empty) {
		t, memory := e.T, e.Memory
		token, _ := enter(t, replica(t, memory), alice())
		a, b := replica(t, memory, rotate(oldKey, newKey)), replica(t, memory, rotate(newKey, oldKey))
		for range 50 {
			find(t, a, token, nil)
			find(t, b, token, nil)
			time.Sleep(1500 * time.Millisecond)
		}
		if r := whole(t, memory, token.ID()); r.Version > 3 {
			t.Errorf("it was sealed anew %d times, want twice at most", r.Version-1)
		}
	})
	in("not_when_it_was_signed_out_meanwhile", func(e empty) {
		t, memory := e.T, e.Memory
		token, s := enter(t, replica(t, memory), alice())
		store := behind(memory)
		v := replica(t, store, rotate(newKey, oldKey))
		store.put(fault("Replace", 1, func(call func() error) error {
			return errors.Join(v.Delete(t.Context(), s.ID), call())
		}))
		find(t, v, token, nil)
		time.Sleep(1500 * time.Millisecond)
		if n := store.count("Replace"); n != 1 {
			t.Errorf("it was sealed anew %d times, want 1 attempt", n)
		}
		find(t, v, token, session.ErrNotFound)
	})
	in("not_in_place_of_what_changed_meanwhile", func(e empty) {
		t, memory := e.T, e.Memory
		asks := func(v *session.Vault) { v.Revalidation = byRefresh }
		old := replica(t, memory, asks)
		token, s := enter(t, old, alice())
		store := behind(memory)
		v := replica(t, store, rotate(newKey, oldKey), asks)
		store.put(fault("Replace", 1, func(call func() error) error {
			if _, err := old.Renew(t.Context(), time.Now(), token, s, &idp{good: alice().Refresh}); err != nil {
				t.Error(err)
			}
			return call()
		}))
		find(t, v, token, nil)
		time.Sleep(1500 * time.Millisecond)
		g, err := v.Grant(t.Context(), token)
		if s := find(t, v, token, nil); err != nil || g.Refresh != "alice-refresh+" || s.Identity.Email != "alice@new.example.org" {
			t.Errorf("the session has %q and %q, %v, want what is newer", g.Refresh.Reveal(), s.Identity.Email, err)
		}
	})
	in("and_a_store_that_fails_leaves_it_as_it_was", func(e empty) {
		t, memory := e.T, e.Memory
		token, _ := enter(t, replica(t, memory), alice())
		before := whole(t, memory, token.ID())
		for _, op := range []string{"LoadWhole", "Replace"} {
			store := behind(memory)
			v := replica(t, store, rotate(newKey, oldKey))
			store.put(fault(op, 1, noCall))
			find(t, v, token, nil)
			time.Sleep(3 * time.Second)
			if diff := cmp.Diff(before, whole(t, memory, token.ID())); diff != "" {
				t.Errorf("%s (-before +after):\n%s", op, diff)
			}
			find(t, v, token, nil)
		}
	})
	for _, tt := range []struct {
		name  string
		newer func(r *session.Record)
	}{
		{"a_newer_format_is_left_alone", func(r *session.Record) { r.Hot[0], r.Tokens[0], r.Display[0] = 2, 2, 2 }},
		{"a_key_that_is_not_known_is_left_alone", func(r *session.Record) { r.Hot[3]++; r.Tokens[3]++; r.Display[3]++ }},
		{"tokens_in_a_newer_format_are_left_alone", func(r *session.Record) { r.Tokens[0] = 2 }},
	} {
		in(tt.name, func(e empty) {
			t, memory := e.T, e.Memory
			asks := func(v *session.Vault) { v.Revalidation = byRefresh }
			token, s := enter(t, replica(t, memory, asks), alice())
			r := whole(t, memory, s.ID)
			tt.newer(&r)
			if err := memory.Replace(t.Context(), s.ID, 1, r); err != nil {
				t.Fatal(err)
			}
			before := whole(t, memory, s.ID)
			p := &idp{good: alice().Refresh}
			for _, keys := range [][]string{{oldKey}, {newKey, oldKey}} {
				v := replica(t, memory, asks, rotate(keys...))
				_, _ = v.Load(t.Context(), time.Now(), token)
				if _, err := v.Grant(t.Context(), token); !errors.Is(err, session.ErrUnknownKey) {
					t.Errorf("Grant = %v, want %v", err, session.ErrUnknownKey)
				}
				if _, err := v.Renew(t.Context(), time.Now(), token, s, p); !errors.Is(err, session.ErrUnknownKey) {
					t.Errorf("Renew = %v, want %v", err, session.ErrUnknownKey)
				}
				time.Sleep(3 * time.Second)
			}
			if len(p.asked) > 0 {
				t.Errorf("the provider was asked by %q, want that it was not", p.asked)
			}
			if diff := cmp.Diff(before, whole(t, memory, s.ID)); diff != "" {
				t.Errorf("the record (-before +after):\n%s", diff)
			}
		})
	}
}
