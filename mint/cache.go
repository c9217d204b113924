package mint

import (
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/countersign/countersign/session"
)

// maxCacheBytes bounds the tokens that a Signer remembers: about twenty
// thousand of a common size. Beyond it the least used are signed again.
const maxCacheBytes = 32 << 20

// token is one that was signed, for one version of one session.
type token struct {
	text     string
	template *Template
	version  uint64

	issued  time.Time // iat
	stale   time.Time // 80 % of its life
	expires time.Time // exp
}

func newToken(text string, t *Template, version uint64, issued, expires time.Time) token {
	life := expires.Sub(issued)
	return token{
		text: text, template: t, version: version,
		issued: issued, stale: issued.Add(life * 4 / 5), expires: expires,
	}
}

// serves reports whether k is what t gets for s now. It is not, exactly at 80 %
// of its life, and not when s turned out to end sooner than k does.
func (k token) serves(now time.Time, t *Template, s *session.Session) bool {
	return k.template == t && k.version == s.Version && k.live(now) && !k.expires.After(s.End())
}

// live is false, too, for a moment well before k was issued: the clock was set
// back, and the upstream's may say that k is not good yet. Requests that took
// their time just before the one that signed share its token.
func (k token) live(now time.Time) bool {
	return !now.Before(k.issued.Add(-time.Second)) && now.Before(k.stale)
}

// tokens are those of one session, one for each template. They are replaced
// whole.
type tokens []token

func (ks tokens) find(now time.Time, t *Template, s *session.Session) (string, bool) {
	for i := range ks {
		if ks[i].serves(now, t, s) {
			return ks[i].text, true
		}
	}
	return "", false
}

// with returns ks and k, without what k replaces and what nobody can use. Tokens
// of a later version stay: k is then that of a request which began before the
// session changed.
func (ks tokens) with(k token, now time.Time) tokens {
	kept := make(tokens, 0, len(ks)+1)
	for _, old := range ks {
		replaced := old.version < k.version || old.version == k.version && old.template == k.template
		if !replaced && old.live(now) {
			kept = append(kept, old)
		}
	}
	return append(kept, k)
}

// newCache returns a bounded cache. It has no clock: whether a token may be used
// is decided from the moment that Mint is given.
func newCache() *otter.Cache[session.ID, tokens] {
	return otter.Must(&otter.Options[session.ID, tokens]{
		MaximumWeight: maxCacheBytes,
		Weigher: func(_ session.ID, ks tokens) uint32 {
			const entry, each = 256, 128 // bytes beside the text, roughly
			weight := entry
			for _, k := range ks {
				weight += each + len(k.text)
			}
			return uint32(weight)
		},
	})
}
