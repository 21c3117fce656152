package foreign

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// nockDefinition is a request and its answer as nock's recorder writes them
// (https://github.com/nock/nock, "Recording").
type nockDefinition struct {
	Scope      string            `json:"scope"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Body       json.RawMessage   `json:"body"`
	Status     int               `json:"status"`
	Response   json.RawMessage   `json:"response"`
	RawHeaders json.RawMessage   `json:"rawHeaders"`
	Headers    map[string]any    `json:"headers"`
	ReqHeaders map[string]any    `json:"reqheaders"`
	Binary     bool              `json:"responseIsBinary"`
	Options    map[string]any    `json:"options"`
	BadHeaders []json.RawMessage `json:"badheaders"`
}

// importNock reads fixtures of nock.
func importNock(data []byte, _ Options) (*Imported, error) {
	var list []nockDefinition
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("they are no fixtures of nock: %w", err)
	}
	out := &Imported{}
	for n := range list {
		d := &list[n]
		i := &cassette.Interaction{}
		i.Request.Method, i.Request.URL = d.Method, d.address()
		if err := checkAddress(i.Request.URL); err != nil {
			out.leave("definition %d: %v", n, err)
			continue
		}
		i.Request.Headers = headersOf(d.ReqHeaders)
		i.Response.Code, i.Response.Status = d.Status, statusOf(d.Status, "")
		i.Response.Headers = headersOf(d.Headers)
		if h := nockHeaders(d.RawHeaders); h != nil {
			i.Response.Headers = withoutConnection(h)
		}
		var err error
		i.Request.Body, err = nockBody(d.Body, false, i.Request.Headers)
		if err == nil {
			i.Response.Body, err = nockBody(d.Response, d.Binary, i.Response.Headers)
		}
		if err != nil {
			return nil, fmt.Errorf("definition %d: %w", n, err)
		}
		out.Interactions = append(out.Interactions, complete(i))
	}
	return out, nil
}

// address is the address without the scheme's default port, which nock always writes.
func (d *nockDefinition) address() string {
	base := d.Scope
	if u, err := url.Parse(base); err == nil && u.Host != "" {
		base = u.Scheme + "://" + wire.BareHost(u.Scheme, u.Host)
	}
	return base + d.Path
}

// nockHeaders reads [name, value, …] or {name: value}.
func nockHeaders(data json.RawMessage) http.Header {
	var flat []string
	if json.Unmarshal(data, &flat) == nil && len(flat) > 0 {
		h := http.Header{}
		for n := 0; n+1 < len(flat); n += 2 {
			h.Add(flat[n], flat[n+1])
		}
		return h
	}
	var m map[string]any
	if json.Unmarshal(data, &m) == nil && m != nil {
		return headersOf(m)
	}
	return nil
}

// nockBody reads a body. It is a text, a JSON value, or, if compressed, a list of
// pieces in hexadecimal digits.
func nockBody(data json.RawMessage, binary bool, h http.Header) (string, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || string(data) == "null" {
		return "", nil
	}
	var pieces []string
	if data[0] == '[' && h.Get("Content-Encoding") != "" && json.Unmarshal(data, &pieces) == nil {
		return packedPieces(pieces)
	}
	if data[0] != '"' {
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", "application/json")
		}
		return compact(data), nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return "", err
	}
	if !binary {
		return text, nil
	}
	raw, err := hex.DecodeString(text)
	return string(raw), err
}

// packedPieces joins pieces that are written in hexadecimal digits or in base64.
func packedPieces(pieces []string) (string, error) {
	var out strings.Builder
	for _, p := range pieces {
		raw, err := hex.DecodeString(p)
		if err != nil {
			raw, err = base64.StdEncoding.DecodeString(p)
		}
		if err != nil {
			return "", fmt.Errorf("a piece of a body is neither hexadecimal nor base64: %w", err)
		}
		out.Write(raw)
	}
	return out.String(), nil
}
