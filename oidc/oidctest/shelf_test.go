package oidctest

import (
	"testing"
	"time"
)

// A shelf is inside: what it must not do is grow, which nobody outside sees.
func TestAFullShelfLosesWhatEndsSoonest(t *testing.T) {
	now := time.Now()
	var s shelf[int]
	over := s.put(now, now, 0)
	soon := s.put(now, now.Add(time.Minute), 1)
	late := s.put(now, now.Add(time.Hour), 2)
	for len(s.kept) < maxShelf {
		s.put(now, now.Add(time.Hour), 3)
	}
	s.put(now, now.Add(time.Hour), 4)
	if s.kept[over] != nil || s.find(now, soon) == nil {
		t.Error("what had ended is still there, or what had not is gone")
	}
	s.put(now, now.Add(time.Hour), 5)
	if s.find(now, soon) != nil || s.find(now, late) == nil || len(s.kept) != maxShelf {
		t.Errorf("soon is there: %t, late: %t, %d kept", s.find(now, soon) != nil, s.find(now, late) != nil, len(s.kept))
	}
}
