package destination

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Grant is how a token is asked for: a form that is posted to an address, as OAuth 2 has it
// (RFC 6749, 4.4 and 6). The transport asks for it below the recorder, keeps one token for
// all requests of a lane, and asks again before that ends and when a partner does not take it
// any more. A grant is immutable.
type Grant struct {
	URL  string
	form url.Values
}

// RefreshToken signs requests with a token that is got for a refresh token at an address.
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

// Grant is how a token is asked for; nil: none is needed.
func (a Auth) Grant() *Grant { return a.grant }

// WithToken is the Auth with a token instead of the grant, for where none can be asked for.
// Without a grant it is the Auth itself.
func (a Auth) WithToken(token string) Auth {
	if a.grant == nil {
		return a
	}
	a.grant = nil
	return Bearer(token).And(a)
}

// Form is what is posted. refresh, when not "", takes the place of the refresh token: a
// partner may have given another one.
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

// moved asks for the token below another base address, where everything else is sent, too.
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

// secrets are those in the form.
func (g *Grant) secrets() (out []string) {
	for _, k := range []string{"client_secret", "refresh_token"} {
		if v := g.form.Get(k); v != "" {
			out = append(out, v, url.QueryEscape(v))
		}
	}
	return out
}
