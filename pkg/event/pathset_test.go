package event_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
)

var setPaths = []string{
	"",
	"a",
	"b",
	"a.b",
	"a.b.c",
	"a.b.d",
	"a.x",
	"a.length",
	"a[0]",
	"a[0].b",
	"b.c",
	"b.c.d.e",
	"é",
	"é.b",
	"a.b",
	"aa",
	"ba",
	"b.0",
	"b.length",
	"b.c.length",
}

// FuzzPathSet: a set finds what each of its paths finds.
func FuzzPathSet(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1,"b":2}`, `{"a":{"b":{"c":1,"d":null}},"b":{"c":{"d":{"e":[1]}}}}`, `{"a":{"b":1},"a":{"x":2}}`,
		`{"a":{"b":{"c":1}},"a":0}`,
		`{"a":null,"b":""}`, `{"a":[{"b":1}],"b":"text"}`, `{"a":false,"b":{"c":0}}`,
		`{"\u0061":{"\u0062":{"c":7}},"\u00e9":{"b":1}}`, `{"a":{"b":{"c":1}},"\u0061":{"x":3}}`,
		`{"a":{"b":{}},"é":5,"b":[[1,2],3]}`, `{"aa":1,"ba":2,"a":"x"}`, `{"a":0,"a":{"b":{"c":1}}}`,
		`{"a":{"b":{"c":1}},"a":{"b":{"d":2}}}`,
		`{"type":"track","messageId":{"a":1},"\u0074ype":"page","event":"E","event":"F"}`, `{"b":{"c":"\ud83d\ude00"}}`,
	} {
		f.Add([]byte(s))
	}
	var paths []event.Path
	for _, p := range setPaths {
		paths = append(paths, event.CompilePath(p))
	}
	set, slots := event.NewPathSet(paths)
	other, others := event.NewPathSet(
		[]event.Path{
			event.CompilePath("a.b.c.d"),
			event.CompilePath("type"),
			event.CompilePath("b.c"),
			event.CompilePath("messageId.a"),
		},
	)
	var got event.Refs
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := event.ParseValue(raw)
		if err != nil || v.Kind() != event.Object {
			return
		}
		check := func(how string, v event.Value) {
			t.Helper()
			set.Find(v, &got)
			for i, p := range paths {
				want, found := v.Lookup(p), got.At(slots[i])
				if want.Kind() != found.Kind() || string(want.Raw()) != string(found.Raw()) {
					t.Errorf(
						"%s: %q in %s: %s %q, want %s %q",
						how,
						setPaths[i],
						raw,
						found.Kind(),
						found.Raw(),
						want.Kind(),
						want.Raw(),
					)
				}
			}
		}
		check("looked for", v)
		parser := event.Parser{Follow: event.Join(other, set)}
		plain := event.Parser{}
		ev, err := parser.Parse(raw)
		want, err2 := plain.Parse(raw)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		check("followed", ev.Root())
		other.Find(ev.Root(), &got)
		if want, found := ev.Lookup(event.CompilePath("b.c")), got.At(others[2]); want.Kind() != found.Kind() ||
			string(want.Raw()) != string(found.Raw()) {
			t.Errorf("followed beside another set: b.c is %q in %s, want %q", found.Raw(), raw, want.Raw())
		}
		for k := range want.Root().Members() {
			w, g := want.Root().Get(k.Text()), ev.Root().Get(k.Text())
			if w.Kind() != g.Kind() || string(w.Raw()) != string(g.Raw()) {
				t.Errorf("followed: %s of %s is %q, want %q", k.Raw(), raw, g.Raw(), w.Raw())
			}
		}
		for what, of := range map[string]func(*event.Event) event.Value{
			"type": (*event.Event).TypeValue, "messageId": (*event.Event).MessageID, "userId": (*event.Event).UserID,
			"event": (*event.Event).Name, "timestamp": (*event.Event).TimestampMember,
		} {
			if of(ev).Kind() != of(want).Kind() || string(of(ev).Raw()) != string(of(want).Raw()) {
				t.Errorf("followed: %s of %s is %q, want %q", what, raw, of(ev).Raw(), of(want).Raw())
			}
		}
	})
}

func BenchmarkPathSet(b *testing.B) {
	raw := []byte(
		`{"type":"track","messageId":"m","timestamp":"2024-03-01T00:00:00.000Z","originalTimestamp":"x",` +
			`"sentAt":"x","receivedAt":"x","anonymousId":"a","userId":"u","event":"E",` +
			`"properties":{"a":1,"b":2,"c":[1,2,3]},"context":{"library":{"name":"analytics.js","version":"1"},` +
			`"userAgent":"Mozilla","ip":"1.2.3.4","locale":"de","page":{"path":"/","referrer":"","search":"",` +
			`"title":"t","url":"u"},` +
			`"campaign":{"name":"n","source":"s"},"timezone":"z","screen":{"width":1,"height":2}},"integrations":{}}`,
	)
	var paths []event.Path
	for _, p := range []string{"event", "userId", "anonymousId", "messageId", "timestamp", "properties", "context"} {
		paths = append(paths, event.CompilePath(p))
	}
	for _, o := range []string{"app", "os", "device", "network", "page", "screen", "library", "campaign"} {
		for _, k := range []string{"name", "version", "url", "width", "source"} {
			paths = append(paths, event.CompilePath(fmt.Sprintf("context.%s.%s", o, k)))
		}
	}
	v, err := event.ParseValue(raw)
	if err != nil {
		b.Fatal(err)
	}
	set, _ := event.NewPathSet(paths)
	b.Run("set", func(b *testing.B) {
		var refs event.Refs
		for b.Loop() {
			set.Find(v, &refs)
		}
	})
	b.Run("each", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, p := range paths {
				if v.Lookup(p).Exists() {
					n++
				}
			}
		}
	})
}

// TestLongKeys: keys that are longer than a node can say.
func TestLongKeys(t *testing.T) {
	for _, n := range []int{65533, 65534, 65535, 65536, 70000} {
		for _, tail := range []string{"", `\\`, `\"`, `\\\\\"x`, `\u00e9`, `\\x\"`} {
			key := strings.Repeat("k", n-len(tail)) + tail
			v, err := event.ParseValue([]byte(`{"a":0,"` + key + `":1,"` + key + `y":2,"b":3}`))
			if err != nil {
				t.Fatal(err)
			}
			var want string
			if err := json.Unmarshal([]byte(`"`+key+`"`), &want); err != nil {
				t.Fatal(err)
			}
			if got := v.Get(want); string(got.Raw()) != "1" {
				t.Errorf("%d, %s: got %q", n, tail, got.Raw())
			}
			if got := v.Get(want + "y"); string(got.Raw()) != "2" {
				t.Errorf("%d, %sy: got %q", n, tail, got.Raw())
			}
			i := 0
			for k := range v.Members() {
				if i == 1 && k.Text() != want {
					t.Errorf("%d, %s: the key is %d bytes", n, tail, len(k.Text()))
				}
				i++
			}
			if i != 4 || v.Len() != 4 {
				t.Errorf("%d, %s: %d members", n, tail, i)
			}
		}
	}
}

// TestTooManyPaths: a set says so instead of mixing paths up.
func TestTooManyPaths(t *testing.T) {
	var paths []event.Path
	for i := range 70 {
		for j := range 1000 {
			paths = append(paths, event.Keys(fmt.Sprint("k", i), fmt.Sprint("k", j)))
		}
	}
	if set, _ := event.NewPathSet(paths[:60_000]); set == nil {
		t.Error("60,000 paths are too many")
	}
	if set, _ := event.NewPathSet(paths); set != nil {
		t.Error("70,000 paths are not too many")
	}
}
