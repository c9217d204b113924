package countersign_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/countersign/countersign/"

// drawing says which package may import which of ours. It is the house's plan:
// an edge that is not drawn fails, and so does one that nobody uses any more.
// Read from the top, every arrow points down.
const drawing = `
cmd/countersign        -> admin config demo mint server session
demo                   -> config envoy envoy/envoytest oidc/oidctest server
bench                  -> config mint oidc server session session/redis
server                 -> admin authz config envoy metrics mint oidc session session/redis web web/pages
config                 -> admin authz mint oidc session session/redis
admin                  -> oidc session
envoy                  -> authz
envoy/envoytest        -> envoy
web                    -> authz
web/pages              -> authz
metrics                -> authz mint session
authz                  -> mint oidc session
mint                   -> oidc session
session/redis          -> oidc session
session/redis/redistest ->
session/sessiontest    -> session
session                -> oidc
oidc                   ->
oidc/oidctest          ->
`

func TestImportsAreAsDrawn(t *testing.T) {
	drawn, real := edges(drawing), importsOf(t)
	for _, e := range real {
		if !slices.Contains(drawn, e) {
			t.Errorf("%s is imported but not drawn: is there a lower place for it? If not, draw it here", e)
		}
	}
	for _, e := range drawn {
		if !slices.Contains(real, e) {
			t.Errorf("%s is drawn but nobody uses it", e)
		}
	}
	if len(real) == 0 {
		t.Fatal("no import found: the test looks in the wrong place")
	}
}

func TestAuthzKnowsNoTransport(t *testing.T) {
	for _, foreign := range []string{"google.golang.org/grpc", "envoyproxy", "go-redis", "yaml", "spf13/cobra", "prometheus"} {
		for _, dep := range depsOf(t, "./authz") {
			if strings.Contains(dep, foreign) {
				t.Errorf("authz depends on %s", dep)
			}
		}
	}
}

// edges reads a drawing.
func edges(s string) []string {
	var all []string
	for line := range strings.Lines(s) {
		from, to, _ := strings.Cut(strings.TrimSpace(line), "->")
		for name := range strings.FieldsSeq(to) {
			all = append(all, strings.TrimSpace(from)+" -> "+name)
		}
	}
	return all
}

// importsOf lists the imports among our packages, without those of tests.
func importsOf(t *testing.T) []string {
	t.Helper()
	out := goList(t, "-json=ImportPath,Imports", "./...")
	var all []string
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Imports {
			if name, ours := strings.CutPrefix(i, module); ours {
				all = append(all, strings.TrimPrefix(p.ImportPath, module)+" -> "+name)
			}
		}
	}
}

func depsOf(t *testing.T, pattern string) []string {
	t.Helper()
	return strings.Fields(goList(t, "-deps", pattern))
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
