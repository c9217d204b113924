package authz_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/session"
)

// theApp is one that lets in whoever has an address at example.org.
var theApp = &authz.App{
	Name: "app", URL: &url.URL{Scheme: "https", Host: "app.test"}, Provider: quick{},
	Allow: authz.Permission{AnyOf: []authz.Condition{{EmailDomains: []string{"example.org"}}}},
}

// rule is one of theApp that refuses nobody whom the app lets in.
func rule(access authz.Access) authz.Rule {
	return authz.Rule{App: theApp, Access: access, Allow: authz.Permission{Everyone: true}}
}

func adminRule() authz.Rule {
	r := rule(authz.Required)
	r.Allow = authz.Permission{AnyOf: []authz.Condition{{Groups: []string{"admin"}}}}
	return r
}

func passthrough(access authz.Access) authz.Rule {
	r := rule(access)
	r.Passthrough = true
	return r
}

// since is somebody who signed in at noon: for half an hour unused and an hour in
// all.
func since(p oidctest.Person) authz.Caller {
	return authz.Caller{Session: session.Session{
		ID: session.Token{1}.ID(), App: "app", Identity: identity(p),
		Created: noon, Seen: noon, Ends: noon.Add(time.Hour), Idle: 30 * time.Minute, Version: 1,
	}}
}

// usedAfter is c with a last use so long after noon.
func usedAfter(c authz.Caller, d time.Duration) authz.Caller {
	c.Session.Seen = noon.Add(d)
	return c
}

// due is c whose provider must be asked after ten minutes, with five of grace.
func due(c authz.Caller) authz.Caller {
	c.Session.Checked = noon
	c.Session.Renew, c.Session.Due = noon.Add(8*time.Minute), noon.Add(10*time.Minute)
	c.Session.Lapses = noon.Add(15 * time.Minute)
	return c
}

// unvouched is c after the provider was asked in vain.
func unvouched(c authz.Caller, err error) authz.Caller {
	c.Unvouched = err
	return c
}

func TestDecide(t *testing.T) {
	var (
		nobody = authz.Caller{}
		away   = authz.Caller{Unknown: errAway}
		script = with(program("/"), "sec-fetch-mode", "cors", "sec-fetch-dest", "empty")
		bearer = with(program("/"), "authorization", "Bearer abc")
		upload = request(http.MethodPost, "/")
		socket = with(request(http.MethodGet, "/"), "upgrade", "websocket", "connection", "upgrade")
		local  = with(socket, "origin", "https://app.test")
		attack = with(socket, "origin", "https://evil.example")
	)
	tests := []struct {
		name   string
		after  time.Duration // since noon
		rule   authz.Rule
		req    authz.Request
		caller authz.Caller
		want   authz.Verdict
	}{
		{"nobody_on_a_page", 0, rule(authz.Required), page("/"), nobody, verdict(authz.BeginLogin, authz.LoginRequired)},
		{"nobody_with_a_program", 0, rule(authz.Required), program("/"), nobody, verdict(authz.Forbid, authz.LoginRequired)},
		{"nobody_with_a_script_ST-A09", 0, rule(authz.Required), script, nobody, verdict(authz.Forbid, authz.LoginRequired)},
		{"nobody_posts_ST-A10", 0, rule(authz.Required), upload, nobody, verdict(authz.Forbid, authz.LoginRequired)},
		{"alice_on_a_page", 0, rule(authz.Required), page("/"), since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"alice_with_a_program", 0, rule(authz.Required), program("/"), since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"alice_posts", 0, rule(authz.Required), upload, since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"alice_on_a_staff_page", 0, adminRule(), page("/"), since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"bob_on_a_staff_page", 0, adminRule(), page("/"), since(bob), verdict(authz.Forbid, authz.Forbidden)},
		{"mallory_may_not_enter_at_all", 0, rule(authz.Required), page("/"), since(mallory), verdict(authz.Forbid, authz.Forbidden)},

		{"session_one_moment_before_its_idle_end", 30*time.Minute - 1, rule(authz.Required), page("/"), since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"session_idles_out_exactly_now", 30 * time.Minute, rule(authz.Required), page("/"), since(alice), verdict(authz.BeginLogin, authz.LoginRequired)},
		{"session_one_moment_before_its_absolute_end", time.Hour - 1, rule(authz.Required), page("/"), usedAfter(since(alice), 50*time.Minute), verdict(authz.Pass, authz.SignedIn)},
		{"session_ends_exactly_now", time.Hour, rule(authz.Required), page("/"), usedAfter(since(alice), 50*time.Minute), verdict(authz.BeginLogin, authz.LoginRequired)},
		{"session_ends_exactly_now_for_a_program", time.Hour, rule(authz.Required), program("/"), usedAfter(since(alice), 50*time.Minute), verdict(authz.Forbid, authz.LoginRequired)},
		{"session_ends_exactly_now_on_an_optional_page", time.Hour, rule(authz.Optional), page("/"), usedAfter(since(alice), 50*time.Minute), verdict(authz.Pass, authz.Public)},
		{"session_is_due_one_moment_later", 10*time.Minute - 1, rule(authz.Required), page("/"), due(since(alice)), verdict(authz.Pass, authz.SignedIn)},
		{"session_is_due_exactly_now", 10 * time.Minute, rule(authz.Required), page("/"), due(since(alice)), verdict(authz.Renew, authz.SignedIn)},
		{"session_is_due_on_an_optional_page", 10 * time.Minute, rule(authz.Optional), page("/"), due(since(alice)), verdict(authz.Renew, authz.SignedIn)},
		{"session_is_due_on_a_public_page", 10 * time.Minute, rule(authz.Unprotected), page("/"), authz.Caller{}, verdict(authz.Pass, authz.Public)},
		{"session_is_due_before_the_rule_is_asked", 10 * time.Minute, adminRule(), page("/"), due(since(bob)), verdict(authz.Renew, authz.SignedIn)},
		{"session_within_its_grace", 15*time.Minute - 1, rule(authz.Required), page("/"), unvouched(due(since(alice)), oidc.ErrUnavailable), verdict(authz.Pass, authz.SignedIn)},
		{"session_within_its_grace_where_it_may_not_go", 11 * time.Minute, adminRule(), page("/"), unvouched(due(since(bob)), oidc.ErrUnavailable), verdict(authz.Forbid, authz.Forbidden)},
		{"session_lapses_exactly_now", 15 * time.Minute, rule(authz.Required), page("/"), unvouched(due(since(alice)), oidc.ErrUnavailable), verdict(authz.Forbid, authz.ProviderUnavailable)},
		{"session_lapses_on_an_optional_page", 15 * time.Minute, rule(authz.Optional), page("/"), unvouched(due(since(alice)), oidc.ErrUnavailable), verdict(authz.Forbid, authz.ProviderUnavailable)},
		{"session_lapses_at_an_invalid_answer", 15 * time.Minute, rule(authz.Required), page("/"), unvouched(due(since(alice)), oidc.ErrSignature), verdict(authz.Forbid, authz.ProviderUnavailable)},
		{"session_lapses_while_the_store_is_away", 15 * time.Minute, rule(authz.Required), page("/"), unvouched(due(since(alice)), errAway), verdict(authz.Forbid, authz.StoreUnavailable)},
		{"session_ends_before_it_is_renewed", time.Hour, rule(authz.Required), page("/"), due(since(alice)), verdict(authz.BeginLogin, authz.LoginRequired)},
		{"session_of_another_app", 0, rule(authz.Required), program("/"), ofApp(since(alice), "other"), verdict(authz.Forbid, authz.LoginRequired)},
		{"session_of_nobody", 0, rule(authz.Required), program("/"), ofNobody(since(alice)), verdict(authz.Forbid, authz.LoginRequired)},

		{"store_away", 0, rule(authz.Required), page("/"), away, verdict(authz.Forbid, authz.StoreUnavailable)},
		{"store_away_on_an_optional_page", 0, rule(authz.Optional), page("/"), away, verdict(authz.Forbid, authz.StoreUnavailable)},
		{"store_away_on_a_public_page", 0, rule(authz.Unprotected), page("/"), away, verdict(authz.Pass, authz.Public)},

		{"nobody_on_an_optional_page", 0, rule(authz.Optional), page("/"), nobody, verdict(authz.Pass, authz.Public)},
		{"alice_on_an_optional_page", 0, rule(authz.Optional), page("/"), since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"mallory_on_an_optional_page", 0, rule(authz.Optional), page("/"), since(mallory), verdict(authz.Forbid, authz.Forbidden)},
		{"nobody_on_a_public_page", 0, rule(authz.Unprotected), upload, nobody, verdict(authz.Pass, authz.Public)},
		{"alice_where_nobody_may", 0, rule(authz.Denied), page("/"), since(alice), verdict(authz.Forbid, authz.Forbidden)},
		{"bearer_where_nobody_else_may", 0, passthrough(authz.Denied), bearer, nobody, verdict(authz.Pass, authz.Passthrough)},
		{"no_bearer_where_nobody_else_may", 0, passthrough(authz.Denied), page("/"), since(alice), verdict(authz.Forbid, authz.Forbidden)},

		{"bearer_for_the_upstream", 0, passthrough(authz.Required), bearer, nobody, verdict(authz.Pass, authz.Passthrough)},
		{"bearer_for_us", 0, rule(authz.Required), bearer, nobody, verdict(authz.Forbid, authz.LoginRequired)},
		{"nobody_without_the_bearer", 0, passthrough(authz.Required), program("/"), nobody, verdict(authz.Forbid, authz.LoginRequired)},
		{"alice_without_the_bearer", 0, passthrough(authz.Required), program("/"), since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"empty_bearer", 0, passthrough(authz.Required), with(program("/"), "authorization", "Bearer "), nobody, verdict(authz.Forbid, authz.LoginRequired)},
		{"basic_is_no_bearer", 0, passthrough(authz.Required), with(program("/"), "authorization", "Basic YTpi"), nobody, verdict(authz.Forbid, authz.LoginRequired)},

		{"socket_of_the_app", 0, rule(authz.Required), local, since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"socket_of_another_site_UP-A03", 0, rule(authz.Required), attack, since(alice), verdict(authz.Forbid, authz.ForeignOrigin)},
		{"socket_of_another_site_on_a_public_page_UP-A03", 0, rule(authz.Unprotected), attack, nobody, verdict(authz.Forbid, authz.ForeignOrigin)},
		{"socket_of_two_sites_UP-A03", 0, rule(authz.Required), with(local, "origin", "https://evil.example"), since(alice), verdict(authz.Forbid, authz.ForeignOrigin)},
		{"socket_of_an_opaque_origin_UP-A03", 0, rule(authz.Required), with(socket, "origin", "null"), since(alice), verdict(authz.Forbid, authz.ForeignOrigin)},
		{"socket_over_http2_of_another_site_UP-A03", 0, rule(authz.Required), with(request(http.MethodConnect, "/"), ":protocol", "websocket", "origin", "https://evil.example"), since(alice), verdict(authz.Forbid, authz.ForeignOrigin)},
		{"socket_without_a_browser", 0, rule(authz.Required), socket, since(alice), verdict(authz.Pass, authz.SignedIn)},
		{"socket_with_an_ended_session_UP-A01", time.Hour, rule(authz.Required), local, since(alice), verdict(authz.Forbid, authz.LoginRequired)},
		{"page_of_another_site_is_a_link", 0, rule(authz.Required), with(page("/"), "origin", "https://evil.example"), since(alice), verdict(authz.Pass, authz.SignedIn)},

		{"zero_app_permission", 0, withApp(rule(authz.Required), &authz.App{Name: "app", URL: theApp.URL, Provider: quick{}}), page("/"), since(alice), verdict(authz.Forbid, authz.Forbidden)},
		{"zero_rule_permission", 0, authz.Rule{App: theApp}, page("/"), since(alice), verdict(authz.Forbid, authz.Forbidden)},
		{"zero_rule", 0, authz.Rule{}, program("/"), since(alice), verdict(authz.Forbid, authz.LoginRequired)},
		{"zero_request", 0, rule(authz.Required), authz.Request{}, nobody, verdict(authz.Forbid, authz.LoginRequired)},
		{"unknown_access", 0, rule(authz.Access(200)), program("/"), nobody, verdict(authz.Forbid, authz.LoginRequired)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := authz.Decide(noon.Add(tt.after), tt.rule, tt.req, tt.caller)
			if got != tt.want {
				t.Errorf("Decide = %v, want %v", got, tt.want)
			}
			if again := authz.Decide(noon.Add(tt.after), tt.rule, tt.req, tt.caller); again != got {
				t.Errorf("Decide = %v the second time, want %v", again, got)
			}
		})
	}
}

func withApp(r authz.Rule, app *authz.App) authz.Rule {
	r.App = app
	return r
}

func ofApp(c authz.Caller, app string) authz.Caller {
	c.Session.App = app
	return c
}

func ofNobody(c authz.Caller) authz.Caller {
	c.Session.Identity.Subject = ""
	return c
}

func TestZeroValuesDeny(t *testing.T) {
	var (
		zero     authz.Verdict
		outcome  authz.Outcome
		decision authz.Decision
		reason   authz.Reason
	)
	if zero.Action != authz.Forbid {
		t.Errorf("zero Verdict = %v, want Forbid", zero)
	}
	if outcome != authz.Deny || decision.Outcome != authz.Deny || outcome.String() != "deny" || authz.Outcome(99).String() != "deny" {
		t.Errorf("zero Outcome = %v, zero Decision = %v, want deny", outcome, decision.Outcome)
	}
	if reason.Detail() != authz.Internal.Detail() {
		t.Errorf("Detail of the zero Reason = %q, want that of internal", reason.Detail())
	}
	if (authz.Pattern{}).Match("") || (authz.Pattern{}).Match("/") {
		t.Error("zero Pattern matches")
	}
	if (authz.Permission{}).Permits(identity(alice)) {
		t.Error("zero Permission permits alice")
	}
	if (authz.Permission{AnyOf: []authz.Condition{{}}}).Permits(identity(alice)) {
		t.Error("zero Condition holds for alice")
	}
	if (authz.Permission{Everyone: true}).Permits(oidc.Identity{}) {
		t.Error("everyone is nobody")
	}
	if d := authz.Failed("no such reason", nil); d.Outcome != authz.Fail || d.Status != http.StatusInternalServerError {
		t.Errorf("Failed of an unknown reason = %v %d, want fail 500", d.Outcome, d.Status)
	}
}

func verdict(a authz.Action, r authz.Reason) authz.Verdict {
	return authz.Verdict{Action: a, Reason: r}
}

// A session is good for the app that it was made for, by the provider that the
// app has now, and nowhere else.
func TestSessionOfAnotherUnnamedApp(t *testing.T) {
	weak := &authz.App{URL: &url.URL{Scheme: "https", Host: "low.test"}, Provider: quick{}, Allow: authz.Permission{Everyone: true}}
	bank := &authz.App{URL: &url.URL{Scheme: "https", Host: "bank.test"}, Provider: quick{}, Allow: authz.Permission{Everyone: true}}
	moved := &authz.App{URL: weak.URL, Provider: elsewhere{}, Allow: weak.Allow}
	c := ofApp(since(alice), "low.test")
	now := c.Session.Created
	for _, tt := range []struct {
		name string
		app  *authz.App
		want authz.Verdict
	}{
		{"at_home", weak, authz.Verdict{Action: authz.Pass, Reason: authz.SignedIn}},
		{"at_another_app_HO-A05", bank, authz.Verdict{Action: authz.BeginLogin, Reason: authz.LoginRequired}},
		{"after_the_provider_was_changed", moved, authz.Verdict{Action: authz.BeginLogin, Reason: authz.LoginRequired}},
	} {
		if got := authz.Decide(now, withApp(rule(authz.Required), tt.app), page("/"), c); got != tt.want {
			t.Errorf("%s: Decide = %v, want %v", tt.name, got, tt.want)
		}
	}
}

type elsewhere struct{ quick }

func (elsewhere) Name() string { return "another" }
