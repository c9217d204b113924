package session

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store that a caller acts on. Any other error means that the
// store gave no answer: nothing is known about the session.
var (
	ErrNotFound = errors.New("session: not found")        // never was, has ended, or was deleted
	ErrExists   = errors.New("session: exists already")   // Create does not overwrite
	ErrConflict = errors.New("session: version conflict") // somebody else replaced it first
)

// Record is what a Store keeps of a session: two sealed parts that it cannot
// read, and the times that it must know to forget them.
type Record struct {
	Version uint64 // set by the store: 1 at Create, one more at each Replace
	Hot     []byte // sealed; what a decision needs
	Tokens  []byte // sealed; the provider's tokens. Load leaves it empty

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

// Claim names a login attempt in the store: the SHA-256 of its state.
type Claim [32]byte

// Store keeps sessions. Its contract is tested by package sessiontest.
//
// Times have a precision of a millisecond. A record whose End has passed is
// not found; the store forgets it by itself. All methods are safe for
// concurrent use and give up when ctx does. There is no upsert: a late write
// never revives what was deleted.
type Store interface {
	// Create keeps a new record, as version 1. It returns ErrExists when there
	// is one already, and ErrNotFound when the record's End has passed.
	Create(ctx context.Context, id ID, r Record) error

	// Load returns a record without its Tokens, or ErrNotFound.
	Load(ctx context.Context, id ID) (Record, error)

	// LoadTokens returns a record's Tokens, or ErrNotFound.
	LoadTokens(ctx context.Context, id ID) ([]byte, error)

	// Replace puts r (both parts and the times) in place of the record, in one
	// step, if its version is still the given one, and raises the version by one.
	// It returns ErrNotFound or ErrConflict without changing anything.
	Replace(ctx context.Context, id ID, version uint64, r Record) error

	// Delete forgets the session. It is no error when there is none.
	Delete(ctx context.Context, id ID) error

	// Touch moves the Seen of each session forward to the given time. It never
	// moves one back, changes no version, and leaves alone what is not found.
	Touch(ctx context.Context, seen map[ID]time.Time) error

	// Claim reports whether this call is the first to claim c; later ones get
	// false until life has passed.
	Claim(ctx context.Context, c Claim, life time.Duration) (bool, error)

	// Settle keeps the sealed result of a claim for life.
	Settle(ctx context.Context, c Claim, result []byte, life time.Duration) error

	// Settled returns the result of a claim, or ErrNotFound.
	Settled(ctx context.Context, c Claim) ([]byte, error)

	// Ping returns nil when the store answers.
	Ping(ctx context.Context) error
}
