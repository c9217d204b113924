package envoy

import (
	"slices"
	"time"

	"github.com/countersign/countersign/authz"
)

const (
	httpFilter  = "envoy.extensions.filters.http."
	defaultIdle = 5 * time.Minute
	defaultWait = 2 * time.Second
)

// listener takes requests in.
func (b Bootstrap) listener() mapping {
	chain := mapping{{"filters", []mapping{extension(
		"envoy.filters.network.http_connection_manager",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		b.connectionManager(),
	)}, ""}}
	if b.TLS != nil {
		chain = append(chain, entry{"transport_socket", b.TLS.socket(), ""})
	}
	return mapping{
		{"name", ListenerName, ""},
		{"address", address(b.Listen), ""},
		{"per_connection_buffer_limit_bytes", 32 << 10, "Slow readers cost little memory."},
		{"filter_chains", []mapping{chain}, ""},
	}
}

func (t TLS) socket() mapping {
	return extension("envoy.transport_sockets.tls", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
		mapping{{"common_tls_context", mapping{
			{"tls_params", mapping{{"tls_minimum_protocol_version", "TLSv1_2", ""}}, ""},
			{"alpn_protocols", []string{"h2", "http/1.1"}, ""},
			{"tls_certificates", []mapping{certificate(t.CertFile, t.KeyFile)}, ""},
		}, ""}})
}

func certificate(certFile, keyFile string) mapping {
	return mapping{
		{"certificate_chain", mapping{{"filename", certFile, ""}}, ""},
		{"private_key", mapping{{"filename", keyFile, ""}}, ""},
	}
}

// connectionManager reads HTTP as strictly as Envoy can, since what it lets
// through is read again by others.
func (b Bootstrap) connectionManager() mapping {
	m := mapping{
		{"stat_prefix", ListenerName, ""},
		{"use_remote_address", true, "The client is who connects, not who X-Forwarded-For says."},
		{"common_http_protocol_options", mapping{
			{"idle_timeout", time.Hour, ""},
			{"max_stream_duration", positive(b.StreamMax), "No stream outlives this, whatever it does."},
			{"headers_with_underscores_action", b.underscores(), "Some upstreams read x_auth_user as x-auth-user."},
		}, ""},
		{"http2_protocol_options", mapping{
			{"max_concurrent_streams", 100, "One connection cannot occupy everything."},
			{"initial_stream_window_size", 64 << 10, ""},
			{"initial_connection_window_size", 1 << 20, ""},
			{"allow_connect", true, "WebSockets over HTTP/2 (RFC 8441)."},
		}, ""},
		{"stream_idle_timeout", either(b.StreamIdle, defaultIdle), "A stream without a byte ends."},
		{"request_headers_timeout", 10 * time.Second, "A header that trickles in ends."},
	}
	if !b.RawPaths {
		m = append(m, mapping{
			{"normalize_path", true, "Envoy, Countersign and the upstream read one path."},
			{"merge_slashes", true, "Upstreams read // as /."},
			{"path_with_escaped_slashes_action", "UNESCAPE_AND_REDIRECT", "Upstreams read %2F as /, and the client is told."},
		}...)
	}
	return append(m, mapping{
		{"upgrade_configs", []mapping{{{"upgrade_type", "websocket", ""}}}, "WebSockets are checked once, when they begin."},
		{"route_config", b.routes(), ""},
		{"http_filters", b.filters(), ""},
	}...)
}

func (b Bootstrap) underscores() string {
	if b.Underscores {
		return "ALLOW"
	}
	return "REJECT_REQUEST"
}

// filters are in the order in which they see a request: the check, then the
// proof that the check brought a token.
func (b Bootstrap) filters() []mapping {
	filters := []mapping{extension("envoy.filters.http.ext_authz", httpFilter+"ext_authz.v3.ExtAuthz", b.Authz.filter())}
	if b.JWT != nil {
		filters = append(filters, extension("envoy.filters.http.jwt_authn", httpFilter+"jwt_authn.v3.JwtAuthentication", b.JWT.filter()))
	}
	return append(filters, extension("envoy.filters.http.router", httpFilter+"router.v3.Router", nil))
}

func (a Authz) filter() mapping {
	timeout := either(a.Timeout, defaultWait)
	return mapping{
		{"transport_api_version", "V3", ""},
		{"grpc_service", mapping{
			{"envoy_grpc", mapping{{"cluster_name", AuthzCluster, ""}}, ""},
			{"timeout", timeout, "The default of 200ms is short for a cold cache, and too short for a login inside the check."},
			{"retry_policy", mapping{
				{"retry_on", "connect-failure,refused-stream,reset-before-request", "Only what Countersign has not begun to answer is asked again."},
				{"num_retries", 2, ""},
				{"retry_back_off", mapping{
					{"base_interval", 10 * time.Millisecond, "The default of 1s would use up the timeout."},
					{"max_interval", timeout, "Envoy also ends a single try after this time."},
				}, ""},
				{"retry_host_predicate", []mapping{extension("envoy.retry_host_predicates.previous_hosts",
					"envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", nil)}, "Another replica is asked next."},
				{"host_selection_retry_max_attempts", 3, ""},
			}, ""},
		}, ""},
		{"failure_mode_allow", false, "Without an answer nobody passes."},
		{"status_on_error", mapping{{"code", "ServiceUnavailable", ""}}, "No answer is a fault, not a refusal."},
		{"validate_mutations", true, "An edit that Envoy cannot make is a 500, not a header less."},
		{"encode_raw_headers", a.RawHeaders, ""},
	}
}

const jwtName = "countersign"

func (j JWT) filter() mapping {
	provider := mapping{{"issuer", j.Issuer, ""}}
	if len(j.Audiences) > 0 {
		provider = append(provider, entry{"audiences", j.Audiences, ""})
	}
	header := j.Header
	if header == "" {
		header = authz.AssertionHeader
	}
	from := mapping{{"name", header, ""}}
	if j.Prefix != "" {
		from = append(from, entry{"value_prefix", j.Prefix, ""})
	}
	provider = append(provider, mapping{
		{"remote_jwks", mapping{
			{"http_uri", mapping{{"uri", j.JWKS, ""}, {"cluster", j.Cluster, ""}, {"timeout", 2 * time.Second, ""}}, ""},
			{"cache_duration", 5 * time.Minute, "A new key is published an hour before its use."},
		}, ""},
		{"from_headers", []mapping{from}, "Only where the check puts it; not in the query."},
		{"forward", true, "The upstream verifies it too."},
	}...)
	return mapping{
		{"providers", mapping{{jwtName, provider, ""}}, ""},
		{"requirement_map", mapping{{jwtName, mapping{{"provider_name", jwtName, ""}}, ""}}, ""},
	}
}

// routes writes one virtual host per host, since Envoy does not look into "*"
// when it has found the host.
func (b Bootstrap) routes() mapping {
	hosts := []string{"*"}
	for _, r := range b.Routes {
		for _, h := range r.Hosts {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	var virtual []mapping
	for _, host := range hosts {
		var routes []mapping
		for _, r := range b.Routes {
			if r.Hosts == nil || slices.Contains(r.Hosts, host) {
				routes = append(routes, r.route())
			}
		}
		if len(routes) > 0 {
			virtual = append(virtual, mapping{{"name", host, ""}, {"domains", []string{host}, ""}, {"routes", routes, ""}})
		}
	}
	return mapping{
		{"ignore_port_in_host_matching", true, "app.example:8443 is app.example."},
		{"virtual_hosts", virtual, ""},
	}
}

func (r Route) route() mapping {
	prefix := r.Prefix
	if prefix == "" {
		prefix = "/"
	}
	m := mapping{
		{"match", mapping{{"prefix", prefix, ""}}, ""},
		{"route", mapping{
			{"cluster", r.Cluster, ""},
			{"timeout", time.Duration(0), "Answers may stream for long; stream_idle_timeout ends those that do not."},
		}, ""},
	}
	var own mapping
	if r.NoAuth {
		off := typed(httpFilter+"ext_authz.v3.ExtAuthzPerRoute", mapping{{"disabled", true, ""}})
		own = append(own, entry{"envoy.filters.http.ext_authz", off, "Countersign's own pages, which a login begins with."})
	}
	if r.JWT {
		needs := typed(httpFilter+"jwt_authn.v3.PerRouteConfig", mapping{{"requirement_name", jwtName, ""}})
		own = append(own, entry{"envoy.filters.http.jwt_authn", needs, "Nothing reaches the upstream without a token."})
	}
	if own != nil {
		m = append(m, entry{"typed_per_filter_config", own, ""})
	}
	return m
}

func either(d, standard time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return standard
}

// positive is d, or nothing.
func positive(d time.Duration) any {
	if d > 0 {
		return d
	}
	return nil
}
