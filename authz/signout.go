package authz

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// signOutLife is how long the provider may take to send the browser back, in
// seconds.
const signOutLife = 600

// askSignOut shows the page whose button ends the session: a link or an image
// on another site must not (OpenID Connect RP-Initiated Logout 1.0 §6).
func (a *Authorizer) askSignOut(v visit) Decision {
	return a.respondPage(v, SignedOut, func(p *Page) {
		p.Account = v.caller.Session.Identity.Account()
		p.SignOutURL = v.rule.App.address(v.rule.App.Prefix + "/sign_out")
	})
}

// endSession ends the session here, then sends the browser to the provider to
// end its session there.
func (a *Authorizer) endSession(ctx context.Context, v visit) Decision {
	app := v.rule.App
	done := app.address(app.Prefix + "/signed_out")
	location, state := done, oidc.NewSecret().Reveal()
	if token, ok := sessionToken(app, v.cookies); ok {
		grant, err := a.Sessions.Grant(ctx, token)
		if err != nil && !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrUnknownKey) {
			return a.deny(&v, v.req, StoreUnavailable, err)
		}
		if err := a.signOut(ctx, v.caller.Session, token.ID()); err != nil {
			return a.deny(&v, v.req, StoreUnavailable, err)
		}
		// The ID token is for the provider that gave it, and no other.
		if at, ok := app.Provider.EndSession(grant.IDToken, done, state); ok && app.trusts(v.caller.Session.Identity) {
			location = at
		}
	}
	d := v.redirect(SignedOut, http.StatusSeeOther, location)
	d.Client.Add("Set-Cookie", session.SetCookie(session.CookieName(app.Name, app.secure()), "", -1, app.secure()))
	if location != done {
		name := session.SignOutCookieName(app.Name, app.secure())
		d.Client.Add("Set-Cookie", session.SetCookie(name, state, signOutLife, app.secure()))
	}
	return d
}

// signOut ends a session with the logins that its owner has under way, or without
// them one that could not be opened.
func (a *Authorizer) signOut(ctx context.Context, s session.Session, id session.ID) error {
	if s.ID != id {
		return a.end(ctx, id)
	}
	a.Minter.Forget(id)
	return a.Sessions.SignOut(ctx, s)
}

// end forgets a session everywhere.
func (a *Authorizer) end(ctx context.Context, id session.ID) error {
	a.Minter.Forget(id)
	return a.Sessions.Delete(ctx, id)
}

var errSignOutState = errors.New("sign-out: state is not the one that was sent")

// showSignOut is where the provider sends the browser back to.
func (a *Authorizer) showSignOut(v visit) Decision {
	app := v.rule.App
	name := session.SignOutCookieName(app.Name, app.secure())
	query, err := url.ParseQuery(v.req.Query)
	sent, _ := session.FindCookie(v.cookies, name)
	if err != nil || len(query["state"]) > 1 || query.Has("state") && !same(sent, query.Get("state")) {
		return a.deny(&v, v.req, Malformed, errSignOutState)
	}
	d := a.respondPage(v, SignedOut, func(*Page) {})
	if _, ok := session.FindCookie(v.cookies, name); ok {
		d.Client.Add("Set-Cookie", session.SetCookie(name, "", -1, app.secure()))
	}
	return d
}

// same compares secrets without telling by its time how far they agree.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
