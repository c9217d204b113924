package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/session"
)

// CR-A05: whatever changes in a sealed part, it opens no session.
func TestVaultWithEveryByteChanged(t *testing.T) {
	v, store := vault(t)
	token, s := signIn(t, v, alice())
	whole := store.records[s.ID]
	refused := func(name string, r session.Record, hot bool) {
		t.Helper()
		store.records[s.ID] = r
		_, err := v.Grant(t.Context(), token)
		if hot {
			_, err = v.Load(t.Context(), noon, token)
		}
		if !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrUnknownKey) {
			t.Errorf("%s: %v, want that it does not open", name, err)
		}
	}
	for _, part := range []struct {
		name string
		hot  bool
		of   func(*session.Record) *[]byte
	}{
		{"hot", true, func(r *session.Record) *[]byte { return &r.Hot }},
		{"tokens", false, func(r *session.Record) *[]byte { return &r.Tokens }},
	} {
		good := *part.of(&whole)
		for i := range good {
			for _, change := range []struct {
				name string
				to   []byte
			}{
				{"flipped", append(append(bytes.Clone(good[:i]), good[i]^1), good[i+1:]...)},
				{"cut", good[:i]},
				{"without", append(bytes.Clone(good[:i]), good[i+1:]...)},
				{"doubled", append(bytes.Clone(good[:i+1]), good[i:]...)},
			} {
				r := whole
				*part.of(&r) = change.to
				refused(fmt.Sprintf("%s %s at %d", part.name, change.name, i), r, part.hot)
			}
		}
	}
	store.records[s.ID] = whole
	if got, err := v.Load(t.Context(), noon, token); err != nil || got.Identity.Subject != "alice" || store.deleted > 0 {
		t.Errorf("Load = %v after all that, with %d deleted", err, store.deleted)
	}
}

// CR-A03: no nonce comes twice under one key.
func TestSealNonces(t *testing.T) {
	const header, nonce, seals = 9, 12, 100_000
	k, b := ring(t, oldKey), session.Binding{Purpose: "display", Parts: []string{"one"}}
	seen := make(map[[nonce]byte]bool, seals)
	for range seals {
		seen[[nonce]byte(k.Seal(b, nil)[header:])] = true
	}
	if len(seen) != seals {
		t.Errorf("%d nonces in %d seals", len(seen), seals)
	}
}

// CR-A02, and what DESIGN says it costs that the store knows nothing.
func TestRollbackOfTheStoreIsNotNoticed(t *testing.T) {
	v, store := vault(t)
	token, s := signIn(t, v, alice())
	old := store.records[s.ID]
	if err := v.SignOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	store.records[s.ID] = old
	got, err := v.Load(t.Context(), noon, token)
	if err != nil || !got.End().Equal(s.End()) {
		t.Errorf("Load = %v, %v, want it until its sealed end %v", got.End(), err, s.End())
	}
}

// Somebody has all that the store has, and all the keys of the server, and the
// production code. What they lack is the cookie.
func TestStoreAndKeysOpenNothingWithoutTheCookie(t *testing.T) {
	memory := session.NewMemory()
	g := alice()
	g.Name, g.Groups, g.SessionID = "Alice Example", []string{"staff"}, "sid-of-alice"
	g.Claims = map[string]any{"phone": "+41 44 000 00 00"}
	keys := ring(t, newKey, oldKey)
	v := &session.Vault{Store: memory, Sealer: keys, Absolute: time.Hour, Idle: time.Hour}
	token, s := enter(t, v, g)
	r, err := memory.LoadWhole(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{
		"alice", "Alice", "staff", "sid-of-alice", "+41", "phone", "id.example.org", "keycloak",
		g.Access.Reveal(), g.Refresh.Reveal(), g.IDToken.Reveal(), string(token[:]), token.Reveal(),
	}
	shows := func(what string, plain []byte) {
		t.Helper()
		for _, secret := range secrets {
			if bytes.Contains(plain, []byte(secret)) {
				t.Errorf("%s shows %q", what, secret)
			}
		}
	}
	id := fmt.Sprintf("%x", s.ID[:])
	parts := map[string][]byte{"hot": r.Hot, "tokens": r.Tokens, "display": r.Display}
	opened := 0
	for name, sealed := range parts {
		shows(name, sealed)
		for _, purpose := range []string{"session", "tokens", "display", "login result", "login attempt", ""} {
			for _, secret := range [][]byte{nil, {}, s.ID[:], make([]byte, 32), []byte(id), []byte(oldKey)} {
				for _, place := range [][]string{nil, {id}, {""}, {string(s.ID[:])}, {"chat", callback}} {
					plain, err := keys.Open(session.Binding{Purpose: purpose, Secret: secret, Parts: place}, sealed)
					if err == nil {
						opened++
						if name != "display" {
							t.Errorf("%s opens as %q", name, purpose)
						}
						shows("what opens of "+name, plain)
					}
				}
			}
		}
	}
	if opened == 0 {
		t.Error("not even the display record opens, so that this test tries in vain")
	}
	for _, guess := range []session.Token{{}, session.Token(s.ID), session.NewToken()} {
		find(t, v, guess, session.ErrNotFound)
		if _, err := v.Grant(t.Context(), guess); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Grant = %v, want %v", err, session.ErrNotFound)
		}
	}
	for l, err := range v.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		shows("the list", fmt.Appendf(nil, "%+v", l))
	}
	for i, index := range keys.Index("subject", g.Issuer, g.Subject) {
		shows("the index", index[:])
		if ring(t, otherKey).Index("subject", g.Issuer, g.Subject)[0] == index {
			t.Errorf("index %d is the same under another key", i)
		}
		if ids, err := memory.Find(t.Context(), index); err != nil || len(ids) != 1 {
			t.Errorf("Find = %v, %v, want that whoever has the keys can confirm a guess", ids, err)
		}
	}
	// With the cookie all of it opens.
	got := find(t, v, token, nil)
	tokens, err := v.Grant(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	tokens.Identity = got.Identity
	if diff := cmp.Diff(g, tokens); diff != "" {
		t.Errorf("with the cookie (-want +got):\n%s", diff)
	}
	if plain, err := keys.Open(session.Binding{Purpose: "session", Secret: token[:], Parts: []string{id}}, r.Hot); err != nil || !strings.Contains(string(plain), "Alice Example") {
		t.Errorf("Open = %q, %v, with the cookie", plain, err)
	}
}
