package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// judge says what was not as it must be.
func (w wants) judge(d *day, o *outcome) {
	d.t.Helper()
	w.judgeStrangers(d.t, o)
	for replica := range d.replicas {
		there := w
		if w.only != nil && *w.only != replica {
			there.known, there.unknown, there.fades = nil, nil, 0
		}
		there.judgeSessions(d.t, o, replica)
	}
	w.judgePeople(d, o)
	w.judgeBounds(d, o)
	for name, version := range d.versions {
		if now := d.version(name); now < version && !slices.Contains(w.lost, name) {
			d.t.Errorf("the store had version %d of the session of %s, and has version %d", version, name, now)
		}
	}
}

// or is what is wanted, if anything is.
func or(wanted []int, usual int) []int {
	if wanted == nil {
		return []int{usual}
	}
	return wanted
}

// judgeStrangers is NoIn: whoever has no session never passes, and reads at worst
// that nobody knows.
func (w wants) judgeStrangers(t *testing.T, o *outcome) {
	t.Helper()
	outside := []int{http.StatusFound}
	if slices.Contains(w.unknown, http.StatusServiceUnavailable) || slices.Contains(w.known, http.StatusServiceUnavailable) {
		outside = append(outside, http.StatusServiceUnavailable)
	}
	for _, kind := range []string{"left", "forged"} {
		o.mayBe(t, o.shots.of(kind+"/0", kind+"/1"), kind, outside...)
	}
	o.shots.of("nobody/0", "nobody/1").mustBe(t, "nobody", http.StatusFound)
	o.shots.of("public/0", "public/1").mustBe(t, "public", http.StatusOK)
}

// judgeSessions is NoOut: whoever has a session is never sent to sign in, unless
// there is no other way.
func (w wants) judgeSessions(t *testing.T, o *outcome, replica int) {
	t.Helper()
	ended := o.healed.Add(time.Hour)
	for _, kind := range []struct {
		name   string
		wanted []int
	}{{"known", or(w.known, 200)}, {"unknown", or(w.unknown, 200)}} {
		name := fmt.Sprintf("%s/%d", kind.name, replica)
		all := o.shots.of(name)
		if len(all) == 0 {
			continue // a replica that was killed, or that is not asked
		}
		lost := slices.Contains(w.lost, map[string]string{"known": "alice", "unknown": "bob"}[kind.name])
		anyhow := append([]int{http.StatusOK}, kind.wanted...)
		if lost || slices.Contains(w.unknown, http.StatusServiceUnavailable) && kind.name == "unknown" {
			anyhow = append(anyhow, http.StatusServiceUnavailable)
		}
		judge := func(some shots, what string, statuses ...int) {
			t.Helper()
			if kind.name == "unknown" || w.fades > 0 {
				o.mayBe(t, some, what, statuses...)
			} else {
				some.mustBe(t, what, statuses...)
			}
		}
		judge(all, name, anyhow...)
		judge(all.between(o.away.Add(settling), o.ending), name+" during the fault", kind.wanted...)
		if !lost {
			judge(all.between(o.healed, ended), name+" afterwards", http.StatusOK)
		}
	}
	if w.fades > 0 {
		known := o.shots.of(fmt.Sprintf("known/%d", replica))
		known.between(o.leaving, o.away.Add(w.fades-time.Second)).mustBe(t, "known, at first", http.StatusOK)
		known.between(o.away.Add(w.fades+2500*time.Millisecond), o.ending).mustBe(t, "known, too long", http.StatusServiceUnavailable)
	}
}

// judgePeople looks at the login and the sign-out that happened during the fault.
func (w wants) judgePeople(d *day, o *outcome) {
	d.t.Helper()
	if wanted := or(w.login, http.StatusSeeOther); !slices.Contains(wanted, o.login) {
		d.t.Errorf("dave's callback was answered with %d, want %v", o.login, wanted)
	}
	if wanted := or(w.signOut, http.StatusSeeOther); !slices.Contains(wanted, o.signOut) {
		d.t.Errorf("erin's sign-out was answered with %d, want %v", o.signOut, wanted)
	}
	leaving := o.shots.of("leaving/0", "leaving/1")
	if o.signOut == http.StatusSeeOther {
		// Everywhere within a second; where the store does not answer, and a second
		// for what is slow here, store_outage and the silence before it later.
		const soon = time.Second + 5*time.Second + 600*time.Millisecond + time.Second
		all := leaving.between(o.left.Add(soon), o.healed.Add(time.Hour))
		all = append(all, leaving.between(o.healed, o.healed.Add(time.Hour))...)
		for _, s := range all {
			if s.status == http.StatusOK {
				d.t.Errorf("erin signed out, and passed %v later", s.at.Sub(o.left))
				break
			}
		}
	} else if !slices.Contains(w.lost, "erin") {
		o.mayBe(d.t, leaving.between(o.healed, o.healed.Add(time.Hour)), "erin, who was told 503, afterwards", http.StatusOK, http.StatusFound)
	}
}

func (w wants) judgeBounds(d *day, o *outcome) {
	d.t.Helper()
	if took := o.shots.slowest(); took > slowestAnswer {
		d.t.Errorf("an answer took %v", took)
	}
	if o.goroutines > mostRoutines {
		d.t.Errorf("%d goroutines", o.goroutines)
	}
	if o.files > mostFiles || o.dials > mostDials {
		d.t.Errorf("%d files and connections are open; %.0f new ones a second to Redis", o.files, o.dials)
	}
	calls := usualCalls
	if w.calls > 0 {
		calls = w.calls
	}
	if o.calls > calls {
		d.t.Errorf("the provider was asked %d times, want %d at most", o.calls, calls)
	}
}

// hiccups is how many answers of a kind may be 503 where none should: a store that
// answers late is one that does not answer, and on a machine that is busy with
// other things it does now and then. Each time opens the breaker for half a second.
const hiccups = 5

// mayBe is mustBe for who has to be looked up in the store.
func (o *outcome) mayBe(t *testing.T, all shots, what string, statuses ...int) {
	t.Helper()
	if all.count(http.StatusServiceUnavailable) <= hiccups*(1+o.stalls) {
		statuses = append(slices.Clip(statuses), http.StatusServiceUnavailable)
	}
	all.mustBe(t, what, statuses...)
}

// mostly reports whether most answers to a kind, while the fault lasted, were
// these.
func (o *outcome) mostly(kind string, status int) bool {
	all := o.while(kind)
	return 2*all.count(status) > len(all)
}

// count is how often a status was given.
func (all shots) count(status int) int {
	n := 0
	for _, s := range all {
		if s.status == status {
			n++
		}
	}
	return n
}

// mustBe fails the test unless each answer is one of these.
func (all shots) mustBe(t *testing.T, what string, statuses ...int) {
	t.Helper()
	wrong := map[string]int{}
	for _, s := range all {
		switch {
		case s.err != nil:
			wrong[s.err.Error()]++
		case !slices.Contains(statuses, s.status):
			wrong[fmt.Sprint(s.status)]++
		}
	}
	for answer, n := range wrong {
		t.Errorf("%s: %d of %d were answered with %s, want %s", what, n, len(all), answer,
			strings.Trim(fmt.Sprint(statuses), "[]"))
	}
}
