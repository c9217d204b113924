// Package oidc speaks OpenID Connect to one provider as one client.
//
// A [Provider] begins a login ([Provider.Begin]), ends it ([Provider.Finish]),
// finds out whether it still holds ([Provider.Refresh], [Provider.Userinfo],
// [Provider.Introspect]) and names the address that ends the provider's own
// session ([Provider.EndSession]). It keeps the provider's metadata and keys fresh in
// the background ([Provider.Run]) and no state of anybody's login: what a login
// needs to remember is an [Attempt], which its caller keeps.
package oidc
