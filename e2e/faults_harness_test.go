package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/server"
	"github.com/countersign/countersign/session/redis/redistest"
)

// world is a stack whose parts can go away and come back.
type world struct {
	*stack
	idp *outlet
}

// fault says what of a world is different from a stack.
type fault struct {
	people  []oidctest.Person     // that the provider knows; nil: those of all tests
	options func(*server.Options) // further ones, of a Countersign in this process
	away    bool                  // provider and Redis are, when Countersign starts
}

// publicPath is below the one rule of the default world that asks nobody.
const publicPath = "/public/page"

const worldApps = `
  - url: https://app.example.test
    allow: everyone
    token: {audience: api, claims: {email: user.email}}
    rules:
      - {path: /public/**, access: public}
      - {path: /**}
`

// newWorld starts a world. Its Redis keeps an append-only file, so that what it
// acknowledged is there after it was stopped.
func newWorld(t *testing.T, o setup, f fault) *world {
	t.Helper()
	requireEnvoy(t)
	if o.Apps == "" {
		o.Apps = worldApps
	}
	o.Routes = []route{{"/", "api"}}
	w := &world{stack: &stack{setup: o, files: writeFiles(t)}}
	w.redis = redistest.Start(t, "--appendonly", "yes")
	w.idp = startOutlet(t, f.people)
	w.provider = &provider{issuer: w.idp.Issuer(), Provider: w.idp.Provider}
	if f.away {
		w.redis.Stop()
		w.idp.goAway()
	}
	w.startNetworks(t)
	for range max(1, o.Replicas) {
		if o.Process {
			w.replicas = append(w.replicas, startProcess(t, w.configuration()))
		} else {
			w.replicas = append(w.replicas, startWith(t, w.configuration(), f.options))
		}
	}
	w.startUpstreams(t)
	w.startEnvoy(t)
	if !f.away {
		for _, c := range w.replicas {
			c.awaitReady(t)
		}
	}
	return w
}

// outlet is where oidctest's provider is plugged in: it can be unplugged, and
// it keeps what the token endpoint answered.
type outlet struct {
	*oidctest.Provider

	tb      testing.TB
	address string
	server  *http.Server // nil while away

	mu      sync.Mutex
	answers [][]byte // of the token endpoint; guarded by mu
}

func startOutlet(t *testing.T, known []oidctest.Person) *outlet {
	t.Helper()
	if known == nil {
		known = people
	}
	o := &outlet{tb: t, address: freeAddress(t)}
	var err error
	o.Provider, err = oidctest.New(oidctest.Config{
		Issuer: "http://" + o.address,
		People: known,
		Clients: []oidctest.Client{{
			ID: clientID, Secret: clientSecret, AlwaysRefresh: true,
			RedirectURIs: []string{
				"https://" + host + "/oauth2/callback", "https://other.example.test/oauth2/callback",
			},
			PostLogoutRedirectURIs: []string{"https://" + host + "/oauth2/signed_out"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.comeBack()
	t.Cleanup(o.goAway)
	return o
}

// comeBack listens where the outlet always did.
func (o *outlet) comeBack() {
	o.tb.Helper()
	var l net.Listener
	eventually(o.tb, startTimeout, func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", o.address)
		return err == nil
	}, func() string { return "the provider's address is taken" })
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
	go o.server.Serve(l) //nolint:errcheck // says that it was closed
}

// goAway ends all connections and takes no more.
func (o *outlet) goAway() {
	if o.server != nil {
		o.server.Close() //nolint:errcheck // says so if the listener was closed before
		o.server = nil
	}
}

// ServeHTTP lets the provider answer, and keeps what it answered to a code.
func (o *outlet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/token") {
		o.Provider.ServeHTTP(w, r)
		return
	}
	kept := &keeping{ResponseWriter: w}
	o.Provider.ServeHTTP(kept, r)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers = append(o.answers, kept.body.Bytes())
}

// issued returns the bodies of the token endpoint's answers so far.
func (o *outlet) issued() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.answers)
}

// keeping keeps what is written.
type keeping struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (k *keeping) Write(b []byte) (int, error) {
	k.body.Write(b)
	return k.ResponseWriter.Write(b)
}

// freeAddress is where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// decided is how many decisions had that reason, of all apps.
func (c *countersign) decided(t *testing.T, reason string) int {
	t.Helper()
	return c.metric(t, "countersign_decisions_total", `reason="`+reason+`"`)
}

// metric is the sum over the series that have a label, or of the only one.
func (c *countersign) metric(t *testing.T, name, label string) int {
	t.Helper()
	status, body := plainGet(t, "http://"+c.health+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: status %d: %s", status, body)
	}
	var sum float64
	for line := range strings.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if called, labels, _ := strings.Cut(series, "{"); called == name && strings.Contains(labels, label) {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("/metrics: %s", line)
			}
			sum += n
		}
	}
	return int(sum)
}

// kind is a sort of request in a load.
type kind struct {
	name, path string
	lines      []string
}

// shot is one request of a load, and what came of it.
type shot struct {
	kind   string
	at     time.Time
	took   time.Duration
	status int
	header http.Header
	err    error
}

type shots []shot

// load sends requests at a steady rate, whatever becomes of them.
type load struct {
	began time.Time
	end   chan struct{}
	done  chan struct{}

	mu    sync.Mutex
	shots shots // guarded by mu
}

// Bounds on a load.
const (
	maxUnderWay = 2_000
	maxShots    = 15_000
)

var errOverrun = errors.New("not sent: too many are under way")

// fire begins a load of so many requests a second, taking the kinds in turn.
func (s *stack) fire(t *testing.T, perSecond int, kinds ...kind) *load {
	t.Helper()
	l := &load{began: time.Now(), end: make(chan struct{}), done: make(chan struct{})}
	transport := &http.Transport{TLSClientConfig: s.tls("http/1.1"), DialContext: s.dialContext, MaxIdleConnsPerHost: maxUnderWay}
	client := &http.Client{
		Transport: transport, Timeout: 15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ctx := t.Context()
	go func() {
		defer close(l.done)
		defer transport.CloseIdleConnections()
		var underWay sync.WaitGroup
		defer underWay.Wait()
		slots := make(chan struct{}, maxUnderWay)
		for i := range maxShots {
			due := time.NewTimer(time.Until(l.began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
			select {
			case <-due.C:
			case <-l.end:
				due.Stop()
				return
			}
			k := kinds[i%len(kinds)]
			select {
			case slots <- struct{}{}:
				underWay.Go(func() { l.add(k.send(ctx, client)); <-slots })
			default:
				l.add(shot{kind: k.name, at: time.Now(), err: errOverrun})
			}
		}
	}()
	t.Cleanup(func() { l.stop() })
	return l
}

func (k kind) send(ctx context.Context, client *http.Client) shot {
	s := shot{kind: k.name, at: time.Now()}
	defer func() { s.took = time.Since(s.at) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+k.path, nil)
	if s.err = err; err != nil {
		return s
	}
	for _, line := range k.lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if s.err = err; err != nil {
		return s
	}
	defer resp.Body.Close()
	s.status, s.header = resp.StatusCode, resp.Header
	_, s.err = io.Copy(io.Discard, resp.Body)
	s.took = time.Since(s.at)
	return s
}

func (l *load) add(s shot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shots = append(l.shots, s)
}

// stop ends the load and returns all that was sent, in order, once it is answered.
func (l *load) stop() shots {
	select {
	case <-l.end:
	default:
		close(l.end)
	}
	<-l.done
	slices.SortFunc(l.shots, func(a, b shot) int { return a.at.Compare(b.at) })
	return l.shots
}

// of returns the shots of these kinds.
func (all shots) of(kinds ...string) shots {
	var some shots
	for _, s := range all {
		for _, k := range kinds {
			if s.kind == k {
				some = append(some, s)
			}
		}
	}
	return some
}

// between returns those that were sent and answered in a time.
func (all shots) between(from, to time.Time) shots {
	var some shots
	for _, s := range all {
		if !s.at.Before(from) && !s.at.Add(s.took).After(to) {
			some = append(some, s)
		}
	}
	return some
}

// rate is how many a second were sent in a time.
func (all shots) rate(from, to time.Time) float64 {
	n := 0
	for _, s := range all {
		if !s.at.Before(from) && s.at.Before(to) && s.err == nil {
			n++
		}
	}
	return float64(n) / to.Sub(from).Seconds()
}

// slowest is the longest time that an answer took.
func (all shots) slowest() time.Duration {
	var most time.Duration
	for _, s := range all {
		most = max(most, s.took)
	}
	return most
}

// median is the time within which half of the answers came.
func (all shots) median() time.Duration {
	var took []time.Duration
	for _, s := range all {
		took = append(took, s.took)
	}
	if slices.Sort(took); len(took) == 0 {
		return 0
	}
	return took[len(took)/2]
}

// mustAll fails the test for each kind of answer that is not as it should be,
// and if there is none at all.
func (all shots) mustAll(t *testing.T, what string, status int) {
	t.Helper()
	if len(all) == 0 {
		t.Errorf("%s: nothing was sent", what)
	}
	wrong := map[string]int{}
	for _, s := range all {
		switch {
		case s.err != nil:
			wrong[s.err.Error()]++
		case s.status != status:
			wrong[strconv.Itoa(s.status)]++
		}
	}
	for answer, n := range wrong {
		t.Errorf("%s: %d of %d were answered with %s, want %d", what, n, len(all), answer, status)
	}
}

// navigation and script are what browsers say about a request.
var (
	navigation = []string{"Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	script     = []string{"Accept: application/json", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}
)

// adding returns lines and one more, without changing them.
func adding(lines []string, more string) []string {
	return append(slices.Clip(lines), more)
}
