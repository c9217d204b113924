package redistest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// StartTLS starts a server that speaks TLS only, and, if mutual, only to those
// who have a certificate. Its URL begins with rediss, its TLS is a client's.
func StartTLS(tb testing.TB, mutual bool, flags ...string) *Server {
	tb.Helper()
	s := &Server{tb: tb, binary: redisServer(tb), dir: tb.TempDir()}
	ca := newAuthority(tb, s.dir)
	ca.issue("server")
	auth := "no"
	if mutual {
		auth = "yes"
	}
	s.TLS = &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}
	if mutual {
		s.TLS.Certificates = []tls.Certificate{ca.issue("client")}
	}
	s.args = func(port string) []string {
		return append([]string{
			"--port", "0", "--tls-port", port, "--tls-auth-clients", auth,
			"--tls-ca-cert-file", ca.file("ca.crt"), "--tls-cert-file", ca.file("server.crt"), "--tls-key-file", ca.file("server.key"),
		}, s.common(flags)...)
	}
	s.start()
	s.URL = "rediss://" + s.Addr + "/0"
	return s
}

// authority issues certificates for the loopback interface, as files.
type authority struct {
	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(tb testing.TB, dir string) *authority {
	tb.Helper()
	a := &authority{tb: tb, dir: dir, pool: x509.NewCertPool()}
	template := template("authority of a test")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	a.key = a.newKey()
	a.cert = a.sign("ca", template, template, &a.key.PublicKey, a.key)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes name.crt and name.key, and returns both.
func (a *authority) issue(name string) tls.Certificate {
	a.tb.Helper()
	key := a.newKey()
	template := template(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	a.sign(name, template, a.cert, &key.PublicKey, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	a.write(name+".key", "PRIVATE KEY", der)
	pair, err := tls.LoadX509KeyPair(a.file(name+".crt"), a.file(name+".key"))
	if err != nil {
		a.tb.Fatal(err)
	}
	return pair
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func (a *authority) sign(name string, template, parent *x509.Certificate, key crypto.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	a.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		a.tb.Fatal(err)
	}
	a.write(name+".crt", "CERTIFICATE", der)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return cert
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	return key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.tb.Helper()
	content := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(a.file(name), content, 0o600); err != nil {
		a.tb.Fatal(err)
	}
}
