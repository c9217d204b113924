package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
)

// hotSessions are those that the checks are about, in turn. There are more than
// checks under way, so that no two read the same one at once.
const hotSessions = 64

// sessionKey seals the sessions of a run; nobody else sees them.
var sessionKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("bench", 7)[:32]))

// patience is for a Redis that is busy with others.
const patience = 5 * time.Second

// open returns a Vault with the keys of the servers.
func open(url string) (*session.Vault, *redis.Store, error) {
	store, err := redis.Open(redis.Options{URL: url, Timeout: patience})
	if err != nil {
		return nil, nil, err
	}
	keys, err := session.ParseKeyring([]byte(sessionKey))
	if err != nil {
		return nil, nil, err
	}
	return &session.Vault{Store: store, Sealer: keys, Absolute: 12 * time.Hour, Idle: time.Hour}, store, nil
}

// makeSessions signs n people in, without asking anybody, and returns the
// Tokens.
func makeSessions(ctx context.Context, v *session.Vault, n int) ([]session.Token, error) {
	tokens := make([]session.Token, n)
	for i := range tokens {
		t, _, err := v.Create(ctx, time.Now(), session.Login{App: appName, Grant: grant(i), Browser: "Chrome on Linux", Claimed: time.Now()})
		if err != nil {
			return nil, err
		}
		tokens[i] = t
	}
	return tokens, nil
}

// grant is what a provider gives somebody: claims of a common number, tokens of a
// common size.
func grant(i int) oidc.Grant {
	groups := []string{
		"staff", "engineering", "platform", "oncall", "release-managers", "security-readers",
		"grafana-editors", "vpn", "wiki", "payroll-self-service", "berlin", "everyone",
	}
	return oidc.Grant{
		Identity: oidc.Identity{
			Provider: providerName, Issuer: issuer, Subject: fmt.Sprintf("f8a2c1d0-4711-4b7e-9d55-%012d", i),
			Email: "alice@example.org", Name: "Alice Liddell", Username: "alice", Groups: groups,
			SessionID: fmt.Sprintf("9c1f7a52-6f0e-4b0e-8a52-%012d", i),
			Claims: map[string]any{
				"email": "alice@example.org", "email_verified": true, "name": "Alice Liddell", "preferred_username": "alice",
				"groups": groups, "department": "Platform", "locale": "en-GB", "employee_number": 4711,
			},
		},
		IDToken: filler(900), Access: filler(1100), Refresh: filler(600), Expires: time.Now().Add(12 * time.Hour),
	}
}

func filler(n int) oidc.Secret { return oidc.Secret(strings.Repeat("x", n)) }

// cookies are those of tokens, as a browser sends them.
func cookies(tokens []session.Token) []string {
	all := make([]string, len(tokens))
	for i, t := range tokens {
		all[i] = session.CookieName(appName, true) + "=" + t.Reveal()
	}
	return all
}

// weight is what a session takes, in bytes.
type weight struct {
	Redis  int `json:"redis"`  // with its tokens and lists
	Cached int `json:"cached"` // where it is remembered
}

// weighed is how many sessions are weighed.
const weighed = 5_000

// weighSessions makes some thousand sessions, and has them remembered.
func weighSessions(ctx context.Context, s *redisServer) (w weight, err error) {
	v, store, err := open(s.url(hearing))
	if err != nil {
		return weight{}, err
	}
	defer store.Close() //nolint:errcheck // it was only read
	before, err := s.memory(ctx)
	if err != nil {
		return weight{}, err
	}
	tokens, err := makeSessions(ctx, v, weighed)
	if err != nil {
		return weight{}, err
	}
	after, err := s.memory(ctx)
	if err != nil {
		return weight{}, err
	}
	empty := heap()
	for _, t := range tokens {
		if _, err := v.Load(ctx, time.Now(), t); err != nil {
			return weight{}, err
		}
	}
	full := heap()
	runtime.KeepAlive(v)
	return weight{Redis: (after - before) / weighed, Cached: (full - empty) / weighed}, nil
}

// heap is how many bytes are in use.
func heap() int {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
