package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a Redis of our own, without a file. It ends with this process.
type redisServer struct {
	address string
	process *exec.Cmd
	client  *redis.Client
}

// The users of that Redis. A server that may not subscribe hears of no change, so
// that it believes in nothing that it remembers: every check reads the session.
const (
	hearing = "hearing"
	deaf    = "deaf"
	pass    = "bench"
)

func startRedis(ctx context.Context) (_ *redisServer, err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is needed: run scripts/parts.sh redis")
	}
	l, err := listen()
	if err != nil {
		return nil, err
	}
	s := &redisServer{address: l.Addr().String()}
	_, port, err := net.SplitHostPort(s.address)
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	//nolint:gosec // the redis-server that was found, on a port of ours
	s.process = exec.CommandContext(ctx, path, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
		"--user", hearing, "on", ">"+pass, "~*", "&*", "+@all",
		"--user", deaf, "on", ">"+pass, "~*", "&*", "+@all", "-subscribe")
	s.process.Stderr = os.Stderr
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	s.client = redis.NewClient(&redis.Options{Addr: s.address, Protocol: 2, DisableIdentity: true})
	for range 200 {
		if err = s.client.Ping(ctx).Err(); err == nil {
			return s, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, errors.Join(fmt.Errorf("redis-server does not answer: %w", err), s.stop())
}

func (s *redisServer) stop() error {
	err := s.client.Close()
	if kill := s.process.Process.Kill(); kill != nil {
		return errors.Join(err, kill)
	}
	_ = s.process.Wait() // says that it was killed
	return err
}

// url is where one of the users finds it.
func (s *redisServer) url(user string) string {
	return fmt.Sprintf("redis://%s:%s@%s", user, pass, s.address)
}

var calls = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`)

// reads is how many commands there were so far that have to do with a session:
// all but those by which a server hears of changes and of the time.
func (s *redisServer) reads(ctx context.Context) (int, error) {
	info, err := s.client.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, m := range calls.FindAllStringSubmatch(info, -1) {
		switch name, _, _ := strings.Cut(m[1], "|"); name {
		case "publish", "subscribe", "time", "ping", "info", "hello", "auth", "client", "select", "acl", "config":
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// memory is how many bytes Redis uses for what it keeps.
func (s *redisServer) memory(ctx context.Context) (int, error) {
	info, err := s.client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	digits, _, _ := bytes.Cut([]byte(rest), []byte("\r\n"))
	return strconv.Atoi(string(digits))
}
