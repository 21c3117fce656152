package document_test

import (
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/document"
)

// TestDecode: what is wrong with a document is said with its line, in words of YAML, and all of it.
func TestDecode(t *testing.T) {
	type inner struct {
		Events []string `yaml:"events"`
		Status int      `yaml:"status"`
	}
	type shared struct {
		Docs string `yaml:"docs"`
	}
	type outer struct {
		shared `yaml:",inline"`
		Cases  map[string]*inner `yaml:"cases"`
		Gzip   bool              `yaml:"gzip"`
	}
	for text, want := range map[string]string{
		"docs: a\ncases: {a: {events: [x], status: 5}}\ngzip: true": "",
		"":                                  "it is empty",
		"docs: a\ncases: {a: {event: [x]}}": "line 2: there is no key \"event\"; there is events, status",
		"case: {}":                          "line 1: there is no key \"case\"; there is cases, docs, gzip",
		"cases: [a]":                        "line 1: a list stands where a table has to be",
		"docs: a\ncases:\n  a: {events: x, status: y}": "line 3: a text stands where a list has to be\n" +
			"line 3: a text stands where a whole number has to be",
		"gzip: maybe": "line 1: a text stands where true or false has to be",
		"docs: [a]":   "line 1: a list stands where a text has to be",
		"\tdocs: a":   "line 1: found character that cannot start any token: a line begins with blanks",
	} {
		err := document.Decode([]byte(text), new(outer))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) ||
			err != nil && strings.Contains(err.Error(), "unmarshal") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
