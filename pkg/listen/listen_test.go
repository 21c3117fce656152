package listen

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// echo answers with what it was asked for, without what makes a link of an address: links
// lead here.
type echo struct{}

func (echo) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Method + " " + strings.Replace(wire.Address(r), "://", " ", 1)
	return &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{"Content-Type": {"text/plain"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}, nil
}

func upstream(t *testing.T, text string) cassette.Upstream {
	t.Helper()
	u, err := cassette.ParseUpstream(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func start(t *testing.T, s *Service) *Stage {
	t.Helper()
	s.Answer = echo{}
	s.Env = func(string) (string, bool) { return "", false }
	stage, err := s.Start(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.Close(); err != nil {
			t.Error(err)
		}
	})
	return stage
}

func get(t *testing.T, network http.RoundTripper, address string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := network.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// value is that of a variable in an environment.
func value(env []string, name string) string {
	n := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	if n < 0 {
		return ""
	}
	return env[n][len(name)+1:]
}

// TestEachAtItsOwn: every partner is found at an address of its own, which a variable names.
func TestEachAtItsOwn(t *testing.T) {
	s := start(t, &Service{Upstreams: []cassette.Upstream{
		upstream(t, "shop=https://api.shop.example/v2"), upstream(t, "mail=https://mail.example")}})
	if s.URLs["shop"] == s.URLs["mail"] || value(s.Env, "SHOP_BASE_URL") != s.URLs["shop"] {
		t.Errorf("%v, %v", s.URLs, s.Env)
	}
	for name, want := range map[string]string{
		"shop": "GET https api.shop.example/v2/a%2Fb?x=1", "mail": "GET https mail.example/a%2Fb?x=1"} {
		if got := get(t, http.DefaultTransport, s.URLs[name]+"/a%2Fb?x=1"); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestAllAtOne: several partners at one address are told apart by a prefix.
func TestAllAtOne(t *testing.T) {
	s := start(t, &Service{Listen: "127.0.0.1:0", Upstreams: []cassette.Upstream{
		upstream(t, "shop=https://api.shop.example"), upstream(t, "mail=https://mail.example")}})
	if got := get(t, http.DefaultTransport, s.URLs["mail"]+"/x"); got != "GET https mail.example/x" {
		t.Errorf("%s, found at %v", got, s.URLs)
	}
}

// TestProxyAndTrust: a proxy answers for the hosts that are allowed, with a certificate of
// the authority whose file the environment names.
func TestProxyAndTrust(t *testing.T) {
	s := start(t, &Service{Proxy: true, Strict: true, Allow: []string{"*.shop.example"}})
	proxy, err := url.Parse(value(s.Env, "HTTPS_PROXY"))
	if err != nil || proxy.Host == "" {
		t.Fatalf("%v in %v", err, s.Env)
	}
	data, err := os.ReadFile(value(s.Env, "NODE_EXTRA_CA_CERTS"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(data) {
		t.Fatalf("no certificate: %v", err)
	}
	network := &http.Transport{Proxy: http.ProxyURL(proxy),
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer network.CloseIdleConnections()
	for _, address := range []string{"https://api.shop.example/a", "http://api.shop.example/a"} {
		if got := get(t, network, address); got != "GET "+strings.Replace(address, "://", " ", 1) {
			t.Errorf("%s: %s", address, got)
		}
	}
}

// TestAllowed: patterns of hosts know no letter case.
func TestAllowed(t *testing.T) {
	covers := allowed([]string{"api.shop.example", "*.Mail.example", "127.0.0.1:*"})
	for host, want := range map[string]bool{"API.shop.example": true, "a.mail.example": true, "mail.example": false,
		"shop.example": false, "127.0.0.1:8089": true} {
		if covers(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}
