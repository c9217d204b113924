package envoy

import (
	"net"
	"time"
)

// clusters are the one of ext_authz and those of the routes.
func (b Bootstrap) clusters() []mapping {
	all := []mapping{b.Authz.cluster()}
	for _, c := range b.Clusters {
		m := cluster(c.Name, c.Target)
		if c.HTTP2 {
			m = append(m, http2(nil))
		}
		all = append(all, m)
	}
	return all
}

// cluster is what all clusters have in common.
func cluster(name string, targets ...string) mapping {
	kind := "STATIC"
	var endpoints []mapping
	for _, t := range targets {
		if !isUnix(t) && !isIP(t) {
			kind = "STRICT_DNS"
		}
		endpoints = append(endpoints, mapping{{"endpoint", mapping{{"address", address(t), ""}}, ""}})
	}
	return mapping{
		{"name", name, ""},
		{"type", kind, ""},
		{"connect_timeout", time.Second, ""},
		{"per_connection_buffer_limit_bytes", 32 << 10, ""},
		{"load_assignment", mapping{
			{"cluster_name", name, ""},
			{"endpoints", []mapping{{{"lb_endpoints", endpoints, ""}}}, ""},
		}, ""},
	}
}

func isIP(target string) bool {
	host, _, _ := net.SplitHostPort(target)
	return net.ParseIP(host) != nil
}

// cluster is where Countersign's gRPC listeners are.
func (a Authz) cluster() mapping {
	m := append(cluster(AuthzCluster, a.Targets...), mapping{
		http2(mapping{{"connection_keepalive", mapping{
			{"interval", 30 * time.Second, ""}, {"timeout", 5 * time.Second, ""},
		}, "A dead peer is noticed though it closes nothing."}}),
		{"health_checks", []mapping{{
			{"interval", time.Second, ""},
			{"no_traffic_interval", time.Second, "The first request after a pause meets a replica that lives."},
			{"timeout", time.Second, ""},
			{"unhealthy_threshold", 2, ""},
			{"healthy_threshold", 1, ""},
			{"grpc_health_check", mapping{{"service_name", ServiceName, ""}}, ""},
		}}, "A replica that drains or is not ready is not asked."},
		{"circuit_breakers", mapping{{"thresholds", []mapping{{
			{"max_requests", 10_000, ""}, {"max_pending_requests", 10_000, ""},
		}}, ""}}, "Every request is checked, so 1024 at once are too few."},
	}...)
	if a.TLS != nil {
		m = append(m, entry{"transport_socket", a.TLS.socket(), "Who listens here reads cookies and tokens."})
	}
	return m
}

func (t AuthzTLS) socket() mapping {
	common := mapping{
		{"tls_params", mapping{{"tls_minimum_protocol_version", "TLSv1_3", ""}}, ""},
		{"alpn_protocols", []string{"h2"}, ""},
		{"tls_certificates", []mapping{certificate(t.CertFile, t.KeyFile)}, ""},
		{"validation_context", mapping{
			{"trusted_ca", mapping{{"filename", t.CAFile, ""}}, ""},
			{"match_typed_subject_alt_names", []mapping{{
				{"san_type", "DNS", ""}, {"matcher", mapping{{"exact", t.ServerName, ""}}, ""},
			}}, "Any certificate of the CA would do otherwise."},
		}, ""},
	}
	return extension("envoy.transport_sockets.tls", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
		mapping{{"sni", t.ServerName, ""}, {"common_tls_context", common, ""}})
}

// http2 has a cluster speak HTTP/2.
func http2(options mapping) entry {
	const name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	return entry{"typed_extension_protocol_options", mapping{{name, typed(name, mapping{
		{"explicit_http_config", mapping{{"http2_protocol_options", options, ""}}, ""},
	}), ""}}, ""}
}
