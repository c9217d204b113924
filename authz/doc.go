// Package authz decides what happens to a request.
//
//	Request ── find ──▶ Rule ── caller ──▶ Caller ── Decide ──▶ Verdict ── act ──▶ Decision
//	           path, host        cookie, store       pure                 the effects
//
// A transport turns bytes into a [Request] and a [Decision] into bytes, and
// decides nothing. [Decide] is a pure function. [Authorizer.Check] makes its
// verdict happen and always returns a complete Decision, never an error. The
// zero value of everything denies, and every answer carries one [Reason] out of
// a closed table, which fixes outcome and status.
package authz
