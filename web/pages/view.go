package pages

import (
	"html/template"
	"net/url"
	"strings"

	"github.com/countersign/countersign/authz"
)

// view is what the template prints, with nothing left to decide.
type view struct {
	language
	text
	authz.Page
	Style   template.CSS
	Tone    tone
	Buttons []button
	Reload  string // the sentence beside a page that reloads by itself
}

// button leads to URL, by POST if it changes something there.
type button struct {
	Label string
	URL   string
	Post  bool
}

// viewOf words p in l.
func viewOf(l language, p authz.Page) view {
	words, known := l.Texts[p.Reason]
	if !known {
		p.Reason = authz.Internal
		words = l.Texts[authz.Internal]
	}
	v := view{language: l, text: words, Page: p, Style: style, Tone: toneOf(p.Reason)}
	switch {
	case asksToSignOut(p):
		v.text, v.Tone = l.AskSignOut, leave
	case p.Reason == authz.ProviderUnavailable && p.RefreshSeconds > 0:
		v.text = l.StillSigningIn
	}
	v.Buttons = buttons(v)
	if p.RefreshSeconds > 0 {
		v.Reload = l.ReloadsIn(p.RefreshSeconds)
	}
	return v
}

// asksToSignOut tells the question from the answer: somebody who can still sign
// out has not done so.
func asksToSignOut(p authz.Page) bool {
	return p.Reason == authz.SignedOut && p.SignOutURL != ""
}

// buttons lists v's buttons, the one that most people need first.
func buttons(v view) []button {
	var (
		retry   = button{Label: v.Retry, URL: v.RetryURL}
		change  = button{Label: v.Switch, URL: v.SwitchURL}
		signOut = button{Label: v.SignOut, URL: v.SignOutURL, Post: true}
	)
	if retry.Label == "" {
		retry.Label = v.TryAgain
	}
	if change.Label == "" {
		change.Label = v.UseAnother
	}
	order := []button{retry, change, signOut}
	switch {
	case asksToSignOut(v.Page):
		order = []button{signOut, retry, change}
	case v.Reason == authz.Forbidden:
		order = []button{change, retry, signOut}
	}
	var shown []button
	for _, b := range order {
		if leadsSomewhere(b.URL) {
			shown = append(shown, b)
		}
	}
	return shown
}

// leadsSomewhere reports whether address is a path here or a whole address of
// the web. Anything else gets no button: javascript: above all, and "//host" or
// "/\host", which read like paths and leave the site.
func leadsSomewhere(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Host != "" && strings.Trim(u.Host, hostLetters) == ""
	case "":
		return strings.HasPrefix(address, "/") &&
			!strings.HasPrefix(address, "//") && !strings.HasPrefix(address, `/\`)
	}
	return false
}

// hostLetters are what a host and its port are written with, other scripts as
// punycode.
const hostLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"

// tone is what a page looks like before a word of it is read: its colour, and
// the drawing above the title.
type tone string

const (
	fault tone = "fault" // something broke
	stop  tone = "stop"  // no
	wait  tone = "wait"  // not now
	lost  tone = "lost"  // not here
	ask   tone = "ask"   // who are you?
	leave tone = "leave" // sure?
	done  tone = "done"  // all is well
)

func toneOf(r authz.Reason) tone {
	switch r {
	case authz.Forbidden, authz.NoRule, authz.ForeignOrigin, authz.LoginRefused:
		return stop
	case authz.LoginExpired, authz.TooEarly, authz.StoreUnavailable, authz.ProviderUnavailable:
		return wait
	case authz.UnknownHost, authz.NotFound, authz.WrongMethod, authz.Malformed, authz.Ambiguous, authz.TooLarge:
		return lost
	case authz.LoginRequired:
		return ask
	case authz.SignedOut:
		return done
	default:
		return fault
	}
}
