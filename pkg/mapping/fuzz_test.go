package mapping

import (
	"bytes"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
)

// FuzzResolve: whatever the mapping and the event, nothing panics or loops,
// the output is valid JSON, running again gives the same bytes, and the event
// is as it was.
func FuzzResolve(f *testing.F) {
	for _, e := range Reference() {
		f.Add([]byte(e.Mapping), []byte(e.Event))
	}
	f.Add([]byte(`{"@template":"{{{a}}} {{ b.c }} {{}} {{{{d}}}}"}`), []byte(`{"a":"{{b}}","b":{"c":[1,null,[2]]}}`))
	f.Add([]byte(`[{"@path":"$.a[0].length"},{"@oops":1},"x"]`), []byte(`{"a":["\ud83d\ude00","\ud800"]}`))
	f.Add(
		[]byte(`{"@merge":{"direction":"left","objects":[{"a":{"@path":"$.x"}},{"@path":"$.s"}]}}`),
		[]byte(`{"s":"\u0061\ud83d\ude00","x":1}`),
	)
	f.Add(
		[]byte(`{"@json":{"mode":"encode","value":{"@path":"$."}}}`),
		[]byte(`{"b":1e400,"1":-0,"0":"\ud800","a":1,"a":2}`),
	)
	f.Add(
		[]byte(`{"@described":{"value":{"@members":{"value":{"@path":"$."},"prefix":"c"}},"open":true}}`),
		[]byte(`{"c1":{"schema":"iglu:a.b/C-d/x/1-0-0","data":[{"schema":"iglu:a/b/c/2","data":{"k":1,"k":2}}]},"c":5}`),
	)
	f.Add([]byte(`{"@flatten":{"value":[{"@path":"$.x"},{"":{"":[]}}],"separator":"\""}}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, src, payload []byte) {
		v, err := Parse(src)
		if err != nil {
			return
		}
		m, err := Compile(v)
		if err != nil {
			t.Fatalf("Parse took what Compile does not: %v", err)
		}
		in, err := event.ParseValue(payload)
		if err != nil {
			return
		}
		before := bytes.Clone(payload)
		var r Resolver
		out, defined, err := m.Append(&r, nil, in)
		again, defined2, err2 := m.Append(&r, nil, in)
		if !bytes.Equal(out, again) || defined != defined2 || (err == nil) != (err2 == nil) {
			t.Fatalf("first %q %v %v, then %q %v %v", out, defined, err, again, defined2, err2)
		}
		if !bytes.Equal(before, payload) {
			t.Fatal("the event was changed")
		}
		if err == nil && defined {
			if e := event.Valid(out); e != nil {
				t.Fatalf("%s on %s gives %q: %v", src, payload, out, e)
			}
		}
		// The document that a Value shows of itself means the same.
		if w, err := Parse([]byte(v.String())); err != nil || w.String() != v.String() {
			t.Fatalf("%s shows itself as %s: %v", src, v, err)
		}
	})
}

// FuzzFields: the same for coercion and validation.
func FuzzFields(f *testing.F) {
	for _, s := range []string{
		`{"s":"x","n":"1.5","i":[7],"b":"true","d":"2024-05-06","o":{"a":1,"z":null},"m":["a",null,` +
			`""],"l":[{"a":null},[1]],"c":"a"}`,
		`{"s":[[1]],"n":" 0x10 ","i":1.5,"d":["x"],"o":[],"m":{},"l":"","c":null}`,
		`{"s":"\ud800","n":1e999,"d":"May 6, 2024 10:00 PM (now) GMT+2","m":"","o":{"a":"","a":2}}`} {
		f.Add([]byte(s))
	}
	in := func(ts ...Field) (fs []Field) {
		for _, t := range ts {
			t.Default = Path("$." + t.Key)
			fs = append(fs, t)
		}
		return fs
	}
	fields := in(
		Field{Key: "s", Type: TypeString, Minimum: 1, Maximum: 5, AllowNull: true},
		Field{Key: "n", Type: TypeNumber, Minimum: -5},
		Field{Key: "i", Type: TypeInteger, AllowNull: true},
		Field{
			Key:        "b",
			Type:       TypeBoolean,
			RequiredIf: &Condition{Tests: []Test{{Field: "s", Value: Literal("x")}, {Field: "o.a"}}},
		},
		Field{Key: "d", Type: TypeDatetime},
		Field{
			Key:                  "o",
			Type:                 TypeObject,
			AdditionalProperties: true,
			Properties:           []Field{{Key: "a", Type: TypeText, Required: true}},
		},
		Field{
			Key:      "m",
			Type:     TypeString,
			Multiple: true,
		},
		Field{Key: "l", Type: TypeObject, Multiple: true, Properties: []Field{{Key: "a", Type: TypeNumber}}},
		Field{
			Key:      "c",
			Type:     TypeString,
			Choices:  []string{"a", "b"},
			Required: true,
		},
		Field{Key: "u", Type: TypeString, Format: "uri"},
	)
	programs := make([]*Program, 2)
	for i, opts := range [][]Option{nil, {Batch()}} {
		p, err := CompileFields(fields, Value{}, opts...)
		if err != nil {
			f.Fatal(err)
		}
		programs[i] = p
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		in, err := event.ParseValue(payload)
		if err != nil {
			return
		}
		for _, p := range programs {
			var r Resolver
			out, err := p.Run(&r, in)
			if err != nil {
				continue
			}
			got := bytes.Clone(out.JSON())
			if e := event.Valid(got); e != nil {
				t.Fatalf("%s gives %q: %v", payload, got, e)
			}
			for key, raw := range out.All() {
				if v := out.Get(key); !bytes.Equal(v.Raw(), raw) {
					t.Fatalf("%s of %s is %q and %q", key, got, v.Raw(), raw)
				}
			}
			if again, err := p.Run(&r, in); err != nil || !bytes.Equal(again.JSON(), got) {
				t.Fatalf("%s, then %v %v", got, again, err)
			}
		}
	})
}
