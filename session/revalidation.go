package session

import (
	"encoding/binary"
	"time"

	"github.com/countersign/countersign/oidc"
)

// Via is how the provider is asked whether a session still holds. The zero Via
// asks nothing.
type Via string

// The ways to ask.
const (
	ViaNothing       Via = ""
	ViaRefresh       Via = "refresh"       // RFC 6749 §6; a session without a refresh token is not asked about
	ViaUserinfo      Via = "userinfo"      // OpenID Connect Core 1.0 §5.3
	ViaIntrospection Via = "introspection" // RFC 7662
)

// Revalidation says when the provider is asked about a session, and how. The
// zero Revalidation never asks.
type Revalidation struct {
	Via   Via
	Every time.Duration // at the latest; by refresh also when the access token ends
	Grace time.Duration // how long a session is good without an answer that is due
}

// shortestLife is the least that is believed of a provider that says how long an
// access token lives: one that says a second would be asked at every request.
const shortestLife = 10 * time.Second

// due is when the provider must be asked about g again, which it vouched for at
// now. It is zero when there is nothing to ask with.
func (r Revalidation) due(now time.Time, g oidc.Grant) time.Time {
	if r.Every <= 0 || g.Refresh == "" && (r.Via == ViaRefresh || g.Access == "") || r.Via == ViaNothing {
		return time.Time{}
	}
	life := r.Every
	if ends := g.Expires.Sub(now); r.Via == ViaRefresh && !g.Expires.IsZero() && ends < life {
		life = max(ends, min(shortestLife, r.Every))
	}
	return now.Add(life)
}

// schedule fills in when s is asked about, from when that was due at its sealing;
// Every may have become shorter since. The moment ahead of time is another for each session, between 70 and 90 % of the
// way, so that those who came together in the morning do not all ask at once.
func (r Revalidation) schedule(s *Session) {
	if s.Due.IsZero() || r.Via == ViaNothing || r.Every <= 0 {
		s.Due, s.Renew, s.Lapses = time.Time{}, time.Time{}, time.Time{}
		return
	}
	if latest := s.Checked.Add(r.Every); latest.Before(s.Due) {
		s.Due = latest
	}
	life := s.Due.Sub(s.Checked)
	s.Renew = s.Checked.Add(life/10*7 + part(life/5, s.ID[len(s.ID)-2:])) // not life*7: it may be a century
	s.Lapses = s.Due.Add(r.Grace)
}

// part is as much of d as chance, of which it takes two bytes, is of all that
// they can be.
func part(d time.Duration, chance []byte) time.Duration {
	return time.Duration(int64(d) >> 16 * int64(binary.BigEndian.Uint16(chance)))
}
