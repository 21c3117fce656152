package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestSyntax: what is no YAML is said with its line and what to do, and hides nothing.
func TestSyntax(t *testing.T) {
	head := "destinations:\n  a:\n    type: toy\n    settings: {token: t}\n"
	for name, c := range map[string]struct {
		text string
		want []string // none: it is taken
	}{
		"colon in a filter": {head + "    filter: event = \"a: b\"\n",
			[]string{`f.yaml:5: put it in quotes: filter: 'event = "a: b"'`}},
		"quotes within": {head + "    filter: event = 'a: b'\n",
			[]string{`f.yaml:5: put it in quotes: filter: 'event = ''a: b'''`}},
		"begins with a quote": {head + "    filter: \"a\" = event\n",
			[]string{`f.yaml:5: put it in quotes: filter: '"a" = event'`}},
		"in a list": {"transform:\n  - drop: event = \"a: b\"\n" + head,
			[]string{`f.yaml:2: put it in quotes: - drop: 'event = "a: b"'`}},
		"path in braces": {head + "    actions:\n      - {action: send, subscribe: type = \"track\", mapping: {event: " +
			"{@path: $.event}}}\n", []string{`f.yaml:6: put it in quotes: - {action: send, subscribe: type = "track", mapping: {event: {"@path": $.event}}}`}},
		"variable in braces": {strings.Replace(head, "token: t", "token: ${SET_X}", 1),
			[]string{`f.yaml:4: put it in quotes: settings: {token: "${SET_X}"}`}},
		"part of a value": {strings.Replace(head, "token: t", "token: t, url: https://${SET_X}/a", 1),
			[]string{`f.yaml:4: put it in quotes: settings: {token: t, url: "https://${SET_X}/a"}`}},
		"a value with @": {head + "    filter: @x\n",
			[]string{`f.yaml:5: put it in quotes: filter: '@x'`, "f.yaml:5: a: "}},
		"tab": {head + "\trate: 5/s\n", []string{"f.yaml:5: it is indented with a tab; YAML takes spaces only"}},
		"pasted with tabs": {head +
			"    actions: [\n\t{\"action\":\t\"send\",\n\t\t\"subscribe\": \"type = \\\"track\\\"\"}\n    ]\n", nil},
		"several": {"transform:\n  - drop: event = \"a: b\"\ndestinations:\n  a:\n    type: toy\n" +
			"    settings: {token: ${SET_X}}\n    rate: fast\n    filter: event = \"c: d\"\n",
			[]string{"f.yaml:2: put it in quotes", "f.yaml:6: put it in quotes", "f.yaml:8: put it in quotes",
				"f.yaml:7: a: rate has to be like"}},
		"duplicate": {head + "    rate: 1/s\n    actions: [{action: send, subscribe: type != null, mapping: {event: " +
			"a, event: b}}]\n    rate: 2/s\n", []string{"f.yaml:6: event stands twice, first on line 6: take one of them out",
			"f.yaml:7: rate stands twice, first on line 5"}},
		"not closed": {"destinations:\n  a: {type: toy, settings: {token: t}\n  b: {type: toy}\n",
			[]string{"f.yaml:2: did not find expected ',' or '}': a { or a quote is not closed"}},
		"indentation": {"destinations:\n  a:\n    type: toy\n   rate: 1/s\n",
			[]string{"f.yaml:4: did not find expected key: it is indented otherwise"}},
		"too deep": {"destinations:\n  a:\n    type: toy\n      settings: {token: t}\n    rate: fast\n",
			[]string{"f.yaml:4: it is indented deeper than the line before it, which has a value", "f.yaml:5: a: rate has"}},
		"not deep enough": {"destinations:\n  a:\n  type: toy\n",
			[]string{"f.yaml:2: destination a has to be a table of keys and values, not nothing: what belongs to it stands",
				"f.yaml:3: destination type has to be a table of keys and values"}},
		"the only line without a blank": {"destinations:\n  a:\n    type:toy\n",
			[]string{"f.yaml:3: destination a has to be a table of keys and values, not the value " +
				"\"type:toy\": a blank belongs"}},
		"unknown anchor": {head + "    filter: *x\n",
			[]string{"f.yaml:5: unknown anchor 'x' referenced: * begins a reference"}},
		"merged": {"destinations:\n  a: &a\n    type: toy\n    settings: &s {token: t}\n    rate: 1/s\n" +
			"  b: {<<: *a, rate: 2/s, settings: {<<: *s, number: 2}}\n", nil},
		"itself": {"destinations: &d\n  a: *d\n", []string{"f.yaml:2: it nests deeper than 100 levels, or refers to itself"}},
		"laughs": {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
			"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n" +
			"g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n", []string{"f.yaml:1: its references make more than"}},
		"tab before what belongs to a key": {"destinations:\n  a:\n\ttype: toy\n    settings: {token: t}\n    rate: fast\n",
			[]string{"f.yaml:3: it is indented with a tab", "f.yaml:5: a: rate has to be like"}},
		"other blanks": {strings.Replace(head, "    type", "\u00a0\u00a0\u00a0\u00a0type", 1) + "    rate: fast\n",
			[]string{"f.yaml:3: it is indented with blanks of another kind", "f.yaml:5: a: rate has to be like"}},
		"no blank": {strings.Replace(head, "type: toy", "type:toy", 1) + "    rate: fast\n",
			[]string{"f.yaml:3: a blank belongs behind the colon: type: toy", "f.yaml:5: a: rate has to be like"}},
		"no blank at the end": {head + "    rate:1/s\n", []string{"f.yaml:5: a blank belongs behind the colon: rate: 1/s"}},
		"no colon": {head + "    filter x = \"a\"\n    rate: 1/s\n",
			[]string{"f.yaml:5: a colon and a blank belong behind"}},
		"another comment": {"// mine\n" + head + "    rate: fast\n",
			[]string{"f.yaml:1: // begins no comment in YAML: # does", "f.yaml:6: a: rate has to be like"}},
		"path as a key": {head + "    actions:\n      - action: send\n        subscribe: type != null\n" +
			"        mapping:\n          event:\n            @path: $.event\n",
			[]string{`f.yaml:10: put it in quotes: "@path": $.event`}},
		"begins with a star": {head + "    filter: *\n",
			[]string{`f.yaml:5: put it in quotes: filter: '*'`, "f.yaml:5: a: "}},
		"begins as a text": {head + "    filter: > 5\n",
			[]string{`f.yaml:5: put it in quotes: filter: '> 5'`, "f.yaml:5: a: "}},
		"a tag": {head + "    filter: !(type = \"track\")\n",
			[]string{"f.yaml:5: ! begins a tag in YAML, and !(type is none", "f.yaml:5: a: "}},
		"a filter between braces": {"destinations:\n  a: {type: toy, settings: {token: t}, filter: match(event, \"a: b, " +
			"c\"), rate: fast}\n",
			[]string{`f.yaml:2: put it in quotes: a: {type: toy, settings: {token: t}, filter: 'match(event, "a: b, c")', rate: fast}`,
				"f.yaml:2: a: rate has to be like"}},
		"a trigger between braces": {head +
			"    rate: fast\n    actions:\n      - {action: send, subscribe: event = \"a, b\" and type = \"track\"}\n",
			[]string{`f.yaml:7: put it in quotes: - {action: send, subscribe: 'event = "a, b" and type = "track"'}`,
				"f.yaml:5: a: rate has to be like"}},
		"a filter that needs none": {"destinations:\n  a: {type: toy, settings: {token: t}, filter: (type = \"track\") " +
			"and event != \"x\"}\n", nil},
		"pasted at the first column": {head +
			"    actions:\n[\n  {\n    \"action\": \"send\",\n    \"subscribe\": \"type != null\"\n  }\n]\n" +
			"    rate: fast\n", []string{"f.yaml:6: what belongs to actions has to be indented deeper than it",
			"f.yaml:12: a: rate has to be like"}},
		"a negation": {head + "    filter: !contains(event, \"x\")\n    rate: fast\n",
			[]string{`f.yaml:5: put it in quotes: filter: '!contains(event, "x")'`, "f.yaml:6: a: rate has to be like"}},
		"a template as a value": {head +
			"    actions:\n      - {action: send, subscribe: type != null, mapping: {event: {{event}}}}\n",
			[]string{"f.yaml:6: a table stands where a key has to be: "}},
		"a list as a mapping": {head + "    actions:\n      - {action: send, subscribe: type != null, mapping: [event]}\n",
			[]string{"f.yaml:6: a: action send: mapping has to be a table of the action's fields, not a list"}},
		"a number as a mapping": {head + "    actions:\n      - {action: send, subscribe: type != null, mapping: 5}\n",
			[]string{"f.yaml:6: a: action send: mapping has to be a table of the action's fields, not the value \"5\""}},
		"a directive without brackets": {head + "    actions:\n      - action: send\n        subscribe: type != null\n" +
			"        mapping:\n          event: @path: $.event\n          nothing: 1\n",
			[]string{`f.yaml:9: a directive stands in brackets, or on a line of its own: event: {"@path": $.event}`,
				"f.yaml:10: "}},
		"a directive with quotes": {head + "    actions:\n      - action: send\n        subscribe: type != null\n" +
			"        mapping:\n          event: @template: \"{{event}}: x\"\n",
			[]string{`f.yaml:9: a directive stands in brackets, or on a line of its own: event: {"@template": '{{event}}: x'}`}},
		"a path of Windows": {strings.Replace(head, "token: t", `token: "C:\data\new"`, 1) + "    rate: fast\n",
			[]string{`f.yaml:4: a \ between double quotes begins an escape: put the text in single ones: settings: {token: 'C:\data\new'}`,
				"f.yaml:5: a: rate has to be like"}},
		"a comment within a text": {head + "    filter: event = \"a #1\" and type = \"track\"\n",
			[]string{`f.yaml:5: a blank and # begin a comment, so that the text ends before it: put it in quotes: 'event = "a #1"`,
				"f.yaml:5: a: filter"}},
		"a comment behind a text": {head + "    filter: event = \"a\" # the \"first\"\n", nil},
		"other quotes": {head + "    filter: event = “Order”\n",
			[]string{"f.yaml:5: a: filter: column 9: '“' is no quote here"}},
		"a percent sign": {strings.Replace(head, "token: t", "token: %x", 1) + "    rate: fast\n",
			[]string{`f.yaml:4: put it in quotes: settings: {token: "%x"}`, "f.yaml:5: a: rate has to be like"}},
		"an equals sign": {strings.Replace(head, "type: toy", "type = toy", 1) + "    rate: fast\n",
			[]string{"f.yaml:3: a key is followed by a colon, not by =: type: toy", "f.yaml:5: a: rate has to be like"}},
		"a wide colon": {strings.Replace(head, "type: toy", "type：toy", 1) + "    rate: fast\n",
			[]string{"f.yaml:3: an ordinary colon and a blank belong behind a key: type: toy",
				"f.yaml:5: a: rate has to be like"}},
		"a variable with blanks": {strings.Replace(head, "token: t", `token: "${ SET_X }"`, 1),
			[]string{"f.yaml:4: ${ begins a variable"}},
		"dollars before a template": {head +
			"    actions:\n      - {action: send, subscribe: type != null, mapping: {event: {\"@template\": " +
			"\"{{event}} for ${{properties.y}} of ${properties.z}\"}}}\n", nil},
		"a variable without end": {strings.Replace(head, "token: t", `token: "${SET_X"`, 1),
			[]string{"f.yaml:4: ${ begins a variable"}},
		"a tag of a template": {strings.Replace(head, "token: t", "token: !Ref t", 1),
			[]string{"f.yaml:4: ! begins a tag in YAML"}},
		"tags of YAML": {strings.Replace(head, "token: t", "token: !!str 5", 1), nil},
		"not UTF-8": {head + "    filter: event = \"\xe4\"\n",
			[]string{"f.yaml:5: invalid trailing UTF-8 octet: save the file as UTF-8"}},
		"a second document": {head + "---\nmemory: 5\n", []string{"f.yaml:5: a second document begins here"}},
		"a third one": {head + "---\n---\nmemory: 5\n---\nmemory: 6\n",
			[]string{"f.yaml:6: a second document begins here"}},
		"a colon in a text that goes on": {head + "    filter: event = \"x\" and\n      event = \"a: b\"\n",
			[]string{"f.yaml:6: the text that goes on here holds a colon and a blank: put all of it in quotes"}},
		"the same, not like a key": {head + "    filter: event = \"x\" and\n      (event = \"a: b\")\n",
			[]string{"f.yaml:6: the text that goes on here holds a colon and a blank: put all of it in quotes"}},
		"no variables":      {strings.Replace(head, "token: t", `token: "$${SET_X:-t} $${NOT_SET}"`, 1), nil},
		"a version":         {"%YAML 1.2\n---\n" + head, nil},
		"nothing behind it": {"---\n" + head + "---\n# none\n...\n", nil},
		"aside": {"x-common: &c {token: t, n: \"${NOT_SET}\"}\ndestinations: {a: {type: toy, settings: *c}}\n",
			[]string{"f.yaml:1: the environment variable NOT_SET"}},
		"aside, elsewhere": {"common: &c {token: t}\ndestinations: {a: {type: toy, settings: *c}}\n",
			[]string{"f.yaml:1: there is no key \"common\"; there is"}},
		"a default": {strings.Replace(head, "token: t", `token: "${SET_X:-t}"`, 1),
			[]string{"f.yaml:4: only ${SET_X} is known"}},
	} {
		w := toys()
		f, err := w.Parse("f.yaml", []byte(c.text))
		if len(f.Destinations) > 0 { // as `config check` does
			_, err2 := w.Open(f, f.Destinations, OpenOptions{})
			err = errors.Join(err, err2)
		}
		var said []string
		if err != nil {
			said = strings.Split(err.Error(), "\n")
		}
		ok := len(said) == len(c.want)
		for i := range c.want {
			ok = ok && strings.HasPrefix(said[i], c.want[i])
		}
		if !ok {
			t.Errorf("%s: said\n%s\nnot\n%s", name, strings.Join(said, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// FuzzParse: whatever a file holds, it is read or refused, in little time.
func FuzzParse(f *testing.F) {
	f.Add("destinations:\n  a: {type: toy, settings: {token: ${SET_X}}, filter: \"a\" = b}\n")
	f.Add("transform:\n- drop: @x\n\t- &a [*a]\nmemory: {}\n")
	f.Add(`destinations: {a: {actions: {"data":{"subscriptions":[{"actionSlug":"send","settings":"{"}]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		w := toys()
		file, err := w.Parse("f.yaml", []byte(text))
		if file == nil || file.Unusable && err == nil {
			t.Fatal("nothing came out, and nothing was said")
		}
		_, _ = w.Open(file, file.Destinations, OpenOptions{Rehearse: true})
	})
}

// TestNoVariable: what a text has of variables that are none is written with $${, and read once, also where it is
// referred to from several places.
func TestNoVariable(t *testing.T) {
	w := toys()
	f, err := w.Parse("f.yaml", []byte("x-common: &c {token: \"$${NOT_SET:-1} $${NOT_SET} ${SET_X} $5\"}\ndestinations:\n"+
		"  a: {type: toy, settings: *c}\n  b: {type: toy, settings: *c}\n  d: {type: toy, settings: {<<: *c}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Destinations {
		if got := fmt.Sprint(d.Settings["token"]); got != "${NOT_SET:-1} ${NOT_SET} set_x $5" || d.unset != nil {
			t.Errorf("%s: %q, %v", d.Name, got, d.unset)
		}
	}
}
