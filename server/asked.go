package server

import (
	"context"
	"log/slog"

	"github.com/countersign/countersign/session"
)

// asked counts and logs what came of asking a provider about a session.
func (s *Server) asked(r session.Renewal) {
	s.metrics.Asked(r)
	attrs := []slog.Attr{
		slog.String("provider", r.Provider), slog.Any("session", r.Session), slog.String("subject", r.Subject),
		slog.String("result", string(r.Result)),
	}
	if r.Err != nil {
		attrs = append(attrs, slog.Any("error", r.Err))
	}
	s.log.LogAttrs(context.Background(), levelOf(r.Result), "provider asked", attrs...)
}

// levelOf is info where a session has ended, warn where nothing is known.
func levelOf(r session.RenewalResult) slog.Level {
	switch r {
	case session.Renewed:
		return slog.LevelDebug
	case session.Refused, session.OtherPerson, session.Gone:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
