package server

import (
	"time"

	"github.com/countersign/countersign/session"
)

// Vault is what keeps the sessions of s, for tests that need some without a login.
func (s *Server) Vault() *session.Vault { return s.vault }

// Hurry shortens the time that gRPC calls, and all requests, have when s drains.
func (s *Server) Hurry(grpc, requests time.Duration) {
	s.patience.grpc, s.patience.requests = grpc, requests
}

// Administers reports whether s has anything that answers administrators.
func (s *Server) Administers() bool { return s.admin != nil }
