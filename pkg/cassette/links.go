package cassette

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Links are the addresses of upstreams and where programs find them instead.
// In answers an address that begins with an upstream's would lead a program
// past us, so it becomes ours; in requests ours becomes the upstream's again,
// so that what is recorded does not know where we listened. It is safe for
// concurrent use.
type Links struct {
	mu     sync.RWMutex
	list   []link
	turned atomic.Int64
	left   atomic.Int64
}

type link struct{ upstream, local string }

// Add tells where an upstream is found.
func (l *Links) Add(u Upstream, local string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, link{u.address(""), strings.TrimSuffix(local, "/")})
}

// Turned returns how many links in answers were made to lead here.
func (l *Links) Turned() int64 { return l.turned.Load() }

// Left returns how many answers were left as they are, links or not, because
// they carry a digest of their bytes.
func (l *Links) Left() int64 { return l.left.Load() }

// swap is an address in one of the ways in which it may be written, and what
// takes its place.
type swap struct {
	from, to []byte
	// mark is a part of from that is searched for: the host, which all spellings of
	// an address share, so that they cost one search.
	mark []byte
	lead int // what of from stands before it
}

func newSwap(from, to, host string) swap {
	lead := strings.Index(from, host)
	if host == "" || lead < 0 {
		host, lead = from, 0
	}
	return swap{from: []byte(from), to: []byte(to), mark: []byte(host), lead: lead}
}

// swaps returns what is to be replaced in answers, and in requests. own is the
// upstream at hand, found under the address that the client used.
func (l *Links) swaps(own link) (answers, requests []swap) {
	l.mu.RLock()
	list := append([]link{own}, l.list...)
	l.mu.RUnlock()
	// The longest first: one may begin with another.
	slices.SortStableFunc(list, func(a, b link) int { return len(b.upstream) - len(a.upstream) })
	known := map[string]bool{}
	for _, k := range list {
		if known[k.upstream] {
			continue
		}
		known[k.upstream] = true
		answers = append(answers, spellings(k.upstream, k.local)...)
		if from := withPort(k.upstream); from != k.upstream {
			answers = append(answers, spellings(from, k.local)...)
		}
	}
	slices.SortStableFunc(list, func(a, b link) int { return len(b.local) - len(a.local) })
	for _, k := range list {
		requests = append(requests, spellings(k.local, k.upstream)...)
	}
	same := func(a, b swap) bool { return bytes.Equal(a.from, b.from) }
	return slices.CompactFunc(answers, same), slices.CompactFunc(requests, same)
}

// withPort writes out the port that goes without saying.
func withPort(address string) string {
	base, rest := splitAddress(address)
	u, err := url.Parse(base)
	if err != nil || u.Port() != "" {
		return address
	}
	if u.Scheme == "https" {
		return base + ":443" + rest
	}
	return base + ":80" + rest
}

// spellings are the ways in which an address stands in text, in JSON, and in
// parameters.
func spellings(from, to string) []swap {
	base, _ := splitAddress(from)
	_, host, _ := strings.Cut(base, "://")
	host, _, _ = strings.Cut(host, ":")
	if strings.ContainsFunc(host, func(c rune) bool { return !isAlnum(c) && c != '.' && c != '-' }) {
		host = ""
	}
	escaped, escapedTo := url.QueryEscape(from), url.QueryEscape(to)
	return []swap{
		newSwap(from, to, host),
		newSwap(strings.ReplaceAll(from, "/", `\/`), strings.ReplaceAll(to, "/", `\/`), host),
		newSwap(escaped, escapedTo, host),
		newSwap(lowerEscapes(escaped), lowerEscapes(escapedTo), host),
	}
}

func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// follow is how many bytes behind an address tell whether it ends there.
const follow = 3

// endsThere tells whether an address can end before these bytes: it does not go
// on with a longer name or a port.
func endsThere(after []byte) bool {
	if len(after) == 0 {
		return true
	}
	switch c := after[0]; {
	case c >= 0x80 || isAlnum(rune(c)) || strings.IndexByte(".-_~:@", c) >= 0:
		return false
	case c == '%' && len(after) >= follow:
		return !slices.Contains([]string{"%3a", "%40", "%2e", "%2d"}, strings.ToLower(string(after[:follow])))
	}
	return true
}

// turn replaces addresses in data and returns what became of it, how many there
// were, and the end that can only be judged with what follows; with all, nothing
// follows. It writes to out, unless there is nothing to change.
func turn(out, data []byte, swaps []swap, all bool) (turned []byte, n int64, rest []byte) {
	done, at := 0, 0 // copied so far, looked at so far
	seek := newSeeker(data, swaps)
	for {
		s, begin := seek.from(at)
		if s == nil {
			break
		}
		end := begin + len(s.from)
		if len(data)-end < follow && !all {
			if done == 0 {
				return data[:begin], n, data[begin:]
			}
			return append(out, data[done:begin]...), n, data[begin:]
		}
		if endsThere(data[end:]) {
			if n == 0 {
				out = slices.Grow(out, len(data)+len(data)/8)
			}
			out = append(append(out, data[done:begin]...), s.to...)
			done = end
			n++
		}
		if at = end; done < at { // a longer name: what is in it may be another address
			at = begin + 1
		}
	}
	keep := 0
	if !all {
		keep = beginning(data[done:], swaps)
	}
	if done == 0 {
		return data[:len(data)-keep], n, data[len(data)-keep:]
	}
	return append(out, data[done:len(data)-keep]...), n, data[len(data)-keep:]
}

// seeker finds addresses in data, from left to right.
type seeker struct {
	data  []byte
	swaps []swap
	marks [][]byte
	hit   []int // where each comes next; len(data): nowhere
}

func newSeeker(data []byte, swaps []swap) *seeker {
	k := &seeker{data: data, swaps: swaps}
	for _, s := range swaps {
		if !slices.ContainsFunc(k.marks, func(m []byte) bool { return bytes.Equal(m, s.mark) }) {
			k.marks, k.hit = append(k.marks, s.mark), append(k.hit, -1)
		}
	}
	return k
}

// from returns the first address from a place on, and where it begins; nil behind the
// last. Places go up from call to call.
func (k *seeker) from(at int) (found *swap, begin int) {
	for {
		m := 0
		for n := range k.hit {
			if k.hit[n] < at {
				k.seek(n, at)
			}
			if k.hit[n] < k.hit[m] {
				m = n
			}
		}
		if len(k.hit) == 0 || k.hit[m] == len(k.data) {
			return nil, 0
		}
		for n := range k.swaps { // of two at the same place the first is the longer
			s := &k.swaps[n]
			b := k.hit[m] - s.lead
			if b >= at && (found == nil || b < begin) && bytes.Equal(s.mark, k.marks[m]) && bytes.HasPrefix(k.data[b:], s.from) {
				found, begin = s, b
			}
		}
		if found != nil {
			return found, begin
		}
		k.seek(m, k.hit[m]+1)
	}
}

// seek finds where a mark comes next.
func (k *seeker) seek(n, at int) {
	k.hit[n] = len(k.data)
	if i := bytes.Index(k.data[at:], k.marks[n]); i >= 0 {
		k.hit[n] = at + i
	}
}

// beginning is how much of the end of data may be the beginning of an address.
func beginning(data []byte, swaps []swap) (keep int) {
	for k := range swaps {
		from := swaps[k].from
		for n := min(len(from)-1, len(data)); n > keep; n-- {
			if bytes.HasPrefix(from, data[len(data)-n:]) {
				keep = n
				break
			}
		}
	}
	return keep
}

func turnString(s string, swaps []swap) (string, int64) {
	out, n, _ := turn(nil, []byte(s), swaps, true)
	if n == 0 {
		return s, 0
	}
	return string(out), n
}

// turnHeader replaces addresses in all values.
func turnHeader(h http.Header, swaps []swap) (total int64) {
	for _, values := range h {
		for i, v := range values {
			var n int64
			values[i], n = turnString(v, swaps)
			total += n
		}
	}
	return total
}

// turning replaces addresses in what is read through it, and holds nothing back
// that can be judged. Where there is nothing to replace, the bytes stay in the memory
// of the reader, and are not copied.
type turning struct {
	io.Closer
	from  io.Reader
	swaps []swap
	count *atomic.Int64 // nil: nobody counts

	tail    []byte // read, and cannot be judged yet
	out     []byte // to be passed on
	written []byte // where out is, when something was changed
	own     []byte // what is read into, where the reader has too little memory
	err     error
}

// turningSize is how much is read at once where the reader has too little memory.
const turningSize = 64 << 10

func (t *turning) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		data, theirs := p, true
		if len(p)-len(t.tail) < turningSize/2 {
			if len(t.own)-len(t.tail) < turningSize/2 { // addresses are short: this is once
				t.own = make([]byte, len(t.tail)+turningSize)
			}
			data, theirs = t.own, false
		}
		held := copy(data, t.tail)
		n, err := t.from.Read(data[held:])
		t.err = err
		out, found, rest := turn(t.written[:0], data[:held+n], t.swaps, err != nil)
		t.tail = append(t.tail[:0], rest...)
		if found > 0 {
			t.written = out
		}
		if t.count != nil {
			t.count.Add(found)
		}
		if theirs && found == 0 && len(out) > 0 {
			return len(out), nil // where it was read to
		}
		t.out = out
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// maxTurned is the largest body whose length is known beforehand that is held
// to tell its new length.
const maxTurned = 8 << 20

// turnBody replaces addresses in a body, if it is a text, and returns it with
// its new length, -1 for unknown; the headers that tell of it follow.
func turnBody(
	h http.Header, body io.ReadCloser, length int64, swaps []swap, count *atomic.Int64,
) (io.ReadCloser, int64) {
	if body == nil || body == http.NoBody || length == 0 || !isText(h.Get("Content-Type")) {
		return body, length
	}
	encoding := h.Get("Content-Encoding")
	switch {
	case !isIdentity(encoding) && isStream(h.Get("Content-Type")):
		plain, err := decoder(encoding, body)
		if err != nil {
			return body, length
		}
		h.Del("Content-Encoding")
		h.Del("Content-Length")
		return &turning{Closer: body, from: plain, swaps: swaps, count: count}, -1
	case isIdentity(encoding) && (length < 0 || length > maxTurned):
		h.Del("Content-Length")
		return &turning{Closer: body, from: body, swaps: swaps, count: count}, -1
	}
	data, err := readUpTo(body, length, maxTurned+1)
	rest := held{io.MultiReader(bytes.NewReader(data), orError(body, err)), body}
	if err != nil || len(data) > maxTurned {
		return rest, length
	}
	plain, ok := decode(encoding, data, maxRequest)
	out, n, _ := turn(nil, plain, swaps, true)
	if !ok || n == 0 {
		return rest, length
	}
	if out, err = encode(encoding, out); err != nil {
		return rest, length
	}
	if count != nil {
		count.Add(n)
	}
	h.Set("Content-Length", strconv.Itoa(len(out)))
	return held{bytes.NewReader(out), body}, int64(len(out))
}

// readUpTo reads a body, or its beginning where it is longer than a limit. length
// is what it is said to have, -1 for unknown.
func readUpTo(body io.Reader, length int64, limit int64) ([]byte, error) {
	var buf bytes.Buffer
	if length > 0 {
		buf.Grow(int(min(length, limit)) + bytes.MinRead) // at once, and not by doubling
	}
	_, err := buf.ReadFrom(io.LimitReader(body, limit))
	return buf.Bytes(), err
}

// held is a body of which something was read already.
type held struct {
	io.Reader
	io.Closer
}

// orError goes on with a body, or with what kept it from being read.
func orError(body io.Reader, err error) io.Reader {
	if err == nil {
		return body
	}
	return failing{err}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// isText tells whether a body of a type is one that may hold links.
func isText(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	kind, sub, _ := strings.Cut(media, "/")
	return kind == "text" || strings.Contains(sub, "json") || strings.HasSuffix(sub, "xml") ||
		slices.Contains([]string{"javascript", "x-www-form-urlencoded", "graphql", "yaml", "x-yaml", "ecmascript"}, sub)
}

// hasDigest tells whether a client can check the bytes of a body.
func hasDigest(h http.Header) bool {
	for name := range h {
		switch name = strings.ToLower(name); {
		case slices.Contains([]string{"content-md5", "digest", "content-digest", "repr-digest", "x-goog-hash"}, name),
			strings.HasPrefix(name, "x-amz-checksum-"):
			return true
		}
	}
	return false
}

// answer makes the links of an answer lead here.
func (l *Links) answer(resp *http.Response, swaps []swap, upstreamHost string, secure bool) {
	if resp.Header.Get(missHeader) != "" {
		return // is ours, and names the upstream's addresses
	}
	l.turned.Add(turnHeader(resp.Header, swaps))
	for n, v := range resp.Header["Set-Cookie"] {
		resp.Header["Set-Cookie"][n] = localCookie(v, upstreamHost, secure)
	}
	switch {
	case resp.Request != nil && resp.Request.Method == http.MethodHead, resp.StatusCode < 200,
		resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified:
		return
	case resp.StatusCode == http.StatusPartialContent || hasDigest(resp.Header):
		if isText(resp.Header.Get("Content-Type")) {
			l.left.Add(1)
		}
		return
	}
	resp.Body, resp.ContentLength = turnBody(resp.Header, resp.Body, resp.ContentLength, swaps, &l.turned)
}

// localCookie takes off a cookie what keeps a client from sending it back to
// us: the upstream's domain, and, where we are not behind TLS, that it has to
// be.
func localCookie(v, upstreamHost string, secure bool) string {
	host, _, _ := strings.Cut(upstreamHost, ":")
	parts := strings.Split(v, ";")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(p)), "=")
		domain := strings.TrimPrefix(strings.TrimSpace(value), ".")
		return name == "secure" && value == "" && !secure ||
			name == "domain" && (domain == host || strings.HasSuffix(host, "."+domain))
	}), ";")
}

// request makes addresses of ours in a request the upstream's.
func (l *Links) request(r *http.Request, swaps []swap) {
	turnHeader(r.Header, swaps)
	if r.ContentLength != 0 && !hasDigest(r.Header) {
		r.Body, r.ContentLength = turnBody(r.Header, r.Body, r.ContentLength, swaps, nil)
	}
}

// Sentence says what was done about links; empty where there were none.
func (l *Links) Sentence() string {
	var out []string
	if n := l.Turned(); n > 0 {
		out = append(out, fmt.Sprintf("%d links to partners in answers were made to lead here", n))
	}
	if n := l.Left(); n > 0 {
		out = append(out, fmt.Sprintf("%d answers were not looked through for links, as they are parts or carry a digest", n))
	}
	return strings.Join(out, "; ")
}
