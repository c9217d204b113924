package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	connections  = 4 // an Envoy has one per worker
	perConn      = 4 // checks under way on each
	checkTimeout = 5 * time.Second

	assertion = "x-countersign-assertion"
)

// load asks one server, with each of its requests in turn.
type load struct {
	conns    []*grpc.ClientConn
	requests []*authv3.CheckRequest
	asserted bool // each answer must carry a token
}

// newLoad asks as the owners of cookies; with none, as nobody.
func newLoad(at where, cookies []string) (*load, error) {
	l := &load{asserted: len(cookies) > 0}
	for _, c := range cookies {
		l.requests = append(l.requests, checkRequest(c))
	}
	if len(cookies) == 0 {
		l.requests = append(l.requests, checkRequest(""))
	}
	for range connections {
		c, err := grpc.NewClient("passthrough:///"+at.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.conns = append(l.conns, c)
	}
	return l, nil
}

func (l *load) close() error {
	var errs []error
	for _, c := range l.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// run sends n requests as fast as the server answers, and returns how long each
// took, the shortest first. Its error is the first answer that is wrong.
func (l *load) run(ctx context.Context, n int) ([]time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(n))
	took := make([][]time.Duration, connections*perConn)
	group, ctx := errgroup.WithContext(ctx)
	for i := range took {
		took[i] = make([]time.Duration, 0, n/len(took)+1)
		group.Go(func() error {
			client := authv3.NewAuthorizationClient(l.conns[i%connections])
			for {
				next := left.Add(-1)
				if next < 0 {
					return nil
				}
				began := time.Now()
				if err := l.check(ctx, client, l.requests[int(next)%len(l.requests)]); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	err := group.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	return all, err
}

func (l *load) check(ctx context.Context, client authv3.AuthorizationClient, request *authv3.CheckRequest) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	out, err := client.Check(ctx, request)
	if err != nil {
		return err
	}
	return l.verify(out)
}

// verify says what is wrong with an answer.
func (l *load) verify(out *authv3.CheckResponse) error {
	if code := codes.Code(out.GetStatus().GetCode()); code != codes.OK || out.GetDeniedResponse() != nil {
		return fmt.Errorf("a check was answered %s %d, want OK", code, out.GetDeniedResponse().GetStatus().GetCode())
	}
	if !l.asserted {
		return nil
	}
	for _, h := range out.GetOkResponse().GetHeaders() {
		if h.GetHeader().GetKey() == assertion && strings.Count(h.GetHeader().GetValue(), ".") == 2 {
			return nil
		}
	}
	return errors.New("a check was answered OK without " + assertion)
}

// checkRequest is what a browser sends through an Envoy with encode_raw_headers.
func checkRequest(cookie string) *authv3.CheckRequest {
	if cookie == "" {
		cookie = "__Host-countersign.app=" + strings.Repeat("A", 43) // the no-op gets as many bytes
	}
	const path = "/orders/17?page=2&sort=newest"
	lines := []string{
		":authority", host, ":method", "GET", ":path", path, ":scheme", "https",
		"sec-ch-ua", `"Chromium";v="142", "Google Chrome";v="142", "Not=A?Brand";v="24"`,
		"sec-ch-ua-mobile", "?0", "sec-ch-ua-platform", `"Linux"`, "upgrade-insecure-requests", "1",
		"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
		"sec-fetch-site", "same-origin", "sec-fetch-mode", "navigate", "sec-fetch-user", "?1", "sec-fetch-dest", "document",
		"referer", "https://" + host + "/orders", "accept-encoding", "gzip, deflate, br, zstd",
		"accept-language", "en-GB,en;q=0.9,fr;q=0.8", "cache-control", "max-age=0", "priority", "u=0, i",
		"cookie", "_ga=GA1.1.1207346195.1763811204; _ga_7Q2XK9M1TL=GS2.1.s1763811204$o12$g1$t1763811377$j42; theme=dark; " +
			cookie + "; lang=en; sidebar=open; tz=Europe%2FParis",
		"x-forwarded-for", "192.0.2.7", "x-forwarded-proto", "https", "x-envoy-internal", "true",
		"x-request-id", "0b9e3c1e-2f4d-4a55-9a53-0d1a7c8f6f11",
		"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	headers := new(corev3.HeaderMap)
	for pair := range slices.Chunk(lines, 2) {
		headers.Headers = append(headers.Headers, &corev3.HeaderValue{Key: pair[0], RawValue: []byte(pair[1])})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:      peer("192.0.2.7", 51234),
		Destination: peer("10.0.3.4", 8443),
		Request: &authv3.AttributeContext_Request{
			Time: &timestamppb.Timestamp{Seconds: 1_795_000_000, Nanos: 123_456_000},
			Http: &authv3.AttributeContext_HttpRequest{
				Id: "12947612387461293874", Method: "GET", HeaderMap: headers, Path: path, Host: host,
				Scheme: "https", Size: -1, Protocol: "HTTP/2",
			},
		},
		MetadataContext: &corev3.Metadata{}, RouteMetadataContext: &corev3.Metadata{},
	}}
}

func peer(ip string, port uint32) *authv3.AttributeContext_Peer {
	return &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
		SocketAddress: &corev3.SocketAddress{Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}},
	}}}
}
