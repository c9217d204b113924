package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/session"
)

// tilted is a store by whose clock our own is wrong.
type tilted struct {
	session.Store
	ahead time.Duration
}

func (s tilted) Ahead() time.Duration { return s.ahead }

func TestVaultWhoseClockIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ahead time.Duration // of the store
	}{
		{"not_at_all", 0},
		{"five_minutes_behind", 5 * time.Minute},
		{"five_minutes_ahead", -5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const short = 2 * time.Minute // less than the clock is wrong
				shortLived := func(v *session.Vault) { v.Idle, v.Revalidation = short, byRefresh }
				memory := session.NewMemory()
				right, wrong := replica(t, memory, shortLived), replica(t, tilted{memory, tt.ahead}, shortLived)
				here := func() time.Time { return time.Now().Add(-tt.ahead) } // what the wrong clock shows
				g := alice()
				g.Expires = here().Add(6 * time.Minute)
				token, created, err := wrong.Create(t.Context(), here(), session.Login{App: "chat", Grant: g})
				if err != nil {
					t.Fatal(err)
				}
				// agree wants that both say the same, each by its own clock.
				agree := func(sign string) (session.Session, session.Session) {
					t.Helper()
					a, err := right.Load(t.Context(), time.Now(), token)
					if err != nil {
						t.Fatalf("%s: Load where the clock is right = %v", sign, err)
					}
					b, err := wrong.Load(t.Context(), here(), token)
					if err != nil {
						t.Fatalf("%s: Load where it is wrong = %v", sign, err)
					}
					for name, of := range map[string]func(session.Session) time.Time{
						"Created": func(s session.Session) time.Time { return s.Created },
						"Ends":    func(s session.Session) time.Time { return s.Ends },
						"Checked": func(s session.Session) time.Time { return s.Checked },
						"Renew":   func(s session.Session) time.Time { return s.Renew },
						"Due":     func(s session.Session) time.Time { return s.Due },
						"Lapses":  func(s session.Session) time.Time { return s.Lapses },
					} {
						if got := of(a).Sub(of(b)); got != tt.ahead {
							t.Errorf("%s: %s differs by %v, want %v", sign, name, got, tt.ahead)
						}
					}
					return a, b
				}
				a, b := agree("at the beginning")
				if !created.Created.Equal(b.Created) || !b.Created.Equal(here()) || !b.Seen.Equal(here()) {
					t.Errorf("created %v, then %v, seen %v, want %v", created.Created, b.Created, b.Seen, here())
				}
				if want := time.Now().Add(6 * time.Minute); !a.Due.Equal(want) {
					t.Errorf("due at %v, want %v, as the access token ends", a.Due, want)
				}
				for _, v := range []struct {
					*session.Vault
					now time.Time
				}{{right, time.Now()}, {wrong, here()}} {
					got, err := v.Grant(t.Context(), token)
					if err != nil || got.Expires.Sub(v.now) != 6*time.Minute {
						t.Errorf("the access token ends after %v, %v, want 6m", got.Expires.Sub(v.now), err)
					}
					list, err := v.OfUser(t.Context(), g.Issuer, g.Subject)
					if err != nil || len(list) != 1 || !list[0].Created.Equal(v.now) || !list[0].End().Equal(v.now.Add(short)) {
						t.Errorf("OfUser = %+v, %v, want one that was created at %v", list, err, v.now)
					}
				}
				time.Sleep(short - 1500*time.Millisecond)
				_, b = agree("just before it idles out")
				wrong.Use(b, here())
				time.Sleep(2 * time.Second)
				agree("after it was used where the clock is wrong")
				time.Sleep(short - 3*time.Second)
				agree("as long after that")
				time.Sleep(time.Second)
				find(t, right, token, session.ErrNotFound)
				if _, err := wrong.Load(context.Background(), here(), token); err == nil {
					t.Error("it lives where the clock is wrong")
				}
			})
		})
	}
}
