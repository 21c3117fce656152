package field

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fanfold/fanfold/pkg/payload"
)

// The words of a line come to the mapping that a user would have written.
func TestMappings(t *testing.T) {
	for name, c := range map[string]struct {
		line Line
		want string
	}{
		"a path": {Text("a").From("$.userId"), `{"@path":"$.userId"}`},
		"the first of two": {AnyID("a"),
			`{"@if":{"exists":{"@path":"$.userId"},"then":{"@path":"$.userId"},"else":{"@path":"$.anonymousId"}}}`},
		"or a constant": {Text("a").From("$.s").Else("x"),
			`{"@if":{"exists":{"@path":"$.s"},"then":{"@path":"$.s"},"else":"x"}}`},
		"a constant": {Text("a").From("$.s").Always(7), `7`},
		"a text":     {Text("a").Template("{{event}}!"), `{"@template":"{{event}}!"}`},
		"some paths": {Texts("a = userId, context.traits.id")[0],
			`{"@if":{"exists":{"@path":"$.userId"},"then":{"@path":"$.userId"},"else":{"@path":"$.context.traits.id"}}}`},
		"below two objects": {Together(Texts("a = .b.c"), Text("x")).Below("$.traits", "$.properties")[0],
			`{"@if":{"exists":{"@path":"$.traits.b.c"},"then":{"@path":"$.traits.b.c"},"else":{"@path":"$.properties.b.c"}}}`},
		"none any more":    {Text("a").From("$.s").Unmapped(), ``},
		"of its members":   {Object("a", Text("b").From("$.b"), Text("c")), `{"b":{"@path":"$.b"}}`},
		"members unmapped": {Object("a", Text("b")), ``},
		"the whole": {Object("a", Text("b").From("$.b")).From("$.traits"),
			`{"@path":"$.traits"}`},
		"one for each": {Products("items", Text("id").From("product_id"), Number("n").From("quantity")),
			`{"@arrayPath":["$.properties.products",{"id":{"@path":"product_id"},"n":{"@path":"quantity"}}]}`},
	} {
		f := c.line.Fields()[0]
		if c.want == "" {
			if !f.Default.IsZero() {
				t.Errorf("%s: %s, want none", name, f.Default)
			}
			continue
		}
		var got, want any
		if err := json.Unmarshal([]byte(f.Default.String()), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(name, err)
		}
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		if string(g) != string(w) {
			t.Errorf("%s: %s, want %s", name, g, w)
		}
	}
}

// What makes a field required is a condition on others.
func TestRequired(t *testing.T) {
	for want, line := range map[string]Line{
		`any of: name false "a"; name false "b";`: Text("x").RequiredWhen("name", "a", "b"),
		`all of: other true null;`:                Text("x").RequiredWith("other"),
		`all of: other true true;`:                Text("x").RequiredUntil("other", true),
		`all of: y false null; z false null;`:     Text("x").RequiredUnless("y", "z"),
	} {
		c := line.Fields()[0].RequiredIf
		got := "any of:"
		if c.All {
			got = "all of:"
		}
		for _, test := range c.Tests {
			got += fmt.Sprint(" ", test.Field, " ", test.Not, " ", test.Value, ";")
		}
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A line never changes: what is made of it is another.
func TestLinesAreValues(t *testing.T) {
	plain := Text("a")
	_ = plain.Required().Email().From("$.x").OneOf("b").List().Called("z").Doc("d").AtMost(3).Nullable()
	if f := plain.Fields()[0]; f.Required || f.Format != "" || !f.Default.IsZero() || f.Choices != nil || f.Multiple ||
		f.Key != "a" || f.Doc != "" || f.Maximum != 0 || f.AllowNull {
		t.Errorf("a line was changed: %+v", f)
	}
	ls := Texts("a = context.os.name", "b")
	_ = ls.Below("$.properties")
	_ = ls.With(func(l Line) Line { return l.Required() })
	if fs := ls.Fields(); fs[0].Required || !fs[1].Default.IsZero() {
		t.Errorf("lines were changed: %+v", fs)
	}
}

func TestPlurals(t *testing.T) {
	fields := Of(
		Texts("os = context.os.name", "city").Below("$.properties"),
		Numbers("price").Below(""),
		Booleans("subscribed"),
		Together(Text("x"), Campaign("")),
	)
	want := []struct {
		key  string
		typ  payload.Type
		path string
	}{
		{"os", payload.TypeString, `{"@path":"$.context.os.name"}`},
		{"city", payload.TypeString, `{"@path":"$.properties.city"}`},
		{"price", payload.TypeNumber, `{"@path":"price"}`}, {"subscribed", payload.TypeBoolean, ""},
		{"x", payload.TypeString, ""},
		{"utm_source", payload.TypeString, `{"@path":"$.context.campaign.source"}`},
	}
	if len(fields) != 10 {
		t.Errorf("%d fields", len(fields))
	}
	for i, w := range want {
		f, got := fields[i], ""
		if !fields[i].Default.IsZero() {
			got = fields[i].Default.String()
		}
		if f.Key != w.key || f.Type != w.typ || got != w.path {
			t.Errorf("field %d: %s %v %s, want %v", i, f.Key, f.Type, got, w)
		}
	}
}

func TestCurrencies(t *testing.T) {
	for code, want := range map[string]bool{"EUR": true, "usd": true, "Jpy": true, "BTC": false, "EU": false, "": false,
		" EU": false, "R B": false, "EURO": false, "D A": false, "UR ": false} {
		if IsCurrency(code) != want {
			t.Errorf("%q: %v", code, !want)
		}
	}
}
