package oidctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// maxPage bounds the page that a browser step reads.
const maxPage = 1 << 20

// ErrStayed means that the provider showed a page instead of sending the person
// back: a wrong password, or a request that it does not like.
var ErrStayed = errors.New("the provider did not send the person back")

// SignIn goes to an authorization request at authorizeURL as a browser does,
// fills in the form if there is one, and returns the address, with its code or
// error, to which the provider sends the person back. It does not go there. The
// jar of browser keeps the provider's session; without a jar each call is the
// first.
//
// Its error is [ErrStayed] if the provider declines.
func SignIn(ctx context.Context, browser *http.Client, authorizeURL, username, password string) (callback string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, authorizeURL, nil)
	if err != nil {
		return "", err
	}
	page, err := standing(browser).Do(req)
	if err != nil {
		return "", fmt.Errorf("authorization request: %w", err)
	}
	if callback, ok := sentTo(page); ok {
		return callback, page.Body.Close()
	}
	return FillIn(ctx, browser, page, username, password)
}

// FillIn does what [SignIn] does on a page that browser has reached already. It
// closes the page's body.
func FillIn(ctx context.Context, browser *http.Client, page *http.Response, username, password string) (callback string, err error) {
	defer page.Body.Close()
	action, form, err := passwordForm(page)
	if err != nil {
		return "", err
	}
	form.Set("username", username)
	form.Set("password", password)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, action, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := standing(browser).Do(req)
	if err != nil {
		return "", fmt.Errorf("sign-in form: %w", err)
	}
	defer answer.Body.Close()
	callback, ok := sentTo(answer)
	if !ok {
		return "", fmt.Errorf("%w: status %d", ErrStayed, answer.StatusCode)
	}
	return callback, nil
}

// standing is browser, stopping at every redirect.
func standing(browser *http.Client) *http.Client {
	stops := *browser
	stops.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &stops
}

func sentTo(answer *http.Response) (string, bool) {
	if answer.StatusCode < 300 || answer.StatusCode > 399 {
		return "", false
	}
	location, err := answer.Location()
	if err != nil {
		return "", false
	}
	return location.String(), true
}

// passwordForm finds the form of page that asks for a password: where it goes,
// and what is in it already.
func passwordForm(page *http.Response) (action string, filled url.Values, err error) {
	root, err := html.Parse(io.LimitReader(page.Body, maxPage))
	if err != nil {
		return "", nil, fmt.Errorf("sign-in page: %w", err)
	}
	for form := range root.Descendants() {
		if form.Type != html.ElementNode || form.Data != "form" {
			continue
		}
		inputs, asks := inputsOf(form)
		if !asks {
			continue
		}
		target, err := page.Request.URL.Parse(attribute(form, "action"))
		if err != nil {
			return "", nil, fmt.Errorf("sign-in page: %w", err)
		}
		return target.String(), inputs, nil
	}
	return "", nil, fmt.Errorf("%w: status %d, and no form that asks for a password", ErrStayed, page.StatusCode)
}

func inputsOf(form *html.Node) (inputs url.Values, asksPassword bool) {
	inputs = url.Values{}
	for n := range form.Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" {
			continue
		}
		inputs.Set(attribute(n, "name"), attribute(n, "value"))
		asksPassword = asksPassword || attribute(n, "type") == "password"
	}
	return inputs, asksPassword
}

func attribute(n *html.Node, name string) string {
	i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if i < 0 {
		return ""
	}
	return n.Attr[i].Val
}
