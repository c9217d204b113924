package oidctest

import (
	"net/url"
	"slices"
)

// Event is something that a provider counts: a request to one of its endpoints
// or what came of it.
type Event string

// The events. A request counts even when a [Fault] answers it.
const (
	Discovery     Event = "discovery"
	Keys          Event = "keys"
	Authorize     Event = "authorize"
	PasswordSent  Event = "password_sent" // a sign-in form came back, with whatever in it
	TokenAsked    Event = "token"
	RefreshAsked  Event = "refresh" // such a one with a refresh token, whatever came of it
	Introspection Event = "introspection"
	Revocation    Event = "revocation"
	Userinfo      Event = "userinfo"
	EndSession    Event = "end_session"
	ForgedKeys    Event = "forged_keys"    // somebody followed a jku or x5u header of a [Forgery]
	CodeSpent     Event = "code_spent"     // a code was exchanged for tokens
	Refreshed     Event = "refreshed"      // a refresh token was
	ReplayRefused Event = "replay_refused" // a spent code or refresh token came again
)

// maxHistory is how many requests of a kind a provider remembers.
const maxHistory = 64

// TokenRequest is a request to the token endpoint. Form is without client_secret.
type TokenRequest struct {
	Client     string // as claimed
	AuthMethod string // client_secret_basic or client_secret_post
	Form       url.Values
}

type log struct {
	counts         map[Event]int
	authorizations []url.Values
	tokens         []TokenRequest
}

// Count returns how often event has happened.
func (p *Provider) Count(event Event) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.counts[event]
}

// Authorizations returns the parameters of the last authorization requests, at
// most 64, oldest first.
func (p *Provider) Authorizations() []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log.authorizations)
}

// TokenRequests returns the last requests to the token endpoint, at most 64,
// oldest first.
func (p *Provider) TokenRequests() []TokenRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log.tokens)
}

func (p *Provider) count(event Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.add(event)
}

func (p *Provider) remember(request url.Values) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.authorizations = lastFew(append(p.log.authorizations, request))
}

func (p *Provider) rememberToken(request TokenRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.tokens = lastFew(append(p.log.tokens, request))
}

func (l *log) add(event Event) {
	if l.counts == nil {
		l.counts = map[Event]int{}
	}
	l.counts[event]++
}

func lastFew[T any](all []T) []T {
	return slices.Clone(all[max(0, len(all)-maxHistory):])
}
