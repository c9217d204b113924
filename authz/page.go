package authz

// Page is what a person is shown instead of the upstream's answer. Every field
// is plain text: whoever renders it encodes it.
type Page struct {
	Reason   Reason
	Status   int    // the HTTP status that the page comes with
	App      string // what the person wanted to reach, as its host
	Account  string // the account that is signed in, empty when nobody is
	Explain  string // what the operator wrote beside the rule
	Decision string // the decision id, for a support request

	// Where the buttons lead; an empty one has no button.
	RetryURL   string // try again
	SwitchURL  string // sign in with another account
	SignOutURL string // a POST there signs out

	RefreshSeconds int // reload by itself after as many seconds; 0 never
}

// Pages renders pages as HTML. It must not fail: the page explains a failure.
type Pages interface {
	Render(Page) []byte
	ContentSecurityPolicy() string
}
