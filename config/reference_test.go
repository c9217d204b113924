package config_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/config"
)

// TestReference compares the page with the table, and the table with what is read.
func TestReference(t *testing.T) {
	compare(t, "../docs/configuration.md", page())
}

func TestReferenceHasEveryKey(t *testing.T) {
	asked := config.Asked([]byte(readFile(t, "testdata/everything.yaml")), world)
	listed := map[string]bool{"listen": true, "session": true, "mint": true, "log": true} // sections have headings
	for _, key := range config.Reference() {
		if listed[key.Path] {
			t.Errorf("%s is listed twice", key.Path)
		}
		if config.Later()[key.Path] {
			t.Errorf("%s is listed and not supported", key.Path)
		}
		if key.Kind == "" || key.Meaning == "" {
			t.Errorf("%s has no type or no meaning", key.Path)
		}
		listed[key.Path] = true
	}
	if len(asked) < 20 {
		t.Fatalf("only %d keys are read", len(asked))
	}
	for key := range listed {
		if !asked[key] {
			t.Errorf("%s is listed and never read, or not in everything.yaml", key)
		}
	}
	for key := range asked {
		if !listed[key] {
			t.Errorf("%s is read and not listed", key)
		}
	}
}

const introduction = `# Configuration

<!-- Written by go generate ./config from config/reference.go. -->

Countersign reads one YAML file. The smallest one that works:

%s
[examples/playground.yaml](examples/playground.yaml) is a larger one.

Every problem of a file is told in one go, each with its place:

    countersign.yaml:12:7: apps[0].rules[2].path: must start with "/"

A key that is not listed here is a problem too, as is one that stands twice. A file with a problem changes nothing.

**Variables.** ` + "`${NAME}` and `${NAME:-default}`" + ` are replaced in every value, after the file has been read as YAML: what a
variable holds is text. A default also stands in for an empty variable. A variable that is not set and has no default is
a problem. ` + "`$${`" + ` stands for ` + "`${`" + `.

**Secrets.** Beside every secret there is a key that ends in ` + "`_file`" + `. The file is read when the configuration is, without
the line break at its end; a relative path begins where the configuration is. A secret in the configuration itself works,
with a warning; a variable is no secret in the configuration.

**YAML.** One document, of at most 1 MiB. Anchors and aliases work; merging maps (` + "`<<`" + `) and tags (` + "`!name`" + `) are refused.
Durations are written as ` + "`90s`, `30m` or `12h`" + `.
`

var headings = []struct{ section, title, text string }{
	{"listen", "Listeners", ""},
	{"providers", "Providers", ""},
	{"session", "Sessions", ""},
	{"mint", "Tokens for upstreams", "What is in them is said by each app."},
	{"apps", "Apps", "Hosts are compared with what the browser asks for. Of two apps on one host, the one with the longer path is tried first."},
	{"log", "Log", ""},
}

// page is docs/configuration.md.
func page() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, introduction, indented(smallestExample))
	for _, h := range headings {
		fmt.Fprintf(&b, "\n## %s\n\n", h.title)
		if h.text != "" {
			fmt.Fprintf(&b, "%s\n\n", h.text)
		}
		fmt.Fprint(&b, "| Key | Type | Default | Meaning |\n|---|---|---|---|\n")
		for _, key := range config.Reference() {
			if section, _, _ := strings.Cut(strings.TrimSuffix(key.Path, "[]"), "."); strings.TrimSuffix(section, "[]") == h.section {
				row := []string{"`" + key.Path + "`", key.Kind, key.Default, key.Meaning}
				for i := range row {
					row[i] = strings.ReplaceAll(row[i], "|", `\|`)
				}
				fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			}
		}
	}
	fmt.Fprint(&b, "\n## Not there yet\n\nThese keys are planned. Until then they are refused:\n\n")
	for _, key := range slices.Sorted(maps.Keys(config.Later())) {
		fmt.Fprintf(&b, "- `%s`\n", key)
	}
	return b.String()
}

const smallestExample = `providers:
  - name: keycloak
    issuer: https://id.example.org/realms/main
    client_id: chat
    client_secret_file: /run/secrets/oidc_client
apps:
  - url: https://chat.example.org
    allow: everyone
`

func TestSmallestExampleIsTheFile(t *testing.T) {
	if file := readFile(t, "../docs/examples/minimal.yaml"); !strings.HasSuffix(file, smallestExample) {
		t.Errorf("docs/examples/minimal.yaml does not end in what the reference shows")
	}
}

func indented(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}
