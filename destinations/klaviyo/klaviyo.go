// Package klaviyo delivers to Klaviyo: events in bulk jobs that know what
// history is, and profiles in bulk imports.
package klaviyo

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of an account.
type Settings struct {
	APIKey   string `setting:"api_key,required,secret,transport" doc:"Private API key, with the scopes events:write and profiles:write." example:"pk_0123456789abcdef0123456789abcdef01"`
	Backfill bool   `setting:"backfill" doc:"Mark events as history: they are stored and count in segments, and set off no flow." default:"true"`
}

const (
	docs        = "https://developers.klaviyo.com/en/reference/bulk_create_events"
	profileDocs = "https://developers.klaviyo.com/en/reference/bulk_import_profiles"
	eventDocs   = "https://developers.klaviyo.com/en/reference/events_api_overview"
	versionDocs = "https://developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy"
	// https://developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy
	revision = "2026-07-15"
	// https://developers.klaviyo.com/en/reference/bulk_create_events: metric names
	maxName = 127
	// https://developers.klaviyo.com/en/reference/create_or_update_profile
	maxExternalID = 255
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "klaviyo", Name: "Klaviyo", Summary: "e-mail and text marketing", Docs: docs, Integrations: []string{"Klaviyo (Actions)", "Klaviyo"}, Minimal: true,
			Backfill: "Events keep their own time, to the second, from 1990 on. With the setting backfill (the default) no flow is triggered; without it, events set off flows as if they happened now. Klaviyo takes bulk jobs first and works through them later: what it then finds wrong, it does not tell.",
			Differences: []destination.Difference{
				{What: "events go to bulk jobs, marked as history", Docs: docs},
				{What: "profiles go to bulk imports, which update those that are there", Docs: profileDocs},
				{What: "the revision header is that of the documentation the limits are from", Docs: versionDocs},
				{What: "products of an order get a unique_id that stays the same in a repeat", Docs: eventDocs},
			},
		},
		BaseURL: func(*Settings) string { return "https://a.klaviyo.com" },
		Auth: func(s *Settings) destination.Auth {
			return destination.HeaderAuth("Authorization", "Klaviyo-API-Key "+s.APIKey)
		},
		Limits: destination.Limits{
			// A burst and a steady rate, the same for both bulk endpoints, each counted by itself.
			Rates:      []destination.Rate{{N: 10, Per: time.Second, Of: destination.Requests, Docs: docs}, {N: 150, Per: time.Minute, Of: destination.Requests, Docs: docs}},
			BatchBytes: destination.Cap{N: 5_000_000, Docs: docs},
			// One job after the other keeps their order, as far as it can be kept
			// with jobs that are worked through later.
			Concurrency: destination.Cap{N: 1, Docs: profileDocs},
			Window:      destination.Window{Future: 365 * 24 * time.Hour, Violation: "refuses the event", Docs: docs},
			Dedupe:      destination.Dedupe{Field: "unique_id, for each profile and metric", Docs: eventDocs},
		},
		Success: []destination.Success{destination.NoBody(docs, 202)},
		Actions: destination.Coded[Settings]{
			{
				Slug: "upsertProfile", Title: "Upsert Profile", Doc: "Makes a profile or updates it.", Trigger: `type = "identify"`,
				Fields: []mapping.Field{
					{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Path("$.traits.email")},
					{Key: "phone_number", Doc: "Sent in E.164.", Type: mapping.TypeString, Default: mapping.Path("$.context.traits.phone")},
					country(),
					{Key: "external_id", Type: mapping.TypeString},
					{Key: "first_name", Type: mapping.TypeString, Default: mapping.Path("$.traits.firstName")},
					{Key: "last_name", Type: mapping.TypeString, Default: mapping.Path("$.traits.lastName")},
					{Key: "organization", Type: mapping.TypeString, Default: mapping.Path("$.traits.company.name")},
					{Key: "title", Type: mapping.TypeString, Default: mapping.Path("$.traits.title")},
					{Key: "image", Type: mapping.TypeString, Default: mapping.Path("$.traits.avatar")},
					{Key: "location", Type: mapping.TypeObject, Default: mapping.Object(
						mapping.M("city", mapping.Path("$.traits.address.city")), mapping.M("region", mapping.Path("$.traits.address.state")), mapping.M("zip", mapping.Path("$.traits.address.postal_code")),
						mapping.M("address1", mapping.Path("$.traits.address.street")), mapping.M("country", mapping.Path("$.traits.address.country")),
					), Properties: []mapping.Field{
						{Key: "address1", Type: mapping.TypeString, AllowNull: true}, {Key: "address2", Type: mapping.TypeString, AllowNull: true}, {Key: "city", Type: mapping.TypeString, AllowNull: true},
						{Key: "region", Type: mapping.TypeString, AllowNull: true}, {Key: "zip", Type: mapping.TypeString, AllowNull: true}, {Key: "latitude", Type: mapping.TypeString, AllowNull: true},
						{Key: "longitude", Type: mapping.TypeString, AllowNull: true}, {Key: "country", Type: mapping.TypeString, AllowNull: true},
					}},
					{Key: "properties", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
					{Key: "list_id", Doc: "List to put the profile on.", Type: mapping.TypeString},
					{Key: "override_list_id", Type: mapping.TypeString, Default: mapping.Path("$.integrations.Klaviyo.listId")},
				},
				Item: upsert, Results: pointed,
				Success: []destination.Success{destination.JSON(profileDocs, destination.Is("data.type", "profile-bulk-import-job"), destination.Text("data.id")).With(202)},
				Request: request("/api/profile-bulk-import-jobs/", func(list string) (string, string) {
					if list == "" {
						return `{"data":{"type":"profile-bulk-import-job","attributes":{"profiles":{"data":[`, "]}}}}"
					}
					return `{"data":{"type":"profile-bulk-import-job","relationships":{"lists":{"data":[{"type":"list","id":` + string(event.AppendQuoted(nil, list)) + `}]}},"attributes":{"profiles":{"data":[`, "]}}}}"
				}),
				Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 10_000, Docs: profileDocs}, EventBytes: destination.Cap{N: 102_400, Docs: profileDocs}},
			},
			{
				Slug: "trackEvent", Title: "Track Event", Doc: "An event of a profile.", Trigger: `type = "track"`,
				Fields: eventFields(mapping.Field{Key: "metric_name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")}),
				Item:   track, Results: pointed, Request: request("/api/event-bulk-create-jobs/", jobs), TimeField: "time",
				Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 1000, Docs: docs}},
			},
			{
				Slug: "orderCompleted", Title: "Order Completed", Doc: "An order, and one event for each of its products.", Trigger: `type = "track"`,
				Fields: eventFields(
					mapping.Field{Key: "products", Type: mapping.TypeObject, Multiple: true},
					mapping.Field{Key: "event_name", Type: mapping.TypeString, Default: mapping.Literal("Order Completed")},
					mapping.Field{Key: "product_event_name", Type: mapping.TypeString, Default: mapping.Literal("Ordered Product")},
				),
				Item: order, Results: pointed, Request: request("/api/event-bulk-create-jobs/", jobs), TimeField: "time",
				Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 1000, Docs: docs}},
			},
		},
		Presets: []destination.Preset{
			{Name: "Profiles", Action: "upsertProfile", Subscribe: `type = "identify"`, Mapping: map[string]mapping.Value{"external_id": mapping.Path("$.userId"), "phone_number": mapping.Paths("$.traits.phone", "$.context.traits.phone"), "properties": mapping.Path("$.traits")}},
			{Name: "Orders", Action: "orderCompleted", Subscribe: `type = "track" and event = "Order Completed"`, Mapping: who(map[string]mapping.Value{"products": mapping.Path("$.properties.products"), "value": mapping.Paths("$.properties.revenue", "$.properties.total")})},
			{Name: "Events", Action: "trackEvent", Subscribe: `type = "track" and event != "Order Completed"`, Mapping: who(map[string]mapping.Value{})},
			{Name: "Pages", Action: "trackEvent", Subscribe: `type = "page"`, Mapping: who(map[string]mapping.Value{"metric_name": mapping.Literal("Viewed Page")})},
			{Name: "Screens", Action: "trackEvent", Subscribe: `type = "screen"`, Mapping: who(map[string]mapping.Value{"metric_name": mapping.Literal("Viewed Screen")})},
		},
	}.Destination()
}

// who adds the profile, for which Segment's field has no default.
func who(m map[string]mapping.Value) map[string]mapping.Value {
	m["profile"] = mapping.Object(
		mapping.M("email", mapping.Paths("$.context.traits.email", "$.properties.email")), mapping.M("phone_number", mapping.Paths("$.context.traits.phone", "$.properties.phone")),
		mapping.M("external_id", mapping.Path("$.userId")), mapping.M("anonymous_id", mapping.Path("$.anonymousId")),
	)
	return m
}

func country() mapping.Field {
	return mapping.Field{Key: "country_code", Doc: "Country (ISO 3166-1, two letters) of phone numbers without a country's code.", Type: mapping.TypeString}
}

func eventFields(own ...mapping.Field) []mapping.Field {
	return append([]mapping.Field{
		{Key: "profile", Doc: "Whose event it is. One of email, phone_number, external_id and anonymous_id is needed.", Type: mapping.TypeObject, Required: true, AdditionalProperties: true, Properties: []mapping.Field{
			{Key: "email", Type: mapping.TypeString, Format: "email"}, {Key: "phone_number", Type: mapping.TypeString}, country(),
			{Key: "external_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")}, {Key: "anonymous_id", Type: mapping.TypeString, Default: mapping.Path("$.anonymousId")},
		}},
		{Key: "properties", Type: mapping.TypeObject, Required: true, Default: mapping.Path("$.properties")},
		{Key: "time", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")},
		{Key: "value", Type: mapping.TypeNumber},
		{Key: "unique_id", Type: mapping.TypeString, Default: mapping.Path("$.messageId")},
	}, own...)
}

func jobs(string) (open, end string) {
	return `{"data":{"type":"event-bulk-create-job","attributes":{"events-bulk-create":{"data":[`, "]}}}}"
}

func request(path string, envelope func(group string) (open, end string)) func(*Settings) destination.Request {
	return func(*Settings) destination.Request {
		open, end := envelope("")
		return destination.Request{
			Path: path, Open: open, Sep: ",", Close: end, Header: http.Header{"Revision": {revision}, "Accept": {"application/json"}},
			OpenFor: func(group string) string { open, _ := envelope(group); return open },
		}
	}
}

var pointer = regexp.MustCompile(`^/data/attributes/(?:events-bulk-create|profiles)/data/(\d+)(?:/|$)`)

// pointed reads which items were refused: the pointer of each error names one.
// The whole job is refused with them, so the others go out again.
// https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling
func pointed(_ *Settings, a *destination.Answer, b *destination.Batch) []destination.Result {
	if a.Status != 400 {
		return nil
	}
	var body struct {
		Errors []struct {
			Title, Detail string
			Source        struct{ Pointer string }
		}
	}
	if json.Unmarshal(a.Body, &body) != nil {
		return nil
	}
	rs := destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Conflict, Status: a.Status, Detail: "refused together with others"}, len(b.Deliveries))
	found := false
	for _, e := range body.Errors {
		m := pointer.FindStringSubmatch(e.Source.Pointer)
		if m == nil {
			return nil
		}
		if i, err := strconv.Atoi(m[1]); err == nil && i < len(rs) {
			rs[i] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: destination.Cut(e.Title+" "+e.Detail, 400)}
			found = true
		}
	}
	if !found {
		return nil
	}
	return rs
}

// isE164 says that a number stands in E.164 already.
func isE164(v event.Value) bool {
	b, ok := v.Plain()
	if !ok || len(b) < 8 || len(b) > 16 || b[0] != '+' || b[1] == '0' {
		return false
	}
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// attributes writes a profile's members, or rejects it. of finds one, and rest
// writes those that are no phone number.
func attributes(out *destination.Output, of func(string) event.Value, rest func(), anonymous bool) bool {
	number, id := of("phone_number"), of("external_id")
	var normal func(event.Value) []byte // the number in E.164, when it has to be made so
	if !number.Falsy() && !number.Test(isE164) {
		country := of("country_code").Text()
		normal = func(v event.Value) []byte {
			return mapping.AppendNormal(nil, "phone", v.AppendString(nil), country)
		}
	}
	switch {
	case normal != nil && !number.Test(func(v event.Value) bool {
		text := normal(v)
		return len(text) > 2 && len(text) <= 16 && text[0] == '+' && text[1] != '0'
	}):
		out.Reject(destination.Invalid, "phone_number is no number that can be written in E.164")
		return false
	case of("email").Falsy() && number.Falsy() && id.Falsy() && (!anonymous || of("anonymous_id").Falsy()):
		if anonymous {
			out.Reject(destination.MissingIdentity, "one of email, phone_number, external_id and anonymous_id is required")
		} else {
			out.Reject(destination.MissingIdentity, "one of email, phone_number and external_id is required")
		}
		return false
	case id.Exists() && id.Test(isTooLong):
		out.Reject(destination.Invalid, "external_id has more than "+strconv.Itoa(maxExternalID)+" characters")
		return false
	}
	out.BeginObject()
	rest()
	switch {
	case normal != nil:
		out.Key("phone_number")
		out.Compute(number, func(w *mapping.Writer, v event.Value, _ *mapping.Late) { w.TextBytes(normal(v)) })
	case !number.Falsy():
		out.Field("phone_number", number)
	}
	out.EndObject()
	return true
}

func isTooLong(id event.Value) bool { return id.Len() > maxExternalID }

func upsert(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if out.Group = p.Text("override_list_id"); out.Group == "" {
		out.Group = p.Text("list_id")
	}
	out.BeginObject()
	out.Str("type", "profile")
	out.Key("attributes")
	rest := func() {
		for key, f := range p.Fields() {
			switch key {
			case "list_id", "override_list_id", "phone_number", "country_code":
			default:
				p.Put(&out.Writer, f)
			}
		}
	}
	if attributes(out, p.Get, rest, false) {
		out.EndObject()
	}
}

func track(s *Settings, in *destination.Input, out *destination.Output) {
	write(s, in, out, in.Payload.Get("metric_name"), "", event.Value{}, in.Payload.Get("unique_id"))
}

// order writes the order, and an event for each product.
func order(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !write(s, in, out, p.Get("event_name"), "Order Completed", event.Value{}, p.Get("unique_id")) {
		return
	}
	for product := range p.Get("products").Elements() {
		out.Emit()
		if !write(s, in, out, p.Get("product_event_name"), "Ordered Product", product, event.Value{}) {
			return
		}
	}
}

// write writes one event, of a name or what stands in for it; with a product, it is
// that of the product.
func write(s *Settings, in *destination.Input, out *destination.Output, name event.Value, instead string, product, id event.Value) bool {
	p := in.Payload
	at := p.Get("time")
	hasTime := at.Exists() && at.Test(isRecent)
	named := name.Exists() && !name.IsEmptyText()
	switch {
	case !named && instead == "" || named && !name.Test(isName):
		out.Reject(destination.Invalid, "a metric's name has 1 to "+strconv.Itoa(maxName)+" characters")
		return false
	case hasTime:
	case at.Exists() && at.Test(event.IsTime):
		out.Skip(destination.TooOld, "Klaviyo takes events from 1990 on")
		return false
	case !at.Falsy():
		out.Reject(destination.Invalid, "time is no time")
		return false
	}
	out.BeginObject()
	out.Str("type", "event-bulk-create")
	out.Key("attributes")
	out.BeginObject()
	out.BoolField("backfill", s.Backfill)
	out.Key("profile")
	out.BeginObject()
	out.Key("data")
	out.BeginObject()
	out.Str("type", "profile")
	out.Key("attributes")
	profile := p.Get("profile")
	if !attributes(out, profile.Get, func() { out.Members(profile, "phone_number", "country_code") }, true) {
		return false
	}
	out.EndObject()
	out.EndObject()
	out.Key("events")
	out.BeginObject()
	out.Key("data")
	out.BeginArray()
	out.BeginObject()
	out.Str("type", "event")
	out.Key("attributes")
	out.BeginObject()
	out.Key("properties")
	if product.Exists() {
		out.BeginObject()
		names := []string{"products"}
		for k := range product.Members() {
			names = append(names, k.Text())
		}
		out.Members(p.Get("properties"), names...)
		out.Members(product)
		out.EndObject()
	} else {
		out.Val(p.Get("properties"))
	}
	if hasTime {
		out.Key("time")
		out.Compute(at, writeTime)
	}
	if !product.Exists() {
		out.Field("value", p.Get("value"))
	}
	if id.Falsy() {
		out.Key("unique_id")
		out.Compute(event.Value{}, mapping.WriteInsertID)
	} else {
		out.Field("unique_id", id)
	}
	out.Key("metric")
	out.BeginObject()
	out.Key("data")
	out.BeginObject()
	out.Str("type", "metric")
	out.Key("attributes")
	out.BeginObject()
	out.Key("name")
	if named {
		out.Compute(name, mapping.WriteText)
	} else {
		out.Text(instead)
	}
	for range 5 { // attributes, data, metric, attributes, event
		out.EndObject()
	}
	out.EndArray()
	for range 3 { // events, attributes, item
		out.EndObject()
	}
	return true
}

func isName(v event.Value) bool {
	return v.Len() <= maxName || utf8.RuneCountInString(v.Text()) <= maxName
}

// isRecent says that it is a time that Klaviyo takes.
// https://developers.klaviyo.com/en/reference/bulk_create_events
func isRecent(v event.Value) bool {
	at, ok := event.ParseTime(v)
	return ok && at.Year() >= 1990
}

func writeTime(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	at, _ := event.ParseTime(v)
	w.Text(at.UTC().Format("2006-01-02T15:04:05.000Z"))
}
