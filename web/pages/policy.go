package pages

import (
	"crypto/sha256"
	"encoding/base64"
)

// ContentSecurityPolicy returns the Content-Security-Policy header that every
// page is served with: it admits the page's own stylesheet, by its hash, and
// nothing else (Content Security Policy Level 3 §2.3.1).
//
// There is no form-action, on purpose. Our one form posts to our own origin,
// which answers by sending the browser on to the provider's end_session
// address, and Chromium applies form-action to that redirect as well: 'self'
// stops the sign-out half-way, and "https:" stops it where a provider under
// test has no TLS. What a list of whole schemes would still forbid helps
// nobody, since a forged form could post to any host of the scheme.
func (*Renderer) ContentSecurityPolicy() string { return policy }

var policy = "default-src 'none'; style-src 'sha256-" + digest(string(style)) +
	"'; base-uri 'none'; frame-ancestors 'none'"

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
