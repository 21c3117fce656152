package destination

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Grant is how an access token is requested: a form posted to an address, as in OAuth 2 (RFC 6749, 4.4 and 6). The
// transport requests it below the recorder and shares one token among all requests of a lane. It requests a new
// one before the token expires, and when the partner no longer accepts it. A grant is immutable.
type Grant struct {
	URL  string
	form url.Values
}

// RefreshToken authenticates requests with an access token, which it gets from an address in exchange for a
// refresh token.
func RefreshToken(address, clientID, clientSecret, token string) Auth {
	return granted(address, "grant_type", "refresh_token", "refresh_token", token, "client_id", clientID, "client_secret",
		clientSecret)
}

func granted(address string, pairs ...string) Auth {
	form := url.Values{}
	for p := range slices.Chunk(pairs, 2) {
		if p[1] != "" {
			form.Set(p[0], p[1])
		}
	}
	return Auth{grant: &Grant{URL: address, form: form}}
}

// Grant is how a token is requested; nil: no token is needed.
func (a Auth) Grant() *Grant { return a.grant }

// WithToken returns the Auth with a fixed token instead of the grant, for use where none can be requested. Without
// a grant it returns the Auth unchanged.
func (a Auth) WithToken(token string) Auth {
	if a.grant == nil {
		return a
	}
	a.grant = nil
	return Bearer(token).And(a)
}

// Form is the form to post. refresh, when not "", replaces the refresh token, because a partner may have issued a
// new one.
func (g *Grant) Form(refresh string) string {
	if refresh == "" || !g.form.Has("refresh_token") {
		return g.form.Encode()
	}
	form := url.Values{}
	for k, v := range g.form {
		form[k] = v
	}
	form.Set("refresh_token", refresh)
	return form.Encode()
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
	a.grant = &Grant{URL: strings.TrimRight(base, "/") + u.RequestURI(), form: a.grant.form}
	return a, nil
}

// secrets are the secret values in the form.
func (g *Grant) secrets() (out []string) {
	for _, k := range []string{"client_secret", "refresh_token"} {
		if v := g.form.Get(k); v != "" {
			out = append(out, v, url.QueryEscape(v))
		}
	}
	return out
}
