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

// address is where a Redis is, and as whom to speak to it.
type address struct {
	network, addr string
	tls           *tls.Config // nil for none
	db            int
	username      string
	password      oidc.Secret
}

// parseAddress reads redis://, rediss:// and unix:// addresses. Its errors hold
// nothing of an address, since a password may stand anywhere in a mistyped one.
func parseAddress(s string) (address, error) {
	u, err := url.Parse(s)
	if err != nil {
		return address{}, errors.New("url: not a valid address")
	}
	password, _ := u.User.Password()
	a := address{network: "tcp", username: u.User.Username(), password: oidc.Secret(password)}
	db := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		if u.Hostname() == "" {
			return address{}, errors.New("url: host is missing")
		}
		a.addr = net.JoinHostPort(u.Hostname(), orElse(u.Port(), "6379"))
	case "unix":
		if u.Host != "" || u.Path == "" {
			return address{}, errors.New("url: want unix:///path/to/socket")
		}
		a.network, a.addr, db = "unix", u.Path, u.Query().Get("db")
	case "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster":
		return address{}, fmt.Errorf("url: %s:// is not supported yet", u.Scheme)
	default:
		return address{}, errors.New("url: want redis://, rediss:// or unix://")
	}
	if u.Scheme == "rediss" {
		a.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	query := u.Query()
	if u.Scheme == "unix" {
		query.Del("db")
	}
	if len(query) > 0 || u.Fragment != "" {
		return address{}, errors.New("url: has parameters that are not supported")
	}
	if a.db, err = strconv.Atoi(orElse(db, "0")); err != nil || a.db < 0 {
		return address{}, errors.New("url: database is not a number")
	}
	return a, nil
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

// credentials returns what a new connection signs in with. A password file is
// read each time, so that a changed password needs no restart.
func (o Options) credentials(a address) func(context.Context) (username, password string, err error) {
	return func(context.Context) (string, string, error) {
		if o.PasswordFile == "" {
			return a.username, a.password.Reveal(), nil
		}
		password, err := readPassword(o.PasswordFile)
		return a.username, password.Reveal(), err
	}
}
