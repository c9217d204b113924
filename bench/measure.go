package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// sample is what one server showed in one round.
type sample struct {
	CPU      time.Duration // per check
	Allocs   float64       // per check
	PerSec   float64
	P50, P99 time.Duration
	Signed   float64 // signatures while it was measured
	Reads    float64 // commands to Redis about sessions, per check
}

// round holds a sample of each server, by its name.
type round map[string]sample

func (r round) ratio(name string) float64 { return float64(r[name].CPU) / float64(r[noop].CPU) }

// lab is what the servers of a run share.
type lab struct {
	redis   *redisServer
	cookies []string
}

// measureRound measures all servers. Who is first changes with every round.
func (l *lab) measureRound(ctx context.Context, i, requests int) (round, error) {
	order := []string{noop, hot, miss}
	r := round{}
	for k := range order {
		name := order[(i+k)%len(order)]
		s, err := l.measure(ctx, name, requests)
		if err == nil {
			err = s.check(name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r[name] = s
	}
	return r, nil
}

// check says what must not be, however fast it was.
func (s sample) check(name string) error {
	switch {
	case s.Signed != 0:
		return fmt.Errorf("%v signatures for sessions that have a token, want none", s.Signed)
	case name != miss && s.Reads != 0:
		return fmt.Errorf("%v commands to Redis for each check, want none", s.Reads)
	case name == miss && (s.Reads < 0.99 || s.Reads > 1): // two that meet share one
		return fmt.Errorf("%v commands to Redis for each check, want one", s.Reads)
	}
	return nil
}

// measure starts a server, warms it up, and counts what n requests cost it.
func (l *lab) measure(ctx context.Context, name string, n int) (sample, error) {
	var s sample
	err := l.withLoad(ctx, name, n, func(c *child, load *load) error {
		signed, err := c.signatures(ctx)
		if err != nil {
			return err
		}
		reads, err := l.redis.reads(ctx)
		if err != nil {
			return err
		}
		before, err := c.ask("usage")
		if err != nil {
			return err
		}
		began := time.Now()
		took, err := load.run(ctx, n)
		if err != nil {
			return err
		}
		elapsed := time.Since(began)
		after, err := c.ask("usage")
		if err != nil {
			return err
		}
		readsNow, err := l.redis.reads(ctx)
		if err != nil {
			return err
		}
		now, err := c.signatures(ctx)
		s = sample{
			CPU:    (after.CPU - before.CPU) / time.Duration(n),
			Allocs: float64(after.Mallocs-before.Mallocs) / float64(n),
			PerSec: float64(n) / elapsed.Seconds(),
			P50:    took[n/2], P99: took[n*99/100],
			Signed: now - signed,
			Reads:  float64(readsNow-reads) / float64(n),
		}
		return err
	})
	return s, err
}

// profile writes a CPU profile of a server under n requests to path.
func (l *lab) profile(ctx context.Context, name string, n int, path string) error {
	return l.withLoad(ctx, name, n, func(c *child, load *load) error {
		if _, err := c.ask("profile " + path); err != nil {
			return err
		}
		_, err := load.run(ctx, n)
		return err
	})
}

// withLoad calls do with a server that has answered a tenth of n requests, and
// stops it afterwards.
func (l *lab) withLoad(ctx context.Context, name string, n int, do func(*child, *load) error) (err error) {
	c, err := start(ctx, name, l.redis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	var cookies []string
	if name != noop {
		cookies = l.cookies
		if err := awaitReady(ctx, c.where.Metrics); err != nil {
			return err
		}
	}
	load, err := newLoad(c.where, cookies)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	if _, err := load.run(ctx, n/10+10*connections*perConn+len(cookies)); err != nil {
		return err
	}
	time.Sleep(settle)
	if _, err := load.run(ctx, 4*len(cookies)); err != nil { // what was read before it heard is read again
		return err
	}
	return do(c, load)
}

// settle is how long a server may take until it hears of changes.
const settle = 1500 * time.Millisecond

// child is a server in a process of its own. It ends when its input does, so
// also when this process is killed.
type child struct {
	where   where
	process *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func start(ctx context.Context, name string, store *redisServer) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{process: exec.CommandContext(ctx, self, "serve", name)} //nolint:gosec // this very program
	c.process.Env = append(os.Environ(), "GOMAXPROCS=1", redisVariable+"="+store.url(users[name]))
	c.process.Stderr = os.Stderr
	c.process.WaitDelay = 5 * time.Second
	if c.in, err = c.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = json.NewDecoder(out)
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	if err := c.answers.Decode(&c.where); err != nil {
		return nil, errors.Join(fmt.Errorf("it does not start: %w", err), c.stop())
	}
	return c, nil
}

// users are who the servers are to Redis.
var users = map[string]string{noop: hearing, hot: hearing, miss: deaf}

// ask sends a line and returns the usage that the server answers.
func (c *child) ask(line string) (usage, error) {
	var u usage
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return u, err
	}
	err := c.answers.Decode(&u)
	return u, err
}

func (c *child) stop() error {
	return errors.Join(c.in.Close(), c.process.Wait())
}

// signatures reads from the server's metrics how many tokens it has signed. A
// server that has none to show after the warm-up has not counted them.
func (c *child) signatures(ctx context.Context) (float64, error) {
	if c.where.Metrics == "" {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.where.Metrics, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var sum float64
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 1<<20))
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "countersign_tokens_minted_total{") {
			continue
		}
		_, value, _ := strings.Cut(lines.Text(), "} ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metrics: %w", err)
		}
		sum += n
	}
	if sum == 0 {
		return 0, errors.New("metrics: countersign_tokens_minted_total counts nothing")
	}
	return sum, lines.Err()
}
