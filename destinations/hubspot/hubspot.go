// Package hubspot delivers to HubSpot: contacts, companies and other records
// through the batch endpoints of its CRM, and occurrences of custom events.
package hubspot

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of an account.
type Settings struct {
	AccessToken string `setting:"access_token,required,secret,transport" doc:"Access token of a private app, with the scopes of what it writes (crm.objects.contacts.write, crm.objects.companies.write, …)." example:"pat-na1-00000000-1111-2222-3333-444444444444"`
	PortalID    string `setting:"portal_id" doc:"Hub ID of the account. The full names of its custom events begin with it." example:"1234567"`
}

const (
	eventDocs   = "https://developers.hubspot.com/docs/api-reference/events-send-event-completions-v3/guide"
	batchDocs   = "https://developers.hubspot.com/docs/api-reference/legacy/events/send-event-data/batch-send-occurrences"
	contactDocs = "https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide"
	companyDocs = "https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide"
	objectDocs  = "https://developers.hubspot.com/docs/api-reference/crm-custom-objects-v3/guide"
	flowDocs    = "https://knowledge.hubspot.com/workflows/set-your-workflow-enrollment-triggers"
	usageDocs   = "https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines"
	errorDocs   = "https://developers.hubspot.com/docs/api-reference/error-handling"
)

// groupProperty is the company property that holds a groupId; it is the one
// that Segment makes, so that companies stay the same ones.
const groupProperty = "segment_group_id"

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "hubspot", Name: "HubSpot", Summary: "customer relationship management", Docs: contactDocs,
			Integrations: []string{"HubSpot Cloud Mode (Actions)", "Actions Hubspot Cloud"}, Elsewhere: []string{"HS"},
			Backfill: "Occurrences of custom events keep their own time and are taken once a year by their uuid. Contacts, " +
				"companies and records become what the event delivered last says, whatever its age. " +
				"Workflows and lists that are enrolled by a property or an event do run for history: switch them off first.",
			Differences: destination.Differences(
				"records are upserted in batches of 100 by their unique property, instead of an update and, when it fails, a "+
					"creation of each; a record's second input goes into a second request", contactDocs,
				"occurrences are sent in batches of 500, with a uuid made of the messageId", eventDocs,
				"an occurredAt that is not ISO 8601 is written as such, or left out when it is no time", eventDocs,
				"a lifecycle stage is set forward only: HubSpot ignores an earlier one, and nothing is cleared to force "+
					"it", contactDocs,
				"the company property segment_group_id has to exist, with unique values; it is not made on the way", companyDocs,
				"upsertCustomObjectRecord takes one search field, whose values are unique, instead of searching first", objectDocs,
				"upsertObject and upsertCustomObjectRecord associate nothing: HubSpot wants its own ids of both records for "+
					"that", objectDocs,
				"customEvent and upsertObject use definitions and properties as they are, and never make them", eventDocs,
			),
			Minimal: true,
		},
		BaseURL: func(*Settings) string { return "https://api.hubapi.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			// The least of the tiers.
			Rates:       destination.Rates(usageDocs, "100/10s"),
			BatchEvents: destination.Cap{N: 100, Docs: contactDocs},
		},
		Order: true,
		Sayings: []destination.Saying{
			// Locked for two seconds; and the account is being moved.
			destination.Means(destination.Retry, destination.Conflict, errorDocs, 423).Wait(2 * time.Second),
			destination.Means(destination.Retry, destination.Unavailable, errorDocs, 477),
			destination.Means(destination.Retry, destination.RateLimited, usageDocs, 429).
				When("policyName", "TEN_SECONDLY_ROLLING").Wait(10 * time.Second),
		},
		Success: []destination.Success{destination.NoBody(eventDocs, 204)},
		Live:    destination.Live{Does: "may enrol records in the workflows and lists that wait for it", Docs: flowDocs},
		Actions: destination.Actions{behavioral(), contact(), company(), custom(), object(), customEvent()},
		Presets: []destination.Preset{
			{Name: "Identify calls", Action: "upsertContact",
				Mapping: mapping.Lines("company = traits.company.name, traits.company")},
			{Name: "Group calls", Action: "upsertCompany", Mapping: mapping.Lines("associateContact = false")},
		},
	}.Destination()
}

// occurrences is an action that sends occurrences of custom events.
func occurrences(slug, title, timeField string, name body.Node, properties body.Members,
	who ...body.Members) *destination.Declared {
	return destination.Action(slug, title).TimeField(timeField).
		Rates(eventDocs, "1250/s").BatchEvents(500, batchDocs).Dedupe("uuid", 365*destination.Day, eventDocs).
		Post("/events/v3/send/batch", body.Batch("inputs", body.Object(
			body.Member("eventName", name), body.Together(who...), body.Member("occurredAt", body.From(timeField).ISO()),
			body.Member("uuid", body.InsertID()), body.Member("properties", body.Always(body.Object(properties))),
		)))
}

func behavioral() *destination.Declared {
	return occurrences("sendCustomBehavioralEvent", "Send custom behavioral event", "occurredAt",
		body.From("eventName").Rewritten("in lower case, with underscores", fullName),
		body.Spread("properties").Each(flat()), body.Same("utk", "email", "objectId")).
		On(`type = "track"`).Doc("An occurrence of a custom event, by its full name (pe<HubID>_name). Events are "+
		"defined in HubSpot first.").
		Fields(
			field.Text("eventName").Required(), field.Timestamp("occurredAt"),
			field.Text("email").Email().From("$.properties.email", "$.context.traits.email"),
			field.Text("utk").Doc("The visitor's usertoken."), field.Text("objectId").Doc("HubSpot's id of the record."),
			field.Object("properties"),
		).
		NeedsIdentity(body.From("utk", "email", "objectId").Given(), "email, utk or objectId is required").
		Check(func(c *body.Context) string {
			name, portal := fullName(c.Field("eventName").Text()), c.Setting("portal_id").Text()
			switch {
			case portal != "" && !strings.HasPrefix(name, "pe"+portal+"_"):
				return "eventName has to begin with pe" + portal + "_"
			case portal == "" && !full.MatchString(name):
				return "eventName has to begin with pe<HubID>_"
			}
			return ""
		})
}

var (
	gaps = regexp.MustCompile(`[\s\p{Z}\v\x{feff}.]+`) // of an event's name, which HubSpot does not take
	full = regexp.MustCompile(`^pe\d+_`)
)

func fullName(name string) string { return strings.ToLower(gaps.ReplaceAllString(name, "_")) }

func customEvent() *destination.Declared {
	isContact := body.From("record_details.object_type").Is("contact")
	id := body.From("record_details.object_id").NotNull()
	return occurrences("customEvent", "Custom event V2", "occurred_at",
		body.From("event_name").As("behind pe<HubID>_", func(dst []byte, v event.Value, c *body.Context) []byte {
			return event.AppendQuoted(dst, "pe"+c.Setting("portal_id").Text()+"_"+snake(v.Text(), "-"))
		}),
		body.Spread("properties").Renamed(propertyName).Each(clean()),
		body.Member("objectId", id.Text()),
		body.When(isContact, body.Member("email", body.From("record_details.email").NotNull()),
			body.Member("utk", body.From("record_details.utk").NotNull()))).
		Doc("An occurrence of a custom event, by the name after pe<HubID>_; portal_id has to be set. Events are defined "+
			"in HubSpot first.").
		Fields(
			field.Text("event_name").Required(),
			field.Object("record_details", field.Text("object_type").Required(), field.Number("object_id"),
				field.Text("email").Email().From("$.properties.email", "$.context.traits.email"), field.Text("utk")).Required(),
			field.Object("properties").Open(), field.Timestamp("occurred_at"), syncMode(),
		).
		Needs(body.Setting("portal_id"), "the setting portal_id is needed for the event's full name").
		NeedsIdentity(body.Any(id, isContact), "object_id is required").
		NeedsIdentity(body.Any(id, body.From("record_details.email", "record_details.utk").Given()),
			"object_id, email or utk of the contact is required").
		Check(haveNames("properties"))
}

// records are the batches of an action that writes records of a type. HubSpot refuses a
// request that names a record twice.
// https://github.com/segmentio/action-destinations/pull/3969
func records(slug, title string, steps ...destination.Step) *destination.Declared {
	return destination.Action(slug, title).Once("id").Results(perRecord).Steps(steps...)
}

// batch is a request that upserts, updates or creates records.
func batch(kind, verb string, record ...body.Members) destination.Step {
	status := 200
	if verb == "create" {
		status = 201
		record = append(record, body.Member("associations", body.Always(body.List())))
	}
	members := []destination.Member{destination.Is("status", "COMPLETE"), destination.Lists("results")}
	return destination.Send("POST", "/crm/v3/objects/"+kind+"/batch/"+verb, body.Batch("inputs", body.Object(record...))).
		Success(destination.JSON(contactDocs, members...).With(status),
			destination.JSON(contactDocs, append(members, destination.List("errors"))...).With(207))
}

// known is the record whose property has a value.
func known(property, value body.Node) body.Members {
	return body.Together(body.Member("id", value), body.Member("idProperty", property))
}

// traced is what is behind the id of a record.
func traced(properties ...body.Members) body.Members {
	return body.Together(body.Member("objectWriteTraceId", body.InsertID()),
		body.Member("properties", body.Always(body.Object(properties...))))
}

// own are text fields that the other properties do not replace.
func own(keys ...string) body.Members {
	var ms []body.Members
	for _, key := range keys {
		v := body.From(key).Trim()
		if key == "lifecyclestage" {
			v = v.Lower()
		}
		ms = append(ms, unless(key, v))
	}
	return body.Together(ms...)
}

// unless is a member that the other properties do not replace.
func unless(key string, n body.Node) body.Members {
	return body.Member(key, body.If(body.Not(body.From("properties."+key).NotNull()), n))
}

func contact() *destination.Declared {
	id := known(body.Const("email"), body.From("email").Trim())
	return records("upsertContact", "Upsert contact", batch("contacts", "upsert", id, traced(
		own("company", "firstname", "lastname", "phone", "address", "city", "state", "country", "zip", "email", "website",
			"lifecyclestage"),
		body.Spread("properties").Each(flat()),
	))).
		On(`type = "identify"`).Doc("Makes or updates the contact of an email address.").
		Fields(
			field.Text("email").Email().From("$.traits.email"), field.Texts("company = traits.company",
				"firstname = traits.first_name, traits.firstName", "lastname = traits.last_name, traits.lastName",
				"phone = traits.phone"),
			address(), field.Texts("country = traits.address.country", "website = traits.website", "lifecyclestage"),
			field.Object("properties"),
		).
		NeedsIdentity(body.From("email").Trim().Filled(), "email is required")
}

// address are the parts of an address that a company has, too.
func address() field.Lines {
	return field.Texts("address = traits.address.street", "city = traits.address.city", "state = traits.address.state",
		"zip = traits.address.postalCode, traits.address.postal_code")
}

func company() *destination.Declared {
	id, create := body.From("groupid").Filled(), body.From("createNewCompany").Is("true")
	record := body.Together(known(body.Const(groupProperty), body.From("groupid").Text()), traced(
		own("name", "description", "address", "city", "state", "zip", "domain", "phone", "industry", "lifecyclestage"),
		unless("numberofemployees", body.From("numberofemployees")), unless(groupProperty, body.From("groupid").Text()),
		body.Spread("properties").Each(flat()),
	))
	return records("upsertCompany", "Upsert company",
		batch("companies", "upsert", record).If(create), batch("companies", "update", record).If(body.Not(create))).
		On(`type = "group"`).
		Doc("Makes or updates the company whose segment_group_id is the groupId: a text property with unique values "+
			"that has to exist. A contact is not associated here.").
		Fields(
			field.Text("groupid").From("$.groupId", "$.context.groupId"),
			field.Boolean("createNewCompany").Required().Always(true),
			field.Boolean("associateContact").Required().Always(true).
				Doc("Only false can be delivered: the contact's id in HubSpot is not known."),
			field.Object("companysearchfields").Doc("Not used."), field.Texts("name", "description").Below("$.traits"),
			address(), field.Texts("domain = traits.website", "phone = traits.phone"),
			field.Integer("numberofemployees").From("$.traits.employees"),
			field.Texts("industry = traits.industry", "lifecyclestage"), field.Object("properties"),
		).
		NeedsIdentity(id, "groupid is required").
		NeedsIdentity(body.Not(body.From("associateContact").Is("true")),
			"the id of the contact to associate is not known; with associateContact false the company alone is sent").
		Needs(body.Not(body.From("properties."+groupProperty).Given()),
			groupProperty+" is not for the properties: it is the groupid")
}

func custom() *destination.Declared {
	property := only("the name of its member", func(name, _ event.Value) event.Value { return name })
	value := only("its value", func(_, value event.Value) event.Value { return value })
	update := body.From("createNewCustomRecord").Is("false")
	properties := traced(body.Spread("properties").Each(flat()))
	return records("upsertCustomObjectRecord", "Upsert custom object record",
		batch("{objectType}", "create", properties).If(body.Not(property)),
		batch("{objectType}", "update", known(property, value), properties).If(body.All(property, update)),
		batch("{objectType}", "upsert", known(property, value), properties).If(body.All(property, body.Not(update)))).
		Doc("Makes or updates a deal, a ticket or a record of another type.").
		Fields(
			field.Boolean("createNewCustomRecord").Always(true),
			field.Object("customObjectSearchFields").Doc(
				"The property with unique values by which the record is known. Without it a record is made every time."),
			field.Text("objectType").Required(), field.Object("properties").Required(),
			field.Object("searchFieldsToAssociateCustomObjects").Doc("Not used."),
			field.Texts("toObjectType", "associationLabel").With(func(l field.Line) field.Line { return l.Doc("Not used.") }),
		).
		Needs(body.Not(body.From("customObjectSearchFields").Where("it has several", several)),
			"customObjectSearchFields has to be one property with unique values").
		Only(body.Any(property, body.Not(update)), destination.Unneeded, "there is no record to update, and none may be made")
}

// only is what f takes of the one member of the search fields that is not null.
func only(what string, f func(name, value event.Value) event.Value) body.Value {
	return body.From("customObjectSearchFields").As(what, func(dst []byte, v event.Value, _ *body.Context) []byte {
		for k, m := range v.Members() {
			if !m.Nullish() {
				return event.AppendQuoted(dst, f(k, m).Text())
			}
		}
		return dst
	})
}

func several(v event.Value) bool {
	n := 0
	for _, m := range v.Members() {
		if !m.Nullish() {
			n++
		}
	}
	return n > 1
}

func object() *destination.Declared {
	add, update := body.From(syncKey).Is("add"), body.From(syncKey).Is("update")
	property := body.From("object_details.id_field_name").Given()
	value := body.From("object_details.id_field_value").Given()
	written := body.Together(body.Spread("properties").Renamed(propertyName).Each(clean()),
		body.Spread("sensitive_properties").Renamed(propertyName).Each(clean()))
	its := body.SpreadOf(body.Pair("object_details.id_field_name", "object_details.id_field_value"))
	const kind = "{object_details.object_type}"
	return records("upsertObject", "Custom object V2",
		batch(kind, "create", traced(written, its)).If(add),
		batch(kind, "update", body.Member("id", value.Text()),
			body.Member("idProperty", property.Not("hs_object_id")), // an id of HubSpot's own is no property
			traced(written)).If(update),
		batch(kind, "upsert", known(property, value.Text()), traced(written, its)).If(body.Not(body.Any(add, update)))).
		Group(property).Doc("Makes or updates a record of any type.").
		Fields(
			field.Object("object_details", field.Text("object_type").Required(), field.Text("id_field_name").Required(),
				field.Text("id_field_value").Required(), field.Text("property_group")).Required(),
			field.Object("properties").Open(), field.Object("sensitive_properties").Open(),
			field.Text("association_sync_mode").Required().OneOf("upsert", "read").Always("upsert").Doc("Not used."),
			field.Object("associations").List().Doc("Not used."), field.Object("dissociations").List().Doc("Not used."),
			field.Text("timestamp").From("$.timestamp").Doc("Not used."), syncMode(),
		).
		NeedsIdentity(body.All(property, value, body.From("object_details.object_type").Given()),
			"object_type, id_field_name and id_field_value are required").
		Check(haveNames("properties", "sensitive_properties"))
}

const syncKey = "__segment_internal_sync_mode"

// syncMode is where Segment's mappings say whether records may be made.
func syncMode() field.Line {
	return field.Text(syncKey).Label("Sync mode").OneOf("upsert", "add", "update").Always("update").
		Doc("upsert, add or update; with customEvent it is not used.")
}

// flat is a property's value: lists as their elements between semicolons, objects as JSON,
// texts trimmed; null is left out.
func flat() body.Node {
	return body.First(
		body.This().IsList().As("its elements between semicolons", func(dst []byte, v event.Value, _ *body.Context) []byte {
			var parts []string
			for el := range v.Elements() {
				parts = append(parts, el.Text())
			}
			return event.AppendQuoted(dst, strings.Join(parts, ";"))
		}),
		inJSON(), body.This().IsText().Trim(), body.This().NotNull(),
	)
}

// inJSON is an object as a text, without blanks.
func inJSON() body.Value {
	return body.This().IsObject().As("its JSON", func(dst []byte, v event.Value, _ *body.Context) []byte {
		var b bytes.Buffer
		_ = json.Compact(&b, v.Raw()) // which was valid
		return event.AppendQuoted(dst, b.Bytes())
	})
}

// clean is the value of a property of any type: what says true or false is so.
func clean() body.Node {
	word := body.This().IsText().Trim().Lower()
	return body.First(
		body.This().IsNumber(), body.This().IsBoolean(),
		body.If(word.Is("true"), body.Const(true)), body.If(word.Is("false"), body.Const(false)), inJSON(),
		body.This().Trim(),
	)
}

func propertyName(name string) string { return snake(name, "") }

// haveNames says which property of some objects has a name that HubSpot does not take.
func haveNames(objects ...string) func(c *body.Context) string {
	return func(c *body.Context) string {
		for _, object := range objects {
			for k := range c.Field(object).Members() {
				if name := propertyName(k.Text()); name == "" || name[0] < 'a' || name[0] > 'z' {
					return "the name of the property " + k.Text() + " does not begin with a letter"
				}
			}
		}
		return ""
	}
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

// perRecord reads a batch's answer: what failed is listed under errors, by the trace ids
// that we sent or by the ids of the records.
// https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide
func perRecord(a *destination.Answer, b *destination.Batch) []destination.Result {
	n := len(b.Deliveries)
	create := strings.HasSuffix(b.Deliveries[0].Address().Path, "/create")
	switch errs := a.JSON.Get("errors"); {
	case a.Status == 409 && create && n == 1 && a.JSON.Get("category").IsText("CONFLICT"):
		return destination.Same(destination.Result{Outcome: destination.Skipped, Reason: destination.Unneeded,
			Status: a.Status, Detail: "there is such a record already"}, n)
	case a.Status == 409 && !create:
		return destination.Same(a.Retry(destination.Conflict), n)
	case !a.OK() || errs.Len() == 0:
		return nil
	}
	names := map[string]int{} // the deliveries, by what is in the context of an error
	for i, d := range b.Deliveries {
		names["objectWriteTraceId "+d.InsertID], names["ids "+recordID(d.Item)] = i, i
	}
	rs := destination.Same(a.Took(), n)
	for e := range a.JSON.Get("errors").Elements() {
		bad := a.Refuse(e.Get("category").Text() + ": " + e.Get("message").Text())
		found := false
		for list, ids := range e.Get("context").Members() {
			for id := range ids.Elements() {
				if i, ok := names[list.Text()+" "+id.Text()]; ok && id.Text() != "" {
					rs[i], found = bad, true
				}
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

func recordID(item []byte) string {
	v, _ := event.ParseValue(item)
	return v.Get("id").Text()
}
