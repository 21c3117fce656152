package casebook

import (
	"encoding/json"
	"strings"
	"testing"
)

const someCases = `
written: from documentation
date: 2024-06-01
docs: https://a.example/docs
presets: all
events:
  own: '{"type":"track","event":"Own","properties":{"a":1,"b":{"c":2,"d":3}}}'
  changed: 'order {"userId":"u-2"}'
answers:
  busy: {status: 429}
cases:
  two:
    events: [own, 'own {"properties":{"b":{"d":4},"e":5}}', '{"type":"page"}', changed]
    answers: [busy, {body: "{}"}]
  one: {docs: "https://a.example/other", action: send, events: [order]}
`

// TestRead: what a file of cases leaves out, and what its events stand for.
func TestRead(t *testing.T) {
	shared := map[string]string{"order": `{"type":"track","userId":"u-1","event":"Order Completed"}`}
	requests := writtenLine + `{"case":"two","results":["send delivered"],"requests":[` +
		`{"method":"POST","url":"https://a.example/v1","type":"application/json","body":{"b":1,"a":"é"}},` +
		`{"method":"GET","url":"https://a.example/v1?x=\"1\""},{"method":"PUT","url":"u","body":"a\nb"}]}` + "\n"
	_, list, err := Read([]byte(someCases), []byte(requests), shared)
	if err != nil {
		t.Fatal(err)
	}
	one, two := list[0], list[1]
	if one.Docs != "https://a.example/other" || one.Presets != "" || two.Docs != "https://a.example/docs" ||
		two.Presets != "all" {
		t.Errorf("%+v, %+v", one, two)
	}
	want := []string{
		`{"type":"track","event":"Own","properties":{"a":1,"b":{"c":2,"d":3}}}`,
		`{"type":"track","event":"Own","properties":{"a":1,"b":{"c":2,"d":4},"e":5}}`,
		`{"type":"page"}`,
		`{"type":"track","userId":"u-1","event":"Order Completed"}`,
	}
	for i, w := range append(want[:3:3], `{"type":"track","userId":"u-2","event":"Order Completed"}`) {
		if two.Events[i] != w {
			t.Errorf("event %d is %s, want %s", i, two.Events[i], w)
		}
	}
	if one.Events[0] != want[3] {
		t.Errorf("the event is %s", one.Events[0])
	}
	if len(two.Given) != 2 || two.Given[0].Status != 429 || two.Given[1].Status != 200 {
		t.Errorf("answers %+v", two.Given)
	}
	if one.Want != nil || two.Want == nil {
		t.Errorf("expectations %v %v", one.Want, two.Want)
	}
	// What is written down is what was read, to the byte.
	if got := string(Lines(list)); got != requests {
		t.Errorf("\n%s\nwant\n%s", got, requests)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ from, to, says string }{
		{"presets: all", "preset: all", "preset"},
		{"[order]", "[orders]", `the case one: there is no event "orders"`},
		{"[busy,", "[bizzy,", `the case two: there is no answer "bizzy"`},
		{`'own {"properties":{"b":{"d":4},"e":5}}'`, `'own {"x"}'`, "the changes to the event own"},
		{`  one: {docs: "https://a.example/other", action: send, events: [order]}`, "  one:", "the case one is empty"},
	} {
		text := strings.Replace(someCases, c.from, c.to, 1)
		if text == someCases {
			t.Fatalf("%q does not stand there", c.from)
		}
		_, _, err := Read([]byte(text), nil, map[string]string{"order": `{"type":"track"}`})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.to, err, c.says)
		}
	}
	if _, _, err := Read([]byte(someCases), []byte("{\n"), map[string]string{"order": `{}`}); err == nil {
		t.Error("half a line of requests is taken")
	}
}

// TestSameBody: the order of members is no difference; what a partner would read is one.
func TestSameBody(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		kind, a, b string
		same       bool
	}{
		{"", `{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		{"", `{"a":1}`, `{"a":1.0}`, false},
		{"", `{"a":1}`, `{"a":1,"a":1}`, false},
		{"", `{"a":12345678901234567890}`, `{"a":12345678901234567891}`, false},
		{"", `[1,2]`, `[2,1]`, false},
		{"", `"a"`, `"b"`, false},
		{"", ``, `{}`, false},
		{form, `"a=1&b=2"`, `"b=2&a=1"`, true},
		{form, `"a=1&a=2"`, `"a=2&a=1"`, false},
		{form, `"d={\"x\":1,\"y\":2}"`, `"d={\"y\":2,\"x\":1}"`, true},
		{form, `"a=1"`, `"a=2"`, false},
	} {
		if sameBody(c.kind, json.RawMessage(c.a), json.RawMessage(c.b)) != c.same {
			t.Errorf("%s and %s", c.a, c.b)
		}
	}
}

// TestCollect: what stops a case is a finding, also a panic.
func TestCollect(t *testing.T) {
	found := collect(func(t T) {
		t.Errorf("%d", 1)
		t.Fatal("a", 2)
		t.Error("not reached")
	})
	if strings.Join(found, "|") != "1|a 2" {
		t.Errorf("%q", found)
	}
	found = collect(func(T) { panic("oh") })
	if len(found) != 1 || !strings.Contains(found[0], "a mistake in fanfold: oh") {
		t.Errorf("%q", found)
	}
	if found = collect(func(t T) { t.Helper(); t.Logf("x") }); found != nil {
		t.Errorf("%q", found)
	}
}

// TestReadOfTheCatalogue: what the tests of the catalogue have to be told stands in the same file.
func TestReadOfTheCatalogue(t *testing.T) {
	f, _, err := Read([]byte(someCases+`
elsewhere: [[segment, actions-own, Own (Actions)]]
residence: {region: [[rudderstack, OWN, where, true, eu]]}
harmless: {send: it sends nothing}
differs: {fields: {path: there is but one}, rows: {own/batch: "it is not read first"}, more: those of nobody}
`), nil, map[string]string{"order": `{}`})
	if err != nil || f.Elsewhere[0] != [3]string{"segment", "actions-own", "Own (Actions)"} ||
		f.Residence["region"][0] != (Residence{"rudderstack", "OWN", "where", true, "eu"}) ||
		f.Harmless["send"] == "" || f.Differs.Fields["path"] == "" || f.Differs.Rows["own/batch"] == "" ||
		f.Differs.More == "" {
		t.Errorf("%+v, %v", f, err)
	}
	if f, _, err = Read([]byte(someCases+"elsewhere: []\n"), nil, map[string]string{"order": `{}`}); err != nil ||
		f.Elsewhere == nil {
		t.Errorf("no names elsewhere: %+v, %v", f, err)
	}
	for wrong, says := range map[string]string{"elsewhere: [[segment, own]]": "3 elements",
		"residence: {region: [[segment, own]]}": "a residence is [tool, code,", "harmles: {}": "harmles"} {
		if _, _, err := Read([]byte(someCases+wrong+"\n"), nil, map[string]string{"order": `{}`}); err == nil ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", wrong, err, says)
		}
	}
}
