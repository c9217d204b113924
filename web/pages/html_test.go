package pages_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/web/pages"
	"golang.org/x/net/html"
)

// show renders p and reads the page back as a browser does.
func show(t *testing.T, p authz.Page) *html.Node {
	t.Helper()
	return parse(t, pages.New().Render(p))
}

func parse(t *testing.T, page []byte) *html.Node {
	t.Helper()
	if !bytes.HasPrefix(page, []byte("<!doctype html>\n")) || !bytes.HasSuffix(page, []byte("</html>\n")) {
		t.Fatalf("Render = %.40q…, want a whole document", page)
	}
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// all returns the elements called tag, in the order of the page.
func all(doc *html.Node, tag string) []*html.Node {
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == tag {
			found = append(found, n)
		}
	}
	return found
}

func one(t *testing.T, doc *html.Node, tag string) *html.Node {
	t.Helper()
	found := all(doc, tag)
	if len(found) != 1 {
		t.Fatalf("Render = a page with %d <%s>, want one", len(found), tag)
	}
	return found[0]
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// meta returns the content of the meta element whose key is value.
func meta(doc *html.Node, key, value string) string {
	for _, n := range all(doc, "meta") {
		if attr(n, key) == value {
			return attr(n, "content")
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var text strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			text.WriteString(d.Data)
		}
	}
	return text.String()
}

// buttons lists what can be pressed as "METHOD address label".
func buttons(doc *html.Node) []string {
	var found []string
	for n := range doc.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "a":
			found = append(found, "GET "+attr(n, "href")+" "+textOf(n))
		case n.Data == "form":
			found = append(found, strings.ToUpper(attr(n, "method"))+" "+attr(n, "action")+" "+textOf(n))
		}
	}
	return found
}
