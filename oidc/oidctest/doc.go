// Package oidctest is an OpenID provider for tests and demonstrations.
//
// It has two characters. Honest, which is the zero [Lies], it is the provider
// of `countersign demo`: discovery, keys, sign-in page, single sign-on,
// authorization code with PKCE, refresh with rotation, userinfo, introspection
// and logout. Dishonest, it tells one lie for each field of [Lies] that is set,
// so that a relying party can be shown every attack that it has to refuse.
//
// It is an independent party: it shares no code with the relying party that it
// tests, and it keeps everything in memory.
package oidctest
