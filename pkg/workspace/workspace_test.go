package workspace

import (
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

type toySettings struct {
	ProjectToken string `setting:"project_token,required,secret" doc:"Who we are." example:"toy-token"`
	Region       string `setting:"api_region" doc:"Where." choices:"us,eu" default:"us"`
	SourceName   string `setting:"source_name" doc:"Named."`
}

func toys() []destination.Destination {
	return []destination.Destination{destination.Spec[toySettings]{
		Info:    destination.Info{Slug: "toy-box", Name: "Toy Box", Integrations: []string{"Toy Box (Actions)"}},
		Success: []destination.Success{{Any: true}},
		BaseURL: func(*toySettings) string { return "https://toy.example" },
		Actions: destination.Actions{
			destination.Action("send", "Send").On(`type = "track"`).Fields(field.Text("event")).Post("/", nil),
		},
	}.Destination()}
}

type farSettings struct {
	Key      string `setting:"key,required,secret" doc:"Who we are." example:"toy-token"`
	Endpoint string `setting:"endpoint,transport" doc:"Instance." default:"https://us.toy.example"`
}

func far() destination.Destination {
	return destination.Spec[farSettings]{
		Info:    destination.Info{Slug: "far-away", Name: "Far Away"},
		Success: []destination.Success{{Any: true}},
		BaseURL: func(s *farSettings) string { return s.Endpoint },
		Actions: destination.Actions{
			destination.Action("send", "Send").On(`type = "track"`).Fields(field.Text("event")).Post("/", nil),
		},
	}.Destination()
}

const public = `{"data":{"sources":[{"id":"s1","slug":"web","name":"The web","writeKeys":["k"],"metadata":{"slug":"javascript"},"settings":{}}]}}
{"data":{"destinations":[
 {"id":"d1","name":"Toys: live\n# evil","enabled":true,"sourceId":"s1","metadata":{"id":"m","name":"Toy Box (Actions)","slug":"actions-toy-box"},
  "settings":{"projectToken":"hunter2-hunter2","apiRegion":"EU 🇪🇺","sourceName":"0123","somethingElse":1}},
 {"id":"d2","name":"","enabled":true,"sourceId":"s1","metadata":{"slug":"actions-unknown"},"settings":{"a":1}},
 {"id":"d3","name":"Off","enabled":false,"sourceId":"s1","metadata":{"slug":"actions-toy-box"},"settings":{}}]}}
{"data":{"subscriptions":[
 {"id":"x","name":"Track","actionId":"a","actionSlug":"send","destinationId":"d1","enabled":true,"trigger":"type = \"track\" and event != \"a: b\"",
  "settings":{"event":{"@template":"{{event}}: x"},"evnt":1,"batch_size":5}},
 {"id":"y","name":"Old","actionSlug":"gone","destinationId":"d1","enabled":true,"trigger":"type = \"page\"","settings":{}}]}}`

const terraform = `{"values":{"root_module":{"resources":[
 {"type":"segment_destination","name":"toys","values":{"id":"d1","name":"Toys","enabled":true,"source_id":"s1","metadata":{"slug":"actions-toy-box"},"settings":"{\"projectToken\":\"hunter2-hunter2\"}"}},
 {"type":"segment_destination_subscription","name":"track","values":{"destination_id":"d1","action_slug":"send","name":"Track","enabled":false,"trigger":"type = \"track\"","settings":"{\"event\":{\"@path\":\"$.event\"}}"}},
 {"type":"segment_destination_subscription","name":"two","values":{"destination_id":"d1","action_slug":"send","name":"Two","enabled":true,"trigger":"type = \"page\"","settings":"{}"}}
]}}}`

const rudder = `{"sources":[{"id":"s","name":"Web","sourceDefinition":{"name":"Javascript"},"destinations":[
 {"id":"d","name":"Toys","enabled":true,"destinationDefinition":{"name":"TB","displayName":"Toy Box"},"config":{"token":"hunter2-hunter2","apiRegion":"us","useNativeSDK":{"web":true}},"transformations":[{}]},
 {"id":"e","name":"Far","enabled":true,"destinationDefinition":{"name":"FA","displayName":"Far Away"},"config":{"dataCenter":"EU-01"}}]}]}`

// TestImport: what can be carried over is, what cannot is said, and no secret is.
func TestImport(t *testing.T) {
	for name, c := range map[string]struct {
		read      func([]byte) ([]Destination, error)
		in        string
		has, hasn []string
	}{
		"Public API": {Segment, public, []string{
			"toys-live-evil:\n", "type: toy-box\n", `project_token: "${TOYS_LIVE_EVIL_PROJECT_TOKEN}"`,
			"#   TOYS_LIVE_EVIL_PROJECT_TOKEN=", "api_region: eu\n", `source_name: "0123"`,
			"# gets events of The web\n", "# not carried over: the setting somethingElse\n", "# Track\n", "action: send\n", `subscribe: 'type = "track" and event != "a: b"'`,
			"{{event}}: x", "of send, the fields evnt", "there is no action gone here",
			"#   actions-unknown (actions-unknown): fanfold has no such destination\n",
			"#   Off (actions-toy-box): it is switched off\n",
		}, []string{"hunter2", "\n# evil", "batch_size", "evnt: 1"}},
		"Terraform": {Segment, terraform, []string{"toys:\n", "enabled: false", `subscribe: type = "page"`, "$.event"},
			[]string{"hunter2"}},
		"RudderStack": {RudderStack, rudder,
			[]string{"toys:\n", `project_token: "${TOYS_PROJECT_TOKEN}"`, "# gets events of Web\n", `endpoint: "EU-01"`,
				"its 1 transformations are code", "the setting useNativeSDK"}, []string{"hunter2", "api_region: eu"}},
	} {
		dests, err := c.read([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, left, err := Write("export.json", dests, append(toys(), far()))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		said := strings.Join(left, "\n")
		if name == "Public API" && (!strings.Contains(said, "Toys: live # evil: of send, the fields evnt") ||
			!strings.Contains(said, "Toys: live # evil: Old (type = \"page\"): there is no action gone here")) {
			t.Errorf("nobody is told what is not carried over:\n%s", said)
		}
		for _, want := range c.has {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, out)
			}
		}
		for _, not := range c.hasn {
			if strings.Contains(string(out), not) {
				t.Errorf("%s: %q is in\n%s", name, not, out)
			}
		}
	}
	for in, want := range map[string]string{"": "no JSON", "{": "no JSON", "{}": "no destination is in it",
		"[1, null, \"x\"]": "no destination is in it"} {
		if _, err := Segment([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzImport: whatever an export holds, what comes out says no more than it should.
func FuzzImport(f *testing.F) {
	f.Add(public)
	f.Add(terraform)
	f.Add(rudder)
	f.Fuzz(func(t *testing.T, in string) {
		for _, read := range []func([]byte) ([]Destination, error){Segment, RudderStack} {
			if dests, err := read([]byte(in)); err == nil {
				if _, _, err = Write("x", dests, toys()); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestMarks: an export that a shell of Windows has written is the same export.
func TestMarks(t *testing.T) {
	text := `{"data":{"destinations":[{"id":"d","name":"\u00d6l","metadata":{"slug":"actions-mixpanel"},"settings":{}}]}}`
	text = strings.ReplaceAll(text, `\u00d6`, "Ö")
	utf16 := []byte{0xff, 0xfe}
	for _, c := range text + "\n" {
		utf16 = append(utf16, byte(c), byte(c>>8))
	}
	for name, data := range map[string][]byte{"none": []byte(text), "UTF-8": []byte("\ufeff" + text),
		"two files": []byte("\ufeff" + text + "\n\ufeff{}"), "UTF-16": utf16,
		"two files in UTF-16": slices.Concat(utf16, utf16)} {
		got, err := Segment(data)
		if err != nil || len(got) != 1 || got[0].Name != "Öl" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
