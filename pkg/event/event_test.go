package event_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

func parse(t testing.TB, s string) *event.Event {
	t.Helper()
	e, err := event.Parse([]byte(s))
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return e
}

func TestBytesSurvive(t *testing.T) {
	raw := ` {"id":12345678901234567890,"d":1,"d":2,"e":"A\/\ud83d","x":{"money":0.10,"n":[1e5,-0]},"bad":"` + "\xff" +
		`"} `
	e := parse(t, raw)
	for path, want := range map[string]string{
		"id": "12345678901234567890", "d": "2", "e": `"A\/\ud83d"`, "x.money": "0.10", "x.n.0": "1e5", "x.n[1]": "-0",
		"bad": "\"\xff\"",
		"x":   `{"money":0.10,"n":[1e5,-0]}`,
	} {
		if got := string(e.Lookup(event.CompilePath(path)).Raw()); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	if string(e.Raw()) != raw {
		t.Error("the event's bytes changed")
	}
	if got := e.Root().Get("e").Text(); got != "A/\ufffd" {
		t.Errorf("decoded e = %q", got)
	}
}

func TestCommonMembers(t *testing.T) {
	e := parse(
		t,
		`{"type":"track","messageId":"m","userId":"u","anonymousId":"a","event":"E",`+
			`"timestamp":"2024-05-29T10:00:00.250Z"}`,
	)
	if e.Type() != event.Track || e.MessageID().Text() != "m" || e.UserID().Text() != "u" ||
		e.AnonymousID().Text() != "a" ||
		e.Name().Text() != "E" {
		t.Errorf("common members misread: %v %v", e.Type(), e.MessageID().Text())
	}
	at, ok := e.Timestamp()
	if want := time.Date(2024, 5, 29, 10, 0, 0, 250e6, time.UTC); !ok || !at.Equal(want) {
		t.Errorf("Timestamp = %v %v, want %v", at, ok, want)
	}
	if e := parse(t, `{"type":"heartbeat","timestamp":"","receivedAt":1709251200}`); e.Type() != event.Other {
		t.Errorf("type %v, want other", e.Type())
	} else if at, ok := e.Timestamp(); !ok || at.Unix() != 1709251200 {
		t.Errorf("Timestamp = %v %v, want receivedAt", at, ok)
	}
	if at, ok := parse(t, `{"type":"track","timestamp":"nonsense","receivedAt":1709251200}`).Timestamp(); ok {
		t.Errorf("a time that cannot be read was replaced by another: %v", at)
	}
	if typ := parse(t, `{"\u0074ype":"trac\u006b"}`).Type(); typ != event.Track {
		t.Errorf("escaped key and value: type %v", typ)
	}
}

func TestPaths(t *testing.T) {
	e := parse(
		t,
		`{"a":{"b":[{"c":1},{"c":2}],"b `+
			`c":3,"x]":4,"":5},"zero":0,"n":null,"s":"","t":"h\u00e9😀","f":false,"a[b]":6,"arr":[]}`,
	)
	cases := []struct{ path, want string }{
		{
			"$.a.b[1].c",
			"2",
		}, {"a.b.0.c", "1"}, {"a['b c']", "3"}, {`a["b c"]`, "3"}, {"a..b.1.c", "2"}, {"a.b.", `[{"c":1},{"c":2}]`},
		{"$.zero.x", "0"}, {"$.n.x", "null"}, {"$.s.x", `""`}, {"$.f.x.y", "false"}, {"a[b]", "6"},
		{
			"t[0]",
			`"h"`,
		}, {"t.1", `"é"`}, {"t[2]", `"\ud83d"`}, {"t.length", "4"}, {"a.b.length", "2"}, {"arr.length", "0"},
		{"a.b.c", ""}, {"t.x", ""}, {"a.b[-1]", ""}, {"a.b.01", ""}, {"missing.x", ""}, {"t[9]", ""},
		{"", string(e.Raw())}, {".", string(e.Raw())}, {"$.", string(e.Raw())}, {"$", ""},
	}
	for _, c := range cases {
		if got := string(e.Lookup(event.CompilePath(c.path)).Raw()); got != c.want {
			t.Errorf("%q = %s, want %s", c.path, got, c.want)
		}
	}
	if v := e.Lookup(event.CompileTemplatePath("$.zero")); v.Exists() {
		t.Errorf("a template's $. was removed: %s", v.Raw())
	}
	if got := string(e.Lookup(event.Keys("a[b]")).Raw()); got != "6" {
		t.Errorf("literal key = %s", got)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		raw    string
		is     error
		offset int
	}{
		{`[1]`, event.ErrNotObject, 0}, {`"x"`, event.ErrNotObject, 0}, {`null`, event.ErrNotObject, 0},
		{``, nil, 0}, {`{`, nil, 1}, {`{"a":}`, nil, 5}, {`{"a":1,}`, nil, 7}, {`{"a":01}`, nil, 6},
		{`{"a":1} x`, nil, 8},
		{"{\"a\":\"\n\"}", nil, 6}, {`{"a":"\x"}`, nil, 6}, {`{"a":"\u12g4"}`, nil, 6}, {`{a:1}`, nil, 1},
		{`{"a" 1}`, nil, 5}, {`{"a":-}`, nil, 6}, {`{"a":1.}`, nil, 7}, {`{"a":tru}`, nil, 5},
		{strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001), event.ErrTooDeep, 0},
	} {
		_, err := event.Parse([]byte(c.raw))
		if err == nil {
			t.Errorf("%.40q was accepted", c.raw)
			continue
		}
		var syntax *event.SyntaxError
		switch {
		case c.is != nil && !errors.Is(err, c.is):
			t.Errorf("%.40q: %v, want %v", c.raw, err, c.is)
		case c.is == nil && (!errors.As(err, &syntax) || syntax.Offset != c.offset):
			t.Errorf("%.40q: %v, want a syntax error at %d", c.raw, err, c.offset)
		}
	}
	p := event.Parser{Limits: event.Limits{MaxBytes: 10, MaxDepth: 2}}
	if _, err := p.Parse([]byte(`{"a":"0123456789"}`)); !errors.Is(err, event.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := p.Parse([]byte(`{"a":[[]]}`)); !errors.Is(err, event.ErrTooDeep) {
		t.Errorf("too deep: %v", err)
	}
	if _, err := p.Parse([]byte(`{"a":[]}`)); err != nil {
		t.Errorf("within the limits: %v", err)
	}
}

// TestParserMemory reads many texts of very different sizes through one
// parser, so that slabs grow, are replaced and are reused, and checks every
// earlier event after each.
func TestParserMemory(t *testing.T) {
	var p event.Parser
	for round := range 3 {
		var events []*event.Event
		var texts []string
		for i := range 600 {
			n := i % 97
			if i%150 == 149 {
				n = 30_000
			}
			text := `{"type":"track","n":[` + strings.TrimSuffix(
				strings.Repeat("1,", n),
				",",
			) + `],"last":` + string(
				rune('0'+i%10),
			) + `}`
			if i%40 == 39 {
				if _, err := p.Parse([]byte(text[:len(text)-1])); err == nil {
					t.Fatal("a cut text was accepted")
				}
			}
			e, err := p.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			events, texts = append(events, e), append(texts, text)
		}
		for i, e := range events {
			if string(e.Raw()) != texts[i] || e.Root().Get("last").Text() != string(rune('0'+i%10)) ||
				e.Type() != event.Track {
				t.Fatalf("round %d: event %d was overwritten", round, i)
			}
		}
		p.Reset()
	}
}

func TestNumbersAsJavaScriptWritesThem(t *testing.T) {
	for f, want := range map[float64]string{
		1e21: "1e+21", 1e-7: "1e-7", 123456789012345680000: "123456789012345680000", 0.1: "0.1", 100: "100",
		1.5e-10: "1.5e-10",
		1e300:   "1e+300", 0.000001: "0.000001", -2.5: "-2.5", 5e-324: "5e-324",
	} {
		if got := string(event.AppendFloatJS(nil, f)); got != want {
			t.Errorf("%v = %s, want %s", f, got, want)
		}
	}
	if got := string(event.AppendFloatJS(nil, math.Inf(1))); got != "Infinity" {
		t.Errorf("infinity = %s", got)
	}
}

func TestQuoting(t *testing.T) {
	for in, want := range map[string]string{
		"a\"b\\": `"a\"b\\"`, "\b\f\n\r\t\x01\x1f\x7f": `"\b\f\n\r\t\u0001\u001f` + "\x7f\"",
		"<&>\u2028é": "\"<&>\u2028é\"", "": `""`,
	} {
		if got := string(event.AppendQuoted(nil, in)); got != want {
			t.Errorf("%q = %s, want %s", in, got, want)
		}
	}
}

// TestQuotingEverywhere puts every byte in every place of texts around the length
// of the words that are looked at at once, alone and behind another special one.
func TestQuotingEverywhere(t *testing.T) {
	want := func(text []byte) string {
		var b strings.Builder
		b.WriteByte('"')
		for _, c := range text {
			switch short := strings.IndexByte("\b\t\n\f\r", c); {
			case c == '"' || c == '\\':
				b.Write([]byte{'\\', c})
			case short >= 0:
				b.Write([]byte{'\\', "btnfr"[short]})
			case c < 0x20:
				fmt.Fprintf(&b, `\u%04x`, c)
			default:
				b.WriteByte(c)
			}
		}
		return b.String() + `"`
	}
	for n := 1; n <= 19; n++ {
		for at := range n {
			for c := range 256 {
				for _, fill := range []string{"a", "\xff", "!"} {
					text := []byte(strings.Repeat(fill, n))
					text[at] = byte(c)
					for range 2 {
						if got := string(event.AppendQuoted([]byte("x"), text)); got != "x"+want(text) {
							t.Fatalf("%q = %s", text, got)
						}
						text[at/2] = '"'
					}
				}
			}
		}
	}
}

func TestTimes(t *testing.T) {
	base := time.Date(2024, 2, 29, 12, 30, 15, 0, time.UTC)
	for raw, want := range map[string]time.Time{
		`"2024-02-29T12:30:15Z"`: base, `"2024-02-29T12:30:15.000Z"`: base, `"2024-02-29T14:30:15+02:00"`: base,
		`"2024-02-29 12:30:15"`: base,
		`"2024-02-29T12:30:15"`: base, `1709209815`: base, `1709209815000`: base, `1709209815000000`: base,
		`1709209815000000000`: base,
		`"1709209815"`:        base, `"1709209815000"`: base, `1709209815.0`: base,
		`"2024-02-29"`: base.Truncate(24 * time.Hour), `"2024-02-29T12:30:15.123456789Z"`: base.Add(123456789),
		`"2024-01-31T00:00:00.5Z"`: time.Date(2024, 1, 31, 0, 0, 0, 5e8, time.UTC),
		`1709209815.25`:            base.Add(250 * time.Millisecond),
	} {
		v, err := event.ParseValue([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := event.ParseTime(v); !ok || !got.Equal(want) {
			t.Errorf("%s = %v %v, want %v", raw, got, ok, want)
		}
	}
	for at := time.Date(0, 1, 1, 0, 0, 0, 0,
		time.UTC); at.Year() < 10000; at = at.Add(41*24*time.Hour + 7919*time.Second + 37*time.Millisecond) {
		text := at.Format("2006-01-02T15:04:05.000Z")
		if got, ok := event.ParseTimeText([]byte(text)); !ok || !got.Equal(at) {
			t.Fatalf("%s = %v %v", text, got, ok)
		}
	}
	for _, raw := range []string{`"soon"`, `""`, `null`, `true`, `"2024-02-30T00:00:00Z"`, `"2024-13-01"`,
		`"2024-13-01T00:00:00Z"`, `"2024-01-01T24:00:01Z"`, `"2024-01-01T00:0x:00Z"`, `"2024-01-01T00:00:00.Z"`,
		`1e300`,
		`"12"`} {
		v, _ := event.ParseValue([]byte(raw))
		if got, ok := event.ParseTime(v); ok {
			t.Errorf("%s was read as %v", raw, got)
		}
	}
}

// FuzzParse holds the scanner against encoding/json: the same texts are valid,
// and what the index says of a text is what encoding/json reads.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":[1,2,{"b":"\u00e9\n"}],"a":null}`, ` [true,false,-1.5e+10] `, `"\ud83d\ude00"`,
		`{"":{"":""}}`, "\"\x7f\xff\"", `01`, `{"a":1,}`, `[1,]`, `nul`, `"\u12"`, `-`, `1e`, `{"k":"12345678\"90"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		v, err := event.ParseValue(raw)
		if errors.Is(err, event.ErrTooDeep) {
			return
		}
		if want := json.Valid(raw); (err == nil) != want {
			t.Fatalf("%q: error %v, encoding/json valid %v", raw, err, want)
		}
		if err != nil {
			return
		}
		compare(t, v, raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("the text changed")
		}
	})
}

func compare(t *testing.T, v event.Value, raw []byte) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	same(t, v, want)
}

func same(t *testing.T, v event.Value, want any) {
	switch w := want.(type) {
	case nil:
		if v.Kind() != event.Null {
			t.Fatalf("%s: kind %v, want null", v.Raw(), v.Kind())
		}
	case bool:
		if v.Kind() != event.Bool || v.Bool() != w {
			t.Fatalf("%s: want %v", v.Raw(), w)
		}
	case json.Number:
		if v.Kind() != event.Number || string(v.Raw()) != string(w) {
			t.Fatalf("%s: want %v", v.Raw(), w)
		}
	case string:
		// encoding/json replaces invalid UTF-8; the index keeps it.
		if got := strings.ToValidUTF8(v.Text(),
			"\ufffd"); v.Kind() != event.String || got != w && strings.ToValidUTF8(w, "") == w && !strings.Contains(w,
			"\ufffd") {
			t.Fatalf("%s: %q, want %q", v.Raw(), v.Text(), w)
		}
		if !v.IsText(v.Text()) {
			t.Fatalf("%s is not its own text", v.Raw())
		}
		if again, err := event.ParseValue(event.AppendQuoted(nil, v.Text())); err != nil || !v.SameText(again) {
			t.Fatalf("%s has not the same text as %s", v.Raw(), again.Raw())
		}
	case []any:
		if v.Kind() != event.Array || v.Len() != len(w) {
			t.Fatalf("%s: %d elements, want %d", v.Raw(), v.Len(), len(w))
		}
		i := 0
		for el := range v.Elements() {
			same(t, el, w[i])
			i++
		}
	case map[string]any:
		if v.Kind() != event.Object {
			t.Fatalf("%s: kind %v, want object", v.Raw(), v.Kind())
		}
		for k := range v.Members() {
			if _,
				ok := w[k.Text()]; !ok && strings.ToValidUTF8(k.Text(), "") == k.Text() && !bytes.Contains(k.Raw(),
				[]byte("\\u")) {
				t.Fatalf("%s: encoding/json has no key %s", v.Raw(), k.Raw())
			}
		}
		for k, member := range w {
			if strings.Contains(k, "\ufffd") {
				continue // repaired by encoding/json: not this key's bytes
			}
			same(t, v.Get(k), member)
		}
	}
}

const suite = "../../../shared/data/jsontestsuite/test_parsing"

func TestJSONTestSuite(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(suite, "*.json"))
	if len(files) == 0 {
		t.Skip("skipped: the JSON test suite is not at " + suite)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		err = event.Valid(raw)
		switch name := filepath.Base(f); {
		case name[0] == 'y' && err != nil:
			t.Errorf("%s was refused: %v", name, err)
		case name[0] == 'n' && err == nil:
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestRealClientEvents(t *testing.T) {
	f, err := os.Open("../../../shared/data/real-client/events.jsonl.gz")
	if err != nil {
		t.Skip("skipped: the real client's events are not here")
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for s := bufio.NewScanner(z); s.Scan(); n++ {
		e, err := event.Parse(bytes.Clone(s.Bytes()))
		if err != nil {
			t.Fatalf("event %d: %v", n, err)
		}
		if _, ok := e.Timestamp(); !ok || e.Type() == event.Other || !e.MessageID().Exists() {
			t.Fatalf("event %d: time, type or messageId not found: %s", n, e.Raw())
		}
	}
	if n != 2000 {
		t.Errorf("%d events, want 2000", n)
	}
}

func lines(b *testing.B) [][]byte {
	b.Helper()
	var buf bytes.Buffer
	if err := eventgen.Write(&buf, eventgen.Options{Seed: 1, Events: 1000}); err != nil {
		b.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(buf.Bytes()), []byte("\n"))
}

// BenchmarkIndex indexes 1.2 KB events; the baselines stand beside it.
func BenchmarkIndex(b *testing.B) {
	events := lines(b)
	total := 0
	for _, l := range events {
		total += len(l)
	}
	run := func(name string, f func(raw []byte)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(total / len(events)))
			i := 0
			for b.Loop() {
				f(events[i%len(events)])
				i++
			}
		})
	}
	var p event.Parser
	n := 0
	run("fanfold", func(raw []byte) {
		if n++; n%1000 == 0 {
			p.Reset()
		}
		if _, err := p.Parse(raw); err != nil {
			b.Fatal(err)
		}
	})
	run("encoding/json.Valid", func(raw []byte) {
		if !json.Valid(raw) {
			b.Fatal("invalid")
		}
	})
	run("encoding/json-map", func(raw []byte) {
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	e, err := event.Parse(lines(b)[0])
	if err != nil {
		b.Fatal(err)
	}
	p := event.CompilePath("$.context.library.version")
	b.ReportAllocs()
	for b.Loop() {
		e.Lookup(p)
	}
}

// TestRaw walks text without an index, and finds what the index finds.
func TestRaw(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `{ }`, `{"a":1}`,
		"{ \"a\" :\t[ 1 , \"]\" , {\"b\":\"}\\\"\"} ] ,\n\"\\u0061b\":null, \"a\":-1.5e3 }", `[[],{},"\\",true]`,
		`{"a\"b":"\ud83d\ude00\ud83dx"}`,
	} {
		v, err := event.ParseValue([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var want, got []string
		if v.Kind() == event.Object {
			for k, m := range v.Members() {
				want = append(want, string(k.Raw())+":"+string(m.Raw()))
				if quoted := k.Raw(); string(event.AppendUnquoted(nil, quoted)) != k.Text() ||
					!event.IsQuoted(quoted, k.Text()) ||
					event.IsQuoted(quoted, k.Text()+"x") {
					t.Errorf("%s is read as %q", quoted, event.AppendUnquoted(nil, quoted))
				}
			}
			event.EachMember([]byte(text), func(k, m []byte) { got = append(got, string(k)+":"+string(m)) })
		} else {
			for m := range v.Elements() {
				want = append(want, string(m.Raw()))
			}
			event.EachElement([]byte(text), func(m []byte) { got = append(got, string(m)) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if end := event.SkipValue([]byte(text+", 1"), 0); end != len(text) {
			t.Errorf("%s ends at %d", text, end)
		}
	}
}

// TestWideObject: of an object with more keys than are compared the last of a repeated key counts, too.
func TestWideObject(t *testing.T) {
	for _, n := range []int{10, 300, 1500, 20_000} {
		b := []byte(`{`)
		for i := range n {
			b = fmt.Appendf(b, `"k%d":%d,`, i, i)
		}
		b = append(b, `"k0":"last","end":1}`...)
		v, err := event.ParseValue(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Get("k0").Text(); got != "last" {
			t.Errorf("%d keys: k0 is %s", n, got)
		}
		if got := v.Get(fmt.Sprint("k", n-1)).Text(); got != fmt.Sprint(n-1) {
			t.Errorf("%d keys: the last is %s", n, got)
		}
		if v.Get("end").Text() != "1" || v.Get("none").Exists() {
			t.Errorf("%d keys: %s", n, v.Get("end").Raw())
		}
	}
}

// BenchmarkWideObject takes time that grows with the number of keys.
func BenchmarkWideObject(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		raw := []byte(`{"end":1`)
		for i := range n {
			raw = fmt.Appendf(raw, `,"k%d":%d`, i, i)
		}
		raw = append(raw, '}')
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			var p event.Parser
			for b.Loop() {
				p.Reset()
				if _, err := p.ParseValue(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestBadTextsAreForgotten: texts that are no JSON, or no objects, take a parser no memory for ever, and it does
// not hold them. Large ones take another way than small ones.
func TestBadTextsAreForgotten(t *testing.T) {
	var paths []event.Path
	for i := range 300 {
		paths = append(paths, event.Keys("properties", strconv.Itoa(i)))
	}
	set, _ := event.NewPathSet(paths)
	for _, text := range []string{strings.Repeat("x", 9000), "x", strings.Repeat(`{"a":1} `, 2000),
		"[" + strings.Repeat("1,", 9000) + "1]"} {
		p := event.Parser{Follow: event.Join(set), Limits: event.Limits{MaxBytes: 1 << 20}}
		parse := func() {
			if _, err := p.Parse([]byte(text)); err == nil {
				t.Fatalf("%.20s is no event", text)
			}
			if _, err := p.ParseValue([]byte("x" + text)); err == nil {
				t.Fatalf("%.20s is no value", text)
			}
			p.Reset()
		}
		for range 5000 {
			parse()
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range 5000 {
			parse()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
			t.Errorf("%.20s: %d bytes more are held after 5,000 of it", text, grown)
		}
		runtime.KeepAlive(&p)
	}
}
