package authz

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// Sessions is what an Authorizer asks of the session store; session.Vault is
// one. An error other than session.ErrNotFound means that it gave no answer.
type Sessions interface {
	Create(ctx context.Context, now time.Time, l session.Login) (session.Token, session.Session, error)
	Load(ctx context.Context, now time.Time, t session.Token) (session.Session, error)
	Grant(ctx context.Context, t session.Token) (oidc.Grant, error)
	Delete(ctx context.Context, id session.ID) error
	SignOut(ctx context.Context, s session.Session) error
	Use(s session.Session, now time.Time)
	Renew(ctx context.Context, now time.Time, t session.Token, s session.Session, p session.Provider) (session.Session, error)
	RenewAhead(ctx context.Context, now time.Time, t session.Token, s session.Session, p session.Provider)

	SealAttempt(a oidc.Attempt, app, redirectURI string) string
	OpenAttempt(value, app, redirectURI string) (oidc.Attempt, error)
	Claim(ctx context.Context, a oidc.Attempt) (at time.Time, first bool, err error)
	Settle(ctx context.Context, a oidc.Attempt, result []byte) error
	Settled(ctx context.Context, a oidc.Attempt) ([]byte, error)
}

// Provider is what an Authorizer asks of an OpenID provider; oidc.Provider is
// one, and documents the errors.
type Provider interface {
	session.Provider // asked about a session that it began
	Begin(now time.Time, redirectURI, returnTo string, chooseAccount bool) (oidc.Attempt, string, error)
	Finish(ctx context.Context, a oidc.Attempt, redirectURI string, query url.Values) (oidc.Grant, error)
	EndSession(idToken oidc.Secret, returnTo, state string) (string, bool)
}

// Minter signs the token that an upstream gets; mint.Signer is one.
type Minter interface {
	Mint(now time.Time, t *mint.Template, s session.Session) (string, error)
	Forget(id session.ID)
	JWKS() []byte
}

// Authorizer decides about requests and makes happen what it decided. All
// fields but Now must be set; it is safe for concurrent use.
type Authorizer struct {
	Routes   *Routes
	Sessions Sessions
	Minter   Minter
	Pages    Pages
	Now      func() time.Time // nil: time.Now

	logins  atomic.Int64 // exchanges under way, which outlive their request
	waiting atomic.Int64 // requests that wait for another one's exchange
}

// Check answers a request. It returns a complete Decision, whatever happens.
func (a *Authorizer) Check(ctx context.Context, req Request) Decision {
	now := a.now()
	rule, reason := a.Routes.find(req)
	if rule == nil {
		return a.deny(nil, req, reason, nil)
	}
	v := &visit{now: now, rule: rule, req: req}
	a.identify(ctx, v)
	return a.decide(ctx, v)
}

// decide decides about a visit and makes it happen. It is apart from Check, on
// whose stack the session is read.
//
//go:noinline
func (a *Authorizer) decide(ctx context.Context, v *visit) Decision {
	return a.act(ctx, *v, Decide(v.now, *v.rule, v.req, v.caller))
}

// visit is what is known about a request once it has found its rule.
type visit struct {
	now     time.Time
	rule    *Rule
	req     Request
	cookies []session.Cookie
	caller  Caller
}

// act makes a verdict happen.
func (a *Authorizer) act(ctx context.Context, v visit, verdict Verdict) Decision {
	switch verdict.Action {
	case Pass:
		return a.pass(ctx, v, verdict.Reason)
	case Renew:
		return a.renew(ctx, v)
	case BeginLogin:
		return a.begin(v, verdict.Reason)
	case FinishLogin:
		return a.finish(ctx, v)
	case AskSignOut:
		return a.askSignOut(v)
	case EndSession:
		return a.endSession(ctx, v)
	case ShowSignOut:
		return a.showSignOut(v)
	case ShowUser:
		return a.showUser(v)
	case ShowMetadata:
		return a.showMetadata(v)
	case ShowKeys:
		return a.showKeys(v)
	case Forbid:
		return a.deny(&v, v.req, verdict.Reason, v.caller.fault())
	}
	return a.deny(&v, v.req, Internal, errors.New("authz: action without an effect"))
}

// identify finds out who asks, as far as the rule wants to know. It is on the way
// to the store, where a check's stack must suffice: nothing is copied.
func (a *Authorizer) identify(ctx context.Context, v *visit) {
	v.cookies = session.ReadCookies(v.req.Header.Values("cookie"), v.req.Header.Has("sec-fetch-site"))
	if !v.rule.asks(v.req) {
		return
	}
	token, ok := sessionToken(v.rule.App, v.cookies)
	if !ok {
		return
	}
	var err error
	v.caller.Session, err = a.Sessions.Load(ctx, v.now, token)
	switch {
	case errors.Is(err, session.ErrNotFound):
		v.caller = Caller{}
	case err != nil:
		v.caller = Caller{Unknown: err}
	case v.caller.signedIn(v.now, v.rule):
		a.use(ctx, v, token)
	}
}

// use notes that a session is used, and has the provider asked ahead of time
// whether it still holds: an absent person's sessions are left alone.
func (a *Authorizer) use(ctx context.Context, v *visit, t session.Token) {
	s := &v.caller.Session
	a.Sessions.Use(*s, v.now)
	if s.Renews(v.now) && s.State(v.now) == session.Fresh && v.rule.endpoint != signOut {
		a.Sessions.RenewAhead(ctx, v.now, t, *s, v.rule.App.Provider)
	}
}

// sessionToken reads the app's session cookie.
func sessionToken(app *App, cookies []session.Cookie) (session.Token, bool) {
	value, ok := session.FindCookie(cookies, session.CookieName(app.Name, app.secure()))
	if !ok {
		return session.Token{}, false
	}
	return session.ParseToken(value)
}

// secure reports whether the app's cookies may carry the Secure attribute.
func (a *App) secure() bool { return a.URL.Scheme == "https" }

func (a *Authorizer) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// Wait returns when no login is under way any more, or with ctx. A server calls
// it after its last request, so that no code is spent in vain.
func (a *Authorizer) Wait(ctx context.Context) error {
	tick := time.NewTicker(resultPoll)
	defer tick.Stop()
	for a.logins.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
