package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/countersign/countersign/server"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
)

// Somebody has everything that is in Redis and every key of the servers, and
// nobody's cookie. All that opens for them is what an administrator sees; with a
// person's cookie that person's session opens, and no other.
func TestStolenRedisAndKeysWithoutACookie(t *testing.T) {
	t.Parallel()
	seals := new(witness)
	w := newWorld(t, setup{Redis: true}, fault{
		people:  canaries,
		options: func(o *server.Options) { seals.Keyring = ringOf(t, o); o.Sealer = seals },
	})
	tweety, sylvester := w.signInCanary(t, canaries[0]), w.signInCanary(t, canaries[1])
	loot := steal(t, w, seals)
	loot.mustBeWhole(t)
	ownWords := wordsOf(t, w, tweety, sylvester)

	t.Run("nothing_opens_but_what_an_administrator_sees", func(t *testing.T) {
		guesses := loot.guesses()
		opened := loot.open(guesses)
		want := []string{"display of " + tweety.id.String(), "display of " + sylvester.id.String()}
		slices.Sort(want)
		t.Logf("%d secrets were guessed, for %d places", len(guesses), len(loot.bindings))
		if got := slices.Sorted(maps.Keys(opened)); !slices.Equal(got, want) {
			t.Fatalf("without a cookie these open: %q, want %q", got, want)
		}
		for name, plain := range opened {
			mustBeDisplay(t, name, plain)
			for what, places := range search(map[string][]byte{name: plain}, ownWords) {
				t.Errorf("%s: %v", what, places)
			}
		}
	})
	t.Run("one_cookie_opens_one_session", func(t *testing.T) {
		opened := loot.open([][]byte{tweety.token[:]})
		want := []string{"session of " + tweety.id.String(), "tokens of " + tweety.id.String()}
		if got := slices.Sorted(maps.Keys(opened)); !slices.Equal(got, want) {
			t.Fatalf("her cookie opens %q, want %q", got, want)
		}
		found := search(map[string][]byte{"them": slices.Concat(slices.Collect(maps.Values(opened))...)}, tweety.words(t, w))
		for _, what := range []string{"name", "e-mail", "subject", "claim", "ID token", "access token", "refresh token"} {
			if len(found[what]) == 0 {
				t.Errorf("what her cookie opens does not hold her %s, so that the search proves nothing", what)
			}
		}
	})
	// What a login left for its repeated callbacks holds the cookie. It opens by the
	// verifier of the attempt alone, which the provider saw once and the browser kept.
	t.Run("the_result_of_a_login_opens_by_its_verifier", func(t *testing.T) {
		if opened := loot.open([][]byte{tweety.verifier}); len(opened) != 1 || len(opened["login result"]) == 0 {
			t.Errorf("her verifier opens %q, want the result of her login", slices.Sorted(maps.Keys(opened)))
		}
	})
	t.Run("a_vault_over_the_dump", func(t *testing.T) { vaultOverTheDump(t, w, loot, tweety, sylvester) })
	t.Run("a_replica_over_the_dump", func(t *testing.T) { replicaOverTheDump(t, w, loot, tweety, sylvester) })
}

// witness is a Keyring that remembers what it was asked to bind seals to.
type witness struct {
	*session.Keyring

	mu       sync.Mutex
	bindings map[string]session.Binding // without their secrets; guarded by mu
}

func (w *witness) Seal(b session.Binding, plain []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bindings == nil {
		w.bindings = map[string]session.Binding{}
	}
	w.bindings[fmt.Sprintf("%q %q", b.Purpose, b.Parts)] = session.Binding{Purpose: b.Purpose, Parts: slices.Clone(b.Parts)}
	return w.Keyring.Seal(b, plain)
}

// ringOf is the ring of a server's configuration.
func ringOf(t *testing.T, o *server.Options) *session.Keyring {
	t.Helper()
	ring := o.Config.Session.Keys
	if ring == nil {
		t.Fatal("there are no session keys")
	}
	return ring
}

// canary is somebody who is signed in, and what of theirs a thief would want.
type canary struct {
	oidctest.Person
	token    session.Token
	id       session.ID
	verifier []byte
	tokens   []byte // what the provider answered
}

const canaryBrowser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

func (w *world) signInCanary(t *testing.T, who oidctest.Person) canary {
	t.Helper()
	browser := w.browser(t)
	start := browser.get("/page").want(t, 302)
	callback, err := oidctest.SignIn(t.Context(), browser.http, start.header.Get("Location"), who.Username, who.Password)
	if err != nil {
		t.Fatal(err)
	}
	browser.get(callback, "User-Agent: "+canaryBrowser).want(t, 303)
	browser.fetch("/data").passed(t)
	token, ok := session.ParseToken(browser.cookies()[sessionCookie])
	if !ok {
		t.Fatal("there is no session")
	}
	issued, asked := w.idp.issued(), w.idp.TokenRequests()
	return canary{
		Person: who, token: token, id: token.ID(), tokens: issued[len(issued)-1],
		verifier: []byte(asked[len(asked)-1].Form.Get("code_verifier")),
	}
}

// words are what a thief must not learn of somebody, by what they are.
func (c canary) words(t *testing.T, w *world) map[string][][]byte {
	t.Helper()
	var tokens struct {
		ID      string `json:"id_token"`
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(c.tokens, &tokens); err != nil || tokens.ID == "" || tokens.Access == "" || tokens.Refresh == "" {
		t.Fatalf("the provider did not give all three tokens: %v", err)
	}
	words := map[string]string{
		"name": c.Name, "e-mail": c.Email, "subject": c.Subject, "username": c.Username, "group": c.Groups[0],
		"ID token": tokens.ID, "access token": tokens.Access, "refresh token": tokens.Refresh,
		"cookie": c.token.Reveal(), "cookie, decoded": string(c.token[:]), "verifier": string(c.verifier),
		"issuer": w.provider.issuer,
	}
	if c.Claims != nil {
		words["claim"] = badge
	}
	all := map[string][][]byte{}
	for what, word := range words {
		all[what] = [][]byte{[]byte(word)}
	}
	return all
}

func wordsOf(t *testing.T, w *world, people ...canary) map[string][][]byte {
	t.Helper()
	all := map[string][][]byte{}
	for _, c := range people {
		for what, words := range c.words(t, w) {
			all[what] = append(all[what], words...)
		}
	}
	return all
}

// mustBeDisplay fails the test unless plain is a display record, and nothing else:
// the app, the browser and, in milliseconds, when it was.
func mustBeDisplay(t *testing.T, name string, plain []byte) {
	t.Helper()
	var record map[int]any
	if err := cbor.Unmarshal(plain, &record); err != nil {
		t.Fatal(err)
	}
	created, _ := record[3].(uint64)
	if at := time.UnixMilli(int64(created)); time.Since(at).Abs() > 10*time.Minute {
		t.Errorf("%s: created %v", name, at)
	}
	delete(record, 3)
	if diff := cmp.Diff(map[int]any{1: host, 2: "Firefox on Linux"}, record); diff != "" {
		t.Errorf("%s beside the time (-want +got):\n%s", name, diff)
	}
}

// loot is what was stolen: a Redis with all that was in the real one, the keys
// of the servers, and how they use them.
type loot struct {
	redis    *redistest.Server // the thief's own
	file     []byte            // of the keys
	ring     *session.Keyring
	bindings []session.Binding // that were ever sealed to, without their secrets
	values   map[string][]byte // everything in Redis, by its place
	issuer   string
}

// steal takes all that a dump of Redis has.
func steal(t *testing.T, w *world, seals *witness) loot {
	t.Helper()
	file, err := os.ReadFile(w.files.sessionKeys)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := session.ParseKeyring(file)
	if err != nil {
		t.Fatal(err)
	}
	l := loot{redis: redistest.Start(t), file: file, ring: ring, values: map[string][]byte{}, issuer: w.provider.issuer}
	seals.mu.Lock()
	l.bindings = slices.Collect(maps.Values(seals.bindings))
	seals.mu.Unlock()
	keys, _ := w.redis.Do("KEYS", "*").([]any)
	for _, key := range keys {
		l.redis.Do("RESTORE", key, w.redis.Do("PTTL", key), w.redis.Do("DUMP", key))
		l.read(t, fmt.Sprint(key))
	}
	return l
}

// read notes what a key holds.
func (l loot) read(t *testing.T, key string) {
	t.Helper()
	switch kind := l.redis.Do("TYPE", key); kind {
	case "string":
		l.values[key] = []byte(fmt.Sprint(l.redis.Do("GET", key)))
	case "hash":
		answer, _ := l.redis.Do("HGETALL", key).([]any)
		for pair := range slices.Chunk(answer, 2) {
			l.values[key+" "+fmt.Sprint(pair[0])] = []byte(fmt.Sprint(pair[1]))
		}
	case "zset":
		answer, _ := l.redis.Do("ZRANGE", key, 0, -1, "WITHSCORES").([]any)
		for pair := range slices.Chunk(answer, 2) {
			l.values[fmt.Sprintf("%s %x", key, pair[0])] = []byte(fmt.Sprint(pair[0]))
			l.values[fmt.Sprintf("%s %x score", key, pair[0])] = []byte(fmt.Sprint(pair[1]))
		}
	default:
		t.Fatalf("%s is of the type %v, of which we keep nothing", key, kind)
	}
}

// keptPlaces are where we keep anything, and how much of it there is for two people.
var keptPlaces = []struct {
	form   string
	number int
}{
	{`:hot (version|seen|ends|idle)\z`, 8},
	{`:hot (sealed|display)\z`, 4},
	{`:hot indexes\z`, 2},
	{`:tokens\z`, 2},
	{`:index [0-9a-f]{64}( score)?\z`, 8},
	{`:claim\z`, 2},
	{`:result\z`, 2},
}

// mustBeWhole fails the test unless the loot is what two sign-ins leave, and
// nothing that the thief did not look at.
func (l loot) mustBeWhole(t *testing.T) {
	t.Helper()
	rest := maps.Clone(l.values)
	for _, p := range keptPlaces {
		form := regexp.MustCompile(`\Acountersign:\{[0-9a-f]{64}\}` + p.form)
		n := len(rest)
		maps.DeleteFunc(rest, func(place string, _ []byte) bool { return form.MatchString(place) })
		if n -= len(rest); n != p.number {
			t.Errorf("Redis holds %d times %s, want %d", n, p.form, p.number)
		}
	}
	for place := range rest {
		t.Errorf("Redis holds %s, of which nobody knows", place)
	}
	purposes := map[string]bool{}
	for _, b := range l.bindings {
		purposes[b.Purpose] = true
	}
	want := []string{"display", "login attempt", "login result", "session", "tokens"}
	if got := slices.Sorted(maps.Keys(purposes)); !slices.Equal(got, want) {
		t.Errorf("the servers seal for %q, want %q", got, want)
	}
}

// guesses are all secrets that a thief can think of.
func (l loot) guesses() [][]byte {
	guesses := [][]byte{nil, {}, make([]byte, len(session.Token{})), l.file}
	add := func(b []byte) {
		sum := sha256.Sum256(b)
		guesses = append(guesses, b, sum[:], []byte(hex.EncodeToString(b)), []byte(base64.RawURLEncoding.EncodeToString(b)))
	}
	for line := range strings.Lines(string(l.file)) {
		if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line)); err == nil {
			add(key)
		}
	}
	for place, value := range l.values {
		add([]byte(place))
		add(value)
		for part := range slices.Chunk(value, len(session.Token{})) {
			add(part)
		}
		for _, name := range regexp.MustCompile(`[0-9a-f]{64}`).FindAllString(place, -1) {
			if b, err := hex.DecodeString(name); err == nil {
				add(b)
			}
		}
	}
	for _, c := range canaries { // whose names are no secret
		add([]byte(c.Subject))
		add([]byte(c.Username))
		for _, index := range l.ring.Index("subject", l.issuer, c.Subject) {
			add(index[:])
		}
	}
	return guesses
}

// open tries every secret on everything in Redis, for every purpose and place
// that the servers seal for, and returns what opened.
func (l loot) open(secrets [][]byte) map[string][]byte {
	opened := map[string][]byte{}
	for _, value := range l.values {
		if !l.ring.Current(value) {
			continue // no seal of ours
		}
		for _, b := range l.bindings {
			for _, b.Secret = range secrets {
				plain, err := l.ring.Open(b, value)
				if err != nil {
					continue
				}
				name := b.Purpose
				if id, err := hex.DecodeString(b.Parts[0]); err == nil && b.Purpose != "login result" {
					name += " of " + session.ID(id).String()
				}
				opened[name] = plain
				break
			}
		}
	}
	return opened
}

// vaultOverTheDump uses the production code, from the list to the tokens.
func vaultOverTheDump(t *testing.T, w *world, l loot, tweety, sylvester canary) {
	t.Helper()
	store, err := redis.Open(redis.Options{URL: l.redis.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // nothing is lost with it
	vault := &session.Vault{Store: store, Sealer: l.ring, Absolute: 12 * time.Hour, Idle: time.Hour}
	tokens := []session.Token{{}, session.Token(tweety.id), session.Token(sylvester.id)}
	for _, g := range l.guesses() {
		if len(g) == len(session.Token{}) {
			tokens = append(tokens, session.Token(g))
		}
	}
	tried := 0
	for _, token := range tokens {
		for name, v := range map[string]*session.Vault{
			"the dump":                     vault,
			"a store that always says her": {Store: misfiled{store, tweety.id}, Sealer: l.ring, Absolute: 12 * time.Hour, Idle: time.Hour},
		} {
			tried++
			if s, err := v.Load(t.Context(), time.Now(), token); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s: Load = %v, %v, want ErrNotFound", name, s.ID, err)
			}
			if g, err := v.Grant(t.Context(), token); !errors.Is(err, session.ErrNotFound) || g.Refresh != "" || g.Access != "" {
				t.Errorf("%s: Grant = %v, want ErrNotFound", name, err)
			}
		}
	}
	// His cookie is good for his session, and for hers it is as good as none.
	his := &session.Vault{Store: misfiled{store, tweety.id}, Sealer: l.ring, Absolute: 12 * time.Hour, Idle: time.Hour}
	if _, err := his.Load(t.Context(), time.Now(), sylvester.token); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("his cookie on her record: Load = %v, want ErrNotFound", err)
	}
	if _, err := his.Grant(t.Context(), sylvester.token); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("his cookie on her record: Grant = %v, want ErrNotFound", err)
	}
	t.Logf("%d tokens were tried", tried)

	s, err := vault.Load(t.Context(), time.Now(), tweety.token)
	if err != nil || s.Identity.Subject != tweety.Subject || s.Identity.Email != tweety.Email || s.Identity.Claims["badge"] != badge {
		t.Errorf("her cookie: Load = %v, %v, want her", s.ID, err)
	}
	g, err := vault.Grant(t.Context(), tweety.token)
	if err != nil || !strings.Contains(string(tweety.tokens), g.Refresh.Reveal()) || g.Refresh == "" {
		t.Errorf("her cookie: Grant = %v, want her tokens", err)
	}
	listedFor(t, w, vault, tweety)
}

// listedFor is what the docs say that this costs: whoever holds the keys can
// confirm a subject that they guess, and sees when and with what they signed in.
func listedFor(t *testing.T, w *world, vault *session.Vault, c canary) {
	t.Helper()
	listed, err := vault.OfUser(t.Context(), w.provider.issuer, c.Subject)
	if err != nil || len(listed) != 1 || listed[0].ID != c.id || listed[0].App != host {
		t.Errorf("OfUser = %v, %v, want her session", listed, err)
	}
	if listed, err := vault.OfUser(t.Context(), w.provider.issuer, c.Subject+"?"); err != nil || len(listed) != 0 {
		t.Errorf("OfUser of nobody = %v, %v", listed, err)
	}
	n := 0
	for _, err := range vault.List(t.Context(), "") {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != len(canaries) {
		t.Errorf("List finds %d sessions, want %d", n, len(canaries))
	}
}

// misfiled is a store that answers with one session, whoever is asked for.
type misfiled struct {
	session.Store
	id session.ID
}

func (m misfiled) Load(ctx context.Context, _ session.ID) (session.Record, error) {
	return m.Store.Load(ctx, m.id)
}

func (m misfiled) LoadWhole(ctx context.Context, _ session.ID) (session.Record, error) {
	return m.Store.LoadWhole(ctx, m.id)
}

// replicaOverTheDump runs the whole server on the loot.
func replicaOverTheDump(t *testing.T, w *world, l loot, tweety, sylvester canary) {
	t.Helper()
	file := strings.Replace(w.configuration(), fmt.Sprintf("%q", w.redis.URL), fmt.Sprintf("%q", l.redis.URL), 1)
	if !strings.Contains(file, l.redis.URL) {
		t.Fatalf("the thief's Redis is not in\n%s", file)
	}
	replica := startWith(t, file, nil)
	replica.awaitReady(t)
	conn := replica.dial(t)
	asked := func(cookie string) int {
		answer, err := grpcCheck(t, conn, checkRequest(t, "/data", field{"cookie", cookie}, field{"accept", "application/json"}))
		if err != nil {
			t.Fatal(err)
		}
		if answer.GetOkResponse() != nil {
			return http.StatusOK
		}
		return int(answer.GetDeniedResponse().GetStatus().GetCode())
	}
	for name, guess := range map[string]session.Token{
		"zero": {}, "her ID": session.Token(tweety.id), "his ID": session.Token(sylvester.id), "random": session.NewToken(),
	} {
		if got := asked(sessionCookie + "=" + guess.Reveal()); got != http.StatusUnauthorized {
			t.Errorf("a cookie of the %s is answered with %d, want 401", name, got)
		}
	}
	if got := asked(""); got != http.StatusUnauthorized {
		t.Errorf("no cookie is answered with %d, want 401", got)
	}
	if got := asked(sessionCookie + "=" + tweety.token.Reveal()); got != http.StatusOK {
		t.Errorf("her cookie is answered with %d, want 200", got)
	}
}
