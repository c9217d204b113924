package e2e_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
)

const (
	crowd = 100 // requests at once
	ends  = 4   // of access tokens, one after the other
)

// A hundred requests meet the end of an access token, on three replicas and
// through Envoy. The provider gives each refresh token once and takes a second use
// for a theft. One question reaches it, and everybody has the answer.
func TestCrowdAtTheEndOfAnAccessToken(t *testing.T) {
	t.Parallel()
	const every = 4 * time.Second
	w := newWorld(t, setup{Redis: true, Replicas: 3, Process: true, Session: revalidate(every, 0)}, fault{})
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	cookie := alice.cookieLine()
	everywhere := w.everywhere(t, alice)
	rush(everywhere).mustAll(t, "before the end", 200)

	for end := 1; end <= ends; end++ {
		time.Sleep(every) // nobody asks, so that nothing is done ahead of time
		w.idp.SetLies(oidctest.Lies{Token: oidctest.Fault{Delay: 300 * time.Millisecond}})
		all := rush(everywhere)
		w.idp.SetLies(oidctest.Lies{})
		all.mustAll(t, fmt.Sprintf("end %d", end), 200)
		for event, want := range map[oidctest.Event]int{
			oidctest.RefreshAsked: end, oidctest.Refreshed: end, oidctest.ReplayRefused: 0, oidctest.PasswordSent: 1,
		} {
			if n := w.idp.Count(event); n != want {
				t.Errorf("end %d: the provider counts %d times %s, want %d", end, n, event, want)
			}
		}
		t.Logf("end %d: %d requests, half of them answered in %v, the slowest in %v", end, len(all), all.median(), all.slowest())
	}
	w.identity(t, alice.fetch("/data").passed(t))
	if alice.cookieLine() != cookie {
		t.Error("her cookie has changed")
	}
}

// revalidate has the provider asked by refresh.
func revalidate(every, grace time.Duration) string {
	return fmt.Sprintf("revalidate: {every: %v, via: refresh, grace: %v}", every, grace)
}

// everywhere are the ways in which a request of somebody arrives: at each replica,
// past Envoy, and through Envoy.
func (w *world) everywhere(t *testing.T, p *person) []func() shot {
	t.Helper()
	through := kind{"through Envoy", "/data", adding(script, p.cookieLine())}
	ways := []func() shot{func() shot { return through.send(t.Context(), p.http) }}
	for i, c := range w.replicas {
		name, ask := fmt.Sprint("replica ", i), c.asks(t, p)
		ways = append(ways, func() shot {
			s := shot{kind: name, at: time.Now()}
			s.status, s.err = ask()
			s.took = time.Since(s.at)
			return s
		})
	}
	return ways
}

// asks returns how to ask a replica about somebody: the answer is the status that
// the client would get.
func (c *countersign) asks(t *testing.T, p *person) func() (status int, err error) {
	t.Helper()
	conn := c.dial(t)
	request := checkRequest(t, "/data", field{"accept", "application/json"},
		field{"cookie", sessionCookie + "=" + p.cookies()[sessionCookie]})
	return func() (int, error) {
		answer, err := grpcCheck(t, conn, request)
		if denied := answer.GetDeniedResponse(); denied != nil || err != nil {
			return int(denied.GetStatus().GetCode()), err
		}
		return http.StatusOK, nil
	}
}

// rush sends a crowd of requests at once, in all ways alike.
func rush(ways []func() shot) shots {
	all := make(shots, crowd)
	var done sync.WaitGroup
	start := make(chan struct{})
	for i := range all {
		done.Go(func() {
			<-start
			all[i] = ways[i%len(ways)]()
		})
	}
	close(start)
	done.Wait()
	return all
}

// Who goes on clicking never waits for the provider, which takes a second here:
// requests that come while it is asked are answered before it is.
func TestClickingNeverWaitsForTheProvider(t *testing.T) {
	t.Parallel()
	const (
		every   = 12 * time.Second
		slow    = time.Second
		rate    = 40
		periods = 2
	)
	w := newWorld(t, setup{Redis: true, Replicas: 3, Process: true, Session: revalidate(every, 0)}, fault{})
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	w.idp.SetLies(oidctest.Lies{Token: oidctest.Fault{Delay: slow}})
	load := w.fire(t, rate, kind{"clicking", "/data", adding(script, alice.cookieLine())})

	for period := 1; period <= periods; period++ {
		asked := w.awaitCount(t, oidctest.RefreshAsked, period, every)
		refreshed := w.awaitCount(t, oidctest.Refreshed, period, every)
		time.Sleep(slow / 2)
		meanwhile := load.soFar().between(asked, refreshed)
		t.Logf("period %d: the provider took %v, and %d requests were answered meanwhile, half of them within %v, the slowest in %v",
			period, refreshed.Sub(asked), len(meanwhile), meanwhile.median(), meanwhile.slowest())
		if len(meanwhile) < rate/2 {
			t.Errorf("period %d: %d requests were answered while the provider was asked", period, len(meanwhile))
		}
	}
	load.stop().mustAll(t, "clicking", 200)
	for event, want := range map[oidctest.Event]int{
		oidctest.RefreshAsked: periods, oidctest.ReplayRefused: 0, oidctest.PasswordSent: 1,
	} {
		if n := w.idp.Count(event); n != want {
			t.Errorf("the provider counts %d times %s, want %d", n, event, want)
		}
	}
}

// awaitCount returns when the provider has counted so many.
func (w *world) awaitCount(t *testing.T, event oidctest.Event, n int, usual time.Duration) time.Time {
	t.Helper()
	eventually(t, usual+startTimeout, func() bool { return w.idp.Count(event) >= n },
		func() string {
			return fmt.Sprintf("the provider counts %d times %s, want %d", w.idp.Count(event), event, n)
		})
	return time.Now()
}

// soFar returns what has been answered already.
func (l *load) soFar() shots {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(shots(nil), l.shots...)
}

// What the provider says of somebody at a refresh is what upstreams learn and
// rules decide on from then on, at every replica. Who is gone there is out here,
// and nobody else.
func TestRefreshTellsNews(t *testing.T) {
	t.Parallel()
	const every = 2 * time.Second
	w := newWorld(t, setup{
		Redis: true, Replicas: 3, Session: revalidate(every, time.Minute), Apps: oneApp + `    rules:
      - {path: /admin/**, allow: {groups: [admin]}}
      - {path: /**}
`,
	}, fault{})
	alice, bob, guest := w.browser(t), w.browser(t), w.browser(t)
	for name, p := range map[string]*person{"alice": alice, "bob": bob, "guest": guest} {
		p.signIn(name).want(t, 200)
	}
	alice.fetch("/admin/users").passed(t)
	cookie := guest.cookieLine()

	changed := people[0]
	changed.Email, changed.Groups = "alice@married.example.org", []string{"staff"}
	if err := w.idp.SetPerson(changed); err != nil {
		t.Fatal(err)
	}
	w.idp.RemovePerson("bob")
	settled(t, "the upstream learns her new address", func() bool {
		claims := w.identity(t, alice.fetch("/data").passed(t))
		return claims["email"] == changed.Email
	})
	alice.fetch("/admin/users").stopped(t, 403)
	settled(t, "he is out", func() bool { return bob.fetch("/data").status == 401 })
	bob.get("/page").stopped(t, 302)

	w.idp.SetLies(oidctest.Lies{RefreshSubject: "somebody-else"})
	time.Sleep(every)
	settled(t, "a session about which the provider names somebody else has ended",
		func() bool { return alice.fetch("/data").status == 401 })
	w.idp.SetLies(oidctest.Lies{})

	// Nobody asked about guest meanwhile, whose session is due for long.
	if got := w.identity(t, guest.fetch("/data").passed(t))["email"]; got != "guest@elsewhere.example" {
		t.Errorf("the upstream learns %v of somebody of whom nothing has changed", got)
	}
	if guest.cookieLine() != cookie {
		t.Error("a cookie has changed of somebody of whom nothing has changed")
	}
	if n := w.idp.Count(oidctest.PasswordSent); n != 3 {
		t.Errorf("passwords were asked for %d times, want 3", n)
	}
}

// settled waits until something is so nine times in a row, as the replicas take
// turns.
func settled(t *testing.T, what string, is func() bool) {
	t.Helper()
	row := 0
	eventually(t, startTimeout, func() bool {
		if row++; !is() {
			row = 0
		}
		return row >= 9
	}, func() string { return "not yet: " + what })
}
