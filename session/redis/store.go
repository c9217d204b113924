package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// Options say which Redis, and how long to wait for it. Only URL is needed.
type Options struct {
	// URL says where Redis is, each host with a port if need be, with a database
	// number as path, and with a user and password if need be:
	//
	//	redis://host/0                     one server
	//	unix:///path/to/socket?db=0        one server on this machine
	//	redis+sentinel://h1,h2,h3/0?master=name
	//	redis+cluster://h1,h2,h3           some of its nodes; has no other database
	//
	// With rediss instead of redis, all connections have TLS, those to the
	// sentinels included.
	URL string

	// Username, Password and the content of PasswordFile are used instead of those
	// in URL. PasswordFile is read again for every new connection. At most one
	// password may be given.
	Username     string
	Password     oidc.Secret
	PasswordFile string

	// SentinelUsername, SentinelPassword and the content of SentinelPasswordFile,
	// read as often, are for the sentinels in URL: they have users of their own.
	// Without a password, none is asked for.
	SentinelUsername     string
	SentinelPassword     oidc.Secret
	SentinelPasswordFile string

	// Prefix is what every key starts with; empty means "countersign:".
	Prefix string

	// TLS is used with rediss: authorities, a client certificate, and a name of the
	// servers that is not in their addresses. Nil means the system's authorities.
	TLS *tls.Config

	// Timeout is how long one operation may take, waiting for a connection, a
	// second attempt and all; zero means 250 ms. A connection is given up when it
	// has been silent for two fifths of that.
	Timeout time.Duration
}

const (
	defaultPrefix  = "countersign:"
	defaultTimeout = 250 * time.Millisecond
)

// Store is a [session.Store] on Redis. Its errors, but for those of package
// session, begin with "session store:" and hold no key, value or password.
type Store struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // client, if it is one
	prefix  string
	channel string // of changes
	timeout time.Duration
	health  breaker
	ahead   atomic.Int64 // of our clock, in nanoseconds
}

var _ session.Store = (*Store)(nil)

// Open returns a Store. It does not wait for Redis, which may be away; it fails
// for options that can never work. The caller closes the Store.
func Open(o Options) (*Store, error) {
	a, err := o.address()
	if err != nil {
		return nil, fmt.Errorf("session store: %w", err)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	prefix := orElse(o.Prefix, defaultPrefix)
	s := &Store{prefix: prefix, channel: prefix + "changes", timeout: o.Timeout}
	switch a.shape {
	case sentinel:
		s.client = redis.NewFailoverClient(o.failover(a))
	case cluster:
		s.cluster = redis.NewClusterClient(o.cluster(a))
		s.client = s.cluster
	default:
		s.client = redis.NewClient(o.single(a))
	}
	return s, nil
}

// The client would write what it meets to the standard error, beside returning it.
func init() { logging.Disable() }

// address merges o into the address and checks it.
func (o Options) address() (address, error) {
	if strings.ContainsAny(o.Prefix, "{}") {
		return address{}, errors.New("prefix: braces would move the hash tag")
	}
	a, err := parseAddress(o.URL)
	if err != nil {
		return address{}, err
	}
	if a.password != "" && o.Password != "" {
		return address{}, errors.New("password: given twice")
	}
	a.username = orElse(o.Username, a.username)
	if o.Password != "" {
		a.password = o.Password
	}
	if err := (credentials{a.username, a.password, o.PasswordFile}).check(); err != nil {
		return address{}, err
	}
	guards := credentials{o.SentinelUsername, o.SentinelPassword, o.SentinelPasswordFile}
	if a.shape != sentinel && guards != (credentials{}) {
		return address{}, errors.New("sentinel password: there are no sentinels")
	}
	if err := guards.check(); err != nil {
		return address{}, fmt.Errorf("sentinel %w", err)
	}
	if a.tls != nil && o.TLS != nil {
		a.tls = o.TLS.Clone()
	}
	return a, nil
}

// Close closes all connections.
func (s *Store) Close() error { return s.client.Close() }

// Ping implements [session.Store].
func (s *Store) Ping(ctx context.Context) error {
	return s.twice(ctx, "ping", func(ctx context.Context) error { return s.do(ctx, "ping").Err() })
}

// twice is once for what may be done again, as reading and deleting may: it tries
// a second time when the connection failed, as those do that were idle while
// Redis restarted.
func (s *Store) twice(ctx context.Context, operation string, do func(context.Context) error) error {
	return s.once(ctx, operation, func(ctx context.Context) error {
		err := do(ctx)
		if answered(err) || ctx.Err() != nil {
			return err
		}
		return do(ctx)
	})
}

// once does something in bounded time, unless Redis has not answered lately. It
// takes a missing value for session.ErrNotFound.
func (s *Store) once(ctx context.Context, operation string, do func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("session store: %s: %w", operation, err)
	}
	done, ok := s.health.begin()
	if !ok {
		return fmt.Errorf("session store: %s: %w", operation, errSilent)
	}
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	health := unknown // should it panic
	defer func() { done(health) }()
	err := do(bounded)
	switch {
	case answered(err):
		health = healthy
	case over(ctx) != nil && time.Since(began) < s.timeout*2/5:
		// The caller was in a hurry.
	default:
		health = sick
		if s.cluster != nil {
			s.cluster.ReloadState(ctx) // another node may have taken over
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil), errors.Is(err, session.ErrNotFound):
		return session.ErrNotFound
	case errors.Is(err, session.ErrExists):
		return session.ErrExists
	case errors.Is(err, session.ErrConflict):
		return session.ErrConflict
	case !answered(err) && over(ctx) != nil:
		err = over(ctx)
	}
	return fmt.Errorf("session store: %s: %w", operation, withoutArguments(err))
}

// over is ctx.Err, but for a deadline that the connection met first.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// errSilent is the answer while Redis gives none.
var errSilent = errors.New("no answer lately, not asked")

// answered reports whether err came from Redis itself.
func answered(err error) bool {
	var reply redis.Error
	if err != nil && signedOff(err) {
		return false
	}
	return err == nil || errors.As(err, &reply) || errors.Is(err, errUnknownAnswer) || errors.Is(err, session.ErrNotFound) ||
		errors.Is(err, session.ErrExists) || errors.Is(err, session.ErrConflict)
}

// withoutArguments cuts what an old Redis, or a proxy, repeats of a command that
// it does not know: for HELLO, that would be the password.
func withoutArguments(err error) error {
	if text, _, found := strings.Cut(err.Error(), ", with args"); found {
		return errors.New(text)
	}
	return err
}

// signedOff reports whether Redis does not know us: a password was changed at one
// end only. To try again at each request would be a connection each.
func signedOff(err error) bool {
	return strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "NOAUTH")
}
