package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if scratch != "" {
			os.RemoveAll(scratch) //nolint:errcheck // the temporary directory will be emptied
		}
		os.Exit(status)
	}))
}

// scratch holds what all tests share: the binary. Empty until there is some.
var scratch string

// binary builds the program once and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "countersign-e2e-")
	if err != nil {
		return "", err
	}
	scratch = dir
	path := filepath.Join(dir, "countersign")
	build := exec.Command("go", "build", "-o", path, "./cmd/countersign")
	build.Dir, build.Stderr = "..", os.Stderr
	return path, build.Run()
})

// missing ends a test whose real part is not there: loudly on a developer's
// machine, and with a failure where CI=true promises that everything is there.
func missing(tb testing.TB, part string, err error) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s is needed: %v", part, err)
	}
	tb.Skipf("SKIPPED, NOTHING IS TESTED ON %s: %v (scripts/parts.sh installs it)", part, err)
}
