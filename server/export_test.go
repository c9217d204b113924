package server

import "github.com/countersign/countersign/session"

// Vault is what keeps the sessions of s, for tests that need some without a login.
func (s *Server) Vault() *session.Vault { return s.vault }
