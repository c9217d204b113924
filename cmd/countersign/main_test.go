package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs a command line and returns its exit status and what it said.
func command(ctx context.Context, t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestExitStatus(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("apps: []\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"help", []string{"--help"}, 0, "Envoy"},
		{"nothing_said", nil, 0, "Usage"},
		{"version", []string{"version"}, 0, "countersign " + version},
		{"completion", []string{"completion", "bash"}, 0, "bash completion"},
		{"a_command_there_is_not", []string{"sing"}, 2, `unknown command "sing"`},
		{"a_flag_there_is_not", []string{"serve", "--confg", "x"}, 2, "unknown flag"},
		{"serve_without_a_file", []string{"serve"}, 2, "--config"},
		{"serve_with_a_file_that_is_not_there", []string{"serve", "--config", "none.yaml"}, 1, "none.yaml"},
		{"serve_with_a_broken_file", []string{"serve", "--config", broken}, 1, "broken.yaml:2:1: nonsense"},
		{"check_without_a_file", []string{"check"}, 2, "FILE"},
		{"check_a_broken_file", []string{"check", broken}, 1, "unknown key"},
		{"a_command_that_will_be_there", []string{"explain", "--config", "x"}, 1, "explain is not supported yet"},
		{"keys_of_no_kind", []string{"keys", "generate"}, 2, "session or mint"},
		{"keys_for_the_token", []string{"keys", "generate", "mint"}, 0, `"kty": "EC"`},
		{"demo_without_envoy", []string{"demo", "--envoy", "/nonexistent/envoy", "--check"}, 1, "envoy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, out, errs := command(t.Context(), t, tt.args...)
			if status != tt.status || !strings.Contains(out+errs, tt.says) {
				t.Errorf("exit status %d, want %d, saying %q:\n%s%s", status, tt.status, tt.says, out, errs)
			}
		})
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	commands := newRoot().Commands()
	if len(commands) < 4 {
		t.Fatalf("only %d commands", len(commands))
	}
	for _, c := range commands {
		if c.Hidden || c.Name() == "completion" || c.Name() == "help" {
			continue // cobra's own, or not there yet
		}
		status, out, _ := command(t.Context(), t, c.Name(), "--help")
		if status != 0 || !strings.Contains(out, "Examples:") {
			t.Errorf("%s --help: exit status %d, without an example:\n%s", c.Name(), status, out)
		}
	}
}
