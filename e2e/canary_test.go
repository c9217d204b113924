package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/server"
	"github.com/countersign/countersign/session"
)

const badge = "canary-badge-of-tweety"

// canaries are people whose every word is found wherever it is kept readable.
// The subject is one too: Redis may know no more than a keyed hash of it.
var canaries = []oidctest.Person{
	{
		Username: "tweety-username", Password: "tweety-password", Subject: "tweety-subject-5f1c",
		Name: "Tweety Canary-Name Ünder", Email: "tweety.canary@mail.example.org", EmailVerified: true,
		Groups: []string{"canary-group-of-tweety"}, Claims: map[string]any{"badge": badge},
	},
	{
		Username: "sylvester-username", Password: "sylvester-password", Subject: "sylvester-subject-90ab",
		Name: "Sylvester Canary-Name", Email: "sylvester.canary@mail.example.org", EmailVerified: true,
		Groups: []string{"canary-group-of-sylvester"},
	},
}

func TestNothingReadableInRedis(t *testing.T) {
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		found := searchRedis(t, nil)
		for _, what := range slices.Sorted(maps.Keys(found)) {
			t.Errorf("%s is readable: %v", what, found[what])
		}
	})
	// The search is worth something only if it finds what is not sealed.
	t.Run("not_sealed", func(t *testing.T) {
		t.Parallel()
		found := searchRedis(t, plainText{session.GenerateKeyring()})
		readable := []string{
			"name", "e-mail", "groups", "claim", "subject", "username", // of the identity
			"ID token", "ID token's payload", "ID token's signature", "access token", "refresh token",
			"cookie",                   // in the result of the login
			"cookie, decoded", "nonce", // it is those bytes in base64; in the ID token
		}
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, slices.Sorted(slices.Values(readable))) {
			t.Errorf("the search found %q, want %q", got, readable)
		}
		for what, places := range found {
			if got := strings.Join(places, " "); !strings.Contains(got, "MONITOR") || !strings.Contains(got, "append-only") {
				t.Errorf("%s was found in %v only", what, places)
			}
		}
		if got := strings.Join(found["name"], " "); !strings.Contains(got, "dump") {
			t.Errorf("the dump does not show the name: %v", found["name"])
		}
	})
}

// plainText is a Sealer that seals nothing.
type plainText struct{ *session.Keyring }

func (plainText) Seal(_ session.Binding, plain []byte) []byte           { return plain }
func (plainText) Open(_ session.Binding, sealed []byte) ([]byte, error) { return sealed, nil }

// searchRedis has people use an app, and returns what of theirs can be read in
// Redis, with the places. A nil Sealer is the real one.
func searchRedis(t *testing.T, sealer session.Sealer) map[string][]string {
	t.Helper()
	w := newWorld(t, setup{Redis: true, Session: "idle: 5s"}, fault{
		people:  canaries,
		options: func(o *server.Options) { o.Sealer = sealer },
	})
	places := map[string][]byte{}
	secrets := map[string][][]byte{}
	keep := func(what, value string) { secrets[what] = append(secrets[what], []byte(value)) }
	keepCookie := func(p *person) {
		value := p.cookies()[sessionCookie]
		decoded, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil || len(decoded) != 32 {
			t.Fatalf("the cookie has %d characters: %v", len(value), err)
		}
		keep("cookie", value)
		keep("cookie, decoded", string(decoded))
	}
	monitored := w.redis.Monitor()

	for _, who := range canaries {
		browser := w.browser(t)
		typed := map[string]string{"username": who.Username, "password": who.Password}
		browser.submit(browser.open("/page"), typed).want(t, 200)
		keepCookie(browser)
		use(t, w, browser)
		places["dump of "+who.Username] = w.redis.Dump()
		browser.signOut().want(t, 200)
		browser.submit(browser.open("/page"), typed).want(t, 200)
		keepCookie(browser)
		browser.fetch("/data").passed(t)

		keep("name", who.Name)
		keep("e-mail", who.Email)
		keep("groups", who.Groups[0])
		keep("subject", who.Subject)
		keep("username", who.Username)
		keep("password", who.Password)
	}
	keep("claim", badge)
	keepSecretsOfLogins(t, w, keep)

	places["last dump"] = w.redis.Dump()
	places["append-only file"] = w.redis.AOF()
	places["MONITOR"] = monitored()
	places["MONITOR, unquoted"] = unquoteMonitor(places["MONITOR"])
	mustHaveSeenAll(t, places)
	return search(places, secrets)
}

// use uses the app for so long that Redis hears of it.
func use(t *testing.T, w *world, p *person) {
	t.Helper()
	seen := func() string {
		keys, _ := w.redis.Do("KEYS", "*:hot").([]any)
		var all []string
		for _, key := range keys {
			all = append(all, fmt.Sprint(key, w.redis.Do("HGET", key, "seen")))
		}
		slices.Sort(all)
		return strings.Join(all, "\n")
	}
	before := seen()
	time.Sleep(600 * time.Millisecond) // a tenth of the idle time, and some
	p.fetch("/data").passed(t)
	eventually(t, startTimeout, func() bool { return seen() != before }, func() string { return "Redis was told of no use" })
}

// keepSecretsOfLogins keeps what provider and Countersign told each other.
func keepSecretsOfLogins(t *testing.T, w *world, keep func(what, value string)) {
	t.Helper()
	for _, query := range w.idp.Authorizations() {
		keep("state", query.Get("state"))
		keep("nonce", query.Get("nonce"))
	}
	for _, request := range w.idp.TokenRequests() {
		keep("code", request.Form.Get("code"))
		keep("code verifier", request.Form.Get("code_verifier"))
	}
	keep("client secret", clientSecret)
	logins := w.idp.issued()
	if want := 2 * len(canaries); len(logins) != want || len(w.idp.TokenRequests()) != want {
		t.Fatalf("the provider gave tokens %d times, want %d", len(logins), want)
	}
	for _, body := range logins {
		var tokens struct {
			ID      string `json:"id_token"`
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal(body, &tokens); err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(tokens.ID, ".")
		if len(parts) != 3 || tokens.Access == "" || tokens.Refresh == "" {
			t.Fatal("the provider did not give all three tokens")
		}
		keep("ID token", tokens.ID)
		keep("ID token's payload", parts[1])
		keep("ID token's signature", parts[2])
		keep("access token", tokens.Access)
		keep("refresh token", tokens.Refresh)
	}
}

// mustHaveSeenAll fails the test unless the places hold what they are searched
// for: the sessions and logins of all people.
func mustHaveSeenAll(t *testing.T, places map[string][]byte) {
	t.Helper()
	for name, want := range map[string][]string{
		"MONITOR":                         {`:hot"`, `:tokens"`, `:claim"`, `:result"`, `"UNLINK"`, `"PEXPIREAT"`},
		"append-only file":                {":hot", ":tokens", ":claim", ":result", "sealed"},
		"last dump":                       {":hot", ":tokens", ":result", "sealed"},
		"dump of " + canaries[0].Username: {":hot", ":tokens"},
	} {
		for _, text := range want {
			if !bytes.Contains(places[name], []byte(text)) {
				t.Errorf("the %s, of %d bytes, does not hold %s: was there no session?", name, len(places[name]), text)
			}
		}
	}
}

// search returns which secrets can be read where, in which encoding.
func search(places map[string][]byte, secrets map[string][][]byte) map[string][]string {
	found := map[string][]string{}
	for what, values := range secrets {
		for i, value := range values {
			for encoding, needle := range encodings(value) {
				for place, hay := range places {
					if bytes.Contains(hay, needle) {
						found[what] = append(found[what], fmt.Sprintf("%d. %s in %s", i+1, encoding, place))
					}
				}
			}
		}
	}
	return found
}

// encodings are the ways in which a value may be written.
func encodings(value []byte) map[string][]byte {
	all := map[string][]byte{
		"raw":       value,
		"hex":       []byte(hex.EncodeToString(value)),
		"upper hex": []byte(strings.ToUpper(hex.EncodeToString(value))),
	}
	if quoted, err := json.Marshal(string(value)); err == nil {
		all["JSON"] = bytes.Trim(quoted, `"`)
	}
	all["ASCII JSON"] = bytes.Trim([]byte(strconv.QuoteToASCII(string(value))), `"`)
	for shift := range 3 {
		for name, alphabet := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := alphabet.EncodeToString(append(make([]byte, shift), value...))
			// What the neighbours have a part in is cut off at both ends.
			text = text[(shift*8+5)/6 : (shift+len(value))*8/6]
			all[fmt.Sprintf("%s+%d", name, shift)] = []byte(text)
		}
	}
	return all
}

// escaped is a byte that MONITOR does not print as it is.
var escaped = regexp.MustCompile(`\\(x[0-9a-f]{2}|.)`)

// unquoteMonitor turns what MONITOR printed into the bytes that were sent.
func unquoteMonitor(printed []byte) []byte {
	return escaped.ReplaceAllFunc(printed, func(e []byte) []byte {
		if e[1] == 'x' && len(e) == 4 {
			b, err := hex.DecodeString(string(e[2:]))
			if err == nil {
				return b
			}
		}
		if at := strings.IndexByte("nrtab", e[1]); at >= 0 {
			return []byte{"\n\r\t\a\b"[at]}
		}
		return e[1:]
	})
}

func TestSearchFindsEveryEncoding(t *testing.T) {
	const secret = "canary-Ünder?~>"
	quoted, err := json.Marshal(map[string]string{"name": secret})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"raw": secret, "hex": fmt.Sprintf("%x", secret), "upper_hex": fmt.Sprintf("%X", secret), "json": string(quoted),
		"base64":                base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64url":             base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64_one_further":    base64.StdEncoding.EncodeToString([]byte("1" + secret + "2")),
		"base64url_two_further": base64.URLEncoding.EncodeToString([]byte("12" + secret + "345")),
		"monitor":               string(unquoteMonitor([]byte(`"\x00\"\ncanary-\xc3\x9cnder?~>"`))),
	} {
		there := map[string][]byte{"there": []byte("before " + text + " after")}
		if got := search(there, map[string][][]byte{"it": {[]byte(secret)}}); len(got) != 1 {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
}
