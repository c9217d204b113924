package pages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/web/pages"
)

func TestPolicyAllowsTheStylesheetOnly(t *testing.T) {
	style := textOf(one(t, show(t, authz.Page{}), "style"))
	sum := sha256.Sum256([]byte(style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; frame-ancestors 'none'"
	if got := pages.New().ContentSecurityPolicy(); got != want {
		t.Errorf("ContentSecurityPolicy = %s, want %s", got, want)
	}
}

func TestStylesheetFetchesNothing(t *testing.T) {
	style := textOf(one(t, show(t, authz.Page{}), "style"))
	if style == "" {
		t.Fatal("style = none, nothing was tested")
	}
	for _, fetch := range []string{"url(", "@import", "@font-face", "image-set(", "\r", "</"} {
		if strings.Contains(style, fetch) {
			t.Errorf("style has %q", fetch)
		}
	}
}

// allowed reports whether the policy admits style, as a browser decides it.
func allowed(style string) bool {
	sum := sha256.Sum256([]byte(style))
	return strings.Contains(pages.New().ContentSecurityPolicy(), "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
}
