package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/oidc"
)

// Client asks an admin listener. Its errors are a *Problem when it answered that
// it did not do what it was asked for; any other means that it may have done it.
type Client struct {
	base  string // up to the path
	token oidc.Secret
	http  *http.Client
}

const (
	// maxAnswer bounds an answer: some 600 bytes for each of the most sessions.
	maxAnswer     = 64 << 20
	dialTimeout   = 5 * time.Second
	clientTimeout = timeout + 10*time.Second
)

// NewClient returns a Client for the listener at base: http://host:port,
// https://host:port or unix:///path. It knows no proxy, which would see the token.
func NewClient(base string, token oidc.Secret) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("address: is not a URL")
	}
	c := &Client{base: "http://admin", token: token}
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: dialTimeout}
	switch {
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, errors.New("address: must have no user, parameters or #")
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", u.Path)
		}
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && strings.Trim(u.Path, "/") == "":
		c.base = u.Scheme + "://" + u.Host
	default:
		return nil, errors.New("address: must be http://host:port, https://host:port or unix:///path")
	}
	c.http = &http.Client{
		Transport: transport, Timeout: clientTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// List returns the sessions that s means, all if it is zero, but at most limit;
// zero means 1000.
func (c *Client) List(ctx context.Context, s Selector, limit int) (List, error) {
	q := s.query()
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var list List
	err := c.do(ctx, http.MethodGet, q, &list)
	return list, err
}

// Revoke ends the sessions that s means and returns how many there were.
func (c *Client) Revoke(ctx context.Context, s Selector) (int, error) {
	var revoked Revoked
	err := c.do(ctx, http.MethodDelete, s.query(), &revoked)
	return revoked.Revoked, err
}

func (c *Client) do(ctx context.Context, method string, q url.Values, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path+"?"+q.Encode(), nil)
	if err != nil {
		return errors.New("address: is not a URL")
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	resp, err := c.http.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // it repeats the query, with the name of a person
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxAnswer))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusOK && kind == "application/json":
		if err := body.Decode(answer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		return nil
	case kind == "application/problem+json":
		p := new(Problem)
		if err := body.Decode(p); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		p.Status = resp.StatusCode
		return p
	}
	return fmt.Errorf("answer: status %d, which is none of an admin listener", resp.StatusCode)
}
