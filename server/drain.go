package server

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// drainTimeout bounds how long requests that are under way may take once the
// server stops taking new ones.
const drainTimeout = 25 * time.Second

func (s *Server) drain(ctx context.Context) error {
	s.log.Info("draining", slog.Duration("delay", s.drainDelay))
	s.ready.draining.Store(true)
	s.grpcHealth.Stop()
	time.Sleep(s.drainDelay)

	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	s.stopGRPC(ctx)
	// A session whose provider is being asked comes last: a refresh token that was
	// replaced there, and that nobody keeps here, signs its owner out.
	err := errors.Join(s.http.Shutdown(ctx), s.checks.Wait(ctx), s.authorizer.Wait(ctx), s.admin.Shutdown(ctx),
		s.vault.Wait(ctx), s.health.Shutdown(ctx))
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests under way were cut off", slog.Duration("after", drainTimeout), slog.Any("error", err))
		return errors.Join(s.http.Close(), s.admin.Close(), s.health.Close())
	}
	s.log.Info("stopped")
	return err
}

// stopGRPC lets checks under way end, as long as ctx allows.
func (s *Server) stopGRPC(ctx context.Context) {
	stopped := context.AfterFunc(ctx, s.grpc.Stop)
	defer stopped()
	s.grpc.GracefulStop()
}
