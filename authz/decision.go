package authz

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"net/http"

	"github.com/countersign/countersign/session"
)

// Checker answers requests. It is to this package what http.Handler is to
// net/http: it always answers, and with a complete Decision.
type Checker interface {
	Check(context.Context, Request) Decision
}

// Outcome is what a transport must do. The zero Outcome denies.
type Outcome uint8

// The outcomes. Only Allow lets a request go on to the upstream.
const (
	Deny     Outcome = iota
	Allow            // let it pass, with the Upstream edits
	Redirect         // answer with a Location
	Respond          // answer with a page or a document of ours
	Fail             // answer that something is broken
)

var outcomeNames = [...]string{"deny", "allow", "redirect", "respond", "fail"}

// String implements fmt.Stringer.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "deny"
}

// Decision is a complete answer. The zero Decision denies.
type Decision struct {
	Outcome Outcome
	Reason  Reason
	Status  int    // HTTP status of an answer of ours; 0 means 403
	ID      string // 128 random bits in base32, for logs and support requests

	App     string // the app's name
	Rule    string // the rule's name
	Subject string // who is signed in, empty for nobody
	Session session.ID
	Login   string // the provider, where the decision ends a login that came back

	Client   http.Header // sent to the client, on every outcome but Allow
	Body     []byte      // likewise
	Upstream HeaderEdits // on Allow: what changes before the request goes on

	Cause error // for the log alone: what went wrong, nil if nothing did
}

// HeaderEdits is what becomes of a request's headers on its way to the
// upstream. No name stands in both lists.
type HeaderEdits struct {
	Set    []Field  // replaces every line of that name
	Remove []string // lower-case names
}

// newDecision starts the answer that carries reason.
func newDecision(reason Reason) Decision {
	a := reason.answer()
	return Decision{Outcome: a.outcome, Reason: reason, Status: a.status, ID: newDecisionID()}
}

var decisionIDs = base32.StdEncoding.WithPadding(base32.NoPadding)

func newDecisionID() string {
	var b [16]byte
	rand.Read(b[:])
	return decisionIDs.EncodeToString(b[:])
}

// Failed is the answer when nothing better can be said: a panic, a request that
// a transport could not read.
func Failed(reason Reason, cause error) Decision {
	d := newDecision(reason)
	d.Client = http.Header{}
	d.Cause = cause
	d.hint()
	protect(d.Client, d.ID)
	writeProblem(&d)
	return d
}
