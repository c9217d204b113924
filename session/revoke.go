package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/countersign/countersign/oidc"
)

// burialLife is how long a login that was under way at a sign-out loses. No
// login takes longer from its claim to its session.
const burialLife = time.Minute

// Listing is what an administrator sees of a session, whose owner's name only the
// cookie opens.
type Listing struct {
	ID      ID
	App     string
	Browser string
	Created time.Time
	Seen    time.Time     // last use, as precise as a tenth of Idle
	Ends    time.Time     // absolute end
	Idle    time.Duration // ends as long after Seen, too
}

// End is the earlier of both ends, unless the session is seen again.
func (l Listing) End() time.Time { return Record{Seen: l.Seen, Ends: l.Ends, Idle: l.Idle}.End() }

// Delete ends a session. It is no error when there is none.
func (v *Vault) Delete(ctx context.Context, id ID) error {
	_, err := v.Revoke(ctx, id)
	return err
}

// SignOut ends a session because its owner wants it, with every login under way
// that began from the same session at the provider.
func (v *Vault) SignOut(ctx context.Context, s Session) error {
	var unburied error
	if indexes := v.loginIndexes(s.Identity); len(indexes) > 0 {
		unburied = v.Store.Bury(ctx, burialLife, indexes...)
	}
	return errors.Join(unburied, v.Delete(ctx, s.ID)) // the session ends in any case
}

// Revoke ends sessions and returns how many there were. Once it has, no replica
// that hears the store believes in them for more than a second.
func (v *Vault) Revoke(ctx context.Context, ids ...ID) (int, error) {
	for _, id := range ids {
		v.cache().forget(id) // and let it be read again, should the store not answer
	}
	n, err := v.Store.Delete(ctx, ids...)
	for _, id := range ids {
		v.cache().forget(id)
	}
	return n, err
}

// RevokeUser ends all sessions of a person (OpenID Connect Core 1.0 §5.7), with
// every login of theirs that is under way, and returns those that there were.
func (v *Vault) RevokeUser(ctx context.Context, issuer, subject string) ([]ID, error) {
	indexes := v.subjectIndexes(issuer, subject)
	unburied := v.Store.Bury(ctx, burialLife, indexes...)
	found, err := v.find(ctx, indexes) // what there is ends in any case
	if err == nil {
		_, err = v.Revoke(ctx, found...)
	}
	return found, errors.Join(unburied, err)
}

// revokeBatch is how many sessions are ended in one trip.
const revokeBatch = 500

// maxPasses bounds how often RevokeAll looks again.
const maxPasses = 20

// RevokeAll ends every session there is and returns how many there were, also
// when it fails half-way. It looks again until it finds none: a store that is
// restarted, or replaced, while it lists its sessions may leave some out. A login
// that is under way meanwhile may become a session all the same.
func (v *Vault) RevokeAll(ctx context.Context) (int, error) {
	total := 0
	for range maxPasses {
		n, err := v.revokeListed(ctx)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
	return total, errors.New("session: there are always more sessions")
}

// revokeListed ends the sessions that the store lists.
func (v *Vault) revokeListed(ctx context.Context) (int, error) {
	total := 0
	batch := make([]ID, 0, revokeBatch)
	revoke := func() error {
		n, err := v.Revoke(ctx, batch...)
		total, batch = total+n, batch[:0]
		return err
	}
	for l, err := range v.Store.List(ctx, "") {
		if err != nil {
			return total, err
		}
		if batch = append(batch, l.ID); len(batch) == revokeBatch {
			if err := revoke(); err != nil {
				return total, err
			}
		}
	}
	err := revoke()
	return total, err
}

// List goes through the sessions whose ID in hex begins with prefix, in no order.
// It ends with the first error. What the display record does not say, because
// another key sealed it, is empty.
func (v *Vault) List(ctx context.Context, prefix string) iter.Seq2[Listing, error] {
	return func(yield func(Listing, error) bool) {
		for l, err := range v.Store.List(ctx, prefix) {
			if !yield(v.listing(l.ID, l.Record), err) {
				return
			}
		}
	}
}

// OfUser returns the sessions of a person.
func (v *Vault) OfUser(ctx context.Context, issuer, subject string) ([]Listing, error) {
	found, err := v.find(ctx, v.subjectIndexes(issuer, subject))
	if err != nil {
		return nil, err
	}
	all := make([]Listing, 0, len(found))
	for _, id := range found {
		r, err := v.Store.LoadWhole(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v.listing(id, r))
	}
	return all, nil
}

// find returns the sessions under any of the indexes, each once.
func (v *Vault) find(ctx context.Context, indexes []Index) ([]ID, error) {
	var all []ID
	for _, index := range indexes {
		ids, err := v.Store.Find(ctx, index)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all, nil
}

func (v *Vault) listing(id ID, r Record) Listing {
	l := Listing{ID: id, Seen: r.Seen, Ends: r.Ends, Idle: r.Idle}
	if plain, err := v.Sealer.Open(bindDisplay(id), r.Display); err == nil {
		var c displayContent
		if decode(plain, &c) == nil {
			l.App, l.Browser, l.Created = c.App, c.Browser, c.Created.time()
		}
	}
	ahead := v.Store.Ahead()
	for _, t := range []*time.Time{&l.Created, &l.Seen, &l.Ends} {
		*t = shift(*t, -ahead)
	}
	return l
}

func (v *Vault) sealDisplay(s Session, browser string) ([]byte, error) {
	plain, err := encode(displayContent{App: s.App, Browser: browser, Created: momentOf(s.Created)})
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return v.Sealer.Seal(bindDisplay(s.ID), plain), nil
}

// bindDisplay binds a display record to its place. Without a secret: whoever has
// the server's keys may read it.
func bindDisplay(id ID) Binding {
	b := bind(displayPurpose, Token{}, id)
	b.Secret = nil
	return b
}

// indexes are what the sessions of an identity are found by without a cookie.
func (v *Vault) indexes(who oidc.Identity) []Index {
	return append(v.subjectIndexes(who.Issuer, who.Subject), v.loginIndexes(who)...)
}

func (v *Vault) subjectIndexes(issuer, subject string) []Index {
	return v.Sealer.Index("subject", issuer, subject)
}

// loginIndexes are by the provider's own session, if it has one.
func (v *Vault) loginIndexes(who oidc.Identity) []Index {
	if who.SessionID == "" {
		return nil
	}
	return v.Sealer.Index("sid", who.Issuer, who.SessionID)
}
