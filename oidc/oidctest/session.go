package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// session is somebody signed in at the provider. The zero session is nobody's.
type session struct {
	username string
	sid      string // OpenID Connect Front-Channel Logout 1.0 §3: names the session to clients
	level    int    // of authentication: an index of Config.ACRs
	authTime time.Time
}

// serveSignIn answers the form of the sign-in page, whose address carries the
// authorization request.
func (p *Provider) serveSignIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.showMistake(w, "The form could not be read.")
		return
	}
	username, password := r.PostForm.Get("username"), r.PostForm.Get("password")
	r.Form = r.URL.Query()
	a, ok := p.admit(w, r)
	if !ok {
		return
	}
	p.mu.Lock()
	person, known := p.person(username)
	p.mu.Unlock()
	if !known || !same(person.Password, password) {
		a.loginHint = username
		p.showSignIn(w, r, a, http.StatusForbidden, "The user name or the password is not right.")
		return
	}
	p.giveCode(w, r, a, p.begin(w, r, a, person))
}

// begin opens a session and puts its name into a cookie, which is a new one at
// every sign-in. Somebody who signs in again keeps the sid.
func (p *Provider) begin(w http.ResponseWriter, r *http.Request, a authorization, person Person) session {
	now := p.now()
	before := p.sessionOf(r)
	// A demonstration has no second factor: the password, given for a higher
	// level, is taken for it.
	s := session{username: person.Username, sid: rand.Text(), level: a.wantLevel, authTime: now}
	if before.username == person.Username {
		s.sid = before.sid
	}
	p.mu.Lock()
	p.sessions.drop(func(old session) bool { return before.sid != "" && old.sid == before.sid })
	name := p.sessions.put(now, now.Add(p.config.SessionLife), s)
	p.mu.Unlock()
	http.SetCookie(w, p.cookie(name))
	return s
}

// answers reports whether the session will do for a without a new sign-in.
func (s session) answers(a authorization, now time.Time) bool {
	if s.username == "" {
		return false
	}
	if a.maxAge >= 0 && !now.Before(s.authTime.Add(a.maxAge)) {
		return false
	}
	return s.level >= a.wantLevel
}

// sessionOf finds the session that the browser belongs to.
func (p *Provider) sessionOf(r *http.Request) session {
	cookie, err := r.Cookie(p.cookieName())
	if err != nil {
		return session{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.sessions.find(p.now(), cookie.Value)
	if k == nil {
		return session{}
	}
	return k.value
}

// end closes a session: its cookie, its codes and its tokens.
func (p *Provider) end(w http.ResponseWriter, sid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions.drop(func(s session) bool { return s.sid == sid })
	p.revoke(func(l *login) bool { return l.sid == sid })
	gone := p.cookie("")
	gone.MaxAge = -1
	http.SetCookie(w, gone)
}

// revoke ends what descends from the logins that are chosen. The caller holds mu.
func (p *Provider) revoke(chosen func(*login) bool) {
	for _, s := range []*shelf[*login]{&p.codes, &p.access, &p.refresh} {
		for _, k := range s.kept {
			if chosen(k.value) {
				k.value.revoked = true
			}
		}
	}
}

// cookie carries a session's name. Browsers send it to every port of the host,
// so its name is one that no relying party has.
func (p *Provider) cookie(value string) *http.Cookie {
	return &http.Cookie{
		Name: p.cookieName(), Value: value, Path: p.path + "/",
		Secure: p.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

func (p *Provider) cookieName() string {
	if p.secure() {
		return "__Secure-openid-provider"
	}
	return "openid-provider"
}

func (p *Provider) secure() bool { return strings.HasPrefix(p.config.Issuer, "https:") }

// subjectOf derives a subject that is never the username: a relying party that
// takes one for the other must not get away with it.
func subjectOf(username string) string {
	sum := sha256.Sum256([]byte("subject of " + username))
	return hex.EncodeToString(sum[:16])
}

// same compares secrets without telling by its time how far they agree.
func same(want, got string) bool {
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
