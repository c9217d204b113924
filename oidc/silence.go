package oidc

import (
	"context"
	"net/http"
	"time"
)

// A provider that is silent, so that nobody can connect to it, could not show
// anybody a sign-in page either. Logins are not begun then: a page of ours that
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
	for {
		pause := probeEvery
		if p.silent() != nil {
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
		if p.metadata.Load() != nil {
			p.probe(ctx)
		}
	}
}

// probe asks for the metadata. Any answer ends the silence, whatever it says.
func (p *Provider) probe(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.discoveryURL(), http.NoBody)
	if err != nil {
		return
	}
	resp, err := p.client.Do(req)
	switch {
	case err == nil:
		p.silence.Store(nil)
		resp.Body.Close()
	case ctx.Err() == nil:
		p.silence.Store(&err)
	}
}
