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
	// looks recognises a document by its members.
	looks func(doc any) bool
}

// Formats returns the formats that are known. Each comes before those that it could be mistaken for.
func Formats() []Format {
	return []Format{
		{"go-vcr-v4", "a cassette of go-vcr v3 or v4", func(doc any) bool {
			top, _ := doc.(map[string]any)
			return has(doc, "interactions") && fmt.Sprint(top["version"]) == "2"
		}},
		{"vcrpy", "a cassette of vcrpy", func(doc any) bool { return has(doc, "interactions", "request", "uri") }},
		{"vcr", "a cassette of VCR", func(doc any) bool { return has(doc, "http_interactions") }},
		{"polly", "a recording of Polly", func(doc any) bool { return has(doc, "log", "_recordingName") }},
		{"har", "a HAR file", func(doc any) bool { return has(doc, "log", "entries") }},
		{"nock", "fixtures of nock", func(doc any) bool {
			_, list := doc.([]any)
			return list && has(doc, "scope") && has(doc, "path")
		}},
		{"wiremock", "mappings of WireMock", func(doc any) bool {
			return has(doc, "mappings", "request") || has(doc, "request") && has(doc, "response") && !has(doc, "interactions")
		}},
		{"postman", "a collection of Postman", func(doc any) bool { return has(doc, "item") && has(doc, "info") }},
	}
}

// Recognize finds the format of a file by its content.
func Recognize(data []byte) (Format, bool) {
	doc, err := ReadTree(data)
	if err != nil {
		return Format{}, false
	}
	for _, f := range Formats() {
		if f.looks(doc) {
			return f, true
		}
	}
	return Format{}, false
}

// has is true if a document has a member at a path. Of a list, the first element counts.
func has(doc any, path ...string) bool {
	if list, ok := doc.([]any); ok && len(list) > 0 {
		doc = list[0]
	}
	if len(path) == 0 {
		return true
	}
	members, _ := doc.(map[string]any)
	inner, ok := members[path[0]]
	return ok && has(inner, path[1:]...)
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
