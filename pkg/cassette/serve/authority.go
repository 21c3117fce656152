package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// Authority signs certificates for any host that a program asks for. Its key is kept in
// memory only and never outlives the process. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte

	mu   sync.Mutex
	made map[string]*tls.Certificate
}

// NewAuthority makes an authority that is valid for a day.
func NewAuthority(now time.Time) (*Authority, error) {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "fanfold, for one run"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, key, err := certify(t, t, nil)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		made: map[string]*tls.Certificate{}}, nil
}

// certify makes a certificate with a new key. It is signed by the given key; nil: by its own.
func certify(t, parent *x509.Certificate, by *ecdsa.PrivateKey) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	if by == nil {
		by = key
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	der, err = x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, by)
	return der, key, err
}

// PEM is the authority's certificate, for programs that should trust it.
func (a *Authority) PEM() []byte { return a.pem }

// maxCertificates limits for how many hosts a program can make us sign.
const maxCertificates = 10_000

// Certificate returns a certificate for a host.
func (a *Authority) Certificate(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.made[host]; c != nil {
		return c, nil
	}
	if len(a.made) >= maxCertificates {
		return nil, fmt.Errorf("certificates for more than %d hosts were asked for", maxCertificates)
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{host}
	}
	der, key, err := certify(t, a.cert, a.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
	a.made[host] = c
	return c, nil
}

// TLS is the configuration of a server. It has a certificate for every name that a
// client asks for; a client that names no host gets the one for the given host.
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
