package body_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
)

// scope takes the members of an event's properties as fields.
func scope(keys ...string) body.Scope {
	sc := body.Scope{
		Settings: map[string]any{"token": "t0", "flag": true, "off": false, "region": "eu", "none": ""},
		Stamp:    "token",
		Places:   new(body.Places),
	}
	for _, k := range keys {
		sc.Fields = append(
			sc.Fields,
			payload.Field{Key: k, Type: payload.TypeObject, Default: mapping.Path("$.properties." + k)},
		)
	}
	return sc
}

// input maps an event with the properties given.
func input(t testing.TB, sc body.Scope, r *payload.Resolver, properties string) *body.Input {
	t.Helper()
	ev, err := event.ParseValue(
		[]byte(`{"type":"track","messageId":"m1","context":{"ip":"1.2.3.4"},"properties":` + properties + `}`),
	)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inputOf(t, sc, r, ev)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func inputOf(t testing.TB, sc body.Scope, r *payload.Resolver, ev event.Value) (*body.Input, error) {
	p, err := payload.Compile(fieldsOf(sc, ev), mapping.Value{}, payload.Deeper(sc.Places.List()))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := p.Run(r, ev)
	return &body.Input{Event: ev, Payload: payload, Now: time.Date(2024, 6, 1, 12, 0, 0, 5e6, time.UTC), ID: "m1"}, err
}

// fieldsOf gives every field the type that its value has, so that it stays as it is.
func fieldsOf(sc body.Scope, ev event.Value) []payload.Field {
	var fields []payload.Field
	for _, f := range sc.Fields {
		v := ev.Get("properties").Get(f.Key)
		f.AllowNull = true
		switch v.Kind() {
		case event.Number:
			f.Type = payload.TypeNumber
		case event.Bool:
			f.Type = payload.TypeBoolean
		case event.Array:
			f.Multiple = true
			f.Type = payload.TypeString
			if v.Index(0).Kind() == event.Object {
				f.Type = payload.TypeObject
			}
		case event.Object:
			f.Type = payload.TypeObject
		default:
			f.Type = payload.TypeString
		}
		fields = append(fields, f)
	}
	return fields
}

type bodyCase struct {
	name       string
	node       body.Node
	properties string
	want       string // "": nothing
}

func cases() []bodyCase { return slices.Concat(cases1(), cases2(), cases3()) }

func cases1() []bodyCase {
	m, from := body.Member, body.From
	props := func(ms ...body.Members) body.Node { return body.Object(ms...) }
	return []bodyCase{
		{"a copy", props(m("x", from("a"))), `{"a":12345678901234567890}`, `{"x":12345678901234567890}`},
		{
			"what is missing is left out",
			props(m("x", from("a")), m("y", from("b"))),
			`{"b":"\u00e9"}`,
			`{"y":"\u00e9"}`,
		},
		{
			"an object without members is left out",
			props(m("x", props(m("y", from("a")))), m("z", from("b"))),
			`{"b":1}`,
			`{"z":1}`,
		},
		{"nothing at all", props(m("x", from("a"))), `{}`, ``},
		{
			"always",
			body.Always(
				props(
					m("x", body.Always(from("a"))),
					m("l", body.Always(body.Each("o", body.This()))),
					m("e", body.Empty()),
				),
			),
			`{}`,
			`{"x":null,"l":[],"e":{}}`,
		},
		{"the first of several", props(m("x", from("a", "b", "o.c"))), `{"o":{"c":3}}`, `{"x":3}`},
		{"the first that is given", props(m("x", from("a", "b").Given())), `{"a":"","b":"y"}`, `{"x":"y"}`},
		{
			"the first that is not blank",
			props(m("x", from("a", "b").Trim().Given())),
			`{"a":"  ","b":" y "}`,
			`{"x":"y"}`,
		},
		{
			"null",
			props(m("x", from("o.a")), m("y", from("o.a").NotNull()), m("z", from("o.a").Text())),
			`{"o":{"a":null}}`,
			`{"x":null}`,
		},
		{"else", props(m("x", from("a").Else(body.Const("none")))), `{}`, `{"x":"none"}`},
		{
			"constants",
			props(m("a", body.Const(1)), m("b", body.Const("<\"é")), m("c", body.Const([]int{1}))),
			`{}`,
			`{"a":1,"b":"<\"é","c":[1]}`,
		},
		{
			"settings",
			props(
				m("t", body.Setting("token")),
				m("f", body.Setting("flag")),
				m("o", body.Setting("off")),
				m("n", body.Setting("none")),
			),
			`{}`,
			`{"t":"t0","f":true}`,
		},
		{
			"texts",
			props(
				m("a", from("a").Text()),
				m("b", from("b").Lower()),
				m("c", from("b").Upper()),
				m("d", from("b").Cut(2)),
				m("e", from("b").Last(2)),
				m("f", from("b").Prefix("p ")),
				m("g", from("b").Replace("B", "-")),
				m("h", from("b").Suffix("!")),
			),
			`{"a":10,"b":"aBc"}`,
			`{"a":"10","b":"abc","c":"ABC","d":"aB","e":"Bc","f":"p aBc","g":"a-c","h":"aBc!"}`,
		},
		{
			"numbers",
			props(
				m("a", from("a").Number()),
				m("b", from("b").Number()),
				m("c", from("c").Integer()),
				m("d", from("d").Boolean()),
			),
			`{"a":"1.50","b":"x","c":"-3.9","d":"YES"}`,
			`{"a":1.5,"c":-3,"d":true}`,
		},
	}
}

func short(v event.Value) bool { return v.Len() < 2 }

func behind(text string) string { return string([]rune(text)[1:]) }

func length(dst []byte, v event.Value) []byte { return strconv.AppendInt(dst, int64(v.Len()), 10) }

func cases2() []bodyCase {
	m, from := body.Member, body.From
	props := func(ms ...body.Members) body.Node { return body.Object(ms...) }
	return []bodyCase{
		{
			"times",
			props(
				m("a", from("a").Seconds()),
				m("b", from("a").Millis()),
				m("c", from("a").ISO()),
				m("d", from("b").ISO()),
				m("e", from("c").ISO()),
				m("f", from("a").Layout("02.01.2006")),
				m("g", from("a").Time("date")),
			),
			`{"a":"2024-05-06T07:08:09.123Z","b":1714979289,"c":"soon"}`,
			`{"a":1714979289,"b":1714979289123,"c":"2024-05-06T07:08:09.123Z","d":"2024-05-06T07:08:09.000Z",` +
				`"f":"06.05.2024","g":"2024-05-06"}`,
		},
		{
			"now",
			props(m("a", body.Now().Seconds()), m("b", body.Now())),
			`{}`,
			`{"a":1717243200,"b":"2024-06-01T12:00:00.005Z"}`,
		},
		{
			"insert ids",
			props(m("a", body.InsertID()), m("b", body.EventID()), m("c", body.InsertID().UUID())),
			`{}`,
			`{"a":"m1","b":"m1","c":"ca0df2c9-5aa1-84c1-90ff-2ff3c8f967fd"}`,
		},
		{"the event", props(m("a", body.Event("context.ip"))), `{}`, `{"a":"1.2.3.4"}`},
		{
			"members below others", props(body.Within("x.y", body.Object(m("z", from("a")))), body.Within("v.w", from("b"))),
			`{"a":1}`, `{"x":{"y":{"z":1}}}`,
		},
		{
			"a member with a name of the event's", props(m("x", body.Pair("a", "o.b")), m("y", body.Pair("a", "o.c")),
				body.SpreadOf(body.Pair("a", "b"))), `{"a":"n\u00e9","b":[],"o":{"b":1}}`, `{"x":{"né":1},"né":[]}`,
		},
		{
			"at most",
			props(m("a", from("a").AtMost(3)), m("b", from("b").AtMost(3)), m("l", from("l").AtMost(2)),
				m("o", from("o").AtMost(0))),
			`{"a":"\u00e9\u00e9\u00e9","b":"four","l":["1","2"],"o":{"p":1}}`, `{"a":"\u00e9\u00e9\u00e9","l":["1","2"]}`,
		},
		{
			"rewritten", props(m("a", from("a").Rewritten("without its first letter", behind)),
				m("b", from("b").Rewritten("the same", behind)), m("c", from("c").Rewritten("the same", behind)),
				m("d", from("d").Rewritten("the same", behind))),
			`{"a":"\u00e9x\"","b":null,"c":123,"d":"x"}`, `{"a":"x\"","c":"23"}`,
		},
		{
			"every element",
			props(m("l", from("l").Every("short", short)), m("k", from("d").Every("short", short)),
				m("o", from("o").Every("short", short))),
			`{"l":["1","22"],"d":["1"],"o":{"a":"1"}}`, `{"k":["1"],"o":{"a":"1"}}`,
		},
		{
			"some of the members",
			props(body.When(body.Some(m("x", from("a").Given()), body.When(from("b"), m("y", body.First(from("c"), from("d"))))),
				m("some", body.Const(1))),
				body.When(body.Some(m("l", body.Each("l", body.This())), m("n", body.If(from("b"), from("a").Given()))),
					m("list", body.Const(1)))),
			`{"a":"","b":"x","d":1,"l":[]}`, `{"some":1}`,
		},
		{
			"some of a list",
			props(body.When(body.Some(m("l", body.Each("l", body.This().Trim().Given()))), m("l", body.Const(1))),
				body.When(body.Some(m("o", body.Each("o", body.This().Trim().Given()))), m("o", body.Const(1)))),
			`{"l":[" ",""],"o":[""," x "]}`, `{"o":1}`,
		},
		{
			"sums",
			props(m("a", from("a").Times(100).Round()), m("b", from("b").Round()), m("c", from("c").Times(2))),
			`{"a":1.256,"b":-2.5,"c":"3"}`, `{"a":126,"b":-2}`,
		},
		{
			"numbers of units since 1970",
			props(m("a", from("a").Epoch(time.Microsecond)), m("b", from("b").Epoch(time.Millisecond)),
				m("c", from("c").Epoch(time.Millisecond)), m("d", from("d").Epoch(time.Millisecond))),
			`{"a":"2024-05-06T07:08:09.123Z","b":"17","c":1.5,"d":"soon"}`, `{"a":1714979289123000,"b":17,"c":1.5}`,
		},
		{
			"at any depth",
			props(m("o", from("o").Deep("lengths", false, length)), m("p", from("o").Deep("lengths", true, length))),
			`{"o":{"a":["bb",{"c":"d"}],"e":{"f":null,"g":[]}}}`,
			`{"o":{"a":2,"e":{"f":0,"g":0}},"p":{"a":[2,{"c":1}],"e":{"f":0,"g":[]}}}`,
		},
		{
			"names among the values",
			props(m("l", body.EachOf(from("o").Pairs(), props(m("key", body.This("name").Upper()), m("v", body.This("value")),
				m("at", body.Outer("a"))))), m("p", from("o").Pairs()), m("a", from("a").Pairs())),
			`{"a":[{"x":1}],"o":{"x":"y","\u0069":null,"e":{"f":[1.50]}}}`,
			`{"l":[{"key":"X","v":"y","at":[{"x":1}]},{"key":"I","v":null,"at":[{"x":1}]},{"key":"E","v":{"f":[1.50]},` +
				`"at":[{"x":1}]}],"p":[{"name":"x","value":"y"},{"name":"\u0069","value":null},` +
				`{"name":"e","value":{"f":[1.50]}}]}`,
		},
		{
			"without depth",
			props(m("o", from("o").Flat(".")), body.SpreadOf(from("o").Flat("_")).Each(body.This().Text()),
				m("a", from("a").Flat("."))),
			`{"a":[1],"o":{"x":["y",{"z":1.50}],"e":{},"f":{"g":null,"h":{"\u0069":true}},"f.g":"last"}}`,
			`{"o":{"x.0":"y","x.1.z":1.50,"f.g":null,"f.h.\u0069":true,"f.g":"last"},` +
				`"x_0":"y","x_1_z":"1.50","f_h_\u0069":"true","f.g":"last"}`,
		},
		{
			"hashes",
			props(m("a", from("a").Hash("email")), m("b", from("b").Hash("email")), m("c", from("a").Normal("email"))),
			`{"a":" A@B.c ","b":["x@y.z",""," "]}`,
			`{"a":"` + sum("a@b.c") + `","b":["` + sum("x@y.z") + `"],"c":"a@b.c"}`,
		},
		{
			"a format",
			props(m("a", body.Format("{a} of {settings.region}/{o.b}")), m("b", body.Format("{c}!"))),
			`{"a":1,"o":{"b":"x"}}`,
			`{"a":"1 of eu/x"}`,
		},
		{
			"spread",
			props(m("a", from("b")), body.Spread("o", "omitted")),
			`{"b":1,"o":{"a":2,"omitted":3,"c":4}}`,
			`{"a":1,"c":4}`,
		},
		{"spread without what is not written", props(body.Spread("o"), m("a", from("b"))), `{"o":{"a":2}}`, `{"a":2}`},
		{
			"spread that wins",
			props(m("a", from("b")), m("id", from("b")), body.Spread("o").Wins("id")),
			`{"b":1,"o":{"a":2,"id":3}}`,
			`{"id":1,"a":2}`,
		},
		{
			"a later spread",
			props(body.Spread("o"), body.Spread("p")),
			`{"o":{"a":1,"b":2},"p":{"a":3}}`,
			`{"b":2,"a":3}`,
		},
		{
			"spread with other values",
			props(body.Spread("o").Each(body.This().Number())),
			`{"o":{"a":"1","b":"x","c":2}}`,
			`{"a":1,"c":2}`,
		},
		{"spread with other names", props(body.Spread("o").Renamed(strings.ToUpper)), `{"o":{"a":1}}`, `{"A":1}`},
		{"all fields", props(body.Fields("b"), m("c", from("b"))), `{"a":1,"b":2,"c":3}`, `{"a":1,"c":2}`},
		{"the payload", body.Payload(), `{"a":1,"b":{"c":2}}`, `{"a":1,"b":{"c":2}}`},
		{
			"each",
			props(
				m(
					"l",
					body.Each("l", props(m("id", body.This("sku")), m("cur", body.Outer("a")), m("n", body.Index()))),
				),
			),
			`{"a":"EUR","l":[{"sku":"s1"},{"sku":"s2"}]}`,
			`{"l":[{"id":"s1","cur":"EUR","n":0},{"id":"s2","cur":"EUR","n":1}]}`,
		},
	}
}

func cases3() []bodyCase {
	m, from := body.Member, body.From
	props := func(ms ...body.Members) body.Node { return body.Object(ms...) }
	return []bodyCase{
		{"each of nothing", props(m("l", body.Each("l", body.This("sku")))), `{"l":[{"x":1}]}`, ``},
		{"a list", props(m("l", body.List(from("a"), from("b"), body.Const(3)))), `{"b":2}`, `{"l":[2,3]}`},
		{
			"when",
			props(
				body.When(from("a").Is("x"), m("is", body.Const(true))),
				body.When(body.Not(from("a").Is("x", "y")), m("other", body.Const(true))),
			),
			`{"a":"z"}`,
			`{"other":true}`,
		},
		{
			"conditions",
			props(
				m("x", body.If(body.All(body.Has("a", "b"), body.Any(from("c"), body.Setting("flag"))), body.Const(1))),
			),
			`{"a":1,"b":2}`,
			`{"x":1}`,
		},
		{
			"first",
			props(
				m(
					"x",
					body.First(
						body.If(from("a"), body.Const("a")),
						body.If(from("b"), body.Const("b")),
						body.Const("c"),
					),
				),
			),
			`{"b":1}`,
			`{"x":"b"}`,
		},
		{
			"join, wrap, json",
			props(m("a", from("a").Join(",")), m("b", from("b").Wrapped()), m("c", from("o").JSON())),
			`{"a":["x","y"],"b":1,"o":{"k":"v"}}`,
			`{"a":"x,y","b":[1],"c":"{\"k\":\"v\"}"}`,
		},
		{
			"a table",
			props(
				m("a", from("a").Lookup(map[string]string{"x": "y"})),
				m("b", from("b").Lookup(map[string]string{"x": "y"})),
			),
			`{"a":"x","b":"z"}`,
			`{"a":"y"}`,
		},
		{"a function", props(m("a", from("a").As("twice", func(dst []byte, v event.Value, c *body.Context) []byte {
			if v.Kind() != event.String {
				return dst
			}
			return event.AppendQuoted(dst, v.Text()+v.Text()+c.Field("b").Text())
		}))), `{"a":"x","b":"y"}`, `{"a":"xxy"}`},
		{
			"questions",
			props(
				m("a", from("a").Matches(`^\d+$`)),
				m("b", from("b").Matches(`^\d+$`)),
				m("c", from("b").IsText()),
				m("d", from("b").IsNumber()),
				m("e", from("o").NotEmpty()),
				m("f", from("b").IsTime()),
				m("g", from("a").Contains("2")),
				m("h", from("a").Contains("3")),
			),
			`{"a":"12","b":"x","o":{}}`,
			`{"a":"12","c":"x","g":"12"}`,
		},
	}
}

func sum(s string) string {
	b := jsonval.AppendHash(nil, []byte(s))
	return string(b[1 : len(b)-1])
}

func TestBodies(t *testing.T) {
	sc := scope("a", "b", "c", "d", "o", "p", "l")
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			p, err := sc.Bind(c.node)
			if err != nil {
				t.Fatal(err)
			}
			var r payload.Resolver
			var s body.Scratch
			in := input(t, sc, &r, c.properties)
			for name, write := range map[string]func(*body.Scratch, *body.Input, []byte) ([]byte,
				bool){"interpreted": p.Interpret, "compiled": p.Append} {
				got, ok := write(&s, in, []byte("before "))
				if got := strings.TrimPrefix(string(got), "before "); got != c.want || ok != (c.want != "") {
					t.Errorf("%s %v %s, want %s", name, ok, got, c.want)
				}
			}
		})
	}
}

// TestUnknownNames: what a name in a body stands for is checked when it is bound.
func TestUnknownNames(t *testing.T) {
	sc := body.Scope{
		Fields:   []payload.Field{{Key: "email"}, {Key: "user", Properties: []payload.Field{{Key: "id"}}}},
		Settings: map[string]any{"token": "x"},
		Stamp:    "token",
	}
	for _, c := range []struct {
		node body.Node
		want string
	}{
		{body.Object(body.Same("emial")), `there is no field "emial"; is it email?`},
		{body.Object(body.Same("email"), body.Member("x", body.From("user.ids"))), `there is no field "user.ids"`},
		{body.Object(body.Member("x", body.Setting("tokn"))), `there is no setting "tokn"; is it token?`},
		{body.Object(body.Member("x", body.This("a"))), `stands in no Each`},
		{body.Object(body.Member("x", body.From("email").Time("unix"))), `"unix" is no format of times`},
		{body.Object(body.Member("x", body.From("email").Hash("mail"))), `"mail" is no normal form`},
		{body.Object(body.Member("x", body.Setting("token").Lower())), `the setting token is the stamp`},
		{body.Object(body.Member("x", body.Items(body.Const(1))), body.Member("y", body.Items(body.Const(1)))),
			`Items once`},
		{nil, `a node is nil`},
	} {
		if _, err := sc.Bind(c.node); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// TestPaths puts values into the path of a request, each so that it stays one part of it.
func TestPaths(t *testing.T) {
	sc := scope("a", "b")
	for _, c := range []struct{ path, properties, want, lacks string }{
		{"/x", `{}`, "/x", ""},
		{"/{settings.region}/x", `{}`, "/eu/x", ""},
		{"/users/{a}", `{"a":"a/b?c"}`, "/users/a%2Fb%3Fc", ""},
		{"/users/{a}?id={b}", `{"a":1,"b":"x y&z"}`, "/users/1?id=x+y%26z", ""},
		{"/users/{a}", `{}`, "", "a"},
		{"/users/{a}/x", `{"a":".."}`, "", "a"},
	} {
		p, err := sc.BindPath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		var r payload.Resolver
		var s body.Scratch
		if got, lacks := p.Append(&s, input(t, sc, &r, c.properties)); got != c.want || lacks != c.lacks {
			t.Errorf("%s of %s: %q %q, want %q %q", c.path, c.properties, got, lacks, c.want, c.lacks)
		}
	}
}

// TestRewrittenOften: what a function makes of a text is remembered of some texts. More than there is room for, and
// long ones, come out the same, the second time, too, though the event's memory has been used again.
func TestRewrittenOften(t *testing.T) {
	calls := 0
	n := body.Object(body.Member("a", body.From("a").Rewritten("reversed", func(text string) string {
		calls++
		b := []byte(text)
		slices.Reverse(b)
		return string(b)
	})))
	p, err := body.Scope{Fields: []payload.Field{{Key: "a", Type: payload.TypeString}}}.Bind(n)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := payload.Compile([]payload.Field{{Key: "a", Type: payload.TypeString, Default: mapping.Path("$.a")}},
		mapping.Value{})
	if err != nil {
		t.Fatal(err)
	}
	var s body.Scratch
	var r payload.Resolver
	var raw []byte
	write := func(text string) {
		raw = append(event.AppendQuoted(append(raw[:0], `{"a":`...), text), '}')
		v, err := event.ParseValue(raw)
		if err != nil {
			t.Fatal(err)
		}
		in, err := prog.Run(&r, v)
		if err != nil {
			t.Fatal(err)
		}
		want := []byte(text)
		slices.Reverse(want)
		got, _ := p.Append(&s, &body.Input{Event: v, Payload: in}, nil)
		if string(got) != `{"a":"`+string(want)+`"}` {
			t.Fatalf("%s: %s", text, got)
		}
	}
	for range 2 {
		for i := range 5000 {
			write(fmt.Sprint(i, strings.Repeat("x", i/20)))
		}
	}
	before := calls
	for range 100 {
		write("purchase")
		write("page")
	}
	if calls -= before; calls > 2 {
		t.Errorf("two texts were rewritten %d times", calls)
	}
}

// TestFlatIsBounded: names that lie deep are long, and many of them would be longer than memory. Nothing is lost.
func TestFlatIsBounded(t *testing.T) {
	deep, end := "", ""
	for range 900 {
		deep, end = deep+`{"`+strings.Repeat("n", 1000)+`":`, end+"}"
	}
	leaves := make([]string, 5000)
	for i := range leaves {
		leaves[i] = fmt.Sprintf(`"k%d":"leaf%d"`, i, i)
	}
	text := `{"o":` + deep + `{` + strings.Join(leaves, ",") + `}` + end + `}`
	sc := scope("o")
	p, err := sc.Bind(body.From("o").Flat("."))
	if err != nil {
		t.Fatal(err)
	}
	var r payload.Resolver
	in := input(t, sc, &r, text)
	var s body.Scratch
	out, ok := p.Append(&s, in, nil)
	if most := len(text) + 4<<20; !ok || len(out) > most || !bytes.Contains(out, []byte(`"leaf4999"`)) {
		t.Errorf("%d bytes, where %d are enough; the last leaf is there: %v", len(out), most,
			bytes.Contains(out, []byte(`"leaf4999"`)))
	}
}

// TestRecallAfterPanic: a function that has panicked has no result, so it is called again, and says the same again.
func TestRecallAfterPanic(t *testing.T) {
	n := body.From("a").As("what is recalled", func(dst []byte, v event.Value, c *body.Context) []byte {
		return append(dst, *body.Recall(c, v, notOdd)...)
	})
	var s body.Scratch
	var r payload.Resolver
	write := func(text string) (out string) {
		defer func() {
			if p := recover(); p != nil {
				out = fmt.Sprint("panic: ", p)
			}
		}()
		sc := scope("a")
		p, err := sc.Bind(n)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := p.Append(&s, input(t, sc, &r, `{"a":"`+text+`"}`), nil)
		return string(got)
	}
	for range 2 { // at once, and after another one
		for _, text := range []string{"odd", "odd", "even", "even"} {
			want := `"even"`
			if text == "odd" {
				want = "panic: odd"
			}
			if got := write(text); got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
	}
}

// notOdd is the text in quotes.
func notOdd(text string) *string {
	if text == "odd" {
		panic(text)
	}
	text = strconv.Quote(text)
	return &text
}
