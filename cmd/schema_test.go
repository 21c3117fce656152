package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/config"
)

// schemaOf is what `config schema` prints, read by a validator that is not ours.
func schemaOf(t *testing.T) *jsonschema.Schema {
	t.Helper()
	code, out, errOut := invoke(t, nil, "", "config", "schema")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err = c.AddResource("fanfold.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("fanfold.schema.json") // holds it against draft 7, too
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate holds a configuration against the schema, as an editor does.
func validate(s *jsonschema.Schema, text string) error {
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// own is a destination of type http with more of an action, or of the entry where that begins with a
// line.
func own(more string) string {
	action, entry := more, ""
	if strings.HasPrefix(more, "\n") {
		action, entry = "", more
	}
	return "destinations:\n  a:\n    type: http\n    base_url: https://a.example\n    actions:\n" +
		"      - {action: send, subscribe: type = \"track\", path: /e" + action + "}" + entry + "\n"
}

// descriptions are what a description of an API may say, and wrongDescriptions what it may not: fanfold and an
// editor are of one mind about them.
var (
	descriptions = map[string]string{
		"least":     own(""),
		"method":    own(", method: PUT, encoding: form"),
		"headers":   own(`, headers: {X-A: "{{u}}", X-N: 5}, mapping: {u: {"@path": $.userId}}`),
		"types":     own(`, mapping: {n: {"@path": $.x}}, types: {n: integer}, required: [n], one_of: n`),
		"body":      own(`, mapping: {n: {"@path": $.x}}, body: {a: ["{{n}}"], v: 2}`),
		"no body":   own(", body: none, method: DELETE"),
		"batch":     own(`, batch: {events: 100, bytes: 500000, envelope: {events: "{{items}}"}}`),
		"in lines":  own(", batch: {events: 10, envelope: lines}"),
		"as text":   own(`, batch: {open: '{"e":[', sep: ',', close: ']}', events: 10}`),
		"before":    own(`, batch: {events: 10, before: {create: {}}}`),
		"any text":  own(`, batch: {open: "<\n", sep: "\n--\n", close: ">"}`),
		"success":   own(", success: [200, {status: 202, json: {ok: true}, has: [id]}]"),
		"one":       own(", success: 2xx"),
		"statuses":  own(", retry_on: [409, 5xx], reject_on: 404"),
		"results":   own(", batch: {events: 2}, results: {by: index, list: errors, index: i, message: why, others: taken}"),
		"positions": own(", batch: {events: 2}, results: {by: position, list: r, status: s}"),
		"passing":   own(", batch: {events: 2}, results: {by: index, list: e, index: i, again: {code: [LOCKED, 5]}}"),
		"words":     own(", batch: {events: 2}, results: {by: position, list: $, status: s, taken: [ok, 0]}"),
		"texts":     own(", success: [{status: 2xx, contains: <a>, matches: '<b>\\s*0'}, {text: ''}, {json: {a.0.b: [x, y]}}]"),
		"disabled": "destinations:\n  a:\n    type: http\n    base_url: https://a.example\n    actions:\n" +
			"      - {action: send, subscribe: 'type = \"track\"', path: /e}\n" +
			"      - {action: other, enabled: false, subscribe: 'type = \"page\"', path: /e}\n",
		"limits": own("\n    limits: {rate: [10/s, 5MB/s], concurrency: 4, gzip: true, window: {past: 30d}, " +
			"event_bytes: 65536}"),
		"answers": own("\n    answers: [{status: 403, contains: [a, b], means: rate_limited, wait: 1m}, " +
			"{json: {a.0.b: [4, x]}, means: refused}, {status: [409, 5xx], means: conflict}]"),
		"options": own("\n    order: user\n    rate: 5/s\n    idempotency_header: none\n    docs: https://a.example/docs\n" +
			"    settings: {auth: {bearer: 'env:TOKEN'}}"),
		"inside": "destinations:\n  a:\n    type: http\n    settings: {token: t}\n    api:\n" +
			"      base_url: https://a.example\n" +
			"      settings: {token: {doc: Token, required: true, secret: true}}\n      auth: {bearer: '{{settings.token}}'}\n" +
			"      actions: [{action: send, subscribe: 'type = \"track\"', path: /e}]\n",
	}
	wrongDescriptions = map[string]string{
		"method":     own(", method: PUSH"),
		"encoding":   own(", encoding: xml"),
		"type":       own(`, mapping: {n: {"@path": $.x}}, types: {n: int}`),
		"key":        own(", retries_on: [429]"),
		"batch":      own(", batch: {event: 5}"),
		"before":     own(`, batch: {before: create}`),
		"count":      own(", batch: {events: 0}"),
		"success":    own(", success: 404"),
		"member":     own(", success: {jason: {ok: true}}"),
		"pattern":    own(", success: {pattern: a}"),
		"status":     own(", retry_on: [6xx]"),
		"by":         own(", batch: {events: 2}, results: {by: name, list: errors, index: i}"),
		"no list":    own(", batch: {events: 2}, results: {by: index, index: i}"),
		"two again":  own(", batch: {events: 2}, results: {by: index, list: e, index: i, again: {a: x, b: y}}"),
		"others":     own(", batch: {events: 2}, results: {by: index, list: e, index: i, others: fine}"),
		"meaning":    own("\n    answers: [{status: 403, means: lost}]"),
		"two paths":  own("\n    answers: [{json: {a: 1, b: 2}, means: refused}]"),
		"limit":      own("\n    limits: {rates: 5/s}"),
		"window":     own("\n    limits: {window: {old: 5d}}"),
		"no path":    "destinations: {a: {type: http, base_url: 'https://a.example', actions: [{action: a, subscribe: x}]}}",
		"no address": "destinations: {a: {type: http, actions: [{action: a, subscribe: 'type = \"page\"', path: /e}]}}",
		"no actions": "destinations: {a: {type: http, base_url: 'https://a.example'}}",
		"auth": "destinations:\n  a:\n    type: http\n    api:\n      base_url: https://a.example\n      auth: {bear: x}\n" +
			"      actions: [{action: send, subscribe: 'type = \"track\"', path: /e}]\n",
	}
)

// TestSchemaOfDescriptions: what the schema says of destinations of type http is what fanfold says.
func TestSchemaOfDescriptions(t *testing.T) {
	s := schemaOf(t)
	check := func(text string) (int, string) {
		path := filepath.Join(t.TempDir(), "fanfold.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, said := invoke(t, map[string]string{"TOKEN": "sesame-sesame"}, "", "config", "check", "--config", path)
		return code, out + said
	}
	for name, text := range descriptions {
		if code, said := check(text); code != exitOK {
			t.Errorf("%s: fanfold does not take it: %s\n%s", name, said, text)
		}
	}
	for name, text := range wrongDescriptions {
		if err := validate(s, text); err == nil {
			t.Errorf("%s: an editor would take\n%s", name, text)
		}
		if code, said := check(text); code != exitUsage {
			t.Errorf("%s: exit code %d, %s\n%s", name, code, said, text)
		}
	}
}

// TestSchema: an editor takes what fanfold takes, and marks what it can know to be wrong.
func TestSchema(t *testing.T) {
	s := schemaOf(t)
	right := map[string]string{
		"empty":     "{}",
		"starter":   starter,
		"cassettes": "cassettes: {redact: [a, b], allow: c}",
		"nulls": "profiles: {empty: null, s: {destinations: {a: {filter: null, rate: null, settings: null, retry: " +
			"null}, b: null}}}",
		"choices": "destinations: {mixpanel: {settings: {strict_mode: 0}}}",
		"rates": "destinations: {a: {type: webhook, rate: 50/s}, b: {type: webhook, rate: 20MB/m, timeout: 1m30s}, " +
			"c: {type: webhook, rate: none, override_limits: true}, d: {type: webhook, rate: '${RATE}', base_url: '${B}/x'}}",
		"profile": "profiles: {staging: {memory: 1GiB, destinations: {a: {base_url: 'https://x.example'}, b: null}}}",
		"globals": "memory: 1GiB\nprogress: never\nstate-dir: /x\nlog-level: info\nlog-format: json\n",
		"segment": "destinations:\n  mixpanel:\n    settings: {project_token: 0123, api_secret: \"${X}\", api_region: " +
			"\"${REGION}\"}\n    actions:\n      - {id: x, name: n, actionSlug: trackEvent, trigger: 'type = \"track\"', " +
			"enabled: true, settings: {event: {\"@path\": $.event}, enable_batching: true}}\n",
	}
	const pasted = `{"actionSlug":"trackEvent","trigger":"type = \"track\"","settings":{"event":{"@path":"$.event"}}}`
	for name, actions := range map[string]string{"one": pasted, "an answer": `{"data":{"subscription":` + pasted + `}}`,
		"answers": `[{"data":{"subscriptions":[` + pasted + `]}},` + pasted + `]`,
		"a resource": `{"values":{"id":"x","action_id":"a",` +
			`"action_slug":"trackEvent","destination_id":"d","model_id":null,"reverse_etl_schedule":null,"trigger":"type = \"track\"",` +
			`"settings":"{\"event\":{\"@path\":\"$.event\"}}"}}`} {
		right["pasted: "+name] = "destinations: {a: {type: mixpanel, settings: {project_token: x}, actions: " + actions + "}}"
	}
	topic, err := topics.ReadFile("topics/config.txt")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?ms)^  transform:.*?\n\n`).FindString(string(topic))
	if right["help config"] = block; block == "" {
		t.Error("help config shows no configuration any more")
	}
	for _, d := range destinations.All() {
		var b strings.Builder
		fmt.Fprintf(&b, "destinations:\n  a:\n    type: %s\n    settings:\n", d.Info.Slug)
		for _, f := range d.Settings.Fields {
			value := f.Example
			if value == "" {
				value = f.Default
			}
			if value != "" {
				fmt.Fprintf(&b, "      %s: %q\n", f.Key, value)
			}
		}
		if len(d.Settings.Fields) == 0 {
			b.Reset()
			fmt.Fprintf(&b, "destinations:\n  a:\n    type: %s\n", d.Info.Slug)
		}
		if len(d.Actions) > 0 {
			for _, key := range config.OptionKeys() {
				fmt.Fprintf(&b, "    %s: %s\n", key, strings.ReplaceAll(sense[key], "ACTION", d.Actions[0].Slug))
			}
			for _, f := range d.Actions[0].Fields {
				right[d.Info.Slug+"."+f.Key] = fmt.Sprintf("destinations:\n  a:\n    type: %s\n"+
					"    actions: [{action: %s, mapping: {%q: {'@path': $.x}}}]\n", d.Info.Slug, d.Actions[0].Slug, f.Key)
			}
		}
		right[d.Info.Slug] = b.String()
	}
	for name, text := range descriptions {
		right["http, "+name] = text
	}
	for name, text := range right {
		if err := validate(s, text); err != nil {
			t.Errorf("%s is refused: %v\n%s", name, err, text)
		}
	}
	for name, text := range map[string]string{
		"key":             "destinatons: {}",
		"type":            "destinations: {a: {type: mixpanl}}",
		"no type":         "destinations: {a: {settings: {}}}",
		"option":          "destinations: {a: {type: webhook, concurency: 1}}",
		"value":           "destinations: {a: {type: webhook, presets: some}}",
		"count":           "destinations: {a: {type: webhook, concurrency: 0}}",
		"setting":         "destinations: {a: {type: webhook, settings: {urll: x}}}",
		"of another":      "destinations: {a: {type: webhook, settings: {project_token: x}}}",
		"choice":          "destinations: {a: {type: webhook, settings: {format: arry}}}",
		"by its own name": "destinations: {webhook: {settings: {urll: x}}}",
		"action":          "destinations: {a: {type: mixpanel, actions: [{action: trackEvnt, subscribe: x}]}}",
		"key of action":   "destinations: {a: {type: mixpanel, actions: [{action: trackEvent, subscrib: x}]}}",
		"field":           "destinations: {a: {type: mixpanel, actions: [{action: trackEvent, mapping: {evnt: x}}]}}",
		"pasted field":    "destinations: {a: {type: mixpanel, actions: [{actionSlug: trackEvent, settings: {evnt: x}}]}}",
		"step":            "transform: [{dorp: x}]",
		"profile":         "profiles: {staging: {destinations: {a: {bas_url: x}}}}",
		"no list":         "transform: {drop: x}",
		"two steps":       "transform: [{drop: x, remove: [a]}]",
		"only when":       "transform: [{when: x}]",
		"rate":            "destinations: {a: {type: webhook, rate: 50}}",
		"another rate":    "destinations: {a: {type: webhook, rate: fast}}",
		"timeout":         "destinations: {a: {type: webhook, timeout: 30}}",
		"address":         "destinations: {a: {type: webhook, base_url: x}}",
		"list":            "destinations: []",
		"retry":           "destinations: {a: {type: webhook, retry: {atempts: 1}}}",
	} {
		if err := validate(s, text); err == nil {
			t.Errorf("%s: an editor would take %s", name, text)
		}
	}
	if pasted, err := os.ReadFile("../../shared/segment/pasted.jsonl"); err == nil {
		for line := range bytes.Lines(pasted) {
			var row struct {
				Destination, Action, Subscribe string
				Mapping                        json.RawMessage
			}
			if err := json.Unmarshal(line, &row); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf(`destinations: {a: {type: %s, actions: [{"actionSlug":%q,"trigger":%q,"settings":%s}]}}`,
				row.Destination, row.Action, row.Subscribe, row.Mapping)
			if err := validate(s, text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
	}
}
