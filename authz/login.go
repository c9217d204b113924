package authz

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// Bounds on logins.
const (
	maxAttempts     = 8                // under way in one browser
	maxAttemptBytes = 900              // of the cookie of one
	maxWaiting      = 256              // for other requests' exchanges, in one process
	exchangeTimeout = 20 * time.Second // for provider and store together
	resultWait      = 21 * time.Second // for another request's exchange: longer than one can take
	resultPoll      = 50 * time.Millisecond
)

// begin sends a browser to the provider. It writes nothing to the store: the
// attempt waits in a cookie.
func (a *Authorizer) begin(v visit, reason Reason) Decision {
	app := v.rule.App
	if named := v.param("provider"); v.rule.endpoint == start && named != "" && named != app.Provider.Name() {
		return a.deny(&v, v.req, NotFound, nil)
	}
	chooseAccount := reason == LoginStarted && v.param("prompt") == "select_account"
	attempt, location, err := app.Provider.Begin(v.now, app.redirectURI(), v.returnTo(), chooseAccount)
	if err != nil {
		return a.deny(&v, v.req, ProviderUnavailable, err)
	}
	d := v.redirect(reason, http.StatusFound, location)
	for _, name := range a.surplusAttempts(v) {
		d.Client.Add("Set-Cookie", session.SetCookie(name, "", -1, app.secure()))
	}
	name := session.AttemptCookieName(app.Name, attemptTag(attempt.State), app.secure())
	value := a.Sessions.SealAttempt(attempt, app.id(), app.redirectURI())
	if len(value) > maxAttemptBytes {
		attempt.ReturnTo = app.home()
		value = a.Sessions.SealAttempt(attempt, app.id(), app.redirectURI())
	}
	d.Client.Add("Set-Cookie", session.SetCookie(name, value, int(oidc.AttemptLife.Seconds()), app.secure()))
	return d
}

// attemptTag tells the attempts of one browser apart. It is derived from the
// state, so that the callback finds its attempt, and says nothing about it.
func attemptTag(state oidc.Secret) string {
	sum := sha256.Sum256([]byte("attempt " + state.Reveal()))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// surplusAttempts names the attempt cookies that must go so that a further one
// finds room: those that do not open any more, and the oldest.
func (a *Authorizer) surplusAttempts(v visit) []string {
	app := v.rule.App
	prefix := session.AttemptCookieName(app.Name, "", app.secure())
	var surplus, live []string
	var oldest []time.Time
	for _, c := range v.cookies {
		tag, ok := strings.CutPrefix(c.Name, prefix)
		if !ok || strings.Contains(tag, ".") || // another app's, if this one has no name
			len(live)+len(surplus) == 4*maxAttempts {
			continue
		}
		attempt, err := a.Sessions.OpenAttempt(c.Value, app.id(), app.redirectURI())
		if err != nil || attempt.Expired(v.now) {
			surplus = append(surplus, c.Name)
			continue
		}
		live, oldest = append(live, c.Name), append(oldest, attempt.Started)
	}
	for len(live) >= maxAttempts {
		first := 0
		for i := range oldest {
			if oldest[i].Before(oldest[first]) {
				first = i
			}
		}
		surplus = append(surplus, live[first])
		live = append(live[:first], live[first+1:]...)
		oldest = append(oldest[:first], oldest[first+1:]...)
	}
	return surplus
}

// returnTo is where the person goes after the login: the page that was asked
// for, or, from the start endpoint, its rd parameter if that stays in the app.
func (v *visit) returnTo() string {
	target := v.req.Target()
	if v.rule.endpoint == start {
		target = v.rule.App.pathWithin(v.param("rd"))
	}
	target = strings.ReplaceAll(target, `\`, "%5C") // browsers take it as a slash
	if len(target) > maxReturnBytes || hasControl(target) {
		return v.rule.App.home()
	}
	return target
}

// pathWithin returns path and query of an address of this app, or its home for
// any other address.
func (a *App) pathWithin(rd string) string {
	if len(rd) > len(a.origin())+maxReturnBytes {
		return a.home()
	}
	if rest, ok := strings.CutPrefix(rd, a.origin()); ok && strings.HasPrefix(rest, "/") {
		rd = rest
	}
	path, _, _ := strings.Cut(rd, "?")
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) {
		return a.home()
	}
	paths, err := read(path)
	if err != nil {
		return a.home()
	}
	for _, p := range paths {
		if !below(p, a.URL.Path) || below(p, a.Prefix) {
			return a.home()
		}
	}
	return rd
}

// param is the value of a query parameter that comes once, else "".
func (v *visit) param(name string) string {
	query, err := url.ParseQuery(v.req.Query)
	if err != nil || len(query[name]) != 1 {
		return ""
	}
	return query[name][0]
}

// finish ends a login. However often its request arrives, the code is exchanged
// once and every arrival ends alike.
func (a *Authorizer) finish(ctx context.Context, v visit) Decision {
	query, err := url.ParseQuery(v.req.Query)
	if err != nil || len(query["state"]) != 1 || query.Get("state") == "" || len(query["code"])+len(query["error"]) != 1 {
		return a.deny(&v, v.req, Malformed, err)
	}
	attempt, name, err := a.attempt(v, oidc.Secret(query.Get("state")))
	if err != nil {
		if v.caller.signedIn(v.now, v.rule) {
			return v.redirect(LoginFinished, http.StatusSeeOther, v.rule.App.address(v.rule.App.home()))
		}
		return a.deny(&v, v.req, LoginExpired, err)
	}
	claimed, first, err := a.Sessions.Claim(ctx, attempt)
	if err != nil {
		return a.deny(&v, v.req, StoreUnavailable, err)
	}
	var r loginResult
	if first {
		r, err = a.exchange(ctx, v, arrival{attempt, query, claimed})
	} else {
		r, err = a.awaitResult(ctx, attempt)
	}
	switch {
	case err == nil:
		return a.finished(v, attempt, name, r)
	case ctx.Err() != nil || errors.Is(err, errCrowded):
		return a.stillExchanging(v, err)
	case errors.Is(err, errNoResult): // nor will there be one
		return a.deny(&v, v.req, LoginExpired, err)
	}
	return a.deny(&v, v.req, StoreUnavailable, err)
}

var (
	errNoAttempt      = errors.New("login attempt: no cookie for this state")
	errAttemptExpired = errors.New("login attempt: took too long")
)

// attempt finds and opens the cookie of the attempt with that state.
func (a *Authorizer) attempt(v visit, state oidc.Secret) (oidc.Attempt, string, error) {
	app := v.rule.App
	name := session.AttemptCookieName(app.Name, attemptTag(state), app.secure())
	value, ok := session.FindCookie(v.cookies, name)
	if !ok {
		return oidc.Attempt{}, "", errNoAttempt
	}
	attempt, err := a.Sessions.OpenAttempt(value, app.id(), app.redirectURI())
	if err != nil {
		return oidc.Attempt{}, "", err
	}
	if attempt.Expired(v.now) || attempt.Provider != app.Provider.Name() {
		return oidc.Attempt{}, "", errAttemptExpired
	}
	return attempt, name, nil
}

// loginResult is how a login ended, for all requests that brought its callback.
type loginResult struct {
	Reason  Reason `json:"reason"`
	Token   string `json:"token,omitempty"` // of the new session
	Subject string `json:"sub,omitempty"`   // whose it is
	Cause   string `json:"cause,omitempty"` // for the log
}

// arrival is what the first request that came back with an attempt brought.
type arrival struct {
	attempt oidc.Attempt
	query   url.Values
	claimed time.Time // when it was found to be the first
}

// exchange redeems the code, on a context that outlives the request: Envoy may
// stop waiting before the provider answers, and a code cannot be used twice.
func (a *Authorizer) exchange(ctx context.Context, v visit, back arrival) (loginResult, error) {
	done := make(chan loginResult, 1)
	a.logins.Add(1)
	go func() {
		defer a.logins.Add(-1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTimeout)
		defer cancel()
		done <- a.redeem(ctx, v, back)
	}()
	select {
	case r := <-done:
		return r, nil
	case <-ctx.Done():
		return loginResult{}, ctx.Err()
	}
}

// redeem exchanges the code, makes the session and settles the claim.
func (a *Authorizer) redeem(ctx context.Context, v visit, back arrival) (r loginResult) {
	defer func() {
		if p := recover(); p != nil {
			r = loginResult{Reason: Internal, Cause: "panic during the exchange"}
		}
		a.settle(ctx, back.attempt, r)
	}()
	app := v.rule.App
	grant, err := app.Provider.Finish(ctx, back.attempt, app.redirectURI(), back.query)
	if err != nil {
		return loginResult{Reason: loginReason(err), Cause: err.Error()}
	}
	token, _, err := a.Sessions.Create(ctx, a.now(), session.Login{
		App: app.id(), Grant: grant, Browser: v.req.browser(), Claimed: back.claimed,
	})
	if errors.Is(err, session.ErrNotFound) { // signed out meanwhile
		return loginResult{Reason: LoginExpired, Cause: err.Error()}
	}
	if err != nil {
		return loginResult{Reason: StoreUnavailable, Cause: err.Error()}
	}
	r = loginResult{Reason: LoginFinished, Token: token.Reveal(), Subject: grant.Subject}
	// The session that was there before must not live on beside the new one.
	if old, ok := sessionToken(app, v.cookies); ok {
		if err := a.end(ctx, old.ID()); err != nil {
			r.Cause = err.Error()
		}
	}
	return r
}

func (a *Authorizer) settle(ctx context.Context, attempt oidc.Attempt, r loginResult) {
	sealed, err := json.Marshal(r)
	if err == nil {
		// Without it the other arrivals of this callback wait in vain, and end.
		_ = a.Sessions.Settle(ctx, attempt, sealed)
	}
}

// loginReason says what an error of Finish means to the person.
func loginReason(err error) Reason {
	switch {
	case errors.Is(err, oidc.ErrRefused):
		return LoginRefused
	case errors.Is(err, oidc.ErrInvalid):
		return LoginInvalid
	}
	return ProviderUnavailable
}

var (
	errNoResult = errors.New("login attempt: no result of the first arrival")
	errCrowded  = errors.New("login attempt: too many wait for the results of others")
)

// awaitResult waits for the exchange that another request began, asking the
// store ever less often.
func (a *Authorizer) awaitResult(ctx context.Context, attempt oidc.Attempt) (loginResult, error) {
	if a.waiting.Add(1) > maxWaiting {
		a.waiting.Add(-1)
		return loginResult{}, errCrowded
	}
	defer a.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, resultWait)
	defer cancel()
	for pause := resultPoll; ; pause += pause / 4 {
		sealed, err := a.Sessions.Settled(ctx, attempt)
		if err == nil {
			var r loginResult
			err = json.Unmarshal(sealed, &r)
			return r, err
		}
		if !errors.Is(err, session.ErrNotFound) {
			return loginResult{}, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return loginResult{}, errNoResult
		}
	}
}

// stillExchanging answers the caller who cannot wait any longer with a page
// that asks again by itself.
func (a *Authorizer) stillExchanging(v visit, cause error) Decision {
	d := a.deny(&v, v.req, ProviderUnavailable, cause)
	d.Client.Set("Retry-After", "1")
	if v.req.ReadsPages() {
		p := page(&d, &v)
		p.RefreshSeconds = 1
		a.writePage(&d, p)
	}
	return d
}

// finished answers with the result of a login. The attempt is over, unless the
// provider or the store gave no answer.
func (a *Authorizer) finished(v visit, attempt oidc.Attempt, attemptCookie string, r loginResult) Decision {
	app := v.rule.App
	var cause error
	if r.Cause != "" {
		cause = errors.New(r.Cause)
	}
	if r.Reason != LoginFinished {
		d := a.deny(&v, v.req, r.Reason, cause)
		d.Login = attempt.Provider
		if d.Outcome != Fail {
			d.Client.Add("Set-Cookie", session.SetCookie(attemptCookie, "", -1, app.secure()))
		}
		return d
	}
	d := v.redirect(LoginFinished, http.StatusSeeOther, app.address(attempt.ReturnTo))
	d.Cause, d.Login, d.Subject = cause, attempt.Provider, r.Subject
	if token, ok := session.ParseToken(r.Token); ok {
		d.Session = token.ID() // the new one, not that which the request brought
	}
	d.Client.Add("Set-Cookie", session.SetCookie(session.CookieName(app.Name, app.secure()), r.Token, 0, app.secure()))
	d.Client.Add("Set-Cookie", session.SetCookie(attemptCookie, "", -1, app.secure()))
	return d
}
