package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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
	found := 0
	var look func(c *cobra.Command, path ...string)
	look = func(c *cobra.Command, path ...string) {
		for _, c := range c.Commands() {
			if c.Hidden || c.Name() == "completion" || c.Name() == "help" {
				continue // cobra's own, or not there yet
			}
			found++
			at := append(slices.Clone(path), c.Name())
			status, out, _ := command(t.Context(), t, append(at, "--help")...)
			if status != 0 || !strings.Contains(out, "Examples:") {
				t.Errorf("%v --help: exit status %d, without an example:\n%s", at, status, out)
			}
			look(c, at...)
		}
	}
	if look(newRoot()); found < 8 {
		t.Fatalf("only %d commands", found)
	}
}

func TestCheckSaysWhatWasUnderstood(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "countersign.yaml")
	for name, content := range map[string]string{
		"secret": "s3cret", "admin": adminToken,
		"countersign.yaml": `
listen: {admin: {address: "unix:///run/admin.sock", token_file: admin}}
providers: [{name: p, issuer: "https://id.example.org", client_id: c, client_secret_file: secret}]
session: {revalidate: {every: 15m, via: introspection}}
apps: [{url: "https://a.example.org", allow: everyone}]
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, out, errs := command(t.Context(), t, "check", file)
	for _, line := range []string{
		"app https://a.example.org, signed in by p\n",
		"sessions in memory: they end with the process; at most 12h0m0s, 1h0m0s unused\n",
		"the provider is asked again every 15m0s, by introspection; without an answer a session goes on for 5m0s\n",
		"administrators are answered at unix:///run/admin.sock\n",
	} {
		if status != 0 || !strings.Contains(out, line) {
			t.Errorf("check: exit status %d, want %q:\n%s%s", status, line, out, errs)
		}
	}
}
