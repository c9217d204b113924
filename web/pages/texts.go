package pages

import (
	"strconv"

	"github.com/countersign/countersign/authz"
)

// text is what one page says. It must read well with any of the buttons
// missing, so it names none of them.
type text struct {
	Title string // the heading
	What  string // what happened
	Do    string // what to do now

	// Labels of buttons that are called something else here; empty means the
	// language's own.
	Retry  string
	Switch string
}

// language is everything that the pages say in one language. A reason without
// a text never shows a page.
type language struct {
	Tag string // BCP 47

	Texts          map[authz.Reason]text
	AskSignOut     text // before a session is ended
	StillSigningIn text // while the provider's answer is waited for

	TryAgain   string // the buttons
	UseAnother string
	SignOut    string

	Site       string // what stands before a value
	SignedInAs string
	Note       string // before what the operator wrote
	Reference  string
	Quote      string // what the reference is for

	ReloadsIn func(seconds int) string // says that the page tries again by itself
}

var english = language{
	Tag: "en",

	TryAgain:   "Try again",
	UseAnother: "Use another account",
	SignOut:    "Sign out",

	Site:       "Site",
	SignedInAs: "Signed in as",
	Note:       "From the people who run this site",
	Reference:  "Reference",
	Quote:      "If you ask for help, give this reference.",

	ReloadsIn: func(seconds int) string {
		if seconds == 1 {
			return "This page tries again by itself in a second."
		}
		return "This page tries again by itself in " + strconv.Itoa(seconds) + " seconds."
	},

	AskSignOut: text{
		Title: "Sign out?",
		What:  "This ends your session on this site.",
		Do:    "Save your work there first.",
		Retry: "Stay signed in",
	},

	StillSigningIn: text{
		Title: "One moment, please",
		What:  "The sign-in service is taking a little longer than usual.",
		Do:    "You do not have to do anything: this page goes on as soon as it can.",
		Retry: "Start again",
	},

	Texts: map[authz.Reason]text{
		authz.LoginRequired: {
			Title:  "Please sign in",
			What:   "This page is only for people who are signed in.",
			Do:     "Sign in to go on.",
			Retry:  "Sign in",
			Switch: "Sign in with another account",
		},
		authz.LoginRefused: {
			Title: "You were not signed in",
			What:  "The sign-in service said no. Either it was cancelled, or your account may not be used for this site.",
			Do:    "If you cancelled by mistake, start again. If not, ask the people who look after your account.",
			Retry: "Start again",
		},
		authz.LoginInvalid: {
			Title: "Your sign-in could not be confirmed",
			What:  "The answer of the sign-in service did not pass our checks. To be safe, we did not use it.",
			Do:    "Start again from the beginning. If this page comes back, the people who run this site need to know.",
			Retry: "Start again",
		},
		authz.LoginExpired: {
			Title: "This sign-in has expired",
			What:  "It took too long, it was finished in another tab, or the page was reloaded.",
			Do:    "Start again; this takes a moment only. If this page keeps coming back, check that your browser accepts cookies from this site.",
			Retry: "Start again",
		},
		authz.SignedOut: {
			Title:  "You are signed out",
			What:   "Your session on this site has ended.",
			Do:     "You can close this page. On a shared computer, close the browser as well.",
			Retry:  "Sign in again",
			Switch: "Sign in with another account",
		},
		authz.Forbidden: {
			Title: "You do not have access",
			What:  "You are signed in, but this account may not open this page.",
			Do:    "If you have another account for this site, use that one. If not, ask the people who run it for access.",
		},
		authz.NoRule: {
			Title: "This page is closed",
			What:  "Nobody has been given access to this address yet, whichever account they use.",
			Do:    "Check the address. If it is right, tell the people who run this site.",
			Retry: "Go to the front page",
		},
		authz.UnknownHost: {
			Title: "There is no such site here",
			What:  "The address led your browser to this server, but no site of that name is set up on it.",
			Do:    "Check the address for a typing mistake. If it is right, tell the people who gave it to you.",
		},
		authz.NotFound: {
			Title: "There is nothing at this address",
			What:  "This part of the site is for signing in and out, and it has no such page.",
			Do:    "Check the address, or begin at the front page of the site.",
			Retry: "Go to the front page",
		},
		authz.WrongMethod: {
			Title: "This address does not work that way",
			What:  "Your browser opened it in a way that it is not made for. Nothing was changed.",
			Do:    "Go back, and use the links and buttons of the site.",
			Retry: "Go to the front page",
		},
		authz.ForeignOrigin: {
			Title: "Another site asked for this",
			What:  "A different website sent your browser here to do something in your name. To protect your account, we did not do it.",
			Do:    "If it was your wish, open the site yourself and do it there.",
			Retry: "Go to the front page",
		},
		authz.TooEarly: {
			Title: "That was a moment too early",
			What:  "Your browser asked before the secure connection was complete, so we did nothing yet.",
			Do:    "Try again now.",
		},
		authz.Malformed: {
			Title: "This request could not be read",
			What:  "The address, or something that your browser sent with it, is not written correctly.",
			Do:    "Check the address. If you followed a link, the link may be damaged.",
			Retry: "Go to the front page",
		},
		authz.Ambiguous: {
			Title: "This address has two meanings",
			What:  "It can be read as two different pages, and not everybody may open both. To be safe, we opened neither.",
			Do:    "Find your way from the front page of the site, or ask for a plainer link.",
			Retry: "Go to the front page",
		},
		authz.TooLarge: {
			Title: "This request is too long",
			What:  "The address, or the cookies that your browser sent with it, are longer than we accept.",
			Do:    "Try a shorter address. If that does not help, delete the cookies of this site and sign in again.",
			Retry: "Go to the front page",
		},
		authz.StoreUnavailable: {
			Title:  "Your session cannot be checked right now",
			What:   "The place where sessions are kept is not answering.",
			Do:     "Nothing is lost, and you have not been signed out. Try again in a few seconds.",
			Switch: "Sign in again",
		},
		authz.ProviderUnavailable: {
			Title:  "The sign-in service is not answering",
			What:   "We asked it who you are, and no answer came.",
			Do:     "Nothing is lost, and you have not been signed out. Try again in a minute.",
			Switch: "Sign in again",
		},
		authz.Internal: {
			Title:  "Something went wrong on our side",
			What:   "It is not your fault. What happened has been written down for the people who run this site.",
			Do:     "Try again in a moment. If it happens again, let them know.",
			Switch: "Sign in again",
		},
	},
}
