package redis

import (
	"testing"
	"testing/synctest"
	"time"
)

// fail lets n calls fail, as far as they are made.
func fail(b *breaker, n int) {
	for range n {
		if done, ok := b.begin(); ok {
			done(sick)
		}
	}
}

// The breaker is tested from inside, because its clock is: from outside it shows
// only in how long a frozen Redis is waited for.
func TestBreaker(t *testing.T) {
	for _, tt := range []struct {
		name string
		test func(b *breaker)
		want bool // whether a call may be made afterwards
	}{
		{"nothing_happened", func(*breaker) {}, true},
		{"four_failures", func(b *breaker) { fail(b, 4) }, true},
		{"five_failures", func(b *breaker) { fail(b, 5) }, false},
		{"an_answer_among_the_failures", func(b *breaker) {
			fail(b, 4)
			done, _ := b.begin()
			done(healthy)
			fail(b, 4)
		}, true},
		{"callers_in_a_hurry_prove_nothing", func(b *breaker) {
			for range 50 {
				done, _ := b.begin()
				done(unknown)
			}
		}, true},
		{"failures_over_more_than_a_second", func(b *breaker) {
			for range 4 {
				fail(b, 1)
				time.Sleep(300 * time.Millisecond)
			}
			fail(b, 1)
		}, true},
		{"the_pause_is_not_over", func(b *breaker) {
			fail(b, 5)
			time.Sleep(failPause - 1)
		}, false},
		{"the_pause_is_over_exactly_now", func(b *breaker) {
			fail(b, 5)
			time.Sleep(failPause)
		}, true},
		{"one_tries_after_the_pause_and_others_do_not", func(b *breaker) {
			fail(b, 5)
			time.Sleep(failPause)
			b.begin()
		}, false},
		{"the_one_that_tried_failed", func(b *breaker) {
			fail(b, 5)
			time.Sleep(failPause)
			fail(b, 1)
		}, false},
		{"the_one_that_tried_was_in_a_hurry", func(b *breaker) {
			fail(b, 5)
			time.Sleep(failPause)
			done, _ := b.begin()
			done(unknown)
		}, true},
		{"the_one_that_tried_was_answered", func(b *breaker) {
			fail(b, 5)
			time.Sleep(failPause)
			done, _ := b.begin()
			done(healthy)
			fail(b, 4)
		}, true},
		{"a_late_failure_does_not_let_a_second_one_try", func(b *breaker) {
			late, _ := b.begin()
			fail(b, 5)
			time.Sleep(failPause)
			b.begin()
			late(sick)
			time.Sleep(failPause)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b breaker
				tt.test(&b)
				if _, ok := b.begin(); ok != tt.want {
					t.Errorf("begin = %v, want %v", ok, tt.want)
				}
			})
		})
	}
}
