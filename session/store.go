package session

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors of a Store that a caller acts on. Any other error means that the
// store gave no answer: nothing is known about the session.
var (
	ErrNotFound = errors.New("session: not found")        // never was, has ended, or was deleted
	ErrExists   = errors.New("session: exists already")   // Create does not overwrite
	ErrConflict = errors.New("session: version conflict") // somebody else replaced it first
)

// Record is what a Store keeps of a session: sealed parts that it cannot read,
// and the times that it must know to forget them.
type Record struct {
	Version uint64 // set by the store: 1 at Create, one more at each Replace
	Hot     []byte // sealed; what a decision needs
	Tokens  []byte // sealed; the provider's tokens. Load and List leave it empty
	Display []byte // sealed; what an administrator sees. Load leaves it empty

	Indexes []Index // the session is found by these, too. Load, LoadWhole and List leave it empty

	Seen time.Time     // last use
	Ends time.Time     // absolute end
	Idle time.Duration // the record also ends as long after Seen
}

// End is the earlier of both ends.
func (r Record) End() time.Time {
	if idle := r.Seen.Add(r.Idle); idle.Before(r.Ends) {
		return idle
	}
	return r.Ends
}

// Index is what a session is found by without its cookie: a keyed hash of whose
// it is. Many sessions may have the same.
type Index [32]byte

// Claim names a login attempt in the store: the SHA-256 of its state.
type Claim [32]byte

// Owner names whoever holds a lock: 128 random bits.
type Owner [16]byte

// Use says that a session was used, and what it is found by.
type Use struct {
	Seen    time.Time
	Ends    time.Time // absolute end of the session
	Indexes []Index
}

// Store keeps sessions. Its contract is tested by package sessiontest.
//
// Times have a precision of a millisecond. A record whose End has passed, by the
// store's clock, is not found; the store forgets it by itself. All methods are
// safe for concurrent use and give up when ctx does. There is no upsert: a late
// write never revives what was deleted.
type Store interface {
	// Create keeps a new record, as version 1, and lists it under its Indexes. It
	// returns ErrExists when there is one already, and ErrNotFound when the record's
	// End has passed or one of its Indexes was buried at claimed or later: then
	// nothing is kept.
	Create(ctx context.Context, id ID, r Record, claimed time.Time) error

	// Load returns a record's Hot part, version and times, or ErrNotFound.
	Load(ctx context.Context, id ID) (Record, error)

	// LoadWhole returns a record with Tokens and Display too, or ErrNotFound.
	LoadWhole(ctx context.Context, id ID) (Record, error)

	// Replace puts r (all parts and the times) in place of the record, in one
	// step, if its version is still the given one, and raises the version by one.
	// Seen it never moves back: a touch may have come between.
	// Then it lists the session under r's Indexes; under earlier ones it may stay
	// listed while it lives. It returns ErrNotFound or ErrConflict without changing
	// anything.
	Replace(ctx context.Context, id ID, version uint64, r Record) error

	// Delete forgets sessions, with their place in every list, and returns how many
	// there were. It is no error when there is none.
	Delete(ctx context.Context, ids ...ID) (int, error)

	// Touch moves the Seen of each session forward to that of its Use, and lists
	// it again under the Indexes, should it have got lost there. It never moves
	// Seen back, changes no version, and leaves alone what is not found.
	Touch(ctx context.Context, uses map[ID]Use) error

	// Find returns the sessions that are listed under an index.
	Find(ctx context.Context, index Index) ([]ID, error)

	// List goes through the sessions whose ID in hex begins with prefix, in no
	// order. A session that is there all the while comes at least once. It ends
	// with the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Listed, error]

	// Bury makes each Create that was claimed until now, and has one of the
	// indexes, return ErrNotFound when it comes within life: the login of somebody
	// who was signed out meanwhile.
	Bury(ctx context.Context, life time.Duration, indexes ...Index) error

	// Lock reports whether owner, from now on and for life, is the one who may ask
	// the provider about a session. Its own lock it prolongs.
	Lock(ctx context.Context, id ID, owner Owner, life time.Duration) (bool, error)

	// Unlock ends owner's lock after a pause, or at once. It is no error when the
	// lock is somebody else's, or nobody's.
	Unlock(ctx context.Context, id ID, owner Owner, pause time.Duration) error

	// Claim reports whether this call is the first to claim c; later ones get
	// false until life has passed. The time is that of the claim by the store's
	// clock, for Create.
	Claim(ctx context.Context, c Claim, life time.Duration) (time.Time, bool, error)

	// Settle keeps the sealed result of a claim for life.
	Settle(ctx context.Context, c Claim, result []byte, life time.Duration) error

	// Settled returns the result of a claim, or ErrNotFound.
	Settled(ctx context.Context, c Claim) ([]byte, error)

	// Watch tells w of every change until ctx ends, whose error it returns. It
	// finds its way back by itself after an interruption.
	Watch(ctx context.Context, w Watcher) error

	// Ahead is how far the store's clock is ahead of ours, as well as it is known;
	// less than a second counts as nothing.
	Ahead() time.Duration

	// Ping returns nil when the store answers.
	Ping(ctx context.Context) error
}

// Listed is a session as List finds it.
type Listed struct {
	ID     ID
	Record Record // Display and the times
}

// Watcher is told what other replicas do to sessions, and this one. Its methods
// must not wait.
type Watcher interface {
	// Changed tells that a session was deleted, then the version is 0, or replaced
	// by that version.
	Changed(id ID, version uint64)

	// Lost tells that something may have changed unnoticed, until now.
	Lost()

	// Heard tells that whatever had happened at that moment of [time.Now] has
	// been told. It comes several times a second; that it does not come means that
	// nothing is known.
	Heard(at time.Time)
}
