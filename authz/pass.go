package authz

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
)

// AssertionHeader carries the minted token unless an app names another header.
const AssertionHeader = "x-countersign-assertion"

const authorization = "authorization"

// presetHeaders are identity headers of other servers, which upstreams are
// known to believe.
var presetHeaders = []string{
	"x-auth-request-user", "x-auth-request-email", "x-auth-request-groups",
	"x-auth-request-preferred-username", "x-auth-request-access-token",
	"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
}

// reservedPrefixes: every header whose canonical name begins so is ours to set.
var reservedPrefixes = []string{"x-countersign-", "x-auth-request-"}

// identityHeaders are the canonical names of all headers that say who somebody
// is: those of every app, since one upstream may stand behind two of them. The
// Authorization header has rules of its own.
func identityHeaders(apps []*App) []string {
	names := append([]string{AssertionHeader}, presetHeaders...)
	add := func(name string) {
		name = canonicalName(name)
		if name == "" || name == authorization {
			return
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, a := range apps {
		add(a.Token.Header)
		for _, r := range a.Rules {
			add(r.Token.Header)
		}
	}
	return names
}

// canonicalName folds the spellings of a header name that upstreams read as one
// (CVE-2025-64484, CVE-2026-33433): lower case, and "-" for whatever is no letter
// or digit, as CGI variables have it. Nearly every name is canonical already.
func canonicalName(name string) string {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return folded(name)
		}
	}
	return name
}

func folded(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '-'
	}, name)
}

// pass lets the request go on. Every allow is built here.
func (a *Authorizer) pass(ctx context.Context, v visit, reason Reason) Decision {
	var assertion string
	token := v.rule.Token
	if reason == SignedIn && token.Template != nil {
		minted, err := a.Minter.Mint(v.now, token.Template, v.caller.Session)
		if errors.Is(err, mint.ErrEnded) { // within its last second: the session is over
			v.caller = Caller{}
			return a.act(ctx, v, Decide(v.now, *v.rule, v.req, v.caller))
		}
		if err != nil {
			return a.deny(&v, v.req, Internal, err)
		}
		assertion = token.Prefix + minted
	}
	d := newDecision(reason)
	v.sign(&d)
	d.Upstream = a.Routes.edits(v, reason, assertion)
	return d
}

// edits are the changes to a request's headers: nothing that the client sent may
// look like an identity of ours, in no spelling, and no cookie of ours goes on.
func (r *Routes) edits(v visit, reason Reason, assertion string) HeaderEdits {
	e := HeaderEdits{Remove: make([]string, 0, len(r.identity)+4), Set: make([]Field, 0, 2)}
	target := v.rule.Token.Header
	for _, name := range r.identity {
		if name != target || assertion == "" {
			e.Remove = append(e.Remove, name)
		}
	}
	for _, f := range v.req.Header {
		canonical := canonicalName(f.Name)
		if f.Name == canonical && !reserved(canonical) || !r.saysWho(canonical) {
			continue
		}
		if f.Name != target || assertion == "" {
			e.remove(f.Name)
		}
	}
	if v.claimsAuthorization() && (target != authorization || assertion == "") && reason != Passthrough {
		e.remove(authorization)
	}
	if assertion != "" {
		e.Set = append(e.Set, Field{target, assertion})
	}
	if session.HasOurs(v.cookies) {
		if rest := session.WithoutOurs(v.cookies, ""); rest != "" {
			e.Set = append(e.Set, Field{"cookie", rest})
		} else {
			e.remove("cookie")
		}
	}
	return e
}

// claimsAuthorization reports whether the app's upstream expects a token of ours
// in the Authorization header, so that it must see no other there.
func (v *visit) claimsAuthorization() bool {
	return v.rule.Token.Header == authorization || v.rule.App.Token.Header == authorization
}

// saysWho reports whether a canonical name is one that only we may set.
func (r *Routes) saysWho(canonical string) bool {
	return slices.Contains(r.identity, canonical) || reserved(canonical)
}

func reserved(canonical string) bool {
	for _, p := range reservedPrefixes {
		if strings.HasPrefix(canonical, p) {
			return true
		}
	}
	return false
}

func (e *HeaderEdits) remove(name string) {
	if !slices.Contains(e.Remove, name) {
		e.Remove = append(e.Remove, name)
	}
}
