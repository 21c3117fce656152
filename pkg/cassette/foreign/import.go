// Package foreign reads and writes the recordings of other programs: cassettes of go-vcr, vcrpy
// and VCR, HAR files, recordings of Polly, fixtures of nock, mappings of WireMock, collections of
// Postman. It reads bytes and returns interactions; which files these bytes come from is the
// business of pkg/convert.
package foreign

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// Imported is the result of an import from another program's file. It is not redacted
// yet.
type Imported struct {
	Interactions []*cassette.Interaction
	Details      []cassette.Details
	// Left lists the parts of the file that gave no interaction, and why.
	Left []string
}

func (m *Imported) leave(format string, args ...any) {
	m.Left = append(m.Left, fmt.Sprintf(format, args...))
}

// Options hold what some files lack.
type Options struct {
	// Base is the address of the service, for files that hold paths only.
	Base string
	// Variables are the values of {{names}}.
	Variables map[string]string
	// File returns a body that is stored in a file of its own. The name is the one in
	// the mapping. nil: such bodies are left out.
	File func(name string) ([]byte, error)
}

// Importer reads the files of another program.
type Importer struct {
	cassette.Format
	Read func(data []byte, o Options) (*Imported, error)
}

// Importers returns an importer for each of [cassette.Formats].
func Importers() []Importer {
	reads := map[string]func([]byte, Options) (*Imported, error){
		"go-vcr-v4": importV4, "vcrpy": inTree("interactions", "cassette of vcrpy"),
		"vcr": inTree("http_interactions", "cassette of VCR"), "polly": inJSON(importHAR),
		"har": inJSON(importHAR), "nock": inJSON(importNock), "wiremock": inJSON(importWireMock),
		"postman": inJSON(importPostman),
	}
	var list []Importer
	for _, f := range cassette.Formats() {
		list = append(list, Importer{f, func(data []byte, o Options) (*Imported, error) {
			m, err := reads[f.Name](data, o)
			if err == nil {
				for _, i := range m.Interactions {
					i.Request.URL = sendable(i.Request.URL)
				}
			}
			return m, err
		}})
	}
	return list
}

// For returns the importer for a file, which it recognises by its content.
func For(data []byte) (Importer, bool) {
	f, ok := cassette.Recognize(data)
	if !ok {
		return Importer{}, false
	}
	for _, i := range Importers() {
		if i.Name == f.Name {
			return i, true
		}
	}
	return Importer{}, false
}

// byteOrderMark is what some editors write at the beginning of a text.
var byteOrderMark = []byte("\xef\xbb\xbf")

// inJSON lets an importer of JSON read the same document in YAML, too: there are programs that can write
// either.
func inJSON(read func([]byte, Options) (*Imported, error)) func([]byte, Options) (*Imported, error) {
	return func(data []byte, o Options) (*Imported, error) {
		data = bytes.TrimPrefix(data, byteOrderMark)
		if v, err := cassette.ReadTree(data); err == nil && !json.Valid(data) {
			if text, err := json.Marshal(v); err == nil {
				data = text
			}
		}
		return read(data, o)
	}
}

// sendable escapes the characters that files may have in an address but a request cannot send, such as the
// brackets of placeholders.
func sendable(address string) string {
	base, target := wire.SplitAddress(address)
	path, query, hasQuery := strings.Cut(target, "?")
	if path = wire.Sendable(path); hasQuery {
		path += "?" + strings.ReplaceAll(query, " ", "%20")
	}
	return base + path
}

// textOf is a scalar as text.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	}
	return fmt.Sprint(v)
}

func mapOf(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case map[any]any: // one of its keys is no text
		out := map[string]any{}
		for k, e := range v {
			out[textOf(k)] = e
		}
		return out
	}
	return nil
}

// headersOf reads {name: value} and {name: [values]}.
func headersOf(v any) http.Header {
	h := http.Header{}
	for name, values := range mapOf(v) {
		list, ok := values.([]any)
		if !ok {
			list = []any{values}
		}
		for _, one := range list {
			h.Add(name, textOf(one))
		}
	}
	return withoutConnection(h)
}

// withoutConnection removes the headers that belong to a connection.
func withoutConnection(h http.Header) http.Header {
	h.Del("Host")
	wire.DropConnection(h)
	return h
}

// compact removes the white space from JSON that was laid out for reading, so that it
// is as programs send it.
func compact(data json.RawMessage) string {
	var buf bytes.Buffer
	if json.Compact(&buf, data) != nil {
		return string(data)
	}
	return buf.String()
}

// statusOf writes 200 OK.
func statusOf(code int, text string) string {
	if text == "" {
		text = http.StatusText(code)
	}
	return strings.TrimSpace(strconv.Itoa(code) + " " + text)
}

// complete finishes an interaction: it decompresses bodies and reads forms.
func complete(i *cassette.Interaction) *cassette.Interaction {
	q, r := &i.Request, &i.Response
	q.Method = strings.ToUpper(q.Method)
	for _, h := range []*http.Header{&q.Headers, &r.Headers} {
		if *h == nil {
			*h = http.Header{}
		}
	}
	q.Body, r.Body = wire.Plain(q.Headers, q.Body), wire.Plain(r.Headers, r.Body)
	r.Headers.Del("Date")
	q.Form = cassette.Form(i)
	if r.Status == "" {
		r.Status = statusOf(r.Code, "")
	}
	return i
}

// checkAddress returns an error for anything that is no address of a service.
func checkAddress(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no address", withoutQuery(s))
	}
	return nil
}

// inTree reads the cassettes of vcrpy (https://vcrpy.readthedocs.io) and of Ruby's VCR
// (https://benoittgt.github.io/vcr), in YAML or JSON, whose interactions are in the given member.
func inTree(member, what string) func([]byte, Options) (*Imported, error) {
	return func(data []byte, _ Options) (*Imported, error) {
		v, err := cassette.ReadTree(data)
		if err != nil {
			return nil, fmt.Errorf("it is no %s: %w", what, err)
		}
		list, ok := mapOf(v)[member].([]any)
		if !ok {
			return nil, fmt.Errorf("it is no %s: there are no %s in it", what, member)
		}
		return importTree(list)
	}
}

// importTree reads the interactions that VCR and its relatives write.
func importTree(list []any) (*Imported, error) {
	out := &Imported{}
	for n, e := range list {
		q, r := mapOf(mapOf(e)["request"]), mapOf(mapOf(e)["response"])
		status, content := mapOf(r["status"]), r["body"]
		i := &cassette.Interaction{}
		i.Request.Method, i.Request.URL, i.Request.Headers = textOf(q["method"]), textOf(q["uri"]), headersOf(q["headers"])
		if status == nil { // as vcrpy wrote it for httpx
			status = map[string]any{"code": r["status_code"]}
			if _, ok := r["body"]; !ok {
				content = r["content"]
			}
		}
		code, err := strconv.Atoi(textOf(status["code"]))
		if err == nil {
			err = checkAddress(i.Request.URL)
		}
		if err != nil {
			out.leave("interaction %d: it holds no request and answer: %v", n, err)
			continue
		}
		i.Response.Code, i.Response.Status = code, statusOf(code, textOf(status["message"]))
		i.Response.Headers = headersOf(r["headers"])
		var err1, err2 error
		i.Request.Body, err1 = bodyOf(q["body"])
		i.Response.Body, err2 = bodyOf(content)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("interaction %d: %w", n, err)
		}
		out.Interactions = append(out.Interactions, complete(i))
	}
	return out, nil
}

// bodyOf reads a body as text, as {string: …} or as {base64_string: …}.
func bodyOf(v any) (string, error) {
	m := mapOf(v)
	if m == nil {
		return textOf(v), nil
	}
	if s, ok := m["base64_string"]; ok {
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(textOf(s)), ""))
		return string(data), err
	}
	if s, ok := m["string"]; ok || len(m) == 0 {
		return textOf(s), nil
	}
	// vcrpy writes the value that an asynchronous client was given for a body.
	text, err := json.Marshal(m)
	return string(text), err
}
