package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
)

// asked has the provider asked about each session some three seconds after the last
// time, and gives it a minute to answer.
const (
	asked     = outageKeys + "\n" + everyFour
	everyFour = "revalidate: {every: 4s, via: refresh, grace: 1m}"
)

// providerDays are faults of the provider, and of those who ask it.
var providerDays = []badDay{
	{
		fault: "provider slow, 3 s", expected: "all who are signed in pass; the login takes its time", lasts: 8 * time.Second,
		setting: setting{session: asked}, begin: lying(oidctest.Fault{Delay: 3 * time.Second}),
		until: noteRefreshes,
		shows: func(_ *day, o *outcome) bool { return o.loginTook > 2500*time.Millisecond },
	},
	{
		fault: "provider answers 500, grace 2s", expected: "pass until 2 s after the answer was due, then 503", lasts: 12 * time.Second,
		setting: setting{session: outageKeys + "\nrevalidate: {every: 4s, via: refresh, grace: 2s}"},
		begin:   lying(oidctest.Fault{Status: http.StatusInternalServerError, Body: "down"}),
		until:   noteRefreshes,
		want:    wants{known: []int{200, 503}, unknown: []int{200, 503}, login: []int{503}},
		shows: func(_ *day, o *outcome) bool {
			return o.while("known").count(http.StatusServiceUnavailable) > 2*hiccups
		},
	},
	{
		fault: "provider answers 429, Retry-After 5", expected: "all who are signed in pass; it is left alone for 5 s", lasts: 12 * time.Second,
		setting: setting{session: asked},
		begin:   lying(oidctest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"5"}}}),
		until:   noteRefreshes,
		// Two replicas, each at most once in five seconds, and the login.
		want:  wants{login: []int{503}, calls: 2*(12/5+1) + 4},
		shows: func(d *day, o *outcome) bool { return d.refreshed(o) == 0 && d.asked(o) > 0 },
	},
	{
		fault: "two replicas refresh at once", expected: "nobody notices; each refresh token is sent once", lasts: 9 * time.Second,
		setting: setting{session: asked, alone: true}, begin: lying(oidctest.Fault{Delay: 500 * time.Millisecond}),
		until: noteRefreshes,
		shows: func(d *day, o *outcome) bool {
			if n := d.idp.Count(oidctest.ReplayRefused); n != 0 {
				d.t.Errorf("%d spent tokens were sent again", n)
			}
			return d.refreshed(o) > 0 && d.replicas[1].metric(d.t, "countersign_store_seconds_count", `operation="lock"`) > 0
		},
	},
	{
		fault: "refresh token replayed by a thief", expected: "exception: that session ends at its next refresh; nobody else's", lasts: 8 * time.Second,
		setting: setting{session: asked}, begin: stealing,
		want: wants{known: []int{200, 302}, lost: []string{"alice"}},
		until: func(d *day, o *outcome) {
			o.note = fmt.Sprintf("%d replays refused", d.idp.Count(oidctest.ReplayRefused))
		},
		shows: func(_ *day, o *outcome) bool { return o.while("known").count(http.StatusFound) > 0 },
	},
}

// lying has the token endpoint fail.
func lying(f oidctest.Fault) func(*day) func() {
	return func(d *day) func() {
		d.mark()
		d.idp.SetLies(oidctest.Lies{Token: f})
		return func() { d.idp.SetLies(oidctest.Lies{}) }
	}
}

// mark begins to count what is asked of the provider.
func (d *day) mark() {
	d.markedAsked, d.markedRefreshed = d.idp.Count(oidctest.RefreshAsked), d.idp.Count(oidctest.Refreshed)
}

// asked and refreshed count since mark, or since the beginning.
func (d *day) asked(*outcome) int     { return d.idp.Count(oidctest.RefreshAsked) - d.markedAsked }
func (d *day) refreshed(*outcome) int { return d.idp.Count(oidctest.Refreshed) - d.markedRefreshed }

func noteRefreshes(d *day, o *outcome) {
	o.note = fmt.Sprintf("%d refreshes asked for, %d given", d.asked(o), d.refreshed(o))
}

// stealing has somebody who knows alice's refresh token, and the client's secret,
// use the token. It is that of her sign-in, which was the first.
func stealing(d *day) func() {
	var answer struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(d.idp.issued()[0], &answer); err != nil || answer.Refresh == "" {
		d.t.Fatalf("no refresh token to steal: %v", err)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {answer.Refresh}}
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.provider.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(clientID, clientSecret)
	resp, err := plainClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	resp.Body.Close() // whatever it says
	return func() {}
}

// slowDays take longest, so they begin first.
var slowDays = []badDay{
	{
		fault: "replica killed while it holds the refresh lock", expected: "nobody notices; another refreshes when the lock ends, a minute later", lasts: time.Second,
		setting: setting{session: "store_outage: 5s\nidle: 10m\nrevalidate: {every: 4s, via: refresh, grace: 3m}", alone: true, door: 1},
		begin:   killingTheAsker,
		want:    wants{calls: 80}, // for more than a minute
		until:   untilRefreshed,
		shows:   func(_ *day, o *outcome) bool { return o.waited > 15*time.Second },
	},
}

// killingTheAsker kills the replica that has just asked the provider about alice, who
// came to no other.
func killingTheAsker(d *day) func() {
	d.idp.SetLies(oidctest.Lies{Token: oidctest.Fault{Delay: 20 * time.Second}})
	before := d.idp.Count(oidctest.RefreshAsked)
	lock := strings.TrimSuffix(d.key("alice"), "hot") + "lock"
	eventually(d.t, 30*time.Second, func() bool {
		return d.idp.Count(oidctest.RefreshAsked) > before && d.redis.Do("EXISTS", lock) == int64(1)
	}, func() string { return "nobody asks for a refresh" })
	d.dead[0].Store(true)
	if err := d.replicas[0].process.Process.Signal(syscall.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	d.idp.SetLies(oidctest.Lies{})
	return func() {}
}

// untilRefreshed waits until alice's session was refreshed.
func untilRefreshed(d *day, o *outcome) {
	began, version := time.Now(), d.version("alice")
	eventually(d.t, 100*time.Second, func() bool { return d.version("alice") > version },
		func() string { return "nobody refreshes" })
	o.waited = time.Since(began)
	o.note = fmt.Sprintf("refreshed after %.0f s", o.waited.Seconds())
	if n := d.idp.Count(oidctest.ReplayRefused); n != 0 {
		d.t.Errorf("%d spent tokens were sent again", n)
	}
}
