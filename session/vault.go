package session

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/oidc"
)

// Vault makes sessions and opens them again. It seals what the store keeps, so
// that what the store answers is believed only as far as its seal goes. It
// remembers what it opened as long as [Vault.Run] hears of changes. All methods
// are safe for concurrent use; the fields must not change, nor may it be copied.
//
// Every method that asks the store returns one of its errors, or ErrUnknownKey,
// or an error that says that there was no answer. What fails to open is nobody's
// and counts as ErrNotFound; it is not deleted.
//
// Its times are of our own clock. What it seals and stores are times of the
// store's, so that replicas whose clocks differ agree about every end.
type Vault struct {
	Store  Store
	Sealer Sealer

	Absolute     time.Duration // no session outlives this; zero makes none that lasts
	Idle         time.Duration // nor as long without being used; zero likewise
	Revalidation Revalidation

	// Outage is how long a session that is remembered is good while the store gives
	// no answer.
	Outage time.Duration

	// Strict asks the store at every Load: nothing is good that it did not just say.
	Strict bool

	// OnRenewal, if not nil, is called with what came of asking a provider.
	OnRenewal func(Renewal)

	once    sync.Once
	cached  *cache // made by once
	loads   loads
	uses    uses
	flights flights
	reseals reseals
}

// resultLife is how long the result of a login waits for repeated callbacks.
const resultLife = time.Minute

// Login is what a session begins with.
type Login struct {
	App     string
	Grant   oidc.Grant
	Browser string    // as an administrator should see it; not more than a few words
	Claimed time.Time // what Claim returned: the login loses to a sign-out since
}

// Create begins a session, at now. The Token is for the browser; it exists
// nowhere else. It returns ErrNotFound when the same person was signed out while
// the login was under way.
func (v *Vault) Create(ctx context.Context, now time.Time, l Login) (Token, Session, error) {
	token, ahead := NewToken(), v.Store.Ahead()
	now = now.Add(ahead).Truncate(time.Millisecond) // the precision of a Store
	l.Grant.Expires = shift(l.Grant.Expires, ahead)
	s := Session{
		ID: token.ID(), App: l.App, Identity: l.Grant.Identity,
		Created: now, Seen: now, Ends: now.Add(v.Absolute), Idle: v.Idle,
		Checked: now, Due: v.Revalidation.due(now, l.Grant), Version: 1,
	}
	r, err := v.seal(token, s, l.Grant)
	if err != nil {
		return Token{}, Session{}, err
	}
	if r.Display, err = v.sealDisplay(s, l.Browser); err != nil {
		return Token{}, Session{}, err
	}
	if err := v.Store.Create(ctx, s.ID, r, l.Claimed); err != nil {
		return Token{}, Session{}, err
	}
	v.Revalidation.schedule(&s)
	return token, s.shifted(-ahead), nil
}

// Load returns the session that t opens. Its ends are never later than they were
// sealed, whatever the store says. Most of the time it does not ask the store: a
// change is known here within a second of its being acknowledged anywhere. When
// the store gives no answer, a session that is remembered is good for Outage more.
func (v *Vault) Load(ctx context.Context, now time.Time, t Token) (Session, error) {
	id, c := t.ID(), v.cache()
	known, believed := c.find(id)
	if known != nil && known.session.State(now) == Ended && now.Before(known.session.Ends) {
		known = nil // idled out, unless another replica saw it used
	}
	if known != nil && believed && !v.Strict {
		return *known.session, nil
	}
	if c.isUnknown(id) {
		return Session{}, ErrNotFound
	}
	s, err := v.loads.do(ctx, id, func() (*Session, error) { return v.read(ctx, t, id) })
	if err != nil && known != nil && !decisive(err) && c.outlasts(known, v.Outage) {
		return *known.session, nil
	}
	if err != nil {
		return Session{}, err
	}
	return *s, nil
}

// decisive reports whether err says something about the session, and not that
// nothing is known.
func decisive(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnknownKey) }

// loadTimeout bounds a read that several requests may wait for: whoever joins it
// at its end must not be told what was true more than a second ago.
const loadTimeout = silence

// read reads a session and remembers what it found.
func (v *Vault) read(ctx context.Context, t Token, id ID) (s *Session, err error) {
	defer func() {
		if recover() != nil { // that is no answer, for all who wait for it
			s, err = nil, errReadPanic
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	noted := v.cache().stamp(id)
	r, err := v.Store.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		v.cache().rememberUnknown(id, noted)
	}
	if err != nil {
		return nil, err
	}
	if s, err = v.open(t, id, r, v.Store.Ahead()); err != nil {
		return nil, err
	}
	v.cache().remember(s, noted)
	if !v.Sealer.Current(r.Hot) {
		v.reseals.want(t)
	}
	return s, nil
}

// open opens the hot part of a record of a store whose clock is ahead of ours.
func (v *Vault) open(t Token, id ID, r Record, ahead time.Duration) (*Session, error) {
	plain, err := v.Sealer.Open(bind(hotPurpose, t, id), r.Hot)
	if err != nil {
		return nil, notFoundIfForged(err)
	}
	s, err := decodeHot(plain)
	if err != nil {
		return nil, err
	}
	s.ID, s.Version, s.Seen = id, r.Version, r.Seen
	if r.Ends.Before(s.Ends) {
		s.Ends = r.Ends
	}
	s.Idle = min(s.Idle, r.Idle)
	v.Revalidation.schedule(s)
	s.shift(-ahead)
	return s, nil
}

// Grant returns the provider's tokens of the session that t opens. Its Identity
// is nobody: see [Vault.Load].
func (v *Vault) Grant(ctx context.Context, t Token) (oidc.Grant, error) {
	r, err := v.Store.LoadWhole(ctx, t.ID())
	if err != nil {
		return oidc.Grant{}, err
	}
	return v.openTokens(t, r, v.Store.Ahead())
}

func (v *Vault) openTokens(t Token, r Record, ahead time.Duration) (oidc.Grant, error) {
	plain, err := v.Sealer.Open(bind(tokensPurpose, t, t.ID()), r.Tokens)
	if err != nil {
		return oidc.Grant{}, notFoundIfForged(err)
	}
	g, err := decodeTokens(plain)
	g.Expires = shift(g.Expires, -ahead)
	return g, err
}

// Ping returns nil when the store answers.
func (v *Vault) Ping(ctx context.Context) error { return v.Store.Ping(ctx) }

// Cached returns how many sessions are remembered.
func (v *Vault) Cached() int { return v.cache().entries.EstimatedSize() }

func (v *Vault) cache() *cache {
	v.once.Do(func() { v.cached = newCache() })
	return v.cached
}

// Claim reports whether this call is the first, on any replica, to claim a, and
// when that was. Only the first may exchange the code; the others wait for
// [Vault.Settled].
func (v *Vault) Claim(ctx context.Context, a oidc.Attempt) (time.Time, bool, error) {
	return v.Store.Claim(ctx, claimOf(a), oidc.AttemptLife)
}

// Settle keeps the result of a claimed attempt for a minute, for those that
// came later. Whoever lacks the attempt's verifier cannot open it.
func (v *Vault) Settle(ctx context.Context, a oidc.Attempt, result []byte) error {
	c := claimOf(a)
	return v.Store.Settle(ctx, c, v.Sealer.Seal(bindResult(a, c), result), resultLife)
}

// Settled returns the result of a claimed attempt, or ErrNotFound when there is
// none yet or no longer.
func (v *Vault) Settled(ctx context.Context, a oidc.Attempt) ([]byte, error) {
	c := claimOf(a)
	sealed, err := v.Store.Settled(ctx, c)
	if err != nil {
		return nil, err
	}
	plain, err := v.Sealer.Open(bindResult(a, c), sealed)
	return plain, notFoundIfForged(err)
}

// seal returns the record of s, all times by the store's clock: what a decision
// needs in one part, the tokens of g in the other. Its Display is empty.
func (v *Vault) seal(t Token, s Session, g oidc.Grant) (Record, error) {
	hot, err := encodeHot(s)
	if err != nil {
		return Record{}, fmt.Errorf("session: %w", err)
	}
	tokens, err := encodeTokens(g)
	if err != nil {
		return Record{}, fmt.Errorf("session: %w", err)
	}
	return Record{
		Hot:     v.Sealer.Seal(bind(hotPurpose, t, s.ID), hot),
		Tokens:  v.Sealer.Seal(bind(tokensPurpose, t, s.ID), tokens),
		Indexes: v.indexes(s.Identity),
		Seen:    s.Seen, Ends: s.Ends, Idle: s.Idle,
	}, nil
}

// What a seal is for.
const (
	hotPurpose     = "session"
	displayPurpose = "display"
	tokensPurpose  = "tokens"
	resultPurpose  = "login result"
	attemptPurpose = "login attempt"
)

// bind binds a part of a session to its token and its place in the store.
func bind(purpose string, t Token, id ID) Binding {
	return Binding{Purpose: purpose, Secret: t[:], Parts: []string{hex.EncodeToString(id[:])}}
}

// bindResult binds the result of a login to its attempt and its place.
func bindResult(a oidc.Attempt, c Claim) Binding {
	return Binding{
		Purpose: resultPurpose,
		Secret:  []byte(a.Verifier.Reveal()),
		Parts:   []string{hex.EncodeToString(c[:])},
	}
}

// notFoundIfForged makes what does not open nobody's.
func notFoundIfForged(err error) error {
	if errors.Is(err, ErrForged) {
		return ErrNotFound
	}
	return err
}
