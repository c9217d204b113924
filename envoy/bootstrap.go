package envoy

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// ListenerName is the name of the one listener that a Bootstrap has.
const ListenerName = "ingress"

// AuthzCluster is the name of the cluster of ext_authz.
const AuthzCluster = "countersign_authz"

// Bootstrap describes an Envoy that asks Countersign about each request. What it
// writes is hardened; the fields that loosen it say so. Listen, Authz.Targets,
// Routes and Clusters must be set.
type Bootstrap struct {
	Listen string // host:port; with port 0 the system chooses
	TLS    *TLS   // nil: plain HTTP

	Authz    Authz
	JWT      *JWT      // nil: Envoy verifies no token itself
	Routes   []Route   // the first that fits the host and the path
	Clusters []Cluster // each that a route or JWT names

	// RawPaths lets paths go on as they were sent. Otherwise Envoy normalises
	// them before anybody reads them, so that all read the same.
	RawPaths bool

	// Underscores lets header names with "_" in. Otherwise such a request is
	// refused: an upstream may read x_auth_user as x-auth-user.
	Underscores bool

	StreamIdle time.Duration // a stream without a byte ends; 0: 5 minutes
	StreamMax  time.Duration // a stream ends, WebSockets too; 0: never

	Admin string // host:port of Envoy's administration; "": 127.0.0.1:0
}

// TLS names the files of the certificate that clients see.
type TLS struct{ CertFile, KeyFile string }

// Authz is how Envoy reaches Countersign's gRPC listener.
type Authz struct {
	Targets    []string      // host:port, or unix:///path; all alike
	TLS        *AuthzTLS     // nil: plain HTTP/2
	Timeout    time.Duration // how long a request waits for its check; 0: 2 seconds
	RawHeaders bool          // each header line by itself, as bytes (encode_raw_headers)
}

// AuthzTLS names the files of mutual TLS to Countersign.
type AuthzTLS struct {
	CAFile            string
	CertFile, KeyFile string // Envoy's own
	ServerName        string // in Countersign's certificate
}

// Route sends what is asked for below a prefix to a cluster.
type Route struct {
	Hosts   []string // nil: every host; without a port
	Prefix  string   // "": every path
	Cluster string
	NoAuth  bool // no check: for the login prefix, which goes to Countersign's HTTP listener
	JWT     bool // Envoy itself must find a good token here, see Bootstrap.JWT
}

// Cluster is where requests go on to.
type Cluster struct {
	Name   string
	Target string // host:port, or unix:///path
	HTTP2  bool   // without TLS, as gRPC services speak it; otherwise HTTP/1.1
}

// JWT has Envoy verify Countersign's token after the check, on the routes that
// ask for it, so that the upstream gets none that Envoy has not seen proof of.
type JWT struct {
	Issuer    string
	Audiences []string // nil: any
	JWKS      string   // URL of the key set
	Cluster   string   // reaches JWKS
	Header    string   // that carries the token, "": authz.AssertionHeader
	Prefix    string   // before the token, such as "Bearer "
}

// YAML returns the configuration, with the reason above each setting that is not
// Envoy's default. An error lists all that is wrong with b.
func (b Bootstrap) YAML() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	doc := mapping{
		{"admin", mapping{{"address", address(b.admin()), ""}}, "It can stop Envoy and shows what passes: never let others reach it."},
		{"static_resources", mapping{
			{"listeners", []mapping{b.listener()}, ""},
			{"clusters", b.clusters(), ""},
		}, ""},
		{"overload_manager", mapping{{"resource_monitors", []mapping{
			extension("envoy.resource_monitors.global_downstream_max_connections",
				"envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
				mapping{{"max_active_downstream_connections", 50_000, ""}}),
		}, ""}}, "A flood of connections must not exhaust the host."},
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(doc.node()); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return out.Bytes(), nil
}

func (b Bootstrap) admin() string {
	if b.Admin == "" {
		return "127.0.0.1:0"
	}
	return b.Admin
}

// check reports everything that Envoy would refuse or, worse, accept.
func (b Bootstrap) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	tcp := func(what, target string) {
		if err := checkTarget(target); err != nil || isUnix(target) {
			wrong("%s %q is not host:port", what, target)
		}
	}
	tcp("listen", b.Listen)
	tcp("admin", b.admin())
	if len(b.Authz.Targets) == 0 {
		wrong("authz has no target")
	}
	for _, t := range b.Authz.Targets {
		if err := checkTarget(t); err != nil {
			wrong("authz target: %w", err)
		}
	}
	if b.Authz.TLS != nil && b.Authz.TLS.ServerName == "" {
		wrong("authz tls: without a server name any certificate of the CA would do")
	}
	known := map[string]bool{AuthzCluster: true}
	for _, c := range b.Clusters {
		if c.Name == "" || known[c.Name] {
			wrong("cluster name %q is empty or taken", c.Name)
		}
		known[c.Name] = true
		if err := checkTarget(c.Target); err != nil {
			wrong("cluster %s: %w", c.Name, err)
		}
	}
	delete(known, AuthzCluster)
	if len(b.Routes) == 0 {
		wrong("there is no route")
	}
	for i, r := range b.Routes {
		if !known[r.Cluster] {
			wrong("route %d: no cluster is called %q", i+1, r.Cluster)
		}
		if r.Prefix != "" && r.Prefix[0] != '/' {
			wrong("route %d: prefix %q does not begin with a slash", i+1, r.Prefix)
		}
		if r.JWT && (b.JWT == nil || r.NoAuth) {
			wrong("route %d: asks for a token that nothing there brings", i+1)
		}
		if slices.Contains(r.Hosts, "") {
			wrong("route %d: a host is empty", i+1)
		}
	}
	if b.JWT != nil && !known[b.JWT.Cluster] {
		wrong("jwt: no cluster is called %q", b.JWT.Cluster)
	}
	return errors.Join(errs...)
}

const unixScheme = "unix://"

func isUnix(target string) bool { return strings.HasPrefix(target, unixScheme) }

func checkTarget(target string) error {
	if isUnix(target) {
		if path := target[len(unixScheme):]; path == "" || path[0] != '/' {
			return fmt.Errorf("%q is not unix:// with an absolute path", target)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return fmt.Errorf("%q is not host:port", target)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || host == "" {
		return fmt.Errorf("%q is not host:port (port %d)", target, n)
	}
	return nil
}

// address writes a target that checkTarget accepts.
func address(target string) mapping {
	if isUnix(target) {
		return mapping{{"pipe", mapping{{"path", target[len(unixScheme):], ""}}, ""}}
	}
	host, port, _ := net.SplitHostPort(target)
	n, _ := strconv.Atoi(port)
	return mapping{{"socket_address", mapping{{"address", host, ""}, {"port_value", n, ""}}, ""}}
}
