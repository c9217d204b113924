package e2e_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// badDay is a fault, and what people see of it. The zero wants are that nobody
// sees anything.
type badDay struct {
	fault, expected string // for the table
	setting
	lasts time.Duration

	// begin makes the fault; what it returns ends it. It runs in the test's
	// goroutine, and so does meanwhile, if there is more to do while it lasts.
	begin     func(d *day) (end func())
	meanwhile func(d *day)

	// until, if not nil, looks at the end of the fault, or at its end without one, or
	// waits for what there is to see.
	until func(d *day, o *outcome)

	want wants

	// shows reports whether the fault can be seen in what came of it. It must be so
	// with the fault, and must not be so in the control run, which is the same
	// story without it, and no longer than five seconds: a fault that was not there
	// is noticed.
	shows func(d *day, o *outcome) bool
}

// setting is what the world of a bad day is made of. The zero setting is two
// replicas, each with a network of its own to one Redis that forgets when it
// is killed.
type setting struct {
	session string                   // keys of session; empty: outageKeys
	flags   []string                 // of Redis
	store   func(d *day)             // starts another store than one Redis
	edit    func(file string) string // changes the configuration of the replicas
	skewed  time.Duration            // by that much the clock of the second replica is ahead
	alone   bool                     // the second replica is asked nothing without the fault
	door    int                      // the replica at which people sign in and out
}

// wants is what must be seen while a fault lasts. Before, everything is fine, and
// so it is again afterwards, without a restart of ours.
type wants struct {
	known   []int // a session that the replica remembers; nil: 200
	unknown []int // one that it has to read; nil: 200
	login   []int // a login that was under way; nil: 303
	signOut []int // nil: 303

	// fades is how long a known session passes at least, less a second; from two
	// and a half seconds later on none does. 0: as known says.
	fades time.Duration

	only  *int     // the one replica that sees the fault; nil: all do
	lost  []string // who has to sign in again, since there is no other way
	calls int      // of the provider, at most; 0: usualCalls
}

// Bounds on every bad day. They are for machines that have other things to do, too.
const (
	outageKeys     = "store_outage: 5s\nidle: 30s"
	warming        = 1200 * time.Millisecond // before the fault
	settling       = time.Second             // after it began, either may be seen
	acting         = 1500 * time.Millisecond // into the fault, somebody comes back from the provider, and somebody leaves
	longestControl = 5 * time.Second
	healing        = 40 * time.Second // at most, for whatever has to be waited out
	slowestAnswer  = 8 * time.Second
	mostRoutines   = 300 // of a replica
	mostFiles      = 100 // and connections, of a replica
	mostDials      = 60  // to Redis, of a replica in a second
	usualCalls     = 30
)

// TestBadDays runs each of them, and the same story without its fault.
func TestBadDays(t *testing.T) {
	days := slices.Concat(slowDays, providerDays, shapeDays, redisDays)
	if len(days) == 0 {
		t.Fatal("there are no bad days")
	}
	seen, control := make([]string, len(days)), make([]string, len(days))
	var running sync.WaitGroup
	slots := make(chan struct{}, storiesAtOnce)
	tell := func(story func()) {
		slots <- struct{}{}
		running.Go(func() { defer func() { <-slots }(); story() })
	}
	for i, b := range days {
		tell(func() { seen[i] = b.test(t, b.fault, true) })
		tell(func() { control[i] = b.test(t, b.fault+" control", false) })
	}
	running.Wait()
	var table strings.Builder
	table.WriteString("| fault | expected | seen | seen without the fault |\n|---|---|---|---|\n")
	for i, b := range days {
		if seen[i]+control[i] != "" { // else -run asked for others
			fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", b.fault, b.expected, seen[i], control[i])
		}
	}
	show(t, table.String())
}

// storiesAtOnce is how many go on at a time. They wait most of it; more of them
// would wait for each other.
const storiesAtOnce = 8

// test runs the story as a test of its own, and returns what was seen.
func (b badDay) test(t *testing.T, name string, faulty bool) (seen string) {
	t.Helper()
	t.Run(strings.NewReplacer(" ", "_", ",", "", "(", "", ")", "").Replace(name), func(t *testing.T) {
		seen = "FAILED"
		if o := b.run(t, faulty); !t.Failed() {
			seen = o.String()
		}
	})
	return seen
}

// show prints what `+"`make chaos`"+` gathers, or puts it into the log.
func show(t *testing.T, table string) {
	t.Helper()
	if os.Getenv("COUNTERSIGN_CHAOS") != "" {
		fmt.Print("\n" + table)
	} else {
		t.Logf("\n%s", table)
	}
}

// outcome is what came of a day.
type outcome struct {
	shots                    shots
	leaving, away, ending    time.Time // the fault begins; is there; begins to end
	back, healed             time.Time
	login, signOut           int // the answers
	loginTook                time.Duration
	later                    string // what became of the login that was not answered
	left                     time.Time
	goroutines, files, calls int // at most
	dials                    float64
	note                     string        // what a row has to say beside
	waited                   time.Duration // until a row's until was content
	stalls                   int           // of the machine
	noticed                  int           // people who had to sign in again
}

// String is for the table.
func (o *outcome) String() string {
	text := fmt.Sprintf("known %s; unknown %s; login %d%s; sign-out %d",
		o.during("known"), o.during("unknown"), o.login, o.later, o.signOut)
	if o.noticed > 0 {
		text += fmt.Sprintf("; %d sign in again", o.noticed)
	}
	if o.note != "" {
		text += "; " + o.note
	}
	return text + fmt.Sprintf("; slowest %.1f s; healed in %.1f s; at most %d goroutines, %d files, %.0f dials/s, %d calls",
		o.shots.slowest().Seconds(), o.healed.Sub(o.back).Seconds(), o.goroutines, o.files, o.dials, o.calls)
}

// while returns the shots of a kind while the fault lasted.
func (o *outcome) while(kind string) shots {
	return o.shots.of(kind+"/0", kind+"/1").between(o.away, o.ending)
}

// during says how often which answer was given.
func (o *outcome) during(kind string) string {
	var parts []string
	for _, status := range []int{200, 302, 503} {
		if n := o.while(kind).count(status); n > 0 {
			parts = append(parts, fmt.Sprintf("%d (%d)", status, n))
		}
	}
	return strings.Join(parts, " ")
}

// run tells the story.
func (b badDay) run(t *testing.T, faulty bool) *outcome {
	t.Helper()
	if !faulty {
		b.lasts = min(b.lasts, longestControl)
	}
	d := startDay(t, b.setting, faulty)
	d.gather()
	o := &outcome{}
	load := d.watch()
	time.Sleep(warming)
	before := d.count()

	o.leaving = time.Now()
	end := func() {}
	if faulty {
		end = b.begin(d)
	}
	d.begun.Store(true)
	o.away = time.Now()
	if faulty && b.meanwhile != nil {
		b.meanwhile(d)
	}
	time.Sleep(time.Until(o.away.Add(min(acting, b.lasts/2))))
	d.act(o)
	d.measure(o)
	time.Sleep(time.Until(o.away.Add(b.lasts)))
	d.measure(o)
	if b.until != nil {
		b.until(d, o)
	}
	o.ending = time.Now()
	d.since(o, before)
	o.shots = load.soFar()
	shown := b.shows(d, o)
	end()
	o.back = time.Now()

	want := b.want
	if !faulty {
		want = wants{}
	}
	d.heal(o, want)
	time.Sleep(settling)
	o.shots, o.stalls = load.stop(), load.felt()
	want.judge(d, o)
	if shown != faulty {
		t.Errorf("the fault shows: %v, want %v; %v", shown, faulty, o)
	}
	return o
}
