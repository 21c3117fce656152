package destination

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/net/http/httpguts"
)

// Auth is how a partner knows who is calling. The zero Auth is nobody. It is
// applied at the bottom of the transport chain, below the recorder.
type Auth struct {
	headers map[string]string
	query   map[string]string
	sign    func(h http.Header, body []byte)
	grant   *Grant // a token is asked for
	host    string // "": every one
}

// Basic is HTTP basic authentication.
func Basic(user, password string) Auth {
	return HeaderAuth("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// Bearer is a token in the Authorization header.
func Bearer(token string) Auth { return HeaderAuth("Authorization", "Bearer "+token) }

// HeaderAuth is a secret in a header.
func HeaderAuth(name, value string) Auth {
	return Auth{headers: map[string]string{http.CanonicalHeaderKey(name): value}}
}

// QueryAuth is a secret in the query.
func QueryAuth(name, value string) Auth { return Auth{query: map[string]string{name: value}} }

// Sign computes a header from the body as it is sent.
func Sign(f func(h http.Header, body []byte)) Auth { return Auth{sign: f} }

// withUser takes user and password out of an address and adds them to what the partner
// asks for anyhow, as basic authentication: requests carry addresses without them, and
// net/http would drop them in silence. It is an error when both are in the same header.
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

// Only sends the credentials to no other host than that of an address.
func (a Auth) Only(address string) Auth {
	if u, err := url.Parse(address); err == nil {
		a.host = u.Host
	}
	return a
}

// And applies both.
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
			out.sign = func(h http.Header, body []byte) { first(h, body); second(h, body) }
		}
		if x.grant != nil {
			out.grant = x.grant
		}
	}
	return out
}

// IsZero says that there is nothing to apply.
func (a Auth) IsZero() bool {
	return len(a.headers) == 0 && len(a.query) == 0 && a.sign == nil && a.grant == nil
}

// check finds what no request could carry: net/http refuses it at each, which
// would look like a partner that is down.
func (a Auth) check() error {
	for _, name := range slices.Sorted(maps.Keys(a.headers)) {
		if !httpguts.ValidHeaderFieldValue(a.headers[name]) {
			return fmt.Errorf("the credentials hold a line end or another control character, which the header %s cannot", name)
		}
	}
	return nil
}

// Apply adds the credentials to a request, whose header and URL it may change. A token that
// has to be asked for is the transport's business.
func (a Auth) Apply(req *http.Request) {
	if a.host != "" && req.URL.Host != a.host {
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
	if a.sign != nil {
		data, _ := RequestBytes(req)
		a.sign(req.Header, data)
	}
}

// Secrets are the values that Apply adds, also in the forms in which they
// travel, for redaction.
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
