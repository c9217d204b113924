package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Refresh, Userinfo and Introspect revisit a login that exists. Nobody looks at
// a page while they wait, so they come after those who sign in: fewer of them
// wait at a time, and they stay away while the provider asks for it. Only answers
// to them count: a visitor who has a code refused must not keep them away.

// maxRevisits wait for one provider at a time.
const maxRevisits = 32

// maxPause bounds the time for which a provider can keep us away.
const maxPause = time.Minute

// unsent is why the provider was not asked at all.
type unsent string

func (e unsent) Error() string { return string(e) }

const (
	errNothingToSend unsent = "there is no token to send"
	errNoEndpoint    unsent = "the provider has no such endpoint"
)

// revisit has call ask the provider about g, if it may be asked now.
func (p *Provider) revisit(ctx context.Context, g Grant, call func(*metadata) (Grant, error)) (Grant, error) {
	if err := p.Ready(); err != nil {
		return Grant{}, err
	}
	if g.Nobody() || g.Issuer != p.config.Issuer {
		return Grant{}, fmt.Errorf("%w: the grant is of another issuer", ErrSubject)
	}
	if until := p.paused.Load(); until != nil && p.config.Now().Before(*until) {
		return Grant{}, unavailable("provider "+p.config.Name, fmt.Errorf("it is left alone until %s", until.UTC().Format(time.RFC3339)))
	}
	select {
	case p.revisits <- struct{}{}:
		defer func() { <-p.revisits }()
	default:
		return Grant{}, unavailable("provider "+p.config.Name, fmt.Errorf("%d revisits wait for it already", maxRevisits))
	}
	grant, err := call(p.metadata.Load())
	p.breathe(ctx, err)
	if err != nil && !errors.Is(err, ErrEnded) {
		p.logRefusal(ctx, err)
	}
	return grant, err
}

// A provider that gave so many revisits in a row no answer is left alone for a
// moment, however many logins there are to ask about.
const (
	maxSilences = 3
	breather    = time.Second
)

// breathe counts what came of a revisit. Only what the network and a 429 or 5xx
// caused speaks for leaving the provider alone; any answer, be it one that cannot
// be used, speaks against it; a revisit that was not sent, or given up, for
// nothing.
func (p *Provider) breathe(ctx context.Context, err error) {
	silence, silent := errors.AsType[*noAnswer](err)
	_, idle := errors.AsType[unsent](err)
	switch {
	case idle, err != nil && !silent && errors.Is(ctx.Err(), context.Canceled):
		return
	case !silent:
		p.silences.Store(0)
		p.paused.Store(nil)
		return
	}
	if !silence.until.IsZero() {
		p.paused.Store(&silence.until)
	}
	if p.silences.Add(1) < maxSilences {
		return
	}
	until := p.config.Now().Add(breather)
	if last := p.paused.Load(); last == nil || last.Before(until) {
		p.paused.CompareAndSwap(last, &until)
	}
}

// retryAfter is when the Retry-After of a 429 or 503 ends (RFC 9110 §10.2.3,
// RFC 6585 §4). It is zero for what is neither seconds nor a date.
func (p *Provider) retryAfter(status int, header http.Header) time.Time {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return time.Time{}
	}
	now := p.config.Now()
	wait, ok := pauseOf(now, header.Get("Retry-After"))
	if !ok {
		return time.Time{}
	}
	return now.Add(wait)
}

func pauseOf(now time.Time, value string) (time.Duration, bool) {
	if date, err := http.ParseTime(value); err == nil {
		return min(date.Sub(now), maxPause), true
	}
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(seconds, uint64(maxPause/time.Second))) * time.Second, true
}
