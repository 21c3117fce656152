package destination

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Auth is how requests authenticate with a partner. The zero Auth adds nothing. It is applied at the bottom of the
// transport chain, below the recorder, so that cassettes hold no credentials.
type Auth struct {
	headers map[string]string
	query   map[string]string
	sign    func(s *Signing)
	grant   *Grant // nil, unless a token has to be requested first
	host    string // the only host that gets the credentials; "": every host
}

// Basic is HTTP basic authentication.
func Basic(user, password string) Auth {
	return HeaderAuth("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// Bearer is a token in the Authorization header.
func Bearer(token string) Auth { return HeaderAuth("Authorization", "Bearer "+token) }

// HeaderAuth sends a secret in a header.
func HeaderAuth(name, value string) Auth {
	return Auth{headers: map[string]string{http.CanonicalHeaderKey(name): value}}
}

// QueryAuth sends a secret in the query.
func QueryAuth(name, value string) Auth { return Auth{query: map[string]string{name: value}} }

// Signing is a request that is being signed: as it is sent, with all other credentials in it.
type Signing struct {
	Method string
	URL    *url.URL
	Header http.Header // may be changed
	Body   []byte
	Now    time.Time     // of sending
	Nonce  func() string // a text that no other request has: 32 hexadecimal digits
}

// Sign computes a header from the body as it is sent.
func Sign(f func(h http.Header, body []byte)) Auth {
	return SignRequest(func(s *Signing) { f(s.Header, s.Body) })
}

// SignRequest computes headers from the request as it is sent, and from the time. f is called concurrently.
func SignRequest(f func(s *Signing)) Auth { return Auth{sign: f} }

// withUser moves the user and password of an address into the Auth, as basic authentication. Addresses in requests
// have to be without them, and net/http would drop them silently. It is an error when the partner's own
// credentials are in the same header.
func (a Auth) withUser(address string) (Auth, string, error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return a, address, nil
	}
	password, _ := u.User.Password()
	basic := Basic(u.User.Username(), password)
	if have, ok := a.headers["Authorization"]; ok && have != basic.headers["Authorization"] {
		return a, address, errors.New("the address holds a user, which is sent as the header Authorization, and the " +
			"credentials there are already: take one of them out")
	}
	u.User = nil
	return basic.And(a), u.String(), nil
}

// Only limits the credentials to the host of an address: they are sent to no other.
func (a Auth) Only(address string) Auth {
	if u, err := url.Parse(address); err == nil {
		a.host = u.Host
	}
	return a
}

// And combines two Auths: both are applied.
func (a Auth) And(b Auth) Auth {
	out := Auth{headers: map[string]string{}, query: map[string]string{}, grant: a.grant, host: a.host}
	for _, x := range []Auth{a, b} {
		for k, v := range x.headers {
			out.headers[k] = v
		}
		for k, v := range x.query {
			out.query[k] = v
		}
		switch first, second := out.sign, x.sign; {
		case second == nil:
		case first == nil:
			out.sign = second
		default:
			out.sign = func(s *Signing) { first(s); second(s) }
		}
		if x.grant != nil {
			out.grant = x.grant
		}
	}
	return out
}

// IsZero says whether there are no credentials to apply.
func (a Auth) IsZero() bool {
	return len(a.headers) == 0 && len(a.query) == 0 && a.sign == nil && a.grant == nil
}

// check finds values that no request could carry. net/http would refuse them at every request, which would look as
// if the partner were down.
func (a Auth) check() error {
	for _, name := range slices.Sorted(maps.Keys(a.headers)) {
		if !httpguts.ValidHeaderFieldValue(a.headers[name]) {
			return fmt.Errorf("the credentials hold a line end or another control character, which the header %s cannot", name)
		}
	}
	return nil
}

// Apply adds the credentials to a request, whose header and URL it may change, and signs it: see [Auth.Sign]. A token
// that has to be requested first is left to the transport, which then signs the request.
func (a Auth) Apply(req *http.Request, now time.Time, nonce func() string) {
	if !a.IsFor(req) {
		return
	}
	for k, v := range a.headers {
		req.Header[k] = []string{v}
	}
	if len(a.query) > 0 {
		u := *req.URL
		q := u.Query()
		for k, v := range a.query {
			q.Set(k, v)
		}
		u.RawQuery = q.Encode()
		req.URL = &u
	}
	if a.grant == nil {
		a.Sign(req, now, nonce)
	}
}

// IsFor says whether a request's host gets the credentials: see [Auth.Only].
func (a Auth) IsFor(req *http.Request) bool { return a.host == "" || req.URL.Host == a.host }

// Sign adds what is computed from a request in which all other credentials are.
func (a Auth) Sign(req *http.Request, now time.Time, nonce func() string) {
	if a.sign != nil && a.IsFor(req) {
		data, _ := RequestBytes(req)
		a.sign(&Signing{Method: req.Method, URL: req.URL, Header: req.Header, Body: data, Now: now, Nonce: nonce})
	}
}

// Secrets are the values that Apply adds, also in the encoded forms in which they are sent. Redaction needs them.
func (a Auth) Secrets() []string {
	var out []string
	for _, v := range a.headers {
		out = append(out, v)
	}
	for _, v := range a.query {
		out = append(out, v, url.QueryEscape(v))
	}
	if a.grant != nil {
		out = append(out, a.grant.secrets()...)
	}
	return out
}
