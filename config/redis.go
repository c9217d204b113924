package config

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session/redis"
)

// decodeRedis returns nil where the file has no Redis.
func decodeRedis(v value) *redis.Options {
	o, _ := v.object()
	address, prefix := o.get("url"), o.get("prefix")
	password, file := o.secret("password")
	o.close()
	if !v.given() {
		return nil
	}
	r := &redis.Options{Prefix: prefix.textOr("countersign:"), PasswordFile: file}
	if file == "" { // else it is read again for every connection
		r.Password = password
	}
	if strings.ContainsAny(r.Prefix, "{}") {
		prefix.fail("must have no braces: in Redis they choose the node of a cluster")
	}
	if !address.require() {
		return r
	}
	if s, ok := address.text(); ok {
		u, err := url.Parse(s)
		if err != nil {
			address.fail("is not a URL") // the error would quote it, with its password
			return r
		}
		address.checkRedis(u)
		address.takePassword(u, r)
	}
	return r
}

// takePassword moves the password from the URL to where it cannot be printed.
func (v value) takePassword(u *url.URL, r *redis.Options) {
	named := r.Password != "" || r.PasswordFile != ""
	inURL, ok := u.User.Password()
	switch {
	case ok && named:
		v.fail("must not hold a password beside password and password_file")
	case ok:
		if v.node.said {
			v.warn("holds a secret in the configuration itself: better write password_file")
		}
		r.Password = oidc.Secret(inURL)
		u.User = url.User(u.User.Username())
	case u.User != nil && !named:
		v.fail("has a user without a password: write password_file")
	}
	r.URL = u.String()
}

// checkRedis reports what session/redis would refuse, at its place. No message
// quotes u, in which a password may stand anywhere.
func (v value) checkRedis(u *url.URL) {
	query, database := u.Query(), strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		if u.Hostname() == "" {
			v.fail("must have a host, as in rediss://redis:6379/0")
		}
	case "unix":
		database = query.Get("db")
		query.Del("db")
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			v.fail("must be unix:// and an absolute path, as in unix:///run/redis.sock")
		}
	case "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster":
		v.fail("%s:// is not supported yet: only redis://, rediss:// and unix:// are", u.Scheme)
		return
	default:
		v.fail("must begin with redis://, rediss:// or unix://")
		return
	}
	if len(query) > 0 || u.Fragment != "" {
		v.fail("must have no parameters and no #; write # in a password as %%23")
	}
	if _, err := strconv.ParseUint(database, 10, 16); err != nil && database != "" {
		v.fail("must name the database by its number, as in rediss://redis:6379/0")
	}
}
