package cassettes_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/standin"
)

// The stand-ins answer as the partners document: one request and its answer,
// partner by partner.
func TestDocumentedAnswers(t *testing.T) {
	all := contracts(t)
	const js = "application/json"
	const form = "application/x-www-form-urlencoded"
	bearer := []string{"Authorization", "Bearer t"}
	basic := []string{"Authorization", "Basic dTpw"} // u:p
	klaviyo := []string{"Authorization", "Klaviyo-API-Key pk", "Revision", "2026-07-15"}
	event := func(profile string) string {
		return `{"data":{"type":"event-bulk-create-job",` +
			`"attributes":{"events-bulk-create":{"data":[{"type":"event-bulk-create",` +
			`"attributes":{"profile":{"data":{"type":"profile","attributes":{` + profile +
			`}}},"events":{"data":[{"type":"event","attributes":{"properties":{},"time":"2024-05-29T10:00:00Z",` +
			`"unique_id":"m","metric":{"data":{"type":"metric","attributes":{"name":"A"}}}}}]}}}]}}}}`
	}
	many := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	capi := func(when int64) string {
		return fmt.Sprintf(`{"data":[{"event_name":"Lead","event_time":%d,"action_source":"website",`+
			`"event_source_url":"https://a.example","user_data":{"client_user_agent":"x","em":["%s"]}}]}`, when,
			strings.Repeat("a", 64))
	}
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)

	for _, c := range []struct {
		slug, name, url, contentType string
		headers                      []string
		body                         string
		status                       int
		has                          string
	}{
		{"mixpanel", "json lines", "https://api.mixpanel.com/import?strict=1", "application/x-ndjson", basic,
			`{"event":"A","properties":{"time":1716976800,"distinct_id":"","$insert_id":"a"}}`, 200, `"num_records_imported":1`},
		{"mixpanel", "partial", "https://api-eu.mixpanel.com/import?strict=1", js, basic,
			`[{"event":"A","properties":{"time":1716976800,"distinct_id":"anon","$insert_id":"a"}},{"event":"A",` +
				`"properties":{"time":1716976800,"distinct_id":"u","$insert_id":"b"}}]`, 400,
			`"failed_records":[{"index":0,"insert_id":"a","field":"properties.distinct_id"`},
		{"mixpanel", "too many", "https://api.mixpanel.com/import?strict=1", js, basic, "[" + many("{}", 2001) + "]", 413,
			`"code":413`},
		{"mixpanel", "nobody", "https://api.mixpanel.com/import?strict=1", js, nil, "[]", 401, `"code":401`},
		{"mixpanel", "profile without its token", "https://api.mixpanel.com/engage", js, nil,
			`[{"$distinct_id":"u","$set":{}}]`, 200, `"status":0`},
		{"amplitude", "batch", "https://api2.amplitude.com/batch", js, nil,
			`{"api_key":"k","events":[{"event_type":"A","user_id":"user-1"}]}`, 200, `"events_ingested":1`},
		{"amplitude", "short id", "https://api2.amplitude.com/batch", js, nil,
			`{"api_key":"k","events":[{"event_type":"A","user_id":"user-1"},{"event_type":"A","user_id":"u"}]}`, 400,
			`"events_with_invalid_fields":{"user_id":[1]}`},
		{"amplitude", "short id, allowed", "https://api2.amplitude.com/batch", js, nil,
			`{"api_key":"k","options":{"min_id_length":1},"events":[{"event_type":"A","user_id":"u"}]}`, 200,
			`"events_ingested":1`},
		{"amplitude", "nobody", "https://api2.amplitude.com/2/httpapi", js, nil,
			`{"api_key":"k","events":[{"event_type":"A"}]}`, 400, `"events_with_missing_fields":{"user_id":[0]}`},
		{"amplitude", "no key", "https://api2.amplitude.com/2/httpapi", js, nil, `{"events":[]}`, 400,
			`"missing_field":"api_key"`},
		{"amplitude", "group", "https://api2.amplitude.com/groupidentify", form, nil,
			"api_key=k&identification=%5B%7B%22group_type%22%3A%22a%22%2C%22group_value%22%3A%22b%22%2C" +
				"%22group_properties%22%3A%7B%7D%7D%5D",
			200, "success"},
		{"google-analytics-4", "web", "https://www.google-analytics.com/mp/collect?api_secret=s&measurement_id=G-1", js, nil,
			`{"client_id":"c","events":[{"name":"a"}]}`, 204, ""},
		{"google-analytics-4", "app", "https://www.google-analytics.com/mp/collect?api_secret=s&firebase_app_id=1:2", js, nil,
			`{"app_instance_id":"c","events":[{"name":"a"}]}`, 204, ""},
		{"google-analytics-4", "debug", "https://www.google-analytics.com/debug/mp/collect?api_secret=s&measurement_id=G-1",
			js, nil, `{"client_id":"c","events":[{"name":"1a"}]}`, 200, `"validationCode"`},
		{"braze", "counts", "https://rest.iad-01.braze.com/users/track", js, bearer,
			`{"attributes":[{"external_id":"u"}],"events":[{"external_id":"u","name":"A","time":"2024-05-29T10:00:00Z"}]}`, 201,
			`"attributes_processed":1,"events_processed":1,"purchases_processed":0`},
		{"braze", "partial", "https://rest.fra-01.braze.eu/users/track", js, bearer,
			`{"attributes":[{"external_id":"u"}],"events":[{"name":"A","time":"2024-05-29T10:00:00Z"}]}`, 201,
			`"input_array":"events","index":0`},
		{"braze", "too many together", "https://rest.iad-01.braze.com/users/track", js, bearer,
			`{"attributes":[` + many("{}", 40) + `],"events":[` + many("{}", 36) + `]}`, 413, ""},
		{"customerio", "partial", "https://track-eu.customer.io/api/v2/batch", js, basic,
			`{"batch":[{"type":"person","action":"event","name":"A","identifiers":{"id":"u"}},{"type":"person",` +
				`"action":"event","identifiers":{"id":"u"}}]}`, 207, `"batch_index":1`},
		{"customerio", "too large", "https://track.customer.io/api/v2/entity", js, basic,
			`{"type":"person","action":"identify","identifiers":{"id":"` + strings.Repeat("u", 32768) + `"}}`, 413,
			`"too_large"`},
		{"klaviyo", "bulk", "https://a.klaviyo.com/api/event-bulk-create-jobs", "application/vnd.api+json", klaviyo,
			event(`"email":"a@b.example"`), 202, ""},
		{"klaviyo", "bulk without a person", "https://a.klaviyo.com/api/event-bulk-create-jobs", js, klaviyo,
			event(`"first_name":"A"`), 400, "needs one of"},
		{"klaviyo", "no revision", "https://a.klaviyo.com/api/event-bulk-create-jobs", js, klaviyo[:2],
			event(`"email":"a@b.example"`), 400, "Revision"},
		{"klaviyo", "profile", "https://a.klaviyo.com/api/profile-import", js, klaviyo,
			`{"data":{"type":"profile","attributes":{"phone_number":"+15005550006"}}}`, 201, `"id"`},
		{"hubspot", "events", "https://api.hubapi.com/events/v3/send/batch", js, bearer,
			`{"inputs":[{"eventName":"pe1_a","email":"a@b.example","properties":{}}]}`, 204, ""},
		{"hubspot", "too many", "https://api.hubapi.com/events/v3/send/batch", js, bearer,
			`{"inputs":[` + many("{}", 501) + `]}`, 400, "VALIDATION_ERROR"},
		{"hubspot", "upsert", "https://api.hubapi.com/crm/v3/objects/contacts/batch/upsert", js, bearer,
			`{"inputs":[{"id":"a@b.example","idProperty":"email","properties":{}},{"id":"c@d.example","properties":{}}]}`, 200,
			`{"id":"11"`},
		{"hubspot", "search", "https://api.hubapi.com/crm/v3/objects/companies/search", js, bearer, `{"filterGroups":[]}`,
			200, `"total":0`},
		{"intercom", "event", "https://api.intercom.io/events", js, bearer, `{"event_name":"A","created_at":1,"user_id":"u"}`,
			202, ""},
		{"intercom", "attach", "https://api.intercom.io/contacts/1/companies", js, bearer, `{"id":"c"}`, 200, `"company"`},
		{"iterable", "bulk", "https://api.eu.iterable.com/api/events/trackBulk", js, []string{"Api-Key", "k"},
			`{"events":[{"eventName":"A","userId":"u"}]}`, 200, `"successCount":1,"failCount":0`},
		{"iterable", "no key", "https://api.iterable.com/api/events/track", js, nil, `{}`, 401, "BadApiKey"},
		{"facebook-conversions-api", "events", "https://graph.facebook.com/v24.0/1/events?access_token=t", js, nil,
			capi(now.Unix() - 60), 200, `"events_received":1`},
		{"facebook-conversions-api", "too old", "https://graph.facebook.com/v24.0/1/events?access_token=t", js, nil,
			capi(now.Unix() - 8*86400), 400, `"code":100`},
		{"facebook-conversions-api", "clear text", "https://graph.facebook.com/v24.0/1/events", js, bearer,
			strings.Replace(capi(now.Unix()), strings.Repeat("a", 64), "a@b.example", 1), 400, "user_data.em[]"},
		{"posthog", "history", "https://eu.i.posthog.com/batch/", js, nil,
			`{"api_key":"k","historical_migration":true,"batch":[{"event":"A","distinct_id":"u"}]}`, 200, `"status":1`},
		{"posthog", "no key", "https://us.i.posthog.com/batch/", js, nil, `{"batch":[]}`, 401, "invalid_api_key"},
		{"tiktok-conversions", "event", "https://business-api.tiktok.com/open_api/v1.3/event/track/", js,
			[]string{"Access-Token", "t"}, `{"event_source":"web","event_source_id":"P","data":[{"event":"Purchase",` +
				`"event_time":1716977100}]}`, 200, `"code":0`},
		{"tiktok-conversions", "clear text", "https://business-api.tiktok.com/open_api/v1.3/event/track/", js,
			[]string{"Access-Token", "t"}, `{"event_source":"web","event_source_id":"P","data":[{"event":"A",` +
				`"event_time":1716977100,"user":{"email":"a@b.example"}}]}`, 200, `"code":40002`},
		{"tiktok-conversions", "no token", "https://business-api.tiktok.com/open_api/v1.3/event/track/", js, nil, `{}`, 200,
			`"code":40105`},
		{"slack", "message", "https://hooks.slack.com/services/T/B/X", js, nil, `{"text":"hello"}`, 200, "ok"},
		{"slack", "nothing", "https://hooks.slack.com/services/T/B/X", js, nil, `{}`, 400, "invalid_payload"},
		{"segment", "batch", "https://events.eu1.segmentapis.com/v1/batch", js, basic,
			`{"batch":[{"type":"track","event":"A","userId":"u"}]}`, 200, `"success":true`},
		{"segment", "large", "https://api.segment.io/v1/batch", js, basic, `{"batch":[],"x":"` + strings.Repeat(
			"x", 512000) + `"}`, 400, `"success":false`},
		{"webhook", "anything", "https://any.example/hooks/1", js, nil, `[{"a":1}]`, 200, "ok"},
	} {
		t.Run(c.slug+"/"+c.name, func(t *testing.T) {
			p := standin.New(all[c.slug])
			p.Now = func() time.Time { return now }
			req, err := http.NewRequest("POST", c.url, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", c.contentType)
			for i := 0; i < len(c.headers); i += 2 {
				req.Header.Set(c.headers[i], c.headers[i+1])
			}
			resp, err := p.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.has) {
				t.Errorf("got %d %s, want %d with %s; violations: %v", resp.StatusCode, body, c.status, c.has, p.Violations())
			}
		})
	}
}
