package transform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/source"
)

func pipeline(t testing.TB, src string) *Pipeline {
	t.Helper()
	p, err := parse(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return p
}

func parse(src string) (*Pipeline, error) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(src), &n); err != nil {
		return nil, err
	}
	steps, err := Parse(&n)
	if err != nil {
		return nil, err
	}
	return Compile(steps)
}

func TestSteps(t *testing.T) {
	for _, c := range []struct{ name, steps, in, out, dropped string }{
		{"nothing to do", `[]`, `{"a":1}`, ``, ``},
		{"drop", `[{drop: 'type = "track"'}]`, `{"type":"track"}`, ``, `transform`},
		{"drop, no match", `[{drop: 'type = "track"'}]`, `{"type":"page"}`, ``, ``},
		{"keep", `[{keep: 'type = "track"'}]`, `{"type":"page"}`, ``, `transform`},
		{"keep, match", `[{keep: 'type = "track"'}]`, `{"type":"track"}`, ``, ``},

		{"set new", `[{set: {b: 1}}]`, `{"a":1}`, `{"a":1,"b":1}`, ``},
		{"set into nothing", `[{set: {b: 1}}]`, `{}`, `{"b":1}`, ``},
		{"set into blank object", `[{set: {b: 1}}]`, `{ }`, `{ "b":1}`, ``},
		{"set old", `[{set: {a: x}}]`, `{"a": 1 , "b":2}`, `{"a": "x" , "b":2}`, ``},
		{"set as a mapping has it", `[{set: {zip: 01234, n: 0x1F, tags: [1.50, ~]}}]`, `{}`,
			`{"zip":"01234","n":31,"tags":[1.50,null]}`, ``},
		{"set deep", `[{set: {context.traits.source: backfill}}]`, `{"context":{"ip":"1"}}`,
			`{"context":{"ip":"1","traits":{"source":"backfill"}}}`, ``},
		{"set below null", `[{set: {a.b: 1}}]`, `{"a":null}`, `{"a":{"b":1}}`, ``},
		{"set below text does nothing", `[{set: {a.b: 1}}]`, `{"a":"x"}`, ``, ``},
		{"set an element", `[{set: {"a[1].b": 2}}]`, `{"a":[{"b":1},{"b":1}]}`, `{"a":[{"b":1},{"b":2}]}`, ``},
		{"set every element", `[{set: {"a.*.b": 2}}]`, `{"a":[{"b":1},{}]}`, `{"a":[{"b":2},{"b":2}]}`, ``},
		{"set a mapping", `[{set: {n: {"@path": "$.a"}}}]`, `{"a":12345678901234567890}`,
			`{"a":12345678901234567890,"n":12345678901234567890}`, ``},
		{"set undefined", `[{set: {n: {"@path": "$.x"}}}]`, `{"a":1}`, ``, ``},
		{"set reads before it writes", `[{set: {a: {"@path": "$.b"}, b: {"@path": "$.a"}}}]`, `{"a":1,"b":2}`,
			`{"a":2,"b":1}`, ``},
		{"set values", `[{set: {a: true, b: null, c: [1, {x: 1.50}], d: "1", e: 2024-05-06}}]`, `{}`,
			`{"a":true,"b":null,"c":[1,{"x":1.50}],"d":"1","e":"2024-05-06"}`, ``},
		{"set the same", `[{set: {a: 1}}]`, `{"a":1}`, ``, ``},
		{"set every duplicate", `[{set: {a: 9}}]`, `{"a":1,"a":2}`, `{"a":9,"a":9}`, ``},
		{"set keeps bytes", `[{set: {z: 1}}]`, `{ "k\u0065y" : "\/" , "n":1.50e0 }`,
			`{ "k\u0065y" : "\/" , "n":1.50e0 ,"z":1}`, ``},

		{"remove first", `[{remove: [a]}]`, `{"a":1,"b":2}`, `{"b":2}`, ``},
		{"remove last", `[{remove: [b]}]`, `{"a":1, "b":2}`, `{"a":1}`, ``},
		{"remove middle", `[{remove: [b]}]`, `{"a":1,"b":2,"c":3}`, `{"a":1,"c":3}`, ``},
		{"remove only", `[{remove: [a]}]`, `{"a":1}`, `{}`, ``},
		{"remove all of several", `[{remove: [a, b, c]}]`, `{"a":1,"b":2,"c":3}`, `{}`, ``},
		{"remove every duplicate", `[{remove: [a]}]`, `{"a":1,"b":0,"a":2}`, `{"b":0}`, ``},
		{"remove last two of one name", `[{remove: [a]}]`, `{"b":0,"a":1,"a":2}`, `{"b":0}`, ``},
		{"remove escaped key", `[{remove: [password]}]`, `{"p\u0061ssword":1}`, `{}`, ``},
		{"remove deep", `[{remove: properties.password}]`, `{"properties":{"password":"x","y":1}}`, `{"properties":{"y":1}}`,
			``},
		{"remove everywhere", `[{remove: ["p.*.x"]}]`, `{"p":[{"x":1,"y":2},{"x":3}]}`, `{"p":[{"y":2},{}]}`, ``},
		{"remove an element", `[{remove: ["p[1]"]}]`, `{"p":[1,2,3]}`, `{"p":[1,3]}`, ``},
		{"remove last element", `[{remove: ["p[2]"]}]`, `{"p":[1, 2, 3]}`, `{"p":[1, 2]}`, ``},
		{"remove all elements", `[{remove: ["p.*"]}]`, `{"p":[1,2,3]}`, `{"p":[]}`, ``},
		{"remove all members", `[{remove: ["p.*"]}]`, `{"p":{"a":1,"b":2}}`, `{"p":{}}`, ``},
		{"remove missing", `[{remove: [x.y]}]`, `{"x":"text"}`, ``, ``},

		{"rename", `[{rename: {a: b}}]`, `{"a":{"deep":1.0}}`, `{"b":{"deep":1.0}}`, ``},
		{"rename over", `[{rename: {a: b}}]`, `{"a":1,"b":2}`, `{"b":1}`, ``},
		{"rename into", `[{rename: {a: b.c}}]`, `{"a":1}`, `{"b":{"c":1}}`, ``},
		{"rename into itself", `[{rename: {a: a.b}}]`, `{"a":1}`, `{"a":{"b":1}}`, ``},
		{"rename missing", `[{rename: {x: y}}]`, `{"a":1}`, ``, ``},
		{"rename where there is no way", `[{rename: {a: b.c}}]`, `{"a":1,"b":"text"}`, ``, ``},

		{"mask", `[{mask: {paths: [e], key: k}}]`, `{"e":"a@b.c"}`,
			`{"e":"72077525838fddbe8c57329dc1f6f5281bf1bb1971ad103b382cef944af7c7fa"}`, ``},
		{"mask text", `[{mask: {paths: [e, x], text: "***"}}]`, `{"e":{"a":[1,"x",null,true]}}`,
			`{"e":{"a":["***","***",null,"***"]}}`, ``},

		{"shift", `[{shift: 24h}]`, `{"timestamp":"2024-02-28T23:00:00.120Z","sentAt":"2024-02-28T23:00:00+02:00"}`,
			`{"timestamp":"2024-02-29T23:00:00.120Z","sentAt":"2024-02-29T23:00:00+02:00"}`, ``},
		{"shift days back", `[{shift: -1.5d}]`, `{"timestamp":"2024-03-01 12:00:00"}`, `{"timestamp":"2024-02-29 00:00:00"}`,
			``},
		{"shift Unix", `[{shift: {by: 1h, fields: [a, b, c, d, e]}}]`,
			`{"a":1700000000,"b":1700000000000,"c":"1700000000","d":1700000000.25,"e":"soon"}`,
			`{"a":1700003600,"b":1700003600000,"c":"1700003600","d":1700003600.25,"e":"soon"}`, ``},
		{"shift a date", `[{shift: {by: 2w, fields: [a]}}]`, `{"a":"2024-05-06"}`, `{"a":"2024-05-20"}`, ``},

		{"sample all", `[{sample: 100%}]`, `{"userId":"u"}`, ``, ``},
		{"sample none", `[{sample: 0}]`, `{"userId":"u"}`, ``, `transform`},

		{"when", `[{set: {a: 1}, when: 'type = "track"'}]`, `{"type":"page"}`, ``, ``},
		{"when it is", `[{set: {a: 1}, when: 'type = "track"'}]`, `{"type":"track"}`, `{"type":"track","a":1}`, ``},
		{"a step sees the one before", `[{set: {a: 1}}, {drop: 'a = 1'}]`, `{"b":1}`, ``, `transform`},
		{"edits add up", `[{set: {a: 1}}, {rename: {a: b}}, {set: {c: {"@path": "$.b"}}}, {remove: [b]}]`, `{}`, `{"c":1}`,
			``},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pipeline(t, c.steps)
			ev, err := event.Parse([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			var w Worker
			for range 2 {
				out, dropped, err := p.Apply(&w, ev, source.Position{Offset: 10})
				if err != nil {
					t.Fatal(err)
				}
				if string(out) != c.out || dropped != c.dropped {
					t.Fatalf("%s on %s\nwant %s %s\ngot  %s %s", c.steps, c.in, c.out, c.dropped, out, dropped)
				}
				if string(ev.Raw()) != c.in {
					t.Fatalf("the event was changed to %s", ev.Raw())
				}
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ steps, want string }{
		{"drop: x", "line 1: transform: should be a list"},
		{"- dorp: x", `line 1: transform: there is no step "dorp"; there are drop, keep`},
		{"- drop: 'type = '", "line 1: transform: drop:"},
		{"- drop: ''", "should be a filter"},
		{"- keep: 'event = \"x\"'\n- set: {a: 1}\n  remove: [b]", "line 3: transform: a step does one thing"},
		{"- set: {}", "should be pairs"},
		{"- set: {a: {'@nope': 1}}", "@nope"},
		{"- set: {a: .inf}", "is no number to JSON"},
		{"- set: {'$.': 1}", "no path"},
		{"- remove: []", "names no path"},
		{"- remove: [{}]", "should be a list of paths"},
		{"- rename: {a: [b]}", "should be text"},
		{"- rename: {'a.*': b}", "no meaning"},
		{"- mask: {paths: [a]}", "needs a key"},
		{"- mask: {key: x}", "needs paths"},
		{"- mask: {paths: [a], as: rot13, key: x}", "hash, token or text"},
		{"- mask: {paths: [a], kee: x}", `does not know "kee"`},
		{"- sample: 150%", "between 0%"},
		{"- sample: {rate: NaN}", "between 0%"},
		{"- sample: {by: userId}", "needs a rate"},
		{"- shift: tomorrow", "no length of time"},
		{"- dedupe: maybe", "should be true"},
		{"- set: {a: 1}\n  when: 'type ='", "when:"},
		{"- {}", "a step should be one of"},
		{"- when: 'type = \"x\"'", "a step should be one of"},
		{"- drop: '('\n- nope: 1\n- shift: x", "line 3"},
	} {
		_, err := parse(c.steps)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\nwant an error with %q, got %v", c.steps, c.want, err)
		}
		if err != nil && !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: the error has no line: %v", c.steps, err)
		}
	}
}

// Every mistake of a list is named at once.
func TestMistakesTogether(t *testing.T) {
	_, err := parse("- sample: x\n- shift: y\n- mask: {}")
	for _, want := range []string{"line 1", "line 2", "line 3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
}

func TestTokensAndHashesAreStable(t *testing.T) {
	var w Worker
	mask := func(src, in string) string {
		ev, err := event.Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := pipeline(t, src).Apply(&w, ev, source.Position{})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	a := mask(`[{mask: {paths: [e], as: token, key: k}}]`, `{"e":"a@b.c"}`)
	if b := mask(`[{mask: {paths: [e], as: token, key: k}}]`, `{"e":"\u0061@b.c"}`); a != b {
		t.Errorf("the same text gives %s and %s", a, b)
	}
	if b := mask(`[{mask: {paths: [e], as: token, key: other}}]`, `{"e":"a@b.c"}`); a == b {
		t.Errorf("another key gives the same token %s", b)
	}
	if !strings.HasPrefix(a, `{"e":"tok_`) {
		t.Errorf("a token is %s", a)
	}
}

func TestIdentity(t *testing.T) {
	id := func(src string) string { return pipeline(t, src).Identity() }
	if id(`[]`) != "" {
		t.Error("no steps have an identity")
	}
	base := id(`[{mask: {paths: [a], key: one}}]`)
	if base == "" || base != id(`[{mask: {key: two, paths: [a]}}]`) {
		t.Error("the key, a secret, changes the identity")
	}
	seen := map[string]string{}
	for _, src := range []string{
		`[{mask: {paths: [a], key: one}}]`, `[{mask: {paths: [b], key: one}}]`, `[{remove: [a]}]`,
		`[{remove: [a]}, {remove: [a]}]`,
		`[{drop: 'type = "a"'}]`, `[{keep: 'type = "a"'}]`, `[{remove: [a], when: 'type = "a"'}]`, `[{set: {a: 1}}]`, `[{set: {a: "1"}}]`,
		`[{sample: 10%}]`, `[{sample: {rate: 10%, seed: x}}]`, `[{shift: 1h}]`, `[{dedupe: true}]`,
		`[{dedupe: {by: userId}}]`,
	} {
		if other, dup := seen[id(src)]; dup {
			t.Errorf("%s and %s have the same identity", src, other)
		}
		seen[id(src)] = src
	}
}

func TestSampleByUser(t *testing.T) {
	p := pipeline(t, `[{sample: 30%}]`)
	var w Worker
	var ps event.Parser
	kept, users := 0, 4000
	for u := range users {
		var first string
		for i, form := range []string{`{"userId":"u%d","n":1}`, `{"n":2,"userId":"u%d","anonymousId":"x"}`} {
			ps.Reset()
			ev, err := ps.Parse(fmt.Appendf(nil, form, u))
			if err != nil {
				t.Fatal(err)
			}
			_, dropped, err := p.Apply(&w, ev, source.Position{Offset: int64(u)})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = dropped
				if dropped == "" {
					kept++
				}
			} else if dropped != first {
				t.Fatalf("user %d is treated in two ways", u)
			}
		}
	}
	if share := float64(kept) / float64(users); share < 0.27 || share > 0.33 {
		t.Errorf("%d of %d users kept", kept, users)
	}
}

func TestCounters(t *testing.T) {
	p := pipeline(t, `[{drop: 'a = 1'}, {set: {b: 1}}]`)
	w, again := &Worker{}, &Worker{Again: true}
	for _, in := range []string{`{"a":1}`, `{"a":2}`, `{"a":3,"b":1}`} {
		ev, err := event.Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []*Worker{w, again} {
			if _, _, err := p.Apply(w, ev, source.Position{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []Counter{{"1 drop", 0, 1, 0}, {"2 set", 1, 0, 0}}
	if got := p.Counters(); !reflect.DeepEqual(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// reader is what reads and transforms, with its memory.
type reader struct {
	ps event.Parser
	Worker
}

// A step that cannot change an event leaves it whole, and is counted.
func TestFailedSteps(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 990) + `{}` + strings.Repeat(`}`, 990)
	big := `{"a":"` + strings.Repeat("x", 9<<20) + `"}`
	for _, c := range []struct{ name, steps, in string }{
		{"mapping", `[{set: {x: 1, b: {"@path": {"@path": "$.n"}}, c: 2}}]`, `{"n":5}`},
		{"deeper", `[{rename: {x: y.y.y.y.y.y.y.y.y.y.y.y}}]`, `{"x":` + deep + `}`},
		{"larger", `[{set: {b: 1, c: {"@path": "$.a"}, d: {"@path": "$.a"}}}]`, big},
		{"mask", `[{mask: {paths: [b], key: k}}]`, `{"b":[1` + strings.Repeat(",1", 300000) + `]}`},
	} {
		p := pipeline(t, c.steps)
		ev, err := event.Parse([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		var w Worker
		out, dropped, err := p.Apply(&w, ev, source.Position{})
		want := "" // what could not be masked goes no further
		if c.name == "mask" {
			want = Dropped
		}
		if out != nil || dropped != want || err != nil {
			t.Errorf("%s: %.100s %s %v", c.name, out, dropped, err)
		}
		if n := p.Counters(); n[len(n)-1].Failed != 1 || n[len(n)-1].Touched != 0 {
			t.Errorf("%s: counted %v", c.name, n)
		}
	}
}

// offer applies a pipeline to an event with only a messageId.
func offer(t testing.TB, p *Pipeline, w *reader, id string, at source.Position) string {
	t.Helper()
	w.ps.Reset()
	ev, err := w.ps.Parse(fmt.Appendf(nil, `{"messageId":%q}`, id))
	if err != nil {
		t.Fatal(err)
	}
	_, dropped, err := p.Apply(&w.Worker, ev, at)
	if err != nil {
		t.Fatal(err)
	}
	return dropped
}

func TestRepeats(t *testing.T) {
	const n = 30000 // several doublings
	dir := t.TempDir()
	p := pipeline(t, `[{dedupe: true}]`)
	if !p.Ordered() || p.WithoutPositions().Ordered() || !p.WithoutPositions().Empty() {
		t.Fatal("which steps depend on positions is wrong")
	}
	ev, err := event.Parse([]byte(`{"messageId":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	var w reader
	if _, _, err := p.Apply(&w.Worker, ev, source.Position{}); !errors.Is(err, ErrNotOpen) {
		t.Fatalf("without an index: %v", err)
	}
	if err := p.Open(dir, false); err != nil {
		t.Fatal(err)
	}
	// A third of the ids repeat an earlier one.
	rng := rand.New(rand.NewPCG(1, 2))
	ids := make([]string, n)
	first := map[string]int{}
	for i := range ids {
		ids[i] = fmt.Sprint("id-", i)
		if i > 0 && rng.IntN(3) == 0 {
			ids[i] = ids[rng.IntN(i)]
		}
		if _, ok := first[ids[i]]; !ok {
			first[ids[i]] = i
		}
	}
	at := func(i int) source.Position {
		return source.Position{Object: uint32(i / 1000), Offset: int64(i%1000+1) * 100, Element: uint32(i % 3)}
	}
	check := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			want := ""
			if first[ids[i]] != i {
				want = Dropped
			}
			if got := offer(t, p, &w, ids[i], at(i)); got != want {
				t.Fatalf("event %d (%s, first at %d): want %q, got %q", i, ids[i], first[ids[i]], want, got)
			}
		}
	}
	check(0, n/2)
	check(0, n/2) // reading again drops the same ones, and never a first
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Open(dir, true); err != nil { // a resume
		t.Fatal(err)
	}
	check(n/3, n)
	check(0, n)
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := offer(t, p, &w, "", at(5)) + offer(t, p, &w, "", at(6)); got != "" {
		t.Error("events without an id are dropped")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// A crash between two syncs may leave any of the later slots unwritten. What
// was synced must stay, and reading on from the checkpoint must give what it
// gave.
func TestRepeatsAfterPowerLoss(t *testing.T) {
	dir := t.TempDir()
	p := pipeline(t, `[{dedupe: true}]`)
	if err := p.Open(dir, false); err != nil {
		t.Fatal(err)
	}
	var w reader
	at := func(i int) source.Position { return source.Position{Offset: int64(i + 1)} }
	for i := range 500 {
		offer(t, p, &w, fmt.Sprint(i), at(i))
	}
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "repeats-1.idx")
	synced, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 500; i < 1000; i++ {
		offer(t, p, &w, fmt.Sprint(i), at(i))
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// Every other sector of what changed did not reach the disk.
	for i := 0; i < len(after); i += 1024 {
		copy(after[i:i+512], synced[i:i+512])
	}
	if err := os.WriteFile(name, after, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Open(dir, false); err != nil {
		t.Fatal(err)
	}
	for i := 500; i < 1000; i++ {
		if got := offer(t, p, &w, fmt.Sprint(i), at(i)); got != "" {
			t.Fatalf("the first event %d is dropped as %q", i, got)
		}
	}
	for i := range 1000 {
		if got := offer(t, p, &w, fmt.Sprint(i), at(2000+i)); got != Dropped {
			t.Fatalf("the repeat of event %d is not recognised", i)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedIndexIsRefused(t *testing.T) {
	for _, damage := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return b[:100] },
		func(b []byte) []byte { return append(b, 0) },
		func(b []byte) []byte { b[32]++; return b },
		func(b []byte) []byte { b[41] ^= 1; return b },
		func(b []byte) []byte { clear(b[:64]); return b },
	} {
		dir := t.TempDir()
		p := pipeline(t, `[{dedupe: true}]`)
		if err := p.Open(dir, false); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "repeats-1.idx")
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Open(dir, false); !errors.Is(err, ErrIndex) {
			t.Errorf("opened with %v", err)
		}
	}
	// One that is missing, or empty, knows nothing of what was passed.
	dir := t.TempDir()
	p := pipeline(t, `[{dedupe: true}]`)
	if err := p.Open(dir, true); !errors.Is(err, ErrIndex) || !strings.Contains(err.Error(), "--fresh") {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "repeats-1.idx"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Open(dir, true); !errors.Is(err, ErrIndex) || !strings.Contains(err.Error(), "--fresh") {
		t.Errorf("empty: %v", err)
	}
}

func TestRealisticEvents(t *testing.T) {
	p := pipeline(t, `
- set: {context.traits.source: backfill, "properties.fanfold_note": {"@template": "{{event}}!"}}
- remove: [properties.password, context.ip]
- rename: {properties.fanfold_note: properties.fanfold_memo}
- shift: 1h
- remove: [context.traits.source, properties.fanfold_memo]
- shift: -1h
`)
	g := eventgen.New(eventgen.Options{Seed: 3})
	var w Worker
	for range 500 {
		raw := bytes.TrimSpace(g.Append(nil))
		ev, err := event.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := p.Apply(&w, ev, source.Position{Offset: 1})
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		for _, m := range []map[string]any{want, got} {
			if c, ok := m["context"].(map[string]any); ok {
				delete(c, "ip")
				if tr, ok := c["traits"].(map[string]any); ok && len(tr) == 0 {
					delete(c, "traits") // made for source, and left empty
				}
			}
			if props, ok := m["properties"].(map[string]any); ok && len(props) == 0 {
				delete(m, "properties")
			}
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("\nwant %v\ngot  %v", want, got)
		}
	}
}

// FuzzEdit: whatever the event, edits keep it valid, do what they say, and
// leave everything else alone.
func FuzzEdit(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":[1,{"c":null}]},"d":"x"}`, `{"a":null}`,
		"{ \"a\" : [ ] ,\n\"b\": {\"a\":1 } }", `{"a":1,"a":{"b":2}}`, `{"\u0061":{"b":1}}`} {
		f.Add([]byte(s))
	}
	set := pipeline(f, `[{set: {a.b: 1}}]`)
	del := pipeline(f, `[{remove: [a.b, "a.*.c"]}]`)
	mask := pipeline(f, `[{mask: {paths: [a, "d.*"], text: "x"}}]`)
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := event.Parse(raw)
		if err != nil {
			return
		}
		before := bytes.Clone(raw)
		for _, p := range []*Pipeline{set, del, mask} {
			var w Worker
			out, _, err := p.Apply(&w, ev, source.Position{})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(raw, before) {
				t.Fatal("the event was changed")
			}
			if out == nil {
				continue
			}
			if err := event.Valid(out); err != nil {
				t.Fatalf("%s became %s: %v", raw, out, err)
			}
			e, err := event.Parse(bytes.Clone(out))
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := p.Apply(&w, e, source.Position{})
			if err != nil || again != nil {
				t.Fatalf("%s became %s and then %s (%v)", raw, out, again, err)
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	g := eventgen.New(eventgen.Options{Seed: 1})
	var events []*event.Event
	for range 1000 {
		ev, err := event.Parse(bytes.TrimSpace(g.Append(nil)))
		if err != nil {
			b.Fatal(err)
		}
		events = append(events, ev)
	}
	for _, c := range []struct{ name, steps string }{
		{"none", `[]`},
		{"drop", `[{drop: 'type = "track" and match(event, "debug *")'}]`},
		{"set", `[{set: {context.traits.source: backfill}}]`},
		{"remove", `[{remove: [properties.password]}]`},
		{"mask", `[{mask: {paths: [traits.email], key: k}}]`},
		{"sample", `[{sample: 10%}]`},
		{"dedupe", `[{dedupe: true}]`},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := pipeline(b, c.steps)
			if err := p.Open(b.TempDir(), false); err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			var w Worker
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, _, err := p.Apply(&w, events[i%len(events)], source.Position{Offset: int64(i%len(events) + 1)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestEveryKindIsDone: a step that can be written does something to some event, of which the second is a repeat.
func TestEveryKindIsDone(t *testing.T) {
	steps := map[string]string{
		"drop": `type = "track"`, "keep": `type = "page"`, "set": `{a: 1}`, "remove": `[userId]`, "rename": `{userId: b}`,
		"mask": `{paths: [userId], key: k}`, "sample": `0%`, "shift": `{fields: [timestamp], by: 1h}`, "dedupe": `true`,
	}
	for _, kind := range Kinds() {
		p, err := parse(`[{` + kind + `: ` + steps[kind] + `}]`)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if err = p.Open(t.TempDir(), false); err != nil {
			t.Fatal(err)
		}
		ev, err := event.Parse([]byte(`{"type":"track","userId":"u","messageId":"m","timestamp":"2024-05-01T00:00:00Z"}`))
		if err != nil {
			t.Fatal(err)
		}
		done := false
		for at := range int64(2) {
			out, dropped, err := p.Apply(&Worker{}, ev, source.Position{Offset: at + 1})
			if err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			done = done || out != nil || dropped != ""
		}
		if c := p.Counters()[0]; !done || c.Failed > 0 {
			t.Errorf("%s does nothing: %+v", kind, c)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	s := &step{Step: Step{Kind: "another"}}
	if err := s.compile(); err != errNobody {
		t.Errorf("a kind that nobody does: %v", err)
	}
}
