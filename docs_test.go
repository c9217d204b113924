package countersign_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedCommands runs every command that stands in a sh block of the
// documentation. Those that build, test or serve for ever are looked up instead
// in whatever they name, so that they cannot be misspelt.
func TestDocumentedCommands(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "countersign")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./cmd/countersign").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	workplace := t.TempDir()
	writeMinimal(t, workplace)
	found := 0
	for _, page := range append(pages, "README.md", "CONTRIBUTING.md") {
		for _, line := range commandsOf(t, page) {
			found++
			t.Run(page+"/"+line, func(t *testing.T) {
				args := strings.Fields(line)
				switch {
				case args[0] == "make":
					checkTarget(t, args[1:])
				case args[0] == "countersign" && (args[1] == "serve" || args[1] == "demo" || args[1] == "sessions"):
					checkFlags(t, binary, args[1:])
				case args[0] == "countersign":
					execute(t, workplace, binary, args[1:])
				case strings.HasPrefix(args[0], "scripts/"):
					if _, err := os.Stat(args[0]); err != nil {
						t.Error(err)
					}
				default:
					t.Errorf("nobody knows how to try %q", line)
				}
			})
		}
	}
	if found < 5 {
		t.Fatalf("only %d commands found: the test looks in the wrong place", found)
	}
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

func commandsOf(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, block := range shellBlock.FindAllSubmatch(text, -1) {
		for line := range strings.Lines(string(block[1])) {
			line, _, _ = strings.Cut(line, " #")
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				commands = append(commands, line)
			}
		}
	}
	return commands
}

// checkTarget asks make whether it knows the targets.
func checkTarget(t *testing.T, targets []string) {
	t.Helper()
	execute(t, ".", "make", append([]string{"-n"}, targets...))
}

// checkFlags asks a command, which would serve for ever or ask a server, whether
// it knows its flags.
func checkFlags(t *testing.T, binary string, args []string) {
	t.Helper()
	execute(t, ".", binary, append(args, "--help"))
}

// writeMinimal puts the smallest configuration, as a reader of the README has it
// by then, into a folder.
func writeMinimal(t *testing.T, dir string) {
	t.Helper()
	minimal, err := os.ReadFile("docs/examples/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here := bytes.ReplaceAll(minimal, []byte("/run/secrets/oidc_client"), []byte("oidc_client"))
	for name, content := range map[string][]byte{"countersign.yaml": here, "oidc_client": []byte("s3cret\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func execute(t *testing.T, dir, binary string, args []string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, args...)
	c.Dir = dir
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(binary), strings.Join(args, " "), err, out.Bytes())
	}
}
