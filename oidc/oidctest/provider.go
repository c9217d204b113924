package oidctest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says who the provider is and whom it knows. New reads it once; what
// may change later has a method of [Provider].
type Config struct {
	Issuer  string // the provider's address, without a trailing slash; its path is where the endpoints begin
	Clients []Client
	People  []Person

	Algorithm            string           // signs the ID tokens: ES256, RS256 or EdDSA; empty is ES256
	ShowPeople           bool             // the sign-in page lists People with their passwords
	ClaimsInUserinfoOnly bool             // ID tokens carry no claim about the person but sub
	ACRs                 []string         // the levels of authentication, weakest first; nil is "1", "2"
	AccessLife           time.Duration    // of access and ID tokens; zero is 5 minutes
	RefreshLife          time.Duration    // of refresh tokens; zero is 24 hours
	SessionLife          time.Duration    // of the single sign-on session; zero is 8 hours
	Now                  func() time.Time // nil is time.Now
}

// Client is a relying party. All clients are confidential.
type Client struct {
	ID                     string
	Secret                 string   `json:"-"`
	Name                   string   // shown to people; empty is ID
	RedirectURIs           []string // compared character by character (RFC 9700 §4.1.3)
	PostLogoutRedirectURIs []string // the same
	AlwaysRefresh          bool     // gives refresh tokens to those who did not ask for offline_access, too
}

// Person is somebody who can sign in.
type Person struct {
	Username      string
	Password      string `json:"-"`
	Subject       string // empty is a value derived from Username, and different from it
	Name          string // scope profile, with preferred_username
	Email         string // scope email
	EmailVerified bool
	Groups        []string       // scope groups
	Claims        map[string]any // further claims, in every scope; those of the protocol win over them
}

// String is the client's ID: its secret must not be printed.
func (c Client) String() string { return c.ID }

// String is the person's username: the password must not be printed.
func (person Person) String() string { return person.Username }

// Provider is an OpenID provider. Create it with [New] or [Serve]. Its methods
// may be called at the same time, also while it serves.
type Provider struct {
	config  Config
	path    string // of the issuer, "" for none
	handler http.Handler
	forger  *forger

	mu       sync.Mutex // guards everything below
	lies     Lies
	clients  map[string]Client
	people   []Person
	keys     []key // the first signs, all are published
	codes    shelf[*login]
	access   shelf[*login]
	refresh  shelf[*login]
	sessions shelf[session]
	log      log
}

// New returns a provider, which is an [http.Handler] for everything below the
// path of its issuer. Its error reports all mistakes of c together.
func New(c Config) (*Provider, error) {
	c = c.withDefaults()
	p := &Provider{config: c, clients: map[string]Client{}}
	issuer, err := readIssuer(c.Issuer)
	mistakes := []error{err}
	for _, client := range c.Clients {
		mistakes = append(mistakes, p.SetClient(client))
	}
	for _, person := range c.People {
		mistakes = append(mistakes, p.SetPerson(person))
	}
	current, err := newKey(c.Algorithm)
	mistakes = append(mistakes, err)
	p.forger, err = newForger(c.Now())
	if err := errors.Join(append(mistakes, err)...); err != nil {
		return nil, err
	}
	p.keys, p.path = []key{current}, issuer.Path
	p.handler = p.routes()
	return p, nil
}

// readIssuer takes an issuer whose endpoints can be routed: a brace in its path
// would be a wildcard.
func readIssuer(issuer string) (*url.URL, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") ||
		strings.HasSuffix(issuer, "/") || strings.ContainsAny(u.Path, "{} ") {
		return nil, errors.New("issuer: want http(s)://host[:port][/path] without a trailing slash, braces or blanks")
	}
	return u, nil
}

func (c Config) withDefaults() Config {
	if c.Algorithm == "" {
		c.Algorithm = "ES256"
	}
	if len(c.ACRs) == 0 {
		c.ACRs = []string{"1", "2"}
	}
	if c.AccessLife == 0 {
		c.AccessLife = 5 * time.Minute
	}
	if c.RefreshLife == 0 {
		c.RefreshLife = 24 * time.Hour
	}
	if c.SessionLife == 0 {
		c.SessionLife = 8 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Issuer returns the provider's address, which is its issuer identifier.
func (p *Provider) Issuer() string { return p.config.Issuer }

// Lies returns the lies that the provider tells now.
func (p *Provider) Lies() Lies {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lies
}

// SetLies makes the provider tell lies and no others from the next request on;
// the zero Lies makes it honest. The maps in lies must not change afterwards.
func (p *Provider) SetLies(lies Lies) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lies = lies
}

// SetClient adds c, or replaces the client with its ID.
func (p *Provider) SetClient(c Client) error {
	if c.ID == "" || c.Secret == "" {
		return fmt.Errorf("client %q: wants an ID and a secret", c.ID)
	}
	for _, uri := range slices.Concat(c.RedirectURIs, c.PostLogoutRedirectURIs) {
		u, err := url.Parse(uri)
		if err != nil || u.Host == "" || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("client %q: redirect URI %q is not an absolute http(s) URL without a fragment", c.ID, uri)
		}
	}
	if c.Name == "" {
		c.Name = c.ID
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[c.ID] = c
	return nil
}

// SetPerson adds a person, or replaces the one of that Username: what somebody
// is called, and may do, changes in the tokens of the next refresh.
func (p *Provider) SetPerson(person Person) error {
	if person.Username == "" || person.Password == "" {
		return fmt.Errorf("person %q: wants a username and a password", person.Username)
	}
	if person.Subject == "" {
		person.Subject = subjectOf(person.Username)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.people, named(person.Username)); i >= 0 {
		p.people[i] = person
		return nil
	}
	p.people = append(p.people, person)
	return nil
}

// RemovePerson forgets a person and ends all that the person holds, as
// [Provider.SignOut] does.
func (p *Provider) RemovePerson(username string) {
	p.SignOut(username)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people = slices.DeleteFunc(p.people, named(username))
}

// SignOut ends the sessions of a person and revokes the person's codes and
// tokens, as an administrator of the provider would.
func (p *Provider) SignOut(username string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions.drop(func(s session) bool { return s.username == username })
	p.revoke(func(l *login) bool { return l.username == username })
}

// ServeHTTP implements [http.Handler].
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// person finds somebody by username. The caller holds mu.
func (p *Provider) person(username string) (Person, bool) {
	i := slices.IndexFunc(p.people, named(username))
	if i < 0 {
		return Person{}, false
	}
	return p.people[i], true
}

func named(username string) func(Person) bool {
	return func(p Person) bool { return p.Username == username }
}

func (p *Provider) now() time.Time { return p.config.Now() }
