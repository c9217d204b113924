package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/config"
)

var update = flag.Bool("update", false, "write the files that are compared")

// TestBadFiles compares all that is said about a file with the .txt beside it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			c, err := config.Parse("countersign.yaml", []byte(readFile(t, file)), world)
			if err == nil {
				t.Fatal("Parse found nothing wrong")
			}
			if c != nil {
				t.Error("Parse gives a configuration beside its error")
			}
			got := err.Error() + "\n"
			if strings.Contains(got, canary) {
				t.Errorf("the error shows a secret:\n%s", got)
			}
			compare(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
		})
	}
}

// compare compares text with a file, or writes that.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := readFile(t, file); got != want {
		t.Errorf("got\n%s\nwant, as in %s,\n%s", got, file, want)
	}
}

func TestProblems(t *testing.T) {
	_, err := config.Parse("f.yaml", []byte("providers: []\napps: []\n"), world)
	problem, ok := errors.AsType[config.Problem](err)
	want := config.Problem{File: "f.yaml", Line: 1, Column: 12, Key: "providers", Message: "must not be empty"}
	if !ok || problem != want {
		t.Errorf("first problem = %+v, want %+v", problem, want)
	}
}

// smallest is a good file; a row puts something in a place of it.
const smallest = `providers: [{name: p, issuer: "https://id.example.org", client_id: c, client_secret: "${CLIENT_SECRET}"PROVIDER}]
apps: [{url: "https://a.example.org", allow: everyoneAPP}]
TOP`

func fill(provider, app, top string) string {
	return strings.NewReplacer("PROVIDER", provider, "APP", app, "TOP", top).Replace(smallest)
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"nothing", fill("", "", ""), ""},
		{
			"a_secret_in_the_file", strings.ReplaceAll(fill("", "", ""), "${CLIENT_SECRET}", canary),
			"f.yaml:1:86: providers[0].client_secret: is a secret in the configuration itself: better write client_secret_file, or ${VARIABLE}",
		},
		{
			"a_secret_as_a_default", strings.ReplaceAll(fill("", "", ""), "${CLIENT_SECRET}", "${NONE:-"+canary+"}"),
			"f.yaml:1:86: providers[0].client_secret: is a secret in the configuration itself: better write client_secret_file, or ${VARIABLE}",
		},
		{
			"a_password_in_an_address", fill("", "", "session: {keys_file: /run/secrets/session-keys, redis: {url: 'redis://:"+canary+"@redis'}}\nmint: {keys_file: /run/secrets/mint.jwks}"),
			"f.yaml:3:62: session.redis.url: holds a secret in the configuration itself: better write password_file",
		},
		{
			"rules_beside_sso_off", fill("", `, sso: off, rules: [{path: /x, access: denied}]`, ""),
			"f.yaml:2:46: apps[0].allow: is not looked at while sso is off: everybody passes\n" +
				"f.yaml:2:73: apps[0].rules: is not looked at while sso is off: everybody passes",
		},
		{
			"allow_of_a_public_rule", fill("", `, rules: [{path: /x, access: public, allow: everyone}]`, ""),
			"f.yaml:2:98: apps[0].rules[0].allow: is never asked: access says who passes",
		},
		{
			"plaintext_at_a_socket", fill("", "", "listen: {grpc: {address: 'unix:///run/grpc.sock', plaintext: true}, admin: {address: 'unix:///run/admin.sock', plaintext: true, token_file: /run/secrets/admin}}"),
			"f.yaml:3:62: listen.grpc.plaintext: has no use at a socket, which other machines cannot reach\n" +
				"f.yaml:3:123: listen.admin.plaintext: has no use at a socket, which other machines cannot reach",
		},
		{"no_plaintext_at_a_socket", fill("", "", "listen: {grpc: {address: 'unix:///run/grpc.sock', plaintext: false}}"), ""},
		{
			"an_outage_longer_than_idle", fill("", "", inRedis("idle: 1m, store_outage: 61s")),
			"f.yaml:3:35: session.store_outage: is 1m1s, longer than session.idle, which is 1m: by then the store has forgotten the session, so that who was let in has to sign in again",
		},
		{
			"the_usual_outage_longer_than_idle", fill("", "", inRedis("idle: 2s")),
			"f.yaml:3:10: session.store_outage: is 5s, longer than session.idle, which is 2s: by then the store has forgotten the session, so that who was let in has to sign in again",
		},
		{"an_outage_as_long_as_idle", fill("", "", inRedis("idle: 1m, store_outage: 60s")), ""},
		{"an_outage_without_a_store", fill("", "", "session: {idle: 1m, store_outage: 1h}"), ""},
		{
			"asking_after_the_end", fill("", "", "session: {absolute: 1h, revalidate: {every: 61m}}"),
			"f.yaml:3:45: session.revalidate.every: is longer than session.absolute, which is 1h: by then there is no session to ask about",
		},
		{"asking_at_the_end", fill("", "", "session: {absolute: 1h, revalidate: {every: 60m}}"), ""},
		{"never_asking", fill("", "", "session: {absolute: 30m, revalidate: {via: off}}"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Parse("f.yaml", []byte(tt.data), world)
			if err != nil {
				t.Fatalf("Parse = %v", err)
			}
			mustHold(t, c)
			if got := config.Problems(c.Warnings).Error(); got != tt.want {
				t.Errorf("warnings =\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// inRedis is a session in Redis.
func inRedis(keys string) string {
	return "session: {" + keys + ", keys_file: /run/secrets/session-keys, redis: {url: 'redis://redis'}}\nmint: {keys_file: /run/secrets/mint.jwks}"
}

// TestTheShortestIdle goes with how often a session's use is told to the store.
func TestTheShortestIdle(t *testing.T) {
	if got := parse(t, fill("", "", "session: {idle: 2s}")).Session.Idle; got != 2*time.Second {
		t.Errorf("idle = %s, want 2s", got)
	}
	_, err := config.Parse("f.yaml", []byte(fill("", "", "session: {idle: 1999ms}")), world)
	if want := `f.yaml:3:17: session.idle: must be between 2s and 2160h, not "1999ms"`; err == nil || err.Error() != want {
		t.Errorf("Parse = %v, want %s", err, want)
	}
}

// TestSecretsAreNotTold puts the secret wherever it could be put by mistake.
func TestSecretsAreNotTold(t *testing.T) {
	secret := "${CLIENT_SECRET}"
	for _, tt := range []struct{ name, data string }{
		{"as_a_list", strings.ReplaceAll(fill("", "", ""), `"${CLIENT_SECRET}"`, "["+canary+"]")},
		{"as_an_alias", strings.ReplaceAll(fill("", "", ""), `"${CLIENT_SECRET}"`, "*"+canary)},
		{"as_a_tag", strings.ReplaceAll(fill("", "", ""), `"${CLIENT_SECRET}"`, "!"+canary+" x")},
		{"as_a_reserved_word", strings.ReplaceAll(fill("", "", ""), `"${CLIENT_SECRET}"`, "@"+canary)},
		{"in_an_open_quote", strings.ReplaceAll(fill("", "", ""), `"${CLIENT_SECRET}"`, `"`+canary)},
		{"as_a_preset", fill(", preset: "+quoted(secret), "", "")},
		{"as_a_scheme", fill(", scopes: "+quoted(secret), "", "")},
		{"as_a_name", strings.ReplaceAll(fill("", "", ""), "name: p", "name: "+quoted("!"+secret))},
		{"as_a_level", fill("", "", "log: {level: "+quoted(secret)+"}")},
		{"as_a_duration", fill("", "", "session: {idle: "+quoted(secret)+"}")},
		{"as_a_listener", fill("", "", "listen: {grpc: "+quoted(secret)+"}")},
		{"as_a_redis", fill("", "", "session: {redis: {url: "+quoted(secret)+"}}")},
		{"as_a_port_of_redis", fill("", "", "session: {redis: {url: "+quoted("redis://r:"+secret)+"}}")},
		{"as_a_database_of_redis", fill("", "", "session: {redis: {url: "+quoted("redis://r/"+secret)+"}}")},
		{"as_a_method", fill("", ", rules: [{path: /x, methods: ["+quoted(secret)+"]}]", "")},
		{"as_an_access", fill("", ", rules: [{path: /x, access: "+quoted(secret)+"}]", "")},
		{"as_keys", fill("", "", "session: {keys_file: /run/secrets/bad-keys}\nmint: {keys_file: /run/secrets/bad-keys}")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(tt.data), world)
			if err == nil {
				t.Fatal("Parse found nothing wrong")
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error shows the secret:\n%v", err)
			}
		})
	}
}

func quoted(s string) string { return `"` + s + `"` }

func TestVariables(t *testing.T) {
	for _, tt := range []struct{ name, source, want string }{
		{"set", "${ISSUER}", "https://id.example.org"},
		{"set_with_a_default", "${ISSUER:-x}", "https://id.example.org"},
		{"not_set_with_a_default", "${NONE:-x y}", "x y"},
		{"empty_with_a_default", "${EMPTY:-x}", "x"},
		{"between_text", "a${HALF_HOUR}b${HALF_HOUR}c", "a30mb30mc"},
		{"yaml_in_a_variable_is_text", "${YAML}", "[a, b]"},
		{"a_default_with_a_dash", "${NONE:-a:-b}", "a:-b"},
		{"escaped", "$${ISSUER}", "${ISSUER}"},
		{"a_dollar_is_a_dollar", "a$b$", "a$b$"},
		{"set_and_never_read_again", "${TRUE}${NONE:-$}{ISSUER}", "true${ISSUER}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, fill(", scopes: [openid, \""+tt.source+"\"]", "", ""))
			if got := c.Providers[0].Scopes[1]; got != tt.want {
				t.Errorf("%s = %q, want %q", tt.source, got, tt.want)
			}
		})
	}
}

func TestVariablesOfEveryType(t *testing.T) {
	c := parse(t, fill("", "", `session: {idle: "${HALF_HOUR}"}
listen: {grpc: {address: ":${NONE:-9191}", plaintext: "${TRUE}"}}
log: {level: "${NONE:-warn}"}`))
	if got := c.Session.Idle.String(); got != "30m0s" {
		t.Errorf("idle = %s, want 30m", got)
	}
	if got := c.Listen.GRPC.String(); got != ":9191" {
		t.Errorf("listen.grpc = %s, want :9191", got)
	}
	if got := c.Log.Level.String(); got != "WARN" {
		t.Errorf("level = %s, want WARN", got)
	}
}

func TestBadVariables(t *testing.T) {
	const malformed = "${ begins no variable: write ${NAME} or ${NAME:-default}, or $${ for the text itself"
	for _, tt := range []struct{ name, source, want string }{
		{"missing", "${NONE}", "variable NONE is not set and has no default"},
		{"empty_where_something_must_be", "${EMPTY}", "must not be empty"},
		{"without_an_end", "${ISSUER", malformed},
		{"without_a_name", "${}", malformed},
		{"a_digit_first", "${1}", malformed},
		{"another_operator", "${ISSUER-x}", malformed},
		{"in_a_default", "${NONE:-${ISSUER}}", malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(fill(", groups_claim: \""+tt.source+"\"", "", "")), world)
			want := "f.yaml:1:120: providers[0].groups_claim: " + tt.want
			if err == nil || err.Error() != want {
				t.Errorf("Parse = %v, want %s", err, want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	seeds := 0
	for _, pattern := range []string{"testdata/*.yaml", "testdata/bad/*.yaml", "../docs/examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			seeds++
		}
	}
	if seeds < 10 {
		f.Fatalf("only %d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f.yaml", data, world)
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v: want one of them", c, err)
		}
		if err != nil {
			if _, ok := errors.AsType[config.Problems](err); !ok || err.Error() == "" {
				t.Errorf("Parse = %v, want Problems", err)
			}
			return
		}
		mustHold(t, c)
	})
}
