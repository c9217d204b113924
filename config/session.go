package config

import (
	"time"

	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/session"
)

// Bounds of a session's life. A cookie of more than 400 days is shortened by
// browsers (RFC 6265bis §5.5); no login should come near.
const (
	shortestSession = time.Second
	shortestIdle    = 2 * time.Second // the store is told of a session's use once a second at most
	longestSession  = 90 * 24 * time.Hour
)

func decodeSession(v value) Session {
	o, _ := v.object()
	absolute, idle, keys := o.get("absolute"), o.get("idle"), o.get("keys_file")
	s := Session{
		Absolute: absolute.duration(12*time.Hour, shortestSession, longestSession),
		Idle:     idle.duration(time.Hour, shortestIdle, longestSession),
		Keys:     keysFile(keys, session.ParseKeyring),
		Redis:    decodeRedis(o.get("redis")),
	}
	if s.Idle > s.Absolute && !idle.failed() && !absolute.failed() {
		if !idle.given() {
			s.Idle = s.Absolute // the default, where the whole is shorter
		} else {
			idle.fail("must not be longer than session.absolute, which is %s", short(s.Absolute))
		}
	}
	if s.Redis != nil && !keys.given() {
		keys.fail("is required with session.redis, so that all replicas open what one sealed")
	}
	outage := o.get("store_outage")
	s.Outage = outage.duration(5*time.Second, 0, time.Hour)
	if s.Redis != nil && s.Outage > s.Idle {
		outage.warn("is %s, longer than session.idle, which is %s: by then the store has forgotten the session, "+
			"so that who was let in has to sign in again", short(s.Outage), short(s.Idle))
	}
	s.Revalidation = decodeRevalidate(o.get("revalidate"), s.Absolute)
	o.close()
	return s
}

// Bounds of asking the provider again. Below the shortest, providers count it as
// abuse; an answer older than the longest is none.
const (
	shortestRevalidation = time.Second
	longestRevalidation  = 24 * time.Hour
)

func decodeRevalidate(v value, absolute time.Duration) session.Revalidation {
	o, _ := v.object()
	via, every, grace := o.get("via"), o.get("every"), o.get("grace")
	o.close()
	r := session.Revalidation{
		Via:   session.Via(via.choose("refresh", "refresh", "userinfo", "introspection", "off")),
		Every: every.duration(50*time.Minute, shortestRevalidation, longestRevalidation),
		Grace: grace.duration(5*time.Minute, 0, longestRevalidation),
	}
	if r.Via != "off" {
		if every.given() && r.Every > absolute {
			every.warn("is longer than session.absolute, which is %s: by then there is no session to ask about", short(absolute))
		}
		return r
	}
	for _, useless := range []value{every, grace} {
		if useless.given() && !useless.failed() {
			useless.fail("has no use with via: off, which never asks")
		}
	}
	return session.Revalidation{}
}

// Bounds of a token's life: below the one, clocks that differ decide; above the
// other, a session that was ended is believed for too long.
const (
	shortestToken = 10 * time.Second
	longestToken  = mint.MaxLifetime
)

func decodeMint(v value, s Session) Mint {
	o, _ := v.object()
	o.get("algorithm").chooseNow(string(mint.ES256), "EdDSA", "RS256", "HS256")
	keys := o.get("keys_file")
	m := Mint{
		Algorithm: mint.ES256,
		Keys: keysFile(keys, func(data []byte) (*mint.Keys, error) {
			return mint.LoadKeys(data, mint.ES256)
		}),
		Lifetime: o.get("lifetime").duration(mint.DefaultLifetime, shortestToken, longestToken),
	}
	if s.Redis != nil && !keys.given() {
		keys.fail("is required with session.redis: give a file, sharing generated keys through Redis is not supported yet")
	}
	o.close()
	return m
}
