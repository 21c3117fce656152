package event_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

// alike says that two events were indexed alike: every value, its place and its
// key.
func alike(t *testing.T, a, b *event.Event) {
	t.Helper()
	if a.Type() != b.Type() {
		t.Fatalf("type %v, want %v", a.Type(), b.Type())
	}
	for _, f := range []func(*event.Event) event.Value{(*event.Event).TypeValue, (*event.Event).MessageID, (*event.Event).UserID, (*event.Event).AnonymousID, (*event.Event).Integrations, (*event.Event).Name} {
		alikeValues(t, f(a), f(b))
	}
	x, okx := a.Timestamp()
	y, oky := b.Timestamp()
	if okx != oky || !x.Equal(y) {
		t.Fatalf("time %v, want %v", x, y)
	}
	alikeValues(t, a.Root(), b.Root())
}

func alikeValues(t *testing.T, a, b event.Value) {
	t.Helper()
	if a.Kind() != b.Kind() || !bytes.Equal(a.Raw(), b.Raw()) || a.Text() != b.Text() || a.Len() != b.Len() || a.Falsy() != b.Falsy() {
		t.Fatalf("%v %s, want %v %s", a.Kind(), a.Raw(), b.Kind(), b.Raw())
	}
	_, x := a.Plain()
	if _, y := b.Plain(); x != y {
		t.Fatalf("%s: plain %v, want %v", a.Raw(), x, y)
	}
	switch a.Kind() {
	case event.Array:
		for i := range a.Len() {
			alikeValues(t, a.Index(i), b.Index(i))
		}
	case event.Object:
		var keys, values []event.Value
		for k, v := range b.Members() {
			keys, values = append(keys, k), append(values, v)
		}
		i := 0
		for k, v := range a.Members() {
			alikeValues(t, k, keys[i])
			alikeValues(t, v, values[i])
			alikeValues(t, a.Get(k.Text()), b.Get(k.Text()))
			i++
		}
	}
}

// TestForms parses events of known and of unknown forms, cut and changed ones
// among them, and holds what comes of each against what a parser makes of it that
// expects nothing.
func TestForms(t *testing.T) {
	var text bytes.Buffer
	if err := eventgen.Write(&text, eventgen.Options{Seed: 3, Events: 400, Messy: true, LongLine: 5000}); err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(text.Bytes(), []byte("\n"))
	forms := new(event.Forms)
	rnd := rand.New(rand.NewPCG(1, 2))
	var each sync.WaitGroup
	seen := make([]int, 4)
	for n := range seen {
		seed := rnd.Uint64()
		each.Go(func() { // parsers share what they know
			rnd := rand.New(rand.NewPCG(1, seed))
			p := event.Parser{Forms: forms}
			byForm := map[*event.Form]*event.Event{}
			for i := range 1200 {
				raw := bytes.Clone(lines[rnd.IntN(len(lines))])
				switch {
				case len(raw) == 0:
				case i%4 == 1:
					raw = raw[:rnd.IntN(len(raw))]
				case i%4 == 2:
					raw[rnd.IntN(len(raw))] = `{}[]",:\x0e-. tn`[rnd.IntN(16)]
				}
				want, wantErr := event.Parse(raw)
				got, err := p.Parse(raw)
				if fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Errorf("%q: error %v, want %v", raw, err, wantErr)
					return
				}
				if err != nil {
					continue
				}
				alike(t, got, want)
				if f := got.Form(); f != nil {
					seen[n]++
					if other := byForm[f]; other != nil {
						sameForm(t, got.Root(), other.Root())
					} else {
						byForm[f], _ = p.Parse(raw)
					}
				}
				if i%500 == 499 {
					p.Reset()
					clear(byForm)
				}
			}
		})
	}
	each.Wait()
	for n, k := range seen {
		if k < 300 {
			t.Errorf("parser %d recognised %d events of 1200", n, k)
		}
	}
}

// sameForm says that two events have the same keys and kinds of values.
func sameForm(t *testing.T, a, b event.Value) {
	t.Helper()
	if a.Kind() != b.Kind() || a.Kind() >= event.Array && a.Len() != b.Len() {
		t.Fatalf("%s and %s are said to have the same form", a.Raw(), b.Raw())
	}
	if a.Kind() != event.Object {
		for i := range a.Len() {
			if a.Kind() == event.Array {
				sameForm(t, a.Index(i), b.Index(i))
			}
		}
		return
	}
	var keys, values []event.Value
	for k, v := range b.Members() {
		keys, values = append(keys, k), append(values, v)
	}
	i := 0
	for k, v := range a.Members() {
		if !bytes.Equal(k.Raw(), keys[i].Raw()) {
			t.Fatalf("%s and %s are said to have the same form", a.Raw(), b.Raw())
		}
		sameForm(t, v, values[i])
		i++
	}
}

// TestFormsAreBounded feeds events of ever new forms: all of them are read, and
// what is learned comes to an end; then the input changes, and is learned.
func TestFormsAreBounded(t *testing.T) {
	p := event.Parser{Forms: new(event.Forms)}
	for i := range 5_000 {
		raw := fmt.Appendf(nil, `{"type":"track","properties":{"k%d":%d,"l%d":"x"}}`, i, i, i)
		for range 2 {
			e, err := p.Parse(raw)
			if err != nil || e.Root().Get("properties").Len() != 2 {
				t.Fatal(err)
			}
		}
		if i%100 == 0 {
			p.Reset()
		}
	}
	if n := p.Forms.Size(); n > 16<<20 {
		t.Errorf("%d bytes were learned", n)
	}
	known := 0
	for i := range 30_000 {
		e, err := p.Parse(fmt.Appendf(nil, `{"type":"identify","userId":"u%d","traits":{"n":%d}}`, i, i))
		if err != nil {
			t.Fatal(err)
		}
		if e.Form() != nil {
			known++
		}
		if i%100 == 0 {
			p.Reset()
		}
	}
	if known < 10_000 {
		t.Errorf("of 30,000 events of one form %d were recognised after a flood of others", known)
	}
}

// FuzzForms parses a text when its form is known from another one.
func FuzzForms(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":"x"}`), []byte(`{"a":2,"b":"\n"}`))
	f.Add([]byte(`{"a":[true,null,{"b":{}}],"a":-1.5e3}`), []byte(`{"a":[false,null,{"b":{}}],"a":0}`))
	f.Add([]byte(` { "k" : "v" } `), []byte(` { "k" : "" } `))
	f.Fuzz(func(t *testing.T, known, raw []byte) {
		p := event.Parser{Forms: new(event.Forms)}
		for range 2 {
			if _, err := p.Parse(known); errors.Is(err, event.ErrTooDeep) {
				return
			}
		}
		got, err := p.Parse(raw)
		want, wantErr := event.Parse(raw)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if err == nil {
			alike(t, got, want)
		}
	})
}

// TestTrace reads events in many ways and checks that what was noted holds
// exactly for those that would have been read as the same.
func TestTrace(t *testing.T) {
	p := event.Parser{Forms: new(event.Forms)}
	form := `{"type":"%s","n":%s,"s":"%s","b":%s,"o":{"x":"%s"}}`
	texts := [][]any{{"track", "1", "a", "true", "u"}, {"track", "0", "", "false", "v"}, {"page", "0.0", `\u0061`, "true", ""}, {"page", "17", `"`, "false", "u"}}
	var events []*event.Event
	for range 2 {
		events = events[:0]
		for _, x := range texts {
			if x[2] == `"` {
				x[2] = `\"`
			}
			e, err := p.Parse(fmt.Appendf(nil, form, x...))
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
	}
	long := func(v event.Value) bool { return v.Len() > 1 }
	readings := map[string]func(e *event.Event) any{
		"type":   func(e *event.Event) any { return e.Type() },
		"raw":    func(e *event.Event) any { return string(e.Raw()) },
		"value":  func(e *event.Event) any { return string(e.Root().Get("n").Raw()) },
		"text":   func(e *event.Event) any { return e.Root().Get("s").Text() },
		"is":     func(e *event.Event) any { return e.Root().Get("s").IsText("a") },
		"empty":  func(e *event.Event) any { return e.Root().Get("s").IsEmptyText() },
		"falsy":  func(e *event.Event) any { return e.Root().Get("n").Falsy() },
		"bool":   func(e *event.Event) any { return e.Root().Get("b").Bool() },
		"number": func(e *event.Event) any { f, ok := e.Root().Get("n").Float(); return fmt.Sprint(f, ok) },
		"path":   func(e *event.Event) any { return e.Lookup(event.CompilePath("o.x.length")).Text() },
		"object": func(e *event.Event) any { return string(e.Root().Get("o").Raw()) },
		"test":   func(e *event.Event) any { return e.Root().Get("type").Test(long) },
		"keys": func(e *event.Event) any {
			var all []string
			for k, v := range e.Root().Members() {
				all = append(all, k.Text()+v.Kind().String())
			}
			return strings.Join(all, " ")
		},
	}
	for name, read := range readings {
		held := 0
		for i, e := range events {
			if e.Form() == nil || e.Form() != events[0].Form() {
				t.Fatal("the events' form was not recognised")
			}
			var tr event.Trace
			got := read(e.Traced(&tr))
			if got != read(e) || tr.IsVoid() {
				t.Errorf("%s: %v when traced, else %v; void %v", name, got, read(e), tr.IsVoid())
			}
			c := tr.Conditions()
			for j, other := range events {
				holds := c.Hold(other)
				if holds && read(other) != got || i == j && !holds {
					t.Errorf("%s: what was noted of event %d holds %v for event %d, which reads %v, not %v", name, i, holds, j, read(other), got)
				}
				if holds && i != j {
					held++
				}
			}
		}
		if name == "keys" && held != 12 {
			t.Errorf("keys are the form's: held %d times", held)
		}
	}
	var tr event.Trace
	e := events[0].Traced(&tr)
	tr.Pause()
	e.Root().Get("s").Text()
	tr.Resume()
	if c := tr.Conditions(); !c.Hold(events[1]) {
		t.Error("a paused trace has noted something")
	}
}

// TestReadAhead reads the ids and times that a parser has read before anyone asks,
// with those of events parsed one by one.
func TestReadAhead(t *testing.T) {
	ids := []string{`"m-1"`, `""`, `"null"`, `null`, `17`, `"a\u00e9\nb"`, `"` + strings.Repeat("x", 2000) + `"`, `{"a":1}`, ``}
	times := []string{`"2024-03-01T00:00:00Z"`, `"2024-03-01T00:00:00.123456789Z"`, `"2024-03-01 00:00:00"`, `"0000-02-29T23:59:59.5Z"`, `"9999-12-31T23:59:59Z"`, `1709251200`, `"1709251200123"`, `"x"`, `"2024-03-01T00:00:0\u0030Z"`, `null`, ``}
	forms := new(event.Forms)
	for round := range 2 {
		p := event.Parser{Forms: forms}
		for _, id := range ids {
			for i, at := range times {
				text := `{"type":"track"`
				if id != "" {
					text += `,"messageId":` + id
				}
				if at != "" {
					text += `,"timestamp":` + at
				}
				text += `,"originalTimestamp":` + cmp.Or(times[(i+3)%len(times)], `"?"`) + `,"sentAt":"2020-01-01T00:00:00Z"}`
				one, err := event.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				got, err := p.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				if round == 1 && got.Form() == nil {
					t.Fatalf("%s: not of a known form", text)
				}
				want := ""
				if v := one.MessageID(); v.Exists() {
					want = v.Text()
				}
				if got.ID() != want || one.ID() != want {
					t.Errorf("%.200s: ids %q and %q, want %q", text, got.ID(), one.ID(), want)
				}
				for _, key := range []string{"timestamp", "originalTimestamp", "sentAt"} {
					a, aOK := event.ParseTime(got.Root().Get(key))
					b, bOK := event.ParseTime(one.Root().Get(key))
					if aOK != bOK || a != b {
						t.Errorf("%s: %s is %v %v, want %v %v", text, key, a, aOK, b, bOK)
					}
				}
				var trace event.Trace
				if event.ParseTime(got.Traced(&trace).Root().Get("sentAt")); got.Root().Get("sentAt").Exists() {
					if c := trace.Conditions(); !c.Hold(got) {
						t.Errorf("%s: the trace of its time does not hold for itself", text)
					}
				}
			}
		}
	}
}

// TestReadAheadIsNoted says that a time that was read before is one that depends on
// its text.
func TestReadAheadIsNoted(t *testing.T) {
	var p event.Parser
	parse := func(text string) *event.Event {
		e, err := p.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e, other := parse(`{"timestamp":"2024-03-01T00:00:00Z"}`), parse(`{"timestamp":"2024-03-01T00:00:01Z"}`)
	var trace event.Trace
	event.ParseTime(e.Traced(&trace).Root().Get("timestamp"))
	if c := trace.Conditions(); !c.Hold(e) || c.Hold(other) {
		t.Error("the condition does not tell one time from another")
	}
}
