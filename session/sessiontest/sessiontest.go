// Package sessiontest is what every [session.Store] promises, as a test kit.
package sessiontest

import (
	"testing"
	"time"

	"github.com/countersign/countersign/session"
)

// Run checks that what newStore returns keeps the contract of [session.Store].
// Each sentence of that contract is a subtest. Stores of different subtests may
// share what they keep: every subtest makes up identifiers of its own, and one
// that changes what another handle watches asks newStore twice. The store's
// clock must be that of this machine.
func Run(t *testing.T, newStore func(t *testing.T) session.Store) {
	t.Helper()
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			if len(g.promises) == 0 {
				t.Fatal("no tests")
			}
			for _, p := range g.promises {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					p.test(&bench{T: t, store: newStore(t), newStore: newStore, began: time.Now().Truncate(time.Millisecond)})
				})
			}
		})
	}
}

// Cases is how many subtests [Run] has, groups not counted.
func Cases() int {
	n := 0
	for _, g := range groups {
		n += len(g.promises)
	}
	return n
}

var groups = []struct {
	name     string
	promises []promise
}{
	{"create", create},
	{"load", load},
	{"replace", replace},
	{"delete", deletion},
	{"touch", touch},
	{"ends", ends},
	{"find", find},
	{"list", list},
	{"claim", claim},
	{"bury", bury},
	{"lock", lock},
	{"watch", watch},
	{"concurrency", concurrency},
	{"context", cancelled},
}

// promise is one sentence of the contract.
type promise struct {
	name string
	test func(b *bench)
}
