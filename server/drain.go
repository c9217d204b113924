package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// patience is how long the parts of a drain may take.
type patience struct {
	grpc     time.Duration // gRPC calls; a client that watches our health never ends its own
	requests time.Duration // all requests, gRPC among them
	renewals time.Duration // what was asked of providers, whatever the requests took
	health   time.Duration
}

var standardPatience = patience{
	grpc: 10 * time.Second, requests: 25 * time.Second, renewals: 30 * time.Second, health: time.Second,
}

func (s *Server) drain(ctx context.Context) error {
	s.log.Info("draining", slog.Duration("delay", s.drainDelay))
	s.ready.draining.Store(true)
	s.grpcHealth.Stop()
	time.Sleep(s.drainDelay)

	requests := s.endRequests(ctx)
	renewals := s.endRenewals(ctx)
	health := s.endHealth(ctx)
	s.log.Info("stopped")
	return errors.Join(requests, renewals, health)
}

// endRequests takes no new requests and lets those under way end, with what they
// began, as long as they may take.
func (s *Server) endRequests(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience.requests)
	defer cancel()
	served := s.stopServing(ctx)
	checks := s.checks.Wait(ctx)
	logins := s.authorizer.Wait(ctx)
	err := errors.Join(served, checks, logins)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	s.log.Warn("requests under way were cut off", slog.Duration("after", s.patience.requests), slog.Any("error", err))
	var closed []error
	for _, server := range s.serving() {
		closed = append(closed, server.Close())
	}
	return errors.Join(closed...)
}

// stopServing shuts all listeners for requests at once: none takes any while
// another one is waited for.
func (s *Server) stopServing(ctx context.Context) error {
	servers := s.serving()
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	wg.Go(func() { s.stopGRPC(ctx) })
	for i, server := range servers {
		wg.Go(func() { errs[i] = server.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// serving returns the servers that take requests over HTTP.
func (s *Server) serving() []*http.Server {
	if s.admin == nil {
		return []*http.Server{s.http}
	}
	return []*http.Server{s.http, s.admin}
}

// stopGRPC lets calls under way end, as long as they may take.
func (s *Server) stopGRPC(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.patience.grpc)
	defer cancel()
	stopped := context.AfterFunc(ctx, s.grpc.Stop)
	defer stopped()
	s.grpc.GracefulStop()
}

// endRenewals waits for the sessions whose providers are being asked. Its time is
// its own: a refresh token that was replaced there, and that nobody keeps here,
// signs its owner out.
func (s *Server) endRenewals(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience.renewals)
	defer cancel()
	err := s.vault.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	s.log.Warn("renewals under way were cut off", slog.Duration("after", s.patience.renewals))
	return nil
}

// endHealth comes last, so that a server that drains can be watched.
func (s *Server) endHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience.health)
	defer cancel()
	err := s.health.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return s.health.Close()
}
