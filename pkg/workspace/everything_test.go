package workspace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// wholePublic is one of everything that the Public API has of a workspace, with much that nothing can be made of.
const wholePublic = `{"data":{"sources":[{"id":"s1","slug":"web","name":"The web","enabled":true,"writeKeys":["k"],
  "metadata":{"slug":"javascript"},"settings":{"website":"x"},"labels":[{"key":"team","value":"a"}]}],
  "pagination":{"current":"MA==","totalEntries":1}}}
{"data":{"destinations":[{"id":"d1","name":"Toys","enabled":true,"sourceId":"s1","metadata":{"slug":"actions-toy-box",
  "logos":{"default":"u"}},"settings":{"projectToken":"hunter2-hunter2","apiRegion":"EU","people":{"a":1}}},
 {"id":"d2","name":"Strange","enabled":true,"sourceId":"s1","metadata":{"slug":"actions-unknown"},"settings":{"a":1}}],
  "pagination":{"current":"MA==","totalEntries":2}}}
{"data":{"filters":[{"id":"f1","title":"Ours","sourceId":"s1","destinationId":"d1","if":"event = \"E\"","enabled":true,
  "actions":[{"type":"DROP"},{"type":"DROP_PROPERTIES","fields":{"context":["ip"]}}]},
 {"id":"f2","title":"Idle","sourceId":"s1","destinationId":"d1","if":"event = \"G\"","enabled":false,"actions":[{"type":"DROP"}]},
 {"id":"f3","title":"Stranger","sourceId":"s1","destinationId":"d2","if":"event = \"G\"","enabled":true,"actions":[{"type":"DROP"}]},
 {"id":"f4","title":"Lonely","sourceId":"s1","destinationId":"d7","if":"event = \"G\"","enabled":true,"actions":[{"type":"DROP"}]}]}}
{"data":{"subscriptions":[{"id":"x1","name":"Track","actionSlug":"send","destinationId":"d1","enabled":true,
  "trigger":"type = \"track\"","settings":{"event":{"@path":"$.event"}}},
 {"id":"x2","name":"Rows","actionSlug":"send","destinationId":"d1","enabled":true,"trigger":"type = \"track\"","modelId":"m1",
  "reverseETLSchedule":{"strategy":"PERIODIC"},"settings":{}},
 {"id":"x3","name":"Gone","actionSlug":"gone","destinationId":"d1","enabled":true,"trigger":"type = \"track\"","settings":{}},
 {"id":"x4","name":"Never","actionSlug":"send","destinationId":"d1","enabled":true,"trigger":"","settings":{}},
 {"id":"x5","name":"Sleeps","actionSlug":"send","destinationId":"d1","enabled":false,"trigger":"type = \"page\"","settings":{}},
 {"id":"x6","name":"Foreign","actionSlug":"send","destinationId":"d2","enabled":true,"trigger":"type = \"page\"","settings":{}},
 {"id":"x7","name":"Orphan","actionSlug":"send","destinationId":"d7","enabled":true,"trigger":"type = \"page\"","settings":{}}]}}
{"data":{"warehouses":[{"id":"w1","name":"Lake","enabled":true}]}}
{"data":{"trackingPlans":[{"id":"t1","name":"Plan A","rules":[{"key":"Order"}]}]},"status":{"code":"ok"}}`

const wholeTerraform = `{"format_version":"1.0","values":{"root_module":{"resources":[
 {"address":"segment_source.web","type":"segment_source","name":"web","values":{"id":"s1","name":"Web","enabled":true,"settings":"{}"}},
 {"address":"segment_destination.toys","type":"segment_destination","values":{"id":"d1","name":"Toys","enabled":true,"source_id":"s1",
  "metadata":{"slug":"actions-toy-box"},"settings":"{\"projectToken\":\"hunter2-hunter2\"}"},"sensitive_values":{"settings":true}},
 {"address":"segment_destination_filter.f","type":"segment_destination_filter","values":{"id":"f1","destination_id":"d1",
  "title":"Ours","enabled":true,"if":"event = \"E\"","actions":[{"type":"SAMPLE","percent":0.05,"path":"userId","fields":null}]}},
 {"address":"segment_destination_subscription.t","type":"segment_destination_subscription","values":{"id":"x1","action_id":"a",
  "action_slug":"send","destination_id":"d1","enabled":true,"model_id":null,"name":"Track","reverse_etl_schedule":null,
  "settings":"{\"event\":{\"@path\":\"$.event\"}}","trigger":"type = \"track\""}},
 {"address":"segment_warehouse.lake","type":"segment_warehouse","name":"lake","values":{"id":"w","name":"Lake"}},
 {"address":"aws_s3_bucket.b","type":"aws_s3_bucket","name":"b","values":{"bucket":"b"}}],
 "child_modules":[{"address":"module.x","resources":[{"address":"segment_function.fn","type":"segment_function","values":{"id":"fn"}}]}]}}}`

const wholeRudder = `{"enableMetrics":false,"workspaceId":"w","libraries":[{"versionId":"lib1"}],"settings":{"dataRetention":{"days":3}},
 "sources":[{"id":"s","name":"Web","writeKey":"k","enabled":true,"sourceDefinition":{"name":"JS"},"config":{"eventUpload":true},
  "dgSourceTrackingPlanConfig":{"version":3,"trackingPlan":{"id":"tp"}},"destinations":[
  {"id":"d","name":"Toys","enabled":true,"isConnectionEnabled":true,"isProcessorEnabled":true,"revisionId":"r",
   "destinationDefinition":{"name":"TB","displayName":"Toy Box","config":{"a":1}},"transformations":[{"versionId":"tr1"}],
   "deliveryAccount":{"id":"acc1"},"config":{"token":"hunter2-hunter2","residencyServer":"EU","consentManagement":{"web":[{"provider":"x","consents":[{"consent":"ads"}],"resolutionStrategy":"and"}]},
   "eventFilteringOption":"blacklistedEvents","blacklistedEvents":[{"eventName":"E"}],"whitelistedEvents":[{"eventName":"W"}]}},
  {"id":"e","name":"Strange","enabled":true,"destinationDefinition":{"displayName":"Strange"},"config":{"a":1}}]}]}`

// TestNothingVanishes: every object of an export is in the file that is made of it, or in a comment there, or it is
// said. A member that nobody knows is put into each of them in turn, and has to turn up.
func TestNothingVanishes(t *testing.T) {
	for name, c := range map[string]struct {
		read func([]byte) (*Workspace, error)
		in   string
		said []string // of objects that stand under other words
		// closed are objects whose members are not looked at, by what stands for them.
		closed map[string]string
	}{
		"Public API": {Segment, wholePublic, []string{"DROP_PROPERTIES", "its subscription Foreign", "its filter Stranger",
			"filter Lonely", "subscription Orphan", "switched off there: its filter Idle", "Sleeps",
			"Rows (send): rows of the model m1",
			"Gone (type", "Never (send): it has no trigger", "warehouses (Lake)", "trackingPlans (Plan A)",
			"sources.settings (The web)",
			"sources.labels (The web)", "the setting people"}, map[string]string{
			"metadata": "gets events of The web", "pagination": "The web", // the tool's own catalogue, and which page it is
			// what is left out is, as a whole
			"filters.f2": "Idle", "filters.f3": "its filter Stranger", "filters.f4": "filter Lonely",
			"subscriptions.x2": "Rows", "subscriptions.x3": "Gone", "subscriptions.x4": "Never", "subscriptions.x6": "Foreign",
			"subscriptions.x7": "Orphan", "destinations.d2": "Strange", "warehouses.w1": "Lake", "trackingPlans.t1": "Plan A",
			"rules": "Plan A", "people": "the setting people", "labels": "labels",
			"s1.settings": "sources.settings"}},
		"Terraform": {Segment, wholeTerraform,
			[]string{"SAMPLE", `"percent":0.05`, `"path":"userId"`, "segment_warehouse (Lake)",
				"aws_s3_bucket (aws_s3_bucket.b)", "segment_function (segment_function.fn)"}, map[string]string{
				"metadata": "Toys", "sensitive_values": "Toys", "segment_warehouse": "Lake", "aws_s3_bucket": "aws_s3_bucket.b",
				"segment_function": "segment_function.fn", "values.w": "Lake"}},
		"RudderStack": {RudderStack, wholeRudder, []string{"libraries (", "settings.dataRetention", "sources.config (Web)",
			"sources.dgSourceTrackingPlanConfig (Web)", "its 1 transformations are code", "its deliveryAccount",
			`consent: ["ads"]`,
			"means nothing: its whitelistedEvents"}, map[string]string{
			"sourceDefinition": "gets events of Web", "destinationDefinition": "Toys", "transformations": "1 transformations",
			"destinations.e": "Strange", "deliveryAccount": "its deliveryAccount", "trackingPlan": "dgSourceTrackingPlanConfig",
			"dgSourceTrackingPlanConfig": "dgSourceTrackingPlanConfig", "s.config": "sources.config",
			"consentManagement": `consent: ["ads"]`,
			"libraries":         "libraries", "dataRetention": "dataRetention",
			"blacklistedEvents": `event = "E"`, "whitelistedEvents": "whitelistedEvents"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := func(in string) string {
				ws, err := c.read([]byte(in))
				if err != nil {
					t.Fatal(err)
				}
				out, said, err := Write("export.json", ws, toys())
				if err != nil {
					t.Fatal(err)
				}
				return string(out) + strings.Join(said, "\n")
			}
			whole := all(c.in)
			for _, want := range append(c.said, slices.Collect(maps.Values(c.closed))...) {
				if !strings.Contains(whole, want) {
					t.Errorf("nothing says %q:\n%s", want, whole)
				}
			}
			used := map[string]bool{}
			objects := 0
			for n := 0; ; n++ {
				in, path := marked(t, c.in, n)
				if path == "" {
					objects = n
					break
				}
				closed := false
				for key := range c.closed {
					if strings.Contains(path+".", "."+key+".") {
						closed, used[key] = true, true
					}
				}
				if closed {
					continue
				}
				if got := all(in); !strings.Contains(got, "zzmark") {
					t.Errorf("an object in %s vanishes:\n%s", path, got)
				}
			}
			if objects < 15 {
				t.Errorf("only %d objects were looked at", objects)
			}
			for key := range c.closed {
				if !used[key] {
					t.Errorf("%s closes nothing", key)
				}
			}
		})
	}
}

// marked is an export with a further object in its nth object, and the path to that; "" when there are not so many.
// Elements of lists are called by their ids, and resources by their types, too.
func marked(t *testing.T, in string, n int) (out, path string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(in))
	var mark func(v any, at string)
	mark = func(v any, at string) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				name := at
				if o, _ := one.(map[string]any); o["id"] != nil {
					name = fmt.Sprint(at, ".", o["id"])
				} else if o["type"] != nil && o["values"] != nil {
					name = fmt.Sprint(at, ".", o["type"])
				}
				mark(one, name)
			}
		case map[string]any:
			if id, is := v["id"].(string); is && strings.HasSuffix(at, ".values") {
				at += "." + id
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				mark(v[key], at+"."+key)
			}
			if n--; n == -1 {
				path = cmp.Or(at, ".")
				v["zzmark"] = map[string]any{"zzmark": "zzmark"}
			}
		}
	}
	var docs []string
	for d.More() {
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		mark(v, "")
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(b))
	}
	return strings.Join(docs, "\n"), path
}
