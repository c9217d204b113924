package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/config"
)

// TestLoadAdmin reads the file as somebody does who sees no secret but the token.
func TestLoadAdmin(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "countersign.yaml")
	if err := os.WriteFile(filepath.Join(dir, "admin"), []byte(adminToken), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		want       *config.Admin
		problem    string // "" for none
	}{
		{
			"beside_what_is_wrong_elsewhere", "listen: {admin: {token_file: admin}}\nproviders: ${NONE}\nnonsense: 1",
			&config.Admin{Address: config.Address{Network: "tcp", Address: "127.0.0.1:9192"}, TokenFile: filepath.Join(dir, "admin")}, "",
		},
		{
			"a_socket", "listen: {admin: {address: 'unix:///run/admin.sock', token_file: admin}}",
			&config.Admin{Address: config.Address{Network: "unix", Address: "/run/admin.sock"}, TokenFile: filepath.Join(dir, "admin")}, "",
		},
		{"off", readFile(t, "../docs/examples/minimal.yaml"), nil, ""},
		{"without_a_token", "listen: {admin: {}}", nil, ":1:17: listen.admin.token_file: is required"},
		{"a_missing_variable", "listen: {admin: {token_file: '${NONE}'}}", nil, ":1:30: listen.admin.token_file: variable NONE is not set and has no default"},
		{"no_yaml", "listen: [", nil, ": is not YAML"},
		{"nothing", "", nil, "is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := config.LoadAdmin(path, func(string) (string, bool) { return "", false })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("LoadAdmin (-want +got):\n%s", diff)
			}
			if (err == nil) != (tt.problem == "") || err != nil && (!strings.Contains(err.Error(), tt.problem) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("LoadAdmin = %v, want a problem %q", err, tt.problem)
			}
		})
	}
	if _, err := config.LoadAdmin(filepath.Join(dir, "none"), os.LookupEnv); err == nil {
		t.Error("LoadAdmin of no file finds nothing wrong")
	}
}

func TestNothingIsAskedAgainWhereThatIsSaid(t *testing.T) {
	c := parse(t, fill("", "", "session: {revalidate: {via: off}, store_outage: 0s}"))
	if got := c.Session; got.Revalidation.Via != "" || got.Revalidation.Every != 0 || got.Outage != 0 {
		t.Errorf("session = %+v", got)
	}
}
