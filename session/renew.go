package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/oidc"
)

// Provider is who vouches for a session; oidc.Provider is one, and documents the
// errors. A Grant beside an error that has a refresh token has replaced the one
// that was sent.
type Provider interface {
	Name() string
	Refresh(ctx context.Context, g oidc.Grant) (oidc.Grant, error)
	Userinfo(ctx context.Context, g oidc.Grant) (oidc.Grant, error)
	Introspect(ctx context.Context, g oidc.Grant) (oidc.Grant, error)
}

// Renewal is what came of asking a provider about a session.
type Renewal struct {
	Session  ID
	Subject  string
	Provider string
	Result   RenewalResult
	Err      error // why the session is not renewed
}

// RenewalResult sorts what came of it.
type RenewalResult string

// The results.
const (
	Renewed     RenewalResult = "renewed"
	Refused     RenewalResult = "refused"      // the provider says that it is over
	OtherPerson RenewalResult = "other_person" // it vouches for somebody else, which ends it, too
	NoAnswer    RenewalResult = "no_answer"    // of the provider
	Gone        RenewalResult = "gone"         // renewed, and signed out meanwhile: it stays so
	NotKept     RenewalResult = "not_kept"     // renewed, and the store did not take it
)

const (
	lockLife  = time.Minute // longer than askFor and keepFor: until then nobody else sends a spent token
	lockPoll  = 50 * time.Millisecond
	lockWait  = 3 * time.Second  // for the answer of another replica
	askFor    = 25 * time.Second // with all calls to provider and store
	keepFor   = 30 * time.Second // how long an answer is offered to a store that does not take it
	keepPoll  = 250 * time.Millisecond
	unlockFor = time.Second
)

// Renew has p asked whether s, which t opens, still holds, and returns the session
// as it is then. However many call it, on however many replicas, one asks. That
// goes on when ctx ends, whose error Renew then returns; [Vault.Wait] waits for it.
//
// It returns ErrNotFound when the session has ended: the provider refused its
// present refresh token or named another person, or it was deleted meanwhile. Any
// other error means that there was no answer, of the provider or of the store;
// for some seconds nobody asks again then.
func (v *Vault) Renew(ctx context.Context, now time.Time, t Token, s Session, p Provider) (Session, error) {
	one := v.fly(ctx, now, t, s, p)
	select {
	case <-one.done:
		return one.session, one.err
	case <-ctx.Done():
		return Session{}, ctx.Err()
	}
}

// RenewAhead is Renew without waiting for the answer.
func (v *Vault) RenewAhead(ctx context.Context, now time.Time, t Token, s Session, p Provider) {
	v.fly(ctx, now, t, s, p)
}

// fly returns the flight of s, which it begins if there is none.
func (v *Vault) fly(ctx context.Context, now time.Time, t Token, s Session, p Provider) *flight {
	one, mine := v.flights.join(now, s.ID)
	if !mine {
		return one
	}
	q := &question{v: v, token: t, asked: s, provider: p, began: now, since: time.Now(), pause: one.pause}
	rand.Read(q.owner[:]) // never fails since Go 1.24
	go func() {
		latest, err := Session{}, errPanic
		defer func() {
			_ = recover() // the error says so, and nobody is signed out
			v.flights.land(q.now(), s.ID, one, latest, err)
		}()
		latest, err = q.put(context.WithoutCancel(ctx))
	}()
	return one
}

// errPanic is the answer of a question that did not come to an end, and
// errElsewhere that of one that another replica is busy with.
var (
	errPanic     = errors.New("session: panic while a provider was asked")
	errElsewhere = errors.New("session: another replica has no answer of the provider yet")
)

// question is one about a session, to a provider.
type question struct {
	v        *Vault
	token    Token
	asked    Session // as it was when the question came up
	provider Provider
	owner    Owner         // of the lock
	pause    time.Duration // for everybody, after no answer

	began, since time.Time // the caller's clock and ours, at the beginning
}

// now is the present by the caller's clock.
func (q *question) now() time.Time { return q.began.Add(time.Since(q.since)) }

// put puts the question, unless somebody else does, and keeps the answer.
func (q *question) put(ctx context.Context) (Session, error) {
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	latest, done, err := q.lock(asking)
	if done || err != nil {
		return latest, ofStore(err)
	}
	var pause time.Duration
	defer func() { q.unlock(ctx, pause) }()
	known, err := q.read(asking)
	if err != nil || q.renewed(known.session) {
		return known.session, ofStore(err)
	}
	latest, report := q.ask(ctx, asking, known)
	report.Session, report.Subject, report.Provider = q.asked.ID, known.grant.Subject, q.provider.Name()
	if report.Result == NoAnswer || report.Result == NotKept {
		pause = q.pause
	}
	if q.v.OnRenewal != nil {
		q.v.OnRenewal(report)
	}
	return latest, report.Err
}

// errStore is of an error that came before the provider was asked.
var errStore = errors.New("session: the provider was not asked")

// ofStore makes err, unless it says something, one of the store.
func ofStore(err error) error {
	if err == nil || decisive(err) || errors.Is(err, errElsewhere) {
		return err
	}
	return fmt.Errorf("%w: %w", errStore, err)
}

// lock waits until it is our turn, or somebody else has the answer: then done.
func (q *question) lock(ctx context.Context) (latest Session, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for pause := lockPoll; ; pause += pause / 4 {
		mine, err := q.v.Store.Lock(ctx, q.asked.ID, q.owner, lockLife)
		if mine || err != nil {
			return Session{}, false, err
		}
		latest, err := q.v.read(ctx, q.token, q.asked.ID)
		if err != nil {
			return Session{}, true, err
		}
		if q.renewed(*latest) {
			return *latest, true, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Session{}, false, errElsewhere
		}
	}
}

// renewed reports whether somebody else had the answer meanwhile, of which latest
// is the result. A new version alone does not say so: the session may have been
// sealed anew, or got new tokens without being vouched for.
func (q *question) renewed(latest Session) bool {
	return latest.Version != q.asked.Version && !latest.Renews(q.now())
}

// unlock lets others ask, after a pause. If it fails, the lock ends by itself.
func (q *question) unlock(ctx context.Context, pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, unlockFor)
	defer cancel()
	_ = q.v.Store.Unlock(ctx, q.asked.ID, q.owner, pause)
}

// known is all of a session, as the store has it.
type known struct {
	record  Record
	session Session
	grant   oidc.Grant // with its Identity

	ahead time.Duration // of the store's clock, by which the times were moved
}

// read reads all of the session.
func (q *question) read(ctx context.Context) (known, error) {
	r, err := q.v.Store.LoadWhole(ctx, q.asked.ID)
	if err != nil {
		return known{}, err
	}
	ahead := q.v.Store.Ahead()
	s, err := q.v.open(q.token, q.asked.ID, r, ahead)
	if err != nil {
		return known{}, err
	}
	g, err := q.v.openTokens(q.token, r, ahead)
	if err != nil {
		return known{}, err
	}
	g.Identity = s.Identity
	return known{r, *s, g, ahead}, nil
}

// ask asks the provider and does what the answer says. ctx is for keeping it,
// which may take longer than asking.
func (q *question) ask(ctx, asking context.Context, k known) (Session, Renewal) {
	answer, err := q.call(asking, k.grant)
	switch {
	case errors.Is(err, oidc.ErrEnded):
		latest, ended := q.endIfAsked(asking, k.grant)
		if ended == nil {
			return latest, Renewal{Result: Renewed} // by somebody else
		}
		return latest, Renewal{Result: Refused, Err: ended}
	case errors.Is(err, oidc.ErrSubject),
		err == nil && (answer.Issuer != k.grant.Issuer || answer.Subject != k.grant.Subject):
		return Session{}, Renewal{Result: OtherPerson, Err: q.end(asking)}
	case err != nil:
		if answer.Refresh != "" && answer.Refresh != k.grant.Refresh {
			answer.Identity = k.grant.Identity
			if _, lost := q.keep(ctx, k, answer, time.Time{}); lost != nil {
				return Session{}, Renewal{Result: NotKept, Err: lost}
			}
		}
		return Session{}, Renewal{Result: NoAnswer, Err: fmt.Errorf("session: %w", err)}
	}
	latest, err := q.keep(ctx, k, answer, q.now())
	switch {
	case errors.Is(err, ErrNotFound):
		return Session{}, Renewal{Result: Gone, Err: err}
	case err != nil:
		return Session{}, Renewal{Result: NotKept, Err: err}
	}
	return latest, Renewal{Result: Renewed}
}

// call asks in the way that is configured. An access token that has ended proves
// nothing, by our clock or by the provider's, which may not have said when it
// ends: where it can be refreshed, that is the question.
func (q *question) call(ctx context.Context, g oidc.Grant) (oidc.Grant, error) {
	via := q.v.Revalidation.Via
	if g.Refresh != "" && !g.Expires.IsZero() && !q.now().Before(g.Expires) {
		via = ViaRefresh
	}
	switch via {
	case ViaRefresh:
		return q.provider.Refresh(ctx, g)
	case ViaUserinfo:
		answer, err := q.provider.Userinfo(ctx, g)
		if errors.Is(err, oidc.ErrEnded) && g.Refresh != "" {
			return q.provider.Refresh(ctx, g)
		}
		return answer, err
	case ViaIntrospection:
		return q.provider.Introspect(ctx, g)
	}
	return oidc.Grant{}, errors.New("session: there is no way to ask the provider")
}

// endIfAsked ends the session, if the tokens that the provider refused are still
// those of the session: a late answer about tokens that were replaced says
// nothing about these.
func (q *question) endIfAsked(ctx context.Context, refused oidc.Grant) (Session, error) {
	k, err := q.read(ctx)
	if err != nil {
		return Session{}, err
	}
	if k.grant.Refresh != refused.Refresh || k.grant.Access != refused.Access {
		return k.session, nil
	}
	return Session{}, q.end(ctx)
}

// end ends the session. It returns ErrNotFound, unless that fails.
func (q *question) end(ctx context.Context) error {
	if err := q.v.Delete(ctx, q.asked.ID); err != nil {
		return err
	}
	return ErrNotFound
}

// keep stores what the provider answered before anybody uses it, and returns the
// session as it is now. checked is when the provider vouched for it; zero, if it
// only gave new tokens. A store that does not answer is offered it for half a minute:
// the old refresh token is good for nothing any more.
func (q *question) keep(ctx context.Context, k known, answer oidc.Grant, checked time.Time) (Session, error) {
	ctx, cancel := context.WithTimeout(ctx, keepFor)
	defer cancel()
	for {
		s, err := q.replace(ctx, k, answer, checked)
		switch {
		case err == nil, errors.Is(err, ErrNotFound):
			return s, err
		case errors.Is(err, ErrConflict):
			again, err := q.read(ctx)
			if err != nil && decisive(err) {
				return Session{}, err
			}
			if err == nil && again.grant.Refresh != k.grant.Refresh {
				return again.session, nil // the write before was done, though its answer was lost
			}
			if err == nil {
				k = again // sealed anew meanwhile
				continue
			}
		}
		select {
		case <-time.After(keepPoll):
		case <-ctx.Done():
			return Session{}, err
		}
	}
}

// replace puts answer in the place of what is known.
func (q *question) replace(ctx context.Context, k known, answer oidc.Grant, checked time.Time) (Session, error) {
	v, ahead := q.v, q.v.Store.Ahead()
	s := k.session.shifted(k.ahead) // as it was read: no end moves because clocks do
	s.Identity, answer.Expires = answer.Identity, shift(answer.Expires, ahead)
	if !checked.IsZero() {
		checked = checked.Add(ahead).Truncate(time.Millisecond)
		s.Seen, s.Checked, s.Due = checked, checked, v.Revalidation.due(checked, answer)
	}
	r, err := v.seal(q.token, s, answer)
	if err != nil {
		return Session{}, err
	}
	r.Display = v.resealDisplay(s.ID, k.record.Display)
	if err := v.Store.Replace(ctx, s.ID, k.record.Version, r); err != nil {
		return Session{}, err
	}
	s.Version = k.record.Version + 1
	v.cache().Changed(s.ID, s.Version)
	v.Revalidation.schedule(&s)
	return s.shifted(-ahead), nil
}
