package foreign

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"go.yaml.in/yaml/v3"
)

// The parts of HAR 1.2 that a conversation has
// (http://www.softwareishard.com/blog/har-12-spec/).
type har struct {
	Log harLog `json:"log"`
}

type harLog struct {
	Version string     `json:"version"`
	Creator harCreator `json:"creator"`
	Entries []harEntry `json:"entries"`
}

type harCreator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type harEntry struct {
	Started  string      `json:"startedDateTime"`
	Time     float64     `json:"time"` // milliseconds
	Request  harRequest  `json:"request"`
	Response harResponse `json:"response"`
	Cache    struct{}    `json:"cache"`
	Timings  harTimings  `json:"timings"`
	Order    int         `json:"_order,omitempty"`
}

type harTimings struct {
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// UnmarshalJSON accepts more than texts, because Polly writes the length of a body as a
// number, the values of a header as a list, and a form parameter as the program gave
// it.
func (p *harPair) UnmarshalJSON(data []byte) error {
	var loose struct {
		Name  string
		Value any
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&loose); err != nil {
		return err
	}
	switch v := loose.Value.(type) {
	case nil:
	case string, json.Number, bool:
		p.Value = fmt.Sprint(v)
	case []any:
		list := make([]string, len(v))
		for n := range v {
			list[n] = textOf(v[n])
		}
		p.Value = strings.Join(list, ", ")
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		p.Value = string(text)
	}
	p.Name = loose.Name
	return nil
}

// harCount is a number of bytes. Some programs write it as a text, or not at all.
type harCount int

// UnmarshalJSON implements [json.Unmarshaler].
func (n *harCount) UnmarshalJSON(data []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	if *n = -1; err == nil && f >= 0 && f < 1<<53 {
		*n = harCount(f)
	}
	return nil // nothing uses it, so a bad value does no harm
}

type harRequest struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	HTTPVersion string    `json:"httpVersion"`
	Cookies     []harPair `json:"cookies"`
	Headers     []harPair `json:"headers"`
	QueryString []harPair `json:"queryString"`
	PostData    *harPost  `json:"postData,omitempty"`
	HeadersSize harCount  `json:"headersSize"`
	BodySize    harCount  `json:"bodySize"`
}

type harPost struct {
	MimeType string    `json:"mimeType"`
	Params   []harPair `json:"params,omitempty"`
	Text     string    `json:"text"`
	// Encoding is an extension that browsers write, too.
	Encoding string `json:"encoding,omitempty"`
}

type harResponse struct {
	Status      int        `json:"status"`
	StatusText  string     `json:"statusText"`
	HTTPVersion string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	Content     harContent `json:"content"`
	RedirectURL string     `json:"redirectURL"`
	HeadersSize harCount   `json:"headersSize"`
	BodySize    harCount   `json:"bodySize"`
	// Error is written by Chrome if there is no answer.
	Error string `json:"_error,omitempty"`
}

type harContent struct {
	Size     harCount `json:"size"`
	MimeType string   `json:"mimeType"`
	Text     string   `json:"text"`
	Encoding string   `json:"encoding,omitempty"`
}

func harPairs(h http.Header) []harPair {
	out := []harPair{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			out = append(out, harPair{name, v})
		}
	}
	return out
}

// harText returns text unchanged, and anything else in base64.
func harText(s string) (text, encoding string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return base64.StdEncoding.EncodeToString([]byte(s)), "base64"
}

// HAR writes the conversation as a HAR 1.2 file. A cassette does not hold the times of
// its interactions, but their order is kept.
func HAR(c *cassette.Cassette, tool string) ([]byte, error) {
	name, version, _ := strings.Cut(tool, " ")
	h := har{harLog{Version: "1.2", Creator: harCreator{name, version}, Entries: []harEntry{}}}
	at, err := time.Parse("2006-01-02", c.Meta.Date)
	if err != nil {
		at = time.Unix(0, 0).UTC()
	}
	for _, i := range c.Interactions {
		ms := float64(i.Response.Duration) / 1e6
		e := harEntry{Started: at.Format(time.RFC3339Nano), Time: ms, Timings: harTimings{Wait: ms}}
		e.Request = harRequest{Method: i.Request.Method, URL: i.Request.URL, HTTPVersion: "HTTP/1.1",
			Cookies: []harPair{}, Headers: harPairs(i.Request.Headers), QueryString: []harPair{}, HeadersSize: -1,
			BodySize: harCount(len(i.Request.Body))}
		if u, err := url.Parse(i.Request.URL); err == nil {
			q := u.Query()
			for _, k := range slices.Sorted(maps.Keys(q)) {
				for _, v := range q[k] {
					e.Request.QueryString = append(e.Request.QueryString, harPair{k, v})
				}
			}
		}
		if i.Request.Body != "" {
			text, encoding := harText(i.Request.Body)
			e.Request.PostData = &harPost{MimeType: i.Request.Headers.Get("Content-Type"), Text: text,
				Encoding: encoding}
		}
		text, encoding := harText(i.Response.Body)
		_, statusText, _ := strings.Cut(i.Response.Status, " ")
		e.Response = harResponse{
			Status: i.Response.Code, StatusText: statusText, HTTPVersion: "HTTP/1.1", Cookies: []harPair{},
			Headers: harPairs(i.Response.Headers), RedirectURL: i.Response.Headers.Get("Location"),
			HeadersSize: -1, BodySize: harCount(len(i.Response.Body)),
			Content: harContent{Size: harCount(len(i.Response.Body)), MimeType: i.Response.Headers.Get("Content-Type"),
				Text: text, Encoding: encoding},
		}
		h.Log.Entries = append(h.Log.Entries, e)
		at = at.Add(i.Response.Duration + time.Millisecond)
	}
	return json.MarshalIndent(h, "", "  ")
}

func fromPairs(list []harPair) http.Header {
	h := http.Header{}
	for _, p := range list {
		if !strings.HasPrefix(p.Name, ":") { // a pseudo-header of HTTP/2
			h.Add(p.Name, p.Value)
		}
	}
	return withoutConnection(h)
}

func unharText(text, encoding string) (string, error) {
	if encoding != "base64" {
		return text, nil
	}
	var pieces []string // Polly's form for answers that came compressed
	if strings.HasPrefix(text, "[") && json.Unmarshal([]byte(text), &pieces) == nil {
		return packedPieces(pieces)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil { // Polly marks compressed answers as base64, but writes text
		return text, nil //nolint // it is text
	}
	return string(data), nil
}

// importHAR reads a HAR file.
func importHAR(data []byte, _ Options) (*Imported, error) {
	var h har
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("it is no HAR file: %w", err)
	}
	if h.Log.Entries == nil {
		return nil, errors.New("it is no HAR file: there is no log with entries in it")
	}
	out := &Imported{}
	// Polly sorts its entries by name, and stores the order in a separate member.
	slices.SortStableFunc(h.Log.Entries, func(a, b harEntry) int { return a.Order - b.Order })
	for n := range h.Log.Entries {
		e := &h.Log.Entries[n]
		if e.Response.Status == 0 {
			why := "it got no answer (status 0)"
			if e.Response.Error != "" {
				why += ": " + e.Response.Error
			}
			out.leave("entry %d, %s %s: %s", n, e.Request.Method, withoutQuery(e.Request.URL), why)
			continue
		}
		i, err := e.interaction()
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", n, err)
		}
		out.Interactions = append(out.Interactions, i)
	}
	return out, nil
}

// withoutQuery is an address for messages. It has no query, because parameters may be
// secret.
func withoutQuery(s string) string {
	s, _, cut := strings.Cut(s, "?")
	if cut {
		s += "?…"
	}
	return s
}

// interaction converts an entry to the form of go-vcr.
func (e *harEntry) interaction() (*cassette.Interaction, error) {
	i := &cassette.Interaction{}
	i.Request.Method, i.Request.URL, i.Request.Headers = e.Request.Method, e.Request.URL, fromPairs(e.Request.Headers)
	if p := e.Request.PostData; p != nil {
		body, err := unharText(p.Text, p.Encoding)
		if err != nil {
			return nil, fmt.Errorf("the request's body: %w", err)
		}
		if body == "" && len(p.Params) > 0 {
			form := url.Values{}
			for _, q := range p.Params {
				form.Add(q.Name, q.Value)
			}
			body = form.Encode()
		}
		i.Request.Body = wire.DecodedAlready(i.Request.Headers, body)
		if i.Request.Headers.Get("Content-Type") == "" && p.MimeType != "" {
			i.Request.Headers.Set("Content-Type", p.MimeType)
		}
	}
	body, err := unharText(e.Response.Content.Text, e.Response.Content.Encoding)
	if err != nil {
		return nil, fmt.Errorf("the response's body: %w", err)
	}
	i.Response.Code, i.Response.Headers = e.Response.Status, fromPairs(e.Response.Headers)
	i.Response.Body = wire.DecodedAlready(i.Response.Headers, body)
	i.Response.Status = statusOf(e.Response.Status, e.Response.StatusText)
	if e.Time > 0 && e.Time < 1e9 {
		i.Response.Duration = time.Duration(e.Time * 1e6)
	}
	return complete(i), nil
}

// importV4 reads a cassette of go-vcr v3 or v4 (format 2).
func importV4(data []byte, _ Options) (*Imported, error) {
	var f struct {
		Version      int
		Interactions []*cassette.Interaction
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("it is no cassette: %w", err)
	}
	if f.Version != 2 {
		return nil, fmt.Errorf("it is no cassette of go-vcr v3 or v4: it says version %d, and theirs is 2", f.Version)
	}
	out := &Imported{}
	for n, i := range f.Interactions {
		if i == nil {
			return nil, fmt.Errorf("interaction %d is empty", n)
		}
		out.Interactions = append(out.Interactions, complete(i))
	}
	return out, nil
}
