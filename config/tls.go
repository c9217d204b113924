package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
)

// decodeTLS returns how to speak TLS to a server, nil where the file does not
// say. What the files hold is never quoted.
func decodeTLS(v value) *tls.Config {
	o, ok := v.object()
	ca, cert, key, name := o.get("ca_file"), o.get("cert_file"), o.get("key_file"), o.get("server_name")
	o.close()
	if !ok {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.authorities()}
	if c.ServerName = name.textOr(""); c.ServerName != "" && !hostForm.MatchString(c.ServerName) {
		name.fail("must be the name of a host, not %s", name.quote())
	}
	switch {
	case cert.given() && !key.given():
		key.fail("is required beside cert_file")
	case key.given() && !cert.given():
		cert.fail("is required beside key_file")
	case cert.given():
		c.Certificates = certificate(cert, key)
	case !ca.given() && !name.given():
		v.fail("must not be empty: write ca_file, or leave it out for the system's authorities")
	}
	return c
}

// authorities reads the certificates of the file that v names.
func (v value) authorities() *x509.CertPool {
	if !v.given() {
		return nil
	}
	data, path, ok := v.file(maxKeysBytes)
	if !ok {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		v.fail("%s: holds no certificate in PEM", path)
	}
	return pool
}

// certificate reads a certificate with its chain, and its private key.
func certificate(cert, key value) []tls.Certificate {
	chain, certPath, certOK := cert.file(maxKeysBytes)
	private, keyPath, keyOK := key.file(maxKeysBytes)
	if !certOK || !keyOK {
		return nil
	}
	if block, _ := pem.Decode(chain); block == nil || block.Type != "CERTIFICATE" {
		cert.fail("%s: holds no certificate in PEM", certPath)
		return nil
	}
	pair, err := tls.X509KeyPair(chain, private)
	if err != nil {
		key.fail("%s: holds no private key in PEM that fits the certificate", keyPath)
		return nil
	}
	return []tls.Certificate{pair}
}
