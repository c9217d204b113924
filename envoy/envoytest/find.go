// Package envoytest runs a real Envoy, for tests and for the demo.
package envoytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNotFound means that there is no Envoy here; its text says how to get one.
var ErrNotFound = errors.New("envoy not found: run scripts/parts.sh envoy, or set ENVOY to its path")

// Find returns the path of an Envoy: that in the environment's ENVOY, that in
// PATH, or the one that scripts/parts.sh put at .parts/bin/envoy in this or an
// upper directory. A path in ENVOY that leads nowhere is an error.
func Find() (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		if !executable(path) {
			return "", fmt.Errorf("%w: ENVOY=%s is no program", ErrNotFound, path)
		}
		return path, nil
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", ErrNotFound
	}
	for {
		if path := filepath.Join(dir, ".parts", "bin", "envoy"); executable(path) {
			return path, nil
		}
		upper := filepath.Dir(dir)
		if upper == dir {
			return "", ErrNotFound
		}
		dir = upper
	}
}

func executable(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // whoever sets ENVOY runs us
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// Version returns the version that an Envoy gives, such as "1.40.0".
func Version(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("envoy --version: %w", err)
	}
	// envoy  version: 0123abc/1.40.0/Clean/RELEASE/BoringSSL
	if parts := strings.Split(string(out), "/"); len(parts) >= 4 {
		return parts[len(parts)-4], nil
	}
	return "", fmt.Errorf("envoy --version: cannot read %q", out)
}
