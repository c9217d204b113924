package oidctest

import (
	"crypto/rand"
	"time"
)

// maxShelf bounds how much of a kind a provider keeps: a demonstration that is
// left running must not grow.
const maxShelf = 10_000

// shelf keeps values under random names until they end. The zero shelf is empty.
type shelf[V any] struct {
	kept map[string]*kept[V]
}

type kept[V any] struct {
	value V
	ends  time.Time
	spent bool // used once; kept so that a second use is noticed
}

// put keeps v until ends and returns its new name. A full shelf first loses
// what has ended, then what ends soonest.
func (s *shelf[V]) put(now, ends time.Time, v V) string {
	if s.kept == nil {
		s.kept = map[string]*kept[V]{}
	}
	if len(s.kept) >= maxShelf {
		s.makeRoom(now)
	}
	name := rand.Text()
	s.kept[name] = &kept[V]{value: v, ends: ends}
	return name
}

// find returns what name stands for, or nil. Exactly at its end it is gone.
func (s *shelf[V]) find(now time.Time, name string) *kept[V] {
	k := s.kept[name]
	if k == nil || !now.Before(k.ends) {
		return nil
	}
	return k
}

func (s *shelf[V]) drop(unwanted func(V) bool) {
	for name, k := range s.kept {
		if unwanted(k.value) {
			delete(s.kept, name)
		}
	}
}

func (s *shelf[V]) makeRoom(now time.Time) {
	var soonest string
	for name, k := range s.kept {
		if !now.Before(k.ends) {
			delete(s.kept, name)
		} else if soonest == "" || k.ends.Before(s.kept[soonest].ends) {
			soonest = name
		}
	}
	if len(s.kept) >= maxShelf {
		delete(s.kept, soonest)
	}
}
