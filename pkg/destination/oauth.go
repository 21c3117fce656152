package destination

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// Grant is how an access token is requested: values sent to an address, as in OAuth 2 (RFC 6749, 4.3, 4.4 and 6) or as
// a partner has it of its own. The transport requests it below the recorder and shares one token among all requests of
// a lane. It requests a new one before the token expires, and when the partner no longer accepts it. A grant is
// immutable.
type Grant struct {
	URL string
	// Send are the values of the request: name, value, name, value. What is "" is left out. They are posted as a form,
	// with JSON as an object of texts, and with Query they are the query of a GET.
	Send        []string
	JSON, Query bool
	// User and Password are sent as basic authentication, unless both are "".
	User, Password string
	// Token and Ends are the paths in the answer of the token, and of the seconds for which it holds, which need not be
	// there. "": access_token and expires_in.
	Token, Ends string
	// Header and Prefix say where requests carry the token, and what stands before it. No Header: Authorization, after
	// "Bearer ".
	Header, Prefix string
	// Refused are texts in an answer that say that the token no longer holds, of a partner that says so with another
	// status than 401.
	Refused []string
}

// Exchange authenticates requests with an access token that a grant describes. It panics when a value has no name.
func Exchange(g Grant) Auth {
	if len(g.Send)%2 != 0 {
		panic("destination: Exchange: Send has a name without a value")
	}
	g.Token, g.Ends = cmp.Or(g.Token, "access_token"), cmp.Or(g.Ends, "expires_in")
	if g.Header == "" {
		g.Header, g.Prefix = "Authorization", "Bearer "
	}
	return Auth{grant: &g}
}

// RefreshToken authenticates requests with an access token, which it gets from an address in exchange for a
// refresh token.
func RefreshToken(address, clientID, clientSecret, token string) Auth {
	return Exchange(Grant{URL: address, Send: []string{"grant_type", "refresh_token", "refresh_token", token,
		"client_id", clientID, "client_secret", clientSecret}})
}

// ClientCredentials authenticates requests with an access token, which it gets from an address in exchange for the id
// and the secret of a client. more are further values of the request, such as "scope" and its value.
func ClientCredentials(address, clientID, clientSecret string, more ...string) Auth {
	return Exchange(Grant{URL: address, Send: append([]string{"grant_type", "client_credentials", "client_id", clientID,
		"client_secret", clientSecret}, more...)})
}

// Grant is how a token is requested; nil: no token is needed.
func (a Auth) Grant() *Grant { return a.grant }

// WithToken returns the Auth with a fixed token instead of the grant, for use where none can be requested. Without
// a grant it returns the Auth unchanged.
func (a Auth) WithToken(token string) Auth {
	if a.grant == nil {
		return a
	}
	g := a.grant
	a.grant = nil
	return HeaderAuth(g.Header, g.Prefix+token).And(a)
}

// Form are the values of the request as a form. refresh, when not "", replaces the refresh token, because a partner may
// have issued a new one.
func (g *Grant) Form(refresh string) string {
	form := url.Values{}
	for name, value := range g.values(refresh) {
		form.Set(name, value)
	}
	return form.Encode()
}

// Renews says that the request has a refresh token, in whose place a partner may give another.
func (g *Grant) Renews() bool {
	for name := range g.values("") {
		if name == "refresh_token" {
			return true
		}
	}
	return false
}

// values are the values of the request, by name.
func (g *Grant) values(refresh string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for p := range slices.Chunk(g.Send, 2) {
			name, value := p[0], p[1]
			if name == "refresh_token" && refresh != "" {
				value = refresh
			}
			if value != "" && !yield(name, value) {
				return
			}
		}
	}
}

// Request is the request for a token. refresh is as in Form.
func (g *Grant) Request(ctx context.Context, refresh string) (*http.Request, error) {
	method, address, contentType, body := http.MethodPost, g.URL, "application/x-www-form-urlencoded", ""
	switch {
	case g.Query:
		u, err := url.Parse(g.URL)
		if err != nil {
			return nil, err
		}
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += g.Form(refresh)
		method, address, contentType = http.MethodGet, u.String(), ""
	case g.JSON:
		text := []byte("{")
		for name, value := range g.values(refresh) {
			if len(text) > 1 {
				text = append(text, ',')
			}
			text = event.AppendQuoted(append(event.AppendQuoted(text, name), ':'), value)
		}
		contentType, body = "application/json", string(append(text, '}'))
	default:
		body = g.Form(refresh)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if req.Header.Set("Accept", "application/json"); contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if g.User != "" || g.Password != "" {
		req.SetBasicAuth(g.User, g.Password)
	}
	return req, nil
}

// moved requests the token below another base address, to which all other requests go, too.
func (a Auth) moved(base string) (Auth, error) {
	if a.grant == nil {
		return a, nil
	}
	u, err := url.Parse(a.grant.URL)
	if err != nil {
		return a, fmt.Errorf("the address that tokens come from: %w", err)
	}
	g := *a.grant
	g.URL = strings.TrimRight(base, "/") + u.RequestURI()
	a.grant = &g
	return a, nil
}

// aSecret is what the names of secret values have in them.
var aSecret = regexp.MustCompile(`(?i)secret|password|token|key|assertion`)

// secrets are the secret values of the request.
func (g *Grant) secrets() (out []string) {
	for name, value := range g.values("") {
		if aSecret.MatchString(name) {
			out = append(out, value, url.QueryEscape(value))
		}
	}
	if g.Password != "" {
		out = append(out, g.Password, base64.StdEncoding.EncodeToString([]byte(g.User+":"+g.Password)))
	}
	return out
}
