package admin_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/session"
)

func user(subject string) string {
	return "/api/v1/sessions?" + url.Values{"issuer": {issuer}, "subject": {subject}}.Encode()
}

func digits(id session.ID, n int) string { return hex.EncodeToString(id[:])[:n] }

func listed(t *testing.T, a answer) (ids []string, truncated bool) {
	t.Helper()
	var l admin.List
	if err := json.Unmarshal([]byte(a.body), &l); err != nil || a.status != http.StatusOK || l.Sessions == nil {
		t.Fatalf("no list: status %d\n%s", a.status, a.body)
	}
	for _, s := range l.Sessions {
		ids = append(ids, s.ID)
	}
	return ids, l.Truncated
}

func TestListing(t *testing.T) {
	w := newWorld(t)
	alice, phone, bob := w.signIn("alice"), w.signIn("alice"), w.signIn("bob")
	for _, tt := range []struct {
		name, target string
		want         []session.ID
	}{
		{"all", "/api/v1/sessions", []session.ID{alice, phone, bob}},
		{"of_a_person", user("alice"), []session.ID{alice, phone}},
		{"of_nobody", user("carol"), nil},
		{"of_the_same_subject_elsewhere", "/api/v1/sessions?issuer=https://other.example.org&subject=alice", nil},
		{"by_an_identifier", "/api/v1/sessions?id=" + digits(bob, 64), []session.ID{bob}},
		{"by_eight_digits", "/api/v1/sessions?id=" + digits(bob, 8), []session.ID{bob}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			for _, id := range tt.want {
				want = append(want, digits(id, 64))
			}
			got, truncated := listed(t, w.ask("GET", tt.target))
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" || truncated {
				t.Errorf("sessions (-want +got), truncated %t:\n%s", truncated, diff)
			}
		})
	}
}

func TestWhatIsListed(t *testing.T) {
	w := newWorld(t)
	before := time.Now().Add(-time.Second)
	id := w.signIn("alice")
	var got map[string][]map[string]any
	body := strings.Replace(w.ask("GET", user("alice")).body, `,"truncated":false`, "", 1)
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	s := got["sessions"][0]
	if want := []string{"app", "browser", "created", "ends", "id", "idle_end", "seen"}; !slices.Equal(slices.Sorted(maps.Keys(s)), want) {
		t.Errorf("keys = %v, want %v", slices.Sorted(maps.Keys(s)), want)
	}
	if s["id"] != digits(id, 64) || s["app"] != "portal" || s["browser"] != "Firefox on Linux" {
		t.Errorf("session = %v", s)
	}
	for key, after := range map[string]time.Duration{"created": 0, "seen": 0, "idle_end": time.Hour, "ends": 12 * time.Hour} {
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(s[key]))
		if d := at.Sub(before.Add(after)); err != nil || d < 0 || d > time.Minute || at.Location() != time.UTC {
			t.Errorf("%s = %v, which is %s off", key, s[key], d)
		}
	}
}

func TestSessionsOfAnotherKeyAreListed(t *testing.T) {
	w := newWorld(t)
	id := w.signIn("alice")
	w.vault.Sealer = session.GenerateKeyring()
	var l admin.List
	if err := json.Unmarshal([]byte(w.ask("GET", "/api/v1/sessions").body), &l); err != nil {
		t.Fatal(err)
	}
	if len(l.Sessions) != 1 || l.Sessions[0].ID != digits(id, 64) || l.Sessions[0].App != "" || !l.Sessions[0].Created.IsZero() {
		t.Errorf("sessions = %+v", l.Sessions)
	}
}

func TestLimit(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.signIn("alice")
	}
	for _, tt := range []struct {
		limit     string
		want      int
		truncated bool
	}{{"1", 1, true}, {"2", 2, true}, {"3", 3, false}, {"100000", 3, false}} {
		for name, target := range map[string]string{"all": "/api/v1/sessions?", "of_a_person": user("alice") + "&"} {
			t.Run(name+"/"+tt.limit, func(t *testing.T) {
				if got, truncated := listed(t, w.ask("GET", target+"limit="+tt.limit)); len(got) != tt.want || truncated != tt.truncated {
					t.Errorf("%d sessions, truncated %t", len(got), truncated)
				}
			})
		}
	}
}

func TestSessionsAreSortedAndListedOnce(t *testing.T) {
	w := serve(t, nil, &twins{})
	got, truncated := listed(t, w.ask("GET", "/api/v1/sessions?limit=3"))
	want := []string{digits(twin(1), 64), digits(twin(2), 64), digits(twin(3), 64)}
	if !slices.Equal(got, want) || truncated {
		t.Errorf("sessions = %v, truncated %t", got, truncated)
	}
}

func TestRevocation(t *testing.T) {
	for _, tt := range []struct {
		name    string
		target  func(alice, bob session.ID) string
		revoked int
		alice   int // sessions that are left of hers
		bob     int
	}{
		{"of_a_person", func(_, _ session.ID) string { return user("alice") }, 2, 0, 1},
		{"of_nobody", func(_, _ session.ID) string { return user("carol") }, 0, 2, 1},
		{"by_an_identifier", func(alice, _ session.ID) string { return "/api/v1/sessions?id=" + digits(alice, 64) }, 1, 1, 1},
		{"by_eight_digits", func(_, bob session.ID) string { return "/api/v1/sessions?id=" + digits(bob, 8) }, 1, 2, 0},
		{"by_digits_of_none", func(_, _ session.ID) string { return "/api/v1/sessions?id=00000000" }, 0, 2, 1},
		{"of_all", func(_, _ session.ID) string { return "/api/v1/sessions?all=true" }, 3, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			alice, _, bob := w.signIn("alice"), w.signIn("alice"), w.signIn("bob")
			a := w.ask("DELETE", tt.target(alice, bob))
			if want := fmt.Sprintf("{\"revoked\":%d}\n", tt.revoked); a.status != http.StatusOK || a.body != want {
				t.Errorf("status %d: %swant %s", a.status, a.body, want)
			}
			if w.left("alice") != tt.alice || w.left("bob") != tt.bob {
				t.Errorf("left are %d of alice and %d of bob, want %d and %d", w.left("alice"), w.left("bob"), tt.alice, tt.bob)
			}
			if w.ended != tt.revoked {
				t.Errorf("%d are counted, want %d", w.ended, tt.revoked)
			}
			again := w.ask("DELETE", tt.target(alice, bob))
			if again.status != http.StatusOK || again.body != "{\"revoked\":0}\n" {
				t.Errorf("a second time: status %d: %s", again.status, again.body)
			}
		})
	}
}

func TestAnIdentifierThatFitsSeveralEndsNone(t *testing.T) {
	sessions := &twins{}
	w := serve(t, nil, sessions)
	if a := w.ask("DELETE", "/api/v1/sessions?id="+digits(twin(1), 63)); a.status != http.StatusConflict || len(sessions.revoked) > 0 {
		t.Errorf("status %d, ended %v: %s", a.status, sessions.revoked, a.body)
	}
	if got := w.log.last(t); got["revoked"] != 0.0 || got["error"] == nil {
		t.Errorf("logged %v", got)
	}
	if a := w.ask("DELETE", "/api/v1/sessions?id="+digits(twin(1), 64)); a.status != http.StatusOK || !slices.Equal(sessions.revoked, []session.ID{twin(1)}) {
		t.Errorf("status %d, ended %v", a.status, sessions.revoked)
	}
}

func TestAudit(t *testing.T) {
	w := newWorld(t)
	w.signIn("alice")
	bob := w.signIn("bob")
	for _, tt := range []struct {
		name, target string
		want         map[string]any
	}{
		{"a_person", user("alice"), map[string]any{"issuer": issuer, "subject": "alice", "revoked": 1.0}},
		{"an_identifier", "/api/v1/sessions?id=" + digits(bob, 8), map[string]any{"id": digits(bob, 8), "revoked": 1.0}},
		{"all", "/api/v1/sessions?all=true", map[string]any{"all": true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.ask("DELETE", tt.target)
			want := map[string]any{
				"level": "WARN", "msg": "sessions revoked", "issuer": "", "subject": "", "id": "", "all": false, "revoked": 0.0,
			}
			maps.Copy(want, tt.want)
			got := w.log.last(t)
			if remote, _ := got["remote"].(string); !strings.HasPrefix(remote, "127.0.0.1:") {
				t.Errorf("remote = %v", got["remote"])
			}
			delete(got, "remote")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("logged (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAStoreWithoutAnAnswer(t *testing.T) {
	w := serve(t, nil, away{ended: 7})
	for _, tt := range []struct {
		method, target string
		ended          int
	}{
		{"GET", "/api/v1/sessions", 0},
		{"GET", user("alice"), 0},
		{"DELETE", user("alice"), 0},
		{"DELETE", "/api/v1/sessions?id=01234567", 0},
		{"DELETE", "/api/v1/sessions?all=true", 7},
	} {
		t.Run(tt.method+tt.target, func(t *testing.T) {
			w.ended = 0
			a := w.ask(tt.method, tt.target)
			if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" || w.ended != tt.ended {
				t.Errorf("status %d, Retry-After %q, counted %d", a.status, a.header.Get("Retry-After"), w.ended)
			}
			if half := strings.Contains(a.detail(), "half done, and can be repeated"); half != (tt.method == "DELETE") {
				t.Errorf("it says %q", a.detail())
			}
			got := w.log.last(t)
			if got["error"] != errAway.Error() || tt.method == "DELETE" && got["revoked"] != float64(tt.ended) {
				t.Errorf("logged %v", got)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	w.signIn("alice")
	for _, tt := range []struct{ name, method, query, says string }{
		{"nobody_named", "DELETE", "", "Say whose sessions"},
		{"half_a_user", "DELETE", "issuer=a", "one of them is missing"},
		{"the_other_half", "DELETE", "subject=alice", "one of them is missing"},
		{"half_a_user_to_list", "GET", "subject=alice", "one of them is missing"},
		{"an_unknown_parameter", "DELETE", "all=true&force=1", "Only these parameters"},
		{"in_other_letters", "DELETE", "ALL=true", "Only these parameters"},
		{"a_limit_to_end", "DELETE", "all=true&limit=1", "Only these parameters"},
		{"all_to_list", "GET", "all=true", "Only these parameters"},
		{"twice", "DELETE", "all=true&all=true", "twice"},
		{"an_empty_one", "DELETE", "issuer=&subject=", "is empty"},
		{"an_empty_identifier", "GET", "id=", "is empty"},
		{"all_of_another_kind", "DELETE", "all=false", "one value"},
		{"all_and_somebody", "DELETE", "all=true&issuer=a&subject=b", "cannot stand beside"},
		{"all_and_an_identifier", "DELETE", "all=true&id=01234567", "cannot stand beside"},
		{"somebody_and_an_identifier", "DELETE", "id=01234567&issuer=a&subject=b", "cannot stand beside"},
		{"seven_digits", "DELETE", "id=0123456", "8 to 64 hex digits"},
		{"too_many_digits", "GET", "id=" + strings.Repeat("0", 65), "1 to 64 hex digits"},
		{"no_digits", "GET", "id=*", "hex digits"},
		{"digits_in_upper_case", "DELETE", "id=ABCDEF01", "lower case"},
		{"no_limit", "GET", "limit=0", "limit must be"},
		{"too_much", "GET", "limit=100001", "limit must be"},
		{"a_word", "GET", "limit=many", "limit must be"},
		{"a_broken_escape", "DELETE", "all=true&id=%zz", "cannot be read"},
		{"a_semicolon", "DELETE", "issuer=a;subject=b", "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := w.ask(tt.method, "/api/v1/sessions?"+tt.query)
			if a.status != http.StatusBadRequest || !strings.Contains(a.detail(), tt.says) {
				t.Errorf("status %d: %swant %q", a.status, a.body, tt.says)
			}
		})
	}
	if w.left("alice") != 1 || w.log.String() != "" {
		t.Errorf("%d sessions are left, and the log says %s", w.left("alice"), w.log)
	}
}

func TestPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/", 404},
		{"GET", "/api/v1/sessions/", 404},
		{"GET", "/api/v1/Sessions", 404},
		{"DELETE", "//api/v1/sessions?all=true", 404},
		{"POST", "/api/v1/sessions", 405},
		{"PUT", "/api/v1/sessions", 405},
		{"HEAD", "/api/v1/sessions", 405},
		{"OPTIONS", "/api/v1/sessions", 405},
	} {
		t.Run(tt.method+tt.target, func(t *testing.T) {
			a := w.ask(tt.method, tt.target)
			if a.status != tt.status || (tt.status == 405) != (a.header.Get("Allow") == "GET, DELETE") {
				t.Errorf("status %d, Allow %q", a.status, a.header.Get("Allow"))
			}
		})
	}
}

func TestAuthorization(t *testing.T) {
	w := newWorld(t)
	w.signIn("alice")
	bearer := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"no_token", http.Header{}, 401},
		{"an_empty_token", bearer("Bearer "), 401},
		{"no_scheme", bearer(token), 401},
		{"another_scheme", bearer("Basic " + token), 401},
		{"a_wrong_token", bearer("Bearer " + strings.ToUpper(token)), 401},
		{"the_beginning_of_the_token", bearer("Bearer " + token[:len(token)-1]), 401},
		{"more_than_the_token", bearer("Bearer " + token + "x"), 401},
		{"the_token_twice", bearer("Bearer "+token, "Bearer "+token), 401},
		{"a_browser", http.Header{"Authorization": {"Bearer " + token}, "Origin": {"https://portal.example.org"}}, 403},
		{"a_browser_of_no_origin", http.Header{"Authorization": {"Bearer " + token}, "Origin": {"null"}}, 403},
		{"the_scheme_in_other_letters", bearer("bearer " + token), 200},
		{"the_token", bearer("Bearer " + token), 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, target := range []string{"/api/v1/sessions?id=01234567", "/nowhere"} {
				for _, method := range []string{"GET", "DELETE", "POST"} {
					a := w.send(method, target, tt.header)
					if tt.status != http.StatusOK && a.status != tt.status {
						t.Errorf("%s %s: status %d, want %d", method, target, a.status, tt.status)
					}
					if tt.status == http.StatusOK && (a.status == 401 || a.status == 403) {
						t.Errorf("%s %s: status %d", method, target, a.status)
					}
				}
			}
			if tt.status != http.StatusOK {
				if got := w.log.last(t); got["msg"] != "administration refused" || got["level"] != "WARN" {
					t.Errorf("logged %v", got)
				}
			}
		})
	}
	if w.left("alice") != 1 {
		t.Error("somebody without the token ended a session")
	}
}

func TestTheTokenFile(t *testing.T) {
	w := newWorld(t)
	const another = "0123456789-0123456789-0123456789"
	for _, tt := range []struct {
		name, content string
		token         string
		status        int
	}{
		{"a_new_token", another, another, 200},
		{"the_old_one_is_good_for_nothing", another + "\n", token, 401},
		{"a_line_break_of_windows", another + "\r\n", another, 200},
		{"31_characters", another[:31], another[:31], 503},
		{"empty", "", "", 503},
		{"a_line_break_alone", "\n", "\n", 503},
		{"two_lines", another + "\n" + token, another, 503},
		{"too_large", strings.Repeat("a", 5000), strings.Repeat("a", 5000), 503},
		{"spaces", another + " ", another, 503},
		{"and_back", token, token, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.setToken(tt.content)
			a := w.send("GET", "/api/v1/sessions", http.Header{"Authorization": {"Bearer " + strings.TrimSpace(tt.token)}})
			if a.status != tt.status {
				t.Errorf("status %d, want %d: %s", a.status, tt.status, a.body)
			}
		})
	}
	if err := os.Remove(w.file); err != nil {
		t.Fatal(err)
	}
	if a := w.ask("DELETE", "/api/v1/sessions?all=true"); a.status != http.StatusServiceUnavailable {
		t.Errorf("without a file: status %d", a.status)
	}
	if got := w.log.last(t); got["error"] != w.file+": no such file or directory" {
		t.Errorf("logged %v", got)
	}
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "all=true", "id=01234567", "issuer=a&subject=b", "limit=3&id=0", "all=true&all=true", "id=%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		s, limit, refused := admin.ParseListing(query)
		if refused == nil && (s.All || limit < 1 || limit > 100_000 || (s.Issuer == "") != (s.Subject == "") || s.ID != "" && s.Issuer != "") {
			t.Errorf("%q lists %+v, at most %d", query, s, limit)
		}
		s, refused = admin.ParseRevocation(query)
		named := 0
		for _, is := range []bool{s.All, s.ID != "", s.Issuer != "" && s.Subject != ""} {
			if is {
				named++
			}
		}
		if refused == nil && (named != 1 || s.ID != "" && len(s.ID) < 8) {
			t.Errorf("%q ends %+v", query, s)
		}
		if refused != nil && refused.Status != http.StatusBadRequest {
			t.Errorf("%q: status %d", query, refused.Status)
		}
	})
}
