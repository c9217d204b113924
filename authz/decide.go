package authz

import (
	"errors"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// Caller is who asks: nobody, or the owner of a session. The zero Caller is
// nobody.
type Caller struct {
	Session   session.Session
	Unknown   error // the store gave no answer: nobody can say who it is
	Unvouched error // the provider was asked whether the session still holds, and gave none
}

// fault is why nothing can be said about c, nil if it can.
func (c Caller) fault() error {
	if c.Unknown != nil {
		return c.Unknown
	}
	return c.Unvouched
}

// Verdict is what must happen, and why. The zero Verdict forbids.
type Verdict struct {
	Action Action
	Reason Reason
}

// Action is what must happen. The zero Action forbids.
type Action uint8

// The actions.
const (
	Forbid       Action = iota // answer with the reason
	Pass                       // on to the upstream; with an identity if SignedIn
	Renew                      // the provider vouches for the session first
	BeginLogin                 // off to the provider
	FinishLogin                // back from it
	AskSignOut                 // a page that asks whether to end the session
	EndSession                 // here and at the provider
	ShowSignOut                // a page that says that the session is over
	ShowUser                   // who is signed in
	ShowMetadata               // of the minted token
	ShowKeys                   // that it is signed with
)

// Decide says what must happen to a request. It is pure: the same values give
// the same verdict. rule is the one that covers req; c is nobody where the
// rule does not ask who calls (see [Rule.asks]).
func Decide(now time.Time, rule Rule, req Request, c Caller) Verdict {
	if rule.endpoint != none {
		return decideEndpoint(now, rule, req, c)
	}
	switch {
	case rule.Passthrough && req.Bearer():
		return Verdict{Pass, Passthrough}
	case rule.Access == Denied:
		return Verdict{Forbid, Forbidden}
	case req.Upgrades() && rule.foreign(req):
		return Verdict{Forbid, ForeignOrigin}
	case rule.Access == Unprotected:
		return Verdict{Pass, Public}
	case c.Unknown != nil:
		return Verdict{Forbid, StoreUnavailable}
	case c.signedIn(now, &rule):
		return decideSession(now, rule, c)
	case rule.Access == Optional:
		return Verdict{Pass, Public}
	case req.Navigates():
		return Verdict{BeginLogin, LoginRequired}
	}
	return Verdict{Forbid, LoginRequired}
}

func decideSession(now time.Time, rule Rule, c Caller) Verdict {
	if v, asks := decideStale(now, c); asks {
		return v
	}
	if rule.permits(c) {
		return Verdict{Pass, SignedIn}
	}
	return Verdict{Forbid, Forbidden}
}

// decideStale says what comes before everything else with a session that the
// provider has to be asked about. Without an answer it is good for its grace.
func decideStale(now time.Time, c Caller) (v Verdict, asks bool) {
	switch {
	case c.Session.State(now) != session.Stale:
		return Verdict{}, false
	case c.Unvouched == nil:
		return Verdict{Renew, SignedIn}, true
	case !c.Session.Lapsed(now):
		return Verdict{}, false
	case errors.Is(c.Unvouched, oidc.ErrUnavailable), errors.Is(c.Unvouched, oidc.ErrInvalid):
		return Verdict{Forbid, ProviderUnavailable}, true
	}
	return Verdict{Forbid, StoreUnavailable}, true
}

func decideEndpoint(now time.Time, rule Rule, req Request, c Caller) Verdict {
	e := rule.endpoint
	switch {
	case e == unknown:
		return Verdict{Forbid, NotFound}
	case !e.answers(req.Method):
		return Verdict{Forbid, WrongMethod}
	case (e == start || e == callback || e == signOut) && req.Header.Has("early-data"):
		return Verdict{Forbid, TooEarly} // RFC 8470 §5.2; whatever its value, §5.1
	}
	switch e {
	case start:
		if !req.Navigates() {
			return Verdict{Forbid, LoginRequired}
		}
		return Verdict{BeginLogin, LoginStarted}
	case callback:
		return Verdict{FinishLogin, LoginFinished}
	case signOut:
		return decideSignOut(rule, req, c)
	case signedOut:
		return Verdict{ShowSignOut, SignedOut}
	case userinfo:
		return decideUserinfo(now, rule, c)
	case metadata:
		return Verdict{ShowMetadata, Information}
	case keys:
		return Verdict{ShowKeys, Information}
	}
	return Verdict{Forbid, NotFound}
}

func decideSignOut(rule Rule, req Request, c Caller) Verdict {
	switch {
	case req.Method != "POST":
		return Verdict{AskSignOut, SignedOut}
	case !rule.sameOrigin(req):
		return Verdict{Forbid, ForeignOrigin}
	case c.Unknown != nil && !errors.Is(c.Unknown, session.ErrUnknownKey): // what cannot be opened can be ended
		return Verdict{Forbid, StoreUnavailable}
	}
	return Verdict{EndSession, SignedOut}
}

func decideUserinfo(now time.Time, rule Rule, c Caller) Verdict {
	switch {
	case c.Unknown != nil:
		return Verdict{Forbid, StoreUnavailable}
	case !c.signedIn(now, &rule):
		return Verdict{Forbid, LoginRequired}
	}
	if v, asks := decideStale(now, c); asks {
		return v
	}
	return Verdict{ShowUser, Information}
}

// asks reports whether it matters for a request who calls: only then is the
// store read.
func (r *Rule) asks(req Request) bool {
	switch {
	case r.endpoint != none:
		return r.endpoint.needsSession()
	case r.Passthrough && req.Bearer():
		return false
	}
	return r.Access == Required || r.Access == Optional
}

// signedIn reports whether c has a live session that was made for rule's app, by
// the provider that the app has now.
func (c *Caller) signedIn(now time.Time, rule *Rule) bool {
	return rule.App != nil && c.Session.App == rule.App.id() && c.Session.State(now) != session.Ended &&
		rule.App.trusts(c.Session.Identity)
}

// foreign reports whether req names an origin that is not the app's. A request
// without an Origin comes from no page of another site.
func (r *Rule) foreign(req Request) bool {
	origins := req.Header.Values("origin")
	for _, o := range origins {
		if r.App == nil || o != r.App.origin() {
			return true
		}
	}
	return false
}

// sameOrigin reports whether req was sent by a page of the app itself, by its
// Origin or, where a browser sent none, by its Sec-Fetch-Site.
func (r *Rule) sameOrigin(req Request) bool {
	site := req.Header.Get("sec-fetch-site")
	if r.foreign(req) || (site != "" && site != "same-origin") {
		return false
	}
	return site == "same-origin" || req.Header.Has("origin")
}
