package redis

// ACL is the least that a user of Redis must be allowed to keep sessions under a
// prefix, as ACL SETUSER takes it; an empty prefix means the default one. Each
// command is in Redis 6.2. Only databases other than 0 need select, and only a
// Cluster needs asking and cluster|slots.
func ACL(prefix string) string {
	prefix = escape(orElse(prefix, defaultPrefix))
	return "resetkeys ~" + prefix + "* resetchannels &" + prefix + "changes* -@all " + commands
}

const commands = "+hello +auth +select +ping +time +asking +cluster|slots " +
	"+eval +evalsha +exists +get +set +unlink +pexpireat +pttl +hget +hmget +hset +scan " +
	"+zadd +zrem +zrange +zrevrange +zremrangebyscore +publish +subscribe"
