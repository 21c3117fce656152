package wire

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Address is the address to which a request is sent, byte for byte. It is a string
// because [url.URL] cannot hold every way in which clients escape a path.
func Address(req *http.Request) string {
	u := req.URL
	if !strings.HasPrefix(u.Opaque, "/") || strings.HasPrefix(u.Opaque, "//") {
		return u.String()
	}
	s := u.Scheme + "://" + u.Host + u.Opaque
	if u.ForceQuery || u.RawQuery != "" {
		s += "?" + u.RawQuery
	}
	return s
}

// SetAddress directs a request to an address that [Address] returned, so that
// the same bytes are sent.
func SetAddress(req *http.Request, address string) error {
	address, _, _ = strings.Cut(address, "#") // the fragment is never sent
	base, target := SplitAddress(address)
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	SetTarget(u, target)
	req.URL, req.Host = u, u.Host
	return nil
}

// SplitAddress splits an address after its host.
func SplitAddress(s string) (base, target string) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "", s
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return scheme + "://" + rest[:i], rest[i:]
	}
	return s, ""
}

// SetTarget puts a path and query into a URL so that [url.URL.RequestURI], and
// with it net/http, gives them back unchanged.
func SetTarget(u *url.URL, target string) {
	path, query, hasQuery := strings.Cut(target, "?")
	u.RawQuery, u.ForceQuery = query, hasQuery && query == ""
	u.Opaque = ""
	plain, err := url.PathUnescape(path)
	if err != nil {
		plain = path
	}
	u.Path, u.RawPath = plain, path
	if u.EscapedPath() == path {
		return
	}
	// net/url would write these escapes differently. In this form a path that begins
	// with // would be taken for a host.
	if u.Opaque = path; strings.HasPrefix(path, "//") {
		u.Opaque = "//" + u.Host + path
	}
}

// Sendable escapes the characters that a path may have in a file or on the command line of a program, but
// that most programs escape when they send it: <, blanks, letters beyond ASCII.
func Sendable(path string) string {
	odd := func(c byte) bool { return c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 }
	for i := range len(path) {
		if !odd(path[i]) {
			continue
		}
		b := []byte(path[:i])
		for _, c := range []byte(path[i:]) {
			if odd(c) {
				b = fmt.Appendf(b, "%%%02X", c)
			} else {
				b = append(b, c)
			}
		}
		return string(b)
	}
	return path
}

// BareHost drops the scheme's default port.
func BareHost(scheme, host string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}
