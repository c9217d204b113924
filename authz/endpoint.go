package authz

import "slices"

// endpoint is one of the addresses that Countersign answers itself, below an
// app's prefix.
type endpoint uint8

const (
	none      endpoint = iota // the upstream answers
	start                     // begins a login
	callback                  // ends a login
	signOut                   // ends a session
	signedOut                 // where the provider sends the browser back to
	userinfo                  // who am I, as JSON
	metadata                  // of the minted token
	keys                      // that it is signed with
	unknown                   // nothing there
)

// methods that an endpoint answers. HEAD never starts, finishes or ends
// anything, so only what changes nothing answers it.
var endpointMethods = map[endpoint][]string{
	start:     {"GET"},
	callback:  {"GET"},
	signOut:   {"GET", "POST"},
	signedOut: {"GET", "HEAD"},
	userinfo:  {"GET", "HEAD"},
	metadata:  {"GET", "HEAD"},
	keys:      {"GET", "HEAD"},
}

// endpointRules are the rules of an app's endpoints, which stand before all
// others. Whatever else lies below the prefix is nobody's.
func endpointRules(a *App) []Rule {
	at := func(e endpoint, name, path string) Rule {
		return Rule{Name: name, App: a, Path: Pattern{text: path}, Access: Unprotected, endpoint: e}
	}
	rest := at(unknown, "unknown", a.Prefix)
	rest.Path.prefix = true
	return []Rule{
		at(callback, "callback", a.Callback),
		at(start, "start", a.Prefix+"/start"),
		at(start, "sign_in", a.Prefix+"/sign_in"),
		at(signOut, "sign_out", a.Prefix+"/sign_out"),
		at(signedOut, "signed_out", a.Prefix+"/signed_out"),
		at(userinfo, "userinfo", a.Prefix+"/userinfo"),
		at(metadata, "metadata", a.Prefix+"/.well-known/openid-configuration"),
		at(keys, "keys", a.Prefix+"/.well-known/jwks.json"),
		rest,
	}
}

// needsSession reports whether an endpoint's answer depends on who asks.
func (e endpoint) needsSession() bool {
	return e == userinfo || e == callback || e == signOut
}

func (e endpoint) answers(method string) bool {
	return slices.Contains(endpointMethods[e], method)
}
