package envoy

import (
	"context"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/countersign/countersign/authz"
)

// ServiceName is the gRPC service of ext_authz, also to a health check.
const ServiceName = "envoy.service.auth.v3.Authorization"

const (
	// maxMessage is more than Envoy can put into a CheckRequest without a body:
	// its max_request_headers_kb ends at 8 MiB. A message over it is a gRPC
	// error, which obeys failure_mode_allow; one below it gets an answer.
	maxMessage = 16 << 20

	maxStreams = 10_000 // at once, per connection

	connectionAge   = 30 * time.Minute // lets new replicas behind an L4 balancer have their share
	connectionGrace = 30 * time.Second
)

// streamWorkers is how many goroutines answer call after call, so that their
// stacks need not grow each time; what comes beyond them gets one of its own. With
// 32 of them a check costs 8 % less CPU, with 128 nothing less: each collection
// shrinks all the stacks, and every one grows again.
const streamWorkers = 32

// NewServer returns a gRPC server on which s answers, beside the gRPC health
// service. Health begins as NOT_SERVING. Options come after those of the house
// and override them; credentials are among what they must bring, if any. An
// interceptor sees that there is a check, but neither the CheckRequest nor the
// CheckResponse: see [Server.Check] for both.
func NewServer(s *Server, options ...grpc.ServerOption) (*grpc.Server, *Health) {
	house := []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 10 * time.Second, PermitWithoutStream: true, // Envoy pings idle connections
		}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace,
			Time: time.Minute, Timeout: 20 * time.Second,
		}),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ChainUnaryInterceptor(s.recoverUnary),
		grpc.ChainStreamInterceptor(s.recoverStream),
	}
	g := grpc.NewServer(append(house, options...)...)
	g.RegisterService(s.service(), s)
	h := &Health{health.NewServer()}
	h.Set(false)
	healthv1.RegisterHealthServer(g, h.server)
	return g, h
}

// service is Authorization as it is generated, except that it reads a [message]
// and writes an allow as [encoded].
func (s *Server) service() *grpc.ServiceDesc {
	d := authv3.Authorization_ServiceDesc
	d.Methods = []grpc.MethodDesc{{MethodName: "Check", Handler: s.handleCheck}}
	return &d
}

func (s *Server) handleCheck(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order of gRPC
	in := new(message)
	if err := decode(in); err != nil {
		return nil, err
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: authv3.Authorization_Check_FullMethodName}
	return intercept(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
		req, err := in.request()
		d := s.check(ctx, req, err)
		if d.Outcome == authz.Allow {
			if out, err := encodeAllowed(d); err == nil {
				return out, nil
			}
		}
		return s.write(ctx, req, d), nil
	})
}

// codec is that of protobuf, but for a check: a message that cannot be decoded
// becomes one that says nothing about a request. grpc-go would answer it with a
// gRPC error before any handler is asked, and where failure_mode_allow is set
// the request would go on. A path with a byte that is not UTF-8 is enough.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if out, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(out)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, into any) error {
	m, ok := into.(*message)
	if !ok {
		return c.CodecV2.Unmarshal(data, into)
	}
	if m.readCheck(text(data)) {
		return nil
	}
	*m = message{}
	in := new(authv3.CheckRequest)
	if c.CodecV2.Unmarshal(data, in) == nil {
		m.take(in)
	}
	return nil // the message that is left is refused
}

// recoverUnary keeps a panic of another interceptor or service to its call. A
// check is answered even then.
func (s *Server) recoverUnary(ctx context.Context, in any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (out any, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, status.Error(codes.Internal, "internal error")
			if d := s.recovered(ctx, v); info.FullMethod == authv3.Authorization_Check_FullMethodName {
				out, err = s.write(ctx, authz.Request{}, d), nil
			}
		}
	}()
	return handle(ctx, in)
}

func (s *Server) recoverStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.recovered(stream.Context(), v)
			err = status.Error(codes.Internal, "internal error")
		}
	}()
	return handle(srv, stream)
}

// Health is what grpc.health.v1 says, about "" and about [ServiceName].
type Health struct{ server *health.Server }

// Set says SERVING or NOT_SERVING from now on.
func (h *Health) Set(serving bool) {
	answer := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		answer = healthv1.HealthCheckResponse_SERVING
	}
	h.server.SetServingStatus("", answer)
	h.server.SetServingStatus(ServiceName, answer)
}

// Stop says NOT_SERVING for good, whatever is set afterwards.
func (h *Health) Stop() { h.server.Shutdown() }
