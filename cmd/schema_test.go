package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
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

// TestSchema: an editor takes what fanfold takes, and marks what it can know to be wrong.
func TestSchema(t *testing.T) {
	s := schemaOf(t)
	right := map[string]string{
		"empty":     "{}",
		"starter":   starter,
		"cassettes": "cassettes: {redact: [a, b], allow: c}",
		"profile":   "profiles: {staging: {memory: 1GiB, destinations: {a: {base_url: 'https://x.example'}, b: null}}}",
		"globals":   "memory: 1GiB\nprogress: never\nstate-dir: /x\nlog-level: info\nlog-format: json\n",
		"segment": "destinations:\n  mixpanel:\n    settings: {project_token: 0123, api_secret: \"${X}\", api_region: " +
			"\"${REGION}\"}\n    actions:\n      - {id: x, name: n, actionSlug: trackEvent, trigger: 'type = \"track\"', " +
			"enabled: true, settings: {event: {\"@path\": $.event}, enable_batching: true}}\n",
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
