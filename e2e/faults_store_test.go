package e2e_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
)

// What must hold while Redis is away. A check has ten seconds at Envoy here, so
// that every answer is Countersign's own.
const (
	outage       = 3 * time.Second        // how long Redis is away
	transition   = 250 * time.Millisecond // that near to a fault, a request may meet either
	maxAnswer    = time.Second            // half of what Envoy's recommended wiring waits
	maxRecovery  = 5 * time.Second
	loadRate     = 320                    // requests a second, two thirds of them with the cookie
	leastRate    = 200                    // of those with the cookie
	maxGoroutine = 400                    // of Countersign: four for each request under way, and its own
	usualAnswer  = 100 * time.Millisecond // most do not wait for a Redis that is known to be away
)

func TestRedisAway(t *testing.T) {
	for _, tt := range []struct {
		name       string
		away, back func(w *world)
	}{
		{"refuses", func(w *world) { w.redis.Stop() }, func(w *world) { w.redis.Restart() }},
		{"frozen", func(w *world) { w.redis.Freeze() }, func(w *world) { w.redis.Thaw() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, setup{Redis: true, Process: true, Session: "store_outage: 0s"}, fault{})
			server := w.replicas[0]
			alice, bob := w.browser(t), w.browser(t)
			alice.signIn("alice").want(t, 200)
			callback := bob.atProvider(bob.get("/report").want(t, 302), "bob")
			refused, spent := server.decided(t, "store_unavailable"), w.idp.Count(oidctest.CodeSpent)

			cookie := alice.cookieLine()
			load := w.fire(t, loadRate,
				kind{"cookie, script", "/data", adding(script, cookie)},
				kind{"public", publicPath, script},
				kind{"cookie, page", "/page", adding(navigation, cookie)},
				kind{"nobody", "/page", navigation},
				kind{"cookie, script", "/data", adding(script, cookie)},
				kind{"cookie, page", "/page", adding(navigation, cookie)},
			)
			time.Sleep(500 * time.Millisecond)
			leaving := time.Now()
			tt.away(w)
			away := time.Now()
			time.Sleep(outage / 2)

			signOutWhileAway(t, alice)
			bob.get(callback).stopped(t, 503).mustWait(t, "5")
			w.browser(t).get("/page").want(t, 302)
			if n := w.idp.Count(oidctest.CodeSpent); n != spent {
				t.Errorf("the code was spent %d times while nobody could keep the session", n-spent)
			}
			status, ready := plainGet(t, "http://"+server.health+"/readyz")
			if status != http.StatusOK {
				t.Errorf("/readyz is %d: %s", status, ready)
			}
			goroutines := server.metric(t, "go_goroutines", "")
			if goroutines > maxGoroutine {
				t.Errorf("%d goroutines", goroutines)
			}
			time.Sleep(time.Until(away.Add(outage)))

			stillAway := time.Now()
			tt.back(w)
			back := time.Now()
			eventually(t, maxRecovery, func() bool { return alice.fetch("/data").status == http.StatusOK },
				func() string { return "Redis is back, and her cookie is not good" })
			time.Sleep(time.Second)
			all := load.stop()

			all.mustStayShut(t, leaving, away, stillAway, back)
			wantOpenLoop(t, all, away, stillAway)
			t.Logf("%d goroutines half-way through", goroutines)
			if n := server.decided(t, "store_unavailable") - refused; n < leastRate*int(outage/time.Second)*3/4 {
				t.Errorf("store_unavailable was counted %d times", n)
			}
			if got := bob.open(callback).want(t, 200).passed(t).target; got != "/report" {
				t.Errorf("the callback that came during the outage ends on %s", got)
			}
			if n := w.idp.Count(oidctest.CodeSpent); n != spent+1 {
				t.Errorf("his code was spent %d times", n-spent)
			}
			if alice.cookieLine() != cookie {
				t.Error("her cookie has changed")
			}
			alice.signOut().want(t, 200)
			alice.fetch("/data").stopped(t, 401)
		})
	}
}

// signOutWhileAway presses the button, which must not pretend.
func signOutWhileAway(t *testing.T, p *person) {
	t.Helper()
	cookie := p.cookieLine()
	a := p.do(http.MethodPost, "/oauth2/sign_out", "", "Accept: text/html", "Sec-Fetch-Mode: navigate",
		"Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin", "Origin: "+origin)
	a.stopped(t, 503).mustWait(t, "5")
	if p.cookieLine() != cookie {
		t.Error("the cookie is gone, and the session is not")
	}
}

// mustWait fails the test unless the answer says when to come again, and leaves
// the browser's cookies alone.
func (a *answer) mustWait(t *testing.T, seconds string) {
	t.Helper()
	if got := a.header.Get("Retry-After"); got != seconds {
		t.Errorf("%v: Retry-After is %q, want %s", a.url, got, seconds)
	}
	if got := a.header.Values("Set-Cookie"); len(got) != 0 {
		t.Errorf("%v: the answer sets a cookie", a.url)
	}
}

// mustStayShut checks what the load met before, during and after the outage.
func (all shots) mustStayShut(t *testing.T, leaving, away, stillAway, back time.Time) {
	t.Helper()
	began, ended := all[0].at, all[len(all)-1].at.Add(time.Minute)
	all.of("public").mustAll(t, "public", 200)
	all.of("nobody").mustAll(t, "nobody", 302)

	signedIn := all.of("cookie, script", "cookie, page")
	signedIn.between(began, leaving.Add(-transition)).mustAll(t, "the cookie before", 200)
	shut := signedIn.between(away.Add(transition), stillAway)
	shut.mustAll(t, "the cookie during the outage", 503)
	strange := map[string]int{}
	for _, s := range signedIn {
		switch {
		case s.err != nil:
			strange[s.err.Error()]++
		case s.status == 503 && (s.header.Get("Retry-After") != "5" || s.header.Get("Set-Cookie") != ""):
			strange["503, with a cookie or without the right Retry-After"]++
		case s.status != 200 && s.status != 503:
			strange[strconv.Itoa(s.status)]++
		}
	}
	for what, n := range strange {
		t.Errorf("the cookie met %d times: %s", n, what)
	}
	if usual := shut.median(); usual > usualAnswer {
		t.Errorf("half of the answers during the outage took longer than %v", usual)
	}
	var last time.Time // that a request was sent which failed
	for _, s := range signedIn {
		if s.status != 200 && s.at.After(last) {
			last = s.at
		}
	}
	recovery := last.Sub(back)
	if recovery > maxRecovery {
		t.Errorf("the cookie was refused until %v after Redis came back", recovery)
	}
	signedIn.between(back.Add(max(0, recovery)+time.Millisecond), ended).mustAll(t, "the cookie afterwards", 200)
	t.Logf("answers with the cookie during the outage: usual %v, slowest %v; slowest at all %v; public %v; nobody %v. Back after %v",
		shut.median(), shut.slowest(), signedIn.slowest(), all.of("public").slowest(), all.of("nobody").slowest(), recovery)
	if slowest := all.slowest(); slowest > maxAnswer {
		t.Errorf("an answer took %v", slowest)
	}
}

// wantOpenLoop fails the test unless the load was what it was meant to be.
func wantOpenLoop(t *testing.T, all shots, from, to time.Time) {
	t.Helper()
	rate := all.of("cookie, script", "cookie, page").rate(from, to)
	t.Logf("%d requests in all; %.0f a second with the cookie during the outage", len(all), rate)
	if rate < leastRate {
		t.Errorf("%.0f requests a second with the cookie, want %d", rate, leastRate)
	}
}

// A frozen Redis does later what it was sent. Were a claim among that, its login
// would have been begun by nobody, and could not be ended.
func TestCallbackMeetsFrozenRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Redis: true}, fault{})
	bob := w.browser(t)
	callback := bob.atProvider(bob.get("/report").want(t, 302), "bob")

	w.redis.Freeze()
	bob.get(callback).stopped(t, 503).page(t, "Nothing is lost").mustWait(t, "5")
	w.redis.Thaw()
	time.Sleep(100 * time.Millisecond) // it does what it was sent
	began := time.Now()
	if got := bob.open(callback).want(t, 200).passed(t).target; got != "/report" {
		t.Errorf("the callback ends on %s", got)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := w.idp.Count(oidctest.CodeSpent); n != 1 {
		t.Errorf("the code was spent %d times", n)
	}
}
