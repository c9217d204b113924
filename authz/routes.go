package authz

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Routes finds the rule for a request: host, then app, then the first rule that
// covers method and path.
type Routes struct {
	apps     []*App
	hosts    map[string]*site
	identity []string // canonical names that only we may set
}

// site is what answers on one host.
type site struct {
	endpoints []Rule // of ours; they stand before all other rules
	apps      []*App // longest path prefix first
}

// NewRoutes prepares apps for lookup. It takes them over: nothing may change
// them afterwards.
func NewRoutes(apps []*App) (*Routes, error) {
	r := &Routes{apps: apps, hosts: map[string]*site{}}
	for i, a := range apps {
		if err := a.complete(); err != nil {
			return nil, fmt.Errorf("apps[%d]: %w", i, err)
		}
		for _, host := range hostSpellings(a.URL) {
			if r.hosts[host] == nil {
				r.hosts[host] = new(site)
			}
			r.hosts[host].add(a)
		}
	}
	r.identity = identityHeaders(apps)
	return r, nil
}

// hostSpellings are the Host values that mean an app: with its port, and, where
// that is its scheme's default, without.
func hostSpellings(u *url.URL) []string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	standard := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	if port != "" && port != standard {
		return []string{host + ":" + port}
	}
	return []string{host, host + ":" + standard}
}

func (s *site) add(a *App) {
	s.endpoints = append(s.endpoints, endpointRules(a)...)
	s.apps = append(s.apps, a)
	slices.SortStableFunc(s.apps, func(a, b *App) int { return len(b.URL.Path) - len(a.URL.Path) })
}

// canonicalHost returns a Host value in lower case and without the trailing
// dot of its name.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	if strings.IndexByte(host, ':') < 0 {
		return strings.TrimSuffix(host, ".")
	}
	if name, port, err := net.SplitHostPort(host); err == nil {
		if trimmed, dotted := strings.CutSuffix(name, "."); dotted {
			return net.JoinHostPort(trimmed, port)
		}
		return host
	}
	return strings.TrimSuffix(host, ".")
}

// methodName reports whether m is spelt as methods are. "post" is another method
// than POST (RFC 9110 §9.1), but not to every upstream.
func methodName(m string) bool {
	for i := range len(m) {
		if c := m[i]; (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return m != ""
}

// find picks the rule for a request. Where it finds none it says why.
func (r *Routes) find(req Request) (*Rule, Reason) {
	if req.TooLarge() || len(req.Path) > maxOddPathBytes && !plain(req.Path) {
		return nil, TooLarge
	}
	if !methodName(req.Method) || req.Host == "" {
		return nil, Malformed
	}
	here, ok := r.hosts[canonicalHost(req.Host)]
	if !ok {
		return nil, UnknownHost
	}
	paths, err := read(req.Path)
	if err != nil || hasControl(req.Query) {
		return nil, Malformed
	}
	picked := here.pick(req.Method, paths[0])
	for _, reading := range paths[1:] {
		if here.pick(req.Method, reading) != picked {
			return nil, Ambiguous
		}
	}
	if picked == nil {
		return nil, NoRule
	}
	return picked, ""
}

// pick returns the first rule that covers method and path, or nil: first the
// endpoints of all apps, then the rules of the app that has the path. An app's
// requests never fall through to another app.
func (s *site) pick(method, path string) *Rule {
	if r := first(s.endpoints, method, path); r != nil {
		return r
	}
	for _, a := range s.apps {
		if below(path, a.URL.Path) {
			return first(a.Rules, method, path)
		}
	}
	return nil
}

func first(rules []Rule, method, path string) *Rule {
	for i := range rules {
		if rules[i].covers(method, path) {
			return &rules[i]
		}
	}
	return nil
}

// Upstream reports whether a request is for an upstream, and not for an endpoint
// of ours or for nobody. A transport that has no upstream asks this first.
func (r *Routes) Upstream(req Request) bool {
	rule, reason := r.find(req)
	return rule != nil && rule.endpoint == none || reason == NoRule
}
