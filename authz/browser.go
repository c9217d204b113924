package authz

import "strings"

// Products of a User-Agent (RFC 9110 §10.1.5), the more special first: most
// browsers also name those that they descend from.
var (
	browsers = []product{
		{"Edg", "Edge"},
		{"OPR/", "Opera"},
		{"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
		{"curl/", "curl"},
	}
	systems = []product{
		{"Android", "Android"},
		{"iPhone", "iOS"},
		{"iPad", "iOS"},
		{"Windows", "Windows"},
		{"CrOS", "ChromeOS"},
		{"Mac OS X", "macOS"},
		{"Linux", "Linux"},
	}
)

// product is a word of a User-Agent, and what people call it.
type product struct{ word, name string }

// browser names the browser of a request as its owner would, such as "Firefox on
// Linux". It holds nothing that was sent.
func (r Request) browser() string {
	agent := r.Header.Get("user-agent")
	name, system := named(browsers, agent), named(systems, agent)
	if name != "" && system != "" {
		return name + " on " + system
	}
	return name + system
}

// named is the name of the first product that agent holds.
func named(products []product, agent string) string {
	for _, p := range products {
		if strings.Contains(agent, p.word) {
			return p.name
		}
	}
	return ""
}
