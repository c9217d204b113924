package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// envoy is a real Envoy.
type envoy struct {
	address string // host:port of the listener, which speaks TLS
	api     string // socket of the listener in front of the API, with setup.JWTAuthn
	admin   string // host:port

	log *transcript
}

// wiring is what an Envoy is told.
type wiring struct {
	setup            setup
	certificate, key string // PEM
	authorization    []string
	login            string            // where the login endpoints are
	upstreams        map[string]string // address by name
	api              string            // socket; set by startEnvoy
}

// jwtAuthn is what Envoy's own filter asks of a token: a second implementation
// that has to agree with ours.
type jwtAuthn struct{ issuer, audience, header, prefix string }

func findEnvoy() (string, error) {
	if path, err := filepath.Abs("../.parts/bin/envoy"); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return exec.LookPath("envoy")
}

func requireEnvoy(t testing.TB) string {
	t.Helper()
	path, err := findEnvoy()
	if err != nil {
		missing(t, "ENVOY", err)
	}
	return path
}

// startEnvoy starts an Envoy and returns when it listens. It ends with the test.
func startEnvoy(t *testing.T, w wiring) *envoy {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.api = filepath.Join(dir, "api.sock")
	bootstrap, err := json.Marshal(w.bootstrap())
	if err != nil {
		t.Fatal(err)
	}
	file, admin := filepath.Join(dir, "envoy.json"), filepath.Join(dir, "admin")
	if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &envoy{api: w.api, log: new(transcript)}
	e.log.showOnFailure(t, "Envoy")
	cmd := exec.Command(requireEnvoy(t), "-c", file, "--concurrency", "1", "--disable-hot-restart",
		"-l", "warning", "--admin-address-path", admin)
	cmd.Stdout, cmd.Stderr = e.log, e.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // fails when it has ended already
		cmd.Wait()         //nolint:errcheck // says that it was killed
	})
	e.await(t, admin)
	return e
}

// await returns when Envoy listens, having read where from its admin interface.
func (e *envoy) await(t *testing.T, adminFile string) {
	t.Helper()
	eventually(t, startTimeout, func() bool {
		written, err := os.ReadFile(adminFile)
		if e.admin = string(written); err != nil || e.admin == "" {
			return false
		}
		status, _ := plainGet(t, "http://"+e.admin+"/ready")
		return status == 200
	}, func() string { return "Envoy does not start:\n" + e.log.String() })
	_, body := plainGet(t, "http://"+e.admin+"/listeners?format=json")
	var listeners struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Port int `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(body), &listeners); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, l := range listeners.Statuses {
		if l.Name == "front" {
			e.address = "127.0.0.1:" + strconv.Itoa(l.Address.Socket.Port)
		}
	}
	if e.address == "" {
		t.Fatalf("Envoy does not listen: %s", body)
	}
}

// object and list are JSON, which Envoy reads as well as YAML.
type (
	object = map[string]any
	list   = []any
)

func typed(kind string, o object) object {
	o["@type"] = "type.googleapis.com/" + kind
	return o
}

func (w wiring) bootstrap() object {
	listeners := list{w.front()}
	if w.setup.JWTAuthn != nil {
		listeners = append(listeners, w.apiListener())
	}
	return object{
		"admin":            object{"address": socket("127.0.0.1:0")},
		"static_resources": object{"listeners": listeners, "clusters": w.clusters()},
	}
}

// front is the listener that people reach.
func (w wiring) front() object {
	timeout := w.setup.CheckTimeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	authz := typed("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", object{
		"transport_api_version": "V3",
		"grpc_service":          object{"envoy_grpc": object{"cluster_name": "authorization"}, "timeout": fmt.Sprintf("%.3fs", timeout.Seconds())},
		"encode_raw_headers":    w.setup.RawHeaders,
		"failure_mode_allow":    w.setup.FailOpen,
		"status_on_error":       object{"code": "ServiceUnavailable"},
	})
	hcm := w.hcm("front", w.frontRoutes(), object{"name": "envoy.filters.http.ext_authz", "typed_config": authz})
	tls := typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", object{"common_tls_context": object{
		"alpn_protocols": list{"h2", "http/1.1"},
		"tls_certificates": list{object{
			"certificate_chain": object{"inline_string": w.certificate}, "private_key": object{"inline_string": w.key},
		}},
	}})
	return object{
		"name": "front", "address": socket("127.0.0.1:0"),
		"filter_chains": list{object{
			"transport_socket": object{"name": "envoy.transport_sockets.tls", "typed_config": tls},
			"filters":          list{hcm},
		}},
	}
}

// frontRoutes ends with the routes of the setup. The login endpoints go to
// Countersign itself unless ext_authz is to answer them.
func (w wiring) frontRoutes() list {
	var routes list
	if !w.setup.InsideCheck {
		off := typed("envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", object{"disabled": true})
		routes = append(routes, object{
			"match": object{"prefix": "/oauth2/"}, "route": object{"cluster": "login"},
			"typed_per_filter_config": object{"envoy.filters.http.ext_authz": off},
		})
	}
	for _, r := range w.setup.Routes {
		cluster := r.upstream
		if cluster == "api" && w.setup.JWTAuthn != nil {
			cluster = "api behind jwt_authn"
		}
		routes = append(routes, object{"match": object{"prefix": r.prefix}, "route": object{"cluster": cluster}})
	}
	return routes
}

// apiListener stands between front and the API, and lets nothing pass but what
// jwt_authn believes.
func (w wiring) apiListener() object {
	j := w.setup.JWTAuthn
	authn := typed("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", object{
		"providers": object{"countersign": object{
			"issuer": j.issuer, "audiences": list{j.audience}, "forward": true, "clock_skew_seconds": 1,
			"from_headers": list{object{"name": j.header, "value_prefix": j.prefix}},
			"remote_jwks": object{"http_uri": object{
				"uri": "http://" + w.login + "/.well-known/jwks.json", "cluster": "login", "timeout": "5s",
			}},
		}},
		"rules": list{object{"match": object{"prefix": "/"}, "requires": object{"provider_name": "countersign"}}},
	})
	routes := list{object{"match": object{"prefix": "/"}, "route": object{"cluster": "api"}}}
	return object{
		"name": "api", "address": object{"pipe": object{"path": w.api}},
		"filter_chains": list{object{"filters": list{
			w.hcm("api", routes, object{"name": "envoy.filters.http.jwt_authn", "typed_config": authn}),
		}}},
	}
}

// hcm is an HTTP connection manager with one filter before its router. Names with
// "_" pass, as they do by Envoy's default: the tests try them.
func (w wiring) hcm(name string, routes list, filter object) object {
	slashes := "KEEP_UNCHANGED"
	if w.setup.Normalise {
		slashes = "UNESCAPE_AND_FORWARD"
	}
	router := object{
		"name":         "envoy.filters.http.router",
		"typed_config": typed("envoy.extensions.filters.http.router.v3.Router", object{}),
	}
	return object{
		"name": "envoy.filters.network.http_connection_manager",
		"typed_config": typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", object{
			"stat_prefix":                      name,
			"normalize_path":                   w.setup.Normalise,
			"merge_slashes":                    w.setup.Normalise,
			"path_with_escaped_slashes_action": slashes,
			"common_http_protocol_options":     object{"headers_with_underscores_action": "ALLOW"},
			"upgrade_configs":                  list{object{"upgrade_type": "websocket"}},
			"route_config": object{"virtual_hosts": list{object{
				"name": name, "domains": list{"*"}, "routes": routes,
			}}},
			"http_filters": list{filter, router},
		}),
	}
}

func (w wiring) clusters() list {
	authorization := cluster("authorization", w.authorization...)
	authorization["typed_extension_protocol_options"] = object{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
			object{"explicit_http_config": object{"http2_protocol_options": object{}}}),
	}
	clusters := list{authorization, cluster("login", w.login)}
	for _, name := range slices.Sorted(maps.Keys(w.upstreams)) {
		clusters = append(clusters, cluster(name, w.upstreams[name]))
	}
	if w.setup.JWTAuthn != nil {
		clusters = append(clusters, cluster("api behind jwt_authn", w.api))
	}
	return clusters
}

func cluster(name string, addresses ...string) object {
	var endpoints list
	for _, a := range addresses {
		endpoints = append(endpoints, object{"endpoint": object{"address": socket(a)}})
	}
	return object{
		"name": name, "type": "STATIC", "connect_timeout": "1s",
		"load_assignment": object{"cluster_name": name, "endpoints": list{object{"lb_endpoints": endpoints}}},
	}
}

// socket is an address: host:port, or the path of a socket.
func socket(address string) object {
	if strings.HasPrefix(address, "/") {
		return object{"pipe": object{"path": address}}
	}
	h, port, err := net.SplitHostPort(address)
	n, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil {
		panic("not an address: " + address)
	}
	return object{"socket_address": object{"address": h, "port_value": n}}
}
