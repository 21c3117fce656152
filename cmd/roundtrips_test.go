package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exported are the ways in which tools write the same event down. Own says which properties a tool cannot keep, or
// what it calls the event.
var exported = []struct {
	tool, file, text string
	flags            []string
	name, id         string   // where they are not those of the others
	lacks            []string // properties
}{
	{tool: "segment", file: "in.jsonl", text: `{"type":"track","event":"Cup Emptied","messageId":"i-1","userId":"u-1",` +
		`"anonymousId":"d-1","timestamp":"2024-03-10T02:30:00.123Z","properties":PROPS}`},
	{tool: "rudderstack", file: "in.jsonl", text: `{"job_id":1,"event_payload":{"batch":[{"type":"track",` +
		`"event":"Cup Emptied","messageId":"i-1","userId":"u-1","anonymousId":"d-1","originalTimestamp":"2024-03-10T01:30:00.123Z",` +
		`"sentAt":"2024-03-10T01:30:05Z","properties":PROPS}],"receivedAt":"2024-03-10T02:30:05Z"}}`},
	{tool: "mixpanel", file: "in.jsonl",
		text: `{"event":"Cup Emptied","properties":{"time":1710037800123,"distinct_id":"u-1",` +
			`"$user_id":"u-1","$device_id":"d-1","$insert_id":"i-1",MEMBERS}}`},
	{tool: "amplitude", file: "in.jsonl", text: `{"event_type":"Cup Emptied","event_time":"2024-03-10 02:30:00.123000",` +
		`"uuid":"x","$insert_id":"i-1","user_id":"u-1","device_id":"d-1","event_properties":PROPS,"user_properties":{}}`},
	{tool: "posthog", file: "in.jsonl", text: `{"uuid":"i-1","event":"Cup Emptied","distinct_id":"u-1",` +
		`"timestamp":"2024-03-10T02:30:00.123000Z","properties":{"$device_id":"d-1",MEMBERS},"person_properties":"{}"}`},
	{tool: "ga4", file: "in.jsonl",
		text: `{"event_name":"cup_emptied","event_timestamp":"1710037800123000","user_id":"u-1",` +
			`"user_pseudo_id":"d-1","event_bundle_sequence_id":"7","event_params":[` +
			`{"key":"size","value":{"string_value":null,"int_value":"1234567890123456789","double_value":null}},` +
			`{"key":"ratio","value":{"double_value":1.25}},{"key":"by","value":{"string_value":"Ünï \"q\" ☕"}}]}`,
		name: "cup_emptied", id: "d-1-1710037800123000-cup_emptied-7", lacks: []string{"deep", "full"}},
	{tool: "snowplow", file: "in.jsonl", text: `{"event_id":"i-1","collector_tstamp":"2024-03-10 02:30:09.000",` +
		`"derived_tstamp":"2024-03-10 02:30:00.123","event":"unstruct","event_name":"cup_emptied","user_id":"u-1",` +
		`"domain_userid":"d-1","unstruct_event_com_acme_cup_emptied_1":PROPS}`, name: "cup_emptied"},
	{tool: "warehouse rows", file: "tracks.jsonl", text: `{"id":"i-1","received_at":"2024-03-10 02:30:09 UTC",` +
		`"timestamp":"2024-03-10 02:30:00.123 UTC","user_id":"u-1","anonymous_id":"d-1","event":"cup_emptied",` +
		`"event_text":"Cup Emptied",MEMBERS}`},
	{tool: "warehouse CSV", file: "tracks.csv", text: "ID,RECEIVED_AT,TIMESTAMP,USER_ID,ANONYMOUS_ID,EVENT,EVENT_TEXT," +
		"SIZE,RATIO,BY,DEEP,FULL\n" + `i-1,2024-03-10 02:30:09,2024-03-10 02:30:00.123,u-1,d-1,cup_emptied,Cup Emptied,` +
		`1234567890123456789,1.25,"Ünï ""q"" ☕","{""a"":[1,{""b"":null}],""c"":""1""}",false` + "\n",
		flags: []string{"--types", "SIZE=number,RATIO=number,DEEP=json,FULL=boolean"}},
}

const cupProperties = `"size":1234567890123456789,"ratio":1.25,"by":"Ünï \"q\" ☕","deep":{"a":[1,{"b":null}],"c":"1"},"full":false`

// imported are what tools are sent, and where in it stands what they know.
var imported = []struct {
	slug     string
	settings []string
	event    string            // path of the event in a request's body
	at       map[string]string // paths in it of name, user, anon, id, time and properties
}{
	{"segment", []string{"write_key=k"}, "batch.0",
		map[string]string{"name": "event", "user": "userId", "anon": "anonymousId",
			"id": "messageId", "time": "timestamp", "properties": "properties"}},
	{"mixpanel", []string{"project_token=t", "api_secret=s"}, "0", map[string]string{"name": "event",
		"user": "properties.distinct_id", "anon": "properties.$device_id", "id": "properties.$insert_id",
		"time": "properties.time", "properties": "properties"}},
	{"amplitude", []string{"api_key=k", "secret_key=s"}, "events.0", map[string]string{"name": "event_type",
		"user": "user_id", "anon": "device_id", "id": "insert_id", "time": "time", "properties": "event_properties"}},
	{"posthog", []string{"api_key=k"}, "batch.0", map[string]string{"name": "event", "user": "distinct_id",
		"time": "timestamp", "properties": "properties"}},
	{"customerio", []string{"site_id=s", "api_key=k"}, "batch.0",
		map[string]string{"name": "name", "user": "identifiers.id",
			"anon": "attributes.anonymous_id", "properties": "attributes"}},
}

// TestFromToolToTool takes one event through every export into every import: when it happened,
// whose it was, its id, its
// name and every property are the same behind it as before, digit by digit.
func TestFromToolToTool(t *testing.T) {
	var want map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+cupProperties+"}"), &want); err != nil {
		t.Fatal(err)
	}
	for _, from := range exported {
		t.Run(from.tool, func(t *testing.T) {
			t.Parallel()
			in := filepath.Join(t.TempDir(), from.file)
			text := strings.NewReplacer("PROPS", "{"+cupProperties+"}", "MEMBERS", cupProperties).Replace(from.text)
			if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"preview", "--from", in, "-o", "json", "--now", "2024-03-11T00:00:00Z"}, from.flags...)
			for _, to := range imported {
				args = append(args, "--to", to.slug)
				for _, s := range to.settings {
					args = append(args, "--set", to.slug+"."+s)
				}
			}
			code, out, errOut := invoke(t, nil, "", args...)
			if code != exitOK {
				t.Fatalf("exit code %d: %s", code, errOut)
			}
			for _, to := range imported {
				sent := sentTo(t, out, to.slug)
				same := func(what, want string) {
					if path, known := to.at[what]; known {
						if got := fmt.Sprint(below(below(sent, to.event), path)); got != want {
							t.Errorf("%s is told the %s %s, not %s", to.slug, what, got, want)
						}
					}
				}
				name, id := "Cup Emptied", "i-1"
				if from.name != "" {
					name = from.name
				}
				if from.id != "" {
					id = from.id
				}
				same("name", name)
				same("user", "u-1")
				same("anon", "d-1")
				same("id", id)
				if at := fmt.Sprint(below(below(sent, to.event), to.at["time"])); to.at["time"] != "" &&
					at != "1710037800123" && !strings.HasPrefix(at, "2024-03-10T02:30:00.123") {
					t.Errorf("%s is told that it happened at %s", to.slug, at)
				}
				properties := below(below(sent, to.event), to.at["properties"])
				for key, value := range want {
					if slices.Contains(from.lacks, key) {
						continue
					}
					got, err := json.Marshal(below(properties, key))
					if err != nil || sorted(t, got) != sorted(t, value) {
						t.Errorf("%s is told that %s is %s, not %s", to.slug, key, got, value)
					}
				}
			}
		})
	}
}

// sentTo is the body of the one request to a destination.
func sentTo(t *testing.T, preview, slug string) any {
	t.Helper()
	var bodies []any
	for line := range strings.Lines(preview) {
		var request struct {
			Destination string `json:"destination"`
			Body        any    `json:"body"`
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&request); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if request.Destination == slug {
			bodies = append(bodies, request.Body)
		}
	}
	if len(bodies) != 1 {
		t.Fatalf("%s is sent %d requests: %s", slug, len(bodies), preview)
	}
	return bodies[0]
}

// below is what stands at a path of members and elements; nil: nothing does.
func below(v any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			if step != "0" || len(at) == 0 {
				return nil
			}
			v = at[0]
		default:
			return nil
		}
	}
	return v
}
