// Package redis is the [session.Store] on a standalone Redis, 6.2 or later.
//
// Every session has two keys under one hash tag: {prefix}{<id>}:hot, a hash of
// the sealed hot part, its version and its times, and {prefix}{<id>}:tokens, the
// other sealed part. A login attempt has {prefix}{<claim>}:claim and :result.
// Each key expires by itself. What writes more than one key, or depends on what
// is there, is one script.
//
// An operation takes 250 ms at most by default, whether or not Redis answers, and
// much less when it has not answered for a while: see [Options].
package redis
