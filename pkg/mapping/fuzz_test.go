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
