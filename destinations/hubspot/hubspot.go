// Package hubspot delivers to HubSpot: contacts, companies and other records
// through the batch endpoints of its CRM, and occurrences of custom events.
package hubspot

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of an account.
type Settings struct {
	AccessToken string `setting:"access_token,required,secret,transport" doc:"Access token of a private app, with the scopes of what it writes (crm.objects.contacts.write, crm.objects.companies.write, …)." example:"pat-na1-00000000-1111-2222-3333-444444444444"`
	PortalID    string `setting:"portal_id" doc:"Hub ID of the account. The full names of its custom events begin with it." example:"1234567"`
}

const (
	eventDocs   = "https://developers.hubspot.com/docs/api-reference/events-send-event-completions-v3/guide"
	contactDocs = "https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide"
	companyDocs = "https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide"
	objectDocs  = "https://developers.hubspot.com/docs/api-reference/crm-custom-objects-v3/guide"
	usageDocs   = "https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines"
	errorDocs   = "https://developers.hubspot.com/docs/api-reference/error-handling"
)

// groupProperty is the company property that holds a groupId; it is the one
// that Segment makes, so that companies stay the same ones.
const groupProperty = "segment_group_id"

const contacts = "/crm/v3/objects/contacts/batch/upsert"

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "hubspot", Name: "HubSpot", Summary: "customer relationship management", Docs: contactDocs,
			Integrations: []string{"HubSpot Cloud Mode (Actions)", "Actions Hubspot Cloud"},
			Backfill: "Occurrences of custom events keep their own time and are taken once a year by their uuid. Contacts, companies and records become what the event delivered last says, whatever its age. " +
				"Workflows and lists that are enrolled by a property or an event do run for history: switch them off first.",
			Differences: []destination.Difference{
				{What: "records are upserted in batches of 100 by their unique property, instead of an update and, when it fails, a creation of each; a record's second input goes into a second request", Docs: contactDocs},
				{What: "occurrences are sent in batches of 500, with a uuid made of the messageId", Docs: eventDocs},
				{What: "an occurredAt that is not ISO 8601 is written as such, or left out when it is no time", Docs: eventDocs},
				{What: "a lifecycle stage is set forward only: HubSpot ignores an earlier one, and nothing is cleared to force it", Docs: contactDocs},
				{What: "the company property segment_group_id has to exist, with unique values; it is not made on the way", Docs: companyDocs},
				{What: "upsertCustomObjectRecord takes one search field, whose values are unique, instead of searching first", Docs: objectDocs},
				{What: "upsertObject and upsertCustomObjectRecord associate nothing: HubSpot wants its own ids of both records for that", Docs: objectDocs},
				{What: "customEvent and upsertObject use definitions and properties as they are, and never make them", Docs: eventDocs},
			},
			Minimal: true,
		},
		BaseURL: func(*Settings) string { return "https://api.hubapi.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			// https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines: the least of the tiers
			Rates:       []destination.Rate{{N: 100, Per: 10 * time.Second, Of: destination.Requests, Docs: usageDocs}},
			BatchEvents: destination.Cap{N: 100, Docs: contactDocs},
		},
		Order:   true,
		Verdict: verdict,
		Success: []destination.Success{destination.NoBody(eventDocs, 204)},
		Actions: destination.Coded[Settings]{
			{
				Slug: "sendCustomBehavioralEvent", Title: "Send custom behavioral event", Doc: "An occurrence of a custom event, by its full name (pe<HubID>_name). Events are defined in HubSpot first.", Trigger: `type = "track"`,
				Fields: []mapping.Field{
					{Key: "eventName", Type: mapping.TypeString, Required: true},
					{Key: "occurredAt", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")},
					{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Paths("$.properties.email", "$.context.traits.email")},
					{Key: "utk", Doc: "The visitor's usertoken.", Type: mapping.TypeString},
					{Key: "objectId", Doc: "HubSpot's id of the record.", Type: mapping.TypeString},
					{Key: "properties", Type: mapping.TypeObject},
				},
				Item: behavioral, Request: occurrences, AllOrNothing: true, TimeField: "occurredAt", Limits: eventLimits(),
			},
			{
				Slug: "upsertContact", Title: "Upsert contact", Doc: "Makes or updates the contact of an email address.", Trigger: `type = "identify"`,
				Fields: []mapping.Field{
					{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Path("$.traits.email")}, text("company", "$.traits.company"),
					text("firstname", "$.traits.first_name", "$.traits.firstName"), text("lastname", "$.traits.last_name", "$.traits.lastName"),
					text("phone", "$.traits.phone"), text("address", "$.traits.address.street"), text("city", "$.traits.address.city"), text("state", "$.traits.address.state"),
					text("country", "$.traits.address.country"), text("zip", "$.traits.address.postalCode", "$.traits.address.postal_code"), text("website", "$.traits.website"),
					text("lifecyclestage"), {Key: "properties", Type: mapping.TypeObject},
				},
				Item: contact, Request: inputs, Send: rounds, AllOrNothing: true,
			},
			{
				Slug: "upsertCompany", Title: "Upsert company", Doc: "Makes or updates the company whose segment_group_id is the groupId: a text property with unique values that has to exist. A contact is not associated here.", Trigger: `type = "group"`,
				Fields: []mapping.Field{
					text("groupid", "$.groupId", "$.context.groupId"),
					{Key: "createNewCompany", Type: mapping.TypeBoolean, Required: true, Default: mapping.Literal(true)},
					{Key: "associateContact", Doc: "Only false can be delivered: the contact's id in HubSpot is not known.", Type: mapping.TypeBoolean, Required: true, Default: mapping.Literal(true)},
					{Key: "companysearchfields", Doc: "Not used.", Type: mapping.TypeObject},
					text("name", "$.traits.name"), text("description", "$.traits.description"), text("address", "$.traits.address.street"), text("city", "$.traits.address.city"),
					text("state", "$.traits.address.state"), text("zip", "$.traits.address.postalCode", "$.traits.address.postal_code"), text("domain", "$.traits.website"),
					text("phone", "$.traits.phone"), {Key: "numberofemployees", Type: mapping.TypeInteger, Default: mapping.Path("$.traits.employees")},
					text("industry", "$.traits.industry"), text("lifecyclestage"), {Key: "properties", Type: mapping.TypeObject},
				},
				Item: company, Request: inputs, Send: rounds, AllOrNothing: true,
			},
			{
				Slug: "upsertCustomObjectRecord", Title: "Upsert custom object record", Doc: "Makes or updates a deal, a ticket or a record of another type.",
				Fields: []mapping.Field{
					{Key: "createNewCustomRecord", Type: mapping.TypeBoolean, Default: mapping.Literal(true)},
					{Key: "customObjectSearchFields", Doc: "The property with unique values by which the record is known. Without it a record is made every time.", Type: mapping.TypeObject},
					{Key: "objectType", Type: mapping.TypeString, Required: true},
					{Key: "properties", Type: mapping.TypeObject, Required: true},
					{Key: "searchFieldsToAssociateCustomObjects", Doc: "Not used.", Type: mapping.TypeObject},
					{Key: "toObjectType", Doc: "Not used.", Type: mapping.TypeString},
					{Key: "associationLabel", Doc: "Not used.", Type: mapping.TypeString},
				},
				Item: custom, Request: inputs, Send: rounds, AllOrNothing: true,
			},
			{
				Slug: "upsertObject", Title: "Custom object V2", Doc: "Makes or updates a record of any type.",
				Fields: []mapping.Field{
					{Key: "object_details", Type: mapping.TypeObject, Required: true, Properties: []mapping.Field{required(text("object_type")), required(text("id_field_name")), required(text("id_field_value")), text("property_group")}},
					{Key: "properties", Type: mapping.TypeObject, AdditionalProperties: true},
					{Key: "sensitive_properties", Type: mapping.TypeObject, AdditionalProperties: true},
					{Key: "association_sync_mode", Doc: "Not used.", Type: mapping.TypeString, Required: true, Choices: []string{"upsert", "read"}, Default: mapping.Literal("upsert")},
					{Key: "associations", Doc: "Not used.", Type: mapping.TypeObject, Multiple: true},
					{Key: "dissociations", Doc: "Not used.", Type: mapping.TypeObject, Multiple: true},
					{Key: "timestamp", Doc: "Not used.", Type: mapping.TypeString, Default: mapping.Path("$.timestamp")},
					syncMode(),
				},
				Item: object, Request: inputs, Send: rounds, AllOrNothing: true,
			},
			{
				Slug: "customEvent", Title: "Custom event V2", Doc: "An occurrence of a custom event, by the name after pe<HubID>_; portal_id has to be set. Events are defined in HubSpot first.",
				Fields: []mapping.Field{
					{Key: "event_name", Type: mapping.TypeString, Required: true},
					{Key: "record_details", Type: mapping.TypeObject, Required: true, Properties: []mapping.Field{
						{Key: "object_type", Type: mapping.TypeString, Required: true},
						{Key: "object_id", Type: mapping.TypeNumber},
						{Key: "email", Type: mapping.TypeString, Format: "email"},
						{Key: "utk", Type: mapping.TypeString},
					}, Default: mapping.Object(mapping.M("email", mapping.Paths("$.properties.email", "$.context.traits.email")))},
					{Key: "properties", Type: mapping.TypeObject, AdditionalProperties: true},
					{Key: "occurred_at", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")},
					syncMode(),
				},
				Item: customEvent, Request: occurrences, AllOrNothing: true, TimeField: "occurred_at", Limits: eventLimits(),
			},
		},
		Presets: []destination.Preset{
			{Name: "Identify calls", Action: "upsertContact", Subscribe: `type = "identify"`, Mapping: map[string]mapping.Value{"company": mapping.Paths("$.traits.company.name", "$.traits.company")}},
			{Name: "Group calls", Action: "upsertCompany", Subscribe: `type = "group"`, Mapping: map[string]mapping.Value{"associateContact": mapping.Literal(false)}},
		},
	}.Destination()
}

func text(key string, paths ...string) mapping.Field {
	f := mapping.Field{Key: key, Type: mapping.TypeString}
	switch len(paths) {
	case 1:
		f.Default = mapping.Path(paths[0])
	case 2:
		f.Default = mapping.Paths(paths[0], paths[1])
	}
	return f
}

func required(f mapping.Field) mapping.Field {
	f.Required = true
	return f
}

// syncMode is where Segment's mappings say whether records may be made.
func syncMode() mapping.Field {
	return mapping.Field{Key: "__segment_internal_sync_mode", Label: "Sync mode", Doc: "upsert, add or update; with customEvent it is not used.", Type: mapping.TypeString, Choices: []string{"upsert", "add", "update"}, Default: mapping.Literal("update")}
}

func eventLimits() destination.ActionLimits {
	return destination.ActionLimits{
		Rates:       []destination.Rate{{N: 1250, Per: time.Second, Of: destination.Requests, Docs: eventDocs}},
		BatchEvents: destination.Cap{N: 500, Docs: "https://developers.hubspot.com/docs/api-reference/legacy/events/send-event-data/batch-send-occurrences"},
		Dedupe:      destination.Dedupe{Field: "uuid", Window: 365 * 24 * time.Hour, Docs: eventDocs},
	}
}

func occurrences(*Settings) destination.Request {
	return destination.Request{Path: "/events/v3/send/batch", Open: `{"inputs":[`, Sep: ",", Close: "]}"}
}

// inputs is a batch of records; the path is the item's.
func inputs(*Settings) destination.Request {
	return destination.Request{Path: contacts, Open: `{"inputs":[`, Sep: ",", Close: "]}"}
}

// verdict reads the statuses that only HubSpot has.
func verdict(a *destination.Answer) destination.Result {
	r := destination.Result{Outcome: destination.Retry, Status: a.Status, Detail: a.Words(), RetryAfter: a.RetryAfter(time.Time{})}
	switch a.Status {
	case 423:
		// https://developers.hubspot.com/docs/api-reference/error-handling: locked for two seconds
		r.Reason, r.RetryAfter = destination.Conflict, max(r.RetryAfter, 2*time.Second)
	case 477:
		// https://developers.hubspot.com/docs/api-reference/error-handling: the account is being moved
		r.Reason = destination.Unavailable
	case 429:
		r.Reason = destination.RateLimited
		if a.JSON.Get("policyName").IsText("TEN_SECONDLY_ROLLING") {
			// https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
			r.RetryAfter = max(r.RetryAfter, 10*time.Second)
		}
	default:
		return destination.Result{}
	}
	return r
}

// rounds sends a batch of records. HubSpot refuses a request that names a
// record twice, so a record's second input goes into a second request.
// https://github.com/segmentio/action-destinations/pull/3969
func rounds(ctx context.Context, _ *Settings, t destination.Transport, b *destination.Batch) ([]destination.Result, error) {
	rs := make([]destination.Result, len(b.Deliveries))
	path := b.Deliveries[0].Address().Path
	if path == "" {
		path = contacts
	}
	for left := len(rs); left > 0; {
		var ds []*destination.Delivery
		var at []int
		taken := map[string]bool{}
		body := []byte(`{"inputs":[`)
		for i, d := range b.Deliveries {
			if id := strings.ToLower(idOf(d.Item)); rs[i].Outcome == destination.Undecided && !taken[id] {
				if len(ds) > 0 {
					body = append(body, ',')
				}
				taken[id] = id != ""
				ds, at, body = append(ds, d), append(at, i), append(body, d.Item...)
			}
		}
		req, err := destination.NewRequest(ctx, "POST", b.BaseURL+path, "application/json", append(body, "]}"...))
		if err != nil {
			return nil, err
		}
		a, err := destination.Do(t, req)
		if err != nil {
			return nil, err
		}
		part := destination.Confirm(written(path), a, records(a, ds, b.Now))
		for i, r := range part {
			rs[at[i]] = r
		}
		first := left == len(rs)
		left -= len(ds)
		if a.OK() && !slices.ContainsFunc(part, func(r destination.Result) bool { return r.Outcome == destination.Retry }) {
			continue
		}
		verdict := part[0]
		if !first && verdict.Outcome == destination.Rejected {
			// Asked about again by themselves, so that one bad input costs itself only.
			verdict.Outcome, verdict.Reason = destination.Retry, destination.Conflict
		}
		for i, r := range rs { // what comes after it waits with it
			if first || r.Outcome == destination.Undecided || r.Status == a.Status {
				rs[i] = verdict
			}
		}
		break
	}
	return rs, nil
}

// written is what the batch endpoints say of the records that they have written,
// with those beside them that they have not.
func written(path string) []destination.Success {
	status := 200
	if strings.HasSuffix(path, "/create") {
		status = 201
	}
	members := []destination.Member{destination.Is("status", "COMPLETE"), destination.Lists("results")}
	return []destination.Success{
		destination.JSON(contactDocs, members...).With(status),
		destination.JSON(contactDocs, append(members, destination.List("errors"))...).With(207),
	}
}

// records reads a batch's answer: what failed is listed under errors, by the
// trace ids that we sent or by the ids of the records.
// https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide
func records(a *destination.Answer, ds []*destination.Delivery, now time.Time) []destination.Result {
	errs, n := a.JSON.Get("errors"), len(ds)
	if r := verdict(a); r.Outcome != destination.Undecided {
		return destination.Same(r, n)
	}
	if a.Status == 409 && strings.HasSuffix(ds[0].Address().Path, "/create") {
		if n == 1 && a.JSON.Get("category").IsText("CONFLICT") {
			return destination.Same(destination.Result{Outcome: destination.Skipped, Reason: destination.Unneeded, Status: a.Status, Detail: "there is such a record already"}, n)
		}
		return destination.Same(a.Verdict(now), n)
	}
	if a.Status == 409 {
		return destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Conflict, Status: a.Status, Detail: a.Words()}, n)
	}
	if !a.OK() || errs.Len() == 0 {
		return destination.Same(a.Verdict(now), n)
	}
	rs := destination.Same(destination.Result{Outcome: destination.Delivered, Status: a.Status}, n)
	for e := range errs.Elements() {
		bad := destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: destination.Cut(e.Get("category").Text()+": "+e.Get("message").Text(), 400)}
		found := false
		for i, d := range ds {
			context := e.Get("context")
			if named(context.Get("objectWriteTraceId"), d.InsertID) || named(context.Get("ids"), idOf(d.Item)) {
				rs[i], found = bad, true
			}
		}
		if !found {
			// Whose it is cannot be told: all are asked about again, one by one
			// in the end, which changes nothing for those that were taken.
			bad.Detail = destination.Cut(e.Get("message").Text(), 400)
			return destination.Same(bad, n)
		}
	}
	return rs
}

func named(list event.Value, id string) bool {
	if id == "" || list.Kind() != event.Array {
		return false
	}
	for v := range list.Elements() {
		if v.IsText(id) {
			return true
		}
	}
	return false
}

func idOf(item []byte) string {
	v, err := event.ParseValue(item)
	if err != nil {
		return ""
	}
	return v.Get("id").Text()
}

// space is what JavaScript holds to be white space.
func space(r rune) bool { return unicode.IsSpace(r) && r != 0x85 || r == 0xfeff }

func trim(s string) string { return strings.TrimFunc(s, space) }

func writeTrimmed(w *mapping.Writer, v event.Value, _ *mapping.Late) { w.Text(trim(v.Text())) }

func isBlank(v event.Value) bool { return trim(v.Text()) == "" }

func behavioral(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	name := strings.ToLower(gaps.ReplaceAllString(p.Text("eventName"), "_"))
	if s.PortalID != "" && !strings.HasPrefix(name, "pe"+s.PortalID+"_") {
		out.Reject(destination.Invalid, "eventName has to begin with pe"+s.PortalID+"_")
		return
	}
	if s.PortalID == "" && !full.MatchString(name) {
		out.Reject(destination.Invalid, "eventName has to begin with pe<HubID>_")
		return
	}
	if p.Get("utk").Falsy() && p.Get("email").Falsy() && p.Get("objectId").Falsy() {
		out.Reject(destination.MissingIdentity, "email, utk or objectId is required")
		return
	}
	out.BeginObject()
	out.Str("eventName", name)
	occurredAt(out, p.Get("occurredAt"))
	out.Field("utk", p.Get("utk"))
	out.Field("email", p.Get("email"))
	out.Field("objectId", p.Get("objectId"))
	out.Key("uuid")
	out.Compute(event.Value{}, mapping.WriteInsertID)
	out.Key("properties")
	out.BeginObject()
	flat(out, p.Get("properties"))
	out.EndObject()
	out.EndObject()
}

// gaps are the characters of an event's name that HubSpot does not take.
var gaps = regexp.MustCompile(`[\s\p{Z}\v\x{feff}.]+`)

var full = regexp.MustCompile(`^pe\d+_`)

func occurredAt(out *destination.Output, v event.Value) {
	if b, ok := v.Plain(); ok && v.Kind() == event.String && len(b) >= 19 && b[4] == '-' && b[7] == '-' && b[10] == 'T' {
		out.Field("occurredAt", v)
	} else if at, ok := event.ParseTime(v); ok {
		out.Str("occurredAt", at.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
}

// flat writes the members of an object as HubSpot's properties: arrays as
// their elements between semicolons, objects as JSON, texts trimmed; null is
// left out.
func flat(out *destination.Output, v event.Value) {
	if v.Kind() != event.Object {
		return
	}
	for k, m := range v.Members() {
		switch m.Kind() {
		case event.Null:
		case event.Array:
			out.Key(k.Text())
			out.Compute(m, func(w *mapping.Writer, v event.Value, _ *mapping.Late) {
				var parts []string
				for el := range v.Elements() {
					parts = append(parts, el.Text())
				}
				w.Text(strings.Join(parts, ";"))
			})
		case event.Object, event.String:
			out.Key(k.Text())
			out.Compute(m, writeTrimmed)
		default:
			out.Field(k.Text(), m)
		}
	}
}

// record writes an input of a batch, up to its properties.
func record(out *destination.Output, property, id string) {
	out.BeginObject()
	if property != "" {
		out.Str("id", id)
		out.Str("idProperty", property)
	}
	traced(out)
}

// traced writes what is behind the id of a record, up to its properties.
func traced(out *destination.Output) {
	out.Key("objectWriteTraceId")
	out.Compute(event.Value{}, mapping.WriteInsertID)
	out.Key("properties")
	out.BeginObject()
}

// own writes text fields that the other properties do not replace.
func own(p *mapping.Payload, out *destination.Output, keys ...string) {
	for _, key := range keys {
		v := p.Get(key)
		if !v.Exists() || !p.Get("properties").Get(key).Nullish() {
			continue
		}
		out.Key(key)
		if key == "lifecyclestage" {
			out.Compute(v, func(w *mapping.Writer, v event.Value, _ *mapping.Late) { w.Text(strings.ToLower(trim(v.Text()))) })
		} else {
			out.Compute(v, writeTrimmed)
		}
	}
}

func contact(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	email := p.Get("email")
	if !email.Exists() || email.Test(isBlank) {
		out.Reject(destination.MissingIdentity, "email is required")
		return
	}
	out.BeginObject()
	out.Key("id")
	out.Compute(email, writeTrimmed)
	out.Str("idProperty", "email")
	traced(out)
	own(p, out, "company", "firstname", "lastname", "phone", "address", "city", "state", "country", "zip", "email", "website", "lifecyclestage")
	flat(out, p.Get("properties"))
	out.EndObject()
	out.EndObject()
}

func company(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	id, more := p.Get("groupid"), p.Get("properties")
	switch {
	case !id.Exists() || id.IsEmptyText():
		out.Reject(destination.MissingIdentity, "groupid is required")
		return
	case p.Get("associateContact").Bool():
		out.Reject(destination.MissingIdentity, "the id of the contact to associate is not known; with associateContact false the company alone is sent")
		return
	case !more.Get(groupProperty).Falsy():
		out.Reject(destination.Invalid, groupProperty+" is not for the properties: it is the groupid")
		return
	}
	out.Path = "/crm/v3/objects/companies/batch/update"
	if p.Get("createNewCompany").Bool() {
		out.Path = "/crm/v3/objects/companies/batch/upsert"
	}
	out.BeginObject()
	out.Key("id")
	out.Compute(id, mapping.WriteText)
	out.Str("idProperty", groupProperty)
	traced(out)
	own(p, out, "name", "description", "address", "city", "state", "zip", "domain", "phone", "industry", "lifecyclestage")
	if more.Get("numberofemployees").Nullish() {
		out.Field("numberofemployees", p.Get("numberofemployees"))
	}
	if more.Get(groupProperty).Nullish() {
		out.Key(groupProperty)
		out.Compute(id, mapping.WriteText)
	}
	flat(out, more)
	out.EndObject()
	out.EndObject()
}

func custom(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	fields := p.Get("customObjectSearchFields")
	property, id, n := "", "", 0
	if fields.Kind() == event.Object {
		for k, v := range fields.Members() {
			if !v.Nullish() {
				property, id = k.Text(), v.Text()
				n++
			}
		}
	}
	may := p.Get("createNewCustomRecord")
	update := may.Exists() && !may.Bool()
	switch {
	case n > 1:
		out.Reject(destination.Invalid, "customObjectSearchFields has to be one property with unique values")
		return
	case n == 0 && update:
		out.Skip(destination.Unneeded, "there is no record to update, and none may be made")
		return
	}
	out.Path = objects(p.Text("objectType"), verb(n == 0, update))
	record(out, property, id)
	flat(out, p.Get("properties"))
	out.EndObject()
	if n == 0 {
		out.Key("associations")
		out.RawString("[]")
	}
	out.EndObject()
}

func object(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	d := p.Get("object_details")
	property, id := d.Get("id_field_name").Text(), d.Get("id_field_value").Text()
	if property == "" || id == "" || d.Get("object_type").Falsy() {
		out.Reject(destination.MissingIdentity, "object_type, id_field_name and id_field_value are required")
		return
	}
	mode := p.Text("__segment_internal_sync_mode")
	out.Path, out.Group = objects(d.Get("object_type").Text(), verb(mode == "add", mode == "update")), property
	switch {
	case mode == "add":
		record(out, "", "")
	case mode == "update" && property == "hs_object_id": // an id of HubSpot's own is no property
		out.BeginObject()
		out.Str("id", id)
		out.Key("objectWriteTraceId")
		out.Compute(event.Value{}, mapping.WriteInsertID)
		out.Key("properties")
		out.BeginObject()
	default:
		record(out, property, id)
	}
	sensitive, written := p.Get("sensitive_properties"), property
	if mode == "update" {
		written = ""
	}
	if bad := clean(out, p.Get("properties"), sensitive, written) + clean(out, sensitive, event.Value{}, written); bad != "" {
		out.Reject(destination.Invalid, "the name of the property "+bad+" does not begin with a letter")
		return
	}
	if mode != "update" {
		out.Str(property, id)
	}
	out.EndObject()
	if mode == "add" {
		out.Key("associations")
		out.RawString("[]")
	}
	out.EndObject()
}

func customEvent(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	d := p.Get("record_details")
	ofContact, id := d.Get("object_type").IsText("contact"), d.Get("object_id")
	switch {
	case s.PortalID == "":
		out.Reject(destination.Invalid, "the setting portal_id is needed for the event's full name")
		return
	case id.Nullish() && !ofContact:
		out.Reject(destination.MissingIdentity, "object_id is required")
		return
	case id.Nullish() && d.Get("email").Falsy() && d.Get("utk").Falsy():
		out.Reject(destination.MissingIdentity, "object_id, email or utk of the contact is required")
		return
	}
	out.BeginObject()
	out.Str("eventName", "pe"+s.PortalID+"_"+snake(p.Text("event_name"), "-"))
	if !id.Nullish() {
		out.Str("objectId", id.Text())
	}
	if ofContact {
		out.FieldNonNull("email", d.Get("email"))
		out.FieldNonNull("utk", d.Get("utk"))
	}
	occurredAt(out, p.Get("occurred_at"))
	out.Key("uuid")
	out.Compute(event.Value{}, mapping.WriteInsertID)
	out.Key("properties")
	out.BeginObject()
	if bad := clean(out, p.Get("properties"), event.Value{}, ""); bad != "" {
		out.Reject(destination.Invalid, "the name of the property "+bad+" does not begin with a letter")
		return
	}
	out.EndObject()
	out.EndObject()
}

// clean writes the members of an object under names that HubSpot takes, except
// those that later ones or the property id replace. It returns the first name
// that cannot be one.
func clean(out *destination.Output, v, later event.Value, id string) (bad string) {
	if v.Kind() != event.Object {
		return ""
	}
	for k, m := range v.Members() {
		key := snake(k.Text(), "")
		if key == "" || key[0] < 'a' || key[0] > 'z' {
			return k.Text()
		}
		if m.Kind() == event.Null || key == id || later.Get(k.Text()).Exists() {
			continue
		}
		s := trim(m.Text())
		switch {
		case m.Kind() == event.Number || m.Kind() == event.Bool:
			out.Field(key, m)
		case m.Kind() == event.String && (strings.EqualFold(s, "true") || strings.EqualFold(s, "false")):
			out.BoolField(key, strings.EqualFold(s, "true"))
		default:
			out.Str(key, s)
		}
	}
	return ""
}

// snake is a name in lower case with an underscore for whatever is no letter,
// digit, underscore or one of more.
func snake(name, more string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || strings.ContainsRune(more, r) {
			b.WriteRune(r)
		} else {
			b.WriteString("__"[:max(1, utf16.RuneLen(r))])
		}
	}
	return b.String()
}

func objects(kind, verb string) string {
	return "/crm/v3/objects/" + url.PathEscape(kind) + "/batch/" + verb
}

func verb(create, update bool) string {
	switch {
	case create:
		return "create"
	case update:
		return "update"
	}
	return "upsert"
}
