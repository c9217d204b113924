package redis

import (
	"encoding/hex"
	"time"

	"github.com/countersign/countersign/session"
)

// key returns a key whose hash tag is the name of what it belongs to.
func (s *Store) key(name [32]byte, part string) string {
	return s.prefix + "{" + hex.EncodeToString(name[:]) + "}:" + part
}

func (s *Store) hotKey(id session.ID) string      { return s.key(id, "hot") }
func (s *Store) tokensKey(id session.ID) string   { return s.key(id, "tokens") }
func (s *Store) lockKey(id session.ID) string     { return s.key(id, "lock") }
func (s *Store) indexKey(i session.Index) string  { return s.key(i, "index") }
func (s *Store) buriedKey(i session.Index) string { return s.key(i, "buried") }
func (s *Store) claimKey(c session.Claim) string  { return s.key(c, "claim") }
func (s *Store) resultKey(c session.Claim) string { return s.key(c, "result") }
func (s *Store) keys(id session.ID) []string      { return []string{s.hotKey(id), s.tokensKey(id)} }

// millis is a life as Redis takes it, which is never none.
func millis(d time.Duration) int64 { return max(1, d.Milliseconds()) }
