package cassette

import (
	"net/http"
	"net/url"
	"strings"
)

// casePrefix begins a path that names the case of a request.
const casePrefix = "/__case/"

// toPrefix begins a path that names its upstream.
const toPrefix = "/__to/"

// cutPrefix takes /__xx/NAME off a path and query.
func cutPrefix(target, prefix string) (name, rest string, ok bool) {
	after, ok := strings.CutPrefix(target, prefix)
	if !ok {
		return "", target, false
	}
	end := strings.IndexAny(after, "/?")
	if end < 0 {
		end = len(after)
	}
	name, rest = after[:end], after[end:]
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	if rest == "" || rest[0] == '?' {
		rest = "/" + rest
	}
	return name, rest, true
}

// Reverse serves upstreams by rt, as if they were there. With more than one, a
// request says which it is for by the prefix /__to/NAME; without it the first
// is meant that choose, if any, says knows the request. /__case/NAME, or the
// header X-Replay-Case, names the case. Links in answers that would lead to an
// upstream lead here instead; links, if not nil, knows those of other listeners
// and counts.
func Reverse(upstreams []Upstream, rt http.RoundTripper, choose func(method, url string) bool,
	links *Links) http.Handler {
	next := newFront(rt)
	if links == nil {
		links = &Links{}
	}
	pick := func(method, target string) (Upstream, string) {
		if name, rest, ok := cutPrefix(target, toPrefix); ok {
			for _, u := range upstreams {
				if u.Name == name {
					return u, rest
				}
			}
		}
		if len(upstreams) > 1 && choose != nil {
			for _, u := range upstreams {
				if choose(method, u.address(target)) {
					return u, target
				}
			}
		}
		return upstreams[0], target
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := targetOf(r)
		name := r.Header.Get(CaseHeader)
		if n, rest, ok := cutPrefix(target, casePrefix); ok {
			name, target = n, rest
		}
		if name != "" {
			r.Header.Set(CaseHeader, name) // of the path, too; it goes no further than to a cassette
		}
		u, rest := pick(r.Method, target)
		own := link{u.address(""), localBase(r)}
		if rest != target {
			own.local += toPrefix + u.Name
		}
		turns := links.turnsOf(own)
		rest, _ = turnString(rest, turns.requests)
		links.request(r, turns.requests)
		next.serve(w, r, &place{
			scheme: u.URL.Scheme, host: u.URL.Host, target: u.prefix() + rest,
			modify: func(resp *http.Response) { links.answer(resp, turns.answers, u.URL.Host, r.TLS != nil) },
		})
	})
}

// localBase is the address under which the client found us.
func localBase(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// prefix is the path of an upstream's own, before those of requests.
func (u Upstream) prefix() string { return strings.TrimSuffix(u.URL.EscapedPath(), "/") }

// address is where a request for a target goes.
func (u Upstream) address(target string) string {
	return u.URL.Scheme + "://" + u.URL.Host + u.prefix() + target
}
