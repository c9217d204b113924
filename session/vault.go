package session

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/oidc"
)

// Vault makes sessions and opens them again. It seals what the store keeps, so
// that what the store answers is believed only as far as its seal goes. All
// methods are safe for concurrent use; the fields must not change.
//
// Every method that asks the store returns one of its errors, or ErrUnknownKey,
// or an error that says that there was no answer. What fails to open is nobody's
// and counts as ErrNotFound; it is not deleted.
type Vault struct {
	Store  Store
	Sealer Sealer

	Absolute time.Duration // no session outlives this; zero makes none that lasts
	Idle     time.Duration // nor as long without being used; zero likewise

	uses uses
}

// resultLife is how long the result of a login waits for repeated callbacks.
const resultLife = time.Minute

// Create begins a session of g's identity in an app, at now. The Token is for the
// browser; it exists nowhere else.
func (v *Vault) Create(ctx context.Context, now time.Time, app string, g oidc.Grant) (Token, Session, error) {
	token := NewToken()
	now = now.Truncate(time.Millisecond) // the precision of a Store
	s := Session{
		ID: token.ID(), App: app, Identity: g.Identity,
		Created: now, Seen: now, Ends: now.Add(v.Absolute), Idle: v.Idle, Version: 1,
	}
	r, err := v.seal(token, s, g)
	if err != nil {
		return Token{}, Session{}, err
	}
	if err := v.Store.Create(ctx, s.ID, r); err != nil {
		return Token{}, Session{}, err
	}
	return token, s, nil
}

// Load returns the session that t opens. Its ends are never later than they were
// sealed, whatever the store says.
func (v *Vault) Load(ctx context.Context, t Token) (Session, error) {
	id := t.ID()
	r, err := v.Store.Load(ctx, id)
	if err != nil {
		return Session{}, err
	}
	plain, err := v.Sealer.Open(bind(hotPurpose, t, id), r.Hot)
	if err != nil {
		return Session{}, notFoundIfForged(err)
	}
	s, err := decodeHot(plain)
	if err != nil {
		return Session{}, err
	}
	s.ID, s.Version, s.Seen = id, r.Version, r.Seen
	if r.Ends.Before(s.Ends) {
		s.Ends = r.Ends
	}
	s.Idle = min(s.Idle, r.Idle)
	return s, nil
}

// Grant returns the provider's tokens of the session that t opens. Its Identity
// is nobody: see [Vault.Load].
func (v *Vault) Grant(ctx context.Context, t Token) (oidc.Grant, error) {
	id := t.ID()
	sealed, err := v.Store.LoadTokens(ctx, id)
	if err != nil {
		return oidc.Grant{}, err
	}
	plain, err := v.Sealer.Open(bind(tokensPurpose, t, id), sealed)
	if err != nil {
		return oidc.Grant{}, notFoundIfForged(err)
	}
	return decodeTokens(plain)
}

// Delete ends a session. It is no error when there is none.
func (v *Vault) Delete(ctx context.Context, id ID) error { return v.Store.Delete(ctx, id) }

// Ping returns nil when the store answers.
func (v *Vault) Ping(ctx context.Context) error { return v.Store.Ping(ctx) }

// Claim reports whether this call is the first, on any replica, to claim a. Only
// the first may exchange the code; the others wait for [Vault.Settled].
func (v *Vault) Claim(ctx context.Context, a oidc.Attempt) (bool, error) {
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

// seal returns the record of s: what a decision needs in one part, the tokens of
// g in the other.
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
		Hot:    v.Sealer.Seal(bind(hotPurpose, t, s.ID), hot),
		Tokens: v.Sealer.Seal(bind(tokensPurpose, t, s.ID), tokens),
		Seen:   s.Seen, Ends: s.Ends, Idle: s.Idle,
	}, nil
}

// What a seal is for.
const (
	hotPurpose     = "session"
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
