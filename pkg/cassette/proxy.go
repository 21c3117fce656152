package cassette

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/elazarl/goproxy"

	"github.com/fanfold/fanfold/pkg/transport"
)

// Conversation answers from what is recorded, from the network, or from both:
// with Old alone it never goes live, with Rec alone everything is recorded, and
// with both what is missing is.
type Conversation struct {
	Old *Replayer
	Rec *Recorder
	// Network, when there is one, takes the place of the recorder's.
	Network http.RoundTripper
	// Front, when there is one, answers everything: a partner that misbehaves,
	// with Old behind it.
	Front http.RoundTripper
}

func (c *Conversation) live(req *http.Request) (*http.Response, error) {
	if c.Network != nil {
		return c.Rec.over(c.Network, req)
	}
	return c.Rec.RoundTrip(req)
}

// RoundTrip implements http.RoundTripper.
func (c *Conversation) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case c.Front != nil:
		return c.Front.RoundTrip(req)
	case c.Old == nil && c.Rec == nil:
		return nil, errors.New("there is neither a cassette to answer from nor one to record")
	case c.Rec == nil:
		return c.Old.RoundTrip(req)
	case c.Old == nil:
		return c.live(req)
	}
	var data []byte
	if req.Body != nil && req.Body != http.NoBody {
		var err error
		if data, err = io.ReadAll(io.LimitReader(req.Body, maxRequest+1)); err != nil {
			return nil, err
		}
		if len(data) > maxRequest {
			req.Body = rest{io.MultiReader(bytes.NewReader(data), req.Body), req.Body}
			return c.live(req)
		}
		req.Body.Close()
	}
	copied := *req
	copied.Body = io.NopCloser(bytes.NewReader(data))
	q, err := ReadRequest(&copied, maxRequest)
	if err != nil {
		return nil, err
	}
	if i, ok := c.Old.Try(q); ok {
		return respond(req, i), nil
	}
	if copied.Body = http.NoBody; len(data) > 0 {
		copied.Body = io.NopCloser(bytes.NewReader(data))
	}
	return c.live(&copied)
}

// Upstream is a service that a program talks to.
type Upstream struct {
	Name string
	URL  *url.URL
}

// ParseUpstream reads NAME=URL.
func ParseUpstream(s string) (Upstream, error) {
	name, addr, ok := strings.Cut(s, "=")
	u, err := url.Parse(addr)
	switch {
	case !ok || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "":
		return Upstream{}, fmt.Errorf("%q has to be NAME=URL, with a name of letters, digits, - and _", s)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return Upstream{}, fmt.Errorf("%q has to be NAME=URL, with a URL like https://api.shop.example", s)
	case u.User != nil || u.RawQuery != "":
		return Upstream{}, fmt.Errorf("the URL of %s has to be without credentials and parameters", name)
	}
	return Upstream{name, u}, nil
}

// Env is the variable that tells a program the address: SHOP_BASE_URL.
func (u Upstream) Env() string {
	return strings.ToUpper(strings.ReplaceAll(u.Name, "-", "_")) + "_BASE_URL"
}

// casePrefix begins a path that names the case of a request.
const casePrefix = "/__case/"

// toPrefix begins a path that names its upstream.
const toPrefix = "/__to/"

// cutPrefix takes /__xx/NAME off a path.
func cutPrefix(path, prefix string) (name, rest string, ok bool) {
	after, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return "", path, false
	}
	name, rest, _ = strings.Cut(after, "/")
	return name, "/" + rest, true
}

// Reverse serves upstreams by rt, as if they were there. With more than one, a
// request says which it is for by the prefix /__to/NAME; without it the first
// is meant that choose, if any, says knows the request. /__case/NAME, or the
// header X-Replay-Case, names the case.
func Reverse(upstreams []Upstream, rt http.RoundTripper, choose func(method, url string) bool) http.Handler {
	pick := func(r *http.Request) (Upstream, string) {
		name, path, ok := cutPrefix(r.URL.Path, toPrefix)
		if ok {
			for _, u := range upstreams {
				if u.Name == name {
					return u, path
				}
			}
		}
		path = r.URL.Path
		if len(upstreams) > 1 && choose != nil {
			for _, u := range upstreams {
				if choose(r.Method, join(u.URL, path).String()) {
					return u, path
				}
			}
		}
		return upstreams[0], path
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			u, path := pick(p.In)
			target := join(u.URL, path)
			target.RawQuery = p.In.URL.RawQuery
			p.Out.URL = target
			p.Out.Host = target.Host
			p.Out.Header.Del(CaseHeader)
			p.Out.Header["User-Agent"] = p.In.Header["User-Agent"]
			local := "http://" + p.In.Host
			if p.In.TLS != nil {
				local = "https://" + p.In.Host
			}
			if strings.HasPrefix(p.In.URL.Path, toPrefix) {
				local += toPrefix + u.Name
			}
			p.Out = p.Out.WithContext(context.WithValue(p.Out.Context(), localKey{}, [2]string{strings.TrimSuffix(u.URL.String(), "/"), local}))
		},
		Transport:     rt,
		FlushInterval: -1,
		ModifyResponse: func(r *http.Response) error {
			// A redirect to the upstream must not lead past us.
			if at, ok := r.Request.Context().Value(localKey{}).([2]string); ok {
				for _, name := range []string{"Location", "Content-Location"} {
					if v := r.Header.Get(name); v == at[0] || strings.HasPrefix(v, at[0]+"/") || strings.HasPrefix(v, at[0]+"?") {
						r.Header.Set(name, at[1]+v[len(at[0]):])
					}
				}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, "no answer: "+err.Error(), http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0), // clients that go away
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get(CaseHeader)
		if n, path, ok := cutPrefix(r.URL.Path, casePrefix); ok {
			name = n
			r.URL.Path, r.URL.RawPath = path, ""
		}
		if name != "" {
			r = r.WithContext(WithCase(r.Context(), name))
		}
		proxy.ServeHTTP(w, r)
	})
}

type localKey struct{}

// join puts a path after an upstream's own.
func join(base *url.URL, path string) *url.URL {
	u := *base
	u.Path = strings.TrimSuffix(base.Path, "/") + path
	u.RawPath = ""
	return &u
}

// Knows tells whether anything was recorded for a method and resource.
func (p *Replayer) Knows(method, url string) bool {
	head, _ := splitURL(url)
	return len(p.byPath[method+" "+head]) > 0
}

// Upstreams returns those of the cassettes' sidecars; where there are none,
// those that the interactions went to, named by their hosts.
func Upstreams(cassettes []*Cassette) ([]Upstream, error) {
	var out []Upstream
	add := func(name, addr string) error {
		u, err := ParseUpstream(name + "=" + addr)
		if err != nil {
			return err
		}
		for _, o := range out {
			if o.Name == u.Name {
				if o.URL.String() != u.URL.String() {
					return fmt.Errorf("%s is %s in one cassette and %s in another: replay them one by one, or say --to %s=URL", name, o.URL, u.URL, name)
				}
				return nil
			}
		}
		out = append(out, u)
		return nil
	}
	for _, c := range cassettes {
		for name, addr := range c.Meta.Upstreams {
			if err := add(name, addr); err != nil {
				return nil, fmt.Errorf("%s: %w", c.Path, err)
			}
		}
	}
	if len(out) == 0 {
		for _, c := range cassettes {
			for _, i := range c.Interactions {
				u, err := url.Parse(i.Request.URL)
				if err != nil || u.Host == "" {
					continue
				}
				name := strings.Map(func(r rune) rune {
					if isAlnum(r) {
						return r
					}
					return '_'
				}, u.Host)
				if err := add(name, u.Scheme+"://"+u.Host); err != nil {
					return nil, fmt.Errorf("%s: %w", c.Path, err)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Upstream) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Authority signs certificates for whatever host a program asks for. Its key
// is in memory only, and gone with the process. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte

	mu   sync.Mutex
	made map[string]*tls.Certificate
}

// NewAuthority makes one, valid for a day.
func NewAuthority(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "fanfold, for one run"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), made: map[string]*tls.Certificate{}}, nil
}

// PEM is the authority's certificate, for programs that are to trust it.
func (a *Authority) PEM() []byte { return a.pem }

// maxCertificates bounds how many hosts a program can make us sign for.
const maxCertificates = 10_000

// Certificate returns one for a host.
func (a *Authority) Certificate(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.made[host]; c != nil {
		return c, nil
	}
	if len(a.made) >= maxCertificates {
		return nil, fmt.Errorf("certificates for more than %d hosts were asked for", maxCertificates)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
	a.made[host] = c
	return c, nil
}

// TLS is a server's configuration: a certificate for whatever name is asked
// for, and for the given host where the client names none.
func (a *Authority) TLS(host string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName != "" {
				return a.Certificate(hello.ServerName)
			}
			return a.Certificate(host)
		},
	}
}

// Forward is a proxy for programs that take one from their environment. What
// goes to an allowed host is answered by rt, HTTPS too, with certificates of the
// authority; the rest is passed on as it is, or, when strict, goes to rt as
// well, which will not know it.
func Forward(rt http.RoundTripper, ca *Authority, allowed func(host string) bool, strict bool, warn func(string)) http.Handler {
	p := goproxy.NewProxyHttpServer()
	p.Logger = log.New(warner(warn), "", 0)
	p.Tr = transport.Dial(64, nil)
	p.KeepDestinationHeaders = true
	ours := func(hostport string) bool {
		host, _, err := net.SplitHostPort(hostport)
		if err != nil {
			host = hostport
		}
		return strict || allowed(host) || allowed(hostport)
	}
	p.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		if !ours(host) {
			return &goproxy.ConnectAction{Action: goproxy.ConnectAccept}, host
		}
		return &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: func(host string, _ *goproxy.ProxyCtx) (*tls.Config, error) {
			name, _, err := net.SplitHostPort(host)
			if err != nil {
				name = host
			}
			return ca.TLS(name), nil
		}}, host
	})
	p.OnRequest().DoFunc(func(req *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		if ours(req.URL.Host) {
			ctx.RoundTripper = goproxy.RoundTripperFunc(func(req *http.Request, _ *goproxy.ProxyCtx) (*http.Response, error) {
				out := req.Clone(req.Context())
				switch {
				case out.URL.Scheme == "https":
					out.URL.Host = strings.TrimSuffix(out.URL.Host, ":443")
				default:
					out.URL.Host = strings.TrimSuffix(out.URL.Host, ":80")
				}
				out.RequestURI = ""
				resp, err := rt.RoundTrip(out)
				if err != nil {
					return &http.Response{
						StatusCode: http.StatusBadGateway, Status: "502 Bad Gateway", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
						Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader("no answer: " + err.Error() + "\n")), ContentLength: -1,
					}, nil
				}
				return resp, nil
			})
		}
		return req, nil
	})
	return p
}

// warner passes what a library logs on as warnings.
type warner func(string)

func (w warner) Write(p []byte) (int, error) {
	if w != nil {
		w(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}
