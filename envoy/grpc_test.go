package envoy_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
)

// dial serves s in memory and connects to it.
func dial(tb testing.TB, s *envoy.Server, options ...grpc.ServerOption) (*grpc.ClientConn, *envoy.Health) {
	tb.Helper()
	g, health := envoy.NewServer(s, options...)
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:memory",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		g.Stop()
		if err := <-served; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	return conn, health
}

func TestOverTheWire(t *testing.T) {
	conn, _ := dial(t, serving(always(signedIn())))
	out, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), browser(raw))
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, out)
	if !allows(out) || len(out.GetOkResponse().GetHeaders()) != 2 {
		t.Errorf("Check = %v", out)
	}
}

// Where a size limit is met, the answer is a gRPC error, which obeys
// failure_mode_allow; so anything that Envoy can send has to fit.
func TestLargeMessage(t *testing.T) {
	s := serving(func(_ context.Context, req authz.Request) authz.Decision {
		if req.TooLarge() {
			return authz.Decision{Reason: authz.TooLarge, Status: 431}
		}
		return authz.Decision{Outcome: authz.Allow}
	})
	conn, _ := dial(t, s)
	out, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), raw("/", "x-a: "+strings.Repeat("a", 5<<20)))
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, out)
	if got := out.GetDeniedResponse().GetStatus().GetCode(); got != 431 {
		t.Errorf("status %d, want 431", got)
	}
}

// A message that is no CheckRequest, or holds a string that is not UTF-8, is
// answered, not failed.
func TestUndecodable(t *testing.T) {
	good, err := proto.Marshal(page("/caf_"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		wire []byte
	}{
		{"no_message", []byte{0xff, 0xff, 0xff}},
		{"cut_short", good[:len(good)-1]},
		{"path_not_utf8", []byte(strings.ReplaceAll(string(good), "/caf_", "/caf\xe9"))},
	}
	s := serving(always(signedIn())) // which a request that says nothing must not get
	conn, _ := dial(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := new(authv3.CheckResponse)
			err := conn.Invoke(t.Context(), authv3.Authorization_Check_FullMethodName, page("/"), out, grpc.ForceCodec(sending(tt.wire)))
			if err != nil {
				t.Fatalf("Check failed, which obeys failure_mode_allow: %v", err)
			}
			mustHold(t, out)
			isFailure(t, out, authz.Malformed, 400)
		})
	}
}

// sending is a codec that sends its own bytes and reads protobuf.
type sending []byte

func (s sending) Marshal(any) ([]byte, error) { return s, nil }
func (s sending) Unmarshal(wire []byte, out any) error {
	m, ok := out.(proto.Message)
	if !ok {
		return errors.New("no message")
	}
	return proto.Unmarshal(wire, m)
}
func (s sending) Name() string { return "proto" }

// A panic outside of Check stays with its call, too.
func TestPanicOfAnInterceptor(t *testing.T) {
	clumsy := func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { panic("clumsy") }
	conn, _ := dial(t, serving(always(signedIn())), grpc.ChainUnaryInterceptor(clumsy))
	out, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), page("/"))
	if err != nil {
		t.Fatalf("Check failed, which obeys failure_mode_allow: %v", err)
	}
	isFailure(t, out, authz.Internal, 500)
	if err := conn.Invoke(t.Context(), healthv1.Health_Check_FullMethodName, &emptypb.Empty{}, &emptypb.Empty{}); err == nil {
		t.Error("a panic before the health service went unnoticed")
	}
}

func TestHealth(t *testing.T) {
	conn, health := dial(t, serving(always(signedIn())))
	client := healthv1.NewHealthClient(conn)
	says := func(want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, service := range []string{"", envoy.ServiceName} {
			out, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
			if err != nil || out.Status != want {
				t.Errorf("%q is %v (%v), want %v", service, out.GetStatus(), err, want)
			}
		}
	}
	says(healthv1.HealthCheckResponse_NOT_SERVING)
	health.Set(true)
	says(healthv1.HealthCheckResponse_SERVING)
	health.Set(false)
	says(healthv1.HealthCheckResponse_NOT_SERVING)
	health.Stop()
	health.Set(true)
	says(healthv1.HealthCheckResponse_NOT_SERVING)
}

func BenchmarkOverTheWire(b *testing.B) {
	conn, _ := dial(b, &envoy.Server{Checker: always(signedIn())})
	client, in := authv3.NewAuthorizationClient(conn), browser(raw)
	for _, bb := range []struct {
		name string
		wait time.Duration
	}{{"without_a_deadline", 0}, {"with_a_deadline", time.Minute}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ctx, cancel := context.Background(), func() {}
					if bb.wait > 0 {
						ctx, cancel = context.WithTimeout(ctx, bb.wait)
					}
					if _, err := client.Check(ctx, in); err != nil {
						b.Error(err)
					}
					cancel()
				}
			})
		})
	}
}
