package authz

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
)

// user is what the userinfo endpoint tells about the session.
type user struct {
	Issuer   string    `json:"iss"`
	Subject  string    `json:"sub"`
	Provider string    `json:"provider"`
	Email    string    `json:"email,omitempty"`
	Name     string    `json:"name,omitempty"`
	Username string    `json:"preferred_username,omitempty"`
	Groups   []string  `json:"groups"`
	SID      string    `json:"sid"`
	Created  time.Time `json:"created"`
	IdleEnd  time.Time `json:"idle_end"`
	Ends     time.Time `json:"ends"`
}

// showUser answers who is signed in, and until when.
func (a *Authorizer) showUser(v visit) Decision {
	s := v.caller.Session
	who := s.Identity
	body, err := json.Marshal(user{
		Issuer: who.Issuer, Subject: who.Subject, Provider: who.Provider,
		Email: who.Email, Name: who.Name, Username: who.Username, Groups: append([]string{}, who.Groups...),
		SID: s.ID.SID(), Created: s.Created.UTC(), IdleEnd: seen(s, v.now).End().UTC(), Ends: s.Ends.UTC(),
	})
	if err != nil {
		return a.deny(&v, v.req, Internal, err)
	}
	return v.respond(Information, "application/json", body)
}

// seen is the session as it is once this use of it is noted.
func seen(s session.Session, now time.Time) session.Session {
	if now.After(s.Seen) {
		s.Seen = now
	}
	return s
}

// showKeys answers with the public keys of the minted token (RFC 7517 §5).
func (a *Authorizer) showKeys(v visit) Decision {
	return v.publish("application/jwk-set+json", a.Minter.JWKS())
}

// showMetadata answers with the document by which verifiers configure
// themselves (OpenID Connect Discovery 1.0 §4).
func (a *Authorizer) showMetadata(v visit) Decision {
	app := v.rule.App
	issuer := app.address(app.Prefix)
	if app.Token.Template != nil {
		issuer = app.Token.Template.Issuer
	}
	return v.publish("application/json", mint.Metadata(issuer, app.address(app.Prefix+"/.well-known/jwks.json")))
}

// publish answers with a public document, which anybody may keep for a while.
func (v *visit) publish(contentType string, body []byte) Decision {
	d := v.respond(Information, contentType, body)
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	d.Client.Set("Cache-Control", "public, max-age=300")
	d.Client.Set("Access-Control-Allow-Origin", "*")
	d.Client.Set("ETag", tag)
	if strings.Contains(v.req.Header.Get("if-none-match"), tag) {
		d.Status, d.Body = http.StatusNotModified, nil
	}
	return d
}
