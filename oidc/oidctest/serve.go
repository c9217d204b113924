package oidctest

import (
	"context"
	"net"
	"net/http/httptest"
)

// TB is what [Serve] needs of a testing.TB, named here so that a demonstration
// does not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Serve runs a provider on a free port of the loopback interface until the test
// ends. c.Issuer is empty, or only the path of the issuer, such as "/realm".
func Serve(t TB, c Config) *Provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	c.Issuer = "http://" + server.Listener.Addr().String() + c.Issuer
	p, err := New(c)
	if err != nil {
		_ = server.Listener.Close()
		t.Fatalf("oidctest.New: %v", err)
		return nil
	}
	// Delays end with their requests, and all requests end with the server.
	ctx, cancel := context.WithCancel(context.Background())
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Config.Handler = p
	server.Start()
	t.Cleanup(func() { cancel(); server.Close() })
	return p
}
