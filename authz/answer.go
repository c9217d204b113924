package authz

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/countersign/countersign/session"
)

// deny answers with a reason: a page for a person, a problem document for a
// program, nothing but the status for a gRPC caller. v is nil when the request
// found no rule.
func (a *Authorizer) deny(v *visit, req Request, reason Reason, cause error) Decision {
	d := newDecision(reason)
	d.Cause = cause
	d.Client = http.Header{}
	d.hint()
	if v != nil {
		v.sign(&d)
		describe(d.Client, v, req, reason)
	}
	a.write(&d, v, req)
	return d
}

// hint says when to try again, where a reason knows.
func (d *Decision) hint() {
	if retry := d.Reason.answer().retryAfter; retry > 0 {
		d.Client.Set("Retry-After", strconv.Itoa(retry))
	}
}

// describe adds the headers that tell a program what it could do.
func describe(h http.Header, v *visit, req Request, reason Reason) {
	switch reason {
	case LoginRequired:
		challenge := `Bearer realm="` + v.rule.App.id() + `"`
		if req.Bearer() {
			challenge += `, error="invalid_token"` // RFC 6750 §3.1
		}
		h.Set("WWW-Authenticate", challenge)
	case WrongMethod:
		for _, m := range endpointMethods[v.rule.endpoint] {
			h.Add("Allow", m)
		}
	}
}

// write gives a decision its body.
func (a *Authorizer) write(d *Decision, v *visit, req Request) {
	protect(d.Client, d.ID)
	switch {
	case req.GRPC():
		// Envoy would copy a body into grpc-message.
	case req.ReadsPages() && d.Reason != LoginRequired: // which no page is about, but a login
		a.writePage(d, page(d, v))
	default:
		writeProblem(d)
	}
	if req.Method == "HEAD" {
		d.Body = nil
	}
}

// page is what a person is told about a decision.
func page(d *Decision, v *visit) Page {
	p := Page{Reason: d.Reason, Status: d.Status, Decision: d.ID}
	if v == nil {
		return p
	}
	app := v.rule.App
	p.App = app.URL.Host
	p.RetryURL = app.address(app.home())
	switch d.Reason {
	case Forbidden:
		p.Explain = v.rule.Explain
		p.Account = v.caller.Session.Identity.Account()
		if v.rule.Access != Denied { // which no account helps against
			p.RetryURL = ""
			p.SwitchURL = app.address(app.Prefix + "/start?prompt=select_account")
			p.SignOutURL = app.address(app.Prefix + "/sign_out")
		}
	case LoginRefused:
		p.SwitchURL = app.address(app.Prefix + "/start?prompt=select_account")
	case StoreUnavailable, ProviderUnavailable:
		if errors.Is(d.Cause, session.ErrUnknownKey) { // waiting may not help, a new session does
			p.SwitchURL = app.address(app.Prefix + "/start")
		}
		if v.rule.endpoint == none && v.req.Method == "GET" && len(v.req.Target()) <= maxReturnBytes {
			p.RetryURL = app.address(v.req.Target())
		}
	}
	return p
}

func (a *Authorizer) writePage(d *Decision, p Page) {
	d.Client.Set("Content-Type", "text/html; charset=utf-8")
	d.Client.Set("Content-Security-Policy", a.Pages.ContentSecurityPolicy())
	d.Client.Set("X-Frame-Options", "DENY")
	d.Body = a.Pages.Render(p)
}

// problem is a problem document (RFC 9457).
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
	Reason   Reason `json:"reason"`
}

func writeProblem(d *Decision) {
	body, err := json.Marshal(problem{
		Type: "about:blank", Title: http.StatusText(d.Status), Status: d.Status,
		Detail: d.Reason.Detail(), Instance: d.ID, Reason: d.Reason,
	})
	if err != nil {
		return
	}
	d.Client.Set("Content-Type", "application/problem+json")
	d.Body = body
}

// protect adds the headers that stand on every answer of ours.
func protect(h http.Header, id string) {
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("X-Countersign-Decision", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// sign writes onto a decision whom and what it is about.
func (v *visit) sign(d *Decision) {
	d.App, d.Rule = v.rule.App.id(), v.rule.Name
	if v.caller.signedIn(v.now, v.rule) {
		d.Subject = v.caller.Session.Identity.Subject
		d.Session = v.caller.Session.ID
	}
}

// redirect answers with a Location.
func (v *visit) redirect(reason Reason, status int, location string) Decision {
	d := newDecision(reason)
	d.Outcome, d.Status = Redirect, status
	d.Client = http.Header{"Location": {location}}
	v.sign(&d)
	protect(d.Client, d.ID)
	return d
}

// respond answers with a document of ours, or with its header alone to a HEAD.
func (v *visit) respond(reason Reason, contentType string, body []byte) Decision {
	d := newDecision(reason)
	d.Client = http.Header{"Content-Type": {contentType}}
	v.sign(&d)
	protect(d.Client, d.ID)
	if v.req.Method != "HEAD" {
		d.Body = body
	}
	return d
}

// respondPage answers with a page that is no refusal.
func (a *Authorizer) respondPage(v visit, reason Reason, edit func(*Page)) Decision {
	d := v.respond(reason, "", nil)
	p := page(&d, &v)
	edit(&p)
	a.writePage(&d, p)
	if v.req.Method == "HEAD" {
		d.Body = nil
	}
	return d
}
