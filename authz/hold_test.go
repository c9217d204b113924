package authz_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/session"
)

// fixed is what CONTRACT and this package say about each reason: the outcomes
// and statuses that it may have.
var fixed = map[authz.Reason]map[authz.Outcome][]int{
	authz.Public:      {authz.Allow: {200}},
	authz.SignedIn:    {authz.Allow: {200}},
	authz.Passthrough: {authz.Allow: {200}},

	authz.LoginRequired: {authz.Redirect: {302}, authz.Deny: {401}},
	authz.LoginStarted:  {authz.Redirect: {302}},
	authz.LoginFinished: {authz.Redirect: {303}},
	authz.LoginRefused:  {authz.Deny: {403}},
	authz.LoginInvalid:  {authz.Deny: {400}},
	authz.LoginExpired:  {authz.Deny: {400}},
	authz.SignedOut:     {authz.Respond: {200}, authz.Redirect: {303}},
	authz.Information:   {authz.Respond: {200, 304}},

	authz.Forbidden:     {authz.Deny: {403}},
	authz.NoRule:        {authz.Deny: {403}},
	authz.UnknownHost:   {authz.Deny: {421}},
	authz.NotFound:      {authz.Deny: {404}},
	authz.WrongMethod:   {authz.Deny: {405}},
	authz.ForeignOrigin: {authz.Deny: {403}},
	authz.TooEarly:      {authz.Deny: {425}},
	authz.Malformed:     {authz.Deny: {400}},
	authz.Ambiguous:     {authz.Deny: {400}},
	authz.TooLarge:      {authz.Deny: {431}},

	authz.StoreUnavailable:    {authz.Fail: {503}},
	authz.ProviderUnavailable: {authz.Fail: {503}},
	authz.Internal:            {authz.Fail: {500}},
}

// open are the rules that let somebody pass without a session.
var open = []string{
	"health", "public", "assets", "optional", "optional_admin", "bearer_public", "open_rest", "yard_rest", "tools_public",
}

// believed are the headers by which an upstream of these apps may tell who
// somebody is.
var believed = []string{
	"x-countersign-assertion", "x-auth-jwt", "x-auth-request-user", "x-auth-request-email", "x-auth-request-groups",
	"x-auth-request-preferred-username", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
}

// mustHold is true of every answer to any request.
func mustHold(tb testing.TB, req authz.Request, d authz.Decision) {
	tb.Helper()
	wrong := func(format string, args ...any) {
		tb.Helper()
		tb.Errorf("%s: decision %s, %s: "+format, append([]any{describe(req), d.Outcome, d.Reason}, args...)...)
	}
	if !slices.Contains(fixed[d.Reason][d.Outcome], d.Status) {
		wrong("status %d is not in the table", d.Status)
	}
	if len(d.ID) != 26 {
		wrong("id %q, want 128 bits in base32", d.ID)
	}
	for name, values := range d.Client {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				wrong("header %s breaks out of its line: %q", name, v)
			}
		}
	}
	if d.Outcome == authz.Allow {
		mustPass(req, d, wrong)
		return
	}
	mustAnswer(req, d, wrong)
	mustSetCookies(req, d, wrong)
}

// mustPass is true of every allow.
func mustPass(req authz.Request, d authz.Decision, wrong func(string, ...any)) {
	bearer := strings.HasPrefix(strings.ToLower(req.Header.Get("authorization")), "bearer ")
	switch {
	case d.Reason == authz.SignedIn && (d.Subject == "" || d.Session == session.ID{}):
		wrong("passes without a session")
	case d.Reason == authz.Public && !slices.Contains(open, d.Rule):
		wrong("passes unknown where the rule %q asks for a login", d.Rule)
	case d.Reason == authz.Passthrough && (!strings.HasSuffix(d.Rule, "passthrough") || !bearer):
		wrong("passes a bearer by the rule %q", d.Rule)
	}
	if len(d.Client)+len(d.Body) != 0 {
		wrong("an allow says something to the client: %v %q", d.Client, d.Body)
	}
	set := map[string]bool{}
	for _, f := range d.Upstream.Set {
		if strings.ContainsAny(f.Value, "\r\n\x00") {
			wrong("upstream header %s breaks out of its line", f.Name)
		}
		if set[f.Name] || slices.Contains(d.Upstream.Remove, f.Name) {
			wrong("upstream header %s is edited twice", f.Name)
		}
		set[f.Name] = true
		if f.Name == "cookie" && namesOurs(f.Value) {
			wrong("a cookie of ours goes on: %q", f.Value)
		}
		if f.Name != "cookie" && d.Reason != authz.SignedIn {
			wrong("upstream header %s says who nobody is", f.Name)
		}
	}
	gone := func(name string) bool { return set[name] || slices.Contains(d.Upstream.Remove, name) }
	for _, f := range req.Header {
		read := asRead(f.Name)
		says := slices.Contains(believed, read) || strings.HasPrefix(read, "x-auth-request-") || strings.HasPrefix(read, "x-countersign-")
		if says && !gone(f.Name) {
			wrong("the client's own %s goes on", f.Name)
		}
		if f.Name == "cookie" && namesOurs(f.Value) && !gone("cookie") {
			wrong("a cookie of ours goes on: %q", f.Value)
		}
	}
	for _, name := range believed {
		if !gone(name) {
			wrong("%s is not removed, whoever sends it next", name)
		}
	}
}

// asRead is a header name as a careless upstream reads it: CGI turns "-" into "_",
// and others turn "." into it.
func asRead(name string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
}

// mustAnswer is true of every answer of ours.
func mustAnswer(req authz.Request, d authz.Decision, wrong func(string, ...any)) {
	if len(d.Upstream.Set)+len(d.Upstream.Remove) != 0 {
		wrong("edits a request that does not go on")
	}
	if d.Client.Get("X-Countersign-Decision") != d.ID {
		wrong("X-Countersign-Decision = %q, want %q", d.Client.Get("X-Countersign-Decision"), d.ID)
	}
	published := d.Reason == authz.Information && (d.Rule == "keys" || d.Rule == "metadata")
	if cache := d.Client.Get("Cache-Control"); !published && cache != "no-store" {
		wrong("Cache-Control = %q, want no-store", cache)
	}
	if d.Client.Get("X-Content-Type-Options") != "nosniff" || d.Client.Get("Referrer-Policy") != "no-referrer" {
		wrong("headers = %v, want nosniff and no-referrer", d.Client)
	}
	grpc := strings.HasPrefix(req.Header.Get("content-type"), "application/grpc")
	if (req.Method == http.MethodHead || grpc && d.Outcome == authz.Deny) && len(d.Body) != 0 {
		wrong("body %q, want none", d.Body)
	}
	if d.Client.Get("Content-Type") == "application/problem+json" && len(d.Body) != 0 {
		mustExplain(d, wrong)
	}
	if !bytes.HasPrefix(d.Body, []byte("{")) && len(d.Body) != 0 {
		wrong("body %q is none that we write", d.Body)
	}
	mustLeadSomewhere(req, d, wrong)
}

// mustExplain is true of every problem document (RFC 9457 §3).
func mustExplain(d authz.Decision, wrong func(string, ...any)) {
	var p struct {
		Type, Title, Detail, Instance string
		Status                        int
		Reason                        authz.Reason
	}
	decoder := json.NewDecoder(bytes.NewReader(d.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		wrong("problem document: %v", err)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(d.Status) || p.Status != d.Status || p.Detail != d.Reason.Detail() ||
		p.Instance != d.ID || p.Reason != d.Reason {
		wrong("problem document = %s", d.Body)
	}
}

// mustLeadSomewhere is true of every Location: this app, or the provider.
func mustLeadSomewhere(req authz.Request, d authz.Decision, wrong func(string, ...any)) {
	locations := d.Client.Values("Location")
	if (d.Outcome == authz.Redirect) != (len(locations) == 1) {
		wrong("Location = %q", locations)
	}
	for _, location := range locations {
		if strings.HasPrefix(location, issuer+"/authorize?") || strings.HasPrefix(location, issuer+"/end_session?") {
			continue
		}
		if !stays(location, req.Host) {
			wrong("Location = %q leads away from %s", location, req.Host)
		}
	}
}

// stays reports whether a browser at host stays there when it follows location.
func stays(location, host string) bool {
	host = strings.ToLower(host)
	bare := strings.TrimSuffix(strings.TrimSuffix(host, ":443"), ".")
	u, err := url.Parse(location)
	whatwg := hostOf(location)
	return err == nil && u.Host == bare && u.User == nil && whatwg == bare
}

// mustSetCookies is true of every Set-Cookie.
func mustSetCookies(req authz.Request, d authz.Decision, wrong func(string, ...any)) {
	secure := !strings.HasPrefix(req.Host, "127.0.0.1")
	cookies := setCookies(d)
	if len(cookies) != len(d.Client.Values("Set-Cookie")) {
		wrong("Set-Cookie = %q, not all can be read", d.Client.Values("Set-Cookie"))
	}
	for _, c := range cookies {
		if !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.Secure != secure ||
			strings.HasPrefix(c.Name, "__Host-") != secure || len(c.Name)+len(c.Value) > 4096 {
			wrong("cookie %s", c.Raw)
		}
		login := strings.Contains(c.Name, "countersign-login")
		if login && len(c.Value) > 900 {
			wrong("cookie of an attempt has %d bytes, want 900 at most", len(c.Value))
		}
		if d.Outcome == authz.Fail {
			wrong("a fault changes the cookie %s", c.Name)
		}
	}
}

// record is the log of a world, and what must not be in it.
type record struct {
	mu      sync.Mutex
	lines   bytes.Buffer    // guarded by mu
	secrets map[string]bool // guarded by mu
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(b)
}

func (r *record) secret(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets == nil {
		r.secrets = map[string]bool{}
	}
	for _, v := range values {
		if len(v) >= 12 { // shorter ones are in everything
			r.secrets[v] = true
		}
	}
}

func (r *record) learnRequest(req authz.Request) {
	for _, c := range session.ReadCookies(req.Header.Values("cookie"), false) {
		if !strings.Contains(req.Target(), c.Value) {
			r.secret(c.Value)
		}
	}
	if query, err := url.ParseQuery(req.Query); err == nil && strings.HasSuffix(req.Path, "/callback") {
		r.secret(query.Get("code"), query.Get("state"))
	}
}

func (r *record) learnDecision(d authz.Decision) {
	for _, c := range setCookies(d) {
		r.secret(c.Value)
	}
	for _, f := range d.Upstream.Set {
		if f.Name != "cookie" {
			r.secret(f.Value, strings.TrimPrefix(f.Value, "Bearer "))
		}
	}
	if u, err := url.Parse(d.Client.Get("Location")); err == nil && u.Host == "id.test" {
		for _, name := range []string{"state", "nonce", "id_token_hint"} {
			r.secret(u.Query().Get(name))
		}
	}
}

// mustHoldNoSecret is LK-A01.
func (r *record) mustHoldNoSecret(tb testing.TB) {
	tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines.Len() > 0 && len(r.secrets) < 1 {
		tb.Error("no secret is known, so none can be found")
	}
	for s := range r.secrets {
		if bytes.Contains(r.lines.Bytes(), []byte(s)) {
			tb.Errorf("the log holds a secret: %q", s)
		}
	}
}

// clear forgets what was written: a fuzz target writes for hours.
func (r *record) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines.Reset()
	r.secrets = map[string]bool{clientSecret: true}
}

// has reports whether an answer has a header.
func has(d authz.Decision, name string) bool { return len(d.Client.Values(name)) > 0 }

// namesOurs reports whether a Cookie header holds a name of ours, whichever of
// its commas somebody takes for the end of a pair.
func namesOurs(header string) bool {
	for pair := range strings.FieldsFuncSeq(header, func(c rune) bool { return c == ';' || c == ',' }) {
		name, _, _ := strings.Cut(pair, "=")
		if strings.Contains(strings.ToLower(name), "countersign") {
			return true
		}
	}
	return false
}
