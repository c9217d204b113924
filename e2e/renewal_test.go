package e2e_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
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

const hotChecks = 2000

// A check of somebody who is remembered asks Redis nothing. What is counted there
// meanwhile is the life of the subscription.
func TestHotCheckAsksRedisNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true, Process: true}, fault{})
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	ask := w.replicas[0].asks(t, alice)
	// A replica that a busy machine holds up has heard nothing for some time, and
	// then rightly asks. So one clean round of several is what is wanted: were
	// anything asked at each check, none would be.
	for round := range 5 {
		w.mustPass(t, ask, 10)
		before := w.commands(t)
		w.mustPass(t, ask, hotChecks)
		asked := w.commands(t)
		for name, n := range before {
			if asked[name] -= n; asked[name] == 0 {
				delete(asked, name)
			}
		}
		t.Logf("round %d, %d checks: Redis was asked %v", round, hotChecks, asked)
		for _, other := range []string{"publish", "ping", "time", "hello", "info"} { // the last two are the test's own
			delete(asked, other)
		}
		if len(asked) == 0 {
			return
		}
	}
	t.Error("in none of the rounds was Redis left alone")
}

// Redis is told of the use of a session once in a tenth of its idle time.
func TestUsesAreToldSeldom(t *testing.T) {
	t.Parallel()
	const idle = 20 * time.Second
	w := newWorld(t, setup{Redis: true, Process: true, Session: fmt.Sprintf("idle: %v", idle)}, fault{})
	alice := w.browser(t)
	alice.signIn("alice").want(t, 200)
	ask := w.replicas[0].asks(t, alice)
	before, began := w.commands(t)["hset"], time.Now()
	checks := 0
	for ; time.Since(began) < 4*idle/10; checks++ {
		w.mustPass(t, ask, 1)
		time.Sleep(5 * time.Millisecond)
	}
	touches, most := w.commands(t)["hset"]-before, int(time.Since(began)/(idle/10))
	t.Logf("%d checks in %v: Redis was told of %d uses", checks, time.Since(began).Round(time.Millisecond), touches)
	if touches < 1 || touches > most {
		t.Errorf("Redis was told of %d uses, want 1 to %d", touches, most)
	}
}

// mustPass asks so many times, one after the other.
func (w *world) mustPass(t *testing.T, ask func() (int, error), n int) {
	t.Helper()
	for range n {
		if status, err := ask(); status != http.StatusOK || err != nil {
			t.Fatalf("status %d, %v", status, err)
		}
	}
}

// commands is how often Redis has done each command, also those of scripts.
func (w *world) commands(t *testing.T) map[string]int {
	t.Helper()
	info, _ := w.redis.Do("INFO", "commandstats").(string)
	all := map[string]int{}
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		count, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(count); ok && err == nil {
			all[name] = n
		}
	}
	if len(all) == 0 {
		t.Fatalf("Redis counts nothing: %q", info)
	}
	return all
}
