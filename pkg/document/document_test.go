package document_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/document"
)

func node(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return doc.Content[0]
}

func TestJSON(t *testing.T) {
	for _, c := range []struct{ yaml, json, wrong string }{
		{yaml: `b: 1
a: {z: [x, "y", 'it''s'], c: }`, json: `{"b":1,"a":{"z":["x","y","it's"],"c":null}}`},
		{yaml: `12345678901234567890`, json: `12345678901234567890`},
		{yaml: `1.10`, json: `1.10`},
		{yaml: `1e400`, json: `"1e400"`}, // a text, to YAML
		{yaml: `02134`, json: `"02134"`},
		{yaml: `0x1F`, json: `31`},
		{yaml: `0o17`, json: `15`},
		{yaml: `+3`, json: `3`},
		{yaml: `+4915112345678`, json: `"+4915112345678"`},
		{yaml: `-01234`, json: `"-01234"`},
		{yaml: `01_000`, json: `"01_000"`},
		{yaml: `.5`, json: `0.5`},
		{yaml: `-.5e3`, json: `-500`},
		{yaml: `1_000`, json: `1000`},
		{yaml: `.inf`, wrong: "put it in quotes"},
		{yaml: `.nan`, wrong: "put it in quotes"},
		{yaml: `".inf"`, json: `".inf"`},
		{yaml: `"1"`, json: `"1"`},
		{yaml: `yes`, json: `"yes"`},
		{yaml: `True`, json: `true`},
		{yaml: `~`, json: `null`},
		{yaml: `2024-06-01`, json: `"2024-06-01"`},
		{yaml: `2024-06-01T00:00:00Z`, json: `"2024-06-01T00:00:00Z"`},
		{yaml: `"<a&b>\u2028"`, json: "\"<a&b>\\u2028\""},
		{yaml: `{1: a, true: b, null: c}`, json: `{"1":"a","true":"b","null":"c"}`},
		{yaml: "|\n  {\"a\": 1,\n   \"b\": [2]}", json: "{\"a\": 1,\n \"b\": [2]}"},
		{yaml: "|\n  {not json}", json: `"{not json}"`},
		{yaml: `'{"a": 1}'`, json: `"{\"a\": 1}"`},
		{yaml: `{a: &x 1, b: *x}`, wrong: "reference *x"},
		{yaml: `[]`, json: `[]`},
		{yaml: `{}`, json: `{}`},
	} {
		got, err := document.JSON(node(t, c.yaml))
		switch {
		case c.wrong != "":
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %s %v, want an error with %q", c.yaml, got, err, c.wrong)
			}
		case err != nil || string(got) != c.json:
			t.Errorf("%s: %s %v, want %s", c.yaml, got, err, c.json)
		}
	}
}

// FuzzJSON: what is written is JSON, and means what the decoder of YAML reads.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"a: 1", "[1, .5, 0x10, x: y]", "- {a: b}\n- 'c'", "? [a]\n: b", "!!binary aGk=", "!x y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var doc yaml.Node
		if len(text) > 1<<12 || yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 {
			return
		}
		got, err := document.JSON(doc.Content[0])
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%q gives %q", text, got)
		}
		var want any
		if !plain(doc.Content[0]) || doc.Content[0].Decode(&want) != nil {
			return
		}
		asJSON, err := json.Marshal(want)
		if err != nil {
			return
		}
		var a, b any
		if json.Unmarshal(asJSON, &a) != nil || json.Unmarshal(got, &b) != nil {
			return // a number that is too large for a double
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%q gives %s, and is %s", text, got, asJSON)
		}
	})
}

// plain says that a value has nothing that this package reads in its own way: keys that are no texts, texts of
// several lines, tags of its own, times.
func plain(n *yaml.Node) bool {
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || n.Tag == "!!timestamp" || n.Tag == "!!binary" ||
		!strings.HasPrefix(n.Tag, "!!") || len(n.Value) > 1 && n.Value[0] == '0' &&
		strings.Trim(n.Value, "0123456789") == "" {
		return false
	}
	for i, c := range n.Content {
		if !plain(c) || n.Kind == yaml.MappingNode && i%2 == 0 && c.Tag != "!!str" {
			return false
		}
	}
	return true
}
