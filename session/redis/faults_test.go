package redis_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
)

func record() session.Record {
	now := time.Now()
	return session.Record{
		Hot: []byte("hot"), Tokens: []byte("tokens"), Display: []byte("display"),
		Indexes: []session.Index{{1}}, Seen: now, Ends: now.Add(time.Hour), Idle: time.Hour,
	}
}

// used says that sessions were used.
func used(seen time.Time, ids ...session.ID) map[session.ID]session.Use {
	uses := map[session.ID]session.Use{}
	for _, id := range ids {
		uses[id] = session.Use{Seen: seen, Ends: seen.Add(time.Hour), Indexes: []session.Index{{1}}}
	}
	return uses
}

// listed returns all that List does.
func listed(ctx context.Context, s *redis.Store, prefix string) ([]session.Listed, error) {
	var all []session.Listed
	for l, err := range s.List(ctx, prefix) {
		if err != nil {
			return all, err
		}
		all = append(all, l)
	}
	return all, nil
}

func newID() (id session.ID) {
	rand.Read(id[:]) // never fails since Go 1.24
	return id
}

// stored returns a server, a store on it and a session there.
func stored(t *testing.T) (*redistest.Server, *redis.Store, session.ID) {
	t.Helper()
	server := redistest.Start(t)
	store, id := open(t, redis.Options{URL: server.URL}), newID()
	if err := store.Create(t.Context(), id, record(), time.Now()); err != nil {
		t.Fatal(err)
	}
	return server, store, id
}

// operations is every way to ask the store.
func operations(s *redis.Store, id session.ID) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"create":  func(ctx context.Context) error { return s.Create(ctx, id, record(), time.Now()) },
		"replace": func(ctx context.Context) error { return s.Replace(ctx, id, 1, record()) },
		"load":    func(ctx context.Context) error { _, err := s.Load(ctx, id); return err },
		"whole":   func(ctx context.Context) error { _, err := s.LoadWhole(ctx, id); return err },
		"delete":  func(ctx context.Context) error { _, err := s.Delete(ctx, id); return err },
		"touch":   func(ctx context.Context) error { return s.Touch(ctx, used(time.Now(), id)) },
		"find":    func(ctx context.Context) error { _, err := s.Find(ctx, session.Index{1}); return err },
		"list":    func(ctx context.Context) error { _, err := listed(ctx, s, ""); return err },
		"bury":    func(ctx context.Context) error { return s.Bury(ctx, time.Minute, session.Index{2}) },
		"lock":    func(ctx context.Context) error { _, err := s.Lock(ctx, id, session.Owner{1}, time.Minute); return err },
		"unlock":  func(ctx context.Context) error { return s.Unlock(ctx, id, session.Owner{1}, time.Minute) },
		"claim":   func(ctx context.Context) error { _, _, err := s.Claim(ctx, session.Claim(id), time.Minute); return err },
		"settle":  func(ctx context.Context) error { return s.Settle(ctx, session.Claim(id), nil, time.Minute) },
		"settled": func(ctx context.Context) error { _, err := s.Settled(ctx, session.Claim(id)); return err },
		"ping":    s.Ping,
	}
}

// isFault checks that an error is no answer about a session.
func isFault(t *testing.T, name string, err error) {
	t.Helper()
	for _, sentinel := range []error{nil, session.ErrNotFound, session.ErrExists, session.ErrConflict} {
		if errors.Is(err, sentinel) {
			t.Errorf("%s = %v, want a fault", name, err)
			return
		}
	}
	if !strings.HasPrefix(err.Error(), "session store: ") {
		t.Errorf("%s = %q, want it to begin with the store", name, err)
	}
}

func TestRedisThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	store := open(t, redis.Options{URL: "redis://" + l.Addr().String()})
	for name, operation := range operations(store, newID()) {
		isFault(t, name, operation(t.Context()))
	}
}

func TestRedisThatIsFrozen(t *testing.T) {
	t.Run("each_call_ends_in_bounded_time", func(t *testing.T) {
		server := redistest.Start(t)
		server.Freeze()
		for name, operation := range operations(open(t, redis.Options{URL: server.URL}), newID()) {
			began := time.Now()
			isFault(t, name, operation(t.Context()))
			if took := time.Since(began); took > 400*time.Millisecond {
				t.Errorf("%s took %v", name, took)
			}
		}
	})
	t.Run("calls_do_not_pile_up", func(t *testing.T) {
		server, store, id := stored(t)
		server.Freeze()
		before, most := runtime.NumGoroutine(), 0
		var wg sync.WaitGroup
		// 400 a second for two seconds; without a breaker, 100 would wait at a time
		// and, beside them, as many connections would be made.
		tick := time.NewTicker(2500 * time.Microsecond)
		defer tick.Stop()
		for i := range 800 {
			<-tick.C
			wg.Go(func() { store.Load(t.Context(), id) }) //nolint:errcheck // counted, not read
			if i >= 200 {
				most = max(most, runtime.NumGoroutine()-before)
			}
		}
		wg.Wait()
		if most > 40 {
			t.Errorf("%d goroutines wait for a frozen Redis, want no more than 40", most)
		}
	})
	t.Run("it_is_asked_again_once_it_is_back", func(t *testing.T) {
		server, store, id := stored(t)
		server.Freeze()
		for range 10 {
			store.Load(t.Context(), id) //nolint:errcheck // opens the breaker
		}
		server.Thaw()
		began := time.Now()
		for {
			_, err := store.Load(t.Context(), id)
			if err == nil {
				return
			}
			isFault(t, "Load", err)
			if time.Since(began) > 5*time.Second {
				t.Fatalf("no answer for five seconds after Redis came back: %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	t.Run("a_caller_in_a_hurry_does_not_speak_for_others", func(t *testing.T) {
		_, store, id := stored(t)
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
			if _, err := store.Load(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Load = %v, want %v", err, context.DeadlineExceeded)
			}
			cancel()
		}
		if _, err := store.Load(t.Context(), id); err != nil {
			t.Errorf("Load = %v, want the session", err)
		}
	})
}

func TestRedisThatRestarted(t *testing.T) {
	t.Run("a_read_uses_a_new_connection", func(t *testing.T) {
		server := redistest.Start(t, "--appendonly", "yes")
		store, id := open(t, redis.Options{URL: server.URL}), newID()
		if err := store.Create(t.Context(), id, record(), time.Now()); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		if _, err := store.Load(t.Context(), id); err != nil {
			t.Errorf("Load = %v", err)
		}
	})
	t.Run("scripts_are_brought_again", func(t *testing.T) {
		server, store, id := stored(t)
		server.Do("SCRIPT", "FLUSH")
		for _, name := range []string{"create", "replace", "whole", "touch", "lock", "unlock", "bury", "delete"} {
			server.Do("SCRIPT", "FLUSH")
			err := operations(store, id)[name](t.Context())
			if err != nil && (name != "create" || !errors.Is(err, session.ErrExists)) {
				t.Errorf("%s = %v", name, err)
			}
		}
	})
}

func TestRedisThatIsFull(t *testing.T) {
	server, store, id := stored(t)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	for range 20 { // no breaker opens
		isFault(t, "Create", store.Create(t.Context(), newID(), record(), time.Now()))
		isFault(t, "Replace", store.Replace(t.Context(), id, 1, record()))
	}
	if r, err := store.Load(t.Context(), id); err != nil || r.Version != 1 {
		t.Errorf("Load = version %d, %v", r.Version, err)
	}
	if _, err := store.LoadWhole(t.Context(), id); err != nil {
		t.Errorf("LoadWhole = %v", err)
	}
	if n, err := store.Delete(t.Context(), id); err != nil || n != 1 {
		t.Errorf("Delete = %d, %v", n, err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	if err := store.Create(t.Context(), id, record(), time.Now()); err != nil {
		t.Errorf("Create when there is room again = %v", err)
	}
}

func TestRedisThatOnlyReads(t *testing.T) {
	server, store, id := stored(t)
	connections := func() string {
		_, rest, _ := strings.Cut(as[string](t, server.Do("INFO", "stats")), "total_connections_received:")
		return strings.Fields(rest)[0]
	}
	server.Do("CONFIG", "SET", "replica-serve-stale-data", "yes")
	server.Do("REPLICAOF", "127.0.0.1", "1")
	isFault(t, "Replace", store.Replace(t.Context(), id, 1, record()))
	before := connections()
	for range 20 {
		err := store.Replace(t.Context(), id, 1, record())
		isFault(t, "Replace", err)
		if err != nil && !strings.Contains(err.Error(), "READONLY") {
			t.Errorf("Replace = %q, want the reason of Redis", err)
		}
	}
	if connections() == before {
		t.Error("a connection to what only reads is kept, though its name may mean another server by now")
	}
	if r, err := store.Load(t.Context(), id); err != nil || r.Version != 1 {
		t.Errorf("Load = version %d, %v", r.Version, err)
	}
	server.Do("REPLICAOF", "NO", "ONE")
	if err := store.Replace(t.Context(), id, 1, record()); err != nil {
		t.Errorf("Replace when it writes again = %v", err)
	}
}

// A Redis that says why it does not answer has answered.
func TestRefusalsOpenNoBreaker(t *testing.T) {
	for _, refusal := range []string{
		"LOADING Redis is loading the dataset in memory", "CLUSTERDOWN The cluster is down",
		"TRYAGAIN Multiple keys request during rehashing of slot", "MASTERDOWN Link with MASTER is down",
		"OOM command not allowed when used memory > 'maxmemory'.", "MISCONF Errors writing to the AOF file",
		"BUSY Redis is busy running a script.", "NOPERM this user has no permissions",
	} {
		t.Run(strings.Fields(refusal)[0], func(t *testing.T) {
			store := open(t, redis.Options{URL: fake(t, func(string) string { return "-" + refusal + "\r\n" })})
			for range 10 {
				_, err := store.Load(t.Context(), newID())
				isFault(t, "Load", err)
				if err != nil && !strings.Contains(err.Error(), strings.Fields(refusal)[0]) {
					t.Errorf("Load = %q, want the reason of Redis", err)
				}
			}
		})
	}
}

func TestPasswordFile(t *testing.T) {
	const first, second = "first-hunter2", "second-hunter2"
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "countersign", "on", ">"+first, "~countersign:*", "+@all")
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	url := strings.Replace(server.URL, "redis://", "redis://countersign@", 1)
	store := open(t, redis.Options{URL: url, PasswordFile: file})
	if err := store.Ping(t.Context()); err != nil {
		t.Fatalf("Ping = %v", err)
	}
	if who := as[string](t, server.Do("CLIENT", "LIST")); !strings.Contains(who, "user=countersign") {
		t.Errorf("nobody is signed in as countersign:\n%s", who)
	}

	server.Do("ACL", "SETUSER", "countersign", "resetpass", ">"+second)
	server.Do("CLIENT", "KILL", "USER", "countersign")
	err := store.Ping(t.Context())
	isFault(t, "Ping with the old password", err)
	if err != nil && (strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), "WRONGPASS")) {
		t.Errorf("Ping = %q, want the reason without the password", err)
	}
	write(second)
	if err := store.Ping(t.Context()); err != nil {
		t.Errorf("Ping with the new password = %v", err)
	}
}

func TestOpen(t *testing.T) {
	const hunter2 = "hunter2"
	dir := t.TempDir()
	empty, file := filepath.Join(dir, "empty"), filepath.Join(dir, "password")
	for name, content := range map[string]string{empty: "\n", file: "password\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		o    redis.Options
		want string // what the error says, empty for none
	}{
		{"a_host", redis.Options{URL: "redis://localhost"}, ""},
		{"a_host_with_everything", redis.Options{URL: "rediss://countersign:hunter2@[::1]:7000/3"}, ""},
		{"a_password_without_a_user", redis.Options{URL: "redis://:hunter2@localhost"}, ""},
		{"a_user_with_a_password_file", redis.Options{URL: "redis://countersign@redis:6379/0", PasswordFile: file}, ""},
		{"a_socket", redis.Options{URL: "unix:///run/redis.sock"}, ""},
		{"a_socket_with_a_database", redis.Options{URL: "unix:///run/redis.sock?db=2"}, ""},

		{"sentinels", redis.Options{URL: "rediss+sentinel://c:hunter2@h1,h2:7000,[::1]:7001/3?master=m", SentinelPasswordFile: file}, ""},
		{"a_cluster", redis.Options{URL: "rediss+cluster://:hunter2@h1:7000,h2,[::1]"}, ""},
		{"a_cluster_with_its_database", redis.Options{URL: "redis+cluster://h1/0"}, ""},

		{"no_address", redis.Options{}, "want redis://"},
		{"no_host", redis.Options{URL: "redis:///0"}, "host is missing"},
		{"another_scheme", redis.Options{URL: "https://:hunter2@localhost"}, "want redis://"},
		{"a_socket_without_a_path", redis.Options{URL: "unix://run/redis.sock"}, "want unix:///path"},
		{"several_hosts_without_sentinels", redis.Options{URL: "redis://:hunter2@h1,h2"}, "several hosts"},
		{"sentinels_without_a_master", redis.Options{URL: "redis+sentinel://:hunter2@h1,h2/0"}, "?master="},
		{"sentinels_with_an_empty_host", redis.Options{URL: "redis+sentinel://h1,,h2/0?master=m"}, "host is missing"},
		{"a_user_among_the_sentinels", redis.Options{URL: "redis+sentinel://h1,c:hunter2@h2:hunter2/0?master=m"}, "not a valid address"},
		{"a_sentinel_user_without_a_password", redis.Options{URL: "redis+sentinel://h1?master=m", SentinelUsername: "c"}, "sentinel password: is missing"},
		{"a_sentinel_password_without_sentinels", redis.Options{URL: "redis://h1", SentinelPassword: hunter2}, "there are no sentinels"},
		{"two_sentinel_passwords", redis.Options{URL: "redis+sentinel://h1?master=m", SentinelPassword: hunter2, SentinelPasswordFile: file}, "given twice"},
		{"a_cluster_with_a_database", redis.Options{URL: "redis+cluster://:hunter2@h1,h2/1"}, "database 0 only"},
		{"a_cluster_of_several_masters", redis.Options{URL: "redis+cluster://h1,h2?master=m"}, "parameters"},
		{"a_port_that_is_a_password", redis.Options{URL: "redis://localhost:hunter2"}, "not a valid address"},
		{"a_password_with_a_percent_sign", redis.Options{URL: "redis://:hunter2%zz@localhost"}, "not a valid address"},
		{"a_database_that_is_a_password", redis.Options{URL: "redis://localhost/hunter2"}, "database is not a number"},
		{"a_negative_database", redis.Options{URL: "redis://localhost/-1"}, "database is not a number"},
		{"timeouts_in_the_address", redis.Options{URL: "redis://localhost/0?read_timeout=10s"}, "parameters"},
		{"a_prefix_with_a_brace", redis.Options{URL: "redis://localhost", Prefix: "{c}:"}, "braces"},
		{"a_user_without_a_password", redis.Options{URL: "redis://countersign@localhost"}, "password: is missing"},
		{"two_passwords", redis.Options{URL: "redis://:hunter2@localhost", PasswordFile: file}, "given twice"},
		{"two_other_passwords", redis.Options{URL: "redis://localhost", Password: hunter2, PasswordFile: file}, "given twice"},
		{"an_empty_password_file", redis.Options{URL: "redis://localhost", PasswordFile: empty}, "empty"},
		{"a_missing_password_file", redis.Options{URL: "redis://localhost", PasswordFile: filepath.Join(dir, "none")}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, err := redis.Open(tt.o)
			if err == nil {
				defer store.Close() //nolint:errcheck // nothing is under way
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Open = %v, want a store", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Open = %v, want an error that says %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), hunter2):
				t.Errorf("Open = %q, which shows the password", err)
			}
		})
	}
}

// fake serves what answers each command, and returns its address. An empty answer
// closes the connection. No real Redis does what these tests need.
func fake(t *testing.T, answer func(command string) string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					reply := answer(strings.ToLower(string(buf[:n])))
					if reply == "" {
						return
					}
					conn.Write([]byte(reply)) //nolint:errcheck // then the next read fails
				}
			})
		}
	})
	return "redis://" + l.Addr().String()
}

// An old Redis repeats the command that it does not know, here with the password
// of HELLO.
func TestErrorsDoNotRepeatThePassword(t *testing.T) {
	const hunter2 = "hunter2"
	url := fake(t, func(string) string {
		return "-ERR unknown command 'AUTH', with args beginning with: 'countersign' 'hunter2'\r\n"
	})
	store := open(t, redis.Options{URL: url, Username: "countersign", Password: oidc.Secret(hunter2)})
	err := store.Ping(t.Context())
	isFault(t, "Ping", err)
	if err != nil && strings.Contains(err.Error(), hunter2) {
		t.Errorf("Ping = %q, which shows the password", err)
	}
}

// The connection breaks after a command was sent: nobody knows if it was done.
func TestBrokenConnection(t *testing.T) {
	for name, want := range map[string]int32{
		"load": 2, "whole": 2, "find": 2, "list": 2, "settled": 2, "delete": 2, "ping": 2,
		"bury": 2, "lock": 2, "unlock": 2,
		"create": 1, "replace": 1, "claim": 1, "settle": 1, "touch": 1,
	} {
		t.Run(name+"_is_sent_"+[]string{"never", "once", "twice"}[want], func(t *testing.T) {
			var sent atomic.Int32
			url := fake(t, func(command string) string {
				if strings.Contains(command, "hello") {
					return "*0\r\n"
				}
				sent.Add(1)
				return ""
			})
			isFault(t, name, operations(open(t, redis.Options{URL: url}), newID())[name](t.Context()))
			if got := sent.Load(); got != want {
				t.Errorf("%s was sent %d times, want %d", name, got, want)
			}
		})
	}
}
