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
	longestSession  = 90 * 24 * time.Hour
)

func decodeSession(v value) Session {
	o, _ := v.object()
	absolute, idle, keys := o.get("absolute"), o.get("idle"), o.get("keys_file")
	s := Session{
		Absolute: absolute.duration(12*time.Hour, shortestSession, longestSession),
		Idle:     idle.duration(time.Hour, shortestSession, longestSession),
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
	if outage.duration(0, 0, time.Hour) != 0 {
		outage.fail("needs the session cache, which is not there yet: write 0s or leave it out")
	}
	decodeRevalidate(o.get("revalidate"))
	o.close()
	return s
}

// decodeRevalidate accepts what says that nothing is asked again.
func decodeRevalidate(v value) {
	o, ok := v.object()
	via := o.get("via")
	if ok && via.require() {
		via.chooseNow("off", "refresh", "userinfo", "introspection")
	}
	o.close()
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
