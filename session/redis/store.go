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
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// Options say which Redis, and how long to wait for it. Only URL is needed.
type Options struct {
	// URL is redis://, rediss:// (with TLS) or unix://, with a database number as
	// path (as ?db= with unix), and a user and password if need be.
	URL string

	// Username, Password and the content of PasswordFile are used instead of those
	// in URL. PasswordFile is read again for every new connection. At most one
	// password may be given.
	Username     string
	Password     oidc.Secret
	PasswordFile string

	// Prefix is what every key starts with; empty means "countersign:".
	Prefix string

	// TLS is used with rediss://; nil means the system's authorities.
	TLS *tls.Config

	// Timeout is how long one operation may take, waiting for a connection, a
	// second attempt and all; zero means 250 ms. A connection is given up when it
	// has been silent for two fifths of that.
	Timeout time.Duration
}

const (
	defaultPrefix  = "countersign:"
	defaultTimeout = 250 * time.Millisecond
	minIdleConns   = 4
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
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	silence := timeout * 2 / 5
	client := redis.NewClient(&redis.Options{
		Network: a.network, Addr: a.addr, DB: a.db, TLSConfig: a.tls,
		CredentialsProviderContext: o.credentials(a),

		// The caller's deadline counts, not only the ones below.
		ContextTimeoutEnabled: true,
		DialTimeout:           2 * timeout, ReadTimeout: silence, WriteTimeout: silence, PoolTimeout: silence,

		// A write whose answer is lost may have been done: to repeat it would make
		// the winner of a claim lose. What may be done twice is repeated by twice.
		MaxRetries: -1, DialerRetries: 1,
		MinIdleConns: minIdleConns,

		// Nothing here needs RESP3, whose pushes are looked for at each command. The
		// rest spares commands that an ACL would have to allow.
		Protocol: 2, DisableIdentity: true, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	prefix := o.Prefix
	if prefix == "" {
		prefix = defaultPrefix
	}
	return &Store{client: client, prefix: prefix, channel: prefix + "changes", timeout: timeout}, nil
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
	if a.password != "" && (o.Password != "" || o.PasswordFile != "") || o.Password != "" && o.PasswordFile != "" {
		return address{}, errors.New("password: given twice")
	}
	if o.Username != "" {
		a.username = o.Username
	}
	if o.Password != "" {
		a.password = o.Password
	}
	if o.PasswordFile != "" {
		if a.password, err = readPassword(o.PasswordFile); err != nil {
			return address{}, err
		}
	}
	if a.username != "" && a.password == "" {
		return address{}, errors.New("password: is missing, and without one the user would not be asked for")
	}
	if a.tls != nil && o.TLS != nil {
		name := a.tls.ServerName
		if a.tls = o.TLS.Clone(); a.tls.ServerName == "" {
			a.tls.ServerName = name
		}
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
	err := do(bounded)
	switch {
	case answered(err):
		done(healthy)
	case over(ctx) != nil && time.Since(began) < s.timeout*2/5:
		done(unknown) // the caller was in a hurry
	default:
		done(sick)
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
	return err == nil || errors.As(err, &reply) || errors.Is(err, session.ErrNotFound) ||
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
