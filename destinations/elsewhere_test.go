package destinations_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/workspace"
)

// exported is an export of one destination of a workspace of Segment's or of RudderStack's.
func exported(tool, code, name string, settings map[string]any) []byte {
	one := map[string]any{"id": "d", "name": "one", "enabled": true, "sourceId": "s"}
	var whole any
	if tool == "segment" {
		one["metadata"], one["settings"] = map[string]any{"slug": code, "name": name}, settings
		whole = map[string]any{"data": map[string]any{"destinations": []any{one}}}
	} else {
		one["destinationDefinition"], one["config"] = map[string]any{"name": code, "displayName": name}, settings
		whole = map[string]any{"sources": []any{map[string]any{"id": "s", "name": "Web",
			"sourceDefinition": map[string]any{"name": "JS"}, "destinations": []any{one}}}}
	}
	b, err := json.Marshal(whole)
	if err != nil {
		panic(err)
	}
	return b
}

// entry is a destination as an import writes it.
type entry struct {
	Type     string         `yaml:"type"`
	Settings map[string]any `yaml:"settings"`
	BaseURL  string         `yaml:"base_url"`
}

// imported is what an export of one destination comes to, and what is said.
func imported(t *testing.T, all []destination.Destination, tool string, export []byte) (entry, string) {
	t.Helper()
	read := workspace.Segment
	if tool != "segment" {
		read = workspace.RudderStack
	}
	ws, err := read(export)
	if err != nil {
		t.Fatal(err)
	}
	out, said, err := workspace.Write("x", ws, all)
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Destinations map[string]entry }
	if err := yaml.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return f.Destinations["one"], strings.Join(said, "\n")
}

const seg, rud = "segment", "rudderstack"

// residences are the settings that say where data resides, by partner and setting, with what Segment's Actions and
// classic destinations and RudderStack's say instead: residence in cases.yaml, and what has no cases here. Facts from
// Segment's public catalogue and the schemas of https://github.com/rudderlabs/rudder-integrations-config, where the
// values are lists of choices.
func residences() map[string][]casebook.Residence {
	all := map[string][]casebook.Residence{
		"s3.region": {
			{Tool: seg, Code: "actions-s3", Key: "s3_aws_region", Value: "eu-central-1", Want: "eu-central-1"},
			{Tool: seg, Code: "aws-s3", Key: "awsRegion", Value: "eu-west-1", Want: "eu-west-1"},
		},
	}
	for slug, f := range books() {
		for key, rows := range f.Residence {
			all[slug+"."+key] = rows
		}
	}
	return all
}

// aRegion is what the documentation of a setting says that tells where data goes.
var aRegion = regexp.MustCompile(`(?i)resid|region|data.?cent|instance|collects`)

// TestResidence: where data resides is carried over from other tools for every partner that has a setting for it, and
// a value that is not known here is one that the setting refuses, never silently its default.
func TestResidence(t *testing.T) {
	var found []string
	all := destinations.All()
	for _, d := range all {
		for _, f := range d.Settings.Fields {
			if !f.Secret && (slices.Contains(f.Choices, "eu") || aRegion.MatchString(f.Key+" "+f.Doc) && f.Type == "text" &&
				f.Key != "base_url") {
				found = append(found, d.Info.Slug+"."+f.Key)
			}
		}
	}
	residences := residences()
	for _, name := range found {
		if residences[name] == nil {
			t.Errorf("%s tells where data resides: say under residence in cases.yaml what other tools call it, or that "+
				"they do not", name)
		}
	}
	for name, rows := range residences {
		slug, key, _ := strings.Cut(name, ".")
		d, ok := destinations.Catalogue().Find(slug)
		if !ok || !slices.Contains(found, name) {
			t.Errorf("%s is no such setting", name)
			continue
		}
		for _, row := range rows {
			t.Run(fmt.Sprint(name, "/", row.Tool, "/", row.Code, "/", row.Value), func(t *testing.T) {
				got, said := imported(t, all, row.Tool, exported(row.Tool, row.Code, "", map[string]any{row.Key: row.Value}))
				if got.Type != slug {
					t.Fatalf("it is a %q: %s", got.Type, said)
				}
				value, _ := got.Settings[key].(string)
				if address, own := strings.CutPrefix(row.Want, "base:"); own {
					if got.BaseURL != address || value != "" {
						t.Errorf("base_url is %q and the setting %q", got.BaseURL, value)
					}
					return
				}
				settings := d.Settings.Examples()
				if got.Settings[key] != nil {
					settings[key] = value
				}
				_, err := d.Open(destination.Config{Settings: settings})
				switch {
				case got.BaseURL != "":
					t.Errorf("base_url is %s", got.BaseURL)
				case row.Want == "?":
					if err == nil || !strings.Contains(err.Error(), key) {
						t.Errorf("%q is taken: %v", value, err)
					}
				case err != nil || value != row.Want:
					t.Errorf("it is %q, %v; want %q", value, err, row.Want)
				}
			})
		}
	}
}

// names are what Segment's catalogue and RudderStack's definitions call each partner, the code and the name of each:
// elsewhere in cases.yaml, and what has no cases. Facts from Segment's public catalogue and
// https://github.com/rudderlabs/rudder-integrations-config.
func names() map[string][][3]string {
	all := map[string][][3]string{
		"file": {}, "stdout": {}, // of fanfold's own
		"s3": {
			{seg, "actions-s3", "AWS S3 (Actions)"}, {seg, "aws-s3", "AWS S3"}, {rud, "S3", "Amazon S3"},
		},
	}
	for slug, f := range books() {
		all[slug] = f.Elsewhere
	}
	return all
}

// others are destinations of theirs that are none of the catalogue's, although they are called nearly like one.
var others = [][3]string{
	{seg, "actions-braze-web", "Braze Web Device Mode (Actions)"}, {seg, "actions-braze-cohorts", "Braze Cohorts"},
	{seg, "actions-google-analytics-4-web", "Google Analytics 4 Web"},
	{seg, "actions-hubspot-web", "HubSpot Web (Actions)"}, {seg, "actions-intercom-web", "Intercom Web (Actions)"},
	{seg, "actions-iterable-lists", "Iterable Lists"}, {seg, "actions-linkedin-audiences", "Linkedin Audiences"},
	{seg, "actions-reddit-audiences", "Reddit Audiences"}, {seg, "reddit-pixel", "Reddit Pixel"},
	{seg, "actions-s3-csv", "AWS S3 CSV"}, {seg, "actions-segment-profiles", "Segment Profiles"},
	{seg, "actions-sendgrid-audiences", "SendGrid Lists (Actions)"},
	{seg, "actions-snap-audiences", "Snap Audiences (Actions)"},
	{seg, "actions-tiktok-audiences", "TikTok Audiences"},
	{seg, "actions-tiktok-offline-conversions", "TikTok Offline Conversions"},
	{seg, "actions-twilio-messaging", "Twilio Messaging"}, {seg, "actions-webhook-audiences", "Webhook Audiences"},
	{seg, "actions-optimizely-web", "Optimizely Web (Actions)"}, {seg, "facebook-pixel", "Facebook Pixel"},
	{rud, "FACEBOOK_PIXEL", "Facebook Pixel"},
	{rud, "FACEBOOK_OFFLINE_CONVERSIONS", "Facebook Offline Conversions"}, {rud, "S3_DATALAKE", "S3 Data Lake"},
	{rud, "KLAVIYO_BULK_UPLOAD", "Klaviyo Bulk Upload"}, {rud, "REDDIT_PIXEL", "Reddit Pixel"},
	{rud, "RS", "Redshift"}, {rud, "HTTP", "HTTP Webhook"}, {rud, "TIKTOK_AUDIENCE", "TikTok Audience"},
	{rud, "LINKEDIN_INSIGHT_TAG", "LinkedIn Insight Tag"}, {rud, "SNAP_PIXEL", "Snap Pixel"},
	{rud, "GA", "Google Analytics"},
}

// TestNamesElsewhere: every partner is found by its code and by its name in other tools, each by itself, and nothing
// else is taken for it.
func TestNamesElsewhere(t *testing.T) {
	all, names := destinations.All(), names()
	for _, d := range all {
		rows := names[d.Info.Slug]
		if rows == nil && len(d.Info.Integrations) > 0 {
			rows = [][3]string{{seg, "actions-" + d.Info.Slug, d.Info.Integrations[0]}} // as most are called there
		} else if rows == nil {
			t.Errorf("say under elsewhere in cases.yaml what other tools call %s, or that they do not have it (elsewhere: [])",
				d.Info.Slug)
		}
		for _, row := range rows {
			for _, by := range [][2]string{{row[1], row[2]}, {row[1], ""}, {"", row[2]}, {"unknown", row[2]}} {
				if got, said := imported(t, all, row[0],
					exported(row[0], by[0], by[1], map[string]any{})); got.Type != d.Info.Slug {
					t.Errorf("%s: %v of %s: it is %q: %s", d.Info.Slug, by, row[0], got.Type, said)
				}
			}
		}
	}
	for _, row := range others {
		if got, said := imported(t, all, row[0], exported(row[0], row[1], row[2], map[string]any{})); got.Type != "" {
			t.Errorf("%v is taken for %s", row, got.Type)
		} else if !strings.Contains(said, "fanfold has no such destination") {
			t.Errorf("%v: %q", row, said)
		}
	}
}

// TestSecretsElsewhere: a text of a mapping that takes the place of a secret setting is a variable, like that.
func TestSecretsElsewhere(t *testing.T) {
	const hidden = "https://hooks.slack.com/services/T00000000/B00000000/hunter2hunter2hunter2"
	ws, err := workspace.Segment(
		[]byte(`{"destinations":[{"id":"d","name":"one","settings":{},"metadata":{"slug":"actions-slack"}}]}
		{"actionSlug":"postToChannel","destinationId":"d","trigger":"type = \"track\"","settings":{"url":"` + hidden +
			`","text":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	out, said, err := workspace.Write("x", ws, destinations.All())
	if err != nil || strings.Contains(string(out), "hunter2") || !strings.Contains(string(out), `"url": "${ONE_URL}"`) {
		t.Errorf("%v, %v:\n%s", err, said, out)
	}
}

// TestRequestsElsewhere: a webhook of another tool posts one event a request, unless its subscription makes batches,
// and what its headers are called is said with the variable for them.
func TestRequestsElsewhere(t *testing.T) {
	all := destinations.All()
	hook := map[string]any{"webhookUrl": "https://h.example",
		"headers": []any{map[string]any{"from": "X-Api-Key", "to": "hunter2"}}}
	export := exported(rud, "WEBHOOK", "Webhook", hook)
	if got, _ := imported(t, all, rud, export); got.Settings["format"] != "single" {
		t.Errorf("%v", got)
	}
	ws, err := workspace.RudderStack(export)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := workspace.Write("x", ws, all)
	if err != nil || !strings.Contains(string(out), "# ${ONE_HEADERS} is for the values of X-Api-Key\n") {
		t.Errorf("%v:\n%s", err, out)
	}
	batches := string(exported(seg, "actions-webhook", "", nil)) +
		`{"actionSlug":"send","destinationId":"d","trigger":"event",
		"settings":{"url":"https://h.example","enable_batching":true}}`
	if got, _ := imported(t, all, seg, []byte(batches)); got.Type != "webhook" || got.Settings["format"] != nil {
		t.Errorf("%v", got)
	}
}
