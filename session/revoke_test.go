package session_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// office is two replicas that share a store, with the rings that a test wants.
type office struct {
	*testing.T
	memory      *session.Memory
	store       *faulty // of here
	here, there *session.Vault
}

// together runs a test on two replicas with these rings.
func together(t *testing.T, name string, here, there []string, test func(o office)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := session.NewMemory()
			o := office{T: t, memory: memory, store: behind(memory)}
			with := func(keys []string) func(*session.Vault) {
				return func(v *session.Vault) { v.Sealer = ring(t, keys...) }
			}
			o.here, o.there = replica(t, o.store, with(here)), replica(t, memory, with(there))
			test(o)
		})
	})
}

// oneKey is the ring of who rotates nothing.
var oneKey = []string{oldKey}

// person is a grant to somebody, in a session of the provider.
func person(issuer, subject, sid string) oidc.Grant {
	return oidc.Grant{Identity: oidc.Identity{Issuer: issuer, Subject: subject, SessionID: sid}, Access: "access"}
}

const keycloak = "https://id.example.org"

// lives wants to know whether sessions live on both replicas.
func (o office) lives(want bool, tokens ...session.Token) {
	o.Helper()
	var wantErr error
	if !want {
		wantErr = session.ErrNotFound
	}
	for i, token := range tokens {
		for _, v := range []*session.Vault{o.here, o.there} {
			if _, err := v.Load(o.Context(), time.Now(), token); !errors.Is(err, wantErr) {
				o.Errorf("Load of session %d = %v, want %v", i, err, wantErr)
			}
		}
	}
}

func TestRevokeUser(t *testing.T) {
	revoke := func(o office, v *session.Vault, issuer, subject string, want ...session.ID) {
		o.Helper()
		got, err := v.RevokeUser(o.Context(), issuer, subject)
		byID := func(a, b session.ID) int { return slices.Compare(a[:], b[:]) }
		slices.SortFunc(got, byID)
		slices.SortFunc(want, byID)
		if err != nil || !slices.Equal(got, want) {
			o.Errorf("RevokeUser = %v, %v, want %v", got, err, want)
		}
	}
	together(t, "ends_all_sessions_of_one_person", oneKey, oneKey, func(o office) {
		first, a := enter(o.T, o.here, person(keycloak, "alice", "1"))
		second, b := enter(o.T, o.there, person(keycloak, "alice", ""))
		other, _ := enter(o.T, o.there, person(keycloak, "bob", "2"))
		o.lives(true, first, second, other)
		revoke(o, o.here, keycloak, "alice", a.ID, b.ID)
		o.lives(false, first, second)
		o.lives(true, other)
		revoke(o, o.here, keycloak, "alice")
	})
	for _, tt := range []struct{ name, issuer, subject string }{ // CR-A08
		{"another_issuer", "https://accounts.example.org", "alice"},
		{"another_subject", keycloak, "bob"},
		{"what_joins_to_the_same_string", keycloak + "a", "lice"},
		{"what_joins_to_the_same_string_from_the_other_side", "https://id.example.or", "galice"},
		{"the_session_of_the_provider_of_the_same_name", keycloak, "sid-1"},
		{"another_case", keycloak, "Alice"},
		{"nobody", "", ""},
	} {
		together(t, "does_not_end_those_of_"+tt.name, oneKey, oneKey, func(o office) {
			token, _ := enter(o.T, o.here, person(keycloak, "alice", "sid-1"))
			revoke(o, o.there, tt.issuer, tt.subject)
			o.lives(true, token)
		})
	}
	for _, tt := range []struct {
		name        string
		here, there []string
	}{
		{"made_before_a_key_was_appended", oneKey, []string{oldKey, newKey}},
		{"made_after_a_key_was_appended", []string{oldKey, newKey}, oneKey},
		{"made_before_a_key_was_put_first", []string{oldKey, newKey}, []string{newKey, oldKey}},
		{"made_after_a_key_was_put_first", []string{newKey, oldKey}, []string{oldKey, newKey}},
		{"made_before_the_old_key_was_dropped", []string{newKey, oldKey}, []string{newKey}},
		{"made_after_the_old_key_was_dropped", []string{newKey}, []string{newKey, oldKey}},
	} {
		together(t, tt.name, tt.here, tt.there, func(o office) {
			token, s := enter(o.T, o.here, person(keycloak, "alice", ""))
			o.lives(true, token)
			revoke(o, o.there, keycloak, "alice", s.ID)
			o.lives(false, token)
		})
	}
	together(t, "though_the_index_was_lost_and_the_session_is_used", oneKey, oneKey, func(o office) {
		token, s := enter(o.T, o.here, person(keycloak, "alice", ""))
		r, err := o.memory.LoadWhole(o.Context(), s.ID)
		if err != nil {
			o.Fatal(err)
		}
		if err := o.memory.Replace(o.Context(), s.ID, 1, r); err != nil { // LoadWhole leaves the indexes out
			o.Fatal(err)
		}
		revoke(o, o.there, keycloak, "alice")
		time.Sleep(10 * time.Minute)
		o.here.Use(find(o.T, o.here, token, nil), time.Now())
		time.Sleep(2 * time.Second)
		revoke(o, o.there, keycloak, "alice", s.ID)
		o.lives(false, token)
	})
	together(t, "though_the_claims_were_read_anew", oneKey, oneKey, func(o office) {
		o.here.Revalidation = byRefresh
		g := person(keycloak, "alice", "")
		g.Refresh = "alice-refresh"
		token, s := enter(o.T, o.here, g)
		if _, err := o.here.Renew(o.Context(), time.Now(), token, s, &idp{good: g.Refresh}); err != nil {
			o.Fatal(err)
		}
		revoke(o, o.there, keycloak, "alice", s.ID)
		o.lives(false, token)
	})
	together(t, "says_when_the_store_is_away", oneKey, oneKey, func(o office) {
		o.store.leave()
		if _, err := o.here.RevokeUser(o.Context(), keycloak, "alice"); !errors.Is(err, errAway) {
			o.Errorf("RevokeUser = %v, want %v", err, errAway)
		}
	})
	together(t, "ends_what_it_can_when_no_login_can_be_buried", oneKey, oneKey, func(o office) {
		token, s := enter(o.T, o.here, person(keycloak, "alice", ""))
		o.store.put(fault("Bury", 1, noCall))
		got, err := o.here.RevokeUser(o.Context(), keycloak, "alice")
		if !errors.Is(err, errAway) || !slices.Equal(got, []session.ID{s.ID}) {
			o.Errorf("RevokeUser = %v, %v, want %v and %v", got, err, s.ID, errAway)
		}
		o.lives(false, token)
	})
}

// Somebody is signed out while a login of theirs is under way.
func TestLoginThatRacesASignOut(t *testing.T) {
	user := func(o office) error { _, err := o.there.RevokeUser(o.Context(), keycloak, "alice"); return err }
	// signOut signs out a session of alice that the provider calls by that name.
	signOut := func(sid string) func(o office) error {
		return func(o office) error {
			token, s := enter(o.T, o.there, person(keycloak, "alice", sid))
			err := o.there.SignOut(o.Context(), s)
			o.lives(false, token)
			return err
		}
	}
	for _, tt := range []struct {
		name    string
		signOut func(o office) error
		before  time.Duration // from the claim to the sign-out; below zero when that was first
		after   time.Duration // from then to the session
		login   oidc.Grant
		want    error
	}{
		{"everywhere_and_claimed_before", user, time.Second, 0, person(keycloak, "alice", "1"), session.ErrNotFound},
		{"everywhere_and_claimed_exactly_now", user, 0, 0, person(keycloak, "alice", "1"), session.ErrNotFound},
		{"everywhere_and_claimed_a_millisecond_later", user, -time.Millisecond, 0, person(keycloak, "alice", "1"), nil},
		{"everywhere_and_it_takes_long", user, time.Second, 59 * time.Second, person(keycloak, "alice", "1"), session.ErrNotFound},
		{"everywhere_and_it_is_somebody_else", user, time.Second, 0, person(keycloak, "bob", "1"), nil},
		{"everywhere_and_it_is_at_another_provider", user, time.Second, 0, person("https://accounts.example.org", "alice", "1"), nil},
		{"at_the_provider_and_claimed_before", signOut("1"), time.Second, 0, person(keycloak, "alice", "1"), session.ErrNotFound},
		{"at_the_provider_and_claimed_later", signOut("1"), -time.Millisecond, 0, person(keycloak, "alice", "1"), nil},
		{"at_the_provider_in_another_browser", signOut("1"), time.Second, 0, person(keycloak, "alice", "2"), nil},
		{"at_another_provider_with_the_same_sid", signOut("1"), time.Second, 0, person("https://accounts.example.org", "alice", "1"), nil},
		{"at_a_provider_without_a_sid", signOut(""), time.Second, 0, person(keycloak, "alice", ""), nil},
		{"at_a_provider_whose_sid_is_the_subject", signOut("alice"), time.Second, 0, person(keycloak, "alice", "1"), nil},
	} {
		for _, keys := range []struct {
			name        string
			here, there []string
		}{
			{"", oneKey, oneKey},
			{"_and_here_is_a_new_key", []string{newKey, oldKey}, oneKey},
			{"_and_there_is_a_new_key", oneKey, []string{newKey, oldKey}},
		} {
			together(t, tt.name+keys.name, keys.here, keys.there, func(o office) {
				claimed := time.Now()
				claim := func() {
					at, first, err := o.here.Claim(o.Context(), attempt())
					if err != nil || !first {
						o.Fatalf("Claim = %v, %v", first, err)
					}
					claimed = at
				}
				if tt.before >= 0 {
					claim()
				}
				time.Sleep(max(tt.before, 0))
				if err := tt.signOut(o); err != nil {
					o.Fatal(err)
				}
				if tt.before < 0 {
					time.Sleep(-tt.before)
					claim()
				}
				time.Sleep(tt.after)
				token, s, err := o.here.Create(o.Context(), time.Now(), session.Login{App: "chat", Grant: tt.login, Claimed: claimed})
				if !errors.Is(err, tt.want) || (err != nil) != (token == session.Token{}) || (err != nil) != (s.ID == session.ID{}) {
					o.Errorf("Create = %v, %v, want %v", s.ID, err, tt.want)
				}
				if n, err := o.here.RevokeAll(o.Context()); err != nil || (n == 1) != (tt.want == nil) {
					o.Errorf("%d sessions are kept, %v", n, err)
				}
			})
		}
	}
}

func TestSignOut(t *testing.T) {
	together(t, "ends_one_session", oneKey, oneKey, func(o office) {
		phone, s := enter(o.T, o.here, person(keycloak, "alice", "1"))
		laptop, _ := enter(o.T, o.here, person(keycloak, "alice", "1"))
		o.lives(true, phone, laptop)
		if err := o.there.SignOut(o.Context(), s); err != nil {
			o.Error(err)
		}
		o.lives(false, phone)
		o.lives(true, laptop)
	})
	together(t, "ends_it_when_no_login_can_be_buried", oneKey, oneKey, func(o office) {
		token, s := enter(o.T, o.here, person(keycloak, "alice", "1"))
		o.store.put(fault("Bury", 1, noCall))
		if err := o.here.SignOut(o.Context(), s); !errors.Is(err, errAway) {
			o.Errorf("SignOut = %v, want %v", err, errAway)
		}
		o.lives(false, token)
	})
	together(t, "is_done_twice", oneKey, oneKey, func(o office) {
		token, s := enter(o.T, o.here, person(keycloak, "alice", "1"))
		for range 2 {
			if err := o.here.SignOut(o.Context(), s); err != nil {
				o.Error(err)
			}
		}
		o.lives(false, token)
	})
}

func TestRevoke(t *testing.T) {
	together(t, "counts_those_that_there_were", oneKey, oneKey, func(o office) {
		first, a := enter(o.T, o.here, alice())
		second, b := enter(o.T, o.here, alice())
		third, _ := enter(o.T, o.here, alice())
		o.lives(true, first, second, third)
		if n, err := o.there.Revoke(o.Context(), a.ID, session.ID{1}, b.ID); n != 2 || err != nil {
			o.Errorf("Revoke = %d, %v, want 2", n, err)
		}
		o.lives(false, first, second)
		o.lives(true, third)
	})
	together(t, "of_none", oneKey, oneKey, func(o office) {
		if n, err := o.here.Revoke(o.Context()); n != 0 || err != nil {
			o.Errorf("Revoke = %d, %v, want 0", n, err)
		}
	})
	together(t, "of_all", oneKey, []string{newKey}, func(o office) {
		tokens := make([]session.Token, 1201)
		for i := range tokens {
			tokens[i], _ = enter(o.T, o.here, alice())
		}
		for _, token := range tokens[:10] {
			find(o.T, o.here, token, nil)
		}
		if n, err := o.there.RevokeAll(o.Context()); n != 1201 || err != nil { // whatever sealed them
			o.Errorf("RevokeAll = %d, %v, want 1201", n, err)
		}
		for _, token := range tokens {
			find(o.T, o.here, token, session.ErrNotFound)
		}
	})
	together(t, "of_all_that_fails_half_way", oneKey, oneKey, func(o office) {
		for range 1201 {
			enter(o.T, o.there, alice())
		}
		calls := 0
		o.store.put(func(_ context.Context, op string, call func() error) error {
			if op == "Delete" {
				if calls++; calls == 2 {
					return errAway
				}
			}
			return call()
		})
		if n, err := o.here.RevokeAll(o.Context()); n != 500 || !errors.Is(err, errAway) {
			o.Errorf("RevokeAll = %d, %v, want 500 and %v", n, err, errAway)
		}
		if n, err := o.here.RevokeAll(o.Context()); n != 701 || err != nil {
			o.Errorf("RevokeAll = %d, %v, want 701", n, err)
		}
	})
	together(t, "of_all_when_they_cannot_be_listed", oneKey, oneKey, func(o office) {
		o.store.leave()
		if n, err := o.here.RevokeAll(o.Context()); n != 0 || !errors.Is(err, errAway) {
			o.Errorf("RevokeAll = %d, %v, want %v", n, err, errAway)
		}
	})
}

func TestList(t *testing.T) {
	// list is what List says, in the order of creation.
	list := func(o office, v *session.Vault, prefix string) []session.Listing {
		o.Helper()
		var all []session.Listing
		for l, err := range v.List(o.Context(), prefix) {
			if err != nil {
				o.Fatal(err)
			}
			all = append(all, l)
		}
		slices.SortFunc(all, func(a, b session.Listing) int { return cmp.Compare(a.Seen.UnixNano(), b.Seen.UnixNano()) })
		return all
	}
	same := func(o office, name string, got []session.Listing, want ...session.Listing) {
		o.Helper()
		if diff := gocmp.Diff(want, got); diff != "" {
			o.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	listing := func(s session.Session, browser string) session.Listing {
		return session.Listing{ID: s.ID, App: s.App, Browser: browser, Created: s.Created, Seen: s.Seen, Ends: s.Ends, Idle: s.Idle}
	}
	together(t, "shows_where_and_when_and_not_who", oneKey, oneKey, func(o office) {
		_, a := enter(o.T, o.here, person(keycloak, "alice", ""))
		time.Sleep(time.Minute)
		_, b := enter(o.T, o.there, person(keycloak, "bob", ""))
		time.Sleep(10 * time.Minute)
		o.here.Use(b, time.Now())
		used := b
		used.Seen = time.Now()
		time.Sleep(2 * time.Second)
		same(o, "List", list(o, o.here, ""), listing(a, "Firefox"), listing(used, "Firefox"))
		same(o, "List by prefix", list(o, o.there, hex.EncodeToString(a.ID[:])[:9]), listing(a, "Firefox"))
		same(o, "List of nobody", list(o, o.there, "zz"))
		alices, err := o.there.OfUser(o.Context(), keycloak, "alice")
		if err != nil {
			o.Fatal(err)
		}
		same(o, "OfUser", alices, listing(a, "Firefox"))
		if got, want := alices[0].End(), a.Created.Add(time.Hour); !got.Equal(want) {
			o.Errorf("End = %v, want %v", got, want)
		}
	})
	together(t, "ends_with_the_first_error", oneKey, oneKey, func(o office) {
		enter(o.T, o.here, alice())
		o.store.leave()
		n := 0
		for l, err := range o.here.List(o.Context(), "") {
			if n++; n > 1 || !errors.Is(err, errAway) {
				o.Errorf("List = %+v, %v, want %v and no more", l, err, errAway)
			}
		}
		if _, err := o.here.OfUser(o.Context(), alice().Issuer, "alice"); !errors.Is(err, errAway) || n != 1 {
			o.Errorf("OfUser = %v, want %v", err, errAway)
		}
	})
	together(t, "ends_when_nobody_wants_more", oneKey, oneKey, func(o office) {
		for range 3 {
			enter(o.T, o.here, alice())
		}
		n := 0
		for _, err := range o.here.List(o.Context(), "") {
			if n++; err != nil {
				o.Error(err)
			}
			break
		}
		if n != 1 {
			o.Errorf("%d were listed, want 1", n)
		}
	})
	together(t, "what_another_key_sealed_is_there_without_it", oneKey, []string{newKey}, func(o office) {
		_, s := enter(o.T, o.here, alice())
		same(o, "List", list(o, o.there, ""), session.Listing{ID: s.ID, Seen: s.Seen, Ends: s.Ends, Idle: s.Idle})
	})
	together(t, "one_that_ended_meanwhile_is_left_out", oneKey, oneKey, func(o office) {
		_, s := enter(o.T, o.here, alice())
		_, other := enter(o.T, o.here, alice())
		o.store.put(func(_ context.Context, op string, call func() error) error {
			if op == "LoadWhole" {
				o.memory.Delete(o.Context(), s.ID) //nolint:errcheck // it is in this process
			}
			return call()
		})
		got, err := o.here.OfUser(o.Context(), alice().Issuer, "alice")
		if err != nil {
			o.Fatal(err)
		}
		same(o, "OfUser", got, listing(other, "Firefox"))
	})
}
