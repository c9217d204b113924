// Package mint signs the token that tells an upstream who the caller is.
//
// A [Template] says what one audience gets, a [Signer] signs it for a session
// with its [Keys], and the upstream verifies it with what [Keys.JWKS] and
// [Metadata] publish. Nothing here reads a clock: every moment is a parameter.
package mint
