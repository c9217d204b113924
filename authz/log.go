package authz

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Logged writes one line per decision of Next: at debug for what passes, at
// info and above for the rest. No query, token or cookie is in it.
type Logged struct {
	Next Checker
	Log  *slog.Logger
}

// maxLogged bounds what of a request gets into a line.
const maxLogged = 512

// Check implements Checker.
func (l Logged) Check(ctx context.Context, req Request) Decision {
	began := time.Now()
	d := l.Next.Check(ctx, req)
	if level := d.level(); l.Log.Enabled(ctx, level) {
		l.write(ctx, level, &req, &d, time.Since(began))
	}
	return d
}

// write is apart from Check, on whose stack a whole check takes place.
//
//go:noinline
func (l Logged) write(ctx context.Context, level slog.Level, req *Request, d *Decision, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("decision", d.ID),
		slog.String("app", d.App),
		slog.String("rule", d.Rule),
		slog.String("reason", string(d.Reason)),
		slog.Int("status", d.Status),
		slog.String("method", clip(req.Method)),
		slog.String("host", clip(req.Host)),
		slog.String("path", clip(req.Path)),
		slog.String("subject", d.Subject),
		slog.Any("session", d.Session),
		slog.Duration("duration", took),
	}
	if d.Cause != nil {
		attrs = append(attrs, slog.String("cause", d.Cause.Error()))
	}
	l.Log.LogAttrs(ctx, level, "decided", attrs...)
}

func (d Decision) level() slog.Level {
	switch {
	case d.Outcome == Allow:
		return slog.LevelDebug
	case d.Reason == Internal:
		return slog.LevelError
	case d.Outcome == Fail:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// clip bounds s and keeps it valid UTF-8.
func clip(s string) string {
	if len(s) > maxLogged {
		s = s[:maxLogged] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
