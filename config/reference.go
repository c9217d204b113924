package config

//go:generate go test -run TestReference -update

// reference is every key of the file, in the order of docs/configuration.md,
// which is written from it. What a rule shares with its app is told once, there.
var reference = []key{
	{"listen.grpc", "address", "`127.0.0.1:9191`", "Where Envoy asks: `host:port`, `:port` or `unix:///path`. An address that other machines can reach needs the map below, since whoever connects reads cookies and tokens."},
	{"listen.grpc.address", "address", "", "The same, in a map."},
	{"listen.grpc.plaintext", "true or false", "`false`", "Says that the address may be reached from other machines without TLS, because the network keeps others out."},
	{"listen.http", "address", "`127.0.0.1:4180`", "Login endpoints and public keys. Any address."},
	{"listen.http.address", "address", "", "The same, in a map."},
	{"listen.health", "address", "`127.0.0.1:9193`", "`/healthz`, `/readyz` and `/metrics`. Any address."},
	{"listen.health.address", "address", "", "The same, in a map."},
	{"listen.admin", "map", "off", "Where administrators list and end sessions, as `countersign sessions` does. Nobody is answered unless this is given."},
	{"listen.admin.address", "address", "`127.0.0.1:9192`", "`host:port`, `:port` or `unix:///path`. One that other machines can reach needs `plaintext: true`."},
	{"listen.admin.token_file", "file", "required", "A file that holds what callers must send as `Authorization: Bearer`: one line of at least 32 characters. It is read for every request, so that a change works at once."},
	{"listen.admin.plaintext", "true or false", "`false`", "Says that the address may be reached from other machines without TLS, because the network keeps others out."},

	{"providers", "list", "required", "Where people sign in: at least one."},
	{"providers[].name", "name", "required", "What apps and logs call it. Letters, digits, `-` and `_`."},
	{"providers[].preset", "`generic`", "`generic`", "What is known of the provider beforehand. `generic` knows nothing."},
	{"providers[].issuer", "URL", "required", "To the letter as the provider states it in its discovery document. `https`, or `http` on loopback."},
	{"providers[].client_id", "text", "required", "As registered at the provider."},
	{"providers[].client_secret", "secret", "", "The secret itself, best as `${VARIABLE}`. This or the next key is required."},
	{"providers[].client_secret_file", "file", "", "A file that holds the secret."},
	{"providers[].token_endpoint_auth_method", "`client_secret_basic` or `client_secret_post`", "from discovery", "How the secret is sent. Discovery takes basic where the provider does."},
	{"providers[].scopes", "list of texts", "`[openid, email, profile]`", "What is asked for. `openid` must be among them."},
	{"providers[].acr_values", "list of texts", "", "Levels of authentication to ask for. A login that reaches none of them is refused."},
	{"providers[].email_verified", "`assume`", "", "Vouches for addresses that come without `email_verified`. It never overrides a `false`. Without it such an address does not count."},
	{"providers[].groups_claim", "claim path", "`groups`", "The claim that lists the groups."},

	{"session.absolute", "duration", "`12h`", "No session outlives this. At most 2160h."},
	{"session.idle", "duration", "`1h`", "A session that nobody uses ends after this. At least `2s`, at most `session.absolute`."},
	{"session.store_outage", "duration", "`5s`", "How long sessions that a replica knows pass while Redis does not answer: up to `1h`. As long may a session be believed that was ended meanwhile. With `0s` none passes: Redis is then asked at every check. Beyond `session.idle` it has no use. Without Redis it means nothing."},
	{"session.keys_file", "file", "generated", "The keys that seal sessions: one of 32 bytes in standard base64 a line; lines with `#` are skipped. The first seals, all open. Required with Redis; without it logins end with the process."},
	{"session.redis", "map", "memory", "Where sessions are kept. Without it they live in this process."},
	{"session.redis.url", "URL", "required", "One server, with the user and the number of the database: `redis://countersign@redis:6379/0`, `unix:///run/redis.sock?db=0`. The sentinels of one: `redis+sentinel://host1,host2,host3/0?master=main`. Some nodes of a cluster: `redis+cluster://host1,host2`. With TLS: `rediss`, `rediss+sentinel`, `rediss+cluster`. A host may have a port."},
	{"session.redis.password", "secret", "", "The password itself, best as `${VARIABLE}`."},
	{"session.redis.password_file", "file", "", "A file that holds the password. It is read again for every new connection."},
	{"session.redis.tls", "map", "the system's authorities", "How to speak TLS, to sentinels too. Only with `rediss…`."},
	{"session.redis.tls.ca_file", "file", "the system's authorities", "Certificates in PEM, one of which must have signed the server's."},
	{"session.redis.tls.cert_file", "file", "", "Our certificate in PEM, with its chain, for a server that asks for one."},
	{"session.redis.tls.key_file", "file", "", "Its private key in PEM. Required beside `cert_file`."},
	{"session.redis.tls.server_name", "text", "the host", "The name that the server's certificate must have."},
	{"session.redis.sentinel", "map", "", "As whom to speak to the sentinels, which have users of their own. Without it they are asked without a password. Only with `redis+sentinel` and `rediss+sentinel`."},
	{"session.redis.sentinel.username", "text", "", "The user."},
	{"session.redis.sentinel.password", "secret", "", "The password itself, best as `${VARIABLE}`. This or the next key is required."},
	{"session.redis.sentinel.password_file", "file", "", "A file that holds the password. It is read again for every new connection."},
	{"session.redis.prefix", "text", "`countersign:`", "What every key in Redis begins with."},
	{"session.revalidate", "map", "", "Asking the provider again during a session, at a request of the person. An answer that it is over ends the session; claims are read anew, and rules decide on the new ones."},
	{"session.revalidate.via", "`refresh`, `userinfo`, `introspection` or `off`", "`refresh`", "How the provider is asked. With `refresh`, a session for which it gave no refresh token is not asked about."},
	{"session.revalidate.every", "duration", "`50m`", "At the latest after this: `1s` to `24h`. With `refresh`, when the access token ends, too."},
	{"session.revalidate.grace", "duration", "`5m`", "How long a session goes on without an answer that is due: `0s` to `24h`. Then 503, until there is one."},

	{"mint.algorithm", "`ES256`", "`ES256`", "How tokens for upstreams are signed."},
	{"mint.keys_file", "file", "generated", "A private JWK Set. The first key signs, all public parts are published. Required with Redis; without it a new key is made at every start."},
	{"mint.lifetime", "duration", "`5m`", "How long a token is good for: `10s` to `1h`, and never beyond its session."},

	{"apps", "list", "required", "The applications behind the proxy: at least one."},
	{"apps[].name", "name", "", "Names the app in logs and cookies. Required where two apps have one host."},
	{"apps[].url", "URL", "required", "Where browsers find it: scheme, host and, if need be, the path that it begins at. `https`, or `http` on loopback. Redirect URI, cookies and issuer follow from it."},
	{"apps[].providers", "list of names", "the only one", "The provider to sign in at. Exactly one yet; required with several providers."},
	{"apps[].sso", "`off`", "", "`off` lets everything through without a login; identity headers are still removed. `allow` and `rules` are then not looked at."},
	{"apps[].prefix", "path", "`{path of url}/oauth2`", "Where the login endpoints are, as a path on the host. The redirect URI is `{prefix}/callback`. It comes before all rules."},
	{"apps[].allow", "`everyone`, map or list of maps", "required", "Who may enter at all. All entries of a map must hold; of a list of maps, one. May be left out where no rule signs anybody in."},
	{"apps[].allow.emails", "list of texts", "", "One of these addresses. Only an address that the provider has verified counts."},
	{"apps[].allow.email_domains", "list of texts", "", "An address in exactly one of these domains; sub-domains are others."},
	{"apps[].allow.groups", "list of texts", "", "A member of one of these groups."},
	{"apps[].allow.claims", "map of lists", "", "By claim path, such as `address.country: [FR, BE]`: one of these values."},
	{"apps[].token", "map", "", "What the upstream gets with each request of somebody who is signed in."},
	{"apps[].token.issuer", "text", "`{url}/oauth2`", "`iss`. The default is where the login endpoints are, below which verifiers find discovery and keys."},
	{"apps[].token.audience", "text", "the app's url", "`aud`. The default has no slash at the end."},
	{"apps[].token.lifetime", "duration", "`mint.lifetime`", "How long it is good for."},
	{"apps[].token.header", "header name", "`x-countersign-assertion`", "The request header that carries it. The client's own is always removed."},
	{"apps[].token.prefix", "text", "`Bearer ` in `authorization`, else none", "What stands before it in the header."},
	{"apps[].token.claims", "map of expressions", "", "Further claims: a quoted text (`'\"playground\"'`), a path (`user.email`, `user.claims.address.country`), or a path with what stands in for it (`user.claims.?roles.orValue([])`). Types are kept. What is not there is left out."},
	{"apps[].rules", "list", "a login everywhere", "The first rule that covers path and method decides. Where none does, nobody passes. A rule that can never be reached is an error."},
	{"apps[].rules[].name", "text", "its path", "Names the rule in logs and metrics."},
	{"apps[].rules[].path", "path", "required", "Exact, or everything below it if it ends in `/**`; `*` is one segment. Paths begin at the root of the host. Letter case counts: `/admin/**` does not cover `/ADMIN`, so write both for an upstream that ignores case."},
	{"apps[].rules[].path_regex", "RE2", "", "Instead of `path`: an expression for the whole path."},
	{"apps[].rules[].methods", "list of methods", "all", "In upper case, as in `[GET, HEAD]`."},
	{"apps[].rules[].access", "`required`, `optional`, `public` or `denied`", "`required`", "`optional` lets somebody without a session pass as nobody. `public` never looks at the session. `denied` lets nobody pass."},
	{"apps[].rules[].bearer", "`passthrough`", "", "A request with `Authorization: Bearer` goes on as it is, without an identity of ours, for the upstream to judge. Others are treated by `access`."},
	{"apps[].rules[].allow", "as `apps[].allow`", "", "Must hold beside the app's, with the same keys below it."},
	{"apps[].rules[].explain", "text", "", "Told to those whom the rule refuses."},
	{"apps[].rules[].token", "as `apps[].token`", "", "Replaces keys of the app's token, with the same keys below it. `claims` are replaced as a whole."},

	{"log.level", "`debug`, `info`, `warn` or `error`", "`info`", "What is logged. `debug` has a line for every request that passes."},
}

// key is a row of the reference.
type key struct {
	path     string // as in apps[].rules[].path
	kind     string
	standard string // the default
	meaning  string
}

// later are the keys that are planned. They are refused, each by its name, so
// that nobody relies on one that does nothing.
var later = map[string]bool{
	"listen.grpc.tls":          true,
	"listen.http.tls":          true,
	"session.cookie_domain":    true,
	"apps[].allow.when":        true,
	"apps[].allow.emails_file": true,
	"apps[].pass_cookie":       true,
	"apps[].redirect_path":     true,
}
