package session_test

import (
	"testing"

	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/sessiontest"
)

func TestMemory(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) session.Store { return session.NewMemory() })
}
