package main

import (
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

const (
	adminToken = "t0k3n-0123456789-0123456789-0123456789"
	issuer     = "https://id.example.org"
)

// administration is a running admin listener, and the files of whoever asks it.
type administration struct {
	t                      *testing.T
	vault                  *session.Vault
	address, config, token string
}

func newAdministration(t *testing.T) *administration {
	t.Helper()
	dir := t.TempDir()
	a := &administration{
		t: t, token: filepath.Join(dir, "admin"), config: filepath.Join(dir, "countersign.yaml"),
		vault: &session.Vault{Store: session.NewMemory(), Sealer: session.GenerateKeyring(), Absolute: 12 * time.Hour, Idle: time.Hour},
	}
	a.write(a.token, adminToken+"\n")
	s := httptest.NewServer(&admin.Handler{Sessions: a.vault, TokenFile: a.token, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	a.address = strings.TrimPrefix(s.URL, "http://")
	a.write(a.config, "listen: {admin: {address: '"+a.address+"', token_file: admin}}\n")
	return a
}

func (a *administration) write(path, content string) {
	a.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *administration) signIn(subject string) session.ID {
	a.t.Helper()
	_, s, err := a.vault.Create(a.t.Context(), time.Now(), session.Login{
		App: "portal", Browser: "Firefox on Linux",
		Grant: oidc.Grant{Identity: oidc.Identity{Issuer: issuer, Subject: subject}},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return s.ID
}

// run runs countersign sessions with the configuration.
func (a *administration) run(args ...string) (status int, stdout, stderr string) {
	a.t.Helper()
	args = append([]string{"sessions"}, args...)
	status, stdout, stderr = command(a.t.Context(), a.t, append(args, "--config", a.config)...)
	if strings.Contains(stdout+stderr, "t0k3n") {
		a.t.Errorf("the token is shown:\n%s%s", stdout, stderr)
	}
	return status, stdout, stderr
}

func TestSessionsList(t *testing.T) {
	a := newAdministration(t)
	if status, out, errs := a.run("list"); status != 0 || out != "There is no such session.\n" {
		t.Errorf("list of none: exit status %d\n%s%s", status, out, errs)
	}
	alice, _ := a.signIn("alice"), a.signIn("bob")
	status, out, errs := a.run("list", "--issuer", issuer, "--subject", "alice")
	want := strings.NewReplacer("IDENTIFIER", hex.EncodeToString(alice[:8])).Replace(
		"ID                APP     BROWSER           AGE        LAST SEEN      ENDS\n" +
			"IDENTIFIER  portal  Firefox on Linux  0 seconds  0 seconds ago  in 59 minutes unless used, in 11 hours in any case\n" +
			"1 session\n")
	if diff := cmp.Diff(want, out); diff != "" || status != 0 {
		t.Errorf("list of alice's: exit status %d %s (-want +got):\n%s", status, errs, diff)
	}
	if status, out, errs := a.run("list", "--id", hex.EncodeToString(alice[:])); status != 0 || out != want {
		t.Errorf("list by identifier: exit status %d\n%s%s", status, out, errs)
	}
	if status, out, _ := a.run("list"); status != 0 || !strings.HasSuffix(out, "\n2 sessions\n") {
		t.Errorf("list of all: exit status %d\n%s", status, out)
	}
	if status, out, _ := a.run("list", "--limit", "1"); status != 0 || !strings.HasSuffix(out, "\nThere are more than these 1: see --limit.\n") {
		t.Errorf("list of one: exit status %d\n%s", status, out)
	}
	var list admin.List
	status, out, _ = a.run("list", "--json", "--limit", "1")
	if err := json.Unmarshal([]byte(out), &list); err != nil || status != 0 || len(list.Sessions) != 1 || !list.Truncated {
		t.Errorf("list --json: exit status %d, %v\n%s", status, err, out)
	}
}

func TestSessionsRevoke(t *testing.T) {
	a := newAdministration(t)
	var id session.ID
	for range 3 {
		id = a.signIn("alice")
	}
	a.signIn("bob")
	a.signIn("carol")
	for _, tt := range []struct {
		name   string
		args   []string
		says   string
		nobody bool
	}{
		{"by_identifier", []string{"--id", id.String()}, "Ended 1 session.\n", false},
		{"by_identifier_again", []string{"--id", id.String()}, "", true},
		{"by_identifier_again_for_programs", []string{"--id", id.String(), "--json"}, "{\"revoked\":0}\n", true},
		{"a_person_of_a_mistyped_issuer", []string{"--issuer", issuer + "/", "--subject", "alice"}, "", true},
		{"a_person_of_a_mistyped_issuer_for_programs", []string{"--issuer", issuer + "/", "--subject", "alice", "--json"}, "{\"revoked\":0}\n", true},
		{"a_person", []string{"--issuer", issuer, "--subject", "alice"}, "Ended 2 sessions.\n", false},
		{"a_person_for_programs", []string{"--issuer", issuer, "--subject", "bob", "--json"}, "{\"revoked\":1}\n", false},
		{"all", []string{"--all", "--yes"}, "Ended 1 session.\n", false},
		{"all_again", []string{"--all", "--yes"}, "Ended 0 sessions.\n", false},
		{"all_again_for_programs", []string{"--all", "--yes", "--json"}, "{\"revoked\":0}\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantStatus, wantErrs := 0, ""
			if tt.nobody {
				wantStatus, wantErrs = exitFailure, "countersign: no such session\n"
			}
			status, out, errs := a.run(append([]string{"revoke"}, tt.args...)...)
			if status != wantStatus || out != tt.says || errs != wantErrs {
				t.Errorf("exit status %d, want %d, saying %q and %q:\n%s%s", status, wantStatus, tt.says, wantErrs, out, errs)
			}
		})
	}
}

func TestSessionsWithoutAConfiguration(t *testing.T) {
	a := newAdministration(t)
	a.signIn("alice")
	for _, address := range []string{a.address, "http://" + a.address} {
		status, out, errs := command(t.Context(), t, "sessions", "list", "--address", address, "--token-file", a.token)
		if status != 0 || !strings.HasSuffix(out, "\n1 session\n") {
			t.Errorf("at %s: exit status %d\n%s%s", address, status, out, errs)
		}
	}
}

func TestSessionsAtAnyAddressOfThisMachine(t *testing.T) {
	a := newAdministration(t)
	_, port, err := net.SplitHostPort(a.address)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{":" + port, "0.0.0.0:" + port} {
		a.write(a.config, "listen: {admin: {address: '"+address+"', plaintext: true, token_file: admin}}\n")
		if status, out, errs := a.run("list"); status != 0 {
			t.Errorf("listening at %s: exit status %d\n%s%s", address, status, out, errs)
		}
	}
}

// TestTheTokenGoesToThisMachine holds who is asked against who can listen there:
// with localhost, Go listens on the loopback of IPv4 alone.
func TestTheTokenGoesToThisMachine(t *testing.T) {
	for _, tt := range []struct{ name, address, want string }{
		{"a_name_of_this_machine", "localhost:9192", "http://127.0.0.1:9192"},
		{"a_name_of_this_machine_in_capitals", "LOCALHOST:9192", "http://127.0.0.1:9192"},
		{"any_address", ":9192", "http://127.0.0.1:9192"},
		{"any_address_of_ipv4", "0.0.0.0:9192", "http://127.0.0.1:9192"},
		{"any_address_of_ipv6", "[::]:9192", "http://[::1]:9192"},
		{"loopback", "127.0.0.2:9192", "http://127.0.0.2:9192"},
		{"loopback_of_ipv6", "[::1]:9192", "http://[::1]:9192"},
		{"another_machine", "admin.example.org:9192", "http://admin.example.org:9192"},
		{"a_socket", "unix:///run/admin.sock", "unix:///run/admin.sock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := baseURL(tt.address); got != tt.want || err != nil {
				t.Errorf("baseURL(%s) = %s, %v, want %s", tt.address, got, err, tt.want)
			}
		})
	}
}

func TestSessionsGoWrong(t *testing.T) {
	a := newAdministration(t)
	id := a.signIn("alice")
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		a.write(path, content)
		return path
	}
	another := file("another", strings.Repeat("another", 8))
	short := file("short", "t0k3n")
	off := file("off.yaml", "listen: {grpc: '127.0.0.1:9191'}\n")
	broken := file("broken.yaml", "listen: {admin: {}}\n")
	anyPort := file("any.yaml", "listen: {admin: {address: '127.0.0.1:0', token_file: another}}\n")
	server := []string{"--address", a.address, "--token-file", a.token}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(page.Close)
	for _, tt := range []struct {
		name   string
		args   []string
		server []string
		status int
		says   string
	}{
		{"an_unknown_word", []string{"end"}, nil, 2, `unknown command "end"`},
		{"an_argument", []string{"list", "alice"}, server, 2, "list takes no arguments"},
		{"no_server", []string{"list"}, nil, 2, "Say --config FILE, or --address and --token-file"},
		{"an_address_alone", []string{"list"}, []string{"--address", a.address}, 2, "Say --config FILE, or"},
		{"two_servers", []string{"list"}, append(server, "--config", off), 2, "--config cannot stand beside"},
		{"half_a_person", []string{"revoke", "--subject", "alice"}, server, 2, "one of them is missing"},
		{"half_a_person_to_list", []string{"list", "--issuer", issuer}, server, 2, "one of them is missing"},
		{"a_person_and_an_identifier", []string{"list", "--issuer", issuer, "--subject", "alice", "--id", "01"}, server, 2, "--id cannot stand beside"},
		{"nobody_named", []string{"revoke"}, server, 2, "Say --issuer and --subject, --id, or --all"},
		{"nobody_named_for_sure", []string{"revoke", "--yes"}, server, 2, "whose sessions?"},
		{"all_without_yes", []string{"revoke", "--all"}, server, 2, "everybody who is signed in has to sign in again: add --yes"},
		{"all_and_somebody", []string{"revoke", "--all", "--yes", "--id", id.String()}, server, 2, "--all cannot stand beside"},
		{"no_limit", []string{"list", "--limit", "0"}, server, 2, "between 1 and 100000"},
		{"too_few_digits", []string{"revoke", "--id", "0123"}, server, 1, "8 to 64 hex digits"},
		{"an_address_without_a_port", []string{"list"}, []string{"--address", "localhost", "--token-file", a.token}, 2, "host:port or unix:///path"},
		{"an_address_of_another_kind", []string{"list"}, []string{"--address", "ftp://localhost", "--token-file", a.token}, 2, "unix:///path"},
		{"off", []string{"list"}, []string{"--config", off}, 1, "has no listen.admin"},
		{"a_problem_of_the_file", []string{"list"}, []string{"--config", broken}, 1, "broken.yaml:1:17: listen.admin.token_file: is required"},
		{"no_file", []string{"list"}, []string{"--config", filepath.Join(dir, "none.yaml")}, 1, "no such file"},
		{"any_port", []string{"list"}, []string{"--config", anyPort}, 2, "takes any port that is free"},
		{"nobody_there", []string{"list"}, []string{"--address", "127.0.0.1:1", "--token-file", a.token}, 1, "is countersign serve running"},
		{"no_socket", []string{"list"}, []string{"--address", "unix://" + dir + "/none", "--token-file", a.token}, 1, "is countersign serve running"},
		{"no_token", []string{"list"}, []string{"--address", a.address, "--token-file", filepath.Join(dir, "none")}, 1, "token file"},
		{"a_short_token", []string{"list"}, []string{"--address", a.address, "--token-file", short}, 1, "less than 32 characters"},
		{"another_token", []string{"list"}, []string{"--address", a.address, "--token-file", another}, 1, "does not accept the token in " + another},
		{"something_else_there", []string{"revoke", "--all", "--yes"}, []string{"--address", page.URL, "--token-file", a.token}, 1, "can be repeated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append(append([]string{"sessions"}, tt.args...), tt.server...)
			status, out, errs := command(t.Context(), t, args...)
			if status != tt.status || !strings.Contains(errs, tt.says) || out != "" {
				t.Errorf("exit status %d, want %d, saying %q:\n%s%s", status, tt.status, tt.says, out, errs)
			}
			if strings.Contains(errs, "t0k3n") {
				t.Errorf("the token is shown: %s", errs)
			}
		})
	}
	if left, err := a.vault.OfUser(t.Context(), issuer, "alice"); err != nil || len(left) != 1 {
		t.Errorf("%d sessions are left, %v", len(left), err)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                          "0 seconds",
		time.Second:                           "1 second",
		59*time.Second + 999*time.Millisecond: "59 seconds",
		time.Minute:                           "1 minute",
		119 * time.Minute:                     "1 hour",
		47 * time.Hour:                        "47 hours",
		48 * time.Hour:                        "2 days",
	} {
		if got := words(d); got != want {
			t.Errorf("words(%s) = %s, want %s", d, got, want)
		}
	}
}

func TestSessionsAreCompleted(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"sessions", ""}, "revoke\tEnd sessions"},
		{[]string{"sessions", "list", "--"}, "--issuer\t"},
		{[]string{"sessions", "revoke", "--"}, "--all\t"},
		{[]string{"sessions", "revoke", ""}, ":4"}, // no file names
	} {
		status, out, errs := command(t.Context(), t, append([]string{"__complete"}, tt.args...)...)
		if status != 0 || !strings.Contains(out, tt.says) {
			t.Errorf("%q: exit status %d, want %q:\n%s%s", tt.args, status, tt.says, out, errs)
		}
	}
}
