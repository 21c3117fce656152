package payload_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
)

// mapper makes random mappings and events.
type mapper struct{ *rand.Rand }

func one[T any](m *mapper, of ...T) T { return of[m.IntN(len(of))] }

func (m *mapper) path() string {
	return one(
		m,
		"$.a",
		"$.b",
		"$.o",
		"$.o.a",
		"$.o.b",
		"$.o.o.a",
		"$.l",
		"$.l[0]",
		"$.l[0].a",
		"$.l.length",
		"$.a.length",
		"$.time",
		"$.none",
		"$.o.none",
		"$",
	)
}

// value is a mapping of one field.
func (m *mapper) value(depth int) mapping.Value {
	switch n := m.IntN(12); {
	case n < 4 || depth == 0:
		return mapping.Path(m.path())
	case n < 6:
		return mapping.Paths(m.path(), m.path(), m.path())
	case n < 7:
		return mapping.If(mapping.Path(m.path()), m.value(depth-1), m.value(depth-1))
	case n < 8:
		return mapping.Doc(`{"@first":[{"@path":"` + m.path() + `"},{"@path":"` + m.path() + `"}]}`)
	case n < 9:
		return mapping.Template("{{a}} of {{o.a}}")
	case n < 10:
		return mapping.Literal(one[any](m, "x", "", 1, true, nil))
	case n < 11:
		return mapping.ArrayPath(
			"$.l",
			mapping.Object(mapping.M("a", mapping.Path("$.a")), mapping.M("b", mapping.Path("$.b"))),
		)
	}
	return m.object(depth - 1)
}

func (m *mapper) object(depth int) mapping.Value {
	var ms []mapping.Member
	for _, key := range []string{"a", "b", "c"} {
		if m.IntN(4) > 0 {
			ms = append(ms, mapping.M(key, m.value(depth)))
		}
	}
	return mapping.Object(ms...)
}

func (m *mapper) field(key string, depth int) payload.Field {
	f := payload.Field{
		Key:       key,
		Type:      payload.Type(m.IntN(int(payload.TypeObject) + 1)),
		Multiple:  m.IntN(6) == 0,
		Required:  m.IntN(8) == 0,
		AllowNull: m.IntN(4) == 0,
		Default:   m.value(2),
	}
	switch {
	case f.Type == payload.TypeString && m.IntN(4) == 0:
		f.Choices = []string{"x", "1", "track"}
	case f.Type == payload.TypeString && m.IntN(4) == 0:
		f.Maximum = 3
	case f.Type == payload.TypeObject && depth > 0 && m.IntN(2) == 0:
		for _, k := range []string{"a", "b"} {
			f.Properties = append(f.Properties, m.field(k, depth-1))
		}
		f.AdditionalProperties = m.IntN(3) == 0
		if m.IntN(2) == 0 {
			f.Default = m.object(1)
		}
	}
	if m.IntN(12) == 0 {
		f.RequiredIf = &payload.Condition{Tests: []payload.Test{{Field: "f0"}, {Field: "f1", Not: true}}}
	}
	return f
}

func (m *mapper) json(dst []byte, depth int) []byte {
	switch n := m.IntN(8); {
	case n < 3 && depth > 0:
		dst = append(dst, '{')
		for i := range m.IntN(5) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, one(m, `"a":`, `"a" : `, `"b":`, `"o":`, `"l":`, `"\u0061":`, `"time":`)...)
			dst = m.json(dst, depth-1)
		}
		return append(dst, '}')
	case n < 5 && depth > 0:
		dst = append(dst, '[')
		for i := range m.IntN(3) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = m.json(dst, depth-1)
		}
		return append(dst, ']')
	}
	return append(
		dst,
		one(
			m,
			`"x"`,
			`"1"`,
			`""`,
			`"\u00e9"`,
			`"track"`,
			`"2024-05-06T07:08:09.5Z"`,
			`"2024-05-06"`,
			`null`,
			`true`,
			`false`,
			`0`,
			`1`,
			`-3.90`,
			`12345678901234567890`,
		)...)
}

// resolve maps a random event with random fields in every way there is.
func resolve(t testing.TB, seed uint64) {
	m := &mapper{rand.New(rand.NewPCG(seed, 2))}
	var fields []payload.Field
	for i := range 1 + m.IntN(5) {
		fields = append(fields, m.field(fmt.Sprint("f", i), 2))
	}
	var opts []payload.Option
	if m.IntN(4) == 0 {
		opts = append(opts, payload.Batch())
	}
	p, err := payload.Compile(fields, mapping.Value{}, opts...)
	if err != nil {
		return // some choices and defaults contradict each other
	}
	var quick, plain payload.Resolver
	plain.Plain = true
	parser := event.Parser{Follow: event.Join(p.Paths())}
	for range 4 {
		raw := []byte(`{"type":"track","timestamp":"2024-05-06T07:08:09.123Z"`)
		for _, k := range []string{"a", "b", "o", "l", "time"} {
			if m.IntN(4) > 0 {
				raw = append(append(append(raw, `,"`...), k...), `":`...)
				raw = m.json(raw, 3)
			}
		}
		raw = append(raw, '}')
		ev, err := parser.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		unfollowed, err := event.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		want := shown(p.Run(&plain, unfollowed.Root()))
		if got := shown(p.Run(&quick, unfollowed.Root())); got != want {
			t.Fatalf("seed %d: %s\nplainly %s\nof %s", seed, got, want, raw)
		}
		if got := shown(p.Run(&quick, ev.Root())); got != want {
			t.Fatalf("seed %d: followed %s\nplainly %s\nof %s", seed, got, want, raw)
		}
	}
}

// shown is all that can be seen of a payload.
func shown(p *payload.Payload, err error) string {
	if err != nil {
		return err.Error()
	}
	text := string(p.AppendJSON(nil))
	for key, f := range p.Fields() {
		text += fmt.Sprintf(" %s=%s,%s", key, p.At(f).Raw(), p.RawAt(f))
	}
	return text
}

// TestRandomMappings: the short ways make of an event what the plain one does.
// FANFOLD_BODIES says how many mappings are tried, in the long form.
func TestRandomMappings(t *testing.T) {
	n := 3000
	if s := os.Getenv("FANFOLD_BODIES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("FANFOLD_BODIES: %v", err)
		}
	}
	for i := range n {
		resolve(t, uint64(i))
	}
}

func FuzzMappings(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { resolve(t, seed) })
}
