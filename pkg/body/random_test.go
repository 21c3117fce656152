package body_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/payload"
)

// maker makes random bodies, and random events for them.
type maker struct {
	*rand.Rand
	inside int // Each
}

func pick[T any](m *maker, of ...T) T { return of[m.IntN(len(of))] }

var fieldKeys = []string{"a", "b", "c", "d", "o", "p", "l"}

// keys are those of members: of fields, of what stands in objects, and odd ones.
func (m *maker) key() string {
	return pick(m, "a", "b", "c", "x", "y", "id", "é", "\"q\"", "token", "k1", "k2", "")
}

func (m *maker) path() string {
	p := pick(m, fieldKeys...)
	if m.IntN(3) == 0 {
		p += "." + pick(m, "a", "b", "x", "id", "o", "0")
		if m.IntN(3) == 0 {
			p += "." + pick(m, "a", "b", "length", "1")
		}
	}
	return p
}

func (m *maker) value() body.Value {
	var v body.Value
	paths := []string{m.path()}
	if m.IntN(3) == 0 {
		paths = append(paths, m.path())
	}
	switch m.IntN(14) {
	case 0:
		v = body.Const(pick[any](m, "x", 1, true, nil, "2024-05-06T07:08:09Z", []string{"a"}, map[string]any{"a": 1}))
	case 1:
		s := body.Setting(pick(m, "token", "flag", "off", "region", "none"))
		if m.IntN(2) == 0 {
			return s
		}
		v = body.Setting(pick(m, "flag", "off", "region", "none"))
	case 2:
		v = pick(m, body.InsertID(), body.EventID(), body.Now(), body.History(), body.Index())
	case 3:
		v = body.Event(pick(m, "context.ip", "properties.a", "properties.o.b", "properties", "nothing"))
	case 4:
		v = body.Format(pick(m, "{a}", "x {a}{b}", "{settings.region}-{c}", "no"))
		if m.inside > 0 {
			v = body.Outer(paths...)
		}
	case 5, 6, 7:
		if m.inside > 0 {
			if v = body.This(pick(m, "a", "x", "id", "sku")); m.IntN(3) == 0 {
				v = body.This()
			}
			break
		}
		fallthrough
	default:
		if v = body.From(paths...); m.inside > 0 && m.IntN(2) == 0 {
			v = body.Outer(paths...)
		}
	}
	for m.IntN(3) == 0 {
		v = m.step(v)
	}
	return v
}

func (m *maker) step(v body.Value) body.Value {
	switch m.IntN(36) {
	case 0:
		return v.Given()
	case 1:
		return v.Filled()
	case 2:
		return v.NotNull()
	case 3:
		return v.Is("x", "1")
	case 4:
		return v.Not("x", "")
	case 5:
		return pick(m, v.IsText, v.IsNumber, v.IsObject, v.IsList, v.IsBoolean, v.IsTime)()
	case 6:
		return v.NotEmpty()
	case 7:
		return v.Matches("^[a-z0-9]+$")
	case 8:
		return v.Where("short", func(v event.Value) bool { return v.Size() < 9 })
	case 9:
		return v.Trim()
	case 10:
		return v.Lower()
	case 11:
		return v.Upper()
	case 12:
		return v.Cut(3)
	case 13:
		return v.Last(3)
	case 14:
		return v.Prefix("p\"")
	case 15:
		return v.Suffix("é")
	case 16:
		return v.Replace("a", "bb")
	case 17:
		return v.UUID()
	case 18:
		return v.Number()
	case 19:
		return v.Integer()
	case 20:
		return v.Boolean()
	case 21:
		return v.Wrapped()
	case 22:
		return v.JSON()
	case 23:
		return v.Join("-")
	case 24:
		return v.Lookup(map[string]string{"x": "y", "1": "one"})
	case 25:
		return pick(m, v.Seconds, v.Millis, v.ISO)()
	case 26:
		return v.Time(pick(m, jsonval.TimeFormats()...))
	case 27:
		return v.Layout("02.01.2006 15:04")
	case 28:
		return v.Normal(pick(m, append(jsonval.NormalForms(), "compact", "alphanumeric", "email_plain", "")...))
	case 29:
		return v.Hash(pick(m, append(jsonval.NormalForms(), "compact", "alphanumeric", "email_plain", "")...))
	case 30:
		return v.As("twice", func(dst []byte, v event.Value, c *body.Context) []byte {
			if v.Kind() == event.Null {
				return dst
			}
			return event.AppendQuoted(
				dst,
				v.Text()+v.Text()+c.Field("b").Text()+c.InsertID()+c.This().Text()+strconv.Itoa(c.Index()),
			)
		})
	case 31:
		return v.Contains(pick(m, "a", "", "é"))
	case 32: // of functions that differ only in what they hold, too
		mark := pick(m, "", "x", "yy")
		return v.Rewritten("marked", func(text string) string { return strings.TrimPrefix(text, "x") + mark })
	case 33:
		return v.Flat(pick(m, ".", "", "_"))
	case 34:
		return v.Pairs()
	}
	return v.Text()
}

func (m *maker) cond(depth int) body.Cond {
	if depth <= 0 {
		return m.value()
	}
	switch m.IntN(6) {
	case 0:
		return body.All(m.cond(depth-1), m.cond(depth-1))
	case 1:
		return body.Any(m.cond(depth-1), m.cond(depth-1))
	case 2:
		return body.Not(m.cond(depth - 1))
	case 3:
		if m.inside == 0 {
			return body.Has(m.path())
		}
	case 4:
		return pick(m, body.All(), body.Any())
	}
	return m.value()
}

func (m *maker) node(depth int) body.Node {
	if depth <= 0 {
		return m.value()
	}
	switch m.IntN(12) {
	case 0, 1, 2, 3:
		o := m.object(depth - 1)
		if m.IntN(4) == 0 {
			o = body.Always(o)
		}
		return o
	case 4:
		n := body.List(m.node(depth-1), m.node(depth-1))
		if m.IntN(3) == 0 {
			n = body.Always(n)
		}
		return n
	case 5:
		of := m.value()
		m.inside++
		n := body.EachOf(of, m.node(depth-1))
		m.inside--
		if m.IntN(3) == 0 {
			n = body.Always(n)
		}
		return n
	case 6:
		return body.First(m.node(depth-1), m.node(depth-1))
	case 7:
		return body.If(m.cond(depth-1), m.node(depth-1))
	case 8:
		return body.Always(m.value())
	case 9:
		return pick(m, body.Empty(), body.Payload("a"), body.Answer(1, "x"), body.MaybeTaken("y"))
	}
	return m.value()
}

func (m *maker) object(depth int) body.Node {
	var ms []body.Members
	for range m.IntN(5) {
		var one body.Members
		switch m.IntN(10) {
		case 0, 1:
			var s body.SpreadMembers
			omit := []string{m.key(), m.key()}[:m.IntN(3)]
			if m.IntN(5) == 0 {
				s = body.Fields(omit...)
			} else {
				s = body.SpreadOf(m.value(), omit...)
			}
			if m.IntN(3) == 0 {
				s = s.Wins([]string{m.key()}[:m.IntN(2)]...)
			}
			if m.IntN(5) == 0 {
				s = s.Renamed(pick(m, strings.ToUpper, func(s string) string { return strings.TrimPrefix(s, "k") }))
			}
			if m.IntN(4) == 0 {
				m.inside++
				s = s.Each(m.node(depth - 1))
				m.inside--
			}
			one = s
		case 2:
			if m.inside == 0 {
				one = body.Same(pick(m, fieldKeys...), pick(m, fieldKeys...))
				break
			}
			fallthrough
		default:
			one = body.Member(m.key(), m.node(depth-1))
		}
		if m.IntN(5) == 0 {
			one = body.When(m.cond(1), one)
		}
		ms = append(ms, one)
	}
	return body.Object(ms...)
}

// json is a random JSON value.
func (m *maker) json(dst []byte, depth int) []byte {
	switch n := m.IntN(10); {
	case n < 2 && depth > 0:
		dst = append(dst, '{')
		space := m.IntN(6) == 0
		for i := range m.IntN(5) {
			if i > 0 {
				dst = append(dst, ',')
			}
			if space {
				dst = append(dst, ' ')
			}
			if key := m.key(); key == "a" && m.IntN(3) == 0 {
				dst = append(dst, `"\u0061":`...)
			} else {
				dst = append(event.AppendQuoted(dst, key), ':')
			}
			dst = m.json(dst, depth-1)
		}
		return append(dst, '}')
	case n < 3 && depth > 0:
		dst = append(dst, '[')
		for i := range m.IntN(4) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = m.json(dst, depth-1)
		}
		return append(dst, ']')
	}
	return append(
		dst,
		pick(
			m,
			`"x"`,
			`"1"`,
			`""`,
			`" a B "`,
			`"\u00e9\n"`,
			`"\ud83d\ude00"`,
			`"a@b.c"`,
			`"2024-05-06T07:08:09.5Z"`,
			`"2024-05-06"`,
			`"yes"`,
			`null`,
			`true`,
			`false`,
			`0`,
			`1`,
			`-3.90`,
			`1e3`,
			`1714979289`,
			`12345678901234567890`,
			`"\u0000"`,
		)...)
}

// compare writes a random body of a random event in both ways.
func compare(t testing.TB, seed uint64) {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 1))}
	sc := scope(fieldKeys...)
	node := m.node(3)
	batch, lines := m.IntN(4) == 0, 0 // lines of an item; 0: it is not framed
	if batch {
		items := []body.Node{m.node(3)}
		if m.IntN(2) == 0 {
			items = append(items, m.node(2))
		}
		node = body.Object(
			body.Member("x", m.value()),
			body.When(m.cond(1), body.Member("y", m.node(1))),
			body.Member("items", body.Items(items...)),
		)
		if lines = m.IntN(2); lines > 0 {
			if m.IntN(2) == 0 {
				lines, items = 2, []body.Node{body.Above(m.node(2), items[0])}
			}
			node = pick(m, body.Lines(items...), body.Framed("<\n", "\n;\n", "\n>", items...))
		}
	}
	p, err := sc.Bind(node)
	if err != nil {
		if strings.Contains(err.Error(), "there is no field") || strings.Contains(err.Error(), "is the stamp") {
			return
		}
		t.Fatalf("seed %d: %v", seed, err)
	}
	var r payload.Resolver
	var s body.Scratch
	for range 4 {
		raw := []byte(`{"type":"track","messageId":"m1","context":{"ip":"1.2.3.4"},"properties":{`)
		for _, k := range fieldKeys {
			if m.IntN(3) == 0 {
				continue
			}
			if raw[len(raw)-1] != '{' {
				raw = append(raw, ',')
			}
			raw = append(event.AppendQuoted(raw, k), ':')
			raw = m.json(raw, 3)
		}
		raw = append(raw, "}}"...)
		if m.IntN(3) == 0 {
			var b bytes.Buffer
			if err := json.Indent(&b, raw, "\r", "\t"); err != nil {
				t.Fatal(err)
			}
			raw = b.Bytes()
		}
		ev, err := event.ParseValue(raw)
		if err != nil {
			t.Fatal(err)
		}
		in, err := inputOf(t, sc, &r, ev)
		if err != nil {
			continue // no field takes lists of several types
		}
		in.Step, in.History = m.IntN(2), m.IntN(2) == 0
		type way struct {
			write func(*body.Scratch, *body.Input, []byte) ([]byte, bool)
			items func(*body.Scratch, *body.Input, body.Sink)
		}
		show := func(w way) string {
			out, ok := w.write(&s, in, []byte(","))
			text := fmt.Sprintf("%v %s %v %v", ok, out, s.Marks(), s.Holes())
			if ok && !batch && bytes.HasPrefix(out, []byte(",")) {
				if err := event.Valid(out[1:]); err != nil {
					t.Fatalf("seed %d: %s is no JSON: %v", seed, out, err)
				}
			}
			if batch {
				w.items(
					&s,
					in,
					sink(func(item []byte) {
						text += fmt.Sprintf("\n%s %v", slices.Clone(item), s.Marks())
						onLines(t, seed, item, s.Marks(), lines)
					}),
				)
			}
			return text
		}
		want := show(way{p.Interpret, p.InterpretItems})
		if got := show(way{p.Append, p.Items}); got != want {
			t.Fatalf("seed %d: compiled\n%s\ninterpreted\n%s\nof %s", seed, got, want, raw)
		}
	}
}

// onLines checks an item that has to be so many lines, each of one value, and where the stamp is in it.
func onLines(t testing.TB, seed uint64, item []byte, marks []int, lines int) {
	t.Helper()
	for _, at := range marks {
		if !bytes.HasPrefix(item[at:], []byte(`"t0"`)) {
			t.Fatalf("seed %d: the stamp is not at %d of %s", seed, at, item)
		}
	}
	if lines == 0 {
		return
	}
	list := bytes.Split(item, []byte("\n"))
	for _, line := range list {
		if err := event.Valid(line); err != nil || bytes.ContainsRune(line, '\r') || len(list) != lines {
			t.Fatalf("seed %d: %q is no item on %d lines: %v", seed, item, lines, err)
		}
	}
}

// sink is a function that gets the items.
type sink func(item []byte)

func (f sink) Next() []byte    { return nil }
func (f sink) Emit(buf []byte) { f(buf) }

// TestRandomBodies: the compiled way and the interpreter write the same. FANFOLD_BODIES
// says how many bodies are tried, in the long form.
func TestRandomBodies(t *testing.T) {
	n := 1500
	if s := os.Getenv("FANFOLD_BODIES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("FANFOLD_BODIES: %v", err)
		}
	}
	for i := range n {
		compare(t, uint64(i))
	}
}

func FuzzBodies(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compare(t, seed) })
}
