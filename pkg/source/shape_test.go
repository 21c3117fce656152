package source_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/source"
)

func shape(t testing.TB, name, unwrap, m string, all ...string) source.Shape {
	t.Helper()
	s := source.Shape{Name: name, All: all, Unwrap: unwrap}
	if m != "" {
		v, err := mapping.Parse([]byte(m))
		if err != nil {
			t.Fatal(err)
		}
		s.Mapping = func() (mapping.Value, error) { return v, nil }
	}
	return s
}

func TestRecordShapes(t *testing.T) {
	shapes := []source.Shape{
		shape(t, "clicks", "", `{"type":"track","event":{"@path":"$.what"},"userId":{"@path":"$.who"},"timestamp":{"@path":"$.at"}}`, "what", "at"),
		shape(t, "clicks-with-device", "", `{"type":"screen","name":{"@path":"$.what"}}`, "what", "at", "device.id"),
		shape(t, "visits", "", `{"type":"page"}`, "url", "seen"),
		shape(t, "hits", "", `{"type":"page","hit":true}`, "hit"),
		shape(t, "gateway", "payload", "", "payload.messageId", "createdAt"),
		shape(t, "backup", "event_payload.batch", "", "event_payload.batch", "job_id"),
		shape(t, "queue", "Message", "", "Message", "TopicArn"),
		shape(t, "sheet", "", `{"type":"track","event":"row","messageId":{"@path":"$.key"},"properties":{"n":{"@number":{"value":{"@path":"$.n"}}}}}`, "key", "n"),
	}
	big := `12345678901234567890`
	cases := []struct{ name, format, in, want string }{
		{"by its marks", "", `{"what":"a","who":` + big + `,"at":"2026-01-02T03:04:05.123456Z"}` + "\n" +
			`{"what":"b","at":1}`, `{"type":"track","event":"a","userId":` + big +
			`,"timestamp":"2026-01-02T03:04:05.123456Z"} {"type":"track","event":"b","timestamp":1}`},
		{"the more exact marks win", "auto", `{"what":"a","at":1,"device":{"id":2}}`, `{"type":"screen","name":"a"}`},
		{"by name", "hits", `{"x":1}{"y":2}`, `{"type":"page","hit":true} {"type":"page","hit":true}`},
		{"in an array", "", "[{\"hit\":1},\n{\"hit\":2}]", `{"type":"page","hit":true} {"type":"page","hit":true}`},
		{"in an envelope", "", `{"Records":[{"hit":1},{"hit":2}]}`, `{"type":"page","hit":true} {"type":"page","hit":true}`},
		{"an event is left as it is", "", `{"type":"track","hit":1}`, `{"type":"track","hit":1}`},
		{"nested", "", `{"userId":"u","payload":{"type":"track","messageId":"m"},"createdAt":"x"}`,
			`{"type":"track","messageId":"m"}`},
		{"several in a line", "", `{"job_id":1,"event_payload":{"batch":[{"type":"a"},{"type":"b"}]}}` + "\n" +
			`{"job_id":2,"event_payload":{"batch":[{"type":"c"}]}}`, `{"type":"a"} {"type":"b"} {"type":"c"}`},
		{"several in a glued document", "",
			`{"job_id":1,"event_payload":{"batch":[{"type":"a"},{"type":"b"}]}}{"job_id":2,"event_payload":{"batch":[{"type":"c"},{"type":"d"}]}}`, `{"type":"a"} {"type":"b"} {"type":"c"} {"type":"d"}`},
		{"several in an element", "backup",
			`[{"event_payload":{"batch":[{"type":"a"},{"type":"b"}]}},{"event_payload":{"batch":[{"type":"c"},{"type":"d"}]}}]`,
			`{"type":"a"} {"type":"b"} {"type":"c"} {"type":"d"}`},
		{"broken among them", "", "{\"hit\":1}\n{\"hit\":\n{\"hit\":2}\n5\n",
			`{"type":"page","hit":true} !syntax {"type":"page","hit":true} !not_an_event`},
		{"JSON in a text", "", `{"TopicArn":"t","Message":"{\"type\":\"a\",\"n\":\"\\u00e9\"}"}` + "\n" +
			`{"TopicArn":"t","Message":"[{\"type\":\"b\"},{\"type\":\"c\"}]"}`,
			`{"type":"a","n":"\u00e9"} {"type":"b"} {"type":"c"}`},
		{"no JSON in a text", "", `{"TopicArn":"t","Message":"hello"}` + "\n" +
			`{"TopicArn":"t","Message":"{\"type\":\"a\"}"}`, `!not_an_event {"type":"a"}`},
		{"JSON in a cell", "",
			"TopicArn,Message\n" +
				"t,\"[{\"\"type\"\":\"\"a\"\"},{\"\"type\"\":\"\"b\"\"},{\"\"type\"\":\"\"c\"\"}]\"\n" +
				"t,\"{\n" +
				"t,\"{\"\"type\"\":\"\"d\"\"}\"\n" +
				"t,\"[{\"\"type\"\":\"\"e\"\"},{\"\"type\"\":\"\"f\"\"}]\"\n",
			`{"type":"a"} {"type":"b"} {"type":"c"} !syntax {"type":"d"} {"type":"e"} {"type":"f"}`},
		{"nothing to unwrap", "", `{"payload":{"messageId":"m"},"createdAt":1}` + "\n" + `{"createdAt":1}`,
			`{"messageId":"m"} !not_an_event`},
		{"a table with marks", "", "key,n\r\nk1,0.10\r\n\"k,\"\"2\"\"\nx\",-3\n",
			`{"type":"track","event":"row","messageId":"k1","properties":{"n":0.1}} {"type":"track","event":"row","messageId":"k,\"2\"\nx","properties":{"n":-3}}`},
		{"a table with the spec's names", "",
			"Message ID;event;user_id;timestamp;properties.price;color\nm;Bought;7;2026-01-01;5;\n",
			`{"event":"Bought","messageId":"m","properties":{"price":"5"},"timestamp":"2026-01-01","type":"track","userId":"7"}`},
		{"traits in a table", "table", "sep=,\ntype,user_id,plan,context_locale\nidentify,7,pro,de\n",
			`{"context":{"locale":"de"},"traits":{"plan":"pro"},"type":"identify","userId":"7"}`},
		{"too many cells", "", "event,user_id\na,1,2\nb,1\n", `!syntax {"event":"b","type":"track","userId":"1"}`},
		{"an open quote", "", "event,user_id\na,\"1\nb,2\n", `!truncated {"event":"b","type":"track","userId":"2"}`},
		{"a batch lends its clock", "", `{"batch":[{"type":"a"},{"type":"b","sentAt":"y"},{}],"sentAt":"x","writeKey":"k"}` +
			"\n", `{"sentAt":"x","type":"a"} {"type":"b","sentAt":"y"} {"sentAt":"x"}`},
		{"a batch over lines lends what it says of all", "", "{\n" + `"integrations":{"Mixpanel":false,"Segment":true},` + "\n" +
			`"batch":[{"type":"a","integrations":{"Segment":false}},{"type":"b","context":null,"sentAt":"y"},{},5],` + "\n" +
			`"context":{"consent":{"ads":false}},"receivedAt":"z"}`,
			`{"context":{"consent":{"ads":false}},"receivedAt":"z","type":"a","integrations":{"Mixpanel":false,"Segment":false}} ` +
				`{"context":{"consent":{"ads":false}},"integrations":{"Mixpanel":false,"Segment":true},"receivedAt":"z","type":"b","sentAt":"y"} ` +
				`{"context":{"consent":{"ads":false}},"integrations":{"Mixpanel":false,"Segment":true},"receivedAt":"z"} 5`},
		{"two of them, and one that is too large", "", "{\n" + `"batch":[{"type":"a"},{"type":"b"}],"sentAt":"x"}` + "\n{\n" +
			`"receivedAt":"r","batch":[{"type":"c"},{"type":"d"}]}` + "\n{\n" + `"sentAt":"s","pad":"` +
			strings.Repeat("x", 9000) + `","batch":[{"type":"e"}],"more":"` + strings.Repeat("x", 9000) +
			`","context":{"a":1},"batch":[{"type":"f"}]}{"batch":[{"type":"g"}]}`,
			`{"sentAt":"x","type":"a"} {"sentAt":"x","type":"b"} {"receivedAt":"r","type":"c"} {"receivedAt":"r","type":"d"} ` +
				`{"sentAt":"s","type":"e"} !not_an_event {"sentAt":"s","type":"f"} {"type":"g"}`},
		{"what unwraps lends it", "backup", `{"event_payload":{"batch":[{"type":"a"},{"type":"b","context":{"ip":"2"}}],` +
			`"receivedAt":"r","context":{"ip":"1"},"integrations":{"All":false}}}`,
			`{"context":{"ip":"1"},"integrations":{"All":false},"receivedAt":"r","type":"a"} ` +
				`{"integrations":{"All":false},"receivedAt":"r","type":"b","context":{"ip":"2"}}`},
		{"dead letters", "", `{"dead_letter":1,"reason":"r","event":{"type":"track","n":1}}` + "\n" +
			`{"dead_letter":1,"reason":"r","event_base64":"eyJ0eXBlIjo="}`, `{"type":"track","n":1} {"type":`},
	}
	for _, c := range cases {
		if c.name == "a batch lends its clock" {
			c.in += c.in
			c.want += " " + c.want
		}
		t.Run(c.name, func(t *testing.T) {
			s := open(t, source.Options{From: []string{write(t, "in", []byte(c.in))}, Format: c.format, Shapes: shapes,
				MaxRecord: 16 << 10})
			all := mustRead(t, s, source.Position{})
			if got := raws(all); got != c.want {
				t.Fatalf("read\n%s\nwant\n%s", got, c.want)
			}
			for i, r := range all {
				if rest := mustRead(t, s, r.end); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
					t.Errorf("after %v: %v\nwant %v", r.end, rest, all[i+1:])
				}
			}
		})
	}
	for in, want := range map[string]string{
		`{"hit":1,"url":2,"seen":3}`: "could be visits or hits",
		"a,id\n1,2\n":                "not clear how its rows are events",
	} {
		var input *source.InputError
		if _, err := read(t, open(t, source.Options{From: []string{write(t, "in", []byte(in))}, Shapes: shapes}),
			source.Position{}); !errors.As(err, &input) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	var input *source.InputError
	if _, err := source.Open(context.Background(), source.Options{Format: "clik", Shapes: shapes}); !errors.As(err,
		&input) || !strings.Contains(err.Error(), "clicks") {
		t.Errorf("unknown format: %v", err)
	}
}

func TestColumnsGiven(t *testing.T) {
	s := open(t, source.Options{From: []string{write(t, "in", []byte("u1\tSigned Up\t2026-01-01T00:00:00Z\n"))},
		Columns: []string{"userId", "event", "timestamp"}})
	if got, want := raws(mustRead(t, s,
		source.Position{})), `{"event":"Signed Up","timestamp":"2026-01-01T00:00:00Z","type":"track","userId":"u1"}`; got != want {
		t.Errorf("read %s", got)
	}
}

// TestSeparatorGiven: what a cell holds is not counted as separators.
func TestSeparatorGiven(t *testing.T) {
	in := write(t, "in", []byte("u1\tSigned Up\t{\"a\":1,\"b\":2,\"c\":3}\n"))
	o := source.Options{From: []string{in}, Columns: []string{"userId", "event", "properties"}, Separator: "\t"}
	want := `{"event":"Signed Up","properties":{"a":1,"b":2,"c":3},"type":"track","userId":"u1"}`
	if got := raws(mustRead(t, open(t, o), source.Position{})); got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	o.Separator = "::"
	if _, err := source.Open(context.Background(), o); !errors.As(err, new(*source.InputError)) {
		t.Errorf("two characters: %v", err)
	}
}

func TestParquet(t *testing.T) {
	type nested struct {
		K string
		V struct{ I *int64 }
	}
	type row struct {
		Type   string            `parquet:"type"`
		ID     int64             `parquet:"message_id"`
		At     time.Time         `parquet:"timestamp,timestamp(microsecond)"`
		List   []string          `parquet:"list,list"`
		Map    map[string]string `parquet:"map"`
		Pairs  []nested          `parquet:"pairs"`
		JSON   string            `parquet:"props,json"`
		Day    int32             `parquet:"day,date"`
		Money  int64             `parquet:"money,decimal(2:18)"`
		Ratio  float64           `parquet:"ratio"`
		Option *bool             `parquet:"option"`
		U      uint64            `parquet:"u"`
	}
	five := int64(5)
	make := func(n int, opts ...parquet.WriterOption) []byte {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[row](&b, opts...)
		for i := range n {
			r := row{Type: "track", ID: 1<<62 + int64(i), At: time.UnixMicro(1700000000123456),
				JSON: `{"n":12345678901234567890}`, Day: 19000, Money: -1205, Ratio: 0.1, U: 1<<64 - 1}
			if i%2 == 0 {
				r.List, r.Map = []string{"a", "b"}, map[string]string{"k": "v"}
				r.Pairs = []nested{{K: "q"}, {K: "r"}}
				r.Pairs[1].V.I = &five
			}
			if _, err := w.Write([]row{r}); err != nil {
				t.Fatal(err)
			}
			if i%500 == 499 {
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	s := open(t, source.Options{From: []string{write(t, "in", make(2))}, Format: "segment"})
	want := `{"type":"track","message_id":4611686018427387904,"timestamp":"2023-11-14T22:13:20.123456Z","list":["a","b"],"map":{"k":"v"},"pairs":[{"K":"q","V":{"I":null}},{"K":"r","V":{"I":5}}],"props":{"n":12345678901234567890},"day":"2022-01-08","money":-12.05,"ratio":0.1,"option":null,"u":18446744073709551615} ` +
		`{"type":"track","message_id":4611686018427387905,"timestamp":"2023-11-14T22:13:20.123456Z","list":[],"map":{},"pairs":[],"props":{"n":12345678901234567890},"day":"2022-01-08","money":-12.05,"ratio":0.1,"option":null,"u":18446744073709551615}`
	if got := raws(mustRead(t, s, source.Position{})); got != want {
		t.Errorf("read\n%s\nwant\n%s", got, want)
	}
	const n = 2600
	whole := make(n, parquet.Compression(&parquet.Zstd))
	s = open(t, source.Options{From: []string{write(t, "in", whole)}})
	all := mustRead(t, s, source.Position{})
	if len(all) != n {
		t.Fatalf("%d rows", len(all))
	}
	var ev struct {
		Type, Timestamp string
		MessageID       json.Number `json:"messageId"`
		Properties      map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(all[7].raw), &ev); err != nil || ev.Type != "track" ||
		ev.MessageID.String() != new(big.Int).SetInt64(1<<62+7).String() || string(ev.Properties["money"]) != "-12.05" {
		t.Errorf("row 7: %s %v", all[7].raw, err)
	}
	for _, i := range []int{0, 1, 63, 64, 498, 499, 500, 1000, 2599} {
		if rest := mustRead(t, s, all[i].end); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
			t.Errorf("after row %d: %d rows, want %d, or others", i, len(rest), n-i-1)
		}
	}
	// Broken files lose what is broken and say so.
	for _, cut := range []int{10, len(whole) / 2, len(whole) - 9} {
		broken := mustRead(t, open(t, source.Options{From: []string{write(t, "in", whole[:cut])}}), source.Position{})
		if len(broken) == 0 || broken[len(broken)-1].reason != source.Truncated {
			t.Errorf("cut at %d: %v", cut, broken)
		}
	}
	for at := 4; at < len(whole); at += len(whole) / 50 {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x5a
		read(t, open(t, source.Options{From: []string{write(t, "in", bad)}}), source.Position{}) // must not panic
	}
}

// TestOpenQuotes: a quote that is never closed costs its own line. What follows
// is read on, and nothing that may have been part of a cell becomes an event.
func TestOpenQuotes(t *testing.T) {
	row := func(n int) string {
		return fmt.Sprintf(`{"event":"e","type":"track","userId":"u%d"}`, n)
	}
	for what, tc := range map[string]struct {
		text, want string
		broken     bool
	}{
		"never closed": {"user_id,event\nu1,e\nu2,\"e\nu3,e\nu4,e\n", row(1) + " !truncated " + row(3) + " " + row(4), false},
		"in the end":   {"user_id,event\nu1,e\nu2,\"e\nmore", row(1) + " !truncated !truncated", false},
		"the last row": {"user_id,event\nu1,e\nu2,\"e", row(1) + " !truncated", false},
		"quotes behind": {"user_id,event\nu1,\"e\nu2,\"e\"\n\"u3\",\"e\"\nu4,\"e\"\n",
			"!syntax " + row(2) + " " + row(3) + " " + row(4), false},
		"empty behind": {"user_id,event,x\nu1,\"e,\nu2,e,\"\"\nu3,e,\"q\"\n",
			"!syntax " + row(2) + ` {"event":"e","properties":{"x":"q"},"type":"track","userId":"u3"}`, false},
		"a line in it": {"user_id,event\nu1,\"e\ne\"\nu2,\"e\"\"\ne\"\nu3,e\n",
			`{"event":"e\ne","type":"track","userId":"u1"} {"event":"e\"\ne","type":"track","userId":"u2"} ` + row(3), false},
		"short behind": {"user_id,event,x\nu1,\"e,\nu2\nu3,e,y\n",
			"!truncated !syntax " + `{"event":"e","properties":{"x":"y"},"type":"track","userId":"u3"}`, false},
		"breaks off":      {"user_id,event\nu1,e\nu2,\"e\nu3,e\nu4,\"", row(1) + " !truncated " + row(3) + " !truncated", true},
		"a quote first":   {"\"user_id\",\"event\"\n\"u1\",\"e\"\nu2,e\n", row(1) + " " + row(2), false},
		"sep":             {"sep=;\r\nuser_id;event\r\nu1;e\r\n\"u2\";\"e\"\r\n", row(1) + " " + row(2), false},
		"lines of quotes": {"\"a, b\"\n\"c\"\n", `"a, b" "c"`, false},
	} {
		data := []byte(tc.text)
		if tc.broken {
			data = pack(t, "gzip", data)
			data = data[:len(data)-4]
		}
		s := open(t, source.Options{From: []string{write(t, "in", data)}})
		all := mustRead(t, s, source.Position{})
		if got := raws(all); got != tc.want {
			t.Errorf("%s: read %s\nwant %s", what, got, tc.want)
		}
		for i, r := range all {
			if rest := mustRead(t, s, r.end); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
				t.Errorf("%s: after %v: %v\nwant %v", what, r.end, rest, all[i+1:])
			}
		}
	}
	// The rest of a large file is not swallowed.
	var b strings.Builder
	b.WriteString("user_id,event\nu0,\"e\n")
	for i := range 100_000 {
		fmt.Fprintf(&b, "u%d,e\n", i)
	}
	bad := 0
	all := mustRead(t, open(t, source.Options{From: []string{write(t, "in", []byte(b.String()))}}), source.Position{})
	for _, r := range all {
		if r.reason != "" {
			bad++
		}
	}
	if len(all) != 100_001 || bad != 1 {
		t.Errorf("%d records, %d of them bad", len(all), bad)
	}
}

// TestParquetDetails: clock times and short floats are what they stand for, JSON
// inside a column becomes its events, and what is compressed in a way that cannot be
// read is refused.
func TestParquetDetails(t *testing.T) {
	type row struct {
		Event  string
		Millis int32 `parquet:",time(millisecond)"`
		Micros int64 `parquet:",time(microsecond)"`
		Nanos  int64 `parquet:",time(nanosecond)"`
		Single float32
	}
	table := func(rows any, o ...parquet.WriterOption) []byte {
		var p bytes.Buffer
		w := parquet.NewWriter(&p, o...)
		switch rows := rows.(type) {
		case []row:
			for _, r := range rows {
				if err := w.Write(r); err != nil {
					t.Fatal(err)
				}
			}
		case []message:
			for _, r := range rows {
				if err := w.Write(r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return p.Bytes()
	}
	one := []row{{"e", 36_000_001, 36_000_000_002, 3_600_000_000_003, 0.1}}
	s := open(t, source.Options{From: []string{write(t, "in", table(one))}})
	want := `{"event":"e","properties":{"Micros":"10:00:00.000002","Millis":"10:00:00.001","Nanos":"01:00:00.000000003","Single":0.1},"type":"track"}`
	if got := raws(mustRead(t, s, source.Position{})); got != want {
		t.Errorf("read %s\nwant %s", got, want)
	}
	queue := shape(t, "queue", "Message", "", "Message", "TopicArn")
	texts := []message{{"t", `[{"type":"a"},{"type":"b"},{"type":"c"}]`}, {"t", `{"type":"d"}`},
		{"t", `[{"type":"e"},{"type":"f"}]`}}
	s = open(t, source.Options{From: []string{write(t, "in", table(texts))}, Shapes: []source.Shape{queue}})
	all := mustRead(t, s, source.Position{})
	if got := raws(all); got != `{"type":"a"} {"type":"b"} {"type":"c"} {"type":"d"} {"type":"e"} {"type":"f"}` {
		t.Errorf("JSON in a column: %s", got)
	}
	for i, r := range all {
		if rest := mustRead(t, s, r.end); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
			t.Errorf("after %v: %s", r.end, raws(rest))
		}
	}
}

type message struct{ TopicArn, Message string }
