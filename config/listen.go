package config

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/admin"
)

func decodeListen(v value) Listen {
	o, _ := v.object()
	grpc, http, health, administration := o.get("grpc"), o.get("http"), o.get("health"), o.get("admin")
	l := Listen{
		GRPC:   decodeListener(grpc, "127.0.0.1:9191", true),
		HTTP:   decodeListener(http, "127.0.0.1:4180", false),
		Health: decodeListener(health, "127.0.0.1:9193", false),
		Admin:  decodeAdmin(administration),
	}
	places, addresses := []value{grpc, http, health}, []Address{l.GRPC, l.HTTP, l.Health}
	if l.Admin != nil {
		places, addresses = append(places, administration), append(addresses, l.Admin.Address)
	}
	for i, a := range addresses {
		if slices.Contains(addresses[:i], a) && !strings.HasSuffix(a.Address, ":0") && !places[i].failed() {
			places[i].fail("%s is the address of another listener", a)
		}
	}
	o.close()
	return l
}

// decodeAdmin returns nil where nobody is to be answered.
func decodeAdmin(v value) *Admin {
	o, ok := v.object()
	address, token, said := o.get("address"), o.get("token_file"), o.get("plaintext")
	o.close()
	if !ok {
		return nil
	}
	a := &Admin{Address: Address{"tcp", "127.0.0.1:9192"}}
	plaintext := said.flag() || said.failed()
	if at, ok := address.listenAddress(); ok {
		a.Address = at
		said.uselessAt(at)
		if !plaintext && !at.local() {
			address.fail("%s can be reached from other machines, and whoever listens on the way reads the token: "+
				`use 127.0.0.1 or unix:///path, or, on a network that you trust, write {address: %q, token_file: …, plaintext: true}`,
				at, at)
		}
	}
	if !token.require() {
		return a
	}
	if data, path, ok := token.file(maxSecretBytes); ok {
		a.TokenFile = path
		if _, err := admin.ParseToken(data); err != nil {
			token.fail("%s: %v", path, err)
		}
	}
	return a
}

// decodeListener reads an address, which may stand in a map with what it
// needs besides.
func decodeListener(v value, other string, guarded bool) Address {
	address, plaintext := v, !guarded
	var said value
	if !v.given() || v.node.kind == mapping {
		o, isMap := v.object()
		inner := o.get("address")
		if guarded {
			said = o.get("plaintext")
			plaintext = said.flag() || said.failed()
		}
		o.close()
		if isMap {
			inner.require()
			address = inner
		}
	}
	a, ok := address.listenAddress()
	if !ok {
		return Address{"tcp", other}
	}
	said.uselessAt(a)
	if !plaintext && !a.local() {
		address.fail("%s can be reached from other machines, and whoever connects reads cookies and tokens: "+
			`use 127.0.0.1 or unix:///path, or, on a network that you trust, write {address: %q, plaintext: true}`,
			a, a)
	}
	return a
}

// uselessAt warns of a plaintext: true that no network is there to read.
func (v value) uselessAt(a Address) {
	if a.Network == "unix" && v.given() && !v.failed() && v.flag() {
		v.warn("has no use at a socket, which other machines cannot reach")
	}
}

// maxSocketPath is what the kernel takes (unix(7)).
const maxSocketPath = 107

var hostForm = regexp.MustCompile(`\A[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\z`)

// listenAddress reads host:port, :port or unix:///path.
func (v value) listenAddress() (Address, bool) {
	s, ok := v.text()
	if !ok {
		return Address{}, false
	}
	if path, socket := strings.CutPrefix(s, "unix://"); socket {
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || len(path) > maxSocketPath {
			v.fail("must be unix:// and an absolute path of at most %d bytes, as in unix:///run/countersign.sock", maxSocketPath)
			return Address{}, false
		}
		return Address{"unix", path}, true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		v.fail("must be host:port, :port or unix:///path, not %s", v.quote())
		return Address{}, false
	}
	if host != "" && net.ParseIP(host) == nil && !hostForm.MatchString(host) {
		v.fail("has no usable host in %s", v.quote())
		return Address{}, false
	}
	if !isPort(port) {
		v.fail("must end in a port between 0 and 65535, not %s", v.quote())
		return Address{}, false
	}
	return Address{"tcp", s}, true
}

// isPort reports whether s is a port in the one spelling that browsers use.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// local reports whether only this machine reaches a.
func (a Address) local() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Address)
	return err == nil && loopback(host)
}

// loopback reports whether a host is this machine (RFC 6761 §6.3).
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
