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

// residence is one way in which a tool says where data resides.
type residence struct {
	tool, code string
	key        string
	value      any
	want       string // the value of the setting; "": its default or none; "base:" and an address; "?": refused
}

const seg, rud = "segment", "rudderstack"

// residences are the settings that say where data resides, by partner and setting, with what Segment's Actions and
// classic destinations and RudderStack's say instead. Facts from Segment's public catalogue and the schemas of
// https://github.com/rudderlabs/rudder-integrations-config, where the values are lists of choices.
var residences = map[string][]residence{
	"amplitude.endpoint": {
		{seg, "actions-amplitude", "endpoint", "north_america", "us"},
		{seg, "actions-amplitude", "endpoint", "europe", "eu"},
		{seg, "amplitude", "endpoint", "Amplitude EU", "eu"}, {seg, "actions-amplitude", "endpoint", "mars", "?"},
		{rud, "AM", "residencyServer", "standard", "us"}, {rud, "AM", "residencyServer", "EU", "eu"},
		{rud, "AM", "residencyServer", "JP", "?"},
	},
	"braze.endpoint": {
		{seg, "actions-braze-cloud", "endpoint", "https://rest.fra-01.braze.eu", "https://rest.fra-01.braze.eu"},
		{seg, "braze", "datacenter", "eu01", "eu01"}, {seg, "braze", "datacenter", "mars", "?"},
		{rud, "BRAZE", "dataCenter", "EU-01", "EU-01"}, {rud, "BRAZE", "dataCenter", "AU-01", "AU-01"},
		{rud, "BRAZE", "dataCenter", "EU", "?"},
	},
	"customerio.account_region": {
		{seg, "actions-customerio", "accountRegion", "US 🇺🇸", "us"},
		{seg, "actions-customerio", "accountRegion", "EU 🇪🇺", "eu"},
		{seg, "customer-io", "datacenter", "eu", "eu"}, {seg, "customer-io", "datacenter", "mars", "?"},
		{rud, "CUSTOMERIO", "datacenter", "US", "us"}, {rud, "CUSTOMERIO", "datacenter", "EU", "eu"},
		{rud, "CUSTOMERIO", "datacenter", "AU", "?"},
	},
	// neither tool has one: its hosts for browsers are not those of the Measurement Protocol
	"google-analytics-4.region": {
		{rud, "GA4", "sdkBaseUrl", "https://www.googletagmanager.com", ""},
		{seg, "actions-google-analytics-4", "region", "mars", "?"},
	},
	"intercom.region": {
		{seg, "intercom", "apiBase", "https://api-iam.intercom.io", "us"},
		{seg, "intercom", "apiBase", "https://api-iam.eu.intercom.io", "eu"},
		{seg, "intercom", "apiBase", "https://api-iam.au.intercom.io", "au"},
		{seg, "intercom", "apiBase", "https://api-iam.jp.intercom.io", "base:https://api-iam.jp.intercom.io"},
		{rud, "INTERCOM", "apiServer", "standard", "us"}, {rud, "INTERCOM", "apiServer", "eu", "eu"},
		{rud, "INTERCOM", "apiServer", "au", "au"},
		{rud, "INTERCOM_V2", "apiServer", "US", "us"}, {rud, "INTERCOM_V2", "apiServer", "Europe", "eu"},
		{rud, "INTERCOM_V2", "apiServer", "Australia", "au"}, {rud, "INTERCOM_V2", "apiServer", "Japan", "?"},
	},
	"iterable.data_center_location": {
		{seg, "actions-iterable", "dataCenterLocation", "united_states", "us"},
		{seg, "actions-iterable", "dataCenterLocation", "europe", "eu"},
		{rud, "ITERABLE", "dataCenter", "USDC", "us"}, {rud, "ITERABLE", "dataCenter", "EUDC", "eu"},
		{rud, "ITERABLE", "dataCenter", "XXDC", "?"},
	},
	"mixpanel.api_region": {
		{seg, "actions-mixpanel", "apiRegion", "US 🇺🇸", "us"}, {seg, "actions-mixpanel", "apiRegion", "EU 🇪🇺", "eu"},
		{seg, "actions-mixpanel", "apiRegion", "IN 🇮🇳", "in"},
		{seg, "actions-mixpanel", "apiRegion", "in the EU", "?"},
		{seg, "mixpanel", "enableEuropeanUnionEndpoint", true, "eu"},
		{seg, "mixpanel", "enableEuropeanUnionEndpoint", false, "us"},
		{rud, "MP", "dataResidency", "us", "us"}, {rud, "MP", "dataResidency", "eu", "eu"},
		{rud, "MP", "dataResidency", "in", "in"},
		{rud, "MP", "dataResidency", "jp", "?"}, {rud, "MP", "dataResidency", 3, "?"},
		{rud, "MP", "dataResidency", map[string]any{"web": "eu"}, "?"},
	},
	"moengage.region": {
		{seg, "actions-moengage", "region", "DC_01", "DC_01"}, {seg, "actions-moengage", "region", "DC_02", "DC_02"},
		{seg, "actions-moengage", "region", "DC_99", "?"},
		{rud, "MOENGAGE", "region", "US", "DC_01"}, {rud, "MOENGAGE", "region", "EU", "DC_02"},
		{rud, "MOENGAGE", "region", "IND", "DC_03"},
		{rud, "MOENGAGE", "region", "SG", "?"},
	},
	"optimizely-feature-experimentation-actions.region": { // neither tool has one
		{seg, "actions-optimizely-feature-experimentation-cloud", "region", "mars", "?"},
	},
	"posthog.endpoint": {
		{seg, "actions-posthog", "endpoint", "https://us.i.posthog.com", "us"},
		{seg, "actions-posthog", "endpoint", "https://eu.i.posthog.com", "eu"},
		{seg, "posthog", "postHogInstance", "https://eu.posthog.com", "eu"},
		{seg, "posthog", "postHogInstance", "", ""},
		{rud, "POSTHOG", "yourInstance", "https://app.posthog.com", "us"},
		{rud, "POSTHOG", "yourInstance", "https://eu.i.posthog.com", "eu"},
		{rud, "POSTHOG", "yourInstance", "https://eu.events.shop.example", "base:https://eu.events.shop.example"},
		{rud, "POSTHOG", "yourInstance", "https://posthog.shop.example", "base:https://posthog.shop.example"},
		{rud, "POSTHOG", "yourInstance", "https://jp.posthog.com", "base:https://jp.posthog.com"},
		{rud, "POSTHOG", "yourInstance", "eu.i.posthog.com", "eu"},
	},
	"s3.region": {
		{seg, "actions-s3", "s3_aws_region", "eu-central-1", "eu-central-1"},
		{seg, "aws-s3", "awsRegion", "eu-west-1", "eu-west-1"},
	},
	"segment.region": { // a workspace of Segment's tells its own alone
		{seg, "actions-segment", "endpoint", "eu-west-1", "eu"},
		{seg, "actions-segment", "endpoint", "us-west-2", "us"},
		{rud, "SEGMENT", "region", "mars", "?"},
	},
	"sendgrid.region": {
		{seg, "actions-sendgrid", "endpoint", "https://api.sendgrid.com", "global"},
		{seg, "sendgrid", "endpoint", "https://api.eu.sendgrid.com", "eu"},
		{seg, "sendgrid", "endpoint", "https://api.us.sendgrid.com", "base:https://api.us.sendgrid.com"},
	},
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
	for _, name := range found {
		if residences[name] == nil {
			t.Errorf("%s tells where data resides: say in residences (elsewhere_test.go) what other tools call it, or that "+
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
			t.Run(fmt.Sprint(name, "/", row.tool, "/", row.code, "/", row.value), func(t *testing.T) {
				got, said := imported(t, all, row.tool, exported(row.tool, row.code, "", map[string]any{row.key: row.value}))
				if got.Type != slug {
					t.Fatalf("it is a %q: %s", got.Type, said)
				}
				value, _ := got.Settings[key].(string)
				if address, own := strings.CutPrefix(row.want, "base:"); own {
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
				case row.want == "?":
					if err == nil || !strings.Contains(err.Error(), key) {
						t.Errorf("%q is taken: %v", value, err)
					}
				case err != nil || value != row.want:
					t.Errorf("it is %q, %v; want %q", value, err, row.want)
				}
			})
		}
	}
}

// names are what Segment's catalogue and RudderStack's definitions call each partner: code and name of each. Facts
// from Segment's public catalogue and https://github.com/rudderlabs/rudder-integrations-config.
var names = map[string][][3]string{
	"amplitude": {
		{seg, "actions-amplitude", "Amplitude (Actions)"}, {seg, "amplitude", "Amplitude"},
		{rud, "AM", "Amplitude"},
	},
	"attio": {{seg, "actions-attio", "Attio (Actions)"}},
	"braze": {
		{seg, "actions-braze-cloud", "Braze Cloud Mode (Actions)"}, {seg, "braze", "Braze"},
		{rud, "BRAZE", "Braze"},
	},
	"customerio": {{seg, "actions-customerio", "Customer.io (Actions)"}, {seg, "customer-io", "Customer.io"},
		{rud, "CUSTOMERIO", "Customer IO"}},
	"drip": {
		{seg, "actions-drip", "Drip (Actions)"}, {seg, "drip-actions", "Drip (Actions)"}, {seg, "drip", "Drip"},
		{rud, "DRIP", "Drip"},
	},
	"facebook-conversions-api": {{seg, "actions-facebook-conversions-api", "Facebook Conversions API (Actions)"},
		{rud, "FACEBOOK_CONVERSIONS", "Facebook Conversions"}},
	"file": nil, // of fanfold's own
	"google-analytics-4": {
		{seg, "actions-google-analytics-4", "Google Analytics 4 Cloud"}, {rud, "GA4", "Google Analytics 4 (GA4)"},
		{rud, "GA4_V2", "Google Analytics 4 (GA4) V2"}},
	"hubspot": {
		{seg, "actions-hubspot-cloud", "HubSpot Cloud Mode (Actions)"}, {seg, "hubspot", "HubSpot"},
		{rud, "HS", "HubSpot"},
	},
	"intercom": {{seg, "actions-intercom-cloud", "Intercom Cloud Mode (Actions)"}, {seg, "intercom", "Intercom"},
		{rud, "INTERCOM", "Intercom"}, {rud, "INTERCOM_V2", "Intercom V2"}},
	"iterable": {
		{seg, "actions-iterable", "Iterable (Actions)"}, {seg, "iterable", "Iterable"},
		{rud, "ITERABLE", "Iterable"},
	},
	"klaviyo": {
		{seg, "actions-klaviyo", "Klaviyo (Actions)"}, {seg, "klaviyo", "Klaviyo"}, {rud, "KLAVIYO", "Klaviyo"},
	},
	"linkedin-conversions": {{seg, "actions-linkedin-conversions", "LinkedIn Conversions API"},
		{rud, "LINKEDIN_ADS", "Linkedin Ads"}},
	"loops": {{seg, "actions-loops", "Loops (Actions)"}, {rud, "LOOPS", "Loops"}},
	"mixpanel": {
		{seg, "actions-mixpanel", "Mixpanel (Actions)"}, {seg, "mixpanel", "Mixpanel (Legacy)"},
		{rud, "MP", "Mixpanel"},
	},
	"moengage": {
		{seg, "actions-moengage", "Moengage (Actions)"}, {seg, "moengage", "MoEngage"},
		{rud, "MOENGAGE", "MoEngage"},
	},
	"optimizely-feature-experimentation-actions": {
		{seg, "actions-optimizely-feature-experimentation-cloud", "Optimizely Feature Experimentation (Actions)"},
		{seg, "optimizely-full-stack", "Optimizely Full Stack"},
		{rud, "OPTIMIZELY_FULLSTACK", "Optimizely Fullstack"}},
	"posthog": {
		{seg, "actions-posthog", "Posthog"}, {seg, "posthog", "PostHog"}, {rud, "POSTHOG", "PostHog"},
	},
	"reddit-conversions-api": {
		{seg, "actions-reddit-conversions-api", "Reddit Conversions API"}, {rud, "REDDIT", "Reddit"},
	},
	"s3": {
		{seg, "actions-s3", "AWS S3 (Actions)"}, {seg, "aws-s3", "AWS S3"}, {rud, "S3", "Amazon S3"},
	},
	"segment": {{seg, "actions-segment", "Segment Connections"}, {rud, "SEGMENT", "Segment"}},
	"sendgrid": {
		{seg, "actions-sendgrid", "SendGrid"}, {seg, "sendgrid", "SendGrid"}, {rud, "SENDGRID", "Sendgrid"},
	},
	"slack": {
		{seg, "actions-slack", "Slack (Actions)"}, {seg, "slack", "Slack"}, {rud, "SLACK", "Slack"},
	},
	"snap-conversions-api": {{seg, "actions-snap-conversions", "Snapchat Conversions API"},
		{seg, "actions-snap-conversions", "Snap Conversions Api"},
		{rud, "SNAPCHAT_CONVERSION", "Snapchat Conversion"}},
	"stdout":             nil, // of fanfold's own
	"tiktok-conversions": {{seg, "tiktok-conversions", "TikTok Conversions"}, {rud, "TIKTOK_ADS", "TikTok Ads"}},
	"twilio":             {{seg, "actions-twilio", "Twilio"}},
	"webhook": {
		{seg, "actions-webhook", "Webhooks (Actions)"}, {seg, "webhooks", "Webhooks"},
		{seg, "actions-webhook", "Webhook"},
		{rud, "WEBHOOK", "Webhook"}},
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
	all := destinations.All()
	for _, d := range all {
		rows, known := names[d.Info.Slug]
		if !known && len(d.Info.Integrations) > 0 {
			rows = [][3]string{{seg, "actions-" + d.Info.Slug, d.Info.Integrations[0]}} // as most are called there
		} else if !known {
			t.Errorf("say in names (elsewhere_test.go) what other tools call %s, or that they do not have it", d.Info.Slug)
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
