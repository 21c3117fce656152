package mapping

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

func TestOwnDirectives(t *testing.T) {
	sha := func(s string) string { return string(jsonval.AppendHash(nil, []byte(s))) }
	for _, c := range []struct{ mapping, event, want string }{
		{`{"@first":[{"@path":"$.a"},{"@path":"$.b"},{"@path":"$.c"}]}`, `{"a":"","b":[ ],"c":0}`, `0`},
		{`{"@first":[{"@path":"$.a"},null,{},"x"]}`, `{"a":null}`, `"x"`},
		{`{"@first":[]}`, `{}`, `undefined`},

		{`{"@pairs":{"value":{"@path":"$.a"}}}`, `{"a":[{"key":"s","value":{"string_value":"x","int_value":null}},` +
			`{"key":"i","value":{"string_value":null,"int_value":"9007199254740993","set_timestamp_micros":"1"}},` +
			`{"key":"z","value":{"int_value":"007"}},{"key":"d","value":{"double_value":1.50}},{"key":"o","value":{"b":1}},` +
			`{"key":"e","value":{"string_value":null}},{"value":1},5,{"name":"n","value":[1]},{"key":"s","value":"last"}]}`,
			`{"s":"last","i":9007199254740993,"z":"007","d":1.50,"o":{"b":1},"n":[1]}`},
		{`{"@pairs":{"value":{"@path":"$.a"}}}`, `{"a":{"b":1}}`, `{"b":1}`},
		{`{"@pairs":{"value":{"@path":"$.a"}}}`, `{"a":[]}`, `undefined`},
		{`{"@after":{"value":{"@path":"$.a"},"prefix":"d:"}}`, `{"a":"d:\u00e9"}`, `"é"`},
		{`{"@values":{"value":{"@path":"$.a"}}}`, `{"a":{"b":[1,[2]],"c":{"d":3},"e":null}}`, `[1,[2],{"d":3},null]`},
		{`{"@values":{"value":{"@path":"$.a"}}}`, `{"a":"x"}`, `undefined`},
		{`{"@after":{"value":{"@path":"$.a"},"prefix":"d:"}}`, `{"a":"d:"}`, `undefined`},
		{`{"@omit":{"value":{"@path":"$."},"keys":["a","x_*"]}}`, `{"a":1,"x_1":2,"b":3,"x":4}`, `{"b":3,"x":4}`},
		{`{"@pick":{"value":{"@path":"$."},"keys":["a","x_*"]}}`, `{"a":1,"x_1":2,"b":3}`, `{"a":1,"x_1":2}`},
		{`{"@after":{"value":{"@path":"$.a"},"prefix":"d:"}}`, `{"a":"x"}`, `undefined`},
		{`{"@unless":{"value":{"@path":"$.a"},"prefix":"d:"}}`, `{"a":"d:1"}`, `undefined`},
		{`{"@unless":{"value":{"@path":"$.a"},"equals":{"@path":"$.b"}}}`, `{"a":"\u0031","b":"1"}`, `undefined`},
		{`{"@unless":{"value":{"@path":"$.a"},"equals":{"@path":"$.b"},"prefix":"d:"}}`, `{"a":5,"b":"5"}`, `5`},
		{`{"@unless":{"value":{"@path":"$.a"}}}`, `{}`, `undefined`},
		{`{"@members":{"value":{"@path":"$."},"prefix":"c_"}}`, `{"c_a":1,"c_":2,"x":3,"c_b":null,"c_d":{"e":[4]}}`,
			`{"a":1,"d":{"e":[4]}}`},
		{`{"@members":{"value":{"@path":"$."},"prefix":"c_","open":true}}`, `{"c_a":{"p":1},"c_b":[{"q":2},{"p":3}],"c_c":4}`,
			`{"p":3,"q":2}`},
		{`{"@members":{"value":{"@path":"$."},"prefix":"d_"}}`, `{"c_a":1}`, `undefined`},
		{`{"@described":{"value":{"@path":"$.a"}}}`, `{"a":"{\"schema\":\"iglu:com.snow/contexts/jsonschema/1-0-0\",` +
			`\"data\":[{\"schema\":\"iglu:org.w3/PerformanceTiming/jsonschema/1-0-0\",\"data\":{\"n\":1}},` +
			`{\"schema\":\"iglu:org.w3/PerformanceTiming/jsonschema/1-0-0\",\"data\":{\"n\":2}}]}"}`,
			`{"org_w3_performance_timing_1":[{"n":1},{"n":2}]}`},
		{`{"@described":{"value":{"@path":"$.a"}}}`, `{"a":{"schema":"iglu:com.snow/unstruct_event/jsonschema/1-0-0",` +
			`"data":{"schema":"iglu:com.snow/link_click/jsonschema/2-0-1","data":{"url":"x"}}}}`,
			`{"com_snow_link_click_2":{"url":"x"}}`},
		{`{"@described":{"value":{"@path":"$.a"},"open":true}}`,
			`{"a":{"schema":"iglu:com.snow/unstruct_event/jsonschema/1-0-0",` +
				`"data":{"schema":"iglu:com.snow/link_click/jsonschema/2-0-1","data":{"url":"x"}}}}`, `{"url":"x"}`},
		{`{"@described":{"value":{"@path":"$.a"}}}`, `{"a":"no JSON"}`, `undefined`},
		{`{"@described":{"value":{"@path":"$.a"}}}`, `{"a":{"schema":"iglu:a/b","data":1}}`, `undefined`},
		{`{"@text":{"value":{"@path":"$.a"}}}`, `{"a":12345678901234567890}`, `"12345678901234567890"`},
		{`{"@text":{"value":{"@path":"$.a"}}}`, `{"a":1.50}`, `"1.5"`},
		{`{"@text":{"value":{"@path":"$.a"}}}`, `{"a":{"b" : [1]}}`, `"{\"b\":[1]}"`},
		{`{"@text":{"value":{"@path":"$.a"}}}`, `{"a":"\u00e9"}`, `"\u00e9"`},
		{`{"@text":{"value":{"@path":"$.a"}}}`, `{"a":null}`, `undefined`},

		{`{"@number":{"value":{"@path":"$.a"}}}`, `{"a":" 42.50 "}`, `42.5`},
		{`{"@number":{"value":{"@path":"$.a"}}}`, `{"a":"12345678901234567890"}`, `12345678901234567890`},
		{`{"@number":{"value":{"@path":"$.a"}}}`, `{"a":"12 apples"}`, `undefined`},
		{`{"@number":{"value":{"@path":"$.a"}}}`, `{"a":"  "}`, `undefined`},
		{`{"@number":{"value":{"@path":"$.a"}}}`, `{"a":"Infinity"}`, `undefined`},
		{`{"@number":{"value":{"@path":"$.a"}}}`, `{"a":true}`, `1`},
		{`{"@number":{"value":{"@path":"$.a"},"as":"integer"}}`, `{"a":-3.9}`, `-3`},
		{`{"@number":{"value":{"@path":"$.a"},"as":"integer"}}`, `{"a":-0.5}`, `0`},
		{`{"@number":{"value":{"@path":"$.a"},"as":"integer"}}`, `{"a":12345678901234567890}`, `12345678901234567890`},
		{`{"@number":{"value":{"@path":"$.a"},"as":"cents"}}`, `{"a":19.99}`, `1999`},
		{`{"@number":{"value":{"@path":"$.a"},"as":"cents"}}`, `{"a":"1.005"}`, `100`},
		{`{"@number":{"value":{"@path":"$.a"},"as":"cents"}}`, `{"a":1e308}`, `undefined`},

		{`{"@boolean":{"value":{"@path":"$.a"}}}`, `{"a":" NO "}`, `false`},
		{`{"@boolean":{"value":{"@path":"$.a"}}}`, `{"a":2}`, `undefined`},
		{`{"@boolean":{"value":{"@path":"$.a"}}}`, `{"a":"maybe"}`, `undefined`},

		{`{"@time":{"value":{"@path":"$.a"},"format":"iso"}}`, `{"a":"2024-05-06T09:08:09.1+02:00"}`,
			`"2024-05-06T07:08:09.100Z"`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"seconds"}}`, `{"a":"1714979289123"}`, `1714979289`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"fraction"}}`, `{"a":1714979289120}`, `1714979289.12`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"fraction"}}`, `{"a":1714979289}`, `1714979289`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"micros"}}`, `{"a":1714979289}`, `1714979289000000`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"nanos"}}`, `{"a":1714979289}`, `1714979289000000000`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"rfc3339"}}`, `{"a":"2024-05-06"}`, `"2024-05-06T00:00:00Z"`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"datetime"}}`, `{"a":1714979289}`, `"2024-05-06 07:08:09"`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"day"}}`, `{"a":1714979289}`, `"20240506"`},
		{`{"@time":{"value":{"@template":"{{a}}"},"format":"DATE"}}`, `{"a":1714979289}`, `"2024-05-06"`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"iso"}}`, `{"a":"soon"}`, `undefined`},
		{`{"@time":{"value":{"@path":"$.a"},"format":"iso"}}`, `{"a":null}`, `undefined`},

		{`{"@hash":{"value":{"@path":"$.a"}}}`, `{"a":"A b"}`, sha("A b")},
		{`{"@hash":{"value":{"@path":"$.a"},"as":"email"}}`, `{"a":["A@B.c",null,""," d@e.f "]}`,
			"[" + sha("a@b.c") + "," + sha("d@e.f") + "]"},
		{`{"@hash":{"value":{"@path":"$.a"},"as":"email"}}`, `{"a":[null]}`, `undefined`},
		{`{"@hash":{"value":{"@path":"$.a"},"as":"email"}}`,
			`{"a":"B5FC85E55755F9E0D030A10AB4429B6B2944855F9A0D60077FE832BECBC41D72"}`,
			`"b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72"`},
		{`{"@hash":{"value":{"@path":"$.a"},"as":"phone","country":{"@path":"$.c"}}}`, `{"a":"030 1234567","c":"de"}`,
			sha("+49301234567")},
		{`{"@hash":{"value":{"@path":"$.a"},"as":"gender"}}`, `{"a":"unknown"}`, `undefined`},
		{`{"@hash":{"value":{"@path":"$.a"}}}`, `{"a":{}}`, `undefined`},
		{`{"@hash":{"value":{"@path":"$.a"}}}`, `{"a":5}`, sha("5")},

		{`{"@join":{"values":["a",null,{"@path":"$.x"},["b","",3]],"separator":", "}}`, `{}`, `"a, b, 3"`},
		{`{"@join":{"values":[null,""]}}`, `{}`, `undefined`},

		{`{"@lookup":{"value":{"@path":"$.a"},"table":{"1":"one","true":"yes"}}}`, `{"a":1}`, `"one"`},
		{`{"@lookup":{"value":{"@path":"$.a"},"table":{"1":"one"}}}`, `{"a":2}`, `undefined`},
		{`{"@lookup":{"value":{"@path":"$.a"},"table":{"Ab":{"@path":"$.b"}},"ignorecase":true,"else":9}}`,
			`{"a":"AB","b":7}`, `7`},
		{`{"@lookup":{"value":{"@path":"$.a"},"table":{},"else":9}}`, `{}`, `9`},

		{`{"@keys":{"value":{"@path":"$"},"case":"camel"}}`,
			`{"$":{"order_id":1,"Two Words":{"in_side":2},"HTTPServer":3,"--":4}}`,
			`{"orderId":1,"twoWords":{"in_side":2},"httpServer":3,"--":4}`},
		{`{"@keys":{"value":{"@path":"$"},"case":"title","deep":true}}`, `{"$":{"order_id":[{"item2Name":1}]}}`,
			`{"Order Id":[{"Item2 Name":1}]}`},
		{`{"@keys":{"value":{"@path":"$"},"case":"snake"}}`, `{"$":{"aB":1,"a_b":2}}`, `{"a_b":2}`},
		{`{"@keys":{"value":{"@path":"$"},"case":"kebab"}}`, `{"$":"text"}`, `"text"`},
		{`{"@rename":{"value":{"@path":"$.o"},"keys":{"a":"b","x":"y"}}}`, `{"o":{"a":1,"b":2}}`, `{"b":2}`},
		{`{"@pick":{"value":{"@path":"$.o"},"keys":["b","a"]}}`, `{"o":{"a":1.0,"\u0062":2,"c":3}}`, `{"a":1.0,"b":2}`},
		{`{"@omit":{"value":{"@path":"$.o"},"keys":["b"]}}`, `{"o":{"a":1,"b":2,"c":3}}`, `{"a":1,"c":3}`},
		{`{"@compact":{"value":{"@path":"$.o"}}}`, `{"o":{"a":{"b":[null,{}]}}}`, `undefined`},
		{`{"@compact":{"value":{"@path":"$.o"}}}`, `{"o":{"a":{"b":[null,{},false]},"c":""}}`, `{"a":{"b":[false]}}`},

		{`{"@cut":{"value":{"@path":"$.a"},"bytes":3}}`, `{"a":"aé€"}`, `"aé"`},
		{`{"@cut":{"value":{"@path":"$.a"},"bytes":3}}`, `{"a":"a\u00e9"}`, `"a\u00e9"`},
		{`{"@cut":{"value":{"@path":"$.a"},"bytes":1}}`, `{"a":"é"}`, `""`},
		{`{"@cut":{"value":{"@path":"$.a"},"bytes":2,"more":"... {n} more"}}`, `{"a":"abcdef"}`, `"ab"`},
		{`{"@cut":{"value":{"@path":"$.a"},"bytes":8,"more":"+{n}"}}`, `{"a":"aaaaaaaaaaaaaaa"}`, `"aaaaaa+9"`},
		{`{"@cut":{"value":{"@path":"$.a"},"bytes":2}}`, `{"a":12345}`, `12345`},
		{`{"@limit":{"value":{"@path":"$.a"},"items":2}}`, `{"a":[1, 2 ,3]}`, `[1,2]`},
		{`{"@limit":{"value":{"@path":"$.a"},"items":2}}`, `{"a":{"a":1,"b":2,"c":3}}`, `{"a":1,"b":2}`},
		{`{"@limit":{"value":{"@path":"$.a"},"items":0,"more":"x"}}`, `{"a":[1]}`, `[]`},
		{`{"@limit":{"value":{"@path":"$.a"},"items":1,"more":"{n}"}}`, `{"a":[1,2]}`, `["2"]`},
		{`{"@limit":{"value":{"@path":"$.a"},"items":5,"more":"x"}}`, `{"a":[1]}`, `[1]`},
	} {
		out, defined, err := resolveTwice([]byte(c.mapping), []byte(c.event))
		if err != nil {
			t.Errorf("%s: %v", c.mapping, err)
			continue
		}
		got := string(out)
		if !defined {
			got = "undefined"
		}
		if got != c.want {
			t.Errorf("%s on %s\nwant %s\ngot  %s", c.mapping, c.event, c.want, got)
		}
	}
}

func TestNormalForms(t *testing.T) {
	for _, c := range []struct{ as, in, country, want string }{
		{"email", " Foo.Bar+x@Example.COM\n", "", "foo.bar+x@example.com"},
		{"email_dotless", "Foo.Bar@GMail.com", "", "foobar@gmail.com"},
		{"email_dotless", "Foo.Bar@example.com", "", "foo.bar@example.com"},
		{"phone", "+1 (650) 555-1212", "", "+16505551212"},
		{"phone", "(650) 555-1212", "US", "+16505551212"},
		{"phone", "1-650-555-1212", "us", "+16505551212"},
		{"phone", "650.555.1212 ext. 42", "CA", "+16505551212"},
		{"phone", "001 650 555 1212", "DE", "+16505551212"},
		{"phone", "0171/2345678", "DE", "+491712345678"},
		{"phone", "49 171 2345678", "DE", "+491712345678"},
		{"phone", "+44 (0)20 7946 0958", "", "+442079460958"},
		{"phone", "020 7946 0958", "UK", "+442079460958"},
		{"phone", "06 12 34 56 78", "FR", "+33612345678"},
		{"phone", "33612345678", "FR", "+33612345678"},
		{"phone", "06 1234 5678", "IT", "+390612345678"},
		{"phone", "391 234 5678", "IT", "+393912345678"},
		{"phone", "8 (912) 345-67-89", "RU", "+79123456789"},
		{"phone", "12 34 56 78", "DK", "+4512345678"},
		{"phone", "45 12 34 56 78", "DK", "+4512345678"},
		{"phone", "98765 43210", "IN", "+919876543210"},
		{"phone", "6505551212", "", "+6505551212"},
		{"phone", "tel:+16505551212", "", "+16505551212"},
		{"phone", "１６５０５５５１２１２", "US", "+16505551212"},
		{"phone", "123", "US", ""},
		{"phone", "none", "US", ""},
		{"phone", "12345678901234567890", "", ""},
		{"phone_digits", "+1 650 555 1212", "", "16505551212"},
		{"name", "  Mary-Jane  O'Neil ", "", "maryjane oneil"},
		{"name", "Ångström", "", "ångström"},
		{"city", "St. John's", "", "stjohns"},
		{"city", "São Paulo", "", "sãopaulo"},
		{"state", "California", "", "ca"},
		{"state", "New York", "", "ny"},
		{"state", "TX", "", "tx"},
		{"state", "Bayern", "", "bayern"},
		{"zip", "94035-1234", "", "94035"},
		{"zip", " SW1A 1AA ", "", "sw1a1aa"},
		{"country", "USA", "", "us"},
		{"country", "DEU", "", "de"},
		{"country", "United Kingdom", "", "gb"},
		{"country", "UK", "", "gb"},
		{"country", "Deutschland", "", "de"},
		{"country", "Atlantis", "", "atlantis"},
		{"gender", "Female", "", "f"},
		{"gender", "M", "", "m"},
		{"gender", "other", "", ""},
		{"birthdate", "1990-02-28", "", "19900228"},
		{"birthdate", "2/28/1990", "", "19900228"},
		{"birthdate", "28.02.1990", "", "19900228"},
		{"birthdate", "19900228", "", "19900228"},
		{"birthdate", "1990-02-28T10:00:00Z", "", "19900228"},
		{"birthdate", "02/30/1990", "", ""},
		{"birthdate", "unknown", "", ""},
		{"text", "  MiXed ", "", "mixed"},
		{"", "  MiXed ", "", "  MiXed "},
		{"email", "   ", "", ""},
	} {
		if got := string(jsonval.AppendNormal(nil, c.as, []byte(c.in), c.country)); got != c.want {
			t.Errorf("%s of %q (%s): want %q, got %q", c.as, c.in, c.country, c.want, got)
		}
	}
}

// The Go constructors build the documents that the JSON front door reads.
func TestConstructors(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{Path("$.a"), `{"@path":"$.a"}`},
		{Template("{{a}}"), `{"@template":"{{a}}"}`},
		{Literal(map[string]any{"a": 1.5}), `{"a":1.5}`},
		{Literal("x\n"), `"x\n"`},
		{Literal(true), `true`},
		{If(Path("a"), Path("a"), Value{}), `{"@if":{"exists":{"@path":"a"},"then":{"@path":"a"}}}`},
		{Object(M("a", Literal(1)), M("b", Value{}), M("a", Literal(2))), `{"a":2}`},
		{Array(Literal(1), Value{}), `[1,null]`},
		{ArrayPath("$.a", Object(M("b", Path("c")))), `{"@arrayPath":["$.a",{"b":{"@path":"c"}}]}`},
		{ArrayPath("$.a", Value{}), `{"@arrayPath":["$.a"]}`},
		{Flatten(Path("a"), ".", true), `{"@flatten":{"value":{"@path":"a"},"separator":".","omitArrays":true}}`},
		{Upper(Path("a")), `{"@case":{"operator":"upper","value":{"@path":"a"}}}`},
		{Join(",", Path("a"), Literal("b")), `{"@join":{"values":[{"@path":"a"},"b"],"separator":","}}`},
		{KeyCase("snake", true, Path("a")), `{"@keys":{"value":{"@path":"a"},"case":"snake","deep":true}}`},
		{Compact(Path("a")), `{"@compact":{"value":{"@path":"a"}}}`},
		{Limit(5, "{n}", Path("a")), `{"@limit":{"value":{"@path":"a"},"items":5,"more":"{n}"}}`},
		{Doc(`{"a": {"@hash": {"value": {"@path": "$.b"}}}}`), `{"a":{"@hash":{"value":{"@path":"$.b"}}}}`},
	} {
		if got := c.v.String(); got != c.want {
			t.Errorf("want %s, got %s", c.want, got)
		}
		if _, err := Compile(c.v); err != nil {
			t.Errorf("%s: %v", c.want, err)
		}
		if v, err := Parse([]byte(c.want)); err == nil && v.String() != c.want {
			t.Errorf("%s is read as %s", c.want, v)
		}
	}
	if v := (Value{}); !v.IsZero() || v.String() != "null" {
		t.Error("the zero Value is something")
	}
	defer func() {
		if recover() == nil {
			t.Error("a document that is none is taken")
		}
	}()
	Doc(`{"@pth":"$.a"}`)
}

func TestLines(t *testing.T) {
	got := Lines(`a = traits.b`, `c = traits.d, context.d`, `e = "Viewed {{name}}"`, `f = "x = y, z"`, `g = true`,
		`h.i = userId`, `h.j = "k"`, `l = {}`, `m = 0`)
	for key, want := range map[string]string{
		"a": `{"@path":"$.traits.b"}`,
		"c": `{"@if":{"exists":{"@path":"$.traits.d"},"then":{"@path":"$.traits.d"},"else":{"@path":"$.context.d"}}}`,
		"e": `{"@template":"Viewed {{name}}"}`, "f": `"x = y, z"`, "g": `true`,
		"h": `{"i":{"@path":"$.userId"},"j":"k"}`, "l": `{}`, "m": `0`,
	} {
		if got[key].String() != want {
			t.Errorf("%s is %s, want %s", key, got[key], want)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d members", len(got))
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct{ mapping, want string }{
		{`{"a":{"@nope":1}}`, "/a has an invalid directive: @nope."},
		{`{"a":{"@pth":"x"}}`, "did you mean @path?"},
		{`{"a":{"@liquid":"{{x}}"}}`, "/a has an invalid directive: @liquid"},
		{`{"a":{"@path":1},"b":{"c":{"@template":{}}}}`,
			"/a/@path should be a string or a mapping directive but it is a number. /b/c/@template should be a string"},
		{`{"a":{"@hash":{"value":1,"as":"eml"}}}`, "/a/@hash/as should be one of email, "},
		{`{"a":{"@hash":{"vlue":1}}}`, `/a/@hash should have field "value" but it doesn't.`},
		{`{"a":{"@cut":{"value":"x","bytes":"3"}}}`, "/a/@cut/bytes should be a whole number but it is a string."},
		{`{"a":{"@cut":{"value":"x","bytes":-3}}}`, "/a/@cut/bytes should be a whole number"},
		{`{"a":{"@text":{"value":"x","as":"y"}}}`, `/a/@text does not know the field "as"; it has value.`},
		{`{"a":{"@first":{}}}`, "/a/@first should be an array but it is an object."},
		{`{"a":{"@first":[{"@nope":1}]}}`, "/a/@first/0 has an invalid directive: @nope."},
		{`{"a":{"@pick":{"value":1,"keys":[1]}}}`, "/a/@pick/keys should be a string"},
		{`{"a":`, "not valid JSON"},
		{`null`, "cannot be null"},
		{strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300), "nested more than 200"},
		{strings.Repeat(" ", maxSource+1), "at most"},
	} {
		_, err := Parse([]byte(c.mapping))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s\nwant an error with %q\ngot  %v", c.mapping, c.want, err)
		}
	}
	for _, v := range []Value{Literal(make(chan int)), Object(M("a", Literal(func() {})))} {
		if _, err := Compile(v); err == nil {
			t.Errorf("%s compiles", v)
		}
	}
	if _, err := Compile(Value{}); err == nil {
		t.Error("nothing compiles")
	}
}

// A directive in an array is not checked beforehand, as in Segment; what is
// wrong with it shows when it runs, and says where.
func TestMistakesInArrays(t *testing.T) {
	for _, m := range []string{`{"x":[{"@nope":1}]}`, `{"x":[{"@hash":{}}]}`, `{"x":[{"@merge":{"direction":"left"}}]}`,
		`{"x":{"@literal":{"y":{"@nope":1}}}}`} {
		_, _, err := resolveTwice([]byte(m), []byte(`{}`))
		if err == nil || !strings.Contains(err.Error(), "/x/") {
			t.Errorf("%s: %v", m, err)
		}
	}
	if out, _,
		err := resolveTwice([]byte(`{"x":{"@if":{"exists":{"@path":"$.a"},"then":[{"@nope":1}],"else":1}}}`),
		[]byte(`{}`)); err != nil ||
		string(out) != `{"x":1}` {
		t.Errorf("a branch that is not taken fails: %s %v", out, err)
	}
}

// Templates that double through nested transforms must end in an error, not
// in all of the memory.
func TestOutputIsBounded(t *testing.T) {
	v := Template("{{a}}")
	apply := Object(M("a", Template(strings.Repeat("{{a}}", 40))))
	for range 12 {
		v = Doc(`{"@transform":{"apply":` + apply.String() + `,"mapping":` + v.String() + `}}`)
	}
	m, err := Compile(Object(M("r", v)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := event.ParseValue([]byte(`{"a":"0123456789"}`))
	if err != nil {
		t.Fatal(err)
	}
	var r Resolver
	if _, _, err := m.Append(&r, nil, in); !errors.Is(err, ErrTooLarge) && !errors.Is(err, event.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	// The resolver works on.
	if out, _, err := m.Append(&r, nil, event.Value{}); err != nil || string(out) != `{"r":""}` {
		t.Fatalf("got %s %v", out, err)
	}
}

// Large objects are put together in linear time, with the same rules.
func TestMergeOfManyMembers(t *testing.T) {
	const n = 20000
	var a, b strings.Builder
	for i := range n {
		fmt.Fprintf(&a, `,"k%d":1`, i)
		fmt.Fprintf(&b, `,"\u006b%d":2`, i+n/2)
	}
	out, _, err := resolveTwice([]byte(`{"@merge":{"direction":"right","objects":[{"@path":"$.a"},{"@path":"$.b"}]}}`),
		[]byte(`{"a":{`+a.String()[1:]+`},"b":{`+b.String()[1:]+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	v, err := event.ParseValue(out)
	if err != nil || v.Len() != n+n/2 {
		t.Fatalf("%d members, %v", v.Len(), err)
	}
	for key, want := range map[string]string{"k0": "1", "k9999": "1", "k10000": "2", "k29999": "2"} {
		if got := string(v.Get(key).Raw()); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

// Keys of a deep value that lead to no leaf are bounded, too, and what flattens is told by
// its key however that is written.
func TestFlattenKeys(t *testing.T) {
	flatten := []byte(`{"@flatten":{"value":{"@path":"$.a"},"separator":"_"}}`)
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `,"x%d":{}`, i)
	}
	in := `{"a":{"` + strings.Repeat("k", 1<<20) + `":{` + many.String()[1:] + `}}}`
	if _, _, err := resolveTwice(flatten, []byte(in)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want %v", err, ErrTooLarge)
	}
	out, _, err := resolveTwice(flatten, []byte(`{"a":{"b":{"c":1},"\u0062_c":2,"d":[{"":3},4]}}`))
	if want := `{"b_c":2,"d_0_":3,"d_1":4}`; string(out) != want || err != nil {
		t.Errorf("%s, %v, want %s", out, err, want)
	}
}
