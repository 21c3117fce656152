package serve

import (
	"bytes"
	"errors"
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

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// Links hold the addresses of upstreams and the local addresses that stand for them. An
// upstream's address in an answer would lead a program past us, so it is replaced by
// ours. In requests our address is replaced by the upstream's, so that a recording does
// not depend on the address where we listened. Links are safe for concurrent use.
type Links struct {
	mu     sync.Mutex
	list   []link
	last   turns // cache of the last request's replacements
	spare  spare
	turned atomic.Int64 // links in answers that were replaced
	left   atomic.Int64 // answers that were not searched: parts of a body, or with a digest
}

type link struct{ upstream, local string }

// Add sets the local address of an upstream.
func (l *Links) Add(u cassette.Upstream, local string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, link{addressOf(u, ""), strings.TrimSuffix(local, "/")})
	l.last = turns{}
}

// memory returns the buffers that are kept for later answers.
func (l *Links) memory() spare {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spare == nil {
		l.spare = make(spare, maxSpare)
	}
	return l.spare
}

// turns are the replacements in an upstream's answers and in the requests to it.
type turns struct {
	own               link
	answers, requests swaps
}

// swaps are replacements, grouped by the host. All spellings of an address contain the
// host in the same form, so that one search finds them all.
type swaps []marked

type marked struct {
	mark []byte
	rare int    // index of the byte of mark that is rarest in texts
	list []swap // if two begin at the same byte, the longer comes first
}

// swap is one spelling of an address, and its replacement.
type swap struct {
	from, to []byte
	lead     int // how many bytes of from come before the mark
}

// newSwaps groups a list of spellings, which has to be sorted by length, the longest
// first.
func newSwaps(list []spelling) (all swaps) {
	known := map[string]bool{}
	for _, s := range list {
		if known[s.from] {
			continue
		}
		known[s.from] = true
		lead := strings.Index(s.from, s.host)
		if s.host == "" || lead < 0 {
			s.host, lead = s.from, 0
		}
		at := slices.IndexFunc(all, func(m marked) bool { return string(m.mark) == s.host })
		if at < 0 {
			at, all = len(all), append(all, marked{mark: []byte(s.host), rare: rarest(s.host)})
		}
		all[at].list = append(all[at].list, swap{from: []byte(s.from), to: []byte(s.to), lead: lead})
	}
	return all
}

// turnsOf returns the replacements for an upstream that a client reached at a local
// address.
func (l *Links) turnsOf(own link) turns {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.own != own {
		l.last = newTurns(own, l.list)
	}
	return l.last
}

func newTurns(own link, others []link) turns {
	list := append([]link{own}, others...)
	// The longest first, because one address may be the beginning of another.
	slices.SortStableFunc(list, func(a, b link) int { return len(b.upstream) - len(a.upstream) })
	known := map[string]bool{}
	var answers, requests []spelling
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
	return turns{own, newSwaps(answers), newSwaps(requests)}
}

// withPort adds the scheme's default port to an address.
func withPort(address string) string {
	base, rest := wire.SplitAddress(address)
	u, err := url.Parse(base)
	if err != nil || u.Port() != "" {
		return address
	}
	if u.Scheme == "https" {
		return base + ":443" + rest
	}
	return base + ":80" + rest
}

// spelling is one way to write an address, its replacement, and the host as it is
// written there. host is "" if it has several forms.
type spelling struct{ from, to, host string }

// spellings returns the forms that an address has in text, in JSON, and in parameters.
func spellings(from, to string) []spelling {
	base, _ := wire.SplitAddress(from)
	_, host, _ := strings.Cut(base, "://")
	host, _, _ = strings.Cut(host, ":")
	if strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
		host = ""
	}
	escaped, escapedTo := url.QueryEscape(from), url.QueryEscape(to)
	return []spelling{
		{from, to, host},
		{strings.ReplaceAll(from, "/", `\/`), strings.ReplaceAll(to, "/", `\/`), host},
		{escaped, escapedTo, host},
		{lowerEscapes(escaped), lowerEscapes(escapedTo), host},
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

// follow is how many bytes after an address have to be known to decide whether it ends
// there.
const follow = 3

// endsThere is true if an address can end before these bytes, because they do not
// continue it with a longer name or a port.
func endsThere(after []byte) bool {
	if len(after) == 0 {
		return true
	}
	switch c := after[0]; {
	case c >= 0x80 || redact.IsAlnum(c) || strings.IndexByte(".-_~:@", c) >= 0:
		return false
	case c == '%' && len(after) >= follow:
		return !slices.Contains([]string{"%3a", "%40", "%2e", "%2d"}, strings.ToLower(string(after[:follow])))
	}
	return true
}

// places calls found for each address in data, from left to right, with its begin. An
// address that is only the beginning of a longer name does not count. places returns
// the index of the part that can be decided only with the bytes after data; if all is
// true, there are none.
func (w swaps) places(data []byte, all bool, found func(begin int, s *swap)) int {
	done, at := 0, 0
	seek := seeker{data: data, swaps: w, hits: make([]int, len(w))}
	for n := range seek.hits {
		seek.seek(n, 0)
	}
	for {
		s, begin := seek.from(at)
		if s == nil {
			break
		}
		end := begin + len(s.from)
		if len(data)-end < follow && !all {
			return begin
		}
		if endsThere(data[end:]) {
			found(begin, s)
			done = end
		}
		if at = end; done < at { // part of a longer name, which may itself contain another address
			at = begin + 1
		}
	}
	if all {
		return len(data)
	}
	return len(data) - w.beginning(data[done:])
}

// turn replaces the addresses in data. It returns the result, the number of
// replacements, and the rest of data that can be decided only with the bytes after it;
// if all is true, there are none. It writes to out, unless nothing has to be changed.
func turn(out, data []byte, w swaps, all bool) (turned []byte, n int64, rest []byte) {
	done := 0
	keep := w.places(data, all, func(begin int, s *swap) {
		if n++; n == 1 {
			out = slices.Grow(out, len(data)+len(data)/8)
		}
		out = append(append(out, data[done:begin]...), s.to...)
		done = begin + len(s.from)
	})
	if n == 0 {
		return data[:keep], 0, data[keep:]
	}
	return append(out, data[done:keep]...), n, data[keep:]
}

// seeker finds addresses in data, from left to right.
type seeker struct {
	data  []byte
	swaps swaps
	hits  []int // next index of each mark; len(data): none
}

// from returns the first address at or after an index, and its begin; nil if there is
// none. The index must not decrease from call to call.
func (k *seeker) from(at int) (found *swap, begin int) {
	for {
		m := -1
		for n, hit := range k.hits {
			if hit < at {
				k.seek(n, at)
			}
			if m < 0 || k.hits[n] < k.hits[m] {
				m = n
			}
		}
		if m < 0 || k.hits[m] == len(k.data) {
			return nil, 0
		}
		list := k.swaps[m].list
		for n := range list {
			s := &list[n]
			b := k.hits[m] - s.lead
			if b >= at && (found == nil || b < begin) && bytes.HasPrefix(k.data[b:], s.from) {
				found, begin = s, b
			}
		}
		if found != nil {
			return found, begin
		}
		k.seek(m, k.hits[m]+1)
	}
}

// seek finds the next index of a mark. It looks for the mark's rarest byte, because
// most other bytes of a host are in every line of a text. After 64 false hits it
// searches for the whole mark instead.
func (k *seeker) seek(n, at int) {
	m := &k.swaps[n]
	k.hits[n] = len(k.data)
	for tries := 0; tries < 64; tries++ {
		i := bytes.IndexByte(k.data[min(at+m.rare, len(k.data)):], m.mark[m.rare])
		if i < 0 {
			return
		}
		if at += i; bytes.HasPrefix(k.data[at:], m.mark) {
			k.hits[n] = at
			return
		}
		at++
	}
	if i := bytes.Index(k.data[at:], m.mark); i >= 0 {
		k.hits[n] = at + i
	}
}

// seldom lists the bytes of hosts, the rarest in texts and JSON first.
const seldom = "qzxjkvwybgfphmul7896ucdrniotas5432-e10."

// rarest is the index of a mark's rarest byte.
func rarest(mark string) int {
	best, at := len(seldom), 0
	for i := range len(mark) {
		if rank := strings.IndexByte(seldom, mark[i]|0x20); rank >= 0 && rank < best {
			best, at = rank, i
		}
	}
	return at
}

// beginning returns how many bytes at the end of data may be the beginning of an
// address.
func (w swaps) beginning(data []byte) (keep int) {
	for _, m := range w {
		for _, s := range m.list {
			for n := min(len(s.from)-1, len(data)); n > keep; n-- {
				if bytes.HasPrefix(s.from, data[len(data)-n:]) {
					keep = n
					break
				}
			}
		}
	}
	return keep
}

func turnString(s string, swaps swaps) (string, int64) {
	out, n, _ := turn(nil, []byte(s), swaps, true)
	if n == 0 {
		return s, 0
	}
	return string(out), n
}

// turnHeader replaces addresses in all values of the headers.
func turnHeader(h http.Header, swaps swaps) (total int64) {
	for _, values := range h {
		for i, v := range values {
			var n int64
			values[i], n = turnString(v, swaps)
			total += n
		}
	}
	return total
}

// turning is a reader that replaces addresses. It passes on every byte as soon as it
// can be decided. If nothing has to be replaced, the data is read straight into the
// caller's buffer and not copied.
type turning struct {
	io.Closer
	from  io.Reader
	swaps swaps
	count *atomic.Int64 // nil: replacements are not counted

	tail    []byte // read, but not decided yet
	out     []byte // decided, and not passed on yet
	written []byte // buffer for data that was changed
	own     []byte // own buffer, for when the caller's is too small
	err     error
}

// turningSize is how many bytes are read at once if the caller's buffer is too small.
const turningSize = 64 << 10

func (t *turning) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		data, theirs := p, true
		if len(p)-len(t.tail) < turningSize/2 {
			if len(t.own)-len(t.tail) < turningSize/2 { // happens once, because addresses are short
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
		addTo(t.count, found)
		if theirs && found == 0 && len(out) > 0 {
			return len(out), nil // already in the caller's buffer
		}
		t.out = out
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// maxTurned is the largest body of known length that is read completely to compute its
// new length.
const maxTurned = 8 << 20

// turnBody replaces the addresses in a body of text. It returns the body and its new
// length, -1 for unknown, and adjusts the headers.
func turnBody(
	h http.Header, body io.ReadCloser, length int64, swaps swaps, count *atomic.Int64, memory spare,
) (io.ReadCloser, int64) {
	if body == nil || body == http.NoBody || length == 0 || !isText(h.Get("Content-Type")) {
		return body, length
	}
	encoding := h.Get("Content-Encoding")
	switch {
	case !wire.IsIdentity(encoding) && wire.IsStream(h.Get("Content-Type")):
		plain, err := wire.Decoder(encoding, body)
		if err != nil {
			return body, length
		}
		h.Del("Content-Encoding")
		h.Del("Content-Length")
		return &turning{Closer: body, from: plain, swaps: swaps, count: count}, -1
	case wire.IsIdentity(encoding) && (length < 0 || length > maxTurned):
		h.Del("Content-Length")
		return &turning{Closer: body, from: body, swaps: swaps, count: count}, -1
	}
	if wire.IsIdentity(encoding) {
		known := holdLinks(body, int(length), swaps, memory)
		if len(known.links) > 0 {
			addTo(count, int64(len(known.links)))
			length = int64(known.length())
			h.Set("Content-Length", strconv.FormatInt(length, 10))
		}
		return known, length
	}
	data, err := wire.ReadUpTo(body, length, maxTurned+1)
	rest := wire.Body{Reader: io.MultiReader(bytes.NewReader(data), orError(body, err)), Closer: body}
	if err != nil || len(data) > maxTurned {
		return rest, length
	}
	plain, ok := wire.Decode(encoding, data, wire.MaxBody)
	out, n, _ := turn(nil, plain, swaps, true)
	if !ok || n == 0 {
		return rest, length
	}
	if out, err = wire.Encode(encoding, out); err != nil {
		return rest, length
	}
	addTo(count, n)
	h.Set("Content-Length", strconv.Itoa(len(out)))
	return wire.Body{Reader: bytes.NewReader(out), Closer: body}, int64(len(out))
}

// heldLinks is a body that was read completely, so that its new length is known before
// it is sent. The addresses are replaced while it is read, so it takes no more memory
// than the body.
type heldLinks struct {
	io.ReadCloser // the part beyond the announced length
	data          []byte
	links         []linkAt
	at            int    // how much of data was read so far
	begun         []byte // the rest of a replacement that was begun
	err           error  // returned after data
	memory        spare
}

// spare is a pool of buffers for later answers that are read completely, because new
// memory costs more than the work on it. nil: no pool.
type spare chan []byte

// maxSpare is how many buffers are kept.
const maxSpare = 2

func (s spare) take(size int) []byte {
	select {
	case b := <-s:
		if cap(b) >= size {
			return b[:0]
		}
	default:
	}
	return make([]byte, 0, size)
}

func (s spare) give(b []byte) {
	if cap(b) < bufferSize { // small buffers are cheap to make again
		return
	}
	select {
	case s <- b:
	default: // the pool is full
	}
}

// linkAt is an address at an index of a text.
type linkAt struct {
	begin int
	as    *swap
}

// holdLinks reads a body of known length. If the body breaks off, it is passed on as
// far as it came, without replacements.
func holdLinks(body io.ReadCloser, length int, w swaps, memory spare) *heldLinks {
	h := &heldLinks{ReadCloser: body, data: memory.take(length + bytes.MinRead), memory: memory}
	judged := 0
	for h.err == nil && len(h.data) <= length { // searched while more is on its way
		var n int
		n, h.err = body.Read(h.data[len(h.data):min(cap(h.data), len(h.data)+turningSize)])
		h.data = h.data[:len(h.data)+n]
		if h.err != nil && !errors.Is(h.err, io.EOF) {
			h.links = nil
			return h
		}
		from := judged
		judged += w.places(h.data[from:], h.err != nil, func(begin int, s *swap) {
			h.links = append(h.links, linkAt{from + begin, s})
		})
	}
	if h.err == nil { // longer than announced
		h.links = nil
	}
	return h
}

// length is the length with the replacements.
func (h *heldLinks) length() int {
	n := len(h.data)
	for _, l := range h.links {
		n += len(l.as.to) - len(l.as.from)
	}
	return n
}

func (h *heldLinks) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case len(h.begun) > 0:
			k := copy(p[n:], h.begun)
			n, h.begun = n+k, h.begun[k:]
		case len(h.links) > 0 && h.links[0].begin == h.at:
			as := h.links[0].as
			h.begun, h.at, h.links = as.to, h.at+len(as.from), h.links[1:]
		case h.at < len(h.data):
			to := len(h.data)
			if len(h.links) > 0 {
				to = h.links[0].begin
			}
			k := copy(p[n:], h.data[h.at:to])
			n, h.at = n+k, h.at+k
		case n > 0:
			return n, nil
		case h.err == nil:
			return h.ReadCloser.Read(p)
		default:
			return 0, h.err
		}
	}
	return n, nil
}

// Close returns the buffer to the pool. Nothing may be read afterwards.
func (h *heldLinks) Close() error {
	h.memory.give(h.data)
	h.data, h.links, h.at, h.memory = nil, nil, 0, nil
	return h.ReadCloser.Close()
}

// addTo adds to a counter, if there is one.
func addTo(count *atomic.Int64, n int64) {
	if count != nil {
		count.Add(n)
	}
}

// orError returns the body, or a reader that fails with the error that occurred while
// the body was read.
func orError(body io.Reader, err error) io.Reader {
	if err == nil {
		return body
	}
	return failing{err}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// isText is true if a content type is one whose bodies may hold links.
func isText(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	kind, sub, _ := strings.Cut(media, "/")
	return kind == "text" || strings.Contains(sub, "json") || strings.HasSuffix(sub, "xml") ||
		slices.Contains([]string{"javascript", "x-www-form-urlencoded", "graphql", "yaml", "x-yaml", "ecmascript"}, sub)
}

// hasDigest is true if the headers carry a digest, with which a client can check the
// bytes of the body.
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

// answer replaces the links in an answer by ours.
func (l *Links) answer(resp *http.Response, swaps swaps, upstreamHost string, secure bool) {
	if resp.Header.Get(replay.MissHeader) != "" {
		return // this answer is our own, and should name the upstream's addresses
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
	resp.Body, resp.ContentLength = turnBody(resp.Header, resp.Body, resp.ContentLength, swaps, &l.turned, l.memory())
}

// localCookie removes the attributes with which a client would not send a cookie back
// to us: the upstream's domain and, if we serve no TLS, Secure.
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

// request replaces our addresses in a request by the upstream's.
func (l *Links) request(r *http.Request, swaps swaps) {
	turnHeader(r.Header, swaps)
	if r.ContentLength != 0 && !hasDigest(r.Header) {
		r.Body, r.ContentLength = turnBody(r.Header, r.Body, r.ContentLength, swaps, nil, nil)
	}
}

// Sentence reports what was done with links. It is empty if there were none.
func (l *Links) Sentence() string {
	var out []string
	if n := l.turned.Load(); n > 0 {
		out = append(out, fmt.Sprintf("%d links to partners in answers were made to lead here", n))
	}
	if n := l.left.Load(); n > 0 {
		out = append(out, fmt.Sprintf("%d answers were not looked through for links, as they are parts or carry a digest", n))
	}
	return strings.Join(out, "; ")
}
