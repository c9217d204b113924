package redis_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
)

// plain seals nothing: the test must find then what it looks for.
type plain struct{}

func (plain) Seal(_ session.Binding, content []byte) []byte         { return content }
func (plain) Open(_ session.Binding, sealed []byte) ([]byte, error) { return sealed, nil }
func (plain) Current([]byte) bool                                   { return true }
func (plain) Index(...string) []session.Index                       { return []session.Index{{1}} }

// life lets a vault do all that it does with a store, and returns what nobody who
// reads Redis may see, by name.
func life(t *testing.T, v *session.Vault) map[string]string {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	g := oidc.Grant{
		Identity: oidc.Identity{
			Issuer: "https://issuer-of-alice", Subject: "subject-of-alice", Email: "email-of-alice",
			Claims: map[string]any{"siret": "claim-of-alice"},
		},
		IDToken: "id-token-of-alice", Access: "access-of-alice", Refresh: "refresh-of-alice",
	}
	token, s, err := v.Create(ctx, now, session.Login{App: "app-of-alice", Grant: g, Browser: "browser-of-alice"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Load(ctx, now, token); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Grant(ctx, token); err != nil {
		t.Fatal(err)
	}
	a := oidc.Attempt{State: oidc.NewSecret(), Nonce: oidc.NewSecret(), Verifier: oidc.NewSecret(), ReturnTo: "/return-of-alice", Started: now}
	if _, first, err := v.Claim(ctx, a); err != nil || !first {
		t.Fatalf("Claim = %v, %v", first, err)
	}
	if err := v.Settle(ctx, a, []byte("result-of-alice "+token.Reveal())); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Settled(ctx, a); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	v.Use(s, now.Add(10*time.Minute))
	cancel()
	if err := v.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"issuer": g.Issuer, "subject": g.Subject, "e-mail": g.Email, "claim": "claim-of-alice", "app": "app-of-alice", "browser": "browser-of-alice",
		"ID token": g.IDToken.Reveal(), "access token": g.Access.Reveal(), "refresh token": g.Refresh.Reveal(),
		"cookie": token.Reveal(), "result": "result-of-alice",
		// Never there, sealed or not: the store is not told of them.
		"token": string(token[:]), "token in hex": hex.EncodeToString(token[:]),
		"state": a.State.Reveal(), "nonce": a.Nonce.Reveal(), "verifier": a.Verifier.Reveal(), "return address": a.ReturnTo,
	}
}

// neverStored are those of life that are not even there unsealed.
var neverStored = map[string]bool{
	"token": true, "token in hex": true, "state": true, "nonce": true, "verifier": true, "return address": true,
}

func TestNothingIsReadInRedis(t *testing.T) {
	for _, tt := range []struct {
		name   string
		sealer session.Sealer
		want   bool // whether it is found
	}{
		{"sealed", session.GenerateKeyring(), false},
		{"unsealed_as_a_proof_of_the_test", plain{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			stop := server.Monitor()
			v := &session.Vault{
				Store: open(t, redis.Options{URL: server.URL}), Sealer: tt.sealer,
				Absolute: time.Hour, Idle: time.Hour,
			}
			secrets := life(t, v)
			for place, content := range map[string][]byte{
				"dump": server.Dump(), "append-only file": server.AOF(), "commands": stop(),
			} {
				if !bytes.Contains(content, []byte("countersign:{")) {
					t.Errorf("the %s holds no session at all", place)
				}
				for name, secret := range secrets {
					quoted := base64.StdEncoding.EncodeToString([]byte(secret))
					found := bytes.Contains(content, []byte(secret)) || bytes.Contains(content, []byte(quoted))
					if want := tt.want && !neverStored[name]; found != want {
						t.Errorf("%s in the %s: %v, want %v", name, place, found, want)
					}
				}
			}
		})
	}
}

func TestVaultOnRedis(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, redis.Options{URL: server.URL})
	v := &session.Vault{Store: store, Sealer: session.GenerateKeyring(), Absolute: time.Hour, Idle: time.Minute}
	token, s, err := v.Create(t.Context(), time.Now(), session.Login{App: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	key := "countersign:{" + hex.EncodeToString(s.ID[:]) + "}:hot"

	t.Run("somebody_who_writes_redis_does_not_prolong_a_session", func(t *testing.T) {
		never := time.Now().AddDate(10, 0, 0).UnixMilli()
		server.Do("HSET", key, "seen", never, "ends", never, "idle", never)
		server.Do("PERSIST", key)
		got, err := v.Load(t.Context(), time.Now(), token)
		if err != nil || got.End().After(s.Ends) {
			t.Errorf("End = %v, %v, want %v at the latest", got.End(), err, s.Ends)
		}
	})
	t.Run("what_they_write_instead_is_nobodys_and_stays", func(t *testing.T) {
		server.Do("HSET", key, "sealed", "\x01mallory")
		if _, err := v.Load(t.Context(), time.Now(), token); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Load = %v, want %v", err, session.ErrNotFound)
		}
		if server.Do("EXISTS", key) != int64(1) {
			t.Error("the record was deleted")
		}
	})
	t.Run("a_session_costs_one_trip", func(t *testing.T) {
		token, _, err := v.Create(t.Context(), time.Now(), session.Login{App: "chat"})
		if err != nil {
			t.Fatal(err)
		}
		stop := server.Monitor()
		if _, err := v.Load(t.Context(), time.Now(), token); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(stop(), []byte("countersign:{")); got != 1 {
			t.Errorf("%d commands for one Load, want 1", got)
		}
	})
}
