package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/countersign/countersign/oidc"
)

// shape is how many servers there are, and how they are found.
type shape uint8

const (
	standalone shape = iota
	sentinel
	cluster
)

// address is where a Redis is, and as whom to speak to it.
type address struct {
	shape    shape
	network  string
	addrs    []string    // of the server, of the sentinels, or of nodes of the cluster
	master   string      // what the sentinels call it
	tls      *tls.Config // nil for none
	db       int
	username string
	password oidc.Secret
}

// schemes are the beginnings of addresses, and which port each means when there
// is none.
var schemes = map[string]struct {
	shape shape
	tls   bool
	port  string
}{
	"redis":           {standalone, false, "6379"},
	"rediss":          {standalone, true, "6379"},
	"redis+sentinel":  {sentinel, false, "26379"},
	"rediss+sentinel": {sentinel, true, "26379"},
	"redis+cluster":   {cluster, false, "6379"},
	"rediss+cluster":  {cluster, true, "6379"},
	"unix":            {},
}

var (
	errScheme     = errors.New("url: want redis://, rediss:// or unix://, or redis+sentinel:// or redis+cluster://")
	errParameters = errors.New("url: has parameters that are not supported, or one twice")
	errDatabase   = errors.New("url: database is not a number up to 65535")
	errPort       = errors.New("url: port is not a number between 1 and 65535")
)

// parseAddress reads an address. Its errors hold nothing of one, since a password
// may stand anywhere in a mistyped address.
func parseAddress(s string) (address, error) {
	u, hosts, err := parseURL(s)
	if err != nil {
		return address{}, err
	}
	scheme, known := schemes[u.Scheme]
	if !known {
		return address{}, errScheme
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return address{}, errParameters
	}
	password, _ := u.User.Password()
	a := address{shape: scheme.shape, network: "tcp", username: u.User.Username(), password: oidc.Secret(password)}
	db := strings.TrimPrefix(u.Path, "/")
	if u.Scheme == "unix" {
		if strings.Join(hosts, ",") != "" || u.Path == "" {
			return address{}, errors.New("url: want unix:///path/to/socket")
		}
		a.network, a.addrs, db = "unix", []string{u.Path}, takeOnce(query, "db")
	} else if a.addrs, err = parseHosts(hosts, scheme.port); err != nil {
		return address{}, err
	}
	if scheme.tls {
		// Whoever dials takes the name of the server from its address.
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if a.shape == sentinel {
		if a.master = takeOnce(query, "master"); a.master == "" {
			return address{}, errors.New("url: want ?master= with the name that the sentinels know")
		}
	}
	if len(query) > 0 || u.Fragment != "" {
		return address{}, errParameters
	}
	if a.db, err = parseDatabase(db); err != nil {
		return address{}, err
	}
	switch {
	case a.shape == standalone && len(a.addrs) > 1:
		return address{}, errors.New("url: several hosts want redis+sentinel:// or redis+cluster://")
	case a.shape == cluster && a.db != 0:
		return address{}, errors.New("url: a cluster has database 0 only")
	}
	return a, nil
}

// parseURL parses an address of several hosts, as [url.Parse] does one, and
// returns them apart.
func parseURL(s string) (u *url.URL, hosts []string, err error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return nil, nil, errScheme
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	hosts = strings.Split(rest[at:end], ",")
	if u, err = url.Parse(scheme + "://" + rest[:at] + hosts[0] + rest[end:]); err != nil {
		return nil, nil, errors.New("url: not a valid address")
	}
	return u, hosts, nil
}

// takeOnce returns a parameter and, if it stands there once, removes it.
func takeOnce(query url.Values, name string) string {
	first := query.Get(name)
	if len(query[name]) == 1 {
		query.Del(name)
	}
	return first
}

func parseDatabase(s string) (int, error) {
	n, err := strconv.ParseUint(orElse(s, "0"), 10, 16)
	if err != nil {
		return 0, errDatabase // err quotes it
	}
	return int(n), nil
}

// parseHosts returns the addresses of hosts, with a port each.
func parseHosts(hosts []string, port string) ([]string, error) {
	addrs := make([]string, len(hosts))
	for i, host := range hosts {
		u, err := url.Parse("redis://" + host)
		if err != nil || u.Host != host {
			return nil, errors.New("url: not a valid address")
		}
		if u.Hostname() == "" {
			return nil, errors.New("url: host is missing")
		}
		if !dialable(u) {
			return nil, errPort
		}
		addrs[i] = net.JoinHostPort(u.Hostname(), orElse(u.Port(), port))
	}
	return addrs, nil
}

// dialable reports whether u has a port from 1 to 65535, or neither a port nor a
// colon for one.
func dialable(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// maxPasswordFile bounds what is read as a password.
const maxPasswordFile = 4096

// readPassword reads a password from a file, without the line break at its end.
func readPassword(name string) (oidc.Secret, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPasswordFile+1))
	if err != nil {
		return "", err
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 || len(data) > maxPasswordFile {
		return "", fmt.Errorf("password file %s: empty or longer than %d bytes", name, maxPasswordFile)
	}
	return oidc.Secret(data), nil
}

// credentials is a user, and a password or the file that it is read from each
// time it is needed, so that a changed password needs no restart.
type credentials struct {
	username string
	password oidc.Secret
	file     string
}

// get returns what a new connection signs in with.
func (c credentials) get(context.Context) (username, password string, err error) {
	if c.file == "" {
		return c.username, c.password.Reveal(), nil
	}
	read, err := readPassword(c.file)
	return c.username, read.Reveal(), err
}

// check returns an error for credentials that can never work.
func (c credentials) check() error {
	if c.file != "" {
		if c.password != "" {
			return errors.New("password: given twice")
		}
		_, err := readPassword(c.file)
		return err
	}
	if c.username != "" && c.password == "" {
		return errors.New("password: is missing, and without one the user would not be asked for")
	}
	return nil
}
