package cassette

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

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

// Env is the name of the environment variable that tells a program the upstream's
// address: SHOP_BASE_URL.
func (u Upstream) Env() string {
	return strings.ToUpper(strings.ReplaceAll(u.Name, "-", "_")) + "_BASE_URL"
}

// Upstreams returns the upstreams from the cassettes' sidecars. If there are none, it
// takes the hosts of the interactions, and names the upstreams after them.
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
					return fmt.Errorf("%s is %s in one cassette and %s in another: "+
						"replay them one by one, or say --to %s=URL", name, o.URL, u.URL, name)
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
					if r < 0x80 && redact.IsAlnum(byte(r)) {
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
