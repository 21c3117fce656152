package eventgen_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

func stream(t *testing.T, opt eventgen.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := eventgen.Write(&b, opt); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCleanStreamIsValidAndComplete(t *testing.T) {
	out := stream(t, eventgen.Options{Seed: 1, Events: 4000})
	types, ids := map[string]int{}, map[string]bool{}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	if len(lines) != 4000 {
		t.Fatalf("%d lines, want 4000", len(lines))
	}
	for i, line := range lines {
		var e struct{ Type, MessageID, AnonymousID string }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("line %d: %v\n%s", i+1, err, line)
		}
		types[e.Type]++
		if ids[e.MessageID] {
			t.Fatalf("line %d repeats messageId %s", i+1, e.MessageID)
		}
		ids[e.MessageID] = true
	}
	for _, typ := range []string{"track", "identify", "page", "screen", "group", "alias"} {
		if types[typ] == 0 {
			t.Errorf("no %s event among 4000", typ)
		}
	}
	if len(types) != 6 {
		t.Errorf("types %v, want the six of the specification", types)
	}
	if mean := len(out) / len(lines); mean < 1000 || mean > 1500 {
		t.Errorf("mean event is %d bytes, want about 1.2 KB", mean)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	opt := eventgen.Options{Seed: 7, Events: 300, Messy: true, LongLine: 1000}
	a, b := stream(t, opt), stream(t, opt)
	if !bytes.Equal(a, b) {
		t.Error("two streams of one seed differ")
	}
	opt.Seed = 8
	if bytes.Equal(a, stream(t, opt)) {
		t.Error("another seed gives the same stream")
	}
}

func TestMessyStreamHoldsEveryTrouble(t *testing.T) {
	out := stream(t, eventgen.Options{Seed: 1, Events: 3000, Messy: true, LongLine: 5000})
	invalid, long, repeats := 0, 0, 0
	ids := map[any]bool{}
	for line := range bytes.Lines(out) {
		if len(line) > 5000 {
			long++
		}
		var e map[string]any
		if json.Unmarshal(line, &e) != nil {
			invalid++
			continue
		}
		if id := e["messageId"]; id != nil {
			if ids[id] {
				repeats++
			}
			ids[id] = true
		}
	}
	if invalid == 0 || long == 0 || repeats == 0 {
		t.Errorf("invalid %d, long %d, repeats %d: want some of each", invalid, long, repeats)
	}
}

func BenchmarkAppend(b *testing.B) {
	g := eventgen.New(eventgen.Options{Seed: 1, Events: 1 << 20})
	var line []byte
	for b.Loop() {
		line = g.Append(line[:0])
		b.SetBytes(int64(len(line)))
	}
}

// TestVariedStreamHasManyForms counts the forms of a varied stream: events of one form
// have the same keys and kinds of values.
func TestVariedStreamHasManyForms(t *testing.T) {
	const n = 50_000
	out := stream(t, eventgen.Options{Seed: 1, Events: n, Variety: eventgen.DefaultVariety})
	forms, names := map[string]int{}, map[string]int{}
	var buf []byte
	for line := range bytes.Lines(out) {
		e, err := event.Parse(bytes.TrimSpace(line))
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		buf = form(buf[:0], e.Root())
		forms[string(buf)]++
		if e.Type() == event.Track {
			names[e.Name().Text()]++
		}
	}
	t.Logf("%d forms and %d names in %d events of %d bytes", len(forms), len(names), n, len(out)/n)
	if len(forms) < 3000 || len(forms) > n/4 {
		t.Errorf("%d forms in %d events, want at least 3000, and several events of each", len(forms), n)
	}
	if len(names) < 250 {
		t.Errorf("%d event names, want hundreds", len(names))
	}
}

func form(dst []byte, v event.Value) []byte {
	dst = append(dst, byte(v.Kind()))
	for k, m := range v.Members() {
		dst = form(append(dst, k.Raw()...), m)
	}
	for e := range v.Elements() {
		dst = form(dst, e)
	}
	return dst
}
