package oidc

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// AuthMethod is how the client proves itself at the token endpoint (OpenID
// Connect Core 1.0 §9). The zero AuthMethod leaves it to discovery.
type AuthMethod string

// The authentication methods.
const (
	AuthDiscovered AuthMethod = ""                    // basic where the provider takes it or says nothing, else post
	AuthBasic      AuthMethod = "client_secret_basic" // RFC 6749 §2.3.1
	AuthPost       AuthMethod = "client_secret_post"  // RFC 6749 §2.3.1
	AuthNone       AuthMethod = "none"                // a public client, which has PKCE alone
)

// Config is one client at one provider. Name, Issuer, ClientID and, but for
// [AuthNone], ClientSecret are required.
type Config struct {
	Name         string // names the provider in Attempt, Identity and the log
	Issuer       string // https, or http on loopback; to the letter as the provider states it
	ClientID     string
	ClientSecret Secret
	AuthMethod   AuthMethod

	Scopes    []string // default openid, email, profile; openid must be among them
	ACRValues []string // asked for as acr_values; the ID token's acr must then be one of them

	// AssumeEmailVerified vouches for an e-mail address that comes without
	// email_verified. It never overrides a false.
	AssumeEmailVerified bool

	// GroupsClaim is the dotted path of the groups: a list of strings, or one
	// string, which is one group. Default "groups".
	GroupsClaim string

	// Algorithms may sign ID tokens. Default, and all that is possible: RS, PS and
	// ES with 256, 384 and 512, and EdDSA. None that is symmetric, and never none.
	Algorithms []string

	Timeout   time.Duration     // of each call to the provider; default 10 s
	Transport http.RoundTripper `json:"-"` // default: one of its own
	Log       *slog.Logger      `json:"-"` // default: discards
	Now       func() time.Time  `json:"-"` // default time.Now
}

// Provider is one client at one provider. It is safe for concurrent use. It has
// to be discovered ([Provider.Run]) before it can do anything.
type Provider struct {
	config     Config
	algorithms []jose.SignatureAlgorithm
	wanted     []string // claims that userinfo is asked for when the ID token lacks them
	client     *http.Client
	keys       *keys

	metadata atomic.Pointer[metadata]  // nil until discovered
	problem  atomic.Pointer[error]     // of the latest discovery; nil when there is none
	silence  atomic.Pointer[error]     // why it is taken to be away; nil while it answers
	doubts   chan struct{}             // holds a value when it should be probed now
	exchange chan struct{}             // holds a value for each exchange under way
	revisits chan struct{}             // holds a value for each revisit under way
	silences atomic.Int32              // revisits in a row without an answer
	paused   atomic.Pointer[time.Time] // before it there are no revisits; nil for no such time
	warnPKCE sync.Once
}

// maxExchanges wait for one provider at a time. A provider that hangs holds so
// many goroutines and sockets, and no more.
const maxExchanges = 64

var knownAlgorithms = []string{
	gooidc.RS256, gooidc.RS384, gooidc.RS512, gooidc.PS256, gooidc.PS384, gooidc.PS512,
	gooidc.ES256, gooidc.ES384, gooidc.ES512, gooidc.EdDSA,
}

// New checks the configuration and returns everything that is wrong with it,
// joined. It speaks to nobody.
func New(c Config) (*Provider, error) {
	wanted := c.wanted()
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &Provider{
		config:   c,
		wanted:   wanted,
		client:   newClient(c.Transport, c.Timeout),
		exchange: make(chan struct{}, maxExchanges),
		revisits: make(chan struct{}, maxRevisits),
		doubts:   make(chan struct{}, 1),
	}
	for _, a := range c.Algorithms {
		p.algorithms = append(p.algorithms, jose.SignatureAlgorithm(a))
	}
	p.keys = &keys{get: p.fetchKeys, now: c.Now}
	return p, nil
}

// Name is the provider's configured name.
func (p *Provider) Name() string { return p.config.Name }

// Format implements fmt.Formatter. package fmt does not ask a Secret within an
// unexported field how to print it, so a provider prints as its name.
func (p *Provider) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "provider "+p.config.Name) }

// Issuer is the provider's issuer identifier.
func (p *Provider) Issuer() string { return p.config.Issuer }

// wanted lists the claims that the configuration asks for. No scope stands for
// groups, so they are wanted only where somebody named them.
func (c Config) wanted() []string {
	c.Scopes = c.scopes()
	var claims []string
	if slices.Contains(c.Scopes, "email") {
		claims = append(claims, "email")
		if !c.AssumeEmailVerified {
			claims = append(claims, "email_verified")
		}
	}
	if slices.Contains(c.Scopes, "profile") {
		claims = append(claims, "name")
	}
	if c.GroupsClaim != "" || slices.Contains(c.Scopes, defaultGroups) {
		claims = append(claims, cmp.Or(c.GroupsClaim, defaultGroups))
	}
	return claims
}

const defaultGroups = "groups"

func (c Config) scopes() []string {
	if len(c.Scopes) == 0 {
		return []string{gooidc.ScopeOpenID, "email", "profile"}
	}
	return slices.Clone(c.Scopes)
}

func (c Config) withDefaults() Config {
	c.Scopes = c.scopes()
	c.ACRValues = slices.Clone(c.ACRValues)
	c.GroupsClaim = cmp.Or(c.GroupsClaim, defaultGroups)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Algorithms = slices.Clone(c.Algorithms)
	if len(c.Algorithms) == 0 {
		c.Algorithms = knownAlgorithms
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.Name == "" {
		wrong("name: is required")
	}
	if err := checkIssuer(c.Issuer); err != nil {
		wrong("issuer: %w", err)
	}
	if c.ClientID == "" {
		wrong("client_id: is required")
	}
	switch c.AuthMethod {
	case AuthDiscovered, AuthBasic, AuthPost:
		if c.ClientSecret == "" {
			wrong("client_secret: is required")
		}
	case AuthNone:
	default:
		wrong("auth_method: %q is not known", c.AuthMethod)
	}
	if !slices.Contains(c.Scopes, gooidc.ScopeOpenID) {
		wrong("scopes: openid must be among them")
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(knownAlgorithms, a) {
			wrong("algorithms: %q is not one of %s", a, strings.Join(knownAlgorithms, ", "))
		}
	}
	if c.Timeout < 0 {
		wrong("timeout: must be positive")
	}
	return errors.Join(errs...)
}

// checkIssuer applies OpenID Connect Discovery 1.0 §3: an https URL without
// query and fragment. Loopback may do without TLS, where nobody listens.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#"):
		return fmt.Errorf("%q must have a host, and neither user, query nor fragment", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q must begin with https:// (http:// is for loopback only)", issuer)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
