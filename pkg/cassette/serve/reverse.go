package serve

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// casePrefix begins a path that names the request's case.
const casePrefix = "/__case/"

// toPrefix begins a path that names the request's upstream.
const toPrefix = "/__to/"

// cutPrefix removes /__xx/NAME from a path and query.
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

// Reverse serves upstreams, with answers from rt. If there are several, the prefix
// /__to/NAME of a path names the upstream. Without it, the first upstream is used for
// which choose, if not nil, returns true, or else the first of all. The prefix
// /__case/NAME, or the header X-Replay-Case, names the case. Links to an upstream in an
// answer are replaced by links to here. links, if not nil, knows the addresses of other
// listeners, and counts the replacements.
func Reverse(upstreams []cassette.Upstream, rt http.RoundTripper, choose func(method, url string) bool,
	links *Links) http.Handler {
	next := newFront(rt)
	if links == nil {
		links = &Links{}
	}
	pick := func(method, target string) (cassette.Upstream, string) {
		if name, rest, ok := cutPrefix(target, toPrefix); ok {
			for _, u := range upstreams {
				if u.Name == name {
					return u, rest
				}
			}
		}
		if len(upstreams) > 1 && choose != nil {
			for _, u := range upstreams {
				if choose(method, addressOf(u, target)) {
					return u, target
				}
			}
		}
		return upstreams[0], target
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := targetOf(r)
		name := r.Header.Get(wire.CaseHeader)
		if n, rest, ok := cutPrefix(target, casePrefix); ok {
			name, target = n, rest
		}
		if name != "" {
			r.Header.Set(wire.CaseHeader, name) // a case from the path, too; the header never reaches a partner
		}
		u, rest := pick(r.Method, target)
		own := link{addressOf(u, ""), localBase(r)}
		if rest != target {
			own.local += toPrefix + u.Name
		}
		turns := links.turnsOf(own)
		rest, _ = turnString(rest, turns.requests)
		links.request(r, turns.requests)
		next.serve(w, r, &place{
			scheme: u.URL.Scheme, host: u.URL.Host, target: prefixOf(u) + rest,
			modify: func(resp *http.Response) { links.answer(resp, turns.answers, u.URL.Host, r.TLS != nil) },
		})
	})
}

// localBase is the address that the client used to reach us.
func localBase(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// prefixOf is the upstream's own path, which comes before the path of each request.
func prefixOf(u cassette.Upstream) string { return strings.TrimSuffix(u.URL.EscapedPath(), "/") }

// addressOf is the full address for the path and query of a request.
func addressOf(u cassette.Upstream, target string) string {
	return u.URL.Scheme + "://" + u.URL.Host + prefixOf(u) + target
}
