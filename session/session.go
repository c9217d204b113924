package session

import (
	"time"

	"github.com/countersign/countersign/oidc"
)

// Session is a login that is remembered. It holds no token of the provider: see
// [Vault.Grant]. The zero Session is Ended.
type Session struct {
	ID       ID
	App      string // the app that it was made for; good for no other
	Identity oidc.Identity

	Created time.Time
	Seen    time.Time     // last use, as precise as a tenth of Idle
	Ends    time.Time     // absolute end
	Idle    time.Duration // ends as long after Seen, too

	Version uint64 // rises when the content changes, not when it is seen
}

// State is where a session is in its life. The zero State is Ended.
type State uint8

// The states of a session.
const (
	Ended State = iota
	Fresh
)

// State tells where s is in its life at now. Exactly at either end it is Ended.
func (s Session) State(now time.Time) State {
	if s.ID == (ID{}) || !now.Before(s.End()) {
		return Ended
	}
	return Fresh
}

// End is the earlier of both ends, unless s is seen again.
func (s Session) End() time.Time {
	if idle := s.Seen.Add(s.Idle); idle.Before(s.Ends) {
		return idle
	}
	return s.Ends
}
