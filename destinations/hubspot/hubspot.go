// Package hubspot delivers to HubSpot: custom behavioral events, contacts and
// companies, all in batches.
package hubspot

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of an account.
type Settings struct {
	AccessToken string `setting:"access_token,required,secret" doc:"Access token of a private app, with the scopes of the objects and events it writes." example:"pat-EXAMPLE-0123-4567-89ab-cdef01234567"`
	PortalID    string `setting:"portal_id" doc:"ID of the account (Hub ID): names of events have to begin with pe<id>_." pattern:"^[0-9]*$"`
}

const (
	docs        = "https://developers.hubspot.com/docs/api-reference/events-send-event-completions-v3/guide"
	batchDocs   = "https://developers.hubspot.com/docs/api-reference/legacy/events/send-event-data/batch-send-occurrences"
	contactDocs = "https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide"
	companyDocs = "https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide"
	limitDocs   = "https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines"
	// groupID is the unique property by which Segment's companies are found.
	groupID = "segment_group_id"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "hubspot", Name: "HubSpot", Summary: "CRM and custom events", Docs: docs, Integrations: []string{"HubSpot Cloud Mode (Actions)", "HubSpot"}, Minimal: true,
			Backfill: "Events keep their own time; workflows that are triggered by them run at once. Contacts and companies take the values of the last delivery. " +
				"Events have to be defined in HubSpot before, and are sent only by a mapping that gives their full name (pe<id>_…). Companies are found by the unique property segment_group_id, which has to exist.",
			Differences: []destination.Difference{
				{What: "events, contacts and companies go to the batch endpoints", Docs: batchDocs},
				{What: "uuid is sent, so that HubSpot knows repeats", Docs: batchDocs},
				{What: "contacts and companies are upserted by their unique property, without looking them up first", Docs: contactDocs},
				{What: "a lifecycle stage is not moved backwards, which takes a request that clears it first", Docs: contactDocs},
				{What: "companies are not searched by other fields, and not associated with the contact of an earlier call", Docs: companyDocs},
			},
		},
		BaseURL: func(*Settings) string { return "https://api.hubapi.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			// The least that any subscription has.
			Rates:  []destination.Rate{{N: 100, Per: 10 * time.Second, Of: destination.Requests, Docs: limitDocs}},
			Dedupe: destination.Dedupe{Field: "uuid, for each event type", Window: 365 * 24 * time.Hour, Docs: batchDocs},
		},
		Order: true,
		Actions: []destination.Action[Settings]{
			{
				Slug: "sendCustomBehavioralEvent", Title: "Send Custom Behavioral Event", Doc: "A completion of an event that is defined in HubSpot.", Trigger: `type = "track"`,
				Fields: []mapping.Field{
					{Key: "eventName", Doc: "Internal name, pe<account id>_<name>. Spaces and dots become underscores.", Type: mapping.TypeString, Required: true},
					{Key: "occurredAt", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")},
					{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Paths("$.properties.email", "$.context.traits.email")},
					{Key: "utk", Doc: "The visitor's token (cookie hubspotutk).", Type: mapping.TypeString},
					{Key: "objectId", Type: mapping.TypeString},
					{Key: "properties", Doc: "Lists are joined by semicolons, objects are written as JSON.", Type: mapping.TypeObject},
				},
				Item: completion, AllOrNothing: true, Request: inputs("/events/v3/send/batch"), TimeField: "occurredAt",
				Limits: destination.Limits{BatchEvents: destination.Cap{N: 500, Docs: batchDocs}},
			},
			{
				Slug: "upsertContact", Title: "Upsert Contact", Doc: "Makes a contact or updates it, by e-mail address.", Trigger: `type = "identify"`,
				Fields: []mapping.Field{
					{Key: "email", Type: mapping.TypeString, Required: true, Format: "email", Default: mapping.Path("$.traits.email")},
					{Key: "company", Type: mapping.TypeString, Default: mapping.Path("$.traits.company")},
					{Key: "firstname", Type: mapping.TypeString, Default: mapping.Paths("$.traits.first_name", "$.traits.firstName")},
					{Key: "lastname", Type: mapping.TypeString, Default: mapping.Paths("$.traits.last_name", "$.traits.lastName")},
					{Key: "phone", Type: mapping.TypeString, Default: mapping.Path("$.traits.phone")},
					{Key: "address", Type: mapping.TypeString, Default: mapping.Path("$.traits.address.street")},
					{Key: "city", Type: mapping.TypeString, Default: mapping.Path("$.traits.address.city")},
					{Key: "state", Type: mapping.TypeString, Default: mapping.Path("$.traits.address.state")},
					{Key: "country", Type: mapping.TypeString, Default: mapping.Path("$.traits.address.country")},
					{Key: "zip", Type: mapping.TypeString, Default: mapping.Paths("$.traits.address.postalCode", "$.traits.address.postal_code")},
					{Key: "website", Type: mapping.TypeString, Default: mapping.Path("$.traits.website")},
					{Key: "lifecyclestage", Type: mapping.TypeString},
					{Key: "properties", Doc: "Further properties; they have to exist in HubSpot.", Type: mapping.TypeObject},
				},
				Item: contact, Results: traced, AllOrNothing: true, Request: inputs("/crm/v3/objects/contacts/batch/upsert"),
				Limits: destination.Limits{BatchEvents: destination.Cap{N: 100, Docs: contactDocs}},
			},
			{
				Slug: "upsertCompany", Title: "Upsert Company", Doc: "Makes a company or updates it, by the id of the group.", Trigger: `type = "group"`,
				Fields: []mapping.Field{
					{Key: "groupid", Type: mapping.TypeString, Required: true, Default: mapping.Paths("$.groupId", "$.context.groupId")},
					{Key: "createNewCompany", Type: mapping.TypeBoolean, Required: true, Default: mapping.Literal(true)},
					{Key: "associateContact", Doc: "Has to be false: there is no earlier identify call to take the contact from.", Type: mapping.TypeBoolean, Required: true, Default: mapping.Literal(true)},
					{Key: "companysearchfields", Type: mapping.TypeObject},
					{Key: "name", Type: mapping.TypeString, Default: mapping.Path("$.traits.name")},
					{Key: "description", Type: mapping.TypeString, Default: mapping.Path("$.traits.description")},
					{Key: "address", Type: mapping.TypeString, Default: mapping.Path("$.traits.address.street")},
					{Key: "city", Type: mapping.TypeString, Default: mapping.Path("$.traits.address.city")},
					{Key: "state", Type: mapping.TypeString, Default: mapping.Path("$.traits.address.state")},
					{Key: "zip", Type: mapping.TypeString, Default: mapping.Paths("$.traits.address.postalCode", "$.traits.address.postal_code")},
					{Key: "domain", Type: mapping.TypeString, Default: mapping.Path("$.traits.website")},
					{Key: "phone", Type: mapping.TypeString, Default: mapping.Path("$.traits.phone")},
					{Key: "numberofemployees", Type: mapping.TypeInteger, Default: mapping.Path("$.traits.employees")},
					{Key: "industry", Type: mapping.TypeString, Default: mapping.Path("$.traits.industry")},
					{Key: "lifecyclestage", Type: mapping.TypeString},
					{Key: "properties", Doc: "Further properties; they have to exist in HubSpot.", Type: mapping.TypeObject},
				},
				Item: company, Results: traced, AllOrNothing: true, Request: inputs("/crm/v3/objects/companies/batch/upsert"),
				Limits: destination.Limits{BatchEvents: destination.Cap{N: 100, Docs: companyDocs}},
			},
		},
		Presets: []destination.Preset{
			{Name: "Contacts", Action: "upsertContact", Subscribe: `type = "identify"`, Mapping: map[string]mapping.Value{"company": mapping.If(mapping.Path("$.traits.company.name"), mapping.Path("$.traits.company.name"), mapping.Null())}},
			{Name: "Companies", Action: "upsertCompany", Subscribe: `type = "group"`, Mapping: map[string]mapping.Value{"associateContact": mapping.Literal(false)}},
		},
	}.Destination()
}

func inputs(path string) func(*Settings) destination.Request {
	return func(*Settings) destination.Request {
		return destination.Request{Path: path, Open: `{"inputs":[`, Sep: ",", Close: "]}"}
	}
}

func completion(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	name := strings.ToLower(strings.Join(strings.FieldsFunc(" "+p.Text("eventName")+" ", func(r rune) bool { return r == '.' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }), "_"))
	prefix := "pe" + s.PortalID + "_"
	switch at := strings.IndexByte(name, '_'); {
	case s.PortalID != "" && !strings.HasPrefix(name, prefix):
		out.Reject(destination.Invalid, "eventName has to begin with "+prefix)
		return
	case s.PortalID == "" && (at < 3 || name[:2] != "pe" || strings.Trim(name[2:at], "0123456789") != ""):
		out.Reject(destination.Invalid, "eventName has to begin with pe<account id>_")
		return
	case p.Get("utk").Falsy() && p.Get("email").Falsy() && p.Get("objectId").Falsy():
		out.Reject(destination.MissingIdentity, "one of email, utk and objectId is required")
		return
	}
	out.BeginObject()
	out.Str("eventName", name)
	out.Field("occurredAt", p.Get("occurredAt"))
	for _, key := range []string{"utk", "email", "objectId"} {
		out.Field(key, p.Get(key))
	}
	out.Str("uuid", out.InsertID())
	if v := p.Get("properties"); v.Kind() == event.Object {
		out.Key("properties")
		out.BeginObject()
		flatten(out, v, trimmed)
		out.EndObject()
	}
	out.EndObject()
}

func contact(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	out.BeginObject()
	out.Str("id", strings.TrimSpace(p.Text("email")))
	out.Str("idProperty", "email")
	out.Str("objectWriteTraceId", out.InsertID())
	out.Key("properties")
	out.BeginObject()
	properties(out, p, "company", "firstname", "lastname", "phone", "address", "city", "state", "country", "zip", "email", "website")
	out.EndObject()
	out.EndObject()
}

func company(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	switch {
	case p.Get("properties").Get(groupID).Exists():
		out.Reject(destination.Invalid, groupID+" is set from groupid and cannot be among the properties")
		return
	case p.Get("associateContact").Bool():
		out.Reject(destination.Invalid, "associateContact has to be false: there is no earlier identify call to take the contact from")
		return
	case p.Get("companysearchfields").Len() > 0:
		out.Reject(destination.Invalid, "companysearchfields are not searched for: companies are found by "+groupID)
		return
	case !p.Get("createNewCompany").Bool():
		out.Path = "/crm/v3/objects/companies/batch/update"
	}
	out.BeginObject()
	out.Field("id", p.Get("groupid"))
	out.Str("idProperty", groupID)
	out.Str("objectWriteTraceId", out.InsertID())
	out.Key("properties")
	out.BeginObject()
	properties(out, p, "name", "description", "address", "city", "state", "zip", "domain", "phone", "numberofemployees", "industry")
	out.Field(groupID, p.Get("groupid"))
	out.EndObject()
	out.EndObject()
}

// properties writes the payload's own, the lifecycle stage, and the further
// ones, which win.
func properties(out *destination.Output, p *mapping.Payload, keys ...string) {
	more := p.Get("properties")
	for _, key := range keys {
		if v := p.Get(key); v.Exists() && !more.Get(key).Exists() {
			text(out, key, v)
		}
	}
	if v := p.Get("lifecyclestage"); !v.Nullish() && !more.Get("lifecyclestage").Exists() {
		out.Str("lifecyclestage", strings.ToLower(strings.TrimSpace(v.Text())))
	}
	if more.Kind() == event.Object {
		flatten(out, more, text)
	}
}

func trimmed(out *destination.Output, key string, v event.Value) {
	if v.Kind() == event.String {
		out.Str(key, strings.TrimSpace(v.Text()))
	} else {
		out.Field(key, v)
	}
}

// text is trimmed for objects of the CRM, whose properties are texts, whatever
// they hold.
// https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide
func text(out *destination.Output, key string, v event.Value) {
	if !v.Nullish() {
		out.Str(key, strings.TrimSpace(v.Text()))
	}
}

// flatten writes members as HubSpot's properties are: lists joined by
// semicolons, objects as JSON, the rest by scalar.
func flatten(out *destination.Output, v event.Value, scalar func(*destination.Output, string, event.Value)) {
	for k, e := range v.Members() {
		switch e.Kind() {
		case event.Null:
		case event.Array:
			var parts []string
			for x := range e.Elements() {
				switch x.Kind() {
				case event.Null:
					parts = append(parts, "null")
				case event.Object, event.Array:
					parts = append(parts, string(x.Raw()))
				default:
					parts = append(parts, x.Text())
				}
			}
			out.Str(k.Text(), strings.Join(parts, ";"))
		case event.Object:
			out.Str(k.Text(), string(e.Raw()))
		default:
			scalar(out, k.Text(), e)
		}
	}
}

// traced reads the verdicts of a batch that was taken in part: errors name the
// inputs by their trace ids. Errors that name nobody are found by bisecting.
// https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide
func traced(_ *Settings, a *destination.Answer, b *destination.Batch) []destination.Result {
	if a.Status != 207 {
		return nil
	}
	var body struct {
		Errors []struct {
			Message string
			Context map[string][]string
		}
	}
	if json.Unmarshal(a.Body, &body) != nil {
		return nil
	}
	rs := destination.Same(destination.Result{Outcome: destination.Delivered, Status: a.Status}, len(b.Deliveries))
	for _, e := range body.Errors {
		refused := destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: destination.Cut(e.Message, 400)}
		named := false
		for i, d := range b.Deliveries {
			for _, id := range e.Context["objectWriteTraceId"] {
				if id == d.InsertID {
					rs[i], named = refused, true
				}
			}
		}
		if !named {
			return destination.Same(refused, len(b.Deliveries))
		}
	}
	return rs
}
