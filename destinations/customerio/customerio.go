// Package customerio delivers to Customer.io's Track API: people, objects and
// what happens to them, in batches at their own time.
package customerio

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
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
			Backfill: "Events are kept at their own time; only those of the last 72 hours can start campaigns. " +
				"Profiles are updated as of the event's time, and segments and the campaigns that hang on attributes react to " +
				"them at once. Anonymous events join the person who is identified later if they are from the last 30 days. " +
				"Deletions, suppressions and merges are final.",
			Differences: destination.Differences(
				"a person is identified by id, email or cio_id: an identify of nobody but an anonymous_id is rejected as "+
					"missing_identity instead of being sent and refused", entityDocs,
				"timestamp, created_at and last_used are Unix times in seconds also when they were mapped from digits, and an "+
					"event whose timestamp is no time is rejected", entityDocs,
				"name and id stay text also when they look like a date", entityDocs,
				"entities are sent in batches instead of one a request", batchDocs,
			),
		},
		// https://docs.customer.io/accounts-and-workspaces/data-centers/
		Hosts: map[string]string{"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"},
		Auth:  func(s *Settings) destination.Auth { return destination.Basic(s.SiteID, s.APIKey) },
		Limits: destination.Limits{
			Rates:      destination.Rates(docs+"#rate-limits", "1000/s"),
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
		Live:    destination.Live{Does: "may start the campaigns that hang on segments and attributes", Docs: docs},
		Actions: slices.Concat(people(), endings(), reports()),
	}.Destination()
}

// people are the actions about people, what they do, and objects.
func people() destination.Actions {
	somebody := body.From("user_id", "anonymous_id").Filled()
	identifies := body.If(body.All(body.Not(body.From("user_id").Filled()), somebody), body.Const("identify_anonymous"))
	return destination.Actions{
		onBatch("createUpdatePerson", "Create or update person").On(`type = "identify"`).
			Doc("Sets a person's attributes, and relates the person to an object.").
			Fields(
				field.Text("id").Doc(idDoc).From("$.userId", "$.traits.email"),
				field.AnonymousID("anonymous_id").Doc("Joins the anonymous events of the last 30 days to the person."),
				field.Text("email").Template("{{traits.email}}"),
				createdAt, field.Text("group_id").Doc("An object to relate the person to.").From("$.traits.objectId"),
				field.Object("custom_attributes").From("$.traits"),
				field.Object("relationship_attributes").From("$.traits.relationshipAttributes"),
				timestamp, convert, objectType("traits"),
			).
			NeedsIdentity(body.From("id", "email").Filled(), "an id or email is required to identify a person").
			Needs(isTimed, untimed).
			Post(path, item(person("identify", "id", "email", ""), at,
				body.Member("attributes", attributes("custom_attributes", body.Const(true),
					[]string{"created_at", "createdAt", "object_type_id", "objectTypeId", "relationshipAttributes"},
					unix("created_at"), body.Same("email"))),
				body.When(body.From("group_id").Filled(), related(objectIDs("group_id"), body.Same("relationship_attributes"))),
			)),
		happening("trackEvent", "Track event", "event", "name = event").On(otherCalls()).
			Doc("An event of a person, known or not."),
		happening("trackPageView", "Track page view", "page", "url = properties.url").On(`type = "page"`).
			Doc("A page that a person has seen, named by its address."),
		happening("trackScreenView", "Track screen view", "screen", "name = name").On(`type = "screen"`).
			Doc("A screen of an app that a person has seen."),
		onBatch("createUpdateObject", "Create or update object").On(`type = "group"`).
			Doc("Sets an object's attributes (a company, a course, …) and relates it to the person.").
			Fields(
				field.Text("id").Required().From("$.groupId"), createdAt,
				field.Object("custom_attributes").From("$.traits.objectAttributes"),
				field.Object("relationship_attributes").From("$.traits.relationshipAttributes"), personID("user_id"),
				anonymousID, objectType("traits"), convert,
			).
			Post(path, item(
				object(body.First(identifies, body.Const("identify")), "id"), unix("created_at"),
				// The object's identifiers have no place for an anonymous id.
				body.When(body.Any(body.Has("custom_attributes"), body.Has("anonymous_id")), body.Member("attributes",
					attributes("custom_attributes", body.Const(true),
						[]string{"object_type_id", "objectTypeId", "relationshipAttributes"}))),
				body.When(somebody, related(
					body.Member("identifiers", identifier("user_id", "", "anonymous_id")),
					body.Member("relationship_attributes", dates(body.From("relationship_attributes"))),
				)),
			)),
	}
}

// endings are those about devices, relationships, and what is to go.
func endings() destination.Actions {
	token := body.Copy("token = device_id")
	return destination.Actions{
		onBatch("createUpdateDevice", "Create or update device").On(destination.Called(deviceCalls...)).
			Doc("A person's device, for push messages.").
			Fields(personID("person_id").Required(), deviceID, field.Texts("app_version = context.app.version"),
				field.Text("platform").Required().Doc("ios or android.").From("$.context.device.type"),
				field.Texts("last_used = timestamp"), field.Object("attributes").From("$.properties"), convert).
			Post(path, item(person("add_device", "person_id", "", ""), body.Member("device", body.Object(
				token, body.Same("platform"), unix("last_used"), body.Member("attributes", body.Always(body.Object(
					body.Spread("attributes").Each(dates(body.This())), body.Same("app_version")))),
			)))),
		onBatch("deleteDevice", "Delete device").On(destination.Called(deviceGone...)).
			Doc("Takes a device away from a person.").Live("takes a device away", entityDocs).
			Fields(personID("person_id").Required(), deviceID).
			Post(path, item(person("delete_device", "person_id", "", ""), body.Member("device", body.Object(token)))),
		onBatch("deleteRelationship", "Delete relationship").On(`event = "Relationship Deleted"`).
			Doc("Ends the relationship of a person and an object.").Live("ends a relationship", entityDocs).
			Fields(personID("person_id").Required(), anonymousID,
				field.Text("object_id").Required().From("$.properties.objectId"), objectType("properties")).
			Post(path, item(
				object(body.Const("delete_relationships"), "object_id"),
				body.When(body.Has("anonymous_id"), body.Member("attributes", body.Always(
					body.Object(body.Member("anonymous_id", body.From("anonymous_id").Filled()))))),
				related(body.Member("identifiers", identifier("person_id", "", ""))),
			)),
		plain("deletePerson", "Delete person", "delete", "deletes a person").On(`event = "User Deleted"`).
			Doc("Deletes a person."),
		onBatch("deleteObject", "Delete object").On(`event = "Object Deleted"`).
			Doc("Deletes an object and its relationships.").Live("deletes an object", entityDocs).
			Fields(field.Texts("object_id = properties.objectId"), objectType("properties")).
			NeedsIdentity(body.From("object_id").Filled(), "an object_id is required").
			Post(path, item(object(body.Const("delete"), "object_id"))),
		onBatch("mergePeople", "Merge people").On(`type = "alias"`).
			Doc("Merges the previous id's person into the other, for good.").Live("merges two people", entityDocs).
			Fields(field.UserID("primary").Required(), field.Text("secondary").Required().From("$.previousId")).
			Post(path, item(
				body.Member("type", body.Const("person")), body.Member("action", body.Const("merge")),
				body.Member("primary", identifier("primary", "", "")), body.Member("secondary", identifier("secondary", "", "")),
			)),
		plain("suppressPerson", "Suppress person", "suppress", "deletes a person, and keeps the ids out").
			On(`event = "User Suppressed"`).Doc("Keeps a person's ids out of the workspace."),
		plain("unsuppressPerson", "Unsuppress person", "unsuppress", "lets ids in again").On(`event = "User Unsuppressed"`).
			Doc("Lets a suppressed person's ids in again."),
	}
}

// reports are those about messages that Customer.io has sent.
func reports() destination.Actions {
	return destination.Actions{
		destination.Action("reportDeliveryEvent", "Report delivery event").On(`event = "Report Delivery Event"`).
			Doc("What became of a message that Customer.io sent.").Quiet().
			Fields(
				field.Text("delivery_id").Required().From("$.properties.deliveryId"),
				field.Text("metric").Required().OneOf("delivered", "opened", "clicked", "converted", "spammed", "bounced",
					"dropped", "deferred").From("$.properties.metric"),
				field.Texts("recipient", "reason", "href", "action_name = .actionName", "action_value = .actionValue").
					Below("$.properties"),
				field.Timestamp("timestamp").Format("date-time"),
			).
			// https://docs.customer.io/api/track/#operation/metrics
			Post("/api/v1/metrics", body.Object(
				body.Same("delivery_id", "metric", "recipient", "reason", "href"),
				body.Member("timestamp", body.From("timestamp").Seconds().Else(body.Now().Seconds())),
				body.Member("metadata", body.Object(body.Same("action_name", "action_value"))),
			)),
		onBatch("reportContentEvent", "Report content event").On(`event = "Report Content Event"`).
			Doc("An in-app message that somebody unknown has seen or clicked.").Quiet().
			Fields(
				anonymousID, field.Text("actionType").Required().OneOf("viewed_content", "clicked_content").
					From("$.properties.actionType"), timestamp, data, convert,
			).
			NeedsIdentity(body.From("anonymous_id").Filled(), "an anonymous_id is required").
			Needs(isTimed, untimed).
			Post(path, item(
				body.Member("type", body.Const("person")), body.Member("action", body.From("actionType")),
				body.Member("identifiers", identifier("", "", "anonymous_id")), body.Copy("name = actionType"), at,
				body.Member("attributes", attributes("data", nil, []string{"actionType"})),
			)),
	}
}

// otherCalls are the track calls that have no action of their own.
func otherCalls() string {
	return destination.CalledOtherwise(slices.Concat(deviceCalls, deviceGone, []string{"Relationship Deleted",
		"User Deleted", "User Suppressed", "User Unsuppressed", "Object Deleted", "Report Delivery Event",
		"Report Content Event"})...)
}

const (
	path    = "/api/v2/batch"
	idDoc   = "A person's id, or email, or cio_id with cio_ in front."
	untimed = "the timestamp is not a time"
)

// What stands in several actions: calls, fields and members.
var (
	deviceCalls = []string{"Application Installed", "Application Opened", "Device Created or Updated"}
	deviceGone  = []string{"Application Uninstalled", "Device Deleted"}

	timestamp = field.Text("timestamp").From("$.timestamp")
	data      = field.Object("data").From("$.properties")
	convert   = field.Boolean("convert_timestamp").Doc("Turns ISO 8601 dates among the attributes into Unix times.").
			Always(true)
	createdAt   = field.Text("created_at").From("$.traits.created_at", "$.traits.createdAt")
	anonymousID = field.AnonymousID("anonymous_id").Doc("Identifies somebody who has no id yet.")
	deviceID    = field.Text("device_id").Required().Doc("The device's push token.").From("$.context.device.token")

	isTimed = body.May(body.From("timestamp").IsTime())
	at      = body.Member("timestamp", body.From("timestamp").Seconds())
)

func personID(key string) field.Line { return field.UserID(key).Doc(idDoc) }

func objectType(in string) field.Line {
	return field.Text("object_type_id").Doc("The object's type; 1 without it.").
		From("$."+in+".object_type_id", "$."+in+".objectTypeId")
}

// onBatch is an action of the batch endpoint. Its 207 names the entities that were refused,
// and has taken all others.
// https://docs.customer.io/api/track/#operation/batch
func onBatch(slug, title string) *destination.Declared {
	return destination.Action(slug, title).Verdicts(destination.ByIndex(
		"errors", "batch_index", "reason field message").OthersTaken())
}

func item(of ...body.Members) body.Node {
	return body.Object(body.Member("batch", body.Items(body.Object(of...))))
}

// person begins an operation on a person.
func person(action, id, email, anonymous string) body.Members {
	return body.Together(
		body.Member("type", body.Const("person")), body.Member("action", body.Const(action)),
		body.Member("identifiers", identifier(id, email, anonymous)),
	)
}

// plain is an operation that says nothing but whom it is about.
func plain(slug, title, action, does string) *destination.Declared {
	return onBatch(slug, title).Live(does, entityDocs).
		Fields(personID("person_id").Required()).
		Post(path, item(person(action, "person_id", "", "")))
}

// happening is an event, a page or a screen, whose name is in a field of its own: "field = path".
func happening(slug, title, action, named string) *destination.Declared {
	own := field.Texts(named)[0].Required()
	eventID := field.MessageID("event_id").Doc("Customer.io ignores a repeat of it when it is a ULID.")
	return onBatch(slug, title).
		Live("may start the campaigns that wait for it", batchDocs).LiveUntil(3*destination.Day).
		Fields(personID("id"), anonymousID, own, eventID, timestamp, data, convert).
		NeedsIdentity(body.From("id", "anonymous_id").Filled(), "an id or anonymous_id is required").
		Needs(isTimed, untimed).
		Post(path, item(person(action, "id", "", "anonymous_id"),
			body.Copy("name = "+own.Key()),
			body.Member("id", body.From("event_id").As("an id that is not the event's own", notOwn).Else(body.InsertID())),
			at,
			body.When(body.Any(body.Has("data"), body.Has("anonymous_id")),
				body.Member("attributes", attributes("data", body.From("id").Filled(), nil))),
		))
}

// notOwn appends what is not the messageId, which further requests for the event extend.
func notOwn(dst []byte, v event.Value, c *body.Context) []byte {
	if v.SameText(c.Event("messageId")) {
		return dst
	}
	return append(dst, v.Raw()...)
}

// identifier chooses the identifier of a person out of some fields: only one can be sent.
// https://docs.customer.io/api/track/#operation/entity
func identifier(id, email, anonymous string) body.Node {
	as := func(key string, v body.Value) body.Node { return body.Object(body.Member(key, v)) }
	var may []body.Node
	if id != "" {
		v := body.From(id)
		may = append(may, as("cio_id", v.Matches("^cio_").Rewritten("without cio_", cioID)),
			as("email", v.Contains("@").Matches(anEmail).Text()), as("id", v.Filled().Text()))
	}
	if email != "" {
		may = append(may, as("email", body.From(email).Filled().Text()))
	}
	if anonymous != "" {
		may = append(may, as("anonymous_id", body.From(anonymous).Filled().Text()))
	}
	return body.First(may...)
}

func cioID(text string) string { return strings.TrimPrefix(text, "cio_") }

// anEmail are the ids that count as an email address.
const anEmail = "(?i)^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*" +
	"@([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]*[a-z0-9])?$"

// object begins an operation on an object.
func object(action body.Node, id string) body.Members {
	return body.Together(body.Member("type", body.Const("object")), body.Member("action", action), objectIDs(id))
}

func objectIDs(id string) body.Members {
	kind := body.From("object_type_id").Filled().Text().Else(body.Const("1"))
	return body.Member("identifiers",
		body.Object(body.Member("object_type_id", kind), body.Member("object_id", body.From(id).Text())))
}

func related(to ...body.Members) body.Members {
	return body.Member("cio_relationships", body.List(body.Object(to...)))
}

// attributes are all members of a field but the skipped ones, and the anonymous id when it
// does not identify the person, which known says.
func attributes(of string, known body.Cond, skip []string, more ...body.Members) body.Node {
	anonymous, its := body.From("anonymous_id").Filled(), body.Spread(of, skip...).Each(dates(body.This()))
	ms := []body.Members{
		body.When(body.Not(anonymous), its),
		body.When(anonymous, body.Spread(of, append([]string{"anonymous_id"}, skip...)...).Each(dates(body.This()))),
		body.Together(more...),
	}
	if known != nil {
		ms = append(ms, body.When(known, body.Member("anonymous_id", anonymous.Text())))
	}
	return body.Always(body.Object(ms...))
}

// dates is a value with the dates in it as Unix times, if the user wants them so.
func dates(v body.Value) body.Node {
	return body.First(body.If(body.Outer("convert_timestamp").Is("true"),
		v.Deep("Unix times for ISO 8601 dates", false, appendUnix)), v)
}

// unix is a field that Customer.io wants to be a Unix time, whose text may be a date or the
// digits of one.
func unix(key string) body.Members {
	v := body.From(key).Filled()
	return body.Member(key, body.First(v.Matches(`^\d*$`).IsTime().Seconds(), dates(v)))
}

// appendUnix appends a Unix time for an ISO 8601 date, with or without a time and its zone, and for nothing else that
// may be read as a time.
func appendUnix(dst []byte, v event.Value) []byte {
	b, plain := v.Plain()
	if plain && len(b) >= 10 && b[0]-'0' <= 9 && b[4] == '-' && b[7] == '-' {
		for _, layout := range isoDates {
			if (len(layout) > 10) != (len(b) > 10) {
				continue
			}
			if t, err := time.Parse(layout, string(b)); err == nil {
				return strconv.AppendInt(dst, t.Unix(), 10)
			}
		}
	}
	return append(dst, v.Raw()...)
}

var isoDates = []string{"2006-01-02", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15:04Z0700"}
