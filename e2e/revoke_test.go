package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
)

const (
	promise    = time.Second             // after the answer to a revocation, nobody gets in
	watchAfter = 1500 * time.Millisecond // victims go on trying
	leastTries = 20                      // a second, of each victim at each replica
	tryEvery   = 36 * time.Millisecond   // somewhat more of them
	atOnce     = 15                      // victims of a batch
	signsIn    = 12                      // every so many victims have signed in for real
	viaEnvoy   = 5                       // and every so many try through Envoy, too
	bystanders = 3                       // are never revoked
	mostFaults = 10                      // in a hundred requests, of a store that is slow because the machine is busy
)

// Three replicas behind one Envoy, and people who are thrown out at random moments:
// by the identifier of their session, by who they are, or by their own sign-out.
// Each tries to get in at every replica, more than twenty times a second. In two
// batches of three, one replica does not hear of changes: what it subscribed to is
// cut off, or silent. Nobody gets in with a request that was sent later than a
// second after the answer to the revocation; everybody else is let in all the while,
// or told that the store gives no answer, which it does on a machine that is busy.
// With a longer store_outage such an answer would be a pass, and the promise that
// much later.
//
// A thousand take three minutes, so that only `make chaos` does them all.
func TestRevokedEverywhereWithinASecond(t *testing.T) {
	victims := 300
	if os.Getenv("COUNTERSIGN_CHAOS") == "1" {
		victims = 1000
	}
	c := newCourt(t)
	began := time.Now()
	stand := c.watchBystanders(t)
	defer stand()
	for n := 0; len(c.done) < victims; n++ {
		network := c.networks[n/3%len(c.networks)]
		switch n % 3 {
		case 0:
			c.batch(t, "fine", func() {})
		case 1:
			c.batch(t, "cut", func() { network.set(weather{subscriptions: true, refuse: true}) })
		case 2:
			c.batch(t, "silent", func() { network.set(weather{subscriptions: true, blackHole: true}) })
		}
		network.set(weather{})
	}
	stand()
	t.Logf("%d revocations in %v, %d of them repeated", len(c.done), time.Since(began).Round(time.Second), c.repeated())
	c.mustHaveTried(t)
	c.mustHaveLetIn(t)
	for _, late := range c.late() {
		t.Error(late)
	}
	c.report(t)
}

// With a replica that hears heartbeats and of no change, the same search finds
// somebody who gets in too late: there, and nowhere else.
func TestRevocationIsNotHeard(t *testing.T) {
	c := newCourt(t)
	const deaf = 1
	c.networks[deaf].set(weather{subscriptions: true, deaf: true})
	c.batch(t, "deaf", func() {})
	c.mustHaveTried(t)
	c.mustHaveLetIn(t)
	late := c.late()
	where := map[string]int{}
	for _, l := range late {
		where[l.where]++
	}
	t.Logf("%d of %d requests came in too late: %v", len(late), c.tries(), where)
	if n := where[place(deaf)]; n == 0 || n+where["Envoy"] != len(late) {
		t.Errorf("late are %v, want some at %s and through Envoy, which asks there, too, and nowhere else", where, place(deaf))
	}
}

// court is a world in which people are thrown out.
type court struct {
	*world
	vault  *session.Vault // of an operator, past the network that fails
	conns  []*grpc.ClientConn
	admins []*admin.Client
	client *http.Client // of everybody, to Envoy

	done []*victim
	next int // of the people who can sign in
}

// victim is somebody who is thrown out.
type victim struct {
	how, weather     string
	subject          string
	token            session.Token
	asked, answered  time.Time // of the revocation
	repeated, failed bool      // it had no answer at first, or at all
	tries            []*tries
}

// tries are the requests of somebody at one place.
type tries struct {
	where        string
	began, ended time.Time

	mu  sync.Mutex
	all []try // guarded by mu, until it has ended
}

type try struct {
	at     time.Time
	took   time.Duration
	status int
}

// The ways to throw somebody out.
const (
	bySession = "by session"
	byUser    = "by user"
	bySignOut = "by sign-out"
)

func place(replica int) string { return fmt.Sprint("replica ", replica) }

func newCourt(t *testing.T) *court {
	t.Helper()
	var known []oidctest.Person
	for i := range 100 {
		name := fmt.Sprintf("victim-%d", i)
		known = append(known, oidctest.Person{Username: name, Password: name, Subject: "subject of " + name, Email: name + "@example.org", EmailVerified: true})
	}
	// Sign-outs are answered inside the check, so that all replicas do some.
	c := &court{world: newWorld(t, setup{
		Redis: true, Replicas: 3, Process: true, Proxied: true, Admin: true, InsideCheck: true,
		Session: "store_outage: 1ms", // with 0s there would be nothing to throw anybody out of
	}, fault{people: known})}
	c.vault = c.operator(t)
	for _, r := range c.replicas {
		c.conns = append(c.conns, r.dial(t))
		client, err := admin.NewClient("http://"+r.admin, adminToken)
		if err != nil {
			t.Fatal(err)
		}
		c.admins = append(c.admins, client)
	}
	transport := &http.Transport{TLSClientConfig: c.tls("http/1.1"), DialContext: c.dialContext, MaxIdleConnsPerHost: 4 * atOnce}
	t.Cleanup(transport.CloseIdleConnections)
	c.client = &http.Client{
		Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// operator is a vault with the keys of the replicas, on their Redis.
func (s *stack) operator(t *testing.T) *session.Vault {
	t.Helper()
	file, err := os.ReadFile(s.files.sessionKeys)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := session.ParseKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	store, err := redis.Open(redis.Options{URL: s.redis.URL, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) //nolint:errcheck // nothing is lost with it
	return &session.Vault{Store: store, Sealer: ring, Absolute: 12 * time.Hour, Idle: time.Hour}
}

// session makes one as a login would.
func (c *court) session(t *testing.T, subject string) session.Token {
	t.Helper()
	who := oidc.Identity{Provider: "idp", Issuer: c.provider.issuer, Subject: subject, Email: subject + "@example.org"}
	token, _, err := c.vault.Create(t.Context(), time.Now(), session.Login{
		App: host, Grant: oidc.Grant{Identity: who}, Browser: "none", Claimed: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// people makes the victims of a batch. Some of them sign in.
func (c *court) people(t *testing.T, weather string) []*victim {
	t.Helper()
	var all []*victim
	for i := range atOnce {
		n := len(c.done) + i
		v := &victim{how: []string{bySession, byUser, bySignOut}[n%3], weather: weather, subject: fmt.Sprintf("subject-%d", n)}
		if n%signsIn == 0 {
			name := fmt.Sprintf("victim-%d", c.next)
			c.next++
			p := c.browser(t)
			p.submit(p.open("/page"), map[string]string{"username": name, "password": name}).want(t, 200)
			v.subject, v.token = "subject of "+name, tokenOf(t, p)
		} else {
			v.token = c.session(t, v.subject)
		}
		c.letIn(t, v.token)
		all = append(all, v)
	}
	return all
}

// letIn returns once all replicas have let somebody in. Before, a replica that is
// new may have to wait for its connections to Redis.
func (c *court) letIn(t *testing.T, token session.Token) {
	t.Helper()
	for i := range c.conns {
		ask, status := c.asker(t, i, token), 0
		eventually(t, startTimeout, func() bool { status = ask(t.Context()); return status == http.StatusOK },
			func() string { return fmt.Sprintf("somebody new is answered with %d at %s", status, place(i)) })
	}
}

func tokenOf(t *testing.T, p *person) session.Token {
	t.Helper()
	token, ok := session.ParseToken(p.cookies()[sessionCookie])
	if !ok {
		t.Fatal("there is no session")
	}
	return token
}

// chance is a number from 0 to below n.
func chance[N ~int | ~int64](n N) N {
	some, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // it never fails since Go 1.24
	}
	return N(some.Int64())
}

// batch throws some people out. The network changes at some moment when they are
// there, or are being thrown out.
func (c *court) batch(t *testing.T, weather string, change func()) {
	t.Helper()
	people := c.people(t, weather)
	var group sync.WaitGroup
	group.Go(func() {
		time.Sleep(chance(700 * time.Millisecond))
		change()
	})
	for i, v := range people {
		group.Go(func() { c.follow(t, v, (len(c.done)+i)%viaEnvoy == 0) })
	}
	group.Wait()
	c.done = append(c.done, people...)
}

// follow lets somebody try everywhere, throws them out, and lets them go on.
func (c *court) follow(t *testing.T, v *victim, through bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var trying sync.WaitGroup
	defer trying.Wait()
	for i := range c.conns {
		s := &tries{where: place(i)}
		v.tries = append(v.tries, s)
		trying.Go(func() { s.run(ctx, tryEvery, c.asker(t, i, v.token)) })
	}
	if through {
		s := &tries{where: "Envoy"}
		v.tries = append(v.tries, s)
		k := kind{"", "/data", adding(script, "Cookie: "+sessionCookie+"="+v.token.Reveal())}
		trying.Go(func() {
			s.run(ctx, 2*tryEvery, func(ctx context.Context) int { return k.send(ctx, c.client).status })
		})
	}
	time.Sleep(500*time.Millisecond + chance(700*time.Millisecond))
	v.asked = time.Now()
	err := c.throwOut(t.Context(), v)
	v.answered = time.Now()
	if err != nil {
		t.Errorf("%s, weather %s: %v", v.how, v.weather, err)
	}
	v.failed = err != nil
	time.Sleep(watchAfter)
	stop()
}

// asker asks a replica for somebody, over a connection that stays. It returns the
// status that the client would get, 0 for none.
func (c *court) asker(t *testing.T, replica int, token session.Token) func(context.Context) int {
	t.Helper()
	request := checkRequest(t, "/data", field{"accept", "application/json"}, field{"cookie", sessionCookie + "=" + token.Reveal()})
	return func(ctx context.Context) int {
		answer := new(authv3.CheckResponse)
		err := c.conns[replica].Invoke(ctx, authv3.Authorization_Check_FullMethodName, request, answer, grpc.ForceCodecV2(raw{}))
		switch {
		case err != nil:
			return 0
		case answer.GetOkResponse() != nil:
			return http.StatusOK
		}
		return int(answer.GetDeniedResponse().GetStatus().GetCode())
	}
}

// run tries at a steady rate until ctx ends, whatever becomes of the requests. What
// a busy machine kept from being sent in time is made up for.
func (s *tries) run(ctx context.Context, every time.Duration, ask func(context.Context) int) {
	var underWay sync.WaitGroup
	defer underWay.Wait()
	answers := context.WithoutCancel(ctx)
	s.began = time.Now()
	for due := s.began; ctx.Err() == nil; due = due.Add(every) {
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			continue
		}
		underWay.Go(func() {
			at := time.Now()
			status := ask(answers)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.all = append(s.all, try{at, time.Since(at), status})
		})
	}
	s.ended = time.Now()
}

// throwOut ends somebody's session and returns once that is answered. A store that
// gave no answer is asked again, as the answer says.
func (c *court) throwOut(ctx context.Context, v *victim) error {
	by := c.admins[chance(len(c.admins))]
	for deadline := time.Now().Add(startTimeout); ; {
		n, err := c.throwOutOnce(ctx, by, v)
		switch {
		case err == nil && n <= 1: // none, where the store was asked twice since its first answer was lost
			return nil
		case err == nil:
			return fmt.Errorf("%d sessions were ended, want 1", n)
		case time.Now().After(deadline):
			return err
		}
		v.repeated = true
		time.Sleep(200 * time.Millisecond)
	}
}

func (c *court) throwOutOnce(ctx context.Context, by *admin.Client, v *victim) (int, error) {
	id := v.token.ID()
	switch v.how {
	case bySession:
		return by.Revoke(ctx, admin.Selector{ID: hex.EncodeToString(id[:8])})
	case byUser:
		return by.Revoke(ctx, admin.Selector{Issuer: c.provider.issuer, Subject: v.subject})
	}
	return 1, c.signOut(ctx, v.token)
}

// signOut presses the button of the sign-out page.
func (c *court) signOut(ctx context.Context, token session.Token) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+"/oauth2/sign_out", http.NoBody)
	if err != nil {
		return err
	}
	for _, line := range adding(navigation, "Cookie: "+sessionCookie+"="+token.Reveal()) {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Origin", origin)
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// watchBystanders has people ask at every replica who are never thrown out. The
// returned function ends that, and looks at how they fared.
func (c *court) watchBystanders(t *testing.T) (end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var trying sync.WaitGroup
	var all []*tries
	for n := range bystanders {
		token := c.session(t, fmt.Sprintf("bystander-%d", n))
		c.letIn(t, token)
		for i := range c.conns {
			s := &tries{where: place(i)}
			all = append(all, s)
			trying.Go(func() { s.run(ctx, 3*tryEvery, c.asker(t, i, token)) })
		}
	}
	return sync.OnceFunc(func() {
		t.Helper()
		stop()
		trying.Wait()
		answers := map[int]int{}
		for _, s := range all {
			s.entered(time.Now(), answers)
		}
		mustEnter(t, "bystanders", answers)
	})
}

// entered counts what came of requests that were sent, and answered, before a
// moment.
func (s *tries) entered(before time.Time, into map[int]int) {
	for _, a := range s.all {
		if a.at.Add(a.took).Before(before) {
			into[a.status]++
		}
	}
}

// mustEnter fails the test unless everybody was let in who may be.
func mustEnter(t *testing.T, who string, answers map[int]int) {
	t.Helper()
	passed, faults := answers[http.StatusOK], answers[http.StatusServiceUnavailable]
	t.Logf("%s: %d requests were let in, %d met a store without an answer", who, passed, faults)
	for status, n := range answers {
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d requests were answered with %d", who, n, status)
		}
	}
	if passed == 0 || faults*100 > mostFaults*(passed+faults) {
		t.Errorf("%s: this proves nothing: the machine is too busy", who)
	}
}

// mustHaveLetIn fails the test unless everybody was let in until they were thrown
// out.
func (c *court) mustHaveLetIn(t *testing.T) {
	t.Helper()
	answers := map[int]int{}
	for _, v := range c.done {
		for _, s := range v.tries {
			s.entered(v.asked, answers)
		}
	}
	mustEnter(t, "those who were thrown out later", answers)
}

// mustHaveTried fails the test unless everybody tried often enough for it to prove
// anything.
func (c *court) mustHaveTried(t *testing.T) {
	t.Helper()
	if len(c.done) == 0 {
		t.Fatal("nobody was thrown out")
	}
	var rates []float64
	for _, v := range c.done {
		for _, s := range v.tries[:len(c.conns)] {
			rates = append(rates, float64(len(s.all))/s.ended.Sub(s.began).Seconds())
		}
	}
	slices.Sort(rates)
	t.Logf("each victim tried %.1f to %.1f times a second at each replica, %d times in all", rates[0], rates[len(rates)-1], c.tries())
	if rates[0] < leastTries {
		t.Errorf("this proves nothing: somebody tried %.1f times a second, want %d", rates[0], leastTries)
	}
}

// repeated is how many revocations the store had no answer for at first.
func (c *court) repeated() int {
	n := 0
	for _, v := range c.done {
		if v.repeated {
			n++
		}
	}
	return n
}

// tries is how many requests there were.
func (c *court) tries() int {
	n := 0
	for _, v := range c.done {
		for _, s := range v.tries {
			n += len(s.all)
		}
	}
	return n
}

// lateness is a request that was let in too late.
type lateness struct {
	victim *victim
	where  string
	lag    time.Duration // from the answer to the revocation until it was sent
}

func (l lateness) String() string {
	return fmt.Sprintf("thrown out %s, weather %s: let in at %s with a request sent %v after the answer",
		l.victim.how, l.victim.weather, l.where, l.lag)
}

// admitted are all requests that were let in though they were sent after the
// answer to the revocation.
func (c *court) admitted() []lateness {
	var all []lateness
	for _, v := range c.done {
		for _, s := range v.tries {
			for _, a := range s.all {
				if lag := a.at.Sub(v.answered); a.status == http.StatusOK && lag > 0 && !v.failed {
					all = append(all, lateness{v, s.where, lag})
				}
			}
		}
	}
	return all
}

func (c *court) late() []lateness {
	return slices.DeleteFunc(c.admitted(), func(l lateness) bool { return l.lag <= promise })
}

// report prints the worst lags, by weather and by how people were thrown out.
func (c *court) report(t *testing.T) {
	t.Helper()
	type key struct{ weather, how string }
	number, worst := map[key]int{}, map[key]time.Duration{}
	for _, v := range c.done {
		number[key{v.weather, v.how}]++
	}
	for _, l := range c.admitted() {
		k := key{l.victim.weather, l.victim.how}
		worst[k] = max(worst[k], l.lag)
	}
	for _, weather := range []string{"fine", "cut", "silent"} {
		for _, how := range []string{bySession, byUser, bySignOut} {
			k := key{weather, how}
			t.Logf("subscription %-6s %-11s %4d revocations, worst lag %v", weather, how, number[k], worst[k].Round(time.Millisecond))
		}
	}
}
