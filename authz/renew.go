package authz

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/session"
)

// renewWait is how long a request waits for the provider to vouch for its session
// again. The question goes on after that.
const renewWait = 2 * time.Second

var errStillStale = errors.New("session: it is due again at once")

// renew has the provider vouch for the session, and decides anew.
func (a *Authorizer) renew(ctx context.Context, v visit) Decision {
	v.caller = a.vouched(ctx, v)
	v.now = a.now()
	return a.act(ctx, v, Decide(v.now, *v.rule, v.req, v.caller))
}

// vouched is the caller as the provider vouches for them now. It is either not
// Stale any more or Unvouched, so that nobody is asked about twice.
func (a *Authorizer) vouched(ctx context.Context, v visit) Caller {
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	token, _ := sessionToken(v.rule.App, v.cookies)
	s, err := a.Sessions.Renew(ctx, v.now, token, v.caller.Session, v.rule.App.Provider)
	switch {
	case errors.Is(err, session.ErrNotFound):
		a.Minter.Forget(v.caller.Session.ID)
		return Caller{}
	case err == nil && s.State(a.now()) == session.Stale:
		err = errStillStale
	}
	if err != nil {
		return a.unvouched(ctx, token, err)
	}
	return Caller{Session: s}
}

// unvouched is the caller after a question without an answer. It may have taken
// so long that the session was ended meanwhile: it is loaded again.
func (a *Authorizer) unvouched(ctx context.Context, token session.Token, cause error) Caller {
	s, err := a.Sessions.Load(context.WithoutCancel(ctx), a.now(), token)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return Caller{}
	case err != nil:
		return Caller{Unknown: err}
	}
	return Caller{Session: s, Unvouched: cause}
}
