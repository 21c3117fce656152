package filter

import (
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
)

// TestExplain: what is said of a statement is what Match finds, its text is the statement, and a
// condition that fails names what is there instead.
func TestExplain(t *testing.T) {
	const ev = `{"type":"track","event":"order completed ","userId":"u","properties":{"Plan":"pro","total":"12",` +
		`"tags":["a","b"],"n":3},"traits":{"email":"x@y.example"}}`
	for statement, want := range map[string]string{
		`event = "Order Completed"`:                           `event is "order completed ", differs in case`,
		`event = "order completed"`:                           `event is "order completed ", differs in white space`,
		`event = "order_completed "`:                          `differs in spaces, dashes or underscores`,
		`event = "Signed Up"`:                                 `event is "order completed "`,
		`properties.plan = "pro"`:                             `properties.plan is missing; there is properties.Plan`,
		`properties.email = "x@y.example"`:                    `properties.email is missing; there is traits.email`,
		`properties.total = 12`:                               `properties.total is "12", which is a string and never equals a number`,
		`properties.total > 5`:                                `properties.total is "12", which is a string and no number`,
		`event in ["A", "Order Completed"]`:                   `differs in case from "Order Completed"`,
		`contains(properties.n, "3")`:                         `properties.n is 3, which is a number and no text`,
		`"c" in properties.tags`:                              `properties.tags is ["a","b"]`,
		`type != "track"`:                                     `type is "track"`,
		`!(type = "track")`:                                   `what stands behind the ! holds`,
		`type = "track" and (event = "A" or event = "B")`:     `event is "order completed "`,
		`lowercase(event) = "x"`:                              `event is "order completed "`,
		`length(properties.tags) > 2 and type = "track"`:      `properties.tags is ["a","b"]`,
		`properties.a\ b = null and properties.c = true`:      `properties.c is missing`,
		`type = "track" and !match(event, "order *") or null`: ``,
	} {
		f, err := Compile(statement)
		if err != nil {
			t.Log(err)
			continue
		}
		v, err := event.Parse([]byte(ev))
		if err != nil {
			t.Fatal(err)
		}
		got := f.Explain(v.Root())
		if got.Text != statement {
			t.Errorf("%s is written as %s", statement, got.Text)
		}
		if got.Holds != f.Match(v.Root()) || got.Holds {
			t.Errorf("%s: holds %v", statement, got.Holds)
		}
		var all []string
		for _, term := range got.Failed() {
			all = append(all, term.Why)
		}
		if said := strings.Join(all, "; "); !strings.Contains(said, want) || len(all) == 0 {
			t.Errorf("%s: it is said\n%s\nwant\n%s", statement, said, want)
		}
	}
}

// FuzzExplain: the text of a statement is one that means the same.
func FuzzExplain(f *testing.F) {
	for _, s := range []string{`type = "track" and (a or !b)`, `(a or b) and c = [1, "x"]`, `!(a = b)`,
		`(a and b) = true`, `contains(a.b\ c, "\"")`, `x in [1, 2]`, `(x = 1) = y`} {
		f.Add(s, `{"a":true,"type":"track"}`)
	}
	f.Fuzz(func(t *testing.T, statement, object string) {
		one, err := Compile(statement)
		v, wrong := event.ParseValue([]byte(object))
		if err != nil || wrong != nil || v.Kind() != event.Object {
			return
		}
		term := one.Explain(v)
		if term.Holds != one.Match(v) || term.Holds != (len(term.Failed()) == 0) {
			t.Fatalf("%s holds %v, explained %v with %d failures", statement, one.Match(v), term.Holds, len(term.Failed()))
		}
		if strings.Contains(term.Text, "…") {
			return // cut
		}
		two, err := Compile(term.Text)
		if err != nil {
			t.Fatalf("%s is written as %s: %v", statement, term.Text, err)
		}
		if one.Match(v) != two.Match(v) {
			t.Fatalf("%s is written as %s, which means something else", statement, term.Text)
		}
	})
}
