package filter_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/filter"
)

func value(t testing.TB, raw string) event.Value {
	t.Helper()
	v, err := event.ParseValue([]byte(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

const sample = `{"type":"track","event":"Button Clicked","userId":"user-1","anonymousId":"a-1",
 "context":{"library":{"name":"analytics.js","version":"1.0"},"page":{"path":"/home"}},
 "properties":{"features":["discounts","dark-mode"],"n":5,"zero":0,"f":false,"t":true,"nil":null,
  "empty":"","s":"A b C","num":"12.5",
  "big":12345678901234567890,"esc":"caf\u00e9 \"x\"","list":[1,2],"nest":[[1],[2]],
  "obj":{"a":1},"product 1":{"price":10},"in":1,"null":2,"dot.key":3,"1st":4,"a-b":6}}`

func TestStatements(t *testing.T) {
	v := value(t, sample)
	for src, want := range map[string]bool{
		// Segment's documentation.
		`event = 'Button Clicked'`: true, `match(context.library.version, '1.*')`: true,
		`type = 'track' and (event = 'Click' or match(event, 'Button *'))`: true,
		`'dark-mode' in properties.features`:                               true,
		`!(type in ['identify', 'group'])`:                                 true,
		`context.path.path = '/login'`:                                     false,
		`!contains(context.library.name, 'js')`:                            false,
		`'blink' in properties.features`:                                   false,
		`length( userId ) > 0`:                                             true,
		`contains(lowercase(event), 'button')`:                             true,
		// Precedence and nesting.
		`type = "page" or type = "track" and properties.n = 5`:   true,
		`(type = "track" or type = "page") and properties.n = 6`: false,
		`type = "track" or type = "page" and properties.n = 6`:   true, `((((properties.t))))`: true,
		`!!properties.t`:                true,
		`!properties.t or properties.t`: true, `! ( properties.f )`: true, "type\n=\r\n\t\"track\"": true,
		`type="track"and properties.n=5`: true,
		// Null and types.
		`properties.missing`: false, `!properties.missing`: true, `properties.missing = null`: true,
		`properties.nil = null`: true, `properties.f = null`: false,
		`properties.f.x = null`: true, `properties.zero.x = null`: true, `properties.missing != "x"`: true,
		`properties.n = "5"`: false, `properties.n != "5"`: true,
		`null = null`: true, `properties.missing and true`: false, `properties.n`: false,
		`properties.obj = properties.obj`: false, `properties.empty = ""`: true,
		// Numbers.
		`properties.n = 5.0`: true, `properties.n > 4.9 and properties.n < 5.1`: true,
		`properties.n >= 5 and properties.n <= 5`: true, `properties.s > 1`: false,
		`properties.big = 12345678901234567890`: true, `properties.big = 12345678901234567891`: false,
		`properties.big > 12345678901234567889`: true, `-5 < properties.n`: true, `properties.n < 1e3`: true,
		`properties.n != -5`: true, `properties.missing < 1`: false, `properties.missing >= 0`: false,
		// Lists.
		`properties.list = [1, 2]`: true, `properties.list = [2, 1]`: false, `properties.nest = [[1],[2]]`: true,
		`5 in [1,2,properties.n]`: true, `1 in properties.list`: true,
		`"1" in properties.list`: false, `null in [null]`: true, `properties.n in []`: false,
		`1 in properties.s`:      false,
		`properties.list != [1]`: true,
		// Functions.
		`length(properties.features) = 2`: true, `length(properties.missing) = 0`: true,
		`length(properties.esc) = 9`: true, `length(properties.n) = null`: true,
		`uppercase(properties.s) = "A B C"`: true, `lowercase(properties.s) = "a b c"`: true,
		`lowercase(properties.missing) = null`: true, `lowercase(properties.n) = null`: true,
		`snakecase(properties.s) = "A_b_C"`: true, `kebabcase(properties.s) = "A-b-C"`: true,
		`titlecase(properties.s) = "A B C"`: true,
		`typeof(properties.s) = "string"`:   true, `typeof(properties.n) = "number"`: true,
		`typeof(properties.list) = "list"`: true, `typeof(properties.t) = "bool"`: true,
		`typeof(properties.missing) = "null"`: true,
		`number(properties.num) = 12.5`:       true, `number(properties.s) = null`: true,
		`string(properties.n) = "5"`:    true,
		`string(properties.t) = "true"`: true, `bool(properties.n)`: true, `bool(properties.s)`: false,
		`bool("true")`:                         true,
		`contains(properties.esc, "café \"x")`: true, `contains(properties.n, "5")`: false,
		`contains(properties.missing, "")`: false, `!contains(properties.missing, "x")`: true,
		`contains(event, userId)`:                         false,
		`contains(uppercase(lowercase(event)), "BUTTON")`: true, `typeof(lowercase(event)) = "string"`: true,
		// Globs.
		`match(event, "*")`: true, `match(event, "Button?Clicked")`: true, `match(event, "[A-C]utton *")`: true,
		`match(event, "[xyz]*")`: false, `match(event, "button*")`: false,
		`match(event, "Button")`: false, `match(event, "*t*o*k*")`: true, `match(properties.empty, "*")`: true,
		`match(properties.empty, "?")`: false, `match("a*b", 'a\*b')`: true, `match("axb", 'a\*b')`: false,
		`match(properties.esc, "caf? *")`: true, `match("a]", 'a[\]]')`: true, `match("-", "[a-]")`: true,
		`match("b", 'x[')`: false, `match(properties.missing, "*")`: false,
		// Names.
		`properties.product\ 1.price = 10`: true, `properties.in = 1 and properties.null = 2`: true,
		`properties.dot\.key = 3`: true, `properties.1st = 4`: true, `properties.a-b = 6`: true,
		`properties.list.0 = 1`: true, `anonymousId = "a-1"`: true, `context.library.name = "analytics.js"`: true,
		`"track" = type`: true,
	} {
		f, err := filter.Compile(src)
		if src == `match("b", 'x[')` {
			if err == nil {
				t.Errorf("%s: an unclosed set was accepted", src)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		for range 2 {
			if got := f.Match(v); got != want {
				t.Errorf("%s = %v, want %v", src, got, want)
			}
		}
	}
}

func TestErrorsPointAtTheColumn(t *testing.T) {
	for src, want := range map[string]struct {
		col int
		msg string
	}{
		``: {0, "empty"}, `  `: {0, "empty"}, `type =`: {7, "found the end"}, `type = "x`: {8, "closing"},
		`type == "x"`: {6,
			"write ="}, `type = "a" && event = "b"`: {12, "write and"},
		`type = "a" AND event = "b"`: {12, "lower case"}, `é = 1`: {1, `\é`}, `properties.é = 1`: {12,
			"rest"}, `type = "ä" ) `: {12, ")"}, `(type = "a"`: {12, "column 1"}, `foo(event)`: {1, "no function foo"},
		`length(event)`: {1, "true or false"}, `"a"`: {1, "true or false"}, `contains(event)`: {1,
			"takes 2"}, `event in "abc"`: {10, "list"}, `event < "a"`: {9, "numbers"}, `1.2.3 = n`: {1, "number"},
		`match(event, 5)`: {14, "pattern"}, `match(event, "[a")`: {14, "without its ]"}, `not event`: {1,
			"!"}, `type = "x" and`: {15, "end"}, `[1,2`: {5, "comma"}, `a = b c`: {7, "the end"}, `!5`: {2, "!"},
		strings.Repeat("(", 300) + "a" + strings.Repeat(")", 300): {202, "nested"},
		strings.Repeat("!", 300) + "a":                            {202, "nested"}, `a.`: {3, "after the dot"},
		`a \`: {3, "escapes nothing"},
	} {
		_, err := filter.Compile(src)
		var e *filter.Error
		if !errors.As(err, &e) {
			t.Errorf("%.40q: error %v", src, err)
			continue
		}
		if e.Column != want.col || !strings.Contains(e.Msg, want.msg) {
			t.Errorf("%.40q: column %d %q, want column %d and %q", src, e.Column, e.Msg, want.col, want.msg)
		}
	}
}

func TestBound(t *testing.T) {
	for src, want := range map[string]string{
		`type = "track"`: "track", `"track" = type`: "track", `event = "a" and type = "track"`: "track",
		`(type = "a" or type = "b") and x`: "a b", `type = "a" and type = "b"`: "a", `type = "a" or type = "b"`: "a b",
		`(type = "a" and x) or type = "b"`: "a b", `x and type = "a" and event = "b"`: "a",
		`type = "a" or event = "b"`: "any", `type != "a"`: "any", `!(type = "a")`: "any",
		`properties.type = "a"`: "any", `type = 5`: "any", `type = event`: "any", `match(type, "a")`: "any",
		`"a" = "a"`: "any",
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		texts, rest, ok := f.Bound("type")
		got := strings.Join(texts, " ")
		for _, typ := range texts {
			for _, more := range []string{``, `,"event":"a"`, `,"event":"b","x":true`, `,"x":true`} {
				v := value(t, `{"type":"`+typ+`"`+more+`}`)
				if f.Match(v) != rest.Match(v) {
					t.Errorf("%s: of %s the rest says %v", src, v.Raw(), rest.Match(v))
				}
			}
		}
		if !ok {
			got = "any"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", src, got, want)
		}
	}
}

func TestSharedCases(t *testing.T) {
	raw, err := os.ReadFile("../../../shared/segment/fql-cases.json")
	if err != nil {
		t.Skip("skipped: the shared FQL cases are not here")
	}
	var cases []struct {
		Name, FQL string
		Event     json.RawMessage
		Expected  bool
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		f, err := filter.Compile(c.FQL)
		if err != nil {
			t.Errorf("%s: %v", c.FQL, err)
			continue
		}
		v := value(t, string(c.Event))
		for k, member := range v.Members() {
			texts, rest, ok := f.Bound(k.Text())
			switch among := slices.Contains(texts, member.Text()); {
			case ok && !among && c.Expected:
				t.Errorf("%s has to have a %s of %q, it says, but holds for %s", c.FQL, k.Text(), texts, c.Event)
			case ok && among && member.Kind() == event.String && rest.Match(v) != c.Expected:
				t.Errorf("%s: of %s the rest says %v", c.FQL, c.Event, !c.Expected)
			}
		}
		if got := f.Match(v); got != c.Expected {
			t.Errorf("%s on %s = %v, want %v", c.FQL, c.Event, got, c.Expected)
		}
	}
	t.Logf("%d cases", len(cases))
}

func TestDifferences(t *testing.T) {
	for _, plain := range []string{
		`type = "track"`, `type = "track" and event = "Order Completed"`, `event = "A" or event = "B" or event = "C"`,
		`(type = "page" or type = "screen") and userId != null`,
		`type = "track" and properties.price >= 100`, `contains(event, "Nike") and match(event, "X*")`, `type ="track"`,
		"type = \"a\"\n and traits.plan = true", `properties.sp\ ace = 5`,
	} {
		if d := filter.Differences(plain); len(d) > 0 {
			t.Errorf("%s: %v, want none", plain, d)
		}
	}
	for src, want := range map[string]string{
		`type = "a" or type = "b" and event = "c"`: "no precedence",
		`type = 'track'`: "single quotes",
		`type = "track" and (contains(event, "Zip") or contains(event, "Cart"))`: "inside parentheses",
		`!(type = "a")`:                        "ignores a !",
		`((type = "a"))`:                       "nest parentheses",
		`anonymousId = "x"`:                    "ignores conditions on anonymousId",
		`event != null`:                        `the text "null"`,
		`match(event, "a*b")`:                  "any other pattern",
		`match(event, "hello")`:                "any other pattern",
		`"x" in properties.list`:               "only on the left",
		`type in ["a"]`:                        "does not know in",
		`lowercase(event) = "a"`:               "does not know lowercase",
		`properties.a>1`:                       "right behind a name",
		`properties.a >=1`:                     "needs white space after",
		`properties.a != 5`:                    "missing or no number",
		`!contains(event, "x")`:                "missing or no text",
		`properties != null`:                   "member called properties",
		`properties.arr.0 = 1`:                 "digit",
		`properties.null = 1`:                  "keyword",
		`properties.t`:                         "needs an operator",
		`contains(lowercase(event), "x")`:      "only a field",
		`type = "a" and properties.x = event`:  "as a text",
		`length(event) > 3 and type = "track"`: "does not know length",
		`type = "a" and (event = "b" and (properties.n = 1 or !(properties.s in [1, 2])))`: "nest parentheses",
	} {
		found := filter.Differences(src)
		ok := false
		for _, d := range found {
			ok = ok || strings.Contains(d.Msg, want)
		}
		if !ok {
			t.Errorf("%s: %v, want one with %q", src, found, want)
		}
	}
}

func TestDoubts(t *testing.T) {
	for src, want := range map[string]int{
		`type = track`: 1, `type = "track"`: 0, `!(event != Hello) and (a = b or type = "x")`: 2,
		`properties.total = properties.subtotal`: 0, `context.ip = null`: 0, `active = true`: 0, `length(event) = n`: 0,
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		if found := f.Doubts(); len(found) != want {
			t.Errorf("%s: %v, want %d", src, found, want)
		} else if src == `type = track` &&
			found[0].String() != `column 8: track is a field of the event here; a text stands in quotes: "track"` {
			t.Error(found[0])
		}
	}
}

func TestWritten(t *testing.T) {
	for src, ok := range map[string]bool{
		`event = Order`: false, `type = track and event = "x"`: false, `!(a.b != Purchase)`: false, `event = "Order"`: true,
		`name = event`: true, `properties.total = properties.subtotal`: true, `userId = anonymousId`: true, `a = true`: true,
		`event = null`: true,
	} {
		_, err := filter.Written(src)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "put it in quotes") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestReferenceExamples(t *testing.T) {
	for _, r := range filter.Reference() {
		f, err := filter.Compile(r.Example)
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		if got := f.Match(value(t, r.Event)); got != r.Holds {
			t.Errorf("%s: %s on %s = %v, want %v", r.Name, r.Example, r.Event, got, r.Holds)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`type = "track"`, `!(a.b in ['x', 1]) or match(c, "[a-z]*\\?")`,
		`titlecase(x) != lowercase("é") and length([1,[2]]) < 3`, `a\ b = -1.5e3`, `((`, `"\"`,
		`string(n)=number("5")`} {
		f.Add(s, sample)
	}
	f.Fuzz(func(t *testing.T, src, raw string) {
		filter.Differences(src)
		fl, err := filter.Compile(src)
		if err != nil {
			return
		}
		fl.Doubts()
		v, err := event.ParseValue([]byte(raw))
		if err != nil {
			return
		}
		if first := fl.Match(v); first != fl.Match(v) {
			t.Fatalf("%q is not deterministic", src)
		}
		if string(v.Raw()) != strings.Trim(raw, " \t\r\n") {
			t.Fatal("the event changed")
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var buf bytes.Buffer
	if err := eventgen.Write(&buf, eventgen.Options{Seed: 1, Events: 1000}); err != nil {
		b.Fatal(err)
	}
	var events []event.Value
	for line := range bytes.Lines(buf.Bytes()) {
		events = append(events, value(b, string(line)))
	}
	for name, src := range map[string]string{
		"five-terms": `type = "track" and event != "Heartbeat" and context.locale != "xx" and ` +
			`(properties.quantity >= 1 or userId != null)`,
		"with-functions": `type = "track" and contains(lowercase(event), "order") and match(userId, "user-*")`,
	} {
		f, err := filter.Compile(src)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				f.Match(events[i%len(events)])
				i++
			}
		})
	}
}
