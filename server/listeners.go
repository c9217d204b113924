package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/countersign/countersign/config"
)

// Addresses are where the server listens, with the ports that it got. Admin is nil
// where administrators are not answered.
type Addresses struct{ GRPC, HTTP, Health, Admin net.Addr }

// Addresses tells where the server listens.
func (s *Server) Addresses() Addresses {
	a := Addresses{GRPC: s.listeners.grpc.Addr(), HTTP: s.listeners.http.Addr(), Health: s.listeners.health.Addr()}
	if s.listeners.admin != nil {
		a.Admin = s.listeners.admin.Addr()
	}
	return a
}

func (a Addresses) attrs() []slog.Attr {
	attrs := []slog.Attr{
		slog.String("grpc", a.GRPC.String()), slog.String("http", a.HTTP.String()), slog.String("health", a.Health.String()),
	}
	if a.Admin != nil {
		attrs = append(attrs, slog.String("admin", a.Admin.String()))
	}
	return attrs
}

// listeners are the sockets of a server; admin may be nil.
type listeners struct{ grpc, http, health, admin net.Listener }

func (l *listeners) open(c config.Listen) (err error) {
	type wanted struct {
		into *net.Listener
		key  string
		at   config.Address
	}
	all := []wanted{{&l.grpc, "grpc", c.GRPC}, {&l.http, "http", c.HTTP}, {&l.health, "health", c.Health}}
	if c.Admin != nil {
		all = append(all, wanted{&l.admin, "admin", c.Admin.Address})
	}
	for _, one := range all {
		if *one.into, err = listen(one.at); err != nil {
			l.close()
			return fmt.Errorf("listen.%s: %w", one.key, err)
		}
	}
	return nil
}

func (l *listeners) close() {
	for _, one := range []net.Listener{l.grpc, l.http, l.health, l.admin} {
		if one != nil {
			one.Close()
		}
	}
}

// listen opens one address. The socket file of a process that is gone is
// removed; one that somebody listens on is not.
func listen(at config.Address) (net.Listener, error) {
	if at.Network == "unix" {
		dialer := net.Dialer{Timeout: time.Second}
		if c, err := dialer.DialContext(context.Background(), "unix", at.Address); err == nil {
			c.Close()
			return nil, fmt.Errorf("somebody listens at %s already", at)
		}
		if info, err := os.Lstat(at.Address); err == nil && info.Mode()&os.ModeSocket != 0 {
			if err := os.Remove(at.Address); err != nil {
				return nil, err
			}
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), at.Network, at.Address)
	if err != nil || at.Network != "unix" {
		return l, err
	}
	if err := os.Chmod(at.Address, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// socketMode lets the owner and the group ask, whatever the umask: Envoy joins
// the group.
const socketMode = 0o660
