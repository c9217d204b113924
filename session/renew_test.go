package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// idp is a provider that gives a new refresh token each time. One that comes a
// second time ends them all.
type idp struct {
	mu      sync.Mutex
	slow    time.Duration
	good    oidc.Secret                                 // the one refresh token that is good
	answer  func(oidc.Grant) (oidc.Grant, error)        // instead of the above; nil for none
	instead func(oidc.Grant, error) (oidc.Grant, error) // of what it was to answer; nil for none
	asked   []string                                    // how, in order
}

func (*idp) Name() string { return "keycloak" }

func (p *idp) Refresh(ctx context.Context, g oidc.Grant) (oidc.Grant, error) {
	return p.reply(ctx, "refresh", g, p.rotate)
}

func (p *idp) Userinfo(ctx context.Context, g oidc.Grant) (oidc.Grant, error) {
	return p.reply(ctx, "userinfo", g, func(g oidc.Grant) (oidc.Grant, error) { return g, nil })
}

func (p *idp) Introspect(ctx context.Context, g oidc.Grant) (oidc.Grant, error) {
	return p.reply(ctx, "introspection", g, func(g oidc.Grant) (oidc.Grant, error) { return g, nil })
}

func (p *idp) reply(ctx context.Context, how string, g oidc.Grant, usual func(oidc.Grant) (oidc.Grant, error)) (oidc.Grant, error) {
	p.mu.Lock()
	p.asked = append(p.asked, how)
	if p.answer != nil {
		usual = p.answer
	}
	slow, instead := p.slow, p.instead
	p.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return oidc.Grant{}, fmt.Errorf("%w: %w", oidc.ErrUnavailable, ctx.Err())
	}
	answer, err := usual(g)
	if instead != nil {
		return instead(answer, err)
	}
	return answer, err
}

func (p *idp) rotate(g oidc.Grant) (oidc.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.Refresh != p.good {
		p.good = ""
	}
	if p.good == "" {
		return oidc.Grant{}, fmt.Errorf("%w: invalid_grant", oidc.ErrEnded)
	}
	p.good += "+"
	g.Refresh, g.Access, g.Expires = p.good, g.Access+"+", time.Now().Add(5*time.Minute)
	g.Email = "alice@new.example.org"
	return g, nil
}

// behave changes how it answers.
func (p *idp) behave(change func(*idp)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// due is alice's session at the moment when it is due, on three replicas.
type due struct {
	*testing.T
	here     *session.Vault
	replicas []*session.Vault
	store    *faulty // of here, which is the first of them
	memory   *session.Memory
	idp      *idp
	token    session.Token
	alice    session.Session
	results  *results // what here reported
}

// results are what a Vault reports of its questions.
type results struct {
	mu  sync.Mutex
	all []session.Renewal
}

func (r *results) add(one session.Renewal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

// asking runs a test that begins at the moment when alice's session is due.
func asking(t *testing.T, name string, test func(d due), change ...func(*session.Vault)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := session.NewMemory()
			d := due{T: t, memory: memory, store: behind(memory), results: &results{}}
			change = append([]func(*session.Vault){func(v *session.Vault) { v.Revalidation = byRefresh }}, change...)
			d.here = replica(t, d.store, append(change, func(v *session.Vault) { v.OnRenewal = d.results.add })...)
			d.replicas = []*session.Vault{d.here, replica(t, memory, change...), replica(t, memory, change...)}
			g := alice()
			g.Expires = time.Now().Add(5 * time.Minute)
			d.idp = &idp{good: g.Refresh, slow: 100 * time.Millisecond}
			d.token, d.alice = enter(t, d.here, g)
			if !d.alice.Due.IsZero() {
				time.Sleep(time.Until(d.alice.Due) + time.Millisecond)
			}
			find(t, d.here, d.token, nil)
			test(d)
			if err := d.here.Wait(t.Context()); err != nil {
				t.Errorf("Wait = %v", err)
			}
		})
	})
}

// renews wants what Renew returns of the session as it was at the beginning.
func (d due) renews(v *session.Vault, want error) session.Session {
	d.Helper()
	s, err := v.Renew(d.Context(), time.Now(), d.token, d.alice, d.idp)
	if !errors.Is(err, want) {
		d.Errorf("Renew = %v, want %v", err, want)
	}
	if err == nil && (s.ID != d.alice.ID || s.State(time.Now()) != session.Fresh) {
		d.Errorf("Renew = session %v that is %v, want %v that is fresh", s.ID, s.State(time.Now()), d.alice.ID)
	}
	return s
}

// fails wants that Renew has no answer.
func (d due) fails(v *session.Vault) {
	d.Helper()
	_, err := v.Renew(d.Context(), time.Now(), d.token, d.alice, d.idp)
	if err == nil || errors.Is(err, session.ErrNotFound) {
		d.Errorf("Renew = %v, want an error that ends nothing", err)
	}
}

// asks wants how the provider was asked since the last time.
func (d due) asks(want ...string) {
	d.Helper()
	d.idp.behave(func(p *idp) {
		if !slices.Equal(p.asked, want) {
			d.Errorf("the provider was asked by %q, want %q", p.asked, want)
		}
		p.asked = nil
	})
}

// holds wants what the store keeps: the version, and the refresh token.
func (d due) holds(version uint64, refresh oidc.Secret) {
	d.Helper()
	g, err := d.replicas[2].Grant(d.Context(), d.token)
	s := find(d.T, d.replicas[2], d.token, nil)
	if err != nil || g.Refresh != refresh || s.Version != version {
		d.Errorf("the store has version %d and refresh token %q (%v), want %d and %q", s.Version, g.Refresh.Reveal(), err, version, refresh.Reveal())
	}
}

// gone wants that the store has no session any more.
func (d due) gone() {
	d.Helper()
	for _, v := range d.replicas {
		find(d.T, v, d.token, session.ErrNotFound)
	}
}

// reports wants what here reported since the last time.
func (d due) reports(want ...session.RenewalResult) {
	d.Helper()
	d.results.mu.Lock()
	defer d.results.mu.Unlock()
	var got []session.RenewalResult
	for _, r := range d.results.all {
		got = append(got, r.Result)
		if r.Session != d.alice.ID || r.Subject != "alice" || r.Provider != "keycloak" || (r.Err == nil) != (r.Result == session.Renewed) {
			d.Errorf("it reported %+v", r)
		}
	}
	if !slices.Equal(got, want) {
		d.Errorf("it reported %q, want %q", got, want)
	}
	d.results.all = nil
}

// fault is a store of which one operation goes wrong, as often as that.
func fault(of string, times int, wrong func(call func() error) error) between {
	var mu sync.Mutex
	return func(_ context.Context, op string, call func() error) error {
		mu.Lock()
		now := op == of && times > 0
		if now {
			times--
		}
		mu.Unlock()
		if now {
			return wrong(call)
		}
		return call()
	}
}

func noCall(func() error) error { return errAway }

// answerLost is a call that was done, and nobody heard.
func answerLost(call func() error) error { return errors.Join(call(), errAway) }

func TestRenewAsksOnce(t *testing.T) {
	asking(t, "for_a_hundred_on_three_replicas", func(d due) { // RF-A01
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				s := d.renews(d.replicas[i%3], nil)
				if s.Version != 2 || s.Identity.Email != "alice@new.example.org" {
					d.Errorf("version %d of %q, want the claims of the second", s.Version, s.Identity.Email)
				}
			})
		}
		group.Wait()
		d.asks("refresh")
		d.holds(2, "alice-refresh+")
	})
	asking(t, "for_those_who_come_later_with_what_they_read_before", func(d due) {
		for _, v := range d.replicas {
			d.renews(v, nil)
		}
		d.asks("refresh")
		d.reports(session.Renewed)
	})
	asking(t, "and_again_when_it_is_due_again", func(d due) {
		for i := range 10 {
			s := find(d.T, d.replicas[i%3], d.token, nil)
			d.alice = d.renews(d.replicas[i%3], nil)
			if !d.alice.Due.After(s.Due) || d.alice.Version != uint64(i+2) {
				d.Errorf("version %d due at %v after %v", d.alice.Version, d.alice.Due, s.Due)
			}
			time.Sleep(time.Until(d.alice.Due))
		}
		d.holds(11, "alice-refresh++++++++++")
	})
	asking(t, "though_it_was_sealed_anew_while_others_waited", func(d due) {
		d.idp.behave(func(p *idp) { p.slow = time.Second })
		var group sync.WaitGroup
		group.Go(func() { d.renews(d.replicas[0], nil) })
		group.Go(func() { time.Sleep(10 * time.Millisecond); d.renews(d.replicas[1], nil) })
		time.Sleep(100 * time.Millisecond)
		d.replaceSame()
		group.Wait()
		d.asks("refresh")
		d.holds(3, "alice-refresh+")
	})
	asking(t, "in_the_background", func(d due) {
		d.here.RenewAhead(d.Context(), time.Now(), d.token, d.alice, d.idp)
		d.here.RenewAhead(d.Context(), time.Now(), d.token, d.alice, d.idp)
		if s := find(d.T, d.here, d.token, nil); s.Version != 1 {
			d.Errorf("version %d, want that nobody waits", s.Version)
		}
		if err := d.here.Wait(d.Context()); err != nil {
			d.Error(err)
		}
		d.asks("refresh")
		if s := find(d.T, d.here, d.token, nil); s.Version != 2 {
			d.Errorf("version %d, want 2", s.Version)
		}
	})
	asking(t, "though_whoever_asked_goes_away", func(d due) {
		d.idp.behave(func(p *idp) { p.slow = 5 * time.Second })
		ctx, cancel := context.WithTimeout(d.Context(), time.Second)
		defer cancel()
		if _, err := d.here.Renew(ctx, time.Now(), d.token, d.alice, d.idp); !errors.Is(err, context.DeadlineExceeded) {
			d.Errorf("Renew = %v, want %v", err, context.DeadlineExceeded)
		}
		if err := d.here.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			d.Errorf("Wait = %v, want %v: it is under way", err, context.DeadlineExceeded)
		}
		if err := d.here.Wait(d.Context()); err != nil {
			d.Error(err)
		}
		d.holds(2, "alice-refresh+")
	})
}

// replaceSame replaces the record by itself, as sealing anew does.
func (d due) replaceSame() {
	d.Helper()
	r, err := d.memory.LoadWhole(d.Context(), d.alice.ID)
	if err == nil {
		err = d.memory.Replace(d.Context(), d.alice.ID, r.Version, r)
	}
	if err != nil {
		d.Error(err)
	}
}

func TestRenewKeepsBeforeItIsUsed(t *testing.T) {
	asking(t, "nobody_has_it_before_the_store", func(d due) {
		gate := make(chan struct{})
		d.store.put(func(_ context.Context, op string, call func() error) error {
			if op == "Replace" {
				<-gate
			}
			return call()
		})
		returned := false
		var group sync.WaitGroup
		group.Go(func() { d.renews(d.here, nil); returned = true })
		time.Sleep(time.Second)
		synctest.Wait()
		if returned {
			d.Error("Renew returned before the store had it")
		}
		d.asks("refresh")
		d.holds(1, "alice-refresh")
		close(gate)
		group.Wait()
		d.holds(2, "alice-refresh+")
	})
	asking(t, "the_store_goes_away_and_comes_back", func(d due) {
		d.store.put(fault("Replace", 80, noCall)) // for twenty seconds
		began := time.Now()
		d.renews(d.here, nil)
		if took := time.Since(began); took < 19*time.Second || took > 21*time.Second {
			d.Errorf("Renew took %v, want 20s", took)
		}
		d.asks("refresh")
		d.holds(2, "alice-refresh+")
	})
	asking(t, "nobody_else_asks_while_it_is_away", func(d due) {
		d.store.put(fault("Replace", 100, noCall)) // for twenty-five seconds
		var group sync.WaitGroup
		group.Go(func() { d.renews(d.here, nil) })
		time.Sleep(20 * time.Second)
		d.fails(d.replicas[1])
		group.Wait()
		d.asks("refresh")
		d.holds(2, "alice-refresh+")
	})
	asking(t, "the_store_is_away_for_longer_than_it_is_kept", func(d due) {
		d.store.put(fault("Replace", 1000, noCall))
		d.renews(d.here, errAway)
		d.reports(session.NotKept)
		d.holds(1, "alice-refresh")
	})
	asking(t, "the_answer_of_the_store_is_lost", func(d due) {
		d.store.put(fault("Replace", 1, answerLost))
		d.renews(d.here, nil)
		d.asks("refresh")
		d.reports(session.Renewed)
		d.holds(2, "alice-refresh+")
	})
	asking(t, "the_answer_is_lost_and_the_token_is_the_same", func(d due) { // RF-A05
		d.idp.behave(func(p *idp) { p.answer = func(g oidc.Grant) (oidc.Grant, error) { return g, nil } })
		d.store.put(fault("Replace", 1, answerLost))
		d.renews(d.here, nil)
		d.asks("refresh")
	})
	asking(t, "it_was_sealed_anew_meanwhile", func(d due) {
		d.store.put(fault("Replace", 3, func(call func() error) error { d.replaceSame(); return call() }))
		d.renews(d.here, nil)
		d.asks("refresh")
		d.holds(5, "alice-refresh+")
	})
	asking(t, "it_was_sealed_anew_and_the_store_cannot_be_read", func(d due) {
		d.store.put(fault("Replace", 1, func(call func() error) error {
			d.replaceSame()
			d.store.put(fault("LoadWhole", 10, noCall))
			return call()
		}))
		d.renews(d.here, nil)
		d.asks("refresh")
		d.holds(3, "alice-refresh+")
	})
	asking(t, "it_was_signed_out_meanwhile", func(d due) { // RF-A08
		d.idp.behave(func(p *idp) {
			p.instead = func(g oidc.Grant, err error) (oidc.Grant, error) {
				return g, errors.Join(err, d.replicas[1].SignOut(d.Context(), d.alice))
			}
		})
		d.renews(d.here, session.ErrNotFound)
		d.reports(session.Gone)
		d.gone()
	})
	asking(t, "it_was_signed_out_while_the_store_was_away", func(d due) {
		d.store.put(fault("Replace", 4, noCall))
		var group sync.WaitGroup
		group.Go(func() { d.renews(d.here, session.ErrNotFound) })
		time.Sleep(500 * time.Millisecond)
		if err := d.replicas[1].SignOut(d.Context(), d.alice); err != nil {
			d.Error(err)
		}
		group.Wait()
		d.gone()
	})
	asking(t, "a_new_refresh_token_beside_an_error", func(d due) {
		d.idp.behave(func(p *idp) {
			p.instead = func(g oidc.Grant, err error) (oidc.Grant, error) {
				g.Identity = oidc.Identity{Issuer: "https://evil.example.org", Subject: "mallory"} // nobody vouches for it
				return g, errors.Join(err, oidc.ErrUnavailable)
			}
		})
		d.renews(d.here, oidc.ErrUnavailable)
		d.reports(session.NoAnswer)
		d.holds(2, "alice-refresh+")
		s := find(d.T, d.replicas[1], d.token, nil)
		if !s.Due.Equal(d.alice.Due) || !s.Checked.Equal(d.alice.Checked) || s.Identity.Subject != "alice" {
			d.Errorf("%q checked at %v and due at %v, want alice, %v and %v", s.Identity.Subject, s.Checked, s.Due, d.alice.Checked, d.alice.Due)
		}
		d.idp.behave(func(p *idp) { p.instead = nil })
		time.Sleep(8 * time.Second)
		d.renews(d.replicas[1], nil)
		d.asks("refresh", "refresh")
		d.holds(3, "alice-refresh++")
	})
	asking(t, "a_new_refresh_token_beside_an_error_is_no_answer_for_those_who_wait", func(d due) {
		d.idp.behave(func(p *idp) {
			p.slow = time.Second
			p.instead = func(g oidc.Grant, err error) (oidc.Grant, error) { return g, errors.Join(err, oidc.ErrUnavailable) }
		})
		var group sync.WaitGroup
		group.Go(func() { d.fails(d.replicas[0]) })
		group.Go(func() { time.Sleep(10 * time.Millisecond); d.fails(d.replicas[1]) })
		group.Wait()
		d.asks("refresh")
	})
}

func TestRenewEnds(t *testing.T) {
	ended := func(oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrEnded }
	asking(t, "what_the_provider_refuses", func(d due) { // RF-A02
		d.idp.behave(func(p *idp) { p.answer = ended })
		d.renews(d.here, session.ErrNotFound)
		d.reports(session.Refused)
		d.gone()
		for _, v := range d.replicas {
			d.renews(v, session.ErrNotFound)
		}
		d.asks("refresh")
	})
	asking(t, "not_what_was_replaced_while_the_answer_was_on_its_way", func(d due) {
		// Whoever holds the lock for too long loses it.
		d.idp.behave(func(p *idp) {
			p.answer = func(oidc.Grant) (oidc.Grant, error) {
				p.behave(func(p *idp) { p.answer = nil })
				d.memory.Unlock(d.Context(), d.alice.ID, d.owner(), 0) //nolint:errcheck // it is in this process
				d.renews(d.replicas[1], nil)
				return oidc.Grant{}, oidc.ErrEnded
			}
		})
		d.watchOwner()
		s := d.renews(d.here, nil)
		if s.Version != 2 {
			d.Errorf("version %d, want 2", s.Version)
		}
		d.holds(2, "alice-refresh+")
	})
	asking(t, "what_was_refused_though_the_store_is_away_at_first", func(d due) {
		d.idp.behave(func(p *idp) { p.answer = ended })
		d.store.put(fault("Delete", 1, noCall))
		d.renews(d.here, errAway)
		d.reports(session.Refused)
		time.Sleep(10 * time.Second)
		d.renews(d.here, session.ErrNotFound)
		d.gone()
	})
	for _, tt := range []struct {
		name   string
		answer func(oidc.Grant) (oidc.Grant, error)
	}{
		{"when_the_provider_names_another_subject", func(g oidc.Grant) (oidc.Grant, error) { g.Subject = "bob"; return g, nil }},
		{"when_the_provider_names_another_issuer", func(g oidc.Grant) (oidc.Grant, error) { g.Issuer += "/"; return g, nil }},
		{"when_the_answer_names_nobody", func(g oidc.Grant) (oidc.Grant, error) { g.Identity = oidc.Identity{}; return g, nil }},
		{"when_the_answer_was_about_somebody_else", func(g oidc.Grant) (oidc.Grant, error) {
			return g, fmt.Errorf("userinfo: %w", oidc.ErrSubject)
		}},
		{"when_new_tokens_were_about_somebody_else", func(g oidc.Grant) (oidc.Grant, error) {
			g.Refresh = "bobs"
			return g, oidc.ErrSubject
		}},
	} {
		asking(t, tt.name, func(d due) {
			d.idp.behave(func(p *idp) { p.answer = tt.answer })
			d.renews(d.here, session.ErrNotFound)
			d.reports(session.OtherPerson)
			d.gone()
		})
	}
}

// watchOwner notes who locks, for owner.
func (d due) watchOwner() { d.store.Store = &lockWatch{Store: d.memory} }

func (d due) owner() session.Owner { return d.store.Store.(*lockWatch).owner } //nolint:errcheck // watchOwner put it there

// lockWatch is a store that knows who locked last.
type lockWatch struct {
	session.Store
	owner session.Owner
}

func (l *lockWatch) Lock(ctx context.Context, id session.ID, owner session.Owner, life time.Duration) (bool, error) {
	l.owner = owner
	return l.Store.Lock(ctx, id, owner, life)
}

func TestRenewWithoutAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(oidc.Grant) (oidc.Grant, error)
	}{
		{"the_provider_is_not_there", func(oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrUnavailable }},
		{"the_client_is_not_known_there", func(oidc.Grant) (oidc.Grant, error) { // RF-A03
			return oidc.Grant{}, fmt.Errorf("%w: %w", oidc.ErrUnavailable, &oidc.Refusal{Code: "invalid_client"})
		}},
		{"the_answer_makes_no_sense", func(oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrSignature }},
		{"it_panics", func(oidc.Grant) (oidc.Grant, error) { panic("provider") }},
	} {
		asking(t, tt.name+"_and_nothing_ends", func(d due) { // RF-A04
			d.idp.behave(func(p *idp) { p.answer = tt.answer })
			d.fails(d.here)
			d.holds(1, "alice-refresh")
			d.asks("refresh")
			for range 100 {
				d.fails(d.here)
			}
			d.asks()
			d.idp.behave(func(p *idp) { p.answer = nil })
			time.Sleep(7500 * time.Millisecond)
			d.renews(d.here, nil)
			d.asks("refresh")
			d.holds(2, "alice-refresh+")
		})
	}
	asking(t, "every_replica_pauses", func(d due) {
		d.idp.behave(func(p *idp) {
			p.answer = func(oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrUnavailable }
		})
		d.fails(d.replicas[0])
		d.fails(d.replicas[1]) // in vain for three seconds
		d.asks("refresh")
	})
	asking(t, "it_pauses_for_longer_each_time_and_asks_about_twelve_times_a_minute", func(d due) {
		d.idp.behave(func(p *idp) {
			p.answer = func(oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrUnavailable }
		})
		var at []time.Duration
		for began := time.Now(); time.Since(began) < 5*time.Minute; time.Sleep(50 * time.Millisecond) {
			d.fails(d.here)
			d.idp.behave(func(p *idp) {
				if len(p.asked) > 0 {
					at, p.asked = append(at, time.Since(began)), nil
				}
			})
		}
		if len(at) < 45 || len(at) > 80 {
			d.Errorf("it asked %d times in five minutes", len(at))
		}
		for i := range len(at) - 1 {
			least, most := 4*time.Second, 6*time.Second
			if i == 0 {
				least, most = 3*time.Second, 4500*time.Millisecond
			}
			// Beside the pause: the answer, and the wait for the end of the lock.
			if pause := at[i+1] - at[i]; pause < least || pause > most+3*time.Second {
				d.Errorf("it paused for %v after question %d, want %v to %v", pause, i+1, least, most)
			}
		}
	})
	asking(t, "it_goes_on_for_the_grace_and_lapses_exactly_then", func(d due) {
		d.idp.behave(func(p *idp) {
			p.answer = func(oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrUnavailable }
		})
		d.fails(d.here)
		s := find(d.T, d.here, d.token, nil)
		end := d.alice.Due.Add(byRefresh.Grace)
		if s.State(time.Now()) != session.Stale || s.Lapsed(end.Add(-1)) || !s.Lapsed(end) {
			d.Errorf("%v, lapses %v, want stale and %v", s.State(time.Now()), s.Lapses, end)
		}
	})
	asking(t, "the_store_is_away_and_nobody_is_asked_for_half_a_second", func(d due) {
		for _, call := range []string{"LoadWhole", "Lock"} {
			d.store.put(fault(call, 1, noCall))
			d.renews(d.here, errAway)
			time.Sleep(500*time.Millisecond - 1)
			d.renews(d.here, errAway)
			d.asks()
			time.Sleep(time.Nanosecond)
		}
		d.renews(d.here, nil)
	})
	asking(t, "the_store_panics", func(d due) {
		d.store.put(fault("LoadWhole", 1, func(func() error) error { panic("store") }))
		d.fails(d.here)
		d.asks()
		d.holds(1, "alice-refresh")
	})
	asking(t, "the_provider_hangs_and_another_takes_over_after_the_life_of_the_lock", func(d due) {
		d.idp.behave(func(p *idp) { p.slow = time.Hour })
		d.here.RenewAhead(d.Context(), time.Now(), d.token, d.alice, d.idp)
		began := time.Now()
		time.Sleep(10 * time.Millisecond)
		d.store.put(func(context.Context, string, func() error) error { return errAway }) // it dies
		d.idp.behave(func(p *idp) { p.slow = 0 })
		for d.alice.Version == 1 && time.Since(began) < 2*time.Minute {
			if s, err := d.replicas[1].Renew(d.Context(), time.Now(), d.token, d.alice, d.idp); err == nil {
				d.alice = s
			}
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(began); took < time.Minute || took > 76*time.Second {
			d.Errorf("another took over after %v, want a minute and a pause", took)
		}
		d.holds(2, "alice-refresh+")
	})
	asking(t, "a_question_takes_25_seconds_at_most", func(d due) {
		d.idp.behave(func(p *idp) { p.slow = time.Hour })
		began := time.Now()
		d.renews(d.here, context.DeadlineExceeded)
		if took := time.Since(began); took != 25*time.Second {
			d.Errorf("Renew took %v, want 25s", took)
		}
	})
}

func TestRenewByOtherWays(t *testing.T) {
	by := func(via session.Via) func(*session.Vault) {
		return func(v *session.Vault) { v.Revalidation.Via, v.Revalidation.Every = via, 2*time.Minute }
	}
	for _, via := range []session.Via{session.ViaUserinfo, session.ViaIntrospection} {
		asking(t, "by_"+string(via), func(d due) {
			s := d.renews(d.here, nil)
			d.asks(string(via))
			d.holds(2, "alice-refresh")
			if got := s.Due.Sub(s.Checked); got != 2*time.Minute {
				d.Errorf("due again after %v, want 2m", got)
			}
		}, by(via))
		asking(t, "by_"+string(via)+"_when_the_access_token_has_ended", func(d due) {
			time.Sleep(4 * time.Minute)
			d.renews(d.here, nil)
			d.asks("refresh")
			d.holds(2, "alice-refresh+")
		}, by(via))
		asking(t, "by_"+string(via)+"_when_the_access_token_ends_exactly_now", func(d due) {
			g, err := d.here.Grant(d.Context(), d.token)
			if err != nil {
				d.Fatal(err)
			}
			time.Sleep(time.Until(g.Expires))
			d.renews(d.here, nil)
			d.asks("refresh")
		}, by(via))
	}
	refused := func(p *idp) {
		p.answer = func(oidc.Grant) (oidc.Grant, error) {
			p.behave(func(p *idp) { p.answer = nil })
			return oidc.Grant{}, oidc.ErrEnded
		}
	}
	asking(t, "by_userinfo_and_an_access_token_that_is_refused_is_refreshed", func(d due) {
		d.idp.behave(refused)
		d.renews(d.here, nil)
		d.asks("userinfo", "refresh")
		d.holds(2, "alice-refresh+")
	}, by(session.ViaUserinfo))
	asking(t, "by_userinfo_and_both_are_refused", func(d due) {
		d.idp.behave(func(p *idp) { refused(p); p.good = "" })
		d.renews(d.here, session.ErrNotFound)
		d.asks("userinfo", "refresh")
		d.gone()
	}, by(session.ViaUserinfo))
	asking(t, "by_introspection_and_the_refresh_token_is_not_active", func(d due) {
		d.idp.behave(refused)
		d.renews(d.here, session.ErrNotFound)
		d.asks("introspection")
		d.gone()
	}, by(session.ViaIntrospection))
	t.Run("by_userinfo_without_a_refresh_token_and_the_access_token_is_refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			memory := session.NewMemory()
			v := replica(t, memory, func(v *session.Vault) { v.Revalidation = byRefresh }, by(session.ViaUserinfo))
			g := alice()
			g.Refresh = ""
			token, s := enter(t, v, g)
			p := &idp{answer: func(oidc.Grant) (oidc.Grant, error) { return oidc.Grant{}, oidc.ErrEnded }}
			if _, err := v.Renew(t.Context(), time.Now(), token, s, p); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("Renew = %v, want %v", err, session.ErrNotFound)
			}
			if !slices.Equal(p.asked, []string{"userinfo"}) {
				t.Errorf("the provider was asked by %q, want userinfo", p.asked)
			}
			find(t, v, token, session.ErrNotFound)
		})
	})
	asking(t, "in_no_way_at_all", func(d due) { d.fails(d.here); d.asks() },
		func(v *session.Vault) { v.Revalidation.Via = session.ViaNothing })
}

func TestRenewIsBounded(t *testing.T) {
	t.Run("ten_thousand_under_way_or_paused_in_a_process", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := behind(session.NewMemory())
			store.leave()
			v := replica(t, store)
			ask := func() error {
				token := session.NewToken()
				_, err := v.Renew(t.Context(), time.Now(), token, session.Session{ID: token.ID()}, &idp{})
				return err
			}
			for range 10_000 {
				if err := ask(); !errors.Is(err, errAway) {
					t.Fatalf("Renew = %v, want %v", err, errAway)
				}
			}
			if err := ask(); err == nil || errors.Is(err, errAway) || errors.Is(err, session.ErrNotFound) {
				t.Errorf("Renew = %v, want an error that says that there are too many", err)
			}
			if n := store.count("Lock"); n != 10_000 {
				t.Errorf("the store was asked %d times, want 10,000", n)
			}
			time.Sleep(7500*time.Millisecond + time.Minute + time.Second) // until all of it is forgotten
			if err := ask(); !errors.Is(err, errAway) {
				t.Errorf("Renew = %v, want %v", err, errAway)
			}
		})
	})
}
