package cmd

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fanfold/fanfold/pkg/progress"
)

// child runs a program with more in its environment, and returns its exit code.
// Signals that reach us are passed on to it.
func (a *app) child(ctx context.Context, args []string, env []string) (int, error) {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Stdin, c.Stdout, c.Stderr = a.in, under(a.out), under(a.err)
	if f, ok := a.in.(*os.File); ok {
		c.Stdin = f
	}
	if s, ok := c.Stderr.(*progress.Screen); ok {
		c.Stderr = s.Under() // the terminal itself, as the child would have without us
	}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	if err := c.Start(); err != nil {
		return 0, usagef("running %s: %w", args[0], err)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-hangups:
				_ = c.Process.Signal(s) // it may be gone
			case s := <-a.interrupts.taken():
				// A terminal sends its Ctrl-C to all of the group, so to the
				// child as well.
				if s == os.Interrupt && term.IsTerminal(0) {
					continue
				}
				_ = c.Process.Signal(s) // it may be gone
			case <-done:
				return
			}
		}
	}()
	err := c.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil // as a shell says it
		}
		return exit.ExitCode(), nil
	case err != nil:
		return 0, fmt.Errorf("running %s: %w", args[0], err)
	}
	return 0, nil
}

// isOurs tells whether a command is fanfold itself: it runs in this process,
// where its traffic is recorded above the credentials.
func isOurs(args []string) bool {
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "fanfold" {
		return true
	}
	self, err1 := os.Executable()
	path, err2 := exec.LookPath(args[0])
	if err1 != nil || err2 != nil {
		return false
	}
	s1, err1 := os.Stat(self)
	s2, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(s1, s2)
}

// systemRoots are the files in which systems keep the certificates they trust.
var systemRoots = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"}

// trust writes an authority's certificate where programs can read it, alone and
// behind those that the system trusts, and returns what tells them so.
func (a *app) trust(dir string, authority []byte) ([]string, error) {
	roots := []byte{}
	list := systemRoots
	if path, ok := a.env("SSL_CERT_FILE"); ok && path != "" {
		list = append([]string{path}, list...)
	}
	for _, path := range list {
		if data, err := os.ReadFile(path); err == nil {
			roots = data
			break
		}
	}
	one, all, store := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "roots.pem"), filepath.Join(dir, "roots.p12")
	bundle := append(append(roots, '\n'), authority...)
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
func (a *app) proxyEnv(addr net.Addr, trust []string) []string {
	u := "http://" + addr.String()
	host, port, _ := net.SplitHostPort(addr.String()) // a listener's address is one
	env := trust
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"} {
		env = append(env, name+"="+u)
	}
	java, _ := a.env("JAVA_TOOL_OPTIONS")
	for _, e := range trust {
		if v, ok := strings.CutPrefix(e, "FANFOLD_JAVA_TRUST="); ok {
			java += " " + v
		}
	}
	java += fmt.Sprintf(" -Dhttp.proxyHost=%s -Dhttp.proxyPort=%s"+
		" -Dhttps.proxyHost=%s -Dhttps.proxyPort=%s -Dhttp.nonProxyHosts=", host, port, host, port)
	return append(env, "NO_PROXY=", "no_proxy=", "NODE_USE_ENV_PROXY=1", "JAVA_TOOL_OPTIONS="+strings.TrimSpace(java))
}
