package cassette

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Format is the format in which another program keeps recordings.
type Format struct {
	Name string // as given on the command line
	What string // as it stands in a sentence: "a cassette of vcrpy"
	// looks recognises the format by the members at the top of a document.
	looks func(d *document) bool
}

// Formats returns the formats that are known. Each comes before those that it could be mistaken for.
func Formats() []Format {
	return []Format{
		{"go-vcr-v4", "a cassette of go-vcr v3 or v4",
			func(d *document) bool { return d.version == "2" && d.has("interactions") }},
		{"vcrpy", "a cassette of vcrpy",
			func(d *document) bool { return d.has("interactions") && d.first("interactions", "request", "uri") }},
		{"vcr", "a cassette of VCR", func(d *document) bool { return d.has("http_interactions") }},
		{"polly", "a recording of Polly", func(d *document) bool { return d.within("log", "_recordingName") }},
		{"har", "a HAR file", func(d *document) bool { return d.within("log", "entries") }},
		{"nock", "fixtures of nock",
			func(d *document) bool { return d.list && d.first("", "scope") && d.first("", "path") }},
		{"wiremock", "mappings of WireMock", func(d *document) bool {
			return d.has("mappings") && d.first("mappings", "request") || d.has("request") && d.has("response") &&
				!d.has("interactions")
		}},
		{"postman", "a collection of Postman", func(d *document) bool { return d.has("item") && d.has("info") }},
	}
}

// Recognize finds the format of a file by its content.
func Recognize(data []byte) (Format, bool) {
	d, err := readDocument(data)
	if err != nil {
		return Format{}, false
	}
	for _, f := range Formats() {
		if f.looks(d) {
			return f, true
		}
	}
	return Format{}, false
}

// document is the top level of a YAML or JSON file.
type document struct {
	version string
	list    bool
	top     map[string]any
	root    any
}

func readDocument(data []byte) (*document, error) {
	v, err := ReadTree(data)
	if err != nil {
		return nil, err
	}
	d := &document{root: v}
	switch v := v.(type) {
	case []any:
		d.list = true
	case map[string]any:
		d.top = v
		d.version = fmt.Sprint(v["version"])
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

// ReadTree reads JSON or YAML. It reads values with the tags of other languages as text.
func ReadTree(data []byte) (any, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // some editors write it at the beginning
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

// MaxNesting limits how deep documents of others may be nested.
const MaxNesting = 1000

// yamlTags are those of YAML itself.
var yamlTags = []string{
	"!!str", "!!int", "!!float", "!!bool", "!!null", "!!binary", "!!timestamp", "!!map", "!!seq", "!!merge",
}

// ordinaryTags removes the tags of other languages, such as !!python/unicode.
func ordinaryTags(n *yaml.Node, depth int) {
	if depth > MaxNesting {
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
