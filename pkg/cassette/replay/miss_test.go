package replay

import (
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// TestMiss checks that the nearest recorded request comes first, with all differing
// fields and the rule with which it would match, and that no secret is shown.
func TestMiss(t *testing.T) {
	p := replayerOf(t, sample.Events(100),
		Options{Redactor: sample.Redactor("k", redact.Secret{Name: "S", Value: "hunter2hunter2"})})
	q := match.Recorded(sample.Events(100)[42])
	q.Body = strings.Replace(q.Body, `"total":42`, `"total":4200`, 1)
	q.URL += "?api_key=hunter2hunter2"
	_, err := p.Answer("", q)
	m, ok := err.(*Miss)
	if !ok || len(m.Nearest) != 3 {
		t.Fatalf("%v", err)
	}
	near := m.Nearest[0]
	if near.Interaction != 42 {
		t.Errorf("nearest is %+v", near)
	}
	q.URL = strings.TrimSuffix(q.URL, "?api_key=hunter2hunter2")
	_, err = p.Answer("", q)
	text := err.Error()
	for _, want := range []string{"interaction 42", "body.properties.total: recorded 42, sent 4200",
		"--ignore body.properties.total"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	for _, miss := range p.Usage().Missed {
		if strings.Contains(miss.Error(), "hunter2") {
			t.Errorf("the report holds a secret:\n%s", miss.Error())
		}
	}
	// With this rule it matches.
	p = replayerOf(t, sample.Events(100), Options{Ignore: []string{"body.properties.total"}})
	if i, err := p.Answer("", q); err != nil || i.Response.Body != `{"ok":true,"n":42}` {
		t.Errorf("%v %v", i, err)
	}
}
