package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session/redis"
)

// decodeRedis returns nil where the file has no Redis.
func decodeRedis(v value) *redis.Options {
	o, _ := v.object()
	at, prefix, tls := o.get("url"), o.get("prefix"), o.get("tls")
	password, file := o.secret("password")
	sentinel := decodeSentinel(o.get("sentinel"))
	r := &redis.Options{
		Prefix: prefix.textOr("countersign:"), TLS: decodeTLS(tls), PasswordFile: file,
		SentinelUsername: sentinel.username, SentinelPassword: sentinel.password, SentinelPasswordFile: sentinel.file,
	}
	o.close()
	if !v.given() {
		return nil
	}
	if file == "" { // else it is read again for every connection
		r.Password = password
	}
	if strings.ContainsAny(r.Prefix, "{}") {
		prefix.fail("must have no braces: in Redis they choose the node of a cluster")
	}
	if !at.require() {
		return r
	}
	s, ok := at.text()
	if !ok {
		return r
	}
	a, ok := splitRedis(s)
	if !ok {
		at.fail("is not a URL") // the error would quote it, with its password
		return r
	}
	at.checkRedis(a)
	if !a.tls() && tls.given() {
		tls.fail("has no use without TLS: the url must begin with rediss, not redis")
	}
	if a.shape != "sentinel" && sentinel.given() {
		sentinel.fail("has no use without sentinels: the url must begin with redis+sentinel:// or rediss+sentinel://")
	}
	at.takePassword(a, r)
	return r
}

// sentinel is as whom to speak to the sentinels.
type sentinel struct {
	value
	username string
	password oidc.Secret // empty where it stands in a file, which is read again
	file     string
}

func decodeSentinel(v value) sentinel {
	o, ok := v.object()
	s := sentinel{value: v}
	username := o.get("username")
	s.username = username.textOr("")
	s.password, s.file = o.secret("password")
	if s.file != "" {
		s.password = ""
	}
	o.close()
	if ok && !o.find("password").given() && !o.find("password_file").given() {
		v.fail("has no password: write password_file")
	}
	return s
}

// takePassword moves the password from the URL to where it cannot be printed.
func (v value) takePassword(a redisAddress, r *redis.Options) {
	named := r.Password != "" || r.PasswordFile != ""
	inURL, ok := a.User.Password()
	switch {
	case ok && named:
		v.fail("must not hold a password beside password and password_file")
	case ok:
		if v.node.said {
			v.warn("holds a secret in the configuration itself: better write password_file")
		}
		r.Password = oidc.Secret(inURL)
		a.User = url.User(a.User.Username())
	case a.User != nil && !named:
		v.fail("has a user without a password: write password_file")
	}
	a.Host = strings.Join(a.hosts, ",")
	r.URL = a.String()
}

// redisAddress is where a Redis is. Its Host is the first of the hosts.
type redisAddress struct {
	*url.URL
	shape string   // empty, sentinel or cluster
	hosts []string // as they stand there, with a port each, if need be
}

// tls reports whether connections have TLS.
func (a redisAddress) tls() bool { return strings.HasPrefix(a.Scheme, "rediss") }

// splitRedis is [url.Parse] for an address that may have several hosts, which a
// URL does not (RFC 3986 §3.2.2).
func splitRedis(s string) (redisAddress, bool) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return redisAddress{}, false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	begin := strings.LastIndexByte(rest[:end], '@') + 1
	a := redisAddress{hosts: strings.Split(rest[begin:end], ",")}
	for _, host := range a.hosts {
		if u, err := url.Parse("redis://" + host); err != nil || u.Host != host {
			return a, false
		}
	}
	u, err := url.Parse(scheme + "://" + rest[:begin] + a.hosts[0] + rest[end:])
	if err != nil {
		return a, false
	}
	a.URL = u
	_, a.shape, _ = strings.Cut(u.Scheme, "+")
	return a, true
}

// checkRedis reports what session/redis would refuse, at its place. No message
// quotes a, in which a password may stand anywhere.
func (v value) checkRedis(a redisAddress) {
	query, unread := url.ParseQuery(a.RawQuery)
	database, known := strings.TrimPrefix(a.Path, "/"), "parameters"
	switch a.Scheme {
	case "redis", "rediss":
		if len(a.hosts) > 1 {
			v.fail("must have one host: several are for redis+sentinel:// and redis+cluster://")
		}
	case "unix":
		database, known = takeOnce(query, "db"), "parameters but one db"
		if strings.Join(a.hosts, ",") != "" || !strings.HasPrefix(a.Path, "/") {
			v.fail("must be unix:// and an absolute path, as in unix:///run/redis.sock")
		}
	case "redis+sentinel", "rediss+sentinel":
		known = "parameters but one master"
		if takeOnce(query, "master") == "" {
			v.fail("must name the master as the sentinels do, as in rediss+sentinel://host1,host2,host3/0?master=main")
		}
	case "redis+cluster", "rediss+cluster":
		if strings.Trim(database, "0") != "" {
			v.fail("must have no database but 0: a cluster has no other")
			database = ""
		}
	default:
		v.fail("must begin with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://")
		return
	}
	if a.Scheme != "unix" {
		v.checkHosts(a.hosts)
	}
	if unread != nil || len(query) > 0 || a.Fragment != "" {
		v.fail("must have no %s and no #; write # in a password as %%23", known)
	}
	if _, err := strconv.ParseUint(database, 10, 16); err != nil && database != "" {
		v.fail("must name the database by its number, as in rediss://redis:6379/0")
	}
}

// takeOnce returns a parameter and, if it stands there once, removes it.
func takeOnce(query url.Values, name string) string {
	first := query.Get(name)
	if len(query[name]) == 1 {
		query.Del(name)
	}
	return first
}

// checkHosts reports a host that is empty, and a colon without a port to dial.
func (v value) checkHosts(hosts []string) {
	if slices.ContainsFunc(hosts, func(host string) bool { return (&url.URL{Host: host}).Hostname() == "" }) {
		v.fail("must have a host, as in rediss://redis:6379/0")
	}
	if slices.ContainsFunc(hosts, badPort) {
		v.fail("must have a port between 1 and 65535 after the colon of a host")
	}
}

// badPort reports whether a host has a colon without a port to dial.
func badPort(host string) bool {
	port := (&url.URL{Host: host}).Port()
	if port == "" {
		return strings.HasSuffix(host, ":")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err != nil || n == 0
}
