package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// metadata is what a provider announces about itself (OpenID Connect Discovery
// 1.0 §3). It is never changed, only replaced.
type metadata struct {
	Issuer           string   `json:"issuer"`
	Authorization    string   `json:"authorization_endpoint"`
	Token            string   `json:"token_endpoint"`
	JWKS             string   `json:"jwks_uri"`
	Userinfo         string   `json:"userinfo_endpoint"`
	Introspection    string   `json:"introspection_endpoint"` // RFC 8414 §2
	EndSession       string   `json:"end_session_endpoint"`
	AuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	ChallengeMethods []string `json:"code_challenge_methods_supported"`               // RFC 8414 §2
	Prompts          []string `json:"prompt_values_supported"`                        // Initiating User Registration 1.0 §3
	SendsIssuer      bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3

	endpoint oauth2.Endpoint
}

// How often a provider is asked again: after a good answer, so that a key it
// has withdrawn is forgotten too, and after a bad one, with full jitter.
const (
	discoverEvery = 15 * time.Minute
	backoffFirst  = 250 * time.Millisecond
	backoffMost   = 30 * time.Second
)

// Run discovers the provider, and reads its metadata and keys again now and
// then. What was read last stays good when reading it again fails. It returns
// nil when ctx ends.
func (p *Provider) Run(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; {
		wait := discoverEvery
		if err := p.discover(ctx); err != nil && ctx.Err() == nil {
			p.config.Log.LogAttrs(ctx, slog.LevelWarn, "provider metadata or keys not read",
				slog.String("provider", p.config.Name), slog.Any("error", err))
			wait = backoff(failures)
			failures++
		} else {
			failures = 0
		}
		p.rest(ctx, wait)
	}
	return nil
}

// Ready returns nil once the provider has been discovered and while it answers,
// else an error that says what is wrong in words for an operator. It is
// ErrUnavailable.
func (p *Provider) Ready() error {
	if p.metadata.Load() != nil {
		return p.silent()
	}
	if problem := p.problem.Load(); problem != nil {
		return fmt.Errorf("provider %s: %w", p.config.Name, *problem)
	}
	return unavailable("provider "+p.config.Name, errors.New("not discovered yet"))
}

// backoff picks a wait between zero and a limit that doubles with each failure.
func backoff(failures int) time.Duration {
	limit := backoffMost
	if failures < 7 {
		limit = min(limit, backoffFirst<<failures)
	}
	n, _ := rand.Int(rand.Reader, big.NewInt(int64(limit))) // never fails with this reader since Go 1.24
	return time.Duration(n.Int64())
}

// discover reads the metadata, and then the keys, without which a login that
// can begin could not end.
func (p *Provider) discover(ctx context.Context) error {
	m, err := p.fetchMetadata(ctx)
	if err != nil {
		p.problem.Store(&err)
		return err
	}
	p.warnWithoutS256(ctx, m)
	p.problem.Store(nil)
	p.silence.Store(nil)
	if p.metadata.Swap(m) == nil {
		p.config.Log.LogAttrs(ctx, slog.LevelInfo, "provider discovered", slog.String("provider", p.config.Name))
	}
	return p.keys.fetch(ctx)
}

// discoveryURL is where the metadata is (OpenID Connect Discovery 1.0 §4).
func (p *Provider) discoveryURL() string {
	return strings.TrimSuffix(p.config.Issuer, "/") + "/.well-known/openid-configuration"
}

func (p *Provider) fetchMetadata(ctx context.Context) (*metadata, error) {
	const who = "discovery"
	body, err := p.get(ctx, who, p.discoveryURL())
	if err != nil {
		return nil, err
	}
	m := new(metadata)
	if err := decode(body, m); err != nil {
		return nil, unavailable(who, err)
	}
	if err := p.completeMetadata(m); err != nil {
		return nil, unavailable(who, err)
	}
	return m, nil
}

// completeMetadata checks m, and derives what is used of it.
func (p *Provider) completeMetadata(m *metadata) error {
	// OpenID Connect Discovery 1.0 §4.3: identical, or another provider's keys
	// would vouch for this one's people.
	if m.Issuer != p.config.Issuer {
		return fmt.Errorf("the provider calls itself %q, the configuration %q: they must be equal to the letter",
			clip(m.Issuer), p.config.Issuer)
	}
	plain := strings.HasPrefix(p.config.Issuer, "http:")
	for _, e := range []struct {
		name, url string
		required  bool
	}{
		{"authorization_endpoint", m.Authorization, true},
		{"token_endpoint", m.Token, true},
		{"jwks_uri", m.JWKS, true},
		{"userinfo_endpoint", m.Userinfo, false},
		{"introspection_endpoint", m.Introspection, false},
		{"end_session_endpoint", m.EndSession, false},
	} {
		if e.url == "" && !e.required {
			continue
		}
		if err := checkEndpoint(e.url, plain); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	style, err := p.authStyle(m.AuthMethods)
	if err != nil {
		return err
	}
	m.endpoint = oauth2.Endpoint{AuthURL: m.Authorization, TokenURL: m.Token, AuthStyle: style}
	return nil
}

// checkEndpoint refuses what would carry a code or a token in the clear. plain
// is for an issuer on loopback, whose endpoints may be there too.
func checkEndpoint(endpoint string, plain bool) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not a usable URL", clip(endpoint))
	}
	if u.Scheme == "https" || plain && u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%q does not begin with https://", clip(endpoint))
}

// authStyle is settled before the first exchange: to try one and then the other
// would send a code twice.
func (p *Provider) authStyle(announced []string) (oauth2.AuthStyle, error) {
	method := p.config.AuthMethod
	if method == AuthDiscovered {
		switch {
		case len(announced) == 0, slices.Contains(announced, string(AuthBasic)):
			method = AuthBasic
		case slices.Contains(announced, string(AuthPost)):
			method = AuthPost
		default:
			return 0, fmt.Errorf("the provider takes neither %s nor %s", AuthBasic, AuthPost)
		}
	}
	if method == AuthBasic {
		return oauth2.AuthStyleInHeader, nil
	}
	return oauth2.AuthStyleInParams, nil
}

// warnWithoutS256 speaks once. S256 is sent whatever the provider announces
// (RFC 9700 §2.1.1); a provider that ignores it leaves the nonce to stop an
// injected code.
func (p *Provider) warnWithoutS256(ctx context.Context, m *metadata) {
	if slices.Contains(m.ChallengeMethods, "S256") {
		return
	}
	p.warnPKCE.Do(func() {
		p.config.Log.LogAttrs(ctx, slog.LevelWarn, "provider does not announce PKCE with S256",
			slog.String("provider", p.config.Name), slog.Any("code_challenge_methods_supported", m.ChallengeMethods),
			slog.String("hint", "S256 is sent all the same; ask the provider whether it is enforced"))
	})
}
