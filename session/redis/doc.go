// Package redis is the [session.Store] on Redis, 6.2 or later, or Valkey: one
// server, a primary that sentinels watch over, or a Cluster. See [Options].
//
// Each key has the hash tag of what it belongs to, so that a Cluster keeps
// together what one script reads and writes:
//
//	{prefix}{<id>}:hot        hash: the sealed hot and display parts, version, times, indexes
//	{prefix}{<id>}:tokens     the other sealed part
//	{prefix}{<id>}:lock       who may ask the provider; while it pauses, nobody
//	{prefix}{<index>}:index   sorted set of the sessions listed there, by absolute end
//	{prefix}{<index>}:buried  when it was buried, by the clock of its server
//	{prefix}{<claim>}:claim   a login attempt, claimed
//	{prefix}{<claim>}:result  what came of it
//
// Every key expires by itself. What writes more than one key of a session, or
// depends on what is there, is one script, which also tells of the change on the
// channel {prefix}changes, at the server where it makes it. [ACL] is what a user
// of Redis must be allowed.
//
// An operation takes 250 ms at most by default, whether or not Redis answers, and
// much less when it has not answered for a while. What only reads, or may be done
// twice, is tried a second time on a new connection; nothing else is.
//
// Replication is asynchronous: what was acknowledged just before a primary fails
// may be forgotten by the one that takes over. A session that was deleted then is
// back until it is deleted again or ends, and one that was made then is gone.
// Both are limited by min-replicas-to-write in the configuration of Redis. In a
// Cluster the clocks of the servers must agree, since a login is compared with a
// sign-out that another server has timed; and a [Store.List] may miss a session
// whose slot moves meanwhile.
package redis
