package oidc_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// visit is one of the three ways to ask about a login that exists.
type visit func(*oidc.Provider, context.Context, oidc.Grant) (oidc.Grant, error)

var visits = map[string]visit{
	"Refresh":    (*oidc.Provider).Refresh,
	"Userinfo":   (*oidc.Provider).Userinfo,
	"Introspect": (*oidc.Provider).Introspect,
}

// clock is a time that a test moves.
type clock struct{ after atomic.Int64 }

func (c *clock) now() time.Time        { return noon.Add(time.Duration(c.after.Load())) }
func (c *clock) sleep(d time.Duration) { c.after.Add(int64(d)) }
func (c *clock) set(to time.Time)      { c.after.Store(int64(to.Sub(noon))) }
func (w *world) granted(tb testing.TB) oidc.Grant {
	tb.Helper()
	w.SetLies(oidctest.Lies{})
	g, err := w.login(tb)
	if err != nil || g.Refresh == "" {
		tb.Fatalf("login = %+v, %v, want a refresh token", g, err)
	}
	return g
}

// lasting makes a world whose logins can be refreshed, and the clock of both
// parties.
func lasting(tb testing.TB, change func(*oidctest.Config, *oidc.Config)) (*world, *clock) {
	tb.Helper()
	c := new(clock)
	return discovered(tb, func(theirs *oidctest.Config, ours *oidc.Config) {
		theirs.Clients[0].AlwaysRefresh = true
		theirs.Now, ours.Now = c.now, c.now
		if change != nil {
			change(theirs, ours)
		}
	}), c
}

// revisit asks about g.
func (w *world) revisit(tb testing.TB, ask visit, g oidc.Grant) (oidc.Grant, error) {
	tb.Helper()
	got, err := ask(w.client, tb.Context(), g)
	mustStay(tb, g, got, err)
	return got, err
}

// mustStay is true of everything that comes of asking about g.
func mustStay(tb testing.TB, g, got oidc.Grant, err error) {
	tb.Helper()
	classes := 0
	for _, class := range []error{oidc.ErrEnded, oidc.ErrInvalid, oidc.ErrUnavailable} {
		if errors.Is(err, class) {
			classes++
		}
	}
	switch {
	case err == nil && (got.Issuer != g.Issuer || got.Subject != g.Subject || got.Access == ""):
		tb.Errorf("%+v became %+v", g, got)
	case err == nil && g.Refresh != "" && got.Refresh == "":
		tb.Error("the refresh token is lost")
	case err != nil && classes != 1, errors.Is(err, oidc.ErrRefused):
		tb.Errorf("%v is %d of the three classes of errors", err, classes)
	case err != nil && got.Refresh == "" && !reflect.DeepEqual(got, oidc.Grant{}):
		tb.Errorf("a Grant beside %v without a refresh token: %+v", err, got)
	case err != nil && got.Refresh != "" && !reflect.DeepEqual(got.Identity, g.Identity):
		tb.Errorf("Identity beside %v = %+v, want the known one", err, got.Identity)
	}
}

// sameGrant compares all of two grants but the claims that are never the same.
func sameGrant(tb testing.TB, want, got oidc.Grant) {
	tb.Helper()
	never := cmpopts.IgnoreMapEntries(func(name string, _ any) bool {
		return name == "nonce" || name == "at_hash" || name == "exp" || name == "iat"
	})
	if diff := cmp.Diff(want, got, never, cmpopts.EquateEmpty()); diff != "" {
		tb.Errorf("Grant (-want +got):\n%s", diff)
	}
}

func TestRevisit_before_discovery(t *testing.T) {
	w := newWorld(t, nil)
	for name, ask := range visits {
		if got, err := w.revisit(t, ask, known()); !errors.Is(err, oidc.ErrUnavailable) {
			t.Errorf("%s = %+v, %v, want ErrUnavailable", name, got, err)
		}
	}
}

// known is a grant that no provider remembers.
func known() oidc.Grant {
	return oidc.Grant{
		Identity: oidc.Identity{Provider: "main", Issuer: issuer, Subject: "a1"},
		Access:   "unknown", Refresh: "unknown",
	}
}

func TestRevisit_sends_nothing(t *testing.T) {
	w := discovered(t, nil)
	for _, tt := range []struct {
		name   string
		change func(*oidc.Grant)
		want   error
	}{
		{"for_nobody", func(g *oidc.Grant) { g.Identity = oidc.Identity{} }, oidc.ErrSubject},
		{"for_another_issuers_grant", func(g *oidc.Grant) { g.Issuer += "/" }, oidc.ErrSubject},
		{"without_a_token", func(g *oidc.Grant) { g.Access, g.Refresh = "", "" }, oidc.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := known()
			tt.change(&g)
			for name, ask := range visits {
				if _, err := w.revisit(t, ask, g); !errors.Is(err, tt.want) {
					t.Errorf("%s = %v, want %v", name, err, tt.want)
				}
			}
		})
	}
	if n := w.Count(oidctest.TokenAsked) + w.Count(oidctest.Userinfo) + w.Count(oidctest.Introspection); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestRevisit_stays_away_while_the_provider_asks_for_it(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		after  string
		want   time.Duration
	}{
		{"429_with_seconds", 429, "7", 7 * time.Second},
		{"503_with_seconds", 503, "7", 7 * time.Second},
		{"503_with_a_date", 503, noon.Add(30 * time.Second).Format(http.TimeFormat), 30 * time.Second},
		{"an_hour", 503, "3600", time.Minute},
		{"beyond_all_numbers", 503, "99999999999999999999999", time.Minute},
		{"a_date_of_next_year", 429, noon.AddDate(1, 0, 0).Format(http.TimeFormat), time.Minute},
		{"a_date_of_yesterday", 429, noon.AddDate(0, 0, -1).Format(http.TimeFormat), 0},
		{"no_time_at_all", 503, "0", 0},
		{"less_than_no_time", 503, "-7", 0},
		{"words", 503, "soon", 0},
		{"nothing", 503, "", 0},
		{"500_with_seconds", 500, "7", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, c := lasting(t, nil)
			g := w.granted(t)
			w.SetLies(oidctest.Lies{Introspection: oidctest.Fault{Status: tt.status, Header: http.Header{"Retry-After": {tt.after}}}})
			if _, err := w.revisit(t, visits["Introspect"], g); !errors.Is(err, oidc.ErrUnavailable) {
				t.Errorf("Introspect = %v, want ErrUnavailable", err)
			}
			w.SetLies(oidctest.Lies{})
			before := w.Count(oidctest.RefreshAsked) + w.Count(oidctest.Userinfo) + w.Count(oidctest.Introspection)
			if tt.want > 0 {
				c.set(noon.Add(tt.want - time.Second))
				for name, ask := range visits {
					if _, err := w.revisit(t, ask, g); !errors.Is(err, oidc.ErrUnavailable) {
						t.Errorf("%s a second too early = %v, want ErrUnavailable", name, err)
					}
				}
				if n := w.Count(oidctest.RefreshAsked) + w.Count(oidctest.Userinfo) + w.Count(oidctest.Introspection); n != before {
					t.Errorf("the provider was asked %d times too early", n-before)
				}
				if _, err := w.login(t); err != nil {
					t.Errorf("login meanwhile = %v", err)
				}
			}
			c.set(noon.Add(tt.want))
			if _, err := w.revisit(t, visits["Introspect"], g); err != nil {
				t.Errorf("Introspect exactly then = %v", err)
			}
		})
	}
}

// Three in a row without an answer: from then on it is asked once a second.
func TestRevisit_leaves_a_provider_alone_that_gives_no_answer(t *testing.T) {
	w, c := lasting(t, nil)
	g := w.granted(t)
	w.SetLies(oidctest.Lies{Token: oidctest.Fault{Status: http.StatusInternalServerError}})
	asked := w.Count(oidctest.RefreshAsked)
	for range 20 {
		if _, err := w.revisit(t, (*oidc.Provider).Refresh, g); !errors.Is(err, oidc.ErrUnavailable) {
			t.Fatalf("Refresh = %v, want %v", err, oidc.ErrUnavailable)
		}
	}
	if n := w.Count(oidctest.RefreshAsked) - asked; n != 3 {
		t.Errorf("it was asked %d times, want 3", n)
	}
	c.sleep(time.Second)
	for range 5 {
		w.revisit(t, (*oidc.Provider).Refresh, g) //nolint:errcheck // looked at above
	}
	if n := w.Count(oidctest.RefreshAsked) - asked; n != 4 {
		t.Errorf("a second later it was asked %d times, want 4", n)
	}
	w.SetLies(oidctest.Lies{})
	c.sleep(time.Second)
	if _, err := w.revisit(t, (*oidc.Provider).Refresh, g); err != nil {
		t.Errorf("Refresh = %v, once it answers", err)
	}
}

// Whoever opens a login page could keep everybody's session from being asked about.
func TestRevisit_does_not_stay_away_for_what_a_visitor_was_answered(t *testing.T) {
	busy := oidctest.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"60"}}}
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
	}{
		{"code", oidctest.Lies{Token: busy}},
		{"userinfo", oidctest.Lies{Claims: map[string]any{"groups": oidctest.Missing}, Userinfo: busy}},
		{"keys", oidctest.Lies{Signature: oidctest.UnknownKey, Keys: busy}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := lasting(t, nil)
			g := w.granted(t)
			w.SetLies(tt.lies)
			if _, err := w.login(t); !errors.Is(err, oidc.ErrUnavailable) {
				t.Errorf("login = %v, want ErrUnavailable", err)
			}
			w.SetLies(oidctest.Lies{})
			for _, name := range []string{"Userinfo", "Introspect", "Refresh"} {
				if _, err := w.revisit(t, visits[name], g); err != nil {
					t.Errorf("%s = %v", name, err)
				}
			}
		})
	}
	t.Run("discovery", func(t *testing.T) {
		w := newWorld(t, nil)
		w.SetLies(oidctest.Lies{Discovery: busy})
		run(t, w.client)
		await(t, func() bool { return w.Count(oidctest.Discovery) > 0 })
		w.SetLies(oidctest.Lies{})
		await(t, func() bool { return w.client.Ready() == nil })
		if _, err := w.revisit(t, visits["Introspect"], known()); !errors.Is(err, oidc.ErrEnded) {
			t.Errorf("Introspect = %v, want ErrEnded", err)
		}
	})
}

// What is no silence of the provider keeps nobody away, however often it comes.
func TestRevisit_counts_only_silence(t *testing.T) {
	busy := oidctest.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"60"}}}
	says := func(status int, body string) oidctest.Lies {
		return oidctest.Lies{Token: oidctest.Fault{Status: status, Body: body}}
	}
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
		want error
	}{
		{"invalid_request", says(400, `{"error":"invalid_request"}`), oidc.ErrUnavailable},
		{"html", says(200, "<html>"), oidc.ErrUnavailable},
		{"404", says(404, "{}"), oidc.ErrUnavailable},
		{"of_2_MiB", oidctest.Lies{Token: oidctest.Fault{Padding: 2 << 20}}, oidc.ErrUnavailable},
		{"at_hash_wrong", oidctest.Lies{AtHash: "AAAA"}, oidc.ErrAccessHash},
		{"keys_away", oidctest.Lies{Signature: oidctest.UnknownKey, Keys: busy}, oidc.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := lasting(t, nil)
			for range 4 {
				g := w.granted(t)
				w.SetLies(tt.lies)
				if _, err := w.revisit(t, visits["Refresh"], g); !errors.Is(err, tt.want) {
					t.Errorf("Refresh = %v, want %v", err, tt.want)
				}
			}
			if _, err := w.revisit(t, visits["Introspect"], w.granted(t)); err != nil {
				t.Errorf("Introspect = %v", err)
			}
		})
	}
}

// Nor does a question that was never sent say that the provider is there.
func TestRevisit_that_sends_nothing_counts_for_nothing(t *testing.T) {
	w, _ := lasting(t, nil)
	g := w.granted(t)
	tokenless := g
	tokenless.Refresh = ""
	for range 4 {
		if _, err := w.revisit(t, visits["Refresh"], tokenless); !errors.Is(err, oidc.ErrUnavailable) {
			t.Fatalf("Refresh of nothing = %v, want ErrUnavailable", err)
		}
	}
	w.SetLies(oidctest.Lies{Token: oidctest.Fault{Status: http.StatusInternalServerError}})
	asked := w.Count(oidctest.RefreshAsked)
	for range 4 {
		for _, g := range []oidc.Grant{g, tokenless} {
			if _, err := w.revisit(t, visits["Refresh"], g); !errors.Is(err, oidc.ErrUnavailable) {
				t.Fatalf("Refresh = %v, want ErrUnavailable", err)
			}
		}
	}
	if n := w.Count(oidctest.RefreshAsked) - asked; n != 3 {
		t.Errorf("it was asked %d times, want 3", n)
	}
}

// A caller that goes away says nothing about the provider.
func TestRevisit_that_is_given_up_counts_for_nothing(t *testing.T) {
	w, _ := lasting(t, nil)
	g := w.granted(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 4 {
		if _, err := w.client.Introspect(gone, g); !errors.Is(err, oidc.ErrUnavailable) {
			t.Errorf("Introspect = %v, want ErrUnavailable", err)
		}
	}
	if _, err := w.revisit(t, visits["Introspect"], g); err != nil {
		t.Errorf("Introspect = %v", err)
	}
}

func TestRevisit_that_is_answered_lifts_the_pause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &hanging{path: "/userinfo", release: make(chan struct{})}
		w := newWorld(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.Transport = line })
		line.RoundTripper = inside{w.Provider}
		run(t, w.client)
		synctest.Wait()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.revisit(t, visits["Userinfo"], known()); !errors.Is(err, oidc.ErrEnded) {
				t.Errorf("Userinfo = %v, want ErrEnded", err)
			}
		})
		synctest.Wait()
		w.SetLies(oidctest.Lies{Introspection: oidctest.Fault{Status: 503, Header: http.Header{"Retry-After": {"60"}}}})
		for range 2 {
			if _, err := w.revisit(t, visits["Introspect"], known()); !errors.Is(err, oidc.ErrUnavailable) {
				t.Errorf("Introspect = %v, want ErrUnavailable", err)
			}
		}
		if n := w.Count(oidctest.Introspection); n != 1 {
			t.Errorf("it was asked %d times, want once", n)
		}
		w.SetLies(oidctest.Lies{})
		close(line.release)
		wg.Wait()
		if _, err := w.revisit(t, visits["Introspect"], known()); !errors.Is(err, oidc.ErrEnded) {
			t.Errorf("Introspect after an answer = %v, want ErrEnded", err)
		}
	})
}

func TestRevisit_waits_at_most_32_times(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := hangingWorld(t, "/token", release)
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				if _, err := w.revisit(t, visits["Refresh"], known()); !errors.Is(err, oidc.ErrEnded) {
					t.Errorf("Refresh that waited = %v, want ErrEnded", err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for name, ask := range visits {
			if _, err := w.revisit(t, ask, known()); !errors.Is(err, oidc.ErrUnavailable) {
				t.Errorf("%s beyond the bound = %v, want ErrUnavailable", name, err)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("they waited %v", waited)
		}
		close(release)
		wg.Wait()
		if _, err := w.login(t); err != nil {
			t.Errorf("login = %v", err)
		}
		if _, err := w.revisit(t, visits["Refresh"], known()); !errors.Is(err, oidc.ErrEnded) {
			t.Errorf("Refresh after all = %v, want ErrEnded", err)
		}
	})
}

func TestRevisit_gives_up(t *testing.T) {
	for name, path := range map[string]string{"Refresh": "/token", "Userinfo": "/userinfo", "Introspect": "/introspect"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := hangingWorld(t, path, nil)
				began := time.Now()
				if _, err := w.revisit(t, visits[name], known()); !errors.Is(err, oidc.ErrUnavailable) {
					t.Errorf("%s = %v, want ErrUnavailable", name, err)
				}
				if took := time.Since(began); took != 10*time.Second {
					t.Errorf("it took %v, want 10s", took)
				}
			})
		})
	}
}
