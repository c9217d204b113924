package redis

// Times are in Unix milliseconds. A key with PEXPIREAT is there up to and
// including its millisecond, hence one less.
//
// In a Cluster, a slot that moves refuses a script that names several keys as
// long as not all of them are where it asks. So createScript names one: none of
// its keys is there. The others write only once all are known to be in one place.
var (
	// KEYS: hot. ARGV: tokens key, hot, tokens, display, indexes, seen, ends, idle,
	// end of both. Returns the indexes of one that exists.
	createScript = newScript(`
		local now = redis.call('TIME')
		if tonumber(ARGV[9]) <= now[1] * 1000 + math.floor(now[2] / 1000) then return {'not found'} end
		if redis.call('EXISTS', KEYS[1]) == 1 then return {'exists', redis.call('HGET', KEYS[1], 'indexes') or ''} end
		redis.call('SET', ARGV[1], ARGV[3])
		redis.call('HSET', KEYS[1], 'version', '1', 'sealed', ARGV[2], 'display', ARGV[4], 'indexes', ARGV[5],
			'seen', ARGV[6], 'ends', ARGV[7], 'idle', ARGV[8])
		local at = string.format('%.0f', ARGV[9] - 1)
		redis.call('PEXPIREAT', KEYS[1], at)
		redis.call('PEXPIREAT', ARGV[1], at)
		return {'done'}`)

	// KEYS: hot, tokens. ARGV: hot, tokens, display, indexes, seen, ends, idle, end
	// of both, version, next version, channel, message. Returns the old indexes. It
	// may have been seen later than ARGV says, by a touch meanwhile.
	replaceScript = newScript(`
		local old = redis.call('HMGET', KEYS[1], 'version', 'indexes', 'seen')
		if not old[1] then return {'not found'} end
		local seen, last = ARGV[5], ARGV[8]
		if old[3] and tonumber(old[3]) > tonumber(seen) then
			seen, last = old[3], math.min(old[3] + ARGV[7], ARGV[6])
		end
		local now = redis.call('TIME')
		if tonumber(last) <= now[1] * 1000 + math.floor(now[2] / 1000) then return {'not found'} end
		if old[1] ~= ARGV[9] then return {'conflict'} end
		local at = string.format('%.0f', last - 1)
		redis.call('HSET', KEYS[1], 'version', ARGV[10], 'sealed', ARGV[1], 'display', ARGV[3], 'indexes', ARGV[4],
			'seen', seen, 'ends', ARGV[6], 'idle', ARGV[7])
		redis.call('SET', KEYS[2], ARGV[2])
		redis.call('PEXPIREAT', KEYS[1], at)
		redis.call('PEXPIREAT', KEYS[2], at)
		redis.call('PUBLISH', ARGV[11], ARGV[12])
		return {'done', old[2] or ''}`)

	// KEYS: hot, tokens
	loadWholeScript = newScript(`
		local r = redis.call('HMGET', KEYS[1], 'version', 'sealed', 'seen', 'ends', 'idle', 'display')
		r[7] = redis.call('GET', KEYS[2])
		return r`)

	// KEYS: hot, tokens. ARGV: channel, message. Returns whether there was one, and
	// its indexes.
	deleteScript = newScript(`
		local indexes = redis.call('HGET', KEYS[1], 'indexes') or ''
		local n = redis.call('EXISTS', KEYS[1])
		redis.call('UNLINK', KEYS[1], KEYS[2])
		redis.call('PUBLISH', ARGV[1], ARGV[2])
		return {n, indexes}`)

	// KEYS: hot, tokens. ARGV: seen. Returns whether there is one.
	touchScript = newScript(`
		local r = redis.call('HMGET', KEYS[1], 'seen', 'ends', 'idle')
		if not (r[1] and r[2] and r[3]) then return 0 end
		if tonumber(ARGV[1]) <= tonumber(r[1]) then return 1 end
		redis.call('HSET', KEYS[1], 'seen', ARGV[1])
		local at = string.format('%.0f', math.min(ARGV[1] + r[3], r[2]) - 1)
		redis.call('PEXPIREAT', KEYS[1], at)
		redis.call('PEXPIREAT', KEYS[2], at)
		return 1`)

	// KEYS: index. ARGV: ID, absolute end. The list lasts as long as its last member.
	listScript = newScript(`
		local now = redis.call('TIME')
		now = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
		redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
		if tonumber(ARGV[2]) <= tonumber(now) then return 0 end
		redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
		local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
		redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last[2]))
		return 1`)

	// KEYS: buried. ARGV: life. An earlier burial may last longer than this one.
	buryScript = newScript(`
		local now = redis.call('TIME')
		now = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
		local life = math.max(tonumber(ARGV[1]), redis.call('PTTL', KEYS[1]))
		redis.call('SET', KEYS[1], now, 'PX', string.format('%.0f', life))
		return 1`)

	// KEYS: lock. ARGV: owner, life
	lockScript = newScript(`
		local owner = redis.call('GET', KEYS[1])
		if owner and owner ~= ARGV[1] then return 0 end
		redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
		return 1`)

	// KEYS: lock. ARGV: owner, pause. The pause is nobody's, so that the owner is
	// held to it, too.
	unlockScript = newScript(`
		if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
		if tonumber(ARGV[2]) > 0 then
			redis.call('SET', KEYS[1], '', 'PX', ARGV[2])
		else
			redis.call('UNLINK', KEYS[1])
		end
		return 1`)
)
