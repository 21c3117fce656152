package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

// toySettings are those of a partner that is not there.
type toySettings struct {
	Token  string            `setting:"token,required,secret" doc:"Who we are." example:"toy-token"`
	Number int               `setting:"number" doc:"A number." default:"1"`
	On     bool              `setting:"on" doc:"A switch."`
	List   []string          `setting:"list" doc:"Texts."`
	Table  map[string]string `setting:"table" doc:"Named texts."`
	URL    string            `setting:"url" doc:"An address."`
}

func toys() *World {
	toy := destination.Spec[toySettings]{
		Info:    destination.Info{Slug: "toy", Name: "Toy", Summary: "a partner for tests"},
		BaseURL: func(*toySettings) string { return "https://toy.example" },
		Success: []destination.Success{{Any: true}},
		Limits: destination.Limits{Concurrency: destination.Cap{N: 4, Docs: "https://toy.example/docs"},
			BatchEvents: destination.Cap{N: 100}},
		Actions: destination.Actions{
			destination.Action("send", "Send").On(`type = "track"`).Fields(
				field.Text("event").Required().From("$.event"), field.Object("who", field.Text("id")).From("$.traits"),
			).Post("/", body.Items(body.Payload())),
			destination.Action("rate", "Rate").On(`type = "page"`).Fields(field.Number("stars").Required()).Post("/rate", nil),
		},
		Presets: []destination.Preset{{Name: "All", Action: "send", Subscribe: `type = "track"`}},
	}.Destination()
	return &World{
		Catalogue: destination.Catalogue{destination.Lazy("toy", func() destination.Destination { return toy })},
		Secret:    func(...string) {},
		Env:       func(name string) (string, bool) { return strings.ToLower(name), strings.HasPrefix(name, "SET") },
		ReadFile: func(path string) ([]byte, error) {
			if path == "secret" {
				return []byte("from a file\n"), nil
			}
			return nil, os.ErrNotExist
		},
	}
}

// load reads a configuration and opens all of it.
func load(w *World, text string) (*File, []*Opened, error) {
	f, err := w.Parse("f.yaml", []byte(text))
	if f.Unusable {
		return f, nil, err
	}
	dests, err2 := w.Choose(f, Choice{})
	if err2 != nil {
		return f, nil, errors.Join(err, err2)
	}
	opened, err2 := w.Open(f, dests, OpenOptions{})
	return f, opened, errors.Join(err, err2)
}

// indented is a destination of type toy with more lines.
func indented(lines string) string {
	return "destinations:\n  a:\n    type: toy\n    settings: {token: t}\n" + lines
}

// TestProblems: what is wrong is said with its line, all of it at once.
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string // none: no problem
	}{
		"nothing wrong": {indented(""), nil},
		"unknown key": {"destinatons: {}\n" + indented(""),
			[]string{"f.yaml:1: there is no key \"destinatons\"; did you mean destinations?"}},
		"a setting beside settings": {indented("    token: t\n"),
			[]string{"f.yaml:5: a: there is no option \"token\" here: it is a setting, and stands below settings"}},
		"of fanfold": {indented("    memory: 1GiB\n"), []string{"f.yaml:5: a: there is no option \"memory\" here: " +
			"it is an option of fanfold as a whole, and stands at the top of the file"}},
		"of a destination": {"rate: 1/s\n" + indented(""), []string{"f.yaml:1: there is no key \"rate\" here: " +
			"it is an option of a destination, and stands beside its type"}},
		"of an action": {indented("    subscribe: type = \"track\"\n"), []string{"f.yaml:5: a: there is no option " +
			"\"subscribe\" here: it is of an action, and stands in an entry of actions"}},
		"results beside them": {"destinations:\n  a:\n    type: http\n    base_url: https://a.example\n    results: {by: " +
			"index}\n    actions: [{action: send, subscribe: 'type = \"track\"', path: /x}]\n", []string{"f.yaml:5: a: there " +
			"is no option \"results\" here: it is of an action, and stands in an entry of actions"}},
		"an option in an action": {indented("    actions: [{action: send, subscribe: 'type = \"track\"', rate: 1/s}]\n"),
			[]string{"f.yaml:5: a: an action has no rate: it is an option of the destination, and stands beside its type"}},
		"twice": {indented("    rate: 1/s\n    rate: 2/s\n"),
			[]string{"f.yaml:6: rate stands twice, first on line 5"}},
		"name": {"destinations: {a/b: {type: toy}}", []string{`f.yaml:1: "a/b" cannot name`, "no destination"}},
		"several": {"memory: x\ndestinations:\n  a: {type: tyo}\n  b: {}\n",
			[]string{"f.yaml:1: memory has to be a size", "f.yaml:3: destination a: there is no type \"tyo\"; did you mean toy?",
				"f.yaml:4: destination b has no type"}},
		"setting": {strings.Replace(indented("    timeout: 1\n"), "token: t", "tokn: t", 1),
			[]string{"f.yaml:4: a: setting tokn: there is no such setting; did you mean token?",
				"f.yaml:2: a: setting token is required", "f.yaml:5: a: timeout has to be a duration"}},
		"options": {indented("    rate: fast\n    concurrency: 9\n    in_doubt: maybe\n    retry: {atempts: 1}\n"),
			[]string{"f.yaml:5: a: rate has to be like",
				"f.yaml:6: a: concurrency 9 is above the partner's 4 (https://toy.example/docs)",
				"f.yaml:7: a: in_doubt has to be resend or hold",
				"f.yaml:8: a: retry: there is no key \"atempts\"; did you mean attempts?"}},
		"too large": {indented("    batch_events: 1000\n"),
			[]string{"f.yaml:5: a: batch_events 1000 would change nothing: the largest request here has 100"}},
		"without value": {indented("    filter:\n"), []string{"f.yaml:5: a: filter has no value"}},
		"template": {indented("    base_url: https://{{x}}.example\n"),
			[]string{"f.yaml:5: a: base_url has to be an http or https address without {{…}}"}},
		"no action": {indented("    actions: [{subscribe: 'type = \"track\"'}]\n"),
			[]string{"f.yaml:5: a: an entry of actions does not say which action: toy has send, rate"}},
		"unknown action": {indented("    actions:\n      - {action: send, subscribe: type = \"track\"}\n" +
			"      - {action: sned, subscribe: type = \"track\"}\n"), []string{"f.yaml:7: a: there is no action \"sned\"; " +
			"did you mean send?"}},
		"no subscribe": {indented("    actions:\n      - action: send\n"),
			[]string{"f.yaml:6: a: action send has no subscribe: say which events it is for, like type = \"track\""}},
		"bad subscribe": {indented("    actions:\n      - {action: send, subscribe: type =}\n"),
			[]string{"f.yaml:6: a: action send: subscribe: "}},
		"unknown field": {indented("    actions:\n      - action: send\n        subscribe: type = \"track\"\n" +
			"        mapping:\n          event: x\n          evnt: y\n          who: {idd: 1}\n"), []string{`f.yaml:10: a: action send: there is no field "evnt"; did you mean event?`, `f.yaml:11: a: action send: who: there is no field "idd"; did you mean id?`}},
		"as JSON": {indented("    actions:\n      - action: send\n        subscribe: type = \"track\"\n" +
			"        mapping: |\n          {\"event\": \"x\",\n           \"evnt\": \"y\"}\n"), []string{`f.yaml:10: a: action send: there is no field "evnt"`}},
		"not mapped": {indented("    actions:\n      - {action: send, subscribe: 'type = \"track\"', mapping: {event: " +
			"null}}\n      - {action: rate, subscribe: 'type = \"page\"'}\n"), []string{"f.yaml:6: a: action send: the field " +
			"event is required and nothing is mapped to it",
			"f.yaml:7: a: action rate: the field stars is required and nothing"}},
		"one directive": {indented(
			"    actions:\n      - {action: send, subscribe: 'type = \"track\"', mapping: {\"@path\": $.properties}}\n"), nil},
		"none enabled": {indented("    actions:\n      - {action: send, enabled: false}\n"),
			[]string{"f.yaml:6: a: actions lists none that is enabled"}},
		"both names": {indented("    actions:\n      - {action: send, actionSlug: send, subscribe: type = \"track\"}\n"),
			[]string{"f.yaml:6: a: an action has action and actionSlug, which are the same"}},
		"settings and actions": {strings.Replace(indented("    actions:\n      - {action: sned, subscribe: x}\n"), "token: t",
			"number: x", 1),
			[]string{"f.yaml:4: a: setting number: has to be a whole number", "f.yaml:2: a: setting token is required",
				"f.yaml:6: a: there is no action \"sned\""}},
	} {
		f, _, err := load(toys(), c.text)
		var said []string
		for _, e := range flatten(errors.Join(err)) {
			if e != nil {
				said = append(said, e.Error())
			}
		}
		for _, want := range c.want {
			found := false
			for i, s := range said {
				if strings.HasPrefix(s, want) {
					said, found = append(said[:i:i], said[i+1:]...), true
					break
				}
			}
			if !found {
				t.Errorf("%s: %q is not among %q", name, want, said)
			}
		}
		if len(said) > 0 {
			t.Errorf("%s: also %q (%v)", name, said, f.Notes)
		}
	}
}

// TestSourceText: texts stay as they were written, whatever YAML takes them for.
func TestSourceText(t *testing.T) {
	_, opened, err := load(toys(), `
destinations:
  a:
    type: toy
    settings: {token: 0123, number: 0x10, on: true, list: [1e5, 007, 2024-01-01, yes], table: {a: 1_000, b: 12345678901234567890}, url: 1.50}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := "map[list:[1e5 007 2024-01-01 yes] number:16 on:true table:map[a:1_000 b:12345678901234567890] token:0123 " +
		"url:1.50]"
	if got := fmt.Sprint(opened[0].Settings); got != want {
		t.Errorf("settings are %s, not %s", got, want)
	}
}

// TestPasted: a subscription of Segment's is taken as it is, in the forms in which it is
// found.
func TestPasted(t *testing.T) {
	const plain = `      - {action: send, subscribe: 'type = "track"', mapping: {event: {"@path": "$.event"}}}` + "\n"
	_, want, err := load(toys(), indented("    actions:\n"+plain))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"Public API": `    actions:
      [{"id":"5GFh","name":"Track","actionId":"x","actionSlug":"send","destinationId":"y","enabled":true,"trigger":"type = \"track\"",
        "settings":{"event":{"@path":"$.event"},"enable_batching":true,"batch_size":1000},"modelId":null,"reverseETLSchedule":null}]
`,
		"its whole answer": `    actions: {"data":{"subscriptions":[{"actionSlug":"send","enabled":true,"trigger":"type = \"track\"","settings":{"event":{"@path":"$.event"}}}],
      "pagination":{"current":"MA=="}}}
`,
		"the answer for one": `    actions: {"data":{"subscription":{"id":"x","name":"N","actionSlug":"send","enabled":true,"trigger":"type = \"track\"",
      "settings":{"event":{"@path":"$.event"}}}}}
`,
		"one by itself": `    actions: {"actionSlug":"send","trigger":"type = \"track\"","settings":{"event":{"@path":"$.event"}}}
`,
		"a list of answers": `    actions: [{"data":{"subscription":{"actionSlug":"send","trigger":"type = \"track\"","settings":{"event":{"@path":"$.event"}}}}}]
`,
		"Terraform's values": `    actions:
      - {"id":"x","action_id":"a","action_slug":"send","destination_id":"d","enabled":true,"model_id":null,"name":"T","reverse_etl_schedule":null,
         "settings":"{\"event\":{\"@path\":\"$.event\"}}","trigger":"type = \"track\""}
`,
		"Terraform's resource": `    actions: {"address":"s.t","type":"segment_destination_subscription","values":{"action_slug":"send",
      "settings":"{\"event\":{\"@path\":\"$.event\"}}","trigger":"type = \"track\""}}
`,
		"source code": `    actions:
      - {name: Track, subscribe: 'type = "track"', partnerAction: send, mapping: {event: {"@path": $.event}, __segment_internal_x: 1}, type: automatic}
`,
		"one is off": `    actions:
      - {actionSlug: send, trigger: 'type = "track"', settings: {event: {"@path": "$.event"}}}
      - {actionSlug: rate, trigger: 'type = "page"', enabled: false, settings: {}}
`,
	} {
		_, got, err := load(toys(), indented(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		has, had := got[0].Config.Actions[0], want[0].Config.Actions[0]
		if len(got[0].Config.Actions) != 1 || has.Action != had.Action || has.Subscribe != had.Subscribe ||
			!strings.HasPrefix(has.Mapping.String(), `{"event":{"@path":"$.event"}`) {
			t.Errorf("%s: %+v, not %+v", name, got[0].Config.Actions, want[0].Config.Actions)
		}
	}
}

// TestPastedInPart: what a pasted answer says of what is not in it, and what events cannot do, is said.
func TestPastedInPart(t *testing.T) {
	const one = `{"actionSlug":"send","trigger":"type = \"track\"","settings":{"event":{"@path":"$.event"}}%s}`
	for text, want := range map[string]string{
		`{"data":{"subscriptions":[` + fmt.Sprintf(one, "") +
			`],"pagination":{"current":"MA==","next":"Mg=="}}}`: `pagination.next is "Mg=="`,
		fmt.Sprintf(one, `,"modelId":"m1"`): "an action has modelId: rows of a warehouse feed it in Segment, and here " +
			"events do",
		`{"data":{"subscriptions":[` + fmt.Sprintf(one, `,"modelId":null`) +
			`],"pagination":{"current":"MA==","next":null}}}`: "",
	} {
		_, got, err := load(toys(), indented("    actions: "+text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if said := strings.Join(got[0].Notes, "\n"); !strings.Contains(said, want) || want == "" && said != "" {
			t.Errorf("%s: %q; want %q", text, said, want)
		}
	}
	for _, text := range []string{"5", "{}", `{"data":{}}`, `{"data":{"data":{"data":{"data":{"data":[]}}}}}`} {
		if _, _, err := load(toys(), indented("    actions: "+text+"\n")); err == nil ||
			!strings.Contains(err.Error(), "have to be a list") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTextsToBeFilledIn: what looks as if it were filled in and is not is said, with the
// line and the directive that does it; what a directive holds is its own affair.
func TestTextsToBeFilledIn(t *testing.T) {
	for mapping, want := range map[string]string{
		`{event: "hi {{event}}"}`: `write {"@template": "hi {{event}}"}`,
		`{event: $.event}`:        `write {"@path": "$.event"}`,
		`{event: {"@if": {exists: {"@path": "$.a"}, then: "$.a", else: x}}}`: "",
		`{event: {"@template": "hi {{event}}"}}`:                             "",
		`{event: {"@path": "$.event"}}`:                                      "",
		`{event: "costs $.50 }} {{"}`:                                        "",
	} {
		conf, opened, err := load(toys(), indented("    actions:\n      - action: send\n"+
			"        subscribe: type = \"track\"\n        mapping: "+mapping+"\n"))
		if err != nil {
			t.Errorf("%s: %v", mapping, err)
			continue
		}
		notes := strings.Join(conf.Warnings([]*Destination{opened[0].Destination}), "\n")
		if want == "" && notes != "" || !strings.Contains(notes, want) {
			t.Errorf("%s: %q, want %q", mapping, notes, want)
		}
	}
}

// TestNamesWithDots: a flag finds a destination whose name has dots in it, and says what there is otherwise.
func TestNamesWithDots(t *testing.T) {
	dests := []*Destination{{Name: "a", Slug: "toy"}, {Name: "a.b", Slug: "toy"}, {Name: "c", Slug: "box"}}
	for text, want := range map[string]string{
		"a.key=v": "a key=v", "a.b.key=v=w": "a.b key=v=w", "c.key=": "c key=", "box.key=v": "c key=v",
		"toy.key=v":  "a key=v, a.b key=v",
		"a.c.key=v":  "a c.key=v", // there is no such setting, it says then
		"none.key=v": `--set none.key: there is no destination "none"; there is a, a.b, c`,
		"key=v":      "--set key: has to be NAME.KEY=VALUE",
		"a.b.key":    "--set a.b.key: has to be NAME.KEY=VALUE",
	} {
		var got []string
		err := assign("--set", text, dests, func(d *Destination, key, value string) error {
			got = append(got, d.Name+" "+key+"="+value)
			return nil
		})
		if err != nil {
			got = append(got, err.Error())
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
