package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
	"github.com/countersign/countersign/session/redis/redistest"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	open, mutual := redistest.StartTLS(t, false), redistest.StartTLS(t, true)
	anonymous := mutual.TLS.Clone()
	anonymous.Certificates = nil
	for _, tt := range []struct {
		name string
		url  string
		tls  *tls.Config
		ok   bool
	}{
		{"with_its_authority", open.URL, open.TLS, true},
		{"with_another_authority", open.URL, mutual.TLS, false},
		{"with_the_authorities_of_the_system", open.URL, nil, false},
		{"without_tls", strings.Replace(open.URL, "rediss", "redis", 1), nil, false},
		{"with_a_client_certificate", mutual.URL, mutual.TLS, true},
		{"without_the_client_certificate", mutual.URL, anonymous, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, err := redis.Open(redis.Options{URL: tt.url, TLS: tt.tls, Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close() //nolint:errcheck // nothing is under way
			if err := store.Ping(t.Context()); (err == nil) != tt.ok {
				t.Errorf("Ping = %v, want an answer: %v", err, tt.ok)
			}
		})
	}
}

// load makes sessions, and uses and replaces them, until stop is called, which
// returns how many of its operations went well and which errors it met.
func load(t *testing.T, store *redis.Store, ids []session.ID) (stop func() (int, []error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var (
		wg   sync.WaitGroup
		good atomic.Int64
		mu   sync.Mutex
		errs []error
	)
	for n := range 4 {
		wg.Go(func() {
			for i := n; ctx.Err() == nil; i += 4 {
				id := ids[i%len(ids)]
				r, err := store.Load(t.Context(), id)
				if err == nil {
					err = store.Replace(t.Context(), id, r.Version, record())
				}
				if err == nil || errors.Is(err, session.ErrConflict) {
					_, err = store.LoadWhole(t.Context(), id)
				}
				if err == nil {
					err = store.Touch(t.Context(), used(time.Now(), id))
				}
				if err == nil {
					good.Add(1)
					continue
				}
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return func() (int, []error) {
		cancel()
		wg.Wait()
		return int(good.Load()), errs
	}
}

func create(t *testing.T, store *redis.Store, n int) []session.ID {
	t.Helper()
	ids := make([]session.ID, n)
	for i := range ids {
		ids[i] = newID()
		if err := store.Create(t.Context(), ids[i], record(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func TestClusterSlotThatMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	store := open(t, redis.Options{URL: c.URL, Timeout: 5 * time.Second})
	id := create(t, store, 1)[0]
	key := "countersign:{" + hexOf(id) + "}:hot"
	slot := redistest.Slot(key)
	stop := load(t, store, []session.ID{id})

	for round := range 4 {
		to := (c.Of(slot) + 1) % len(c.Nodes)
		fresh := sibling(slot)
		c.Move(slot, to, func() {
			// Nothing is there yet: where is it to be made?
			if err := store.Create(t.Context(), fresh, record(), time.Now()); err != nil {
				t.Errorf("Create while its slot moves = %v", err)
			}
			if _, err := store.LoadWhole(t.Context(), fresh); err != nil {
				t.Errorf("LoadWhole while its slot moves = %v", err)
			}
			if ok, err := store.Lock(t.Context(), fresh, session.Owner{1}, time.Minute); err != nil || !ok {
				t.Errorf("Lock while its slot moves = %v, %v", ok, err)
			}
		})
		if _, err := store.Load(t.Context(), fresh); err != nil {
			t.Errorf("Load after move %d = %v", round, err)
		}
		if n, err := store.Delete(t.Context(), fresh); err != nil || n != 1 {
			t.Errorf("Delete = %d, %v", n, err)
		}
	}
	good, errs := stop()
	if good == 0 || len(errs) > 0 {
		t.Errorf("%d went well, %d failed: %v", good, len(errs), errors.Join(errs...))
	}
}

// sibling returns the name of a session that would have a slot.
func sibling(slot int) session.ID {
	for {
		if id := newID(); redistest.Slot("countersign:{"+hexOf(id)+"}:hot") == slot {
			return id
		}
	}
}

func TestClusterNodeThatIsAway(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	store := open(t, redis.Options{URL: c.URL, Timeout: time.Second})
	l := watch(t.Context(), t, store)
	l.heard(time.Now())
	ids := create(t, store, 30)
	c.Nodes[2].Stop()
	fine := 0
	for _, id := range ids {
		if _, err := store.Load(t.Context(), id); err == nil {
			fine++
		} else if errors.Is(err, session.ErrNotFound) {
			t.Errorf("Load = %v, though its node is away", err)
		}
	}
	if fine == 0 {
		t.Error("nobody is found on the nodes that are there")
	}
	l.silent(2 * time.Second)
	lost := l.lost()
	c.Nodes[2].StartAgain()
	l.eventually("it has lost", func() bool { return l.losses > lost })
	l.heard(time.Now())
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	password := file(t, "wrong")
	store := open(t, redis.Options{URL: s.URL, SentinelPasswordFile: password, Timeout: time.Second})
	isFault(t, "Ping with a wrong password for the sentinels", store.Ping(t.Context()))
	if err := os.WriteFile(password, []byte(redistest.SentinelPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := watch(t.Context(), t, store)
	l.heard(time.Now())

	ids := create(t, store, 20)
	if n := s.Primary().Do("WAIT", 1, 5000); n != int64(1) {
		t.Fatalf("WAIT = %v, want the replica", n)
	}
	stop := load(t, store, ids)
	lost := l.lost()
	old := s.KillPrimary()
	s.AwaitPrimary(old)
	l.eventually("it has lost", func() bool { return l.losses > lost })
	l.heard(time.Now())
	_, errs := stop()
	for _, err := range errs {
		isFault(t, "an operation during the failover", err)
	}
	for _, id := range ids {
		if _, err := store.Load(t.Context(), id); err != nil {
			t.Errorf("Load after the failover = %v", err)
		}
	}
	old.StartAgain()
	lost = l.lost()
	if n, err := store.Delete(t.Context(), ids...); err != nil || n != len(ids) {
		t.Errorf("Delete = %d, %v, want %d", n, err, len(ids))
	}
	l.heard(time.Now())
	for _, id := range ids {
		// Where the subscription was made anew meanwhile, that stands for all changes.
		if v, ok := l.version(id); (!ok || v != 0) && l.lost() == lost {
			t.Errorf("version %d was told at last (%v), want 0", v, ok)
		}
	}
}

// Two ways meet: Create lists a session whose record is not there yet, and Find
// takes out of the list what has no record.
func TestFindLosesNobodyWhoArrives(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, redis.Options{URL: server.URL, Timeout: 5 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	var looking, arriving sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			for ctx.Err() == nil {
				if _, err := store.Find(t.Context(), session.Index{1}); err != nil {
					t.Errorf("Find = %v", err)
				}
			}
		})
	}
	for range 4 {
		arriving.Go(func() {
			for range 50 {
				if err := store.Create(t.Context(), newID(), record(), time.Now()); err != nil {
					t.Errorf("Create = %v", err)
				}
			}
		})
	}
	arriving.Wait()
	cancel()
	looking.Wait()
	found, err := store.Find(t.Context(), session.Index{1})
	if err != nil || len(found) != 200 {
		t.Errorf("Find = %d sessions, %v, want 200", len(found), err)
	}
}
