package mint_test

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
)

func TestCache(t *testing.T) {
	const life = 5 * time.Minute
	api, other := template(nil), template(nil)
	seenLater := signedIn(alice)
	seenLater.Seen = noon.Add(time.Minute)
	changed := signedIn(alice)
	changed.Version = 2
	somebodyElse := signedIn(alice)
	somebodyElse.ID = session.Token{2}.ID()
	endsSooner := endingAt(noon.Add(life - time.Second))
	endsWithIt := endingAt(noon.Add(life))

	tests := []struct {
		name string
		now  time.Time // of the second request; the first is at noon
		tmpl *mint.Template
		sess session.Session
		want uint64 // signatures after both
	}{
		{"at_once", noon, api, signedIn(alice), 1},
		{"79_percent_of_its_life", noon.Add(life * 79 / 100), api, signedIn(alice), 1},
		{"a_nanosecond_before_80_percent", noon.Add(life*80/100 - 1), api, signedIn(alice), 1},
		{"80_percent_exactly_now", noon.Add(life * 80 / 100), api, signedIn(alice), 2},
		{"after_80_percent", noon.Add(life * 81 / 100), api, signedIn(alice), 2},
		{"expired_exactly_now", noon.Add(life), api, signedIn(alice), 2},
		{"a_moment_before_it_was_issued", noon.Add(-time.Second), api, signedIn(alice), 1},
		{"clock_was_set_back", noon.Add(-time.Second - 1), api, signedIn(alice), 2},
		{"seen_since", noon.Add(time.Minute), api, seenLater, 1},
		{"a_claim_changed", noon, api, changed, 2},
		{"another_session", noon, api, somebodyElse, 2},
		{"another_template_of_the_same_content", noon, other, signedIn(alice), 2},
		{"session_ends_with_the_token_exactly", noon, api, endsWithIt, 1},
		{"session_turned_out_to_end_sooner", noon, api, endsSooner, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys := newKeys(t)
			s := mint.NewSigner(keys)
			first := mustMint(t, s, noon, api, signedIn(alice))
			second := mustMint(t, s, tt.now, tt.tmpl, tt.sess)
			if got := s.Signed(); got != tt.want {
				t.Errorf("Signed = %d, want %d", got, tt.want)
			}
			if same := first == second; same != (tt.want == 1) {
				t.Errorf("same token: %v, after %d signatures", same, tt.want)
			}
			if tt.want == 2 {
				mustHoldOfLife(t, tt.now, tt.sess, mustVerify(t, keys, second))
			}
			if again := mustMint(t, s, tt.now, tt.tmpl, tt.sess); again != second || s.Signed() != tt.want {
				t.Errorf("the token is not remembered: Signed = %d, want %d", s.Signed(), tt.want)
			}
		})
	}
}

func TestCacheKeepsTheTokenOfALaterVersion(t *testing.T) {
	s := mint.NewSigner(newKeys(t))
	api := template(nil)
	before, after := signedIn(alice), signedIn(alice)
	after.Version = 2
	late := mustMint(t, s, noon, api, after)
	early := mustMint(t, s, noon, api, before) // a request that read the session before it changed
	if early == late {
		t.Error("a token serves two versions")
	}
	if got := mustMint(t, s, noon, api, after); got != late {
		t.Error("an earlier version took the place of a later one")
	}
}

func TestCacheDropsWhatNobodyCanUse(t *testing.T) {
	s := mint.NewSigner(newKeys(t))
	sess := signedIn(alice)
	mustMint(t, s, noon, template(nil), sess)
	one := s.CachedBytes()
	for i := range 20 {
		sess.Version++
		now := noon.Add(time.Duration(i) * time.Minute)
		mustMint(t, s, now, template(nil), sess) // each version, and each reload of the configuration
	}
	if got := s.CachedBytes(); got > one+16 {
		t.Errorf("CachedBytes = %d after 20 versions, want about %d as after one", got, one)
	}
}

func TestForget(t *testing.T) {
	s := mint.NewSigner(newKeys(t))
	api, web := template(nil), template(nil)
	bob := signedIn(alice)
	bob.ID = session.Token{2}.ID()
	for _, tmpl := range []*mint.Template{api, web} {
		mustMint(t, s, noon, tmpl, signedIn(alice))
	}
	bobs := mustMint(t, s, noon, api, bob)

	s.Forget(signedIn(alice).ID)
	s.Forget(session.Token{3}.ID())

	if got := mustMint(t, s, noon, api, bob); got != bobs {
		t.Error("Forget dropped the token of another session")
	}
	for _, tmpl := range []*mint.Template{api, web} {
		mustMint(t, s, noon, tmpl, signedIn(alice))
	}
	if got := s.Signed(); got != 5 {
		t.Errorf("Signed = %d, want 5: two, bob's, and two anew", got)
	}
}

func TestConcurrentRequestsSignOnce(t *testing.T) {
	s := mint.NewSigner(newKeys(t))
	api := template(nil)
	start := make(chan struct{})
	tokens := make([]string, 64)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			<-start
			// Each took its own time, on either side of a second.
			tokens[i], _ = s.Mint(noon.Add(time.Duration(i-32)*time.Microsecond), api, signedIn(alice))
		})
	}
	close(start)
	all.Wait()
	if got := s.Signed(); got != 1 {
		t.Errorf("Signed = %d, want 1", got)
	}
	for i, token := range tokens {
		if token == "" || token != tokens[0] {
			t.Errorf("request %d got another token", i)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("signs thousands of tokens")
	}
	s := mint.NewSigner(newKeys(t))
	fat := template(map[string]string{"x": quoted(5500)})
	sess := signedIn(alice)
	for i := range uint32(5000) {
		binary.BigEndian.PutUint32(sess.ID[:], i+1)
		mustMint(t, s, noon, fat, sess)
	}
	if got := s.CachedBytes(); got > mint.MaxCacheBytes || got < mint.MaxCacheBytes/2 {
		t.Errorf("CachedBytes = %d, want at most %d, and most of it used", got, mint.MaxCacheBytes)
	}
}

func TestCachedMintAllocatesNothing(t *testing.T) {
	s := mint.NewSigner(newKeys(t))
	api, sess := template(nil), signedIn(alice)
	mustMint(t, s, noon, api, sess)
	got := testing.AllocsPerRun(1000, func() {
		if _, err := s.Mint(noon, api, sess); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
	if s.Signed() != 1 {
		t.Errorf("Signed = %d, want 1", s.Signed())
	}
}

func BenchmarkMint(b *testing.B) {
	api, sess := template(map[string]string{"email": "user.email"}), signedIn(alice)
	b.Run("remembered", func(b *testing.B) {
		s := mint.NewSigner(newKeys(b))
		for b.Loop() {
			mustMint(b, s, noon, api, sess)
		}
	})
	b.Run("signed", func(b *testing.B) {
		s := mint.NewSigner(newKeys(b))
		for b.Loop() {
			s.Forget(sess.ID)
			mustMint(b, s, noon, api, sess)
		}
	})
}
