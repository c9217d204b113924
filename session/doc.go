// Package session remembers a login between requests.
//
// The browser holds a [Token], 256 random bits in a cookie. The server finds
// the session by the token's [ID], its SHA-256, and opens it with the token
// itself: what a [Store] holds can be opened neither with the store's content
// alone nor with the server's keys beside it. A [Vault] does the sealing and
// the opening; a Store only keeps bytes.
package session
