// Package browse shows cassettes on a local web page.
package browse

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// Browser serves a web page that shows cassettes: each request and answer, what was
// redacted and why, and the misses of a replay beside the recorded requests. The page
// is one file and sends requests to its own server only. It is safe for concurrent use.
type Browser struct {
	cassettes []*cassette.Cassette
	misses    []*replay.Miss
}

// New returns a browser. The misses come from a report of replay.
func New(cassettes []*cassette.Cassette, misses []*replay.Miss) *Browser {
	return &Browser{cassettes, misses}
}

//go:embed browse.html
var browsePage []byte

// pagePolicy is the content security policy: the page may run its own script and style,
// known by their hashes, and send requests to its own server; nothing else.
func pagePolicy() string {
	between := func(from, to string) string {
		_, rest, _ := bytes.Cut(browsePage, []byte(from))
		text, _, _ := bytes.Cut(rest, []byte(to))
		sum := sha256.Sum256(text)
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; script-src " + between("<script>", "</script>") + "; style-src " + between("<style>", "</style>")
}

// ServeHTTP serves the page, the list at /list, an interaction at
// /interaction?cassette=N&n=N, and the misses at /misses.
func (b *Browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	// Against DNS rebinding: a foreign page whose host name resolves to this machine
	// gets nothing.
	if ip := net.ParseIP(host); host != "localhost" && ip == nil {
		http.Error(w, "ask by the address, not by a name", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "there is nothing to change here", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", pagePolicy())
		_, _ = w.Write(browsePage) // if it fails, the client is gone
	case "/list":
		answerJSON(w, b.list())
	case "/misses":
		misses := b.misses
		if misses == nil {
			misses = []*replay.Miss{}
		}
		answerJSON(w, misses)
	case "/interaction":
		c, err1 := strconv.Atoi(r.URL.Query().Get("cassette"))
		n, err2 := strconv.Atoi(r.URL.Query().Get("n"))
		if err1 != nil || err2 != nil || c < 0 || c >= len(b.cassettes) || n < 0 ||
			n >= len(b.cassettes[c].Interactions) {
			http.Error(w, "there is no such interaction", http.StatusNotFound)
			return
		}
		answerJSON(w, shown(b.cassettes[c], n))
	default:
		http.NotFound(w, r)
	}
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	_ = e.Encode(v) // if it fails, the client is gone
}

// listed is a cassette in the list.
type listed struct {
	Path       string            `json:"path"`
	Provenance string            `json:"provenance"`
	Date       string            `json:"date"`
	Upstreams  map[string]string `json:"upstreams"`
	Ignore     []string          `json:"ignore"`
	Unrecorded []string          `json:"unrecorded"`
	Lines      []listedLine      `json:"lines"`
}

// listedLine is an interaction in the list.
type listedLine struct {
	Method   string `json:"method"`
	URL      string `json:"url"`
	Code     int    `json:"code"`
	Status   string `json:"status"`
	MS       int64  `json:"ms"`
	Bytes    int    `json:"bytes"`
	Special  string `json:"special,omitempty"`
	Redacted int    `json:"redacted"`
}

func (b *Browser) list() []listed {
	out := []listed{}
	for _, c := range b.cassettes {
		l := listed{
			Path: c.Path, Provenance: c.Meta.Provenance, Date: c.Meta.Date, Upstreams: c.Meta.Upstreams,
			Ignore: c.Meta.Ignore, Unrecorded: c.Meta.Unrecorded, Lines: []listedLine{},
		}
		details := c.DetailsByNumber()
		for n, i := range c.Interactions {
			line := listedLine{
				Method: i.Request.Method, URL: i.Request.URL, Code: i.Response.Code, Status: i.Response.Status,
				MS: i.Response.Duration.Milliseconds(), Bytes: len(i.Response.Body), Redacted: len(redactions(i)),
			}
			if d := details[n]; d != nil {
				line.Special = d.String()
			}
			l.Lines = append(l.Lines, line)
		}
		out = append(out, l)
	}
	return out
}

// shownInteraction is an interaction as the page shows it.
type shownInteraction struct {
	Request  shownMessage      `json:"request"`
	Response shownMessage      `json:"response"`
	Details  *cassette.Details `json:"details,omitempty"`
	Redacted []redaction       `json:"redacted"`
}

type shownMessage struct {
	Headers [][2]string `json:"headers"`
	Form    string      `json:"form"` // the format in which the body is shown
	Body    string      `json:"body"`
	Rest    int         `json:"rest,omitempty"` // bytes that are not shown
}

func shown(c *cassette.Cassette, n int) shownInteraction {
	i := c.Interactions[n]
	out := shownInteraction{Details: c.DetailsOf(n), Redacted: redactions(i)}
	out.Request = shownAs(i.Request.Headers, i.Request.Body)
	out.Response = shownAs(i.Response.Headers, i.Response.Body)
	return out
}

func shownAs(h http.Header, body string) shownMessage {
	m := shownMessage{Headers: [][2]string{}}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			m.Headers = append(m.Headers, [2]string{name, v})
		}
	}
	m.Body, m.Form = pretty(h.Get("Content-Type"), wire.Plain(h.Clone(), body))
	if m.Form == "bytes" {
		m.Rest = max(0, len(body)-maxHex)
	} else if len(m.Body) > maxShown {
		whole := len(m.Body)
		m.Body = strings.ToValidUTF8(m.Body[:maxShown], "") // without half a character
		m.Rest = whole - len(m.Body)
	}
	return m
}

const (
	maxShown = 1 << 20 // characters of a body
	maxHex   = 4 << 10 // bytes of a binary body
)

// pretty formats a body for reading, according to its type.
func pretty(contentType, body string) (text, form string) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = ""
	}
	switch {
	case body == "":
		return "", "nothing"
	case !utf8.ValidString(body) || strings.ContainsRune(body, 0):
		return hex.Dump([]byte(body[:min(len(body), maxHex)])), "bytes"
	case media == "application/x-www-form-urlencoded":
		var lines []string
		for part := range strings.SplitSeq(body, "&") {
			if plain, err := url.QueryUnescape(part); err == nil {
				part = plain
			}
			lines = append(lines, part)
		}
		return strings.Join(lines, "\n"), "form"
	}
	if c := strings.TrimLeft(body, " \t\r\n"); c != "" && (c[0] == '{' || c[0] == '[') {
		var buf bytes.Buffer
		if json.Indent(&buf, []byte(body), "", "  ") == nil {
			return buf.String(), "JSON"
		}
	}
	return body, "text"
}

// redaction is a secret that was replaced: where it was, and why it was replaced.
type redaction struct {
	Place string `json:"place"`
	Token string `json:"token"`
	Kind  string `json:"kind"`
	Why   string `json:"why"`
}

// maxRedactions limits how many redactions are listed for an interaction.
const maxRedactions = 1000

// redactions finds the tokens in an interaction.
func redactions(i *cassette.Interaction) []redaction {
	out := []redaction{}
	look := func(place, s string) {
		for _, t := range redact.Tokens(s, maxRedactions) {
			out = append(out, redaction{place, t.Text, t.Kind, why(t.Kind)})
		}
	}
	message := func(side string, h http.Header, body string) {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			for _, v := range h[name] {
				look(side+" header "+name, v)
			}
		}
		var v any
		dec := json.NewDecoder(strings.NewReader(body))
		dec.UseNumber()
		if len(redact.Tokens(body, 1)) == 0 {
			return
		}
		if dec.Decode(&v) != nil || dec.More() {
			look(side+" body", body)
			return
		}
		eachText(side+" body $", v, 0, look)
	}
	look("address", i.Request.URL)
	message("request", i.Request.Headers, i.Request.Body)
	message("response", i.Response.Headers, i.Response.Body)
	return out[:min(len(out), maxRedactions)]
}

// eachText calls f with every text and number in a JSON value, and its path.
func eachText(path string, v any, depth int, f func(path, s string)) {
	if depth > cassette.MaxNesting {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			f(path+" (name)", k)
			eachText(path+"."+k, v[k], depth+1, f)
		}
	case []any:
		for n, e := range v {
			eachText(fmt.Sprintf("%s[%d]", path, n), e, depth+1, f)
		}
	case string:
		f(path, v)
	case json.Number:
		f(path, v.String())
	}
}

// why explains in a sentence what a kind of token stands for.
func why(kind string) string {
	switch kind {
	case "secret":
		return "the value of a secret of the run (an environment variable, a setting), or one whose name says so"
	case "token", "key", "password", "signature", "session", "authorization", "bearer", "basic", "digest", "userinfo":
		return "its name or its header says that it is a credential (" + kind + ")"
	case "cookie":
		return "the value of a cookie"
	case "email":
		return "an address of email; the same address has the same token everywhere"
	case "phone", "card", "iban", "ssn", "ip", "name":
		return "it is about a person, by its name or its shape (" + kind + ")"
	case "hashed":
		return "a hash of something about a person, which can be found by trying"
	case "number":
		return "a secret where JSON has a number"
	case "custom":
		return "a rule of yours (--redact, or cassettes: in the configuration)"
	}
	return "it has the shape of a known credential (" + kind + ")"
}
