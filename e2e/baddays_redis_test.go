package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
)

// asSilent is what is seen while Redis gives no answer: who is remembered passes for
// store_outage, and nobody is sent to sign in.
var asSilent = wants{unknown: []int{503}, login: []int{503}, signOut: []int{503}}

// asReadable is what is seen while Redis answers, and takes no writes.
var asReadable = wants{login: []int{503}, signOut: []int{503}}

const (
	silentExpected   = "known pass; unknown 503; login and sign-out 503"
	readableExpected = "all who are signed in pass; login and sign-out 503"
)

// unread reports whether people were told that nobody knows.
func unread(_ *day, o *outcome) bool { return o.mostly("forged", http.StatusServiceUnavailable) }

// unkept reports whether a login was told that it cannot be kept.
func unkept(_ *day, o *outcome) bool { return o.login == http.StatusServiceUnavailable }

// redisDays are faults of one Redis, and of the way there.
var redisDays = []badDay{
	{
		fault: "Redis slow, 50 ms", expected: "nobody notices", lasts: 3 * time.Second,
		begin: weathered(weather{latency: 50 * time.Millisecond}),
		want:  wants{login: []int{303, 503}},
		shows: func(_ *day, o *outcome) bool { return o.while("forged").median() >= 50*time.Millisecond },
	},
	{
		fault: "Redis slow, 500 ms", expected: silentExpected, lasts: 3 * time.Second,
		begin: weathered(weather{latency: 500 * time.Millisecond}), want: asSilent, shows: unread,
	},
	{
		fault: "Redis hangs, and does later what it was sent", expected: silentExpected, lasts: 3 * time.Second,
		begin: func(d *day) func() {
			began := time.Now()
			d.redis.Do("CLIENT", "PAUSE", 3500, "ALL")
			return func() { time.Sleep(time.Until(began.Add(3500 * time.Millisecond))) }
		},
		want: asSilent, shows: unread,
	},
	{
		fault: "Redis frozen (SIGSTOP)", expected: silentExpected, lasts: 3 * time.Second,
		begin: func(d *day) func() { d.redis.Freeze(); return d.redis.Thaw }, want: asSilent, shows: unread,
	},
	{
		fault: "connections reset every 50 ms", expected: "known pass; unknown pass or 503; never to sign in", lasts: 3 * time.Second,
		begin: resetting, want: wants{unknown: []int{200, 503}, login: []int{303, 503}, signOut: []int{303, 503}},
		shows: func(_ *day, o *outcome) bool { return o.dials > 8 },
	},
	{
		fault: "connections black-holed", expected: silentExpected, lasts: 3 * time.Second,
		begin: weathered(weather{blackHole: true}), want: asSilent, shows: unread,
	},
	{
		fault: "Redis killed", expected: silentExpected, lasts: 3 * time.Second,
		setting: setting{flags: onDisk},
		begin:   func(d *day) func() { d.redis.Kill(); return d.redis.StartAgain }, want: asSilent, shows: unread,
	},
	{
		fault: "Redis killed, store_outage 5s", expected: "known pass for 5 s, then 503; unknown 503 at once", lasts: 10 * time.Second,
		setting: setting{flags: onDisk},
		begin:   func(d *day) func() { d.redis.Kill(); return d.redis.StartAgain },
		want: wants{
			known: []int{200, 503}, fades: 5 * time.Second,
			unknown: []int{503}, login: []int{503}, signOut: []int{503},
		},
		shows: unread,
	},
	{
		fault: "Redis killed, store_outage 0s", expected: "everybody 503 within a second", lasts: 4 * time.Second,
		setting: setting{flags: onDisk, session: "store_outage: 0s\nidle: 30s"},
		begin:   func(d *day) func() { d.redis.Kill(); return d.redis.StartAgain },
		want: wants{
			known: []int{200, 503}, fades: 600 * time.Millisecond,
			unknown: []int{503}, login: []int{503}, signOut: []int{503},
		},
		shows: unread,
	},
	{
		fault: "Redis restarted from disk", expected: "known pass; unknown pass, or 503 for a moment", lasts: 3 * time.Second,
		setting: setting{flags: onDisk}, begin: restarted, want: wants{unknown: []int{200, 503}},
		shows: anotherRun,
	},
	{
		fault: "Redis restarted empty", expected: "exception: everybody signs in again", lasts: 3 * time.Second,
		begin: restarted,
		want: wants{
			known: []int{302}, unknown: []int{302},
			lost: []string{"alice", "bob", "erin"},
		},
		shows: func(d *day, o *outcome) bool { return anotherRun(d, o) && o.while("known").count(http.StatusFound) > 0 },
	},
	{
		fault: "replica that is read-only", expected: readableExpected, lasts: 3 * time.Second,
		begin: func(d *day) func() {
			d.redis.Do("REPLICAOF", "127.0.0.1", "1")
			return func() { d.redis.Do("REPLICAOF", "NO", "ONE") }
		},
		want: asReadable, shows: unkept,
	},
	{
		fault: "Redis out of memory (noeviction)", expected: readableExpected, lasts: 3 * time.Second,
		begin: func(d *day) func() {
			d.redis.Do("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1mb")
			return func() { d.redis.Do("CONFIG", "SET", "maxmemory", "0") }
		},
		want: asReadable, shows: unkept,
	},
	{
		fault: "password changed, its file later", expected: silentExpected, lasts: 3 * time.Second,
		setting: setting{store: withPassword, edit: namingUser}, begin: rotated,
		want: asSilent, shows: unread,
	},
	{
		fault: "script cache flushed, all the time", expected: "nobody notices", lasts: 3 * time.Second,
		begin: flushing,
		until: func(d *day, o *outcome) {
			o.note = fmt.Sprintf("%d scripts brought", d.unknownScripts()-d.firstUnknown)
		},
		// A script that nobody needed before is brought without a fault, too.
		shows: func(d *day, _ *outcome) bool { return d.unknownScripts()-d.firstUnknown > 2 },
	},
	{
		fault: "one replica cut off from Redis", expected: "there: known pass for 5 s, unknown 503; at the other nothing", lasts: 10 * time.Second,
		begin: func(d *day) func() {
			d.networks[1].set(weather{blackHole: true})
			return func() { d.networks[1].set(weather{}) }
		},
		want: wants{only: new(1), known: []int{200, 503}, fades: 5 * time.Second, unknown: []int{503}},
		shows: func(_ *day, o *outcome) bool {
			all := o.while("forged").of("forged/1")
			return 2*all.count(http.StatusServiceUnavailable) > len(all)
		},
	},
	{
		fault: "record in a newer format", expected: "503 for the one whose it is; left alone", lasts: 3 * time.Second,
		begin: reformatted, want: wants{unknown: []int{503}},
		shows: func(_ *day, o *outcome) bool { return o.mostly("unknown", http.StatusServiceUnavailable) },
	},
	{
		fault: "record damaged", expected: "exception: the one whose it is signs in again", lasts: 3 * time.Second,
		begin: damaged,
		want:  wants{unknown: []int{302}, lost: []string{"bob"}},
		shows: func(_ *day, o *outcome) bool { return o.mostly("unknown", http.StatusFound) },
	},
}

// onDisk has Redis keep what it acknowledged.
var onDisk = []string{"--appendonly", "yes"}

// weathered gives all networks a weather.
func weathered(w weather) func(*day) func() {
	return func(d *day) func() {
		for _, n := range d.networks {
			n.set(w)
		}
		return func() {
			for _, n := range d.networks {
				n.set(weather{})
			}
		}
	}
}

// resetting closes every connection again and again.
func resetting(d *day) func() {
	return repeatedly(d, 50*time.Millisecond, func() {
		for _, n := range d.networks {
			n.reset(false)
		}
	})
}

// repeatedly does something until it is ended.
func repeatedly(d *day, every time.Duration, do func()) (end func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-stop:
				return
			}
		}
	})
	end = sync.OnceFunc(func() { close(stop); running.Wait() })
	d.t.Cleanup(end)
	return end
}

// restarted kills Redis, and starts it again.
func restarted(d *day) func() {
	d.redis.Kill()
	d.redis.StartAgain()
	return func() {}
}

// anotherRun reports whether the Redis that answers is not the one of the beginning.
func anotherRun(d *day, _ *outcome) bool { return d.runID() != d.firstRun }

// runID names the process that answers.
func (d *day) runID() string {
	_, rest, _ := strings.Cut(fmt.Sprint(d.redis.Do("INFO", "server")), "run_id:")
	id, _, _ := strings.Cut(rest, "\r")
	return id
}

const (
	firstPassword  = "first-hunter2"
	secondPassword = "second-hunter2"
)

// withPassword starts a Redis whose user is allowed what has to be, and no more.
func withPassword(d *day) {
	d.startRedis()
	d.redis.SetUser("countersign", firstPassword, redis.ACL(""))
	d.setup.RedisKey = "password_file: " + d.files.write(d.t, "redis-password", []byte(firstPassword+"\n"))
}

// namingUser says in the configuration who the user is.
func namingUser(file string) string {
	return strings.Replace(file, `url: "redis://`, `url: "redis://countersign@`, 1)
}

// rotated changes the password at Redis, and later in the file.
func rotated(d *day) func() {
	d.redis.Do("ACL", "SETUSER", "countersign", "resetpass", ">"+secondPassword)
	d.redis.Do("CLIENT", "KILL", "USER", "countersign")
	return func() { d.files.write(d.t, "redis-password", []byte(secondPassword+"\n")) }
}

// flushing has Redis forget its scripts again and again.
func flushing(d *day) func() {
	return repeatedly(d, 100*time.Millisecond, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d.poke.ScriptFlush(ctx) // whether it did is seen by what comes of it
	})
}

// unknownScripts is how often Redis was asked for a script that it did not know.
func (d *day) unknownScripts() int { return d.errors(d.redis, "NOSCRIPT") }

// errors is how often a Redis answered with an error of a kind.
func (d *day) errors(at *redistest.Server, kind string) int {
	d.t.Helper()
	_, rest, found := strings.Cut(fmt.Sprint(at.Do("INFO", "errorstats")), "errorstat_"+kind+":count=")
	if !found {
		return 0
	}
	text, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.Atoi(text)
	if err != nil {
		d.t.Fatalf("INFO errorstats says %q", text)
	}
	return n
}

// reformatted puts what a newer version may have sealed in the place of bob's record.
func reformatted(d *day) func() {
	const newer = "\x02 a format of the future"
	key := d.key("bob")
	was := fmt.Sprint(d.redis.Do("HGET", key, "sealed"))
	d.redis.Do("HSET", key, "sealed", newer)
	return func() {
		if now := fmt.Sprint(d.redis.Do("HGET", key, "sealed")); now != newer {
			d.t.Error("the record was not left alone")
		}
		d.redis.Do("HSET", key, "sealed", was)
	}
}

// damaged changes the last bit of bob's record.
func damaged(d *day) func() {
	key := d.key("bob")
	sealed := []byte(fmt.Sprint(d.redis.Do("HGET", key, "sealed")))
	sealed[len(sealed)-1] ^= 1
	d.redis.Do("HSET", key, "sealed", sealed)
	return func() {
		if now := fmt.Sprint(d.redis.Do("HGET", key, "sealed")); now != string(sealed) {
			d.t.Error("the record was not left alone")
		}
	}
}
