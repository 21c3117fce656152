// Package posthog delivers to PostHog: everything is an event of its capture
// API, sent to /batch/ and marked as history.
package posthog

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a project.
type Settings struct {
	APIKey              string `setting:"api_key,required,secret,transport" doc:"API key of the project." example:"phc_0123456789abcdef0123456789abcdef"`
	ProjectID           string `setting:"project_id" doc:"ID of the project. Sending events does not need it."`
	Endpoint            string `setting:"endpoint,transport" doc:"Where the project's data resides. For an instance of your own set base_url." default:"us" choices:"us,eu"`
	HistoricalMigration bool   `setting:"historical_migration" doc:"Mark events as history: they are taken in order, without spike detection. PostHog wants it for what is older than two days." default:"true"`
	GeoIPDisable        bool   `setting:"geoip_disable" doc:"Have PostHog not look up where an event's IP address is."`
}

const (
	docs          = "https://posthog.com/docs/api/capture"
	migrationDocs = "https://posthog.com/docs/migrate"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "posthog", Name: "PostHog", Summary: "product analytics", Docs: docs,
			Integrations: []string{"Actions Posthog"},
			Backfill: "Events of any age show up at their own time and with historical_migration do not set off spike detection; PostHog asks to be told of more than 20 million. " +
				"Person properties are what the last event delivered says. Events cannot be deleted one by one afterwards.",
			Differences: []destination.Difference{
				{What: "historical_migration is true unless the setting says otherwise", Docs: migrationDocs},
				{What: "identify goes to /batch/ too, instead of one a request", Docs: docs + "#batch-events"},
				{What: "uuid is sent, made of the messageId", Docs: docs},
				{What: "a timestamp that is not ISO 8601 is written as such: PostHog would put the time of arrival instead", Docs: docs},
				{What: "group and alias are actions of our own, which no preset fires", Docs: docs + "#alias"},
			},
		},
		BaseURL: func(s *Settings) string {
			// https://posthog.com/docs/api/capture
			return "https://" + s.Endpoint + ".i.posthog.com"
		},
		Limits: destination.Limits{
			BatchBytes: destination.Cap{N: 20_000_000, Docs: docs + "#batch-events"},
			Dedupe:     destination.Dedupe{Field: "uuid, together with event, distinct_id and timestamp", Docs: docs},
		},
		Order:   true,
		Verdict: overQuota,
		// https://github.com/PostHog/posthog/blob/master/rust/capture/src/api.rs: a number, or its word in newer ones
		Success: []destination.Success{destination.JSON(docs, destination.Is("status", 1, "Ok"))},
		Actions: destination.Coded[Settings]{
			{
				Slug: "event", Title: "Track event", Doc: "An event, a page view or a screen view.", Trigger: `type = "track"`,
				Fields: []mapping.Field{
					{Key: "event_type", Type: mapping.TypeString, Required: true, Choices: []string{"track", "page", "screen"}, Default: mapping.Literal("track")},
					{Key: "event_name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
					{Key: "distinct_id", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.userId")},
					{Key: "properties", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
					{Key: "current_url", Type: mapping.TypeString, RequiredIf: of("page"), Default: mapping.Path("$.context.page.url")},
					{Key: "screen_name", Type: mapping.TypeString, RequiredIf: of("screen"), Default: mapping.Path("$.name")},
					{Key: "anonymous_event_capture", Doc: "Sent as $process_person_profile.", Type: mapping.TypeBoolean, Required: true, Default: mapping.Literal(false)},
					{Key: "timestamp", Type: mapping.TypeDatetime, Default: mapping.Paths("$.receivedAt", "$.timestamp")},
					ip(),
				},
				Item: track, Request: batch, AllOrNothing: true,
			},
			{
				Slug: "identify", Title: "Identify", Doc: "Sets the properties of a person.",
				Fields: []mapping.Field{
					{Key: "distinct_id", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.userId")},
					{Key: "properties", Type: mapping.TypeObject, Required: true, Default: mapping.Path("$.traits")},
					timestamp(), ip(),
				},
				Item: identify, Request: batch, AllOrNothing: true,
			},
			{
				Slug: "group", Title: "Group", Doc: "Sets the properties of a group.",
				Fields: []mapping.Field{
					{Key: "distinct_id", Type: mapping.TypeString, Required: true, Default: mapping.Paths("$.userId", "$.anonymousId")},
					{Key: "group_type", Type: mapping.TypeString, Required: true, Default: mapping.Literal("company")},
					{Key: "group_key", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.groupId")},
					{Key: "properties", Type: mapping.TypeObject, Default: mapping.Path("$.traits")},
					timestamp(),
				},
				Item: group, Request: batch, AllOrNothing: true,
			},
			{
				Slug: "alias", Title: "Alias", Doc: "Merges the person of an earlier id (distinct_id) into the one of alias.",
				Fields: []mapping.Field{
					{Key: "distinct_id", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.previousId")},
					{Key: "alias", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.userId")},
					timestamp(),
				},
				Item: alias, Request: batch, AllOrNothing: true,
			},
		},
		Presets: []destination.Preset{
			{Name: "Track event", Action: "event", Subscribe: `type = "track"`},
			{Name: "Page view", Action: "event", Subscribe: `type = "page"`, Mapping: map[string]mapping.Value{"event_type": mapping.Literal("page"), "event_name": mapping.Literal("$pageview")}},
			{Name: "Screen view", Action: "event", Subscribe: `type = "screen"`, Mapping: map[string]mapping.Value{"event_type": mapping.Literal("screen"), "event_name": mapping.Literal("$screenview")}},
			{Name: "Identify", Action: "identify", Subscribe: `type = "identify"`},
		},
	}.Destination()
}

func timestamp() mapping.Field {
	return mapping.Field{Key: "timestamp", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")}
}

func ip() mapping.Field {
	return mapping.Field{Key: "ip_address", Type: mapping.TypeString, AllowNull: true, Format: "ipv4", Default: mapping.Path("$.context.ip")}
}

func of(kind string) *mapping.Condition {
	return &mapping.Condition{Tests: []mapping.Test{{Field: "event_type", Value: mapping.Literal(kind)}}}
}

func batch(s *Settings) destination.Request {
	return destination.Request{
		Path: "/batch/", Sep: ",", Close: "]}",
		Open: `{"api_key":` + string(event.AppendQuoted(nil, s.APIKey)) + `,"historical_migration":` + strconv.FormatBool(s.HistoricalMigration) + `,"batch":[`,
	}
}

// overQuota reads a 200 that says that the project's billing limit is reached
// and the events are dropped, for which PostHog's own library waits a minute.
// https://github.com/PostHog/posthog-js/blob/main/src/rate-limiter.ts
func overQuota(a *destination.Answer) destination.Result {
	if a.Status == 200 && a.JSON.Get("quota_limited").Len() > 0 {
		return destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: a.Status, Detail: "over the project's billing limit: " + a.Words(), RetryAfter: time.Minute}
	}
	return destination.Result{}
}

// begin writes what all events have, up to their properties.
func begin(in *destination.Input, out *destination.Output, name string) {
	out.BeginObject()
	out.Str("event", name)
	middle(in, out)
}

// middle writes what stands between an event's name and its properties.
func middle(in *destination.Input, out *destination.Output) {
	out.Field("distinct_id", in.Payload.Get("distinct_id"))
	out.Key("uuid")
	out.Compute(event.Value{}, writeUUID)
	switch v := in.Payload.Get("timestamp"); {
	case v.Kind() == event.String && v.Test(isISO):
		out.Field("timestamp", v)
	case v.Exists() && v.Test(event.IsTime):
		out.Key("timestamp")
		out.Compute(v, writeTime)
	}
	out.Key("properties")
	out.BeginObject()
}

// isISO says that a time is a text that begins with a date and goes on with a
// time.
func isISO(v event.Value) bool {
	b, ok := v.Plain()
	return ok && v.Kind() == event.String && len(b) >= 19 && b[4] == '-' && b[7] == '-' && b[10] == 'T'
}

func writeUUID(w *mapping.Writer, _ event.Value, l *mapping.Late) { w.Text(uuid(l.InsertID())) }

func writeTime(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	at, _ := event.ParseTime(v)
	w.Text(at.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// uuid is the insert id when it is one, else one made of it.
func uuid(id string) string {
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		if b, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err == nil && len(b) == 16 {
			return strings.ToLower(id)
		}
	}
	sum := sha256.Sum256([]byte(id))
	// https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-8
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	var h [36]byte
	at := 0
	for i, b := range sum[:16] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			h[at] = '-'
			at++
		}
		hex.Encode(h[at:], []byte{b})
		at += 2
	}
	return string(h[:])
}

// place writes where an event came from.
func place(s *Settings, p *mapping.Payload, out *destination.Output) {
	if s.GeoIPDisable {
		out.BoolField("$geoip_disable", true)
	}
	if v := p.Get("ip_address"); !v.Falsy() {
		out.Field("$ip", v)
	}
}

func track(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	name := ""
	skip := append(make([]string, 0, 6), "distinct_id", "$process_person_profile")
	key, extra := "", event.Value{}
	switch p.Text("event_type") {
	case "page":
		name, key, extra = "$pageview", "$current_url", p.Get("current_url")
	case "screen":
		name, key, extra = "$screen", "$screen_name", p.Get("screen_name")
	}
	if extra.Exists() {
		skip = append(skip, key)
	}
	if s.GeoIPDisable {
		skip = append(skip, "$geoip_disable")
	}
	if !p.Get("ip_address").Falsy() {
		skip = append(skip, "$ip")
	}
	if name != "" {
		begin(in, out, name)
	} else {
		out.BeginObject()
		out.Key("event")
		out.Compute(p.Get("event_name"), mapping.WriteText)
		middle(in, out)
	}
	out.Members(p.Get("properties"), skip...)
	out.Field(key, extra)
	out.Field("distinct_id", p.Get("distinct_id"))
	out.Field("$process_person_profile", p.Get("anonymous_event_capture"))
	place(s, p, out)
	out.EndObject()
	out.EndObject()
}

func identify(s *Settings, in *destination.Input, out *destination.Output) {
	begin(in, out, "$identify")
	out.Field("$set", in.Payload.Get("properties"))
	place(s, in.Payload, out)
	out.EndObject()
	out.EndObject()
}

func group(_ *Settings, in *destination.Input, out *destination.Output) {
	begin(in, out, "$groupidentify")
	out.Field("$group_type", in.Payload.Get("group_type"))
	out.Field("$group_key", in.Payload.Get("group_key"))
	out.Field("$group_set", in.Payload.Get("properties"))
	out.EndObject()
	out.EndObject()
}

func alias(_ *Settings, in *destination.Input, out *destination.Output) {
	begin(in, out, "$create_alias")
	out.Field("distinct_id", in.Payload.Get("distinct_id"))
	out.Field("alias", in.Payload.Get("alias"))
	out.EndObject()
	out.EndObject()
}
