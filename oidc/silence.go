package oidc

import (
	"context"
	"io"
	"net/http"
	"time"
)

// A provider that is silent, so that it gives no answer of any kind twice in a
// row, could not show anybody a sign-in page either. Logins are not begun then: a page of ours that
// says so is better than a browser's that says nothing.

// How often a provider is asked whether it is there.
const (
	probeEvery  = 10 * time.Second
	probeSilent = time.Second // while it is not
)

// doubt has the provider probed at once, after a request that got no answer.
func (p *Provider) doubt() {
	select {
	case p.doubts <- struct{}{}:
	default: // somebody doubts already
	}
}

// silent returns why the provider is taken to be away, or nil.
func (p *Provider) silent() error {
	if err := p.silence.Load(); err != nil {
		return unavailable("provider "+p.config.Name, *err)
	}
	return nil
}

// rest waits, and asks a provider that was discovered now and then whether it is
// still there.
func (p *Provider) rest(ctx context.Context, wait time.Duration) {
	end := time.NewTimer(wait)
	defer end.Stop()
	misses := 0
	for {
		pause := probeEvery
		if misses > 0 || p.silent() != nil {
			pause = probeSilent
		}
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-p.doubts:
		case <-time.After(pause):
		}
		if p.metadata.Load() == nil {
			continue
		}
		err := p.probe(ctx)
		if err == nil {
			misses = 0
			p.silence.Store(nil)
		} else if misses++; misses > 1 {
			p.silence.Store(&err)
		}
	}
}

// probe asks for the metadata. Any answer will do, whatever it says.
func (p *Provider) probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.discoveryURL(), http.NoBody)
	if err != nil {
		return nil // that says nothing about the provider
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	return nil
}
