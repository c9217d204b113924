// Bench measures what a Check takes of a session that is remembered, and of one
// that has to be read, beside a no-op ext_authz server in the same run.
//
//	go run ./bench [-rounds 5] [-requests 30000] [-json] [-cpuprofile FILE]
//
// Each round starts all servers anew, one after the other and in changing order,
// each in a process of its own with GOMAXPROCS=1. The no-op says OK and nothing
// else. The other two are the whole of Countersign, put together from a
// configuration, with its sessions in a real Redis: "hot" remembers them; "miss"
// is a user of Redis that may not subscribe, so that it hears of no change and
// reads the session at each check. All get the same CheckRequests, as Envoy sends
// them with encode_raw_headers: 25 header lines, 1.4 KB, the session's cookie among
// them, and with a deadline, since Envoy always has one. They come over the
// loopback from a closed loop in this process, after a tenth as many that only
// warm up.
//
// How to read the table: the last column is the result. CPU is what the kernel
// counted for the server's process, user and system, divided by the checks, so
// it depends little on what else the machine does. The ratio is the median of
// the rounds' own ratios, which a machine that grows slower does not move;
// the lines below the table show how far the rounds were apart, and a claim
// smaller than that is none. Latencies and checks per second are those of a
// server that is kept busy by a neighbour on the same machine: compare them with
// the no-op's, not with the clock. Allocations are those of the whole process,
// gRPC and decoding too; what the no-op has not is ours.
//
// A goal that is missed is said, and is no failure: the exit status is 0. It is
// 1 where an answer was not OK or had no assertion, where a token was signed
// although one was at hand, where a hot session asked Redis anything or another
// one more than once, or where a server did not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "serve" {
		return serve(args[1], os.Stdin, os.Stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return bench(ctx, args, os.Stdout, os.Stderr)
}

// options are the flags.
type options struct {
	rounds   int
	requests int // per round and server
	json     bool
	profile  string // file for a CPU profile of one more round; empty: none
}

const (
	maxRounds   = 100
	maxRequests = 10_000_000
)

func parse(args []string, progress io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.IntVar(&o.rounds, "rounds", 5, "how often each server is started and measured")
	flags.IntVar(&o.requests, "requests", 30_000, "checks per round and server")
	flags.BoolVar(&o.json, "json", false, "print JSON, for programs")
	flags.StringVar(&o.profile, "cpuprofile", "", "afterwards, write a CPU profile of Countersign under the same load to `FILE`")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.rounds < 1 || o.rounds > maxRounds:
		return options{}, fmt.Errorf("-rounds must be 1 to %d", maxRounds)
	case o.requests < 1 || o.requests > maxRequests:
		return options{}, fmt.Errorf("-requests must be 1 to %d", maxRequests)
	}
	return o, nil
}

// bench measures, and prints the report to out.
func bench(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	store, err := startRedis(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.stop()) }()
	l, err := newLab(ctx, store)
	if err != nil {
		return err
	}
	var rounds []round
	for i := range o.rounds {
		r, err := l.measureRound(ctx, i, o.requests)
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		fmt.Fprintf(progress, "round %d of %d: %s %.1f µs, %s %.2f times that, %s %.2f\n", i+1, o.rounds,
			noop, micros(r[noop].CPU), hot, r.ratio(hot), miss, r.ratio(miss))
		rounds = append(rounds, r)
	}
	if o.profile != "" {
		if err := l.profile(ctx, hot, o.requests, o.profile); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		fmt.Fprintf(progress, "profile in %s: go tool pprof -http=: %[1]s\n", o.profile)
	}
	weight, err := weighSessions(ctx, store)
	if err != nil {
		return fmt.Errorf("sizes: %w", err)
	}
	report := newReport(o, rounds, weight)
	if o.json {
		return report.writeJSON(out)
	}
	return report.writeTable(out)
}

// newLab makes the sessions that the checks are about.
func newLab(ctx context.Context, s *redisServer) (*lab, error) {
	v, store, err := open(s.url(hearing))
	if err != nil {
		return nil, err
	}
	tokens, err := makeSessions(ctx, v, hotSessions)
	if err := errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	return &lab{redis: s, cookies: cookies(tokens)}, nil
}
