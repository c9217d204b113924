package redis_test

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
)

// as returns an answer of Redis that must be of a type.
func as[T any](t *testing.T, answer any) T {
	t.Helper()
	v, ok := answer.(T)
	if !ok {
		t.Fatalf("Redis answered with %T, want %T", answer, v)
	}
	return v
}

// keys returns all keys of a server, sorted.
func keys(t *testing.T, server *redistest.Server) []string {
	t.Helper()
	var all []string
	for _, key := range as[[]any](t, server.Do("KEYS", "*")) {
		all = append(all, as[string](t, key))
	}
	slices.Sort(all)
	return all
}

func TestKeys(t *testing.T) {
	server := redistest.Start(t)
	for _, prefix := range []string{"", "other:"} {
		store := open(t, redis.Options{URL: server.URL, Prefix: prefix})
		id := session.ID{0xab}
		if err := store.Create(t.Context(), id, record(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Lock(t.Context(), id, session.Owner{1}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := store.Bury(t.Context(), time.Minute, session.Index{1}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := store.Claim(t.Context(), session.Claim{0xcd}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := store.Settle(t.Context(), session.Claim{0xcd}, []byte("sealed"), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	rest := strings.Repeat("00", 31)
	var want []string
	for _, prefix := range []string{"countersign:", "other:"} {
		for _, key := range []string{
			"{01" + rest + "}:buried", "{01" + rest + "}:index",
			"{ab" + rest + "}:hot", "{ab" + rest + "}:lock", "{ab" + rest + "}:tokens",
			"{cd" + rest + "}:claim", "{cd" + rest + "}:result",
		} {
			want = append(want, prefix+key)
		}
	}
	if diff := cmp.Diff(want, keys(t, server)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for _, key := range want {
		if ttl := as[int64](t, server.Do("PTTL", key)); ttl <= 0 {
			t.Errorf("%s never expires", key)
		}
	}
}

func TestEndsOfKeys(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, redis.Options{URL: server.URL})
	now := time.UnixMilli(time.Now().UnixMilli())
	r := session.Record{Seen: now, Ends: now.Add(time.Hour), Idle: 10 * time.Minute}
	end := func(t *testing.T, id session.ID, want time.Time) {
		t.Helper()
		for _, part := range []string{"hot", "tokens"} {
			// PEXPIRETIME is newer than the oldest Redis that we support.
			left := as[int64](t, server.Do("PTTL", "countersign:{"+hex.EncodeToString(id[:])+"}:"+part))
			if got := time.Now().Add(time.Duration(left) * time.Millisecond); got.Sub(want).Abs() > time.Second {
				t.Errorf("%s ends at %v, want %v", part, got, want)
			}
		}
	}
	id := newID()
	if err := store.Create(t.Context(), id, r, time.Now()); err != nil {
		t.Fatal(err)
	}
	end(t, id, now.Add(10*time.Minute))
	for _, step := range []struct {
		name       string
		seen, want time.Time
	}{
		{"a_touch_moves_the_end", now.Add(20 * time.Minute), now.Add(30 * time.Minute)},
		{"a_late_touch_moves_it_to_the_absolute_end", now.Add(55 * time.Minute), now.Add(time.Hour)},
		{"a_touch_of_the_past_leaves_it", now.Add(time.Minute), now.Add(time.Hour)},
	} {
		if err := store.Touch(t.Context(), used(step.seen, id)); err != nil {
			t.Fatal(err)
		}
		t.Run(step.name, func(t *testing.T) { end(t, id, step.want) })
	}
	r.Idle = time.Minute
	if err := store.Replace(t.Context(), id, 1, r); err != nil {
		t.Fatal(err)
	}
	t.Run("a_replace_moves_it_to_the_idle_end_of_the_last_touch", func(t *testing.T) { end(t, id, now.Add(56*time.Minute)) })
}

// What is not ours is found by nobody, whatever somebody writes to Redis.
func TestRecordsOfSomebodyElse(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, redis.Options{URL: server.URL})
	for name, fields := range map[string][]any{
		"a_field_is_missing":   {"version", 1, "sealed", "x", "seen", 1, "ends", 1},
		"a_time_is_no_number":  {"version", 1, "sealed", "x", "seen", "now", "ends", 1, "idle", 1},
		"a_version_is_below_0": {"version", -1, "sealed", "x", "seen", 1, "ends", 1, "idle", 1},
	} {
		t.Run(name, func(t *testing.T) {
			id := newID()
			key := "countersign:{" + hex.EncodeToString(id[:]) + "}:hot"
			server.Do(append([]any{"HSET", key}, fields...)...)
			if r, err := store.Load(t.Context(), id); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("Load = %v, %v, want %v", r, err, session.ErrNotFound)
			}
		})
	}
	t.Run("a_key_of_another_type", func(t *testing.T) {
		id := newID()
		server.Do("SET", "countersign:{"+hex.EncodeToString(id[:])+"}:hot", "text")
		_, err := store.Load(t.Context(), id)
		isFault(t, "Load", err)
	})
}

// Redis must be asked for every command that the rule allows: what is not needed
// is not allowed. Those that only some shapes need are named here.
func TestCommands(t *testing.T) {
	server := redistest.Start(t)
	server.Do(append([]any{"ACL", "SETUSER", "countersign", "on", ">hunter2"}, rule("")...)...)
	stop := server.Monitor()
	store := open(t, redis.Options{URL: server.URL, Username: "countersign", Password: "hunter2"})
	id := newID()
	for _, name := range []string{
		"ping", "create", "load", "whole", "replace", "touch", "find", "list",
		"lock", "unlock", "bury", "claim", "settle", "settled", "delete",
	} {
		if err := operations(store, id)[name](t.Context()); err != nil {
			t.Errorf("%s = %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := watch(ctx, t, store)
	w.heard(time.Now())
	cancel()
	elsewhere := []string{"auth", "select", "asking", "cluster|slots"}
	captured := strings.ToLower(string(stop()))
	for _, word := range rule("") {
		command, ok := strings.CutPrefix(as[string](t, word), "+")
		if ok && !strings.Contains(captured, `"`+command+`"`) && !slices.Contains(elsewhere, command) {
			t.Errorf("%s is allowed and not used", command)
		}
	}
}

func hexOf(id session.ID) string { return hex.EncodeToString(id[:]) }

// rule returns the words of the ACL rule.
func rule(prefix string) (words []any) {
	for word := range strings.FieldsSeq(redis.ACL(prefix)) {
		words = append(words, word)
	}
	return words
}
