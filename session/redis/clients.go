package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The three kinds of client are set up alike:
//
// The caller's deadline counts, not only the ones here. A write whose answer is
// lost may have been done: to repeat it would make the winner of a claim lose; so
// the client repeats nothing, and what may be done twice is repeated by twice.
// Nothing here needs RESP3, whose pushes are looked for at each command. The rest
// spares commands that an ACL would have to allow. No replica is ever asked: what
// it answers may be old.
const (
	protocol      = 2
	noRetries     = -1
	oneDial       = 1
	noSecondPool  = -1
	maxRedirects  = 5
	minIdleConns  = 4
	poolSize      = 20 // for each server; a connection is held for one trip
	minBackoff    = 5 * time.Millisecond
	maxBackoff    = 20 * time.Millisecond
	reloadCluster = 5 * time.Second
)

// silence is how long a connection may say nothing.
func (o Options) silence() time.Duration { return o.Timeout * 2 / 5 }

func (o Options) dialTimeout() time.Duration { return 2 * o.Timeout }

func (o Options) login(a address) func(context.Context) (string, string, error) {
	return credentials{a.username, a.password, o.PasswordFile}.get
}

func (o Options) single(a address) *redis.Options {
	return &redis.Options{
		Network: a.network, Addr: a.addrs[0], DB: a.db, TLSConfig: a.tls,
		CredentialsProviderContext: o.login(a),
		ContextTimeoutEnabled:      true,
		DialTimeout:                o.dialTimeout(), ReadTimeout: o.silence(), WriteTimeout: o.silence(), PoolTimeout: o.silence(),
		MaxRetries: noRetries, DialerRetries: oneDial, MinIdleConns: minIdleConns, PoolSize: poolSize,
		Protocol: protocol, DisableIdentity: true, PipelinePoolSize: noSecondPool,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (o Options) failover(a address) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: a.master, SentinelAddrs: a.addrs, DB: a.db, Dialer: o.sentinelDialer(a),
		CredentialsProviderContext: o.login(a),
		ContextTimeoutEnabled:      true,
		DialTimeout:                o.dialTimeout(), ReadTimeout: o.silence(), WriteTimeout: o.silence(), PoolTimeout: o.silence(),
		MaxRetries: noRetries, DialerRetries: oneDial, MinIdleConns: minIdleConns, PoolSize: poolSize,
		Protocol: protocol, DisableIdentity: true, PipelinePoolSize: noSecondPool,
	}
}

func (o Options) cluster(a address) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: a.addrs, TLSConfig: a.tls,
		CredentialsProviderContext: o.login(a),
		ContextTimeoutEnabled:      true,
		DialTimeout:                o.dialTimeout(), ReadTimeout: o.silence(), WriteTimeout: o.silence(), PoolTimeout: o.silence(),
		MaxRetries: noRetries, DialerRetries: oneDial, MinIdleConns: minIdleConns, PoolSize: poolSize,
		Protocol: protocol, DisableIdentity: true, PipelinePoolSize: noSecondPool,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

		// These count what the nodes refuse, too: a slot that moves, or has moved.
		MaxRedirects: maxRedirects, MinRetryBackoff: minBackoff, MaxRetryBackoff: maxBackoff,
		ClusterStateReloadInterval: reloadCluster,
		// Else it would ask for a list of all commands.
		DisableRoutingPolicies: true,
	}
}

// sentinelDialer dials sentinels and servers alike, and signs in to the former:
// the client would do that with one password for ever. Sentinels that are not in
// the address, which the client learns from the others, are not signed in to.
func (o Options) sentinelDialer(a address) func(context.Context, string, string) (net.Conn, error) {
	dial := redis.NewDialer(&redis.Options{DialTimeout: o.dialTimeout(), TLSConfig: a.tls})
	guards := credentials{o.SentinelUsername, o.SentinelPassword, o.SentinelPasswordFile}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil || guards == (credentials{}) || !slices.Contains(a.addrs, addr) {
			return conn, err
		}
		if err := guards.signIn(ctx, conn, o.silence()); err != nil {
			conn.Close()
			return nil, fmt.Errorf("sentinel: %w", err)
		}
		return conn, nil
	}
}

// signIn sends AUTH, and wants to be told that all is well.
func (c credentials) signIn(ctx context.Context, conn net.Conn, patience time.Duration) error {
	username, password, err := c.get(ctx)
	if err != nil {
		return err
	}
	words := []string{"AUTH", password}
	if username != "" {
		words = []string{"AUTH", username, password}
	}
	var request strings.Builder
	fmt.Fprintf(&request, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(word), word)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(request.String())); err != nil {
		return err
	}
	// Nothing comes after the answer, so nothing is lost in the buffer.
	answer, err := bufio.NewReaderSize(conn, 512).ReadSlice('\n')
	switch {
	case err != nil:
		return err
	case string(answer) == "+OK\r\n":
		return conn.SetDeadline(time.Time{})
	}
	// What else it says might repeat the password.
	word, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "-"), " ")
	return errors.New("signing in was refused: " + word)
}
