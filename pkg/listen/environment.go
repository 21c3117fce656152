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
	rc := filepath.Join(dir, "wgetrc")
	if err := os.WriteFile(rc, append(t.wgetrc(), "\nca_certificate = "+all+"\n"...), 0o600); err != nil {
		return nil, err
	}
	env := []string{"WGETRC=" + rc}
	for _, name := range trustBundles {
		env = append(env, name+"="+all)
	}
	return append(env,
		"NODE_EXTRA_CA_CERTS="+one, "DENO_CERT="+one,
		"FANFOLD_JAVA_TRUST=-Djavax.net.ssl.trustStore="+store+" -Djavax.net.ssl.trustStorePassword=changeit"+
			" -Djavax.net.ssl.trustStoreType=PKCS12"), nil
}

// wgetrc is what the user has set for wget, which has no variable for certificates, but
// one for the file of its settings. One that cannot be read has none.
func (t *Stage) wgetrc() []byte {
	path, ok := t.s.Env("WGETRC")
	if !ok {
		home, _ := t.s.Env("HOME")
		path = filepath.Join(home, ".wgetrc")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return text
}

// trustBundles are variables that name a file of all certificates to trust: OpenSSL's,
// and those of clients and package managers that have a setting of their own, which wins
// over it where it is set in a file.
var trustBundles = []string{
	"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT",
	"HTTPLIB2_CA_CERTS", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
	"NIX_SSL_CERT_FILE", "PERL_LWP_SSL_CA_FILE", "CARGO_HTTP_CAINFO", "BUNDLE_SSL_CA_CERT", "npm_config_cafile",
	"YARN_HTTPS_CA_FILE_PATH",
}

// proxyEnv sends a program's requests through a proxy.
func (t *Stage) proxyEnv(addr net.Addr) []string {
	u := "http://" + addr.String()
	host, port, _ := net.SplitHostPort(addr.String()) // a listener's address is one
	env := t.Env
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy",
		"npm_config_proxy", "npm_config_https_proxy"} {
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
	return append(env, "NO_PROXY=", "no_proxy=", "npm_config_noproxy=", "NODE_USE_ENV_PROXY=1",
		"JAVA_TOOL_OPTIONS="+strings.TrimSpace(java))
}
