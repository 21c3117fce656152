package body_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/payload"
)

// texts writes a body that is text, or its items, in both ways.
func texts(t *testing.T, n body.Node, properties string) (bodies []string) {
	t.Helper()
	sc := scope("a", "b", "c")
	p, err := sc.Bind(n)
	if err != nil {
		t.Fatal(err)
	}
	var r payload.Resolver
	var s body.Scratch
	in := input(t, sc, &r, properties)
	both := func(write func(*body.Scratch, *body.Input, []byte) ([]byte, bool),
		items func(*body.Scratch, *body.Input, body.Sink)) string {
		var all []string
		if out, ok := write(&s, in, []byte("before")); ok {
			all = append(all, strings.TrimPrefix(string(out), "before"))
		}
		if p.Batch() {
			items(&s, in, sink(func(item []byte) { all = append(all, string(item)) }))
		}
		return strings.Join(all, "|")
	}
	return []string{both(p.Append, p.Items), both(p.Interpret, p.InterpretItems)}
}

// TestTexts: what a partner takes that is no JSON is escaped as it wants that, and one item is one line.
func TestTexts(t *testing.T) {
	from := body.From
	for _, c := range []struct {
		name       string
		node       body.Node
		properties string
		want       string
	}{
		{"rows", body.Framed("a,b\n", "\n", "\n", body.Row(",", from("a"), from("b"), from("c").Lower())),
			`{"a":"x, \"y\"","c":"Z"}`, "a,b\n\n|\"x, \"\"y\"\"\",,z"},
		{"another separator", body.Lines(body.Row(";", from("a"), from("b"))), `{"a":"x,y","b":"1;2"}`, "\n|x,y;\"1;2\""},
		{"a row of numbers, lists and blanks", body.Lines(body.Row(",", from("a"), from("b"), from("c"))),
			`{"a":1.50,"b":["x"],"c":" z"}`, "\n|1.50,\"[\"\"x\"\"]\",\" z\""},
		{"line ends", body.Lines(body.Row(",", from("a"), from("b"))), `{"a":"x\r\ny","b":"--\nz"}`, "\n|x  y,\"-- z\""},
		{"what ends a text elsewhere", body.Lines(body.Row(",", from("a"), from("b"))), `{"a":"x\u0000y","b":"\u0000"}`,
			"\n|xy,"},
		{"what begins a part of an upload", body.Lines(body.Row(",", from("a"))), `{"a":"--b--"}`, "\n|\"--b--\""},
		{"a row of nothing", body.Lines(body.Row(",", from("a"), from("b"))), `{"a":null}`, "\n"},
		{"markup", body.Markup(`<r id="{a}" of='{settings.region}'>{b}</r>`),
			`{"a":"\"x' <y>&","b":"é\u0000\u0007\ud83d\ude00\n"}`,
			`<r id="&#34;x&#39; &lt;y&gt;&amp;" of='eu'>é😀 </r>`},
		{"markup without a value", body.Markup(`<r>{a}{b}</r>`), `{"a":"x"}`, ""},
		{"markup a line", body.Lines(body.Markup(`<r>{a}</r>`)), `{"a":"<"}`, "\n|<r>&lt;</r>"},
		{"a frame of values", body.Around(body.Plain("--b\r\n{settings.region},{a}\n"), "\n", body.Markup("</{b}>\n"),
			body.Row(",", from("c"))), `{"a":"x\ny","b":"<","c":"z"}`, "--b\r\neu,x y\n</&lt;>\n|z"},
		{"nothing in a frame", body.Around(body.Plain("{a}"), "", body.Plain(""), body.Verbatim(from("b")),
			body.Row(",", from("c"))), `{"a":"","b":"","c":""}`, ""},
		{"a frame without its value", body.Around(body.Plain("{a}"), "\n", body.Plain("{b}"), body.Row(",", from("c"))),
			`{"a":"x","c":"z"}`, "|z"[1:]},
		{"verbatim", body.Lines(body.Verbatim(from("a"))), `{"a":"<x>,\"\n"}`, `` + "\n" + `|<x>," `},
	} {
		for i, got := range texts(t, c.node, c.properties) {
			if got != c.want {
				t.Errorf("%s, %s: %q, want %q", c.name, []string{"compiled", "interpreted"}[i], got, c.want)
			}
		}
	}
}

// TestTextsOfAnything: whatever a value is, both ways write the same text, on one line.
func TestTextsOfAnything(t *testing.T) {
	tried := 0
	for seed := range uint64(600) {
		m := &maker{Rand: rand.New(rand.NewPCG(seed, 2))}
		sc := scope(fieldKeys...)
		node := body.Around(body.Verbatim(m.value()), "\n", body.Plain("{a}"),
			body.Row(pick(m, ",", ";", "\t"), m.value(), m.value()), body.Verbatim(m.value()))
		p, err := sc.Bind(node)
		if err != nil {
			continue // of names that are not there
		}
		var r payload.Resolver
		var s body.Scratch
		raw := []byte(`{"properties":{`)
		for i, k := range fieldKeys {
			if i > 0 {
				raw = append(raw, ',')
			}
			raw = m.json(append(raw, `"`+k+`":`...), 2)
		}
		ev, err := event.ParseValue(append(raw, "}}"...))
		if err != nil {
			t.Fatal(err)
		}
		in, err := inputOf(t, sc, &r, ev)
		if err != nil {
			continue // no field takes lists of several types
		}
		tried++
		var ways [2]string
		for i, items := range []func(*body.Scratch, *body.Input, body.Sink){p.Items, p.InterpretItems} {
			items(&s, in, sink(func(item []byte) {
				if strings.ContainsAny(string(item), "\r\n") {
					t.Errorf("seed %d: %q is not on one line", seed, item)
				}
				ways[i] += string(item) + "|"
			}))
		}
		for i, around := range []func(*body.Scratch, *body.Input) (string, string, bool){p.Envelope, p.InterpretEnvelope} {
			open, close, ok := around(&s, in)
			ways[i] += fmt.Sprintf("%q %q %v", open, close, ok)
		}
		if ways[0] != ways[1] {
			t.Fatalf("seed %d: compiled %q, interpreted %q", seed, ways[0], ways[1])
		}
	}
	if tried < 100 {
		t.Errorf("only %d were tried", tried)
	}
}

// TestTextStandsAlone: text that is no JSON cannot stand in JSON.
func TestTextStandsAlone(t *testing.T) {
	sc := scope("a")
	for _, n := range []body.Node{
		body.Object(body.Member("x", body.Row(",", body.From("a")))), body.Batch("x", body.Verbatim(body.From("a"))),
		body.List(body.Markup("<a/>")), body.Lines(body.Above(body.Row(",", body.From("a")), body.From("a"))),
		body.Lines(body.Markup("<a>\n</a>")), body.Lines(body.Row(",", body.From("none"))),
		body.Around(body.Plain("{none}"), "", body.Plain(""), body.From("a")),
		body.Object(body.Member("x", body.Around(body.Plain("x"), "", body.Plain(""), body.From("a")))),
	} {
		if _, err := sc.Bind(n); err == nil {
			t.Errorf("%v is a body", n)
		}
	}
}
