package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"
)

func realTime(theirs *oidctest.Config, ours *oidc.Config) { theirs.Now, ours.Now = time.Now, time.Now }

// bubble makes a world whose clock is that of the synctest bubble around it. It
// is discovered, and its keys were read once.
func bubble(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, realTime)
	run(t, w.client)
	synctest.Wait()
	return w
}

func TestKeys_flood(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lies  oidctest.Lies
		want  error
		reads int
	}{
		{"unknown_kid", oidctest.Lies{Signature: oidctest.UnknownKey}, oidc.ErrKey, 1},
		{"known_kid_with_a_bad_signature", oidctest.Lies{Signature: oidctest.StolenKeyID}, oidc.ErrSignature, 0},
		{"no_kid_with_a_bad_signature", oidctest.Lies{Signature: oidctest.FlippedBit, KeyID: oidctest.Missing}, oidc.ErrSignature, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := bubble(t)
				w.SetLies(tt.lies)
				before := w.Count(oidctest.Keys)
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						if _, err := w.login(t); !errors.Is(err, tt.want) {
							t.Errorf("Finish = %v, want %v", err, tt.want)
						}
					})
				}
				wg.Wait()
				if n := w.Count(oidctest.Keys) - before; n != tt.reads {
					t.Errorf("keys were read %d times, want %d", n, tt.reads)
				}
				w.SetLies(oidctest.Lies{})
				if _, err := w.login(t); err != nil {
					t.Errorf("an honest login meanwhile = %v", err)
				}
			})
		})
	}
}

func TestKeys_are_read_again_after_ten_seconds(t *testing.T) {
	for _, tt := range []struct {
		name string
		wait time.Duration
		want error
	}{
		{"a_moment_before", 10*time.Second - 1, oidc.ErrKey},
		{"exactly_then", 10 * time.Second, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := bubble(t)
				for range 2 { // the first new key is found at once, the second is too early
					if err := w.RotateKey(); err != nil {
						t.Fatal(err)
					}
					w.DropOldKeys()
					if w.Count(oidctest.Keys) == 1 {
						if _, err := w.login(t); err != nil {
							t.Fatalf("after the first rotation: %v", err)
						}
					}
				}
				time.Sleep(tt.wait)
				if _, err := w.login(t); !errors.Is(err, tt.want) {
					t.Errorf("Finish = %v, want %v", err, tt.want)
				}
			})
		})
	}
}

func TestKeys_last_good_copy_is_kept(t *testing.T) {
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
	}{
		{"status_500", oidctest.Lies{Keys: oidctest.Fault{Status: 500}}},
		{"empty_set", oidctest.Lies{NoKeys: true}},
		{"html", oidctest.Lies{Keys: oidctest.Fault{Body: "<html>"}}},
		{"null", oidctest.Lies{Keys: oidctest.Fault{Body: "null"}}},
		{"out_of_bounds", oidctest.Lies{Keys: oidctest.Fault{Padding: 1 << 20}}},
		{"dropped", oidctest.Lies{Keys: oidctest.Fault{Drop: true}}},
		{"redirect", oidctest.Lies{Keys: oidctest.Fault{Status: 302, Header: http.Header{"Location": {issuer + "/forged/keys"}}}}},
		{"only_a_weak_key", oidctest.Lies{Keys: oidctest.Fault{Body: keySet(weakKey(t))}}},
		{"only_a_shared_key", oidctest.Lies{Keys: oidctest.Fault{Body: `{"keys":[{"kty":"oct","kid":"s","k":"c2VjcmV0"}]}`}}},
		{"only_a_private_key", oidctest.Lies{Keys: oidctest.Fault{Body: keySet(privateKey(t))}}},
		{"only_an_unknown_kind", oidctest.Lies{Keys: oidctest.Fault{Body: `{"keys":[{"kty":"AKP"},7,null,"x"]}`}}},
		{"only_for_encryption", oidctest.Lies{Keys: oidctest.Fault{Body: keySet(encryptionKey(t))}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := bubble(t)
				w.SetLies(tt.lies)
				time.Sleep(16 * time.Minute) // over a planned reading, and several after it failed
				if w.Count(oidctest.Keys) < 3 {
					t.Fatalf("keys were read %d times: the row shows nothing", w.Count(oidctest.Keys))
				}
				if n := w.Count(oidctest.ForgedKeys); n != 0 {
					t.Errorf("a redirect was followed %d times", n)
				}
				if _, err := w.login(t); err != nil {
					t.Errorf("Finish with the old key = %v", err)
				}
				lies := tt.lies
				lies.Signature = oidctest.UnknownKey
				w.SetLies(lies)
				if _, err := w.login(t); !errors.Is(err, oidc.ErrUnavailable) {
					t.Errorf("Finish with an unknown key = %v, want ErrUnavailable", err)
				}
			})
		})
	}
}

func keySet(keys ...jose.JSONWebKey) string {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func weakKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k.Public(), KeyID: "weak", Algorithm: "RS256", Use: "sig"}
}

func privateKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: "private", Algorithm: "ES256", Use: "sig"}
}

func encryptionKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	private := privateKey(t)
	k := private.Public()
	k.Use = "enc"
	return k
}

func TestKeys_never_read(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, realTime)
		w.SetLies(oidctest.Lies{Keys: oidctest.Fault{Status: 500}})
		run(t, w.client)
		synctest.Wait()
		if _, err := w.login(t); !errors.Is(err, oidc.ErrUnavailable) {
			t.Errorf("Finish = %v, want ErrUnavailable", err)
		}
		w.SetLies(oidctest.Lies{})
		time.Sleep(30 * time.Second) // the longest wait between two readings
		if _, err := w.login(t); err != nil {
			t.Errorf("Finish after all = %v", err)
		}
	})
}

func TestKeys_a_caller_that_goes_away_takes_nobody_along(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		if err := w.RotateKey(); err != nil {
			t.Fatal(err)
		}
		w.SetLies(oidctest.Lies{Keys: oidctest.Fault{Delay: 5 * time.Second}})

		first, firstQuery := w.signIn(t)
		second, secondQuery := w.signIn(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := w.client.Finish(ctx, first, redirect, firstQuery); !errors.Is(err, oidc.ErrUnavailable) {
				t.Errorf("Finish of the impatient = %v, want ErrUnavailable", err)
			}
		})
		time.Sleep(time.Millisecond)
		wg.Go(func() {
			if _, err := w.client.Finish(t.Context(), second, redirect, secondQuery); err != nil {
				t.Errorf("Finish of the patient = %v", err)
			}
		})
		wg.Wait()
		if n := w.Count(oidctest.Keys); n != 2 {
			t.Errorf("keys were read %d times, want twice", n)
		}
	})
}
