// Package customerio delivers to Customer.io's Track API: people, objects and
// what happens to them, in batches at their own time.
package customerio

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a workspace.
type Settings struct {
	SiteID        string `setting:"site_id,required,secret,transport" doc:"Site ID of the workspace's Track API credentials." example:"0123456789abcdef0123"`
	APIKey        string `setting:"api_key,required,secret,transport" doc:"API key of the workspace's Track API credentials." example:"fedcba98765432100123"`
	AccountRegion string `setting:"account_region,transport" doc:"Where the account's data resides." default:"us" choices:"us,eu"`
}

const (
	docs       = "https://docs.customer.io/integrations/api/track/"
	entityDocs = "https://docs.customer.io/api/track/#operation/entity"
	batchDocs  = "https://docs.customer.io/api/track/#operation/batch"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "customerio", Name: "Customer.io", Summary: "messaging and automation", Docs: docs,
			Integrations: []string{"Actions Customerio", "Customer.io (Actions)"},
			Backfill:     "Events are kept at their own time; only those of the last 72 hours can start campaigns. Profiles are updated as of the event's time, and segments and the campaigns that hang on attributes react to them at once. Anonymous events join the person who is identified later if they are from the last 30 days. Deletions, suppressions and merges are final: leave those actions out where the past should not be repeated.",
			Differences: []destination.Difference{
				{What: "a person is identified by id, email or cio_id: an identify of nobody but an anonymous_id is rejected as missing_identity instead of being sent and refused", Docs: entityDocs},
				{What: "timestamp, created_at and last_used are Unix times in seconds also when they were mapped from digits, and an event whose timestamp is no time is rejected", Docs: entityDocs},
				{What: "name and id stay text also when they look like a date", Docs: entityDocs},
				{What: "entities are sent in batches instead of one a request", Docs: batchDocs},
			},
		},
		BaseURL: func(s *Settings) string {
			// https://docs.customer.io/accounts-and-workspaces/data-centers/
			if s.AccountRegion == "eu" {
				return "https://track-eu.customer.io"
			}
			return "https://track.customer.io"
		},
		Auth: func(s *Settings) destination.Auth { return destination.Basic(s.SiteID, s.APIKey) },
		Limits: destination.Limits{
			Rates:      []destination.Rate{{N: 1000, Per: time.Second, Of: destination.Requests, Docs: docs + "#rate-limits"}},
			BatchBytes: destination.Cap{N: 500_000, Docs: batchDocs},
			EventBytes: destination.Cap{N: 32_768, Docs: batchDocs},
			Dedupe:     destination.Dedupe{Field: "id, when the messageId is a ULID", Docs: entityDocs},
		},
		// Updates of a person overwrite each other.
		Order: true,
		Success: []destination.Success{
			destination.Words(batchDocs, "{}"),
			destination.JSON(batchDocs, destination.List("errors")).With(207),
		},
		Actions: destination.Coded[Settings]{
			{
				Slug: "createUpdatePerson", Title: "Create or update person", Doc: "Sets a person's attributes, and relates the person to an object.", Trigger: `type = "identify"`,
				Fields: []mapping.Field{
					{Key: "id", Type: mapping.TypeString, Doc: "A person's id, or email, or cio_id with cio_ in front.", Default: mapping.Paths("$.userId", "$.traits.email")},
					{Key: "anonymous_id", Type: mapping.TypeString, Doc: "Joins the anonymous events of the last 30 days to the person.", Default: mapping.Path("$.anonymousId")},
					{Key: "email", Type: mapping.TypeString, Default: mapping.Template("{{traits.email}}")},
					{Key: "created_at", Type: mapping.TypeString, Default: mapping.Paths("$.traits.created_at", "$.traits.createdAt")},
					{Key: "group_id", Type: mapping.TypeString, Doc: "An object to relate the person to.", Default: mapping.Path("$.traits.objectId")},
					{Key: "custom_attributes", Type: mapping.TypeObject, Default: mapping.Path("$.traits")},
					{Key: "relationship_attributes", Type: mapping.TypeObject, Default: mapping.Path("$.traits.relationshipAttributes")},
					timestamp(), convert(),
					objectType("traits"),
				},
				Item: person, Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "trackEvent", Title: "Track event", Doc: "An event of a person, known or not.", Trigger: trackTrigger,
				Fields: []mapping.Field{
					personID("id", false), anonymousID(),
					{Key: "name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
					eventID(), timestamp(), data(), convert(),
				},
				Item: happening("event", "name"), Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "trackPageView", Title: "Track page view", Doc: "A page that a person has seen, named by its address.", Trigger: `type = "page"`,
				Fields: []mapping.Field{
					personID("id", false), anonymousID(), eventID(),
					{Key: "url", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.properties.url")},
					timestamp(), data(), convert(),
				},
				Item: happening("page", "url"), Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "trackScreenView", Title: "Track screen view", Doc: "A screen of an app that a person has seen.", Trigger: `type = "screen"`,
				Fields: []mapping.Field{
					personID("id", false), anonymousID(), eventID(),
					{Key: "name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.name")},
					timestamp(), data(), convert(),
				},
				Item: happening("screen", "name"), Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "createUpdateObject", Title: "Create or update object", Doc: "Sets an object's attributes (a company, a course, …) and relates it to the person.", Trigger: `type = "group"`,
				Fields: []mapping.Field{
					{Key: "id", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.groupId")},
					{Key: "created_at", Type: mapping.TypeString, Default: mapping.Paths("$.traits.created_at", "$.traits.createdAt")},
					{Key: "custom_attributes", Type: mapping.TypeObject, Default: mapping.Path("$.traits.objectAttributes")},
					{Key: "relationship_attributes", Type: mapping.TypeObject, Default: mapping.Path("$.traits.relationshipAttributes")},
					personID("user_id", false), anonymousID(),
					objectType("traits"),
					convert(),
				},
				Item: object, Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "createUpdateDevice", Title: "Create or update device", Doc: "A person's device, for push messages.", Trigger: deviceTrigger,
				Fields: []mapping.Field{
					personID("person_id", true), deviceID(),
					{Key: "app_version", Type: mapping.TypeString, Default: mapping.Path("$.context.app.version")},
					{Key: "platform", Type: mapping.TypeString, Required: true, Doc: "ios or android.", Default: mapping.Path("$.context.device.type")},
					{Key: "last_used", Type: mapping.TypeString, Default: mapping.Path("$.timestamp")},
					{Key: "attributes", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
					convert(),
				},
				Item: device, Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "deleteDevice", Title: "Delete device", Doc: "Takes a device away from a person.", Trigger: `event = "Application Uninstalled" or event = "Device Deleted"`,
				Fields: []mapping.Field{personID("person_id", true), deviceID()},
				Item:   deleteDevice, Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "deleteRelationship", Title: "Delete relationship", Doc: "Ends the relationship of a person and an object.", Trigger: `event = "Relationship Deleted"`,
				Fields: []mapping.Field{
					personID("person_id", true), anonymousID(),
					{Key: "object_id", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.properties.objectId")},
					objectType("properties"),
				},
				Item: deleteRelationship, Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "deletePerson", Title: "Delete person", Doc: "Deletes a person.", Trigger: `event = "User Deleted"`,
				Fields: []mapping.Field{personID("person_id", true)},
				Item:   plain("delete"), Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "deleteObject", Title: "Delete object", Doc: "Deletes an object and its relationships.", Trigger: `event = "Object Deleted"`,
				Fields: []mapping.Field{
					{Key: "object_id", Type: mapping.TypeString, Default: mapping.Path("$.properties.objectId")},
					objectType("properties"),
				},
				Item: deleteObject, Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "mergePeople", Title: "Merge people", Doc: "Merges the previous id's person into the other, for good.", Trigger: `type = "alias"`,
				Fields: []mapping.Field{
					{Key: "primary", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.userId")},
					{Key: "secondary", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.previousId")},
				},
				Item: merge, Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "suppressPerson", Title: "Suppress person", Doc: "Keeps a person's ids out of the workspace.", Trigger: `event = "User Suppressed"`,
				Fields: []mapping.Field{personID("person_id", true)},
				Item:   plain("suppress"), Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "unsuppressPerson", Title: "Unsuppress person", Doc: "Lets a suppressed person's ids in again.", Trigger: `event = "User Unsuppressed"`,
				Fields: []mapping.Field{personID("person_id", true)},
				Item:   plain("unsuppress"), Request: batch, Results: verdicts, AllOrNothing: true,
			},
			{
				Slug: "reportDeliveryEvent", Title: "Report delivery event", Doc: "What became of a message that Customer.io sent.", Trigger: `event = "Report Delivery Event"`,
				Fields: []mapping.Field{
					{Key: "delivery_id", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.properties.deliveryId")},
					{Key: "metric", Type: mapping.TypeString, Required: true, Choices: []string{"delivered", "opened", "clicked", "converted", "spammed", "bounced", "dropped", "deferred"}, Default: mapping.Path("$.properties.metric")},
					{Key: "recipient", Type: mapping.TypeString, Default: mapping.Path("$.properties.recipient")},
					{Key: "reason", Type: mapping.TypeString, Default: mapping.Path("$.properties.reason")},
					{Key: "href", Type: mapping.TypeString, Default: mapping.Path("$.properties.href")},
					{Key: "action_name", Type: mapping.TypeString, Default: mapping.Path("$.properties.actionName")},
					{Key: "action_value", Type: mapping.TypeString, Default: mapping.Path("$.properties.actionValue")},
					{Key: "timestamp", Type: mapping.TypeDatetime, Format: "date-time", Default: mapping.Path("$.timestamp")},
				},
				// https://docs.customer.io/api/track/#operation/metrics
				Item: metric, Request: func(*Settings) destination.Request { return destination.Request{Path: "/api/v1/metrics"} },
			},
			{
				Slug: "reportContentEvent", Title: "Report content event", Doc: "An in-app message that somebody unknown has seen or clicked.", Trigger: `event = "Report Content Event"`,
				Fields: []mapping.Field{
					anonymousID(),
					{Key: "actionType", Type: mapping.TypeString, Required: true, Choices: []string{"viewed_content", "clicked_content"}, Default: mapping.Path("$.properties.actionType")},
					timestamp(), data(), convert(),
				},
				Item: content, Request: batch, Results: verdicts, AllOrNothing: true,
			},
		},
		Presets: []destination.Preset{
			{Name: "Create or Update Person", Action: "createUpdatePerson", Subscribe: `type = "identify"`},
			{Name: "Create or Update Device", Action: "createUpdateDevice", Subscribe: deviceTrigger},
			{Name: "Delete Device", Action: "deleteDevice", Subscribe: `event = "Application Uninstalled" or event = "Device Deleted"`},
			{Name: "Delete Relationship", Action: "deleteRelationship", Subscribe: `event = "Relationship Deleted"`},
			{Name: "Delete Person", Action: "deletePerson", Subscribe: `event = "User Deleted"`},
			{Name: "Delete Object", Action: "deleteObject", Subscribe: `event = "Object Deleted"`},
			{Name: "Track Event", Action: "trackEvent", Subscribe: trackTrigger},
			{Name: "Track Page View", Action: "trackPageView", Subscribe: `type = "page"`},
			{Name: "Track Screen View", Action: "trackScreenView", Subscribe: `type = "screen"`},
			{Name: "Create or Update Object", Action: "createUpdateObject", Subscribe: `type = "group"`},
			{Name: "Merge People", Action: "mergePeople", Subscribe: `type = "alias"`},
			{Name: "Suppress Person", Action: "suppressPerson", Subscribe: `event = "User Suppressed"`},
			{Name: "Unsuppress Person", Action: "unsuppressPerson", Subscribe: `event = "User Unsuppressed"`},
			{Name: "Report Delivery Event", Action: "reportDeliveryEvent", Subscribe: `event = "Report Delivery Event"`},
			{Name: "Report Content Event", Action: "reportContentEvent", Subscribe: `event = "Report Content Event"`},
		},
	}.Destination()
}

const (
	deviceTrigger = `event = "Application Installed" or event = "Application Opened" or event = "Device Created or Updated"`
	// trackTrigger takes the events that have no action of their own.
	trackTrigger = `type = "track" and event != "Application Installed" and event != "Application Opened" and event != "Application Uninstalled"` +
		` and event != "Device Created or Updated" and event != "Device Deleted" and event != "Relationship Deleted" and event != "User Deleted"` +
		` and event != "User Suppressed" and event != "User Unsuppressed" and event != "Object Deleted"` +
		` and event != "Report Delivery Event" and event != "Report Content Event"`
)

func personID(key string, required bool) mapping.Field {
	return mapping.Field{Key: key, Type: mapping.TypeString, Required: required, Doc: "A person's id, or email, or cio_id with cio_ in front.", Default: mapping.Path("$.userId")}
}

func anonymousID() mapping.Field {
	return mapping.Field{Key: "anonymous_id", Type: mapping.TypeString, Doc: "Identifies somebody who has no id yet.", Default: mapping.Path("$.anonymousId")}
}

func eventID() mapping.Field {
	return mapping.Field{Key: "event_id", Type: mapping.TypeString, Doc: "Customer.io ignores a repeat of it when it is a ULID.", Default: mapping.Path("$.messageId")}
}

func deviceID() mapping.Field {
	return mapping.Field{Key: "device_id", Type: mapping.TypeString, Required: true, Doc: "The device's push token.", Default: mapping.Path("$.context.device.token")}
}

func timestamp() mapping.Field {
	return mapping.Field{Key: "timestamp", Type: mapping.TypeString, Default: mapping.Path("$.timestamp")}
}

func data() mapping.Field {
	return mapping.Field{Key: "data", Type: mapping.TypeObject, Default: mapping.Path("$.properties")}
}

func convert() mapping.Field {
	return mapping.Field{Key: "convert_timestamp", Type: mapping.TypeBoolean, Doc: "Turns ISO 8601 dates among the attributes into Unix times.", Default: mapping.Literal(true)}
}

func objectType(in string) mapping.Field {
	return mapping.Field{Key: "object_type_id", Type: mapping.TypeString, Doc: "The object's type; 1 without it.", Default: mapping.Paths("$."+in+".object_type_id", "$."+in+".objectTypeId")}
}

func batch(*Settings) destination.Request {
	return destination.Request{Path: "/api/v2/batch", Open: `{"batch":[`, Sep: ",", Close: "]}"}
}

// verdicts reads a 207, which names the entities that were refused and has
// taken all others.
// https://docs.customer.io/api/track/#operation/batch
func verdicts(_ *Settings, a *destination.Answer, b *destination.Batch) []destination.Result {
	var body struct {
		Errors []struct {
			Index   *int   `json:"batch_index"`
			Reason  string `json:"reason"`
			Field   string `json:"field"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if a.Status != 207 || json.Unmarshal(a.Body, &body) != nil {
		return nil
	}
	rs := destination.Same(destination.Result{Outcome: destination.Delivered, Status: a.Status}, len(b.Deliveries))
	for _, e := range body.Errors {
		if e.Index != nil && *e.Index >= 0 && *e.Index < len(rs) {
			rs[*e.Index] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: destination.Cut(strings.TrimSpace(e.Reason+" "+e.Field)+": "+e.Message, 400)}
		}
	}
	return rs
}

// id is one of the identifiers of a person.
type id struct {
	kind string
	v    event.Value
}

// emails are the ids that count as an email address.
var emails = regexp.MustCompile("(?i)^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]*[a-z0-9])?$")

// idOf chooses the identifier of a person: only one can be sent.
// https://docs.customer.io/api/track/#operation/entity
func idOf(person, email, anonymous event.Value) id {
	switch {
	case person.Exists() && person.Test(isOwn):
		return id{"cio_id", person}
	case person.Exists() && person.Test(isEmail):
		return id{"email", person}
	case given(person):
		return id{"id", person}
	case given(email):
		return id{"email", email}
	case given(anonymous):
		return id{"anonymous_id", anonymous}
	}
	return id{}
}

// given says that there is a value, and that it is not the empty text.
func given(v event.Value) bool { return v.Exists() && !v.IsEmptyText() }

// own is what Customer.io's own ids begin with.
const own = "cio_"

func isOwn(v event.Value) bool {
	b, ok := v.Plain()
	return ok && bytes.HasPrefix(b, []byte(own)) || !ok && strings.HasPrefix(v.Text(), own)
}

func isEmail(v event.Value) bool {
	b, ok := v.Plain()
	if !ok {
		b = v.AppendString(nil)
	}
	return bytes.IndexByte(b, '@') >= 0 && emails.Match(b)
}

func (i id) write(out *destination.Output, key string) {
	out.Key(key)
	out.BeginObject()
	out.Key(i.kind)
	if i.kind == "cio_id" {
		out.Compute(i.v, func(w *mapping.Writer, v event.Value, _ *mapping.Late) { w.Text(v.Text()[len(own):]) })
	} else {
		out.Compute(i.v, mapping.WriteText)
	}
	out.EndObject()
}

func writeSeconds(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	t, _ := event.ParseTime(v)
	w.Int(t.Unix())
}

// ofPerson begins an operation on a person.
func ofPerson(out *destination.Output, action string, by id) {
	out.BeginObject()
	out.Str("type", "person")
	out.Str("action", action)
	by.write(out, "identifiers")
}

// ofObject begins an operation on an object.
func ofObject(out *destination.Output, action string, id, typ event.Value) {
	out.BeginObject()
	out.Str("type", "object")
	out.Str("action", action)
	objectIDs(out, id, typ)
}

func objectIDs(out *destination.Output, id, typ event.Value) {
	out.Key("identifiers")
	out.BeginObject()
	if given(typ) {
		out.Key("object_type_id")
		out.Compute(typ, mapping.WriteText)
	} else {
		out.Str("object_type_id", "1")
	}
	out.Key("object_id")
	out.Compute(id, mapping.WriteText)
	out.EndObject()
}

// at writes the time of an operation.
func at(in *destination.Input, out *destination.Output) bool {
	v := in.Payload.Get("timestamp")
	if !v.Exists() {
		return true
	}
	if !v.Test(event.IsTime) {
		out.Reject(destination.Invalid, "the timestamp is not a time")
		return false
	}
	out.Key("timestamp")
	out.Compute(v, writeSeconds)
	return true
}

// values writes attributes: all members but the skipped ones, and the
// anonymous id unless it identifies the person.
func values(in *destination.Input, out *destination.Output, v event.Value, by id, skip ...string) {
	anonymous := in.Payload.Get("anonymous_id")
	out.BeginObject()
	if given(anonymous) {
		skip = append(skip, "anonymous_id")
	}
	members(out, v, in.Payload.Get("convert_timestamp").Bool(), skip...)
	if given(anonymous) && by.kind != "anonymous_id" {
		out.Key("anonymous_id")
		out.Compute(anonymous, mapping.WriteText)
	}
}

func members(out *destination.Output, v event.Value, dates bool, skip ...string) {
	if !dates {
		out.Members(v, skip...)
		return
	}
	if v.Kind() != event.Object {
		return
	}
members:
	for k, m := range v.Members() {
		for _, s := range skip {
			if k.IsText(s) {
				continue members
			}
		}
		out.RawKey(k.Raw())
		value(out, m, true)
	}
}

// value writes a value, with dates, also in objects in it, as Unix times.
func value(out *destination.Output, v event.Value, dates bool) {
	switch {
	case dates && v.Kind() == event.Object:
		out.BeginObject()
		members(out, v, true)
		out.EndObject()
	case dates && v.Kind() == event.String && v.Test(isDate):
		out.Compute(v, func(w *mapping.Writer, v event.Value, _ *mapping.Late) {
			s, _ := seconds(v.Text())
			w.Int(s)
		})
	default:
		out.Val(v)
	}
}

func isDate(v event.Value) bool {
	b, plain := v.Plain()
	if !plain || len(b) < 10 || b[0]-'0' > 9 || b[4] != '-' || b[7] != '-' {
		return false
	}
	_, ok := seconds(string(b))
	return ok
}

// seconds reads an ISO 8601 date, with or without a time and its zone, and
// nothing else that may be read as a time.
func seconds(s string) (int64, bool) {
	layouts := [...]string{"2006-01-02", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15:04Z0700"}
	may := layouts[:1]
	if len(s) > 10 {
		may = layouts[1:]
	}
	for _, layout := range may {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Unix(), true
		}
	}
	return 0, false
}

func person(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	by := idOf(p.Get("id"), p.Get("email"), event.Value{})
	if by.kind == "" {
		out.Reject(destination.MissingIdentity, "an id or email is required to identify a person")
		return
	}
	ofPerson(out, "identify", by)
	if !at(in, out) {
		return
	}
	out.Key("attributes")
	values(in, out, p.Get("custom_attributes"), by, append(has(p, "email"), "created_at", "createdAt", "object_type_id", "objectTypeId", "relationshipAttributes")...)
	dated(p, out, "created_at")
	out.Field("email", p.Get("email"))
	out.EndObject()
	if group := p.Get("group_id"); given(group) {
		out.Key("cio_relationships")
		out.BeginArray()
		out.BeginObject()
		objectIDs(out, group, p.Get("object_type_id"))
		out.Field("relationship_attributes", p.Get("relationship_attributes"))
		out.EndObject()
		out.EndArray()
	}
	out.EndObject()
}

// has is the key when the payload has the field: what a field says wins over
// an attribute of its name.
func has(p *mapping.Payload, key string) []string {
	if p.Has(key) {
		return []string{key}
	}
	return nil
}

// dated writes a field that Customer.io wants to be a Unix time, whose text may
// be a date or the digits of one.
func dated(p *mapping.Payload, out *destination.Output, key string) {
	v := p.Get(key)
	if !v.Exists() || v.IsEmptyText() {
		return
	}
	if v.Test(isUnix) {
		out.Key(key)
		out.Compute(v, writeSeconds)
		return
	}
	out.Key(key)
	value(out, v, p.Get("convert_timestamp").Bool())
}

func isUnix(v event.Value) bool {
	return event.IsTime(v) && strings.Trim(v.Text(), "0123456789") == ""
}

// happening is an event, page or screen, whose name is in the field nameKey.
func happening(action, nameKey string) func(*Settings, *destination.Input, *destination.Output) {
	return func(_ *Settings, in *destination.Input, out *destination.Output) {
		p := in.Payload
		by := idOf(p.Get("id"), event.Value{}, p.Get("anonymous_id"))
		if by.kind == "" {
			out.Reject(destination.MissingIdentity, "an id or anonymous_id is required")
			return
		}
		ofPerson(out, action, by)
		out.Field("name", p.Get(nameKey))
		if v := p.Get("event_id"); v.Exists() && v != in.Event.MessageID() && v.Text() != in.Event.MessageID().Text() {
			out.Field("id", v)
		} else {
			out.Key("id")
			out.Compute(event.Value{}, mapping.WriteInsertID)
		}
		about(in, out, by)
	}
}

// about ends an event with its time and attributes.
func about(in *destination.Input, out *destination.Output, by id, skip ...string) {
	if !at(in, out) {
		return
	}
	if v := in.Payload.Get("data"); v.Exists() || in.Payload.Has("anonymous_id") {
		out.Key("attributes")
		values(in, out, v, by, skip...)
		out.EndObject()
	}
	out.EndObject()
}

func content(_ *Settings, in *destination.Input, out *destination.Output) {
	by := idOf(event.Value{}, event.Value{}, in.Payload.Get("anonymous_id"))
	if by.kind == "" {
		out.Reject(destination.MissingIdentity, "an anonymous_id is required")
		return
	}
	ofPerson(out, in.Payload.Text("actionType"), by)
	out.Field("name", in.Payload.Get("actionType"))
	about(in, out, by, "actionType")
}

func object(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	by := idOf(p.Get("user_id"), event.Value{}, p.Get("anonymous_id"))
	action := "identify"
	if by.kind == "anonymous_id" {
		action = "identify_anonymous"
	}
	ofObject(out, action, p.Get("id"), p.Get("object_type_id"))
	dated(p, out, "created_at")
	if v := p.Get("custom_attributes"); v.Exists() || p.Has("anonymous_id") {
		out.Key("attributes")
		// The object's identifiers have no place for an anonymous id.
		values(in, out, v, id{}, "object_type_id", "objectTypeId", "relationshipAttributes")
		out.EndObject()
	}
	if by.kind != "" {
		out.Key("cio_relationships")
		out.BeginArray()
		out.BeginObject()
		by.write(out, "identifiers")
		if v := p.Get("relationship_attributes"); v.Exists() {
			out.Key("relationship_attributes")
			value(out, v, p.Get("convert_timestamp").Bool())
		}
		out.EndObject()
		out.EndArray()
	}
	out.EndObject()
}

func device(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	ofPerson(out, "add_device", idOf(p.Get("person_id"), event.Value{}, event.Value{}))
	out.Key("device")
	out.BeginObject()
	out.Field("token", p.Get("device_id"))
	out.Field("platform", p.Get("platform"))
	dated(p, out, "last_used")
	out.Key("attributes")
	out.BeginObject()
	members(out, p.Get("attributes"), p.Get("convert_timestamp").Bool(), has(p, "app_version")...)
	out.Field("app_version", p.Get("app_version"))
	out.EndObject()
	out.EndObject()
	out.EndObject()
}

func deleteDevice(_ *Settings, in *destination.Input, out *destination.Output) {
	ofPerson(out, "delete_device", idOf(in.Payload.Get("person_id"), event.Value{}, event.Value{}))
	out.Key("device")
	out.BeginObject()
	out.Field("token", in.Payload.Get("device_id"))
	out.EndObject()
	out.EndObject()
}

func deleteRelationship(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	ofObject(out, "delete_relationships", p.Get("object_id"), p.Get("object_type_id"))
	if p.Has("anonymous_id") {
		out.Key("attributes")
		values(in, out, event.Value{}, id{})
		out.EndObject()
	}
	out.Key("cio_relationships")
	out.BeginArray()
	out.BeginObject()
	idOf(p.Get("person_id"), event.Value{}, event.Value{}).write(out, "identifiers")
	out.EndObject()
	out.EndArray()
	out.EndObject()
}

func deleteObject(_ *Settings, in *destination.Input, out *destination.Output) {
	id := in.Payload.Get("object_id")
	if !given(id) {
		out.Reject(destination.MissingIdentity, "an object_id is required")
		return
	}
	ofObject(out, "delete", id, in.Payload.Get("object_type_id"))
	out.EndObject()
}

// plain is an operation that says nothing but whom it is about.
func plain(action string) func(*Settings, *destination.Input, *destination.Output) {
	return func(_ *Settings, in *destination.Input, out *destination.Output) {
		ofPerson(out, action, idOf(in.Payload.Get("person_id"), event.Value{}, event.Value{}))
		out.EndObject()
	}
}

func merge(_ *Settings, in *destination.Input, out *destination.Output) {
	out.BeginObject()
	out.Str("type", "person")
	out.Str("action", "merge")
	idOf(in.Payload.Get("primary"), event.Value{}, event.Value{}).write(out, "primary")
	idOf(in.Payload.Get("secondary"), event.Value{}, event.Value{}).write(out, "secondary")
	out.EndObject()
}

func metric(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	out.BeginObject()
	out.Field("delivery_id", p.Get("delivery_id"))
	out.Field("metric", p.Get("metric"))
	out.Key("timestamp")
	out.Compute(p.Get("timestamp"), func(w *mapping.Writer, v event.Value, l *mapping.Late) {
		when, ok := event.ParseTime(v)
		if !ok {
			when = l.Now
		}
		w.Int(when.Unix())
	})
	out.Field("recipient", p.Get("recipient"))
	out.Field("reason", p.Get("reason"))
	out.Field("href", p.Get("href"))
	if p.Has("action_name") || p.Has("action_value") {
		out.Key("metadata")
		out.BeginObject()
		out.Field("action_name", p.Get("action_name"))
		out.Field("action_value", p.Get("action_value"))
		out.EndObject()
	}
	out.EndObject()
}
