package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxBody bounds every answer of a provider, after decompression.
const maxBody = 1 << 20

// newClient returns a client that follows no redirect: a provider's endpoints
// are those that it announced, and a redirect could point into our network.
func newClient(rt http.RoundTripper, timeout time.Duration) *http.Client {
	if rt == nil {
		rt = newTransport(timeout)
	}
	return &http.Client{
		Transport:     bounded{rt},
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    timeout,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		MaxConnsPerHost:        2 * maxExchanges,
		IdleConnTimeout:        90 * time.Second,
	}
}

// bounded asks for JSON and ends a body with an error at its bound.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", "application/json")
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody)
	return resp, nil
}

// reply is a whole answer, read to its end so that the connection is used again.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// noAnswer is what the network, or a 429 or 5xx of the provider, leaves of an
// answer.
type noAnswer struct {
	err   error
	until time.Time // the end of Retry-After; zero where the provider named none
}

func (e *noAnswer) Error() string { return e.err.Error() }
func (e *noAnswer) Unwrap() error { return e.err }

// do sends req and reads the answer. Its errors are all ErrUnavailable, and but
// for a body out of bounds and a caller that went away they hold a [*noAnswer].
func (p *Provider) do(req *http.Request, who string) (reply, error) {
	resp, err := p.client.Do(req)
	if err != nil {
		p.doubt()
		return reply{}, unavailable(who, cutOff(req.Context(), err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		until := p.retryAfter(resp.StatusCode, resp.Header)
		return reply{}, unavailable(who, &noAnswer{fmt.Errorf("status %d", resp.StatusCode), until})
	}
	if err != nil {
		return reply{}, unavailable(who, cutOff(req.Context(), err))
	}
	return reply{resp.StatusCode, resp.Header, body}, nil
}

// cutOff is err as a noAnswer, if the network caused it.
func cutOff(ctx context.Context, err error) error {
	if _, long := errors.AsType[*http.MaxBytesError](err); long || errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return &noAnswer{err: err}
}

// get reads a public document of the provider. Anything but a 200 is
// ErrUnavailable, and never a [*noAnswer]: these documents are read for anybody,
// and what comes of it keeps no session from being asked about.
func (p *Provider) get(ctx context.Context, who, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, unavailable(who, err)
	}
	r, err := p.do(req, who)
	if silence, ok := errors.AsType[*noAnswer](err); ok {
		return nil, unavailable(who, silence.err)
	}
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, unavailable(who, fmt.Errorf("status %d (redirects are not followed)", r.status))
	}
	return r.body, nil
}

// decode reads one JSON value and nothing after it. Numbers stay as they were
// written, so that an integer beyond 2^53 survives.
func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("not the JSON expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("not the JSON expected: more than one value")
	}
	return nil
}
