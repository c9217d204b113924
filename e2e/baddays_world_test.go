package e2e_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis/redistest"
)

// day is a running world of a bad day: replicas that are asked as Envoy asks them,
// but without one in between, so that the test knows which answers.
type day struct {
	*world
	t      *testing.T
	faulty bool
	setting

	conns []*grpc.ClientConn // to each replica
	dead  []atomic.Bool      // replicas that were killed
	begun atomic.Bool        // the fault
	poke  *redis.Client      // tells of changes that were none; nil for nobody

	// server has a key; the keys of all sessions, but in a Cluster.
	server func(key string) *redistest.Server

	people map[string]*person
	cookie map[string]string // a Cookie line, by name
	back   string            // where the provider sends dave

	sentinels *redistest.Sentinels // where there are some
	cluster   *redistest.Cluster   // where there is one

	markedAsked, markedRefreshed int // by mark

	firstRun     string         // of Redis
	firstUnknown int            // scripts, when the day began
	versions     map[string]int // by name, of what the store had when the day began
}

// startDay starts the parts.
func startDay(t *testing.T, s setting, faulty bool) *day {
	t.Helper()
	if s.session == "" {
		s.session = outageKeys
	}
	d := &day{t: t, faulty: faulty, setting: s, dead: make([]atomic.Bool, 2)}
	o := setup{Apps: worldApps, Session: s.session, Replicas: 2, Process: true}
	d.world = &world{stack: &stack{setup: o, files: writeFiles(t)}}
	if s.store != nil {
		s.store(d)
	} else {
		d.startRedis()
	}
	d.idp = startOutlet(t, nil)
	d.provider = &provider{issuer: d.idp.Issuer(), Provider: d.idp.Provider}
	for i := range 2 {
		file := d.configuration()
		if s.edit != nil {
			file = s.edit(file)
		}
		var c *countersign
		if s.skewed != 0 && i == 1 {
			c = startSkewed(t, file, d.skew())
		} else {
			c = startProcess(t, file)
		}
		d.replicas = append(d.replicas, c)
	}
	for _, c := range d.replicas {
		c.awaitReady(t)
		d.conns = append(d.conns, c.dial(t))
	}
	return d
}

// startRedis starts one, with a network to it for each replica.
func (d *day) startRedis() {
	d.redis = redistest.Start(d.t, d.flags...)
	d.server = func(string) *redistest.Server { return d.redis }
	d.setup.Proxied = true
	d.startNetworks(d.t)
	d.pokeAt(d.redis.Addr)
}

// pokeAt has changes told at a server.
func (d *day) pokeAt(address string) {
	d.poke = redis.NewClient(&redis.Options{
		Addr: address, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
	})
	d.t.Cleanup(func() { d.poke.Close() }) //nolint:errcheck // nothing is lost with it
}

// gather signs people in: alice, whom the replicas will remember; bob, whom
// nobody asks about before the fault; erin, who leaves while it lasts; carol, who
// has left. Dave is at the provider.
func (d *day) gather() {
	d.t.Helper()
	d.people, d.cookie, d.versions = map[string]*person{}, map[string]string{}, map[string]int{}
	for _, name := range []string{"alice", "bob", "erin", "carol"} {
		d.signIn(name)
	}
	cookie := d.cookie["carol"]
	if a := d.signOut("carol"); a.status != http.StatusSeeOther {
		d.t.Fatalf("carol's sign-out is answered with %d", a.status)
	}
	d.cookie["carol"] = cookie
	dave := d.browser(d.door)
	d.people["dave"] = dave
	d.back = dave.atProvider(dave.get("/oauth2/start?rd=/").want(d.t, 302), accounts["dave"])
	for _, name := range []string{"alice", "bob"} {
		d.versions[name] = d.version(name)
	}
	if d.redis != nil {
		d.firstRun, d.firstUnknown = d.runID(), d.unknownScripts()
	}
}

// accounts are what people have at the provider.
var accounts = map[string]string{"alice": "alice", "bob": "bob", "erin": "bob", "carol": "guest", "dave": "guest"}

// signIn signs somebody in, on a machine that may be busy: then the store gives no
// answer now and then.
func (d *day) signIn(name string) {
	d.t.Helper()
	p := d.browser(d.door)
	eventually(d.t, startTimeout, func() bool {
		return p.get(p.atProvider(p.get("/oauth2/start?rd=/").want(d.t, 302), accounts[name])).status == http.StatusSeeOther
	}, func() string { return name + " cannot sign in" })
	d.people[name], d.cookie[name] = p, p.cookieLine()
}

// signOut presses the button of somebody's sign-out page.
func (d *day) signOut(name string) *answer {
	d.t.Helper()
	return d.people[name].do(http.MethodPost, "/oauth2/sign_out", "", "Accept: text/html", "Sec-Fetch-Mode: navigate",
		"Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin", "Origin: "+origin)
}

// browser is one that meets the login endpoints of a replica, which speaks HTTP in
// the clear, where it expects Envoy with TLS.
func (d *day) browser(replica int) *person {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, d.replicas[replica].http)
		},
	}
	d.t.Cleanup(transport.CloseIdleConnections)
	return &person{t: d.t, stack: d.stack, http: &http.Client{
		Jar: jar, Transport: transport, Timeout: 45 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// id names somebody's session in the store.
func (d *day) id(name string) string {
	_, value, _ := strings.Cut(d.cookie[name], "=")
	token, ok := session.ParseToken(value)
	if !ok {
		d.t.Fatalf("the cookie of %s is none of ours", name)
	}
	id := token.ID()
	return hex.EncodeToString(id[:])
}

// key is where the store has the hot part of somebody's session.
func (d *day) key(name string) string { return "countersign:{" + d.id(name) + "}:hot" }

// version asks the store for that of somebody's session, which is 0 if there is none.
func (d *day) version(name string) int {
	d.t.Helper()
	key := d.key(name)
	text := fmt.Sprint(d.server(key).Do("EVAL", "return redis.call('HGET', KEYS[1], 'version') or '0'", 1, key))
	version, err := strconv.Atoi(text)
	if err != nil {
		d.t.Fatalf("the version of %s is %q", name, text)
	}
	return version
}

// act has dave come back from the provider, and erin leave.
func (d *day) act(o *outcome) {
	d.t.Helper()
	o.signOut = d.signOut("erin").status
	o.left = time.Now()
	began := time.Now()
	o.login = d.people["dave"].get(d.back).status
	o.loginTook = time.Since(began)
}

// counts are what only grows.
type counts struct{ dials, calls, codes int }

func (d *day) count() counts {
	var c counts
	for _, n := range d.networks {
		_, ever := n.connections()
		c.dials += ever
	}
	for _, e := range []oidctest.Event{
		oidctest.Discovery, oidctest.Keys, oidctest.TokenAsked, oidctest.Userinfo, oidctest.Introspection,
	} {
		c.calls += d.idp.Count(e)
	}
	c.codes = d.idp.Count(oidctest.CodeSpent)
	return c
}

// since notes what was counted since the fault began.
func (d *day) since(o *outcome, before counts) {
	now := d.count()
	o.calls = now.calls - before.calls
	o.dials = float64(now.dials-before.dials) / time.Since(o.leaving).Seconds() / float64(max(1, len(d.networks)))
	if n := now.codes - before.codes; n > 1 {
		d.t.Errorf("dave's code was spent %d times", n)
	}
}

// measure notes how much each replica holds.
func (d *day) measure(o *outcome) {
	d.t.Helper()
	for i, c := range d.replicas {
		if c.process != nil && !d.dead[i].Load() {
			o.goroutines = max(o.goroutines, c.metric(d.t, "go_goroutines", ""))
			o.files = max(o.files, c.metric(d.t, "process_open_fds", ""))
		}
	}
}

// heal waits until everything is as it was, for everybody who can be helped.
func (d *day) heal(o *outcome, want wants) {
	d.t.Helper()
	var last error
	eventually(d.t, healing, func() bool { last = d.unhealed(want); return last == nil },
		func() string { return "it does not heal: " + last.Error() })
	o.healed = time.Now()
	d.finishLogin(o)
	for _, name := range want.lost {
		o.noticed++
		d.signIn(name)
		for i := range d.replicas {
			if got := d.check(i, "/again", d.cookie[name]); got.status != http.StatusOK {
				d.t.Errorf("%s signed in again, and gets %d", name, got.status)
			}
		}
	}
}

// unhealed says what is not as it should be.
func (d *day) unhealed(want wants) error {
	for i := range d.replicas {
		if d.dead[i].Load() {
			continue
		}
		for _, name := range []string{"alice", "bob", "carol", ""} {
			status, cookie := http.StatusOK, d.cookie[name]
			if name == "carol" || name == "" || slices.Contains(want.lost, name) {
				status = http.StatusFound
			}
			if name == "" {
				cookie = forged()
			}
			if got := d.check(i, "/healed", cookie); got.status != status {
				return fmt.Errorf("replica %d answers %q with %d, want %d", i, name, got.status, status)
			}
		}
	}
	return nil
}

// finishLogin has dave come back again, if he was told to, and begin anew where
// that leads nowhere.
func (d *day) finishLogin(o *outcome) {
	d.t.Helper()
	dave, status := d.people["dave"], o.login
	for deadline := time.Now().Add(3 * time.Second); status == http.StatusServiceUnavailable && time.Now().Before(deadline); {
		time.Sleep(200 * time.Millisecond)
		status = dave.get(d.back).status
	}
	switch {
	case status != http.StatusSeeOther:
		o.later = fmt.Sprintf(", then %d, then anew", status)
		d.signIn("dave")
	case o.login != status:
		o.later = fmt.Sprintf(", then %d", status)
		fallthrough
	default:
		d.cookie["dave"] = dave.cookieLine()
	}
	for i := range d.replicas {
		if d.dead[i].Load() {
			continue
		}
		if got := d.check(i, "/in", d.cookie["dave"]); got.status != http.StatusOK {
			d.t.Errorf("dave is signed in, and replica %d answers %d", i, got.status)
		}
	}
}

// skew is how far the clock of the second replica is ahead.
func (d *day) skew() time.Duration {
	if !d.faulty {
		return 0
	}
	return d.skewed
}
