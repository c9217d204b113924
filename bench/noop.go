package main

import (
	"context"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// allowAll is the least that an ext_authz server can do: it looks at nothing and
// answers OK with nothing.
type allowAll struct {
	authv3.UnimplementedAuthorizationServer
}

// Check implements authv3.AuthorizationServer.
func (allowAll) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{Status: &rpcstatus.Status{}}, nil
}

// startNoop serves allowAll over the transport of envoy.NewServer, without what
// that puts around a handler.
func startNoop() (*running, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(16<<20),
		grpc.MaxConcurrentStreams(10_000),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: 30 * time.Minute, MaxConnectionAgeGrace: 30 * time.Second,
			Time: time.Minute, Timeout: 20 * time.Second,
		}),
		grpc.NumStreamWorkers(128),
		grpc.WaitForHandlers(true),
	)
	authv3.RegisterAuthorizationServer(g, allowAll{})
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(l) }()
	stop := func() error {
		g.Stop()
		return <-ended
	}
	return &running{where{GRPC: l.Addr().String()}, stop}, nil
}
