package listen

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// systemRoots are the certificates that this system trusts.
func (t *Stage) systemRoots() []byte {
	path, _ := t.s.Env("SSL_CERT_FILE")
	for _, path := range []string{path,
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/ssl/cert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	} {
		if data, err := os.ReadFile(path); err == nil {
			return data
		}
	}
	return nil
}

// writeTrust writes the authority's certificate where programs can read it, alone and
// behind those that the system trusts, and returns the variables that tell them so.
func (t *Stage) writeTrust() ([]string, error) {
	dir, authority := t.dir, t.ca.PEM()
	one, all, store := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "roots.pem"), filepath.Join(dir, "roots.p12")
	bundle := append(append(t.systemRoots(), '\n'), authority...)
	var certs []*x509.Certificate
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil { // systems have odd ones
			certs = append(certs, c)
		}
	}
	p12, err := pkcs12.Modern.EncodeTrustStore(certs, "changeit")
	if err != nil {
		return nil, fmt.Errorf("making a trust store for Java: %w", err)
	}
	if err := errors.Join(os.WriteFile(one, authority, 0o600), os.WriteFile(all, bundle, 0o600),
		os.WriteFile(store, p12, 0o600)); err != nil {
		return nil, err
	}
	return []string{
		"SSL_CERT_FILE=" + all, "CURL_CA_BUNDLE=" + all, "REQUESTS_CA_BUNDLE=" + all, "AWS_CA_BUNDLE=" + all,
		"GIT_SSL_CAINFO=" + all, "PIP_CERT=" + all, "NODE_EXTRA_CA_CERTS=" + one, "DENO_CERT=" + one,
		"FANFOLD_JAVA_TRUST=-Djavax.net.ssl.trustStore=" + store + " -Djavax.net.ssl.trustStorePassword=changeit" +
			" -Djavax.net.ssl.trustStoreType=PKCS12",
	}, nil
}

// proxyEnv sends a program's requests through a proxy.
func (t *Stage) proxyEnv(addr net.Addr) []string {
	u := "http://" + addr.String()
	host, port, _ := net.SplitHostPort(addr.String()) // a listener's address is one
	env := t.Env
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"} {
		env = append(env, name+"="+u)
	}
	java, _ := t.s.Env("JAVA_TOOL_OPTIONS")
	for _, e := range t.Env {
		if v, ok := strings.CutPrefix(e, "FANFOLD_JAVA_TRUST="); ok {
			java += " " + v
		}
	}
	java += fmt.Sprintf(" -Dhttp.proxyHost=%s -Dhttp.proxyPort=%s"+
		" -Dhttps.proxyHost=%s -Dhttps.proxyPort=%s -Dhttp.nonProxyHosts=", host, port, host, port)
	return append(env, "NO_PROXY=", "no_proxy=", "NODE_USE_ENV_PROXY=1", "JAVA_TOOL_OPTIONS="+strings.TrimSpace(java))
}
