// Package pages renders what a person is told as a self-contained HTML page:
// one stylesheet, no script, nothing fetched.
package pages

import (
	"bytes"
	_ "embed"
	"html/template"

	"github.com/countersign/countersign/authz"
)

var (
	//go:embed page.html
	pageSource string

	//go:embed style.css
	style template.CSS

	page = template.Must(template.New("page").Parse(pageSource))
)

// Renderer renders pages in English. The zero Renderer is ready, and may be
// used by any number of goroutines at once.
type Renderer struct{}

var _ authz.Pages = (*Renderer)(nil)

// New returns a Renderer.
func New() *Renderer { return &Renderer{} }

// Render returns p as a whole HTML document in UTF-8. It never fails: a Reason
// without a text of its own is worded as [authz.Internal], and a button whose
// address is not one of the web is left out.
//
// The document is served with the header [Renderer.ContentSecurityPolicy]. It is smaller than
// 16 KiB as long as the fields of p have everyday lengths; they are never cut.
func (*Renderer) Render(p authz.Page) []byte {
	return render(page, viewOf(english, p))
}

// render executes t, or falls back to a page that cannot go wrong.
func render(t *template.Template, v view) []byte {
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return []byte(plain)
	}
	return out.Bytes()
}

// plain says the least that is true of every page.
const plain = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>This page could not be opened</title>
</head>
<body>
<main>
<h1>This page could not be opened</h1>
<p>Try again in a moment. If it happens again, ask the people who run this site.</p>
</main>
</body>
</html>
`
