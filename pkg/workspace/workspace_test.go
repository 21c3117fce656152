package workspace

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

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
		Info: destination.Info{Slug: "toy-box", Name: "Toy Box", Integrations: []string{"Toy Box (Actions)"},
			Elsewhere: []string{"TB"}},
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
		read      func([]byte) (*Workspace, error)
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
		if name == "Public API" && (!strings.Contains(said,
			"Toys: live # evil: not carried over: of send, the fields evnt") ||
			!strings.Contains(said, "Toys: live # evil: not carried over: Old (type = \"page\"): "+
				"there is no action gone here")) {
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

// FuzzImport: whatever an export holds, what comes out is destinations and nothing else, each of a type that is there,
// and none of its settings is a reference.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{public, terraform, rudder, wholePublic, wholeTerraform, wholeRudder,
		exportOf(`{"apiRegion":"exec:x","sourceName":"env:Y"}`, ""),
		rudderOf(`{"name":"TB"}`, `{"sourceName":"{{a || b}}"}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, read := range []func([]byte) (*Workspace, error){Segment, RudderStack} {
			ws, err := read([]byte(in))
			if err != nil {
				continue
			}
			out, _, err := Write("x", ws, toys())
			if err != nil {
				t.Error(err)
			}
			var file map[string]map[string]struct {
				Type     string
				Settings map[string]any
			}
			if err := yaml.Unmarshal(out, &file); err != nil || len(file) != 1 {
				t.Fatalf("%v:\n%s", err, out)
			}
			for name, d := range file["destinations"] {
				if d.Type != "toy-box" || refers(d.Settings) {
					t.Errorf("%s is %+v:\n%s", name, d, out)
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
		if err != nil || len(got.Destinations) != 1 || got.Destinations[0].Name != "Öl" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// exportOf is an export of a destination of Segment's with these settings, and what else there is.
func exportOf(settings, more string) string {
	return `{"data":{"destinations":[{"id":"d1","name":"Toys","enabled":true,"sourceId":"s1","metadata":{"slug":"toy-box"},` +
		`"settings":` + settings + `}]}}` + more
}

// rudderOf is an export of a destination of RudderStack's.
func rudderOf(definition, config string) string {
	return `{"sources":[{"id":"s","name":"Web","sourceDefinition":{"name":"JS"},"destinations":[{"id":"d","name":"Toys",` +
		`"enabled":true,"destinationDefinition":` + definition + `,"config":` + config + `}]}]}`
}

// TestNothingIsLostInSilence: what makes an import send other requests than the workspace does, or to another place,
// is in the file, or it is said.
func TestNothingIsLostInSilence(t *testing.T) {
	subscription := func(destination, trigger string) string {
		return `{"data":{"subscriptions":[{"id":"x","name":"Track","actionSlug":"send","destinationId":"` + destination +
			`","enabled":true,"trigger":"` + trigger + `","settings":{}}]}}`
	}
	filter := func(rest string) string {
		return `{"data":{"filters":[{"id":"f","title":"Ours","sourceId":"s1","destinationId":"d1",` + rest + `}]}}`
	}
	for name, c := range map[string]struct {
		read func([]byte) (*Workspace, error)
		in   string
		has  string // of the file
		said string // "": nothing
	}{
		"a filter that drops": {Segment,
			exportOf(`{}`, filter(`"if":"event = \"E\"","actions":[{"type":"DROP"}],"enabled":true`)),
			`filter: '!(event = "E")'`, ""},
		"two filters": {Segment, exportOf(`{}`, filter(`"if":"event = \"E\"","actions":[{"type":"DROP"}]`)+
			filter(`"id":"g","if":"event = \"F\"","actions":[{"type":"DROP"}]`)), `filter: '!(event = "E") and !(event = "F")'`, ""},
		"a filter of Terraform's": {Segment, `{"values":{"root_module":{"resources":[
			{"type":"segment_destination","values":{"id":"d1","name":"Toys","enabled":true,"metadata":{"slug":"toy-box"},"settings":"{}"}},
			{"type":"segment_destination_filter","values":{"id":"f","destination_id":"d1","if":"event = \"E\"","enabled":true,
			"actions":[{"type":"DROP"}]}}]}}}`, `filter: '!(event = "E")'`, ""},
		"a filter that is off": {Segment, exportOf(`{}`,
			filter(`"if":"event = \"E\"","actions":[{"type":"DROP"}],"enabled":false`)), "type: toy-box\n", ""},
		"a filter that drops all": {Segment, exportOf(`{}`, filter(`"if":"all","actions":[{"type":"DROP"}]`)),
			"filter: type = null", "Toys: its filter Ours drops all events"},
		"a filter that changes": {Segment,
			exportOf(`{}`, filter(`"if":"event = \"E\"","actions":[{"type":"ALLOW_PROPERTIES"}]`)),
			"# not carried over: its filter Ours does ALLOW_PROPERTIES",
			"Toys: not carried over: its filter Ours does ALLOW_PROPERTIES"},
		"a filter of another": {Segment, exportOf(`{}`, `{"filters":[{"if":"x = 1","title":"G","destinationId":"d9"}]}`), "",
			"filter G: it belongs to destination d9, which is not in the export"},
		"a subscription of another": {Segment, exportOf(`{}`, subscription("d9", `type = \"track\"`)),
			"# ", "subscription Track: it belongs to destination d9, which is not in the export"},
		"a credential in a mapping": {Segment, exportOf(`{}`, strings.Replace(subscription("d1", "event"), `"settings":{}`,
			`"settings":{"event":{"Authorization":"Bearer hunter2-hunter2","X-Api-Key":{"@literal":"hunter2-hunter2"},"code":"USD",`+
				`"access_token":{"@path":"$.context.token"},"password":"{{traits.password}}"}}`, 1)),
			"\"Authorization\": \"${TOYS_AUTHORIZATION}\"\n            \"X-Api-Key\": {\"@literal\": \"${TOYS_X_API_KEY}\"}\n" +
				"            \"access_token\": {\"@path\": \"$.context.token\"}\n            \"code\": \"USD\"", ""},
		"a filter that is none": {Segment, exportOf(`{}`, filter(`"if":"a = 1) or (b = 2","actions":[{"type":"DROP"}]`)),
			"filter: 'TO BE MENDED: !(a = 1) or (b = 2)'", "Toys: to be mended: its filter Ours: "},
		"a filter that samples": {Segment,
			exportOf(`{}`, filter(`"if":"all","actions":[{"type":"SAMPLE","percent":0.1,"path":"userId"}]`)),
			"type: toy-box\n", `its filter Ours does SAMPLE {"path":"userId","percent":0.1} to events with all`},
		"twice the same": {Segment, exportOf(`{}`, strings.Repeat(filter(`"if":"event = \"E\"","actions":[{"type":"DROP"}]`)+
			subscription("d1", `type = \"track\"`), 2)), "filter: '!(event = \"E\")'\n    actions:\n      # Track\n" +
			"      - action: send\n        subscribe: type = \"track\"\n", ""},
		"a plan": {Segment, `{"format_version":"1.2","planned_values":{"root_module":{"resources":[{"type":"segment_destination",
			"values":{"name":"Toys","enabled":true,"metadata":{"slug":"toy-box"},"settings":"{}"}}]}},"resource_changes":[{"change":
			{"after":{"name":"Toys","enabled":true,"metadata":{"slug":"toy-box"},"settings":"{}"}}}]}`,
			"Not carried over:\n#   the plan (but planned_values): it means nothing here\n\ndestinations:\n  toys:\n" +
				"    type: toy-box\n" +
				"    settings:\n      project_token: \"${TOYS_PROJECT_TOKEN}\"\n", ""},
		"of the environment": {RudderStack,
			rudderOf(`{"name":"TB"}`, `{"token":"env.OUR_TOKEN","sourceName":"env.OUR_NAME"}`),
			"#   OUR_TOKEN=\n#   OUR_NAME=\n\ndestinations:\n  # gets events of Web\n  toys:\n    type: toy-box\n    settings:\n" +
				"      project_token: \"${OUR_TOKEN}\"\n      source_name: \"${OUR_NAME}\"", ""},
		"of each event": {RudderStack, rudderOf(`{"name":"TB"}`, `{"sourceName":"{{ event.context.x || \"y\" }}"}`), "",
			"Toys: not carried over: the setting sourceName, which each event says for itself: {{ event.context.x"},
		"another setting": {RudderStack, rudderOf(`{"name":"TB"}`, `{"apiRegion":"eu","regionTest":1}`), "api_region: eu",
			"Toys: not carried over: the setting regionTest"},
		"where each event says": {RudderStack, rudderOf(`{"name":"TB"}`, `{"dataCenter":"{{ event.context.dc || \"EU\" }}"}`),
			`api_region: '{{ event.context.dc || "EU" }}'`, "the setting dataCenter, which each event says for itself"},
		"rows of a model": {Segment, exportOf(`{}`, strings.Replace(subscription("d1", "event"), `"enabled"`,
			`"modelId":"m1","enabled"`, 1)), "", "Track (send): rows of the model m1 feed it there, and no events"},
		"the page before": {Segment, exportOf(`{}`, `{"filters":[],"pagination":{"current":"Mg==","previous":"MA=="}}`), "",
			"filters: the export lacks the page before one of them (pagination.previous is MA==)"},
		"a source that is off": {Segment,
			exportOf(`{}`, `{"id":"s1","name":"Web","writeKeys":[],"enabled":false,"metadata":{}}`),
			"# ", "left out: Toys (toy-box): its source is switched off"},
		"one source of two that is off": {Segment,
			exportOf(`{}`, `{"id":"s1","name":"Web","writeKeys":[],"enabled":false,"metadata":{}}
			{"id":"d1","name":"Toys","sourceId":"s2","metadata":{"slug":"toy-box"},"settings":{}}`),
			"# gets events of Web (switched off there), s2\n", ""},
		"devices alone": {RudderStack, strings.Replace(rudderOf(`{"name":"TB"}`, `{}`), `"config"`,
			`"isProcessorEnabled":false,"config"`, 1), "", "left out: Toys (TB): devices alone send to it"},
		"an action by its id": {Segment,
			strings.Replace(exportOf(`{}`, strings.Replace(subscription("d1", "event"), `"actionSlug":"send"`,
				`"actionId":"a1"`, 1)), `"slug":"toy-box"`, `"slug":"toy-box","actions":[{"id":"a1","slug":"send"}]`, 1),
			"action: send\n        subscribe: event\n", ""},
		"an action by an id alone": {Segment,
			exportOf(`{}`, strings.Replace(subscription("d1", "event"), `"actionSlug":"send"`,
				`"actionId":"a1"`, 1)), "", "there is no action with the id a1 here"},
		"consents": {RudderStack, rudderOf(`{"name":"TB"}`,
			`{"consentManagement":{"web":[{"provider":"custom","consents":[{"consent":"b"},
			{"consent":"a"},{"consent":""}],"resolutionStrategy":"and"}],"ios":[{"consents":[{"consent":"a"},{"consent":"b"}]}],"amp":[]}}`),
			"consent: [\"a\", \"b\"]\n", ""},
		"either consent": {RudderStack, rudderOf(`{"name":"TB"}`, `{"consentManagement":{"web":[{"consents":[{"consent":"b"},
			{"consent":"a"}],"resolutionStrategy":"or"}]}}`), "",
			"Toys: not carried over: its rules of consent (consentManagement)"},
		"consents that differ": {RudderStack,
			rudderOf(`{"name":"TB"}`, `{"consentManagement":{"web":[{"consents":[{"consent":"b"}]}],
			"ios":[{"consents":[{"consent":"a"}]}]}}`), "", "Toys: not carried over: its rules of consent (consentManagement)"},
		"a command": {Segment, exportOf(`{"sourceName":"exec:touch x","projectToken":"exec:touch y"}`, ""),
			"settings:\n      project_token: \"${TOYS_PROJECT_TOKEN}\"\n",
			"Toys: not carried over: the setting sourceName, whose value names"},
		"a file for a region": {Segment, exportOf(`{"apiRegion":"file:/etc/hostname"}`, ""), "api_region: TO BE MENDED\n",
			"to be mended: the value of the setting api_region"},
		"a line that is none": {Segment,
			strings.Replace(exportOf(`{}`,
				`{"id":"s1","name":"Web\u2028evil: {type: stdout}\u0085b: 1\u2029c: 2","writeKeys":[],`+
					`"metadata":{}}`), `"Toys"`, `"Toys"`, 1), "# gets events of Web evil: {type: stdout} b: 1 c: 2\n", ""},
		"names in a value": {Segment, exportOf(`{"projectToken":{"X-Region":"hunter2-hunter2"}}`, ""),
			"# ${TOYS_PROJECT_TOKEN} is for the values of X-Region\n", ""},
		"two regions": {RudderStack, rudderOf(`{"name":"TB"}`, `{"apiRegion":"us","dataCenter":"EU"}`),
			`api_region: us or eu`,
			"Toys: the settings apiRegion and dataCenter differ in where data resides"},
		"twice a region": {RudderStack, rudderOf(`{"name":"TB"}`, `{"apiRegion":"eu","dataCenter":"EU"}`), "api_region: eu",
			"Toys: not carried over: the setting dataCenter, since apiRegion is there"},
		"a consent": {RudderStack, rudderOf(`{"name":"TB"}`,
			`{"oneTrustCookieCategories":[{"oneTrustCookieCategory":"C3"}]}`), "",
			"not carried over: the setting oneTrustCookieCategories"},
		"a list of none": {RudderStack, rudderOf(`{"name":"TB"}`, `{"eventFilteringOption":"whitelistedEvents",
			"whitelistedEvents":[{"eventName":""}]}`), `filter: '!(type = "track")'`, ""},
		"a connection that is off": {RudderStack, strings.Replace(rudderOf(`{"name":"TB"}`, `{}`), `"config"`,
			`"isConnectionEnabled":false,"config"`, 1), "", "left out: Toys (TB): it is switched off"},
		"a connection of two that is off": {RudderStack, strings.Replace(rudderOf(`{"name":"TB"}`, `{}`), `"config"`,
			`"isConnectionEnabled":false,"config"`, 1) + strings.Replace(rudderOf(`{"name":"TB"}`, `{}`), `"Web"`, `"App"`, 1),
			"# gets events of App\n", ""},
		"code of the user's": {RudderStack, strings.Replace(rudderOf(`{"name":"TB"}`, `{}`), `"config"`,
			`"transformations":[{"id":"t"}],"config"`, 1), "", "Toys: not carried over: its 1 transformations are code"},
		"no trigger": {Segment, exportOf(`{}`, subscription("d1", "")), "", "Track (send): it has no trigger"},
		"a page that is missing": {Segment,
			exportOf(`{}`, `{"data":{"destinations":[],"pagination":{"current":"MA==","next":"Mg=="}}}`),
			"", "destinations: the export lacks the next page of them (pagination.next is Mg==)"},
		"a page that is there": {Segment, exportOf(`{}`, `{"destinations":[],"pagination":{"current":"MA==","next":"Mg=="}}
			{"destinations":[],"pagination":{"current":"Mg=="}}`), "", ""},
		"no subscriptions": {Segment, strings.Replace(exportOf(`{}`, ``), `"toy-box"`, `"actions-toy-box"`, 1), "",
			"Toys: no subscription of it is in the export"},
		"a switch for the EU":  {Segment, exportOf(`{"enableEuropeanUnionRegion":true}`, ""), "api_region: eu", ""},
		"a switch that is off": {Segment, exportOf(`{"enableEuropeanUnionRegion":false}`, ""), "type: toy-box\n", ""},
		"another switch": {Segment, exportOf(`{"apiRegion":true}`, ""), `api_region: "true"`,
			"the value of the setting api_region"},
		"a server": {RudderStack, rudderOf(`{"displayName":"Toy Box"}`, `{"residencyServer":"EU"}`),
			"api_region: eu", ""},
		"another server": {RudderStack, rudderOf(`{"displayName":"Toy Box"}`, `{"apiServer":"eu"}`), "api_region: eu",
			""},
		"the ordinary server": {RudderStack, rudderOf(`{"displayName":"Toy Box"}`, `{"apiServer":"standard"}`),
			"type: toy-box\n", ""},
		"a region unknown here": {RudderStack, rudderOf(`{"displayName":"Toy Box"}`, `{"region":"IND"}`), "api_region: IND",
			"the value of the setting api_region"},
		"events that are named": {RudderStack, rudderOf(`{"name":"TB"}`, `{"eventFilteringOption":"blacklistedEvents",
			"blacklistedEvents":[{"eventName":"E"},{"eventName":"a \"b\""},{"eventName":""}],"whitelistedEvents":[{"eventName":"G"}]}`),
			`filter: '!(type = "track" and (event = "E" or event = "a \"b\""))'`, ""},
		"events that are not": {RudderStack, rudderOf(`{"name":"TB"}`, `{"eventFilteringOption":"whitelistedEvents",
			"whitelistedEvents":[{"eventName":"E"}]}`), `filter: '!(type = "track" and !(event = "E"))'`, ""},
		"no events at all": {RudderStack, rudderOf(`{"name":"TB"}`, `{"eventFilteringOption":"disable",
			"whitelistedEvents":[{"eventName":"E"}]}`), "type: toy-box\n", ""},
		"a definition's code": {RudderStack, rudderOf(`{"name":"TB"}`, `{}`), "type: toy-box\n", ""},
		"a definition's name": {RudderStack, rudderOf(`{"name":"TOY_BOX"}`, `{}`), "type: toy-box\n", ""},
		"another name of theirs": {RudderStack, rudderOf(`{"name":"TB","displayName":"The Box of Toys"}`, `{}`),
			"type: toy-box\n", ""},
		"an address with a password": {Segment, exportOf(`{"sourceName":"https://u:hunter2-hunter2@hook.example/in"}`, ""),
			`source_name: "${TOYS_SOURCE_NAME}"`, ""},
		"an address with a token": {RudderStack,
			rudderOf(`{"displayName":"Toy Box"}`, `{"region":"https://h.example?token=hunter2-hunter2"}`),
			"base_url: ${TOYS_API_REGION}", ""},
		"what looks like a variable": {Segment, exportOf(`{"sourceName":"a ${B} c"}`, ""), "source_name: a $${B} c", ""},
	} {
		ws, err := c.read([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, left, err := Write("export.json", ws, toys())
		said := strings.Join(left, "\n")
		if err != nil || !strings.Contains(string(out), c.has) || strings.Contains(string(out), "hunter2") ||
			!strings.Contains(said, c.said) || c.said == "" && said != "" {
			t.Errorf("%s: %v, %q is said, and %q wanted; %q is not in\n%s", name, err, said, c.said, c.has, out)
		}
	}
}
