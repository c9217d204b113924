package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"
)

// readiness says whether this replica should get requests, and how its
// dependencies are. A provider or a store that is away makes it degraded, not
// unready: people who are signed in go on, and public paths pass.
type readiness struct {
	dependencies []dependency
	draining     atomic.Bool
}

// dependency is something that Countersign needs and does not own. check
// returns nil when it answers.
type dependency struct {
	name  string
	check func(context.Context) error
}

// state is the body of /readyz.
type state struct {
	Status       string            `json:"status"` // ready, degraded or draining
	Dependencies map[string]string `json:"dependencies"`
}

// readyTimeout bounds one look at all dependencies.
const readyTimeout = time.Second

func (r *readiness) state(ctx context.Context) state {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	s := state{Status: "ready", Dependencies: map[string]string{}}
	for _, d := range r.dependencies {
		s.Dependencies[d.name] = "ok"
		if err := d.check(ctx); err != nil {
			s.Dependencies[d.name] = err.Error()
			s.Status = "degraded"
		}
	}
	if r.draining.Load() {
		s.Status = "draining"
	}
	return s
}

// ServeHTTP answers /readyz: 503 only while draining.
func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s := r.state(req.Context())
	w.Header().Set("Content-Type", "application/json")
	if s.Status == "draining" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(s) //nolint:errcheck // the prober is gone
}
