package cassette

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Imported is the result of an import from another program's file. It is not redacted
// yet.
type Imported struct {
	Interactions []*Interaction
	Details      []Details
	// Left lists the parts of the file that gave no interaction, and why.
	Left []string
}

func (m *Imported) leave(format string, args ...any) {
	m.Left = append(m.Left, fmt.Sprintf(format, args...))
}

// ImportOptions hold what some files lack.
type ImportOptions struct {
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
	Name string // as given on the command line
	What string // as it stands in a sentence: "a cassette of vcrpy"
	Read func(data []byte, o ImportOptions) (*Imported, error)
	// looks recognises the format by the members at the top of a document.
	looks func(d *document) bool
}

// Importers returns all importers. Each comes before those that would mistake its files
// for their own.
func Importers() []Importer {
	plain := func(read func([]byte) (*Imported, error)) func([]byte, ImportOptions) (*Imported, error) {
		return func(data []byte, _ ImportOptions) (*Imported, error) { return read(data) }
	}
	list := []Importer{
		{"go-vcr-v4", "a cassette of go-vcr v3 or v4", plain(ImportV4),
			func(d *document) bool { return d.version == "2" && d.has("interactions") }},
		{"vcrpy", "a cassette of vcrpy", plain(importVCRpy),
			func(d *document) bool { return d.has("interactions") && d.first("interactions", "request", "uri") }},
		{"vcr", "a cassette of VCR", plain(importVCR), func(d *document) bool { return d.has("http_interactions") }},
		{"polly", "a recording of Polly", plain(ImportHAR),
			func(d *document) bool { return d.within("log", "_recordingName") }},
		{"har", "a HAR file", plain(ImportHAR), func(d *document) bool { return d.within("log", "entries") }},
		{"nock", "fixtures of nock", plain(importNock),
			func(d *document) bool { return d.list && d.first("", "scope") && d.first("", "path") }},
		{"wiremock", "mappings of WireMock", importWireMock, func(d *document) bool {
			return d.has("mappings") && d.first("mappings", "request") || d.has("request") && d.has("response") &&
				!d.has("interactions")
		}},
		{"postman", "a collection of Postman", importPostman,
			func(d *document) bool { return d.has("item") && d.has("info") }},
	}
	for n := range list {
		read := list[n].Read
		list[n].Read = func(data []byte, o ImportOptions) (*Imported, error) {
			m, err := read(data, o)
			if err == nil {
				for _, i := range m.Interactions {
					i.Request.URL = sendable(i.Request.URL)
				}
			}
			return m, err
		}
	}
	return list
}

// sendable escapes the characters that files may have in a path but a request cannot
// send, such as the brackets of placeholders.
func sendable(address string) string {
	base, target := splitAddress(address)
	path, query, hasQuery := strings.Cut(target, "?")
	var b strings.Builder
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if hasQuery {
		b.WriteString("?" + strings.ReplaceAll(query, " ", "%20"))
	}
	return base + b.String()
}

// Recognize finds the importer for a file by its content.
func Recognize(data []byte) (Importer, bool) {
	d, err := readDocument(data)
	if err != nil {
		return Importer{}, false
	}
	for _, i := range Importers() {
		if i.looks(d) {
			return i, true
		}
	}
	return Importer{}, false
}

// document is the top level of a YAML or JSON file.
type document struct {
	version string
	list    bool
	top     map[string]any
	root    any
}

func readDocument(data []byte) (*document, error) {
	v, err := readTree(data)
	if err != nil {
		return nil, err
	}
	d := &document{root: v}
	switch v := v.(type) {
	case []any:
		d.list = true
	case map[string]any:
		d.top = v
		d.version = textOf(v["version"])
	}
	return d, nil
}

func (d *document) has(name string) bool { _, ok := d.top[name]; return ok }

func (d *document) within(name, member string) bool {
	m, _ := d.top[name].(map[string]any)
	_, ok := m[member]
	return ok
}

// first is true if the first element of a list has the members of a path. Without the
// name of a list, the document itself is the list.
func (d *document) first(list string, path ...string) bool {
	v := d.root
	if list != "" {
		v = d.top[list]
	}
	elements, _ := v.([]any)
	if len(elements) == 0 {
		return false
	}
	at := elements[0]
	for _, name := range path {
		m, _ := at.(map[string]any)
		v, ok := m[name]
		if !ok {
			return false
		}
		at = v
	}
	return true
}

// readTree reads JSON or YAML. It reads values with the tags of other languages as
// text.
func readTree(data []byte) (any, error) {
	data = withoutBOM(data)
	if c := bytes.TrimLeft(data, " \t\r\n"); len(c) > 0 && (c[0] == '{' || c[0] == '[') {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err == nil {
			return v, nil
		}
	}
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		return nil, err
	}
	ordinaryTags(&n, 0)
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}

// maxNesting limits how deep other programs' files may be nested.
const maxNesting = 1000

// yamlTags are those of YAML itself.
var yamlTags = []string{
	"!!str", "!!int", "!!float", "!!bool", "!!null", "!!binary", "!!timestamp", "!!map", "!!seq", "!!merge",
}

// ordinaryTags removes the tags of other languages, such as !!python/unicode.
func ordinaryTags(n *yaml.Node, depth int) {
	if depth > maxNesting {
		return
	}
	switch tag := n.ShortTag(); {
	case slices.Contains(yamlTags, tag):
	case n.Kind == yaml.ScalarNode:
		n.Tag = "!!str"
	default:
		n.Tag = ""
	}
	for _, c := range n.Content {
		ordinaryTags(c, depth+1)
	}
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
	for _, name := range append([]string{"Host"}, notKept...) {
		h.Del(name)
	}
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
func complete(i *Interaction) *Interaction {
	q, r := &i.Request, &i.Response
	q.Method = strings.ToUpper(q.Method)
	for _, h := range []*http.Header{&q.Headers, &r.Headers} {
		if *h == nil {
			*h = http.Header{}
		}
	}
	q.Body, r.Body = Plain(q.Headers, q.Body), Plain(r.Headers, r.Body)
	r.Headers.Del("Date")
	q.Form = formOf(i)
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

// importVCRpy reads a cassette of vcrpy, in YAML or JSON
// (https://vcrpy.readthedocs.io).
func importVCRpy(data []byte) (*Imported, error) {
	d, err := readDocument(data)
	if err != nil {
		return nil, fmt.Errorf("it is no cassette of vcrpy: %w", err)
	}
	list, ok := d.top["interactions"].([]any)
	if !ok {
		return nil, errors.New("it is no cassette of vcrpy: there are no interactions in it")
	}
	return importTree(list)
}

// importVCR reads a cassette of Ruby's VCR, in YAML or JSON
// (https://benoittgt.github.io/vcr).
func importVCR(data []byte) (*Imported, error) {
	d, err := readDocument(data)
	if err != nil {
		return nil, fmt.Errorf("it is no cassette of VCR: %w", err)
	}
	list, ok := d.top["http_interactions"].([]any)
	if !ok {
		return nil, errors.New("it is no cassette of VCR: there are no http_interactions in it")
	}
	return importTree(list)
}

// importTree reads the interactions that VCR and its relatives write.
func importTree(list []any) (*Imported, error) {
	out := &Imported{}
	for n, e := range list {
		q, r := mapOf(mapOf(e)["request"]), mapOf(mapOf(e)["response"])
		status := mapOf(r["status"])
		i := &Interaction{}
		i.Request.Method, i.Request.URL, i.Request.Headers = textOf(q["method"]), textOf(q["uri"]), headersOf(q["headers"])
		if status == nil { // as vcrpy wrote it for httpx
			status = map[string]any{"code": r["status_code"]}
			if _, ok := r["body"]; !ok {
				r["body"] = r["content"]
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
		i.Response.Body, err2 = bodyOf(r["body"])
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
