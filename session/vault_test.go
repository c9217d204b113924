package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// spy is a Store that keeps what it is given in the open, for the tests to read
// and to change. Its operations fail with fault, when there is one.
type spy struct {
	*session.Memory
	records map[session.ID]session.Record
	results map[session.Claim][]byte
	lives   map[string]time.Duration
	touched []map[session.ID]session.Use
	deleted int

	mu    sync.Mutex // for the goroutine of Vault.Run
	fault error
}

func (s *spy) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func newSpy() *spy {
	return &spy{
		Memory:  session.NewMemory(),
		records: map[session.ID]session.Record{},
		results: map[session.Claim][]byte{},
		lives:   map[string]time.Duration{},
	}
}

func (s *spy) Create(_ context.Context, id session.ID, r session.Record, _ time.Time) error {
	r.Version = 1
	s.records[id] = r
	return s.fault
}

func (s *spy) Load(ctx context.Context, id session.ID) (session.Record, error) {
	r, err := s.LoadWhole(ctx, id)
	r.Tokens, r.Display = nil, nil
	return r, err
}

func (s *spy) LoadWhole(_ context.Context, id session.ID) (session.Record, error) {
	r, ok := s.records[id]
	if !ok {
		return r, session.ErrNotFound
	}
	r.Indexes = nil
	return r, s.fault
}

func (s *spy) Delete(_ context.Context, ids ...session.ID) (int, error) {
	before := len(s.records)
	for _, id := range ids {
		s.deleted++
		delete(s.records, id)
	}
	return before - len(s.records), s.fault
}

func (s *spy) Claim(ctx context.Context, c session.Claim, life time.Duration) (time.Time, bool, error) {
	s.lives["claim"] = life
	return s.Memory.Claim(ctx, c, life)
}

func (s *spy) Settle(_ context.Context, c session.Claim, result []byte, life time.Duration) error {
	s.results[c], s.lives["result"] = result, life
	return s.fault
}

func (s *spy) Settled(_ context.Context, c session.Claim) ([]byte, error) {
	r, ok := s.results[c]
	if !ok {
		return nil, session.ErrNotFound
	}
	return r, s.fault
}

func (s *spy) Touch(ctx context.Context, uses map[session.ID]session.Use) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return s.fault
	}
	s.touched = append(s.touched, uses)
	return ctx.Err()
}

// vault returns a Vault over a spy.
func vault(tb testing.TB, keys ...string) (*session.Vault, *spy) {
	tb.Helper()
	if len(keys) == 0 {
		keys = []string{oldKey}
	}
	s := newSpy()
	return &session.Vault{Store: s, Sealer: ring(tb, keys...), Absolute: 12 * time.Hour, Idle: time.Hour}, s
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// alice is what a provider gave at the end of her login.
func alice() oidc.Grant {
	return oidc.Grant{
		Identity: oidc.Identity{Provider: "keycloak", Issuer: "https://id.example.org", Subject: "alice", Email: "alice@example.org"},
		IDToken:  "alice-id", Access: "alice-access", Refresh: "alice-refresh", Expires: noon.Add(5 * time.Minute),
	}
}

// signIn makes a session of a grant.
func signIn(tb testing.TB, v *session.Vault, g oidc.Grant) (session.Token, session.Session) {
	tb.Helper()
	token, s, err := v.Create(tb.Context(), noon, session.Login{App: "chat", Grant: g, Browser: "Firefox on Linux"})
	if err != nil {
		tb.Fatal(err)
	}
	return token, s
}

func TestVaultCreate(t *testing.T) {
	t.Run("is_what_load_returns", func(t *testing.T) {
		v, _ := vault(t)
		token, created, err := v.Create(t.Context(), noon.Add(123_456_789), session.Login{App: "chat", Grant: alice()})
		if err != nil {
			t.Fatal(err)
		}
		want := session.Session{
			ID: token.ID(), App: "chat", Identity: alice().Identity,
			Created: noon.Add(123 * time.Millisecond), Seen: noon.Add(123 * time.Millisecond),
			Ends: noon.Add(12*time.Hour + 123*time.Millisecond), Idle: time.Hour,
			Checked: noon.Add(123 * time.Millisecond), Version: 1,
		}
		if diff := cmp.Diff(want, created); diff != "" {
			t.Errorf("Create (-want +got):\n%s", diff)
		}
		loaded, err := v.Load(t.Context(), noon, token)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, loaded); diff != "" {
			t.Errorf("Load (-want +got):\n%s", diff)
		}
	})
	t.Run("keeps_the_tokens_apart_and_without_the_identity", func(t *testing.T) {
		v, _ := vault(t)
		token, _ := signIn(t, v, alice())
		want := alice()
		want.Identity = oidc.Identity{}
		got, err := v.Grant(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Grant (-want +got):\n%s", diff)
		}
	})
	t.Run("gives_the_store_nothing_to_read", func(t *testing.T) {
		v, store := vault(t)
		token, s := signIn(t, v, alice())
		r := store.records[s.ID]
		for _, secret := range []string{"alice", "keycloak", "chat", "Firefox", token.Reveal(), string(token[:])} {
			if bytes.Contains(slices.Concat(r.Hot, r.Tokens, r.Display), []byte(secret)) {
				t.Errorf("the record shows %q", secret)
			}
		}
	})
	t.Run("makes_a_new_token_each_time", func(t *testing.T) {
		v, _ := vault(t)
		first, _ := signIn(t, v, alice())
		second, _ := signIn(t, v, alice())
		if first == second {
			t.Error("two sessions have one token")
		}
	})
	t.Run("gives_no_token_when_the_store_fails", func(t *testing.T) {
		v, store := vault(t)
		store.fault = errors.New("no answer")
		token, s, err := v.Create(t.Context(), noon, session.Login{App: "chat", Grant: alice()})
		if !errors.Is(err, store.fault) || token != (session.Token{}) || s.ID != (session.ID{}) {
			t.Errorf("Create = %v, %v, want %v", s, err, store.fault)
		}
	})
	t.Run("refuses_claims_that_would_not_open_again", func(t *testing.T) {
		for depth, want := range map[int]bool{30: true, 200: true, 300: false} {
			v, store := vault(t)
			g, claim := alice(), any("deep")
			for range depth {
				claim = []any{claim}
			}
			g.Claims = map[string]any{"claim": claim}
			token, _, err := v.Create(t.Context(), noon, session.Login{App: "chat", Grant: g})
			if (err == nil) != want || (len(store.records) == 1) != want {
				t.Errorf("Create of %d lists in each other = %v, and %d records", depth, err, len(store.records))
			}
			if _, err := v.Load(t.Context(), noon, token); want && err != nil {
				t.Errorf("Load of %d lists in each other = %v", depth, err)
			}
		}
	})
	t.Run("refuses_a_claim_that_is_no_json", func(t *testing.T) {
		v, store := vault(t)
		g := alice()
		g.Claims = map[string]any{"f": func() {}}
		if _, _, err := v.Create(t.Context(), noon, session.Login{App: "chat", Grant: g}); err == nil || len(store.records) > 0 {
			t.Errorf("Create = %v, and %d records", err, len(store.records))
		}
	})
	t.Run("without_lifetimes_makes_nothing_that_lasts", func(t *testing.T) {
		v := &session.Vault{Store: session.NewMemory(), Sealer: ring(t, oldKey)}
		if _, _, err := v.Create(t.Context(), time.Now(), session.Login{App: "chat", Grant: alice()}); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Create = %v, want %v", err, session.ErrNotFound)
		}
	})
}

// fill sets every field of a struct to something of its own, so that a field that
// is added and not kept is noticed.
func fill(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	for i := range v.NumField() {
		f, name := v.Field(i), path+v.Type().Field(i).Name
		switch {
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(noon.Add(time.Duration(len(name)) * time.Minute)))
		case f.Kind() == reflect.String:
			f.SetString("<" + name + "> é\u2028&\x00")
		case f.Type() == reflect.TypeFor[[]string]():
			f.Set(reflect.ValueOf([]string{name, ""}))
		case f.Type() == reflect.TypeFor[map[string]any]():
			f.Set(reflect.ValueOf(map[string]any{"n": json.Number("1"), "of": name}))
		case f.Kind() == reflect.Struct:
			fill(t, f, name+".")
		default:
			t.Fatalf("%s: add its type %s here", name, f.Type())
		}
	}
}

func TestVaultKeepsEveryField(t *testing.T) {
	v, _ := vault(t)
	var want oidc.Grant
	fill(t, reflect.ValueOf(&want).Elem(), "")
	token, _ := signIn(t, v, want)
	s, err := v.Load(t.Context(), noon, token)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Grant(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	got.Identity = s.Identity
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields that were not kept (-want +got):\n%s", diff)
	}
}

func TestVaultKeepsClaims(t *testing.T) {
	for _, tt := range []struct {
		name  string
		claim any
		want  string // as it is later signed into a token
	}{
		{"an_integer", json.Number("42"), `42`},
		{"an_integer_beyond_float64", json.Number("9007199254740993"), `9007199254740993`},
		{"an_integer_of_go", int64(9007199254740993), `9007199254740993`},
		{"an_integer_as_float", float64(1700000000), `1700000000`},
		{"a_fraction", json.Number("1.50"), `1.50`},
		{"an_exponent", json.Number("1E2"), `1E2`},
		{"a_number_in_a_string", "42", `"42"`},
		{"true", true, `true`},
		{"null", nil, `null`},
		{"an_empty_list", []any{}, `[]`},
		{"an_empty_object", map[string]any{}, `{}`},
		{"a_nested_one", map[string]any{"a": []any{json.Number("1"), "1", nil, map[string]any{"b": false}}}, `{"a":[1,"1",null,{"b":false}]}`},
		{"characters_of_html", "<a>&\u2028", `"\u003ca\u003e\u0026\u2028"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := vault(t)
			g := alice()
			g.Claims = map[string]any{"claim": tt.claim}
			token, _ := signIn(t, v, g)
			s, err := v.Load(t.Context(), noon, token)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(s.Identity.Claims["claim"])
			if _, there := s.Identity.Claims["claim"]; err != nil || !there || string(got) != tt.want {
				t.Errorf("the claim is %s, %v, want %s", got, err, tt.want)
			}
		})
	}
	t.Run("none_and_no_groups_differ_from_empty_ones", func(t *testing.T) {
		v, _ := vault(t)
		for _, want := range []oidc.Identity{
			{Subject: "alice"}, {Subject: "alice", Groups: []string{}, AMR: []string{}, Claims: map[string]any{}},
		} {
			token, _ := signIn(t, v, oidc.Grant{Identity: want})
			s, err := v.Load(t.Context(), noon, token)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, s.Identity); diff != "" {
				t.Errorf("Identity (-want +got):\n%s", diff)
			}
		}
	})
}

// Somebody changes what the store holds. Whatever it was, nobody is signed in by
// it, nothing is deleted, and a fault is told from a forgery.
func TestVaultThatWasTamperedWith(t *testing.T) {
	bob := alice()
	bob.Subject = "bob"
	for _, tt := range []struct {
		name   string
		tamper func(v *session.Vault, alices, bobs *session.Record)
		want   error
	}{
		{"by_nobody", func(*session.Vault, *session.Record, *session.Record) {}, nil},
		{"records_swapped", func(_ *session.Vault, a, b *session.Record) { *a, *b = *b, *a }, session.ErrNotFound},
		{"parts_swapped", func(_ *session.Vault, a, _ *session.Record) { a.Hot, a.Tokens = a.Tokens, a.Hot }, session.ErrNotFound},
		{"emptied", func(_ *session.Vault, a, _ *session.Record) { a.Hot, a.Tokens = nil, nil }, session.ErrNotFound},
		{"cut", func(_ *session.Vault, a, _ *session.Record) { a.Hot, a.Tokens = a.Hot[:40], a.Tokens[:40] }, session.ErrNotFound},
		{"extended", func(_ *session.Vault, a, _ *session.Record) {
			a.Hot, a.Tokens = append(a.Hot, 0), append(a.Tokens, 0)
		}, session.ErrNotFound},
		{"sealed_in_plain", func(_ *session.Vault, a, _ *session.Record) {
			a.Hot, a.Tokens = []byte("\x01{}"), []byte("\x01{}")
		}, session.ErrNotFound},
		{"sealed_with_the_ring_alone", func(v *session.Vault, a, _ *session.Record) {
			a.Hot = v.Sealer.Seal(session.Binding{Purpose: "session"}, []byte("{}"))
			a.Tokens = v.Sealer.Seal(session.Binding{Purpose: "tokens"}, []byte("{}"))
		}, session.ErrNotFound},
		{"key_dropped", func(v *session.Vault, _, _ *session.Record) { v.Sealer = ring(t, newKey) }, session.ErrUnknownKey},
		{"key_appended", func(v *session.Vault, _, _ *session.Record) { v.Sealer = ring(t, oldKey, newKey) }, nil},
		{"key_promoted", func(v *session.Vault, _, _ *session.Record) { v.Sealer = ring(t, newKey, oldKey) }, nil},
		{"newer_format", func(_ *session.Vault, a, _ *session.Record) { a.Hot[0], a.Tokens[0] = 2, 2 }, session.ErrUnknownKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, store := vault(t)
			token, s := signIn(t, v, alice())
			_, other := signIn(t, v, bob)
			a, b := store.records[s.ID], store.records[other.ID]
			tt.tamper(v, &a, &b)
			store.records[s.ID], store.records[other.ID] = a, b
			before := maps.Clone(store.records)

			got, err := v.Load(t.Context(), noon, token)
			if !errors.Is(err, tt.want) || (err == nil) != (got.Identity.Subject == "alice") {
				t.Errorf("Load = %q, %v, want %v", got.Identity.Subject, err, tt.want)
			}
			grant, err := v.Grant(t.Context(), token)
			if !errors.Is(err, tt.want) || (err == nil) != (grant.Access == "alice-access") {
				t.Errorf("Grant = %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(before, store.records); diff != "" || store.deleted > 0 {
				t.Errorf("the store was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestVaultLoad(t *testing.T) {
	t.Run("with_a_token_of_nobody", func(t *testing.T) {
		v, _ := vault(t)
		signIn(t, v, alice())
		for _, token := range []session.Token{{}, session.NewToken()} {
			if s, err := v.Load(t.Context(), noon, token); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("Load = %v, %v, want %v", s, err, session.ErrNotFound)
			}
		}
	})
	t.Run("says_when_the_store_does_not_answer", func(t *testing.T) {
		v, store := vault(t)
		token, _ := signIn(t, v, alice())
		store.fault = errors.New("no answer")
		_, loadErr := v.Load(t.Context(), noon, token)
		_, grantErr := v.Grant(t.Context(), token)
		if !errors.Is(loadErr, store.fault) || !errors.Is(grantErr, store.fault) {
			t.Errorf("Load = %v, Grant = %v, want %v", loadErr, grantErr, store.fault)
		}
	})
	t.Run("after_delete", func(t *testing.T) {
		v, _ := vault(t)
		token, s := signIn(t, v, alice())
		if err := v.Delete(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Load(t.Context(), noon, token); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Load = %v, want %v", err, session.ErrNotFound)
		}
	})
	for _, tt := range []struct {
		name   string
		change func(r *session.Record)
		want   time.Time // its end
	}{
		{"that_nobody_changed", func(*session.Record) {}, noon.Add(time.Hour)},
		{"that_was_seen_later", func(r *session.Record) { r.Seen = noon.Add(30 * time.Minute) }, noon.Add(90 * time.Minute)},
		{"seen_in_the_far_future_ends_as_it_was_sealed", func(r *session.Record) { r.Seen = noon.AddDate(9, 0, 0) }, noon.Add(12 * time.Hour)},
		{"prolonged_absolutely", func(r *session.Record) { r.Ends = noon.AddDate(9, 0, 0) }, noon.Add(time.Hour)},
		{"prolonged_by_idle", func(r *session.Record) { r.Idle = 1 << 62 }, noon.Add(time.Hour)},
		{"prolonged_by_all", func(r *session.Record) {
			r.Seen, r.Ends, r.Idle = noon.AddDate(9, 0, 0), noon.AddDate(9, 0, 0), 1<<62
		}, noon.Add(12 * time.Hour)},
		{"shortened_absolutely", func(r *session.Record) { r.Ends = noon.Add(time.Minute) }, noon.Add(time.Minute)},
		{"shortened_by_idle", func(r *session.Record) { r.Idle = time.Minute }, noon.Add(time.Minute)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, store := vault(t)
			token, s := signIn(t, v, alice())
			r := store.records[s.ID]
			tt.change(&r)
			store.records[s.ID] = r
			got, err := v.Load(t.Context(), noon, token)
			if err != nil || !got.End().Equal(tt.want) {
				t.Errorf("End = %v, %v, want %v", got.End(), err, tt.want)
			}
		})
	}
}

func TestVaultUse(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   time.Duration // after it was seen
		want bool
	}{
		{"at_once", 0, false},
		{"before_a_tenth_of_idle", 6*time.Minute - 1, false},
		{"a_tenth_of_idle_exactly_now", 6 * time.Minute, true},
		{"before_its_end", time.Hour - 1, true},
		{"ends_exactly_now", time.Hour, false},
		{"before_it_was_seen", -time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, store := vault(t)
			_, s := signIn(t, v, alice())
			v.Use(s, noon.Add(tt.at))
			if got := flushed(t, v, store) == 1; got != tt.want {
				t.Errorf("the store is told: %v, want %v", got, tt.want)
			}
		})
	}
	t.Run("of_the_zero_session", func(t *testing.T) {
		v, store := vault(t)
		v.Use(session.Session{}, noon)
		if n := flushed(t, v, store); n > 0 {
			t.Errorf("the store is told of %d, want none", n)
		}
	})
	t.Run("keeps_a_hundred_thousand_and_no_more", func(t *testing.T) {
		v, store := vault(t)
		s := session.Session{Seen: noon, Ends: noon.Add(time.Hour), Idle: time.Hour}
		later, latest := noon.Add(10*time.Minute), noon.Add(11*time.Minute)
		for i := range 100_010 {
			s.ID = session.ID{byte(i), byte(i >> 8), byte(i >> 16), 1}
			v.Use(s, later)
		}
		s.ID = session.ID{0, 0, 0, 1}
		v.Use(s, latest)
		if n := flushed(t, v, store); n != 100_000 || !store.touched[0][s.ID].Seen.Equal(latest) {
			t.Errorf("the store is told of %d, want 100,000, and of the first of them the latest use", n)
		}
	})
}

// flushed is how many uses a Vault tells its store of.
func flushed(t *testing.T, v *session.Vault, store *spy) (n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Run tells it a last time as it ends
	if err := v.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for _, uses := range store.touched {
		n += len(uses)
	}
	return n
}

// running is a Vault that runs.
type running struct {
	*testing.T
	*session.Vault
	store *spy
	stop  func() error // ends Run and returns its error
}

// run runs a Vault in a bubble of its own, and test beside it.
func run(t *testing.T, test func(r running)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v, store := vault(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- v.Run(ctx) }()
		test(running{t, v, store, func() error { cancel(); return <-ended }})
	})
}

func TestVaultRun(t *testing.T) {
	one := session.Session{ID: session.ID{1}, Seen: noon, Ends: noon.Add(time.Hour), Idle: time.Hour}
	two := session.Session{ID: session.ID{2}, Seen: noon, Ends: noon.Add(time.Hour), Idle: time.Hour}
	later, latest := noon.Add(10*time.Minute), noon.Add(11*time.Minute)
	seen := func(at time.Time) session.Use {
		return session.Use{Seen: at, Ends: noon.Add(time.Hour), Indexes: ring(t, oldKey).Index("subject", "", "")}
	}

	t.Run("tells_the_store_within_a_second_and_once", func(t *testing.T) {
		run(t, func(r running) {
			r.Use(one, latest)
			r.Use(one, later)
			r.Use(two, later)
			time.Sleep(3500 * time.Millisecond)
			want := []map[session.ID]session.Use{{one.ID: seen(latest), two.ID: seen(later)}}
			if err := r.stop(); err != nil {
				r.Errorf("Run = %v", err)
			}
			if diff := cmp.Diff(want, r.store.touched); diff != "" {
				r.Errorf("Touch (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("tells_it_a_last_time_as_it_ends", func(t *testing.T) {
		run(t, func(r running) {
			synctest.Wait()
			r.Use(one, later)
			if err := r.stop(); err != nil || len(r.store.touched) != 1 {
				r.Errorf("Run = %v after %d flushes, want 1", err, len(r.store.touched))
			}
		})
	})
	t.Run("tells_it_again_what_it_did_not_take", func(t *testing.T) {
		run(t, func(r running) {
			r.store.fail(errors.New("no answer"))
			r.Use(one, later)
			time.Sleep(2500 * time.Millisecond)
			synctest.Wait()
			r.Use(two, latest)
			r.store.fail(nil)
			time.Sleep(time.Second)
			synctest.Wait()
			want := []map[session.ID]session.Use{{one.ID: seen(later), two.ID: seen(latest)}}
			if diff := cmp.Diff(want, r.store.touched); diff != "" {
				r.Errorf("Touch (-want +got):\n%s", diff)
			}
			if err := r.stop(); err != nil {
				r.Errorf("Run = %v", err)
			}
		})
	})
	t.Run("says_what_was_lost_in_the_end", func(t *testing.T) {
		run(t, func(r running) {
			r.store.fail(errors.New("no answer"))
			r.Use(one, later)
			if err := r.stop(); !errors.Is(err, r.store.fault) {
				r.Errorf("Run = %v, want %v", err, r.store.fault)
			}
		})
	})
}

// attempt is a login that is under way.
func attempt() oidc.Attempt {
	return oidc.Attempt{
		Provider: "keycloak", State: oidc.NewSecret(), Nonce: oidc.NewSecret(), Verifier: oidc.NewSecret(),
		ReturnTo: "/inbox?q=1", Started: noon,
	}
}

func TestVaultClaim(t *testing.T) {
	v, store := vault(t)
	a, b := attempt(), attempt()
	for _, tt := range []struct {
		name string
		a    oidc.Attempt
		want bool
	}{
		{"the_first", a, true},
		{"the_second", a, false},
		{"the_first_of_another", b, true},
		{"another_cookie_with_the_same_state", oidc.Attempt{State: a.State, Verifier: b.Verifier}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, first, err := v.Claim(t.Context(), tt.a); err != nil || first != tt.want {
				t.Errorf("Claim = %v, %v, want %v", first, err, tt.want)
			}
		})
	}
	if got := store.lives["claim"]; got != oidc.AttemptLife {
		t.Errorf("a claim lives for %v, want %v", got, oidc.AttemptLife)
	}
}

func TestVaultSettled(t *testing.T) {
	v, store := vault(t)
	a, b := attempt(), attempt()
	settled := func(t *testing.T, a oidc.Attempt, want string, wantErr error) {
		t.Helper()
		if got, err := v.Settled(t.Context(), a); !errors.Is(err, wantErr) || string(got) != want {
			t.Errorf("Settled = %q, %v, want %q, %v", got, err, want, wantErr)
		}
	}
	t.Run("before_it_is", func(t *testing.T) { settled(t, a, "", session.ErrNotFound) })
	for who, a := range map[string]oidc.Attempt{"alice": a, "bob": b} {
		if err := v.Settle(t.Context(), a, []byte("signed in as "+who)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("for_whoever_comes_later", func(t *testing.T) { settled(t, a, "signed in as alice", nil) })
	t.Run("for_a_minute", func(t *testing.T) {
		if got := store.lives["result"]; got != time.Minute {
			t.Errorf("a result lives for %v, want a minute", got)
		}
	})
	t.Run("not_for_whoever_knows_only_the_state", func(t *testing.T) {
		settled(t, oidc.Attempt{State: a.State, Verifier: b.Verifier}, "", session.ErrNotFound)
		settled(t, oidc.Attempt{State: a.State}, "", session.ErrNotFound)
	})
	t.Run("gives_the_store_nothing_to_read", func(t *testing.T) {
		for _, sealed := range store.results {
			if bytes.Contains(sealed, []byte("signed in")) {
				t.Error("the result shows itself")
			}
		}
	})
	t.Run("results_swapped", func(t *testing.T) {
		claims := slices.Collect(maps.Keys(store.results))
		r := store.results
		r[claims[0]], r[claims[1]] = r[claims[1]], r[claims[0]]
		settled(t, a, "", session.ErrNotFound)
		settled(t, b, "", session.ErrNotFound)
	})
	t.Run("by_a_replica_whose_key_is_not_known_here", func(t *testing.T) {
		v.Sealer = ring(t, newKey)
		settled(t, a, "", session.ErrUnknownKey)
	})
	t.Run("while_the_store_does_not_answer", func(t *testing.T) {
		store.fault = errors.New("no answer")
		settled(t, a, "", store.fault)
	})
}

func ExampleVault() {
	v := &session.Vault{
		Store: session.NewMemory(), Sealer: session.GenerateKeyring(),
		Absolute: 12 * time.Hour, Idle: time.Hour,
	}
	ctx, now := context.Background(), time.Now()
	token, _, err := v.Create(ctx, now, session.Login{App: "chat", Grant: oidc.Grant{
		Identity: oidc.Identity{Issuer: "https://id.example.org", Subject: "alice"},
	}})
	if err != nil {
		panic(err)
	}
	cookie := token.Reveal() // for the browser, and nobody else

	presented, _ := session.ParseToken(cookie)
	s, err := v.Load(ctx, now, presented)
	fmt.Println(s.Identity.Subject, err, s.State(now) == session.Fresh, s.State(now.Add(time.Hour)) == session.Ended)
	fmt.Println(strings.Repeat("x", len(cookie)), token)
	// Output:
	// alice <nil> true true
	// xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx [secret]
}
