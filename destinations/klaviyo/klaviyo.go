// Package klaviyo delivers to Klaviyo: events in bulk jobs that know what
// history is, and profiles in bulk imports.
package klaviyo

import (
	"bytes"
	"regexp"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of an account.
type Settings struct {
	APIKey   string `setting:"api_key,required,secret,transport" doc:"Private API key, with the scopes events:write, profiles:write and profiles:read, and those of lists and subscriptions for their actions." example:"pk_0123456789abcdef0123456789abcdef01"`
	Backfill bool   `setting:"backfill" doc:"Mark all events as history, also new ones: they are stored and count in segments, and set off no flow. Those of more than a day ago are marked anyhow, unless trigger_live says that their flows are meant."`
}

const (
	docs            = "https://developers.klaviyo.com/en/reference/bulk_create_events"
	profileDocs     = "https://developers.klaviyo.com/en/reference/bulk_import_profiles"
	errorsDocs      = "https://developers.klaviyo.com/en/reference/get_errors_for_bulk_import_profiles_job"
	eventDocs       = "https://developers.klaviyo.com/en/reference/events_api_overview"
	listDocs        = "https://developers.klaviyo.com/en/reference/remove_profiles_from_list"
	findDocs        = "https://developers.klaviyo.com/en/reference/get_profiles"
	subscribeDocs   = "https://developers.klaviyo.com/en/reference/bulk_subscribe_profiles"
	unsubscribeDocs = "https://developers.klaviyo.com/en/reference/bulk_unsubscribe_profiles"
	versionDocs     = "https://developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy"
	// https://developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy
	revision = "2026-07-15"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "klaviyo", Name: "Klaviyo", Summary: "e-mail and text marketing", Docs: docs,
			Integrations: []string{"Klaviyo (Actions)", "Klaviyo"}, Minimal: true,
			Backfill: "Events keep their own time, to the second, from 1990 on. Those of more than a day ago are " +
				"marked as history, so that no flow of theirs starts; newer ones start theirs. Flows that wait for a segment " +
				"may start for profiles of any age. Klaviyo works through bulk jobs " +
				"later: of profiles it is asked what went wrong, for five minutes a job; of events it does not tell.",
			Differences: destination.Differences(
				"events go to bulk jobs, and those of more than a day ago are marked as history", docs,
				"profiles go to bulk imports, which update those that are there", profileDocs,
				"the revision header is that of the documentation the limits are from", versionDocs,
				"a phone number that cannot be written in E.164, or that may be any country's, is left out and does not reject "+
					"the event", "https://developers.klaviyo.com/en/docs/acceptable_phone_number_formats",
				"profiles are put on a list by the import that makes them, and subscribed or unsubscribed as what was agreed in "+
					"the past (historical_import) for events of more than a day ago", subscribeDocs,
				"removeProfile has no trigger: Segment's, Identify with a capital, matches nothing", listDocs,
				"products of an order get a unique_id that stays the same in a repeat", eventDocs,
			),
		},
		BaseURL: func(*Settings) string { return "https://a.klaviyo.com" },
		Auth: func(s *Settings) destination.Auth {
			return destination.HeaderAuth("Authorization", "Klaviyo-API-Key "+s.APIKey)
		},
		Limits: destination.Limits{
			// A burst and a steady rate, the same for both bulk endpoints, each counted by itself.
			Rates:      destination.Rates(docs, "10/s", "150/m"),
			BatchBytes: destination.Cap{N: 5_000_000, Docs: docs},
			// One job after the other keeps their order, as far as it can be kept
			// with jobs that are worked through later.
			Concurrency: destination.Cap{N: 1, Docs: profileDocs},
			Window: destination.Window{Future: 365 * destination.Day, Since: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
				Violation: "refuses the event", Docs: docs},
			Dedupe: destination.Dedupe{Field: "unique_id, for each profile and metric", Docs: eventDocs},
		},
		Success: []destination.Success{destination.NoBody(docs, 202)},
		Headers: map[string]body.Value{"Revision": body.Const(revision), "Accept": body.Const("application/json")},
		Actions: actions(),
		Presets: []destination.Preset{
			{Name: "Profiles", Action: "upsertProfile", Mapping: mapping.Lines("external_id = userId",
				"phone_number = traits.phone, context.traits.phone", "properties = traits")},
			{Name: "Orders", Action: "orderCompleted", Subscribe: `type = "track" and event = "Order Completed"`,
				Mapping: who("products = properties.products", "value = properties.revenue, properties.total")},
			{Name: "Events", Action: "trackEvent", Subscribe: `type = "track" and event != "Order Completed"`, Mapping: who()},
			{Name: "Pages", Action: "trackEvent", Subscribe: `type = "page"`, Mapping: who(`metric_name = "Viewed Page"`)},
			{Name: "Screens", Action: "trackEvent", Subscribe: `type = "screen"`, Mapping: who(`metric_name = "Viewed Screen"`)},
		},
	}.Destination()
}

// actions are what the partner can be told.
func actions() destination.Actions {
	metric, order, product := body.From("metric_name"), body.From("event_name").Filled(), body.From("product_event_name")
	id := body.From("unique_id").Given().Else(body.InsertID())
	return append(destination.Actions{
		imported("upsertProfile", "Upsert Profile", "$.traits.email", "$.traits",
			field.Text("list_id").Doc("List to put the profile on."),
			field.Text("override_list_id").From("$.integrations.Klaviyo.listId"),
			field.Object("properties").From("$.properties"),
		).On(`type = "identify"`).Doc("Makes a profile or updates it."),
		events("trackEvent", "Track Event", field.Text("metric_name").Required().From("$.event")).
			Doc("An event of a profile.").
			Needs(body.All(metric.Filled(), metric.AtMost(maxName)), wrongName).
			Post(jobs, job(occurrence(metric.Text(), body.Same("properties", "value"), id))),
		events("orderCompleted", "Order Completed", field.Object("products").List(),
			field.Text("event_name").Always("Order Completed"), field.Text("product_event_name").Always("Ordered Product")).
			Doc("An order, and one event for each of its products.").
			Needs(body.May(body.From("event_name").AtMost(maxName)), wrongName).
			Needs(body.Any(body.Not(body.Has("products")), body.May(product.AtMost(maxName))), wrongName).
			Post(jobs, job(
				occurrence(order.Text().Else(body.Const("Order Completed")), body.Same("properties", "value"), id),
				body.Each("products", occurrence(
					body.Outer("product_event_name").Filled().Text().Else(body.Const("Ordered Product")),
					body.Member("properties", body.Always(body.Object(body.SpreadOf(body.Outer("properties"), "products"),
						body.SpreadOf(body.This())))),
					body.InsertID(),
				)),
			)),
	}, lists()...)
}

// imported is an action that makes profiles or updates them, in bulk, and may put them on a list.
// from is where the profile is in the event.
func imported(slug, title, email, from string, own ...field.Line) *destination.Declared {
	phone, home := number("phone_number", "country_code"), from+".address"
	lists := []string{"list_id"}
	if slug == "upsertProfile" {
		lists = []string{"override_list_id", "list_id"}
	}
	list := body.From(lists...).Filled()
	return destination.Action(slug, title).
		Live("puts the profile on a list, whose flows start", profileDocs, list).
		Fields(
			field.Text("email").Email().From(email),
			field.Text("phone_number").Doc("Sent in E.164.").From("$.context.traits.phone"), country(),
			field.Text("external_id"), field.Texts("first_name = .firstName", "last_name = .lastName",
				"organization = .company.name", "title", "image = .avatar").Below(from),
			field.Object("location", field.Together(
				field.Texts("address1 = .street", "city", "region = .state").Below(home),
				field.Text("zip").From(home+".postal_code", home+".postalCode"), field.Texts("country").Below(home),
				field.Texts("address2", "latitude", "longitude")).With(field.Line.Nullable)),
		).Fields(field.Lines(own)).
		NeedsIdentity(body.Any(body.From("email", "external_id").Given(), phone), noIdentity).
		Needs(shortID("external_id"), longID).
		Post("/api/profile-bulk-import-jobs/", body.Object(body.Member("data", body.Object(
			body.Member("type", body.Const("profile-bulk-import-job")),
			body.When(list, body.Within("relationships.lists.data", body.List(of("list", list)))),
			body.Within("attributes.profiles.data", body.Items(resource("profile",
				body.Fields(append(lists, "phone_number", "country_code")...), body.Member("phone_number", phone)))),
		)))).
		Verdicts(byPointer()).
		Success(destination.JSON(profileDocs, destination.Is("data.type", "profile-bulk-import-job"),
			destination.Text("data.id")).With(202)).
		Job(destination.Job{
			Docs: errorsDocs, ID: "data.id", Status: "/api/profile-bulk-import-jobs/{job}/", State: "data.attributes.status",
			Over: []string{"complete", "cancelled"}, Errors: "/api/profile-bulk-import-jobs/{job}/import-errors/",
			Verdicts: destination.ByPointer("data", "attributes.source.pointer", "attributes.detail"), Next: "links.next",
			Payload:  "attributes.original_payload",
			Names:    []string{"attributes.email", "attributes.external_id", "attributes.phone_number"},
			Patience: 5 * time.Minute,
		}).
		BatchEvents(10_000, profileDocs).EventBytes(102_400, profileDocs)
}

// who adds the profile, for which Segment's field has no default.
func who(more ...string) map[string]mapping.Value {
	return mapping.Lines(append(more, "profile.email = context.traits.email, properties.email",
		"profile.phone_number = context.traits.phone, properties.phone", "profile.external_id = userId",
		"profile.anonymous_id = anonymousId")...)
}

func country() field.Line {
	return field.Text("country_code").Doc("Country (ISO 3166-1, two letters) of phone numbers without a country's code.")
}

// resource is a thing of a type, with attributes, as Klaviyo writes all of them; of is one that is there, by its id.
func resource(kind string, attributes ...body.Members) body.Node {
	return body.Object(body.Member("type", body.Const(kind)),
		body.Member("attributes", body.Always(body.Object(attributes...))))
}

func of(kind string, id body.Node) body.Node {
	return body.Object(body.Member("type", body.Const(kind)), body.Member("id", id))
}

const (
	jobs       = "/api/event-bulk-create-jobs/"
	maxName    = 127 // https://developers.klaviyo.com/en/reference/bulk_create_events: characters of a metric's name
	noIdentity = "one of email, external_id and a phone_number in E.164 is required"
	wrongName  = "a metric's name has 1 to 127 characters"
	longID     = "external_id has more than 255 characters"
)

// events is an action that sends events of a profile.
func events(slug, title string, own ...field.Line) *destination.Declared {
	phone := number("profile.phone_number", "profile.country_code")
	return destination.Action(slug, title).On(`type = "track"`).
		Fields(
			field.Object("profile", field.Text("email").Email(), field.Text("phone_number"), country(),
				field.UserID("external_id"), field.AnonymousID("anonymous_id")).Required().Open().Unmapped().
				Doc("Whose event it is. One of email, phone_number, external_id and anonymous_id is needed."),
			field.Object("properties").Required().From("$.properties"), field.Timestamp("time"), field.Number("value"),
			field.MessageID("unique_id"), field.Lines(own),
		).
		Timed("time").
		NeedsIdentity(body.Any(body.From("profile.email", "profile.external_id", "profile.anonymous_id").Given(), phone),
			"one of email, external_id, anonymous_id and a phone_number in E.164 is required").
		Needs(shortID("profile.external_id"), longID).
		Verdicts(byPointer()).
		TimeField("time").
		Live("starts the flows that wait for it", eventDocs,
			body.Not(body.Setting("backfill")), body.Not(body.History())).
		BatchEvents(1000, docs)
}

// job is a request with events.
func job(of ...body.Node) body.Node {
	return body.Object(body.Member("data", resource("event-bulk-create-job",
		body.Within("events-bulk-create.data", body.Items(of...)))))
}

// occurrence is one event: what it is called, its own members, and what tells it from others.
func occurrence(name body.Node, own body.Members, id body.Node) body.Node {
	return resource("event-bulk-create",
		body.Member("backfill", body.First(body.Setting("backfill"), body.History(), body.Const(false))),
		body.Within("profile.data", resource("profile", body.SpreadOf(body.Outer("profile"), "phone_number", "country_code"),
			body.Member("phone_number", number("profile.phone_number", "profile.country_code")))),
		body.Within("events.data", body.List(resource("event",
			own,
			body.Member("time", body.Outer("time").Layout("2006-01-02T15:04:05.000Z")),
			body.Member("unique_id", id),
			body.Within("metric.data", resource("metric", body.Member("name", name))),
		))),
	)
}

// byPointer: the whole job is refused with those that an error names.
// https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling
func byPointer() destination.Verdicts {
	return destination.ByPointer("errors", "source.pointer", "detail")
}

// shortID holds for no id, and for one that Klaviyo takes.
// https://developers.klaviyo.com/en/reference/create_or_update_profile
func shortID(path string) body.Cond {
	return body.May(body.From(path).AtMost(255))
}

// number is a phone number in E.164; it is not there when what stands at the path cannot be
// written so: a national number without its country would be one of another country's.
// https://developers.klaviyo.com/en/docs/acceptable_phone_number_formats
func number(path, country string) body.Value {
	return body.Outer(path).Given().As("E.164", func(dst []byte, v event.Value, c *body.Context) []byte {
		text, of := bytes.TrimSpace(v.AppendString(nil)), c.Field(country).Text()
		if !e164.Match(text) {
			if of == "" && !bytes.HasPrefix(text, []byte("+")) && !bytes.HasPrefix(text, []byte("00")) {
				return dst
			}
			if text = jsonval.AppendNormal(nil, "phone", text, of); !e164.Match(text) {
				return dst
			}
		}
		return event.AppendQuoted(dst, text)
	})
}

// e164 is a number that stands in E.164 already.
var e164 = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

// lists are the actions about who is on a list, and who has agreed to be written to.
func lists() destination.Actions {
	past := body.Any(body.From("historical_import").Is("true"), body.History())
	audience := []string{"$.context.personas.audience_settings.listId", "$.context.personas.external_audience_id"}
	return destination.Actions{
		imported("addProfileToList", "Add Profile to List", "$.context.traits.email", "$.properties",
			field.Text("list_id").Required().From(audience...), field.Object("properties").From("$.properties.properties"),
		).On(`event = "Audience Entered"`).Doc("Makes a profile or updates it, and puts it on a list."),
		removal("removeProfileFromList", "Remove Profile from List (Engage)", field.Text("email").Email().
			From("$.context.traits.email"), field.Text("phone_number").From("$.context.traits.phone"),
			field.Text("list_id").Required().From(audience...)).On(`event = "Audience Exited"`),
		removal("removeProfile", "Remove Profile", field.Text("email").Email().From("$.traits.email"),
			field.Text("phone_number").From("$.context.traits.phone"), field.Text("list_id").Required()),
		consent("subscribeProfile", "Subscribe Profile", "create", "SUBSCRIBED", 1000, subscribeDocs,
			body.Together(body.Member("custom_source", body.From("custom_source").Given()),
				body.When(past, body.Member("historical_import", body.Const(true)))),
			body.When(past, body.Member("consented_at", body.From("consented_at").ISO())),
			field.Text("custom_source").Always("-59"),
			field.Boolean("historical_import").Doc("Nobody is asked to confirm. True for events of more than a day ago."),
			field.Timestamp("consented_at"),
		).On(`type = "track" and event = "User Subscribed"`).
			Doc("Subscribes a person to marketing by e-mail and text message.").
			Live("subscribes a person, also one who has unsubscribed since", subscribeDocs),
		consent("unsubscribeProfile", "Unsubscribe Profile", "delete", "UNSUBSCRIBED", 100, unsubscribeDocs, body.Together(),
			body.Together()).
			On(`type = "track" and event = "User Unsubscribed"`).
			Doc("Unsubscribes a person from a list, or from all marketing when the person is on none of that name.").
			Live("unsubscribes a person", unsubscribeDocs),
	}
}

// removal takes a profile, which has to be found first, off a list.
func removal(slug, title string, own ...field.Line) *destination.Declared {
	find := func(field, key string) destination.Step {
		return destination.Send("GET", "/api/profiles/?filter=any("+field+",[%22{"+key+"}%22])", body.Empty()).AsQuery().
			TakeAt("profile", "data.0.id").
			Otherwise(destination.Skipped, destination.Unneeded, "Klaviyo knows no such profile").
			Success(destination.JSON(findDocs, destination.List("data")))
	}
	id, email, phone := body.From("external_id").Filled(), body.From("email").Filled(), body.From("phone_number").Filled()
	return destination.Action(slug, title).Doc("Takes a profile off a list; what the person has agreed to stays.").
		Live("takes a profile off a list", listDocs).
		Fields(field.Text("external_id"), country()).Fields(field.Lines(own)).
		NeedsOneOf("external_id", "email", "phone_number").
		Check(func(c *body.Context) string {
			for _, key := range []string{"external_id", "email", "phone_number", "list_id"} {
				if strings.ContainsAny(c.Field(key).Text(), `"\`) {
					return key + " has a quotation mark or a backslash in it, which no filter can hold"
				}
			}
			return ""
		}).
		Steps(
			find("external_id", "external_id").If(id),
			find("email", "email").If(body.All(body.Not(id), email)),
			find("phone_number", "phone_number").If(body.All(body.Not(id), body.Not(email), phone)),
			destination.Send("DELETE", "/api/lists/{list_id}/relationships/profiles/",
				body.Object(body.Member("data", body.List(of("profile", body.Taken("profile")))))).
				Success(destination.NoBody(listDocs, 204)),
		)
}

// consent is a job that changes what people have agreed to.
func consent(slug, title, verb, word string, most int, docs string, own, agreement body.Members,
	fields ...field.Line) *destination.Declared {
	kind := "profile-subscription-bulk-" + verb + "-job"
	agreed := body.Object(body.Member("marketing", body.Object(body.Member("consent", body.Const(word)), agreement)))
	email, phone := body.From("email").Filled(), number("phone_number", "country_code")
	list := body.From("list_id").Filled()
	return destination.Action(slug, title).
		Fields(field.Text("email").Email().From("$.traits.email", "$.context.traits.email"),
			field.Text("phone_number").From("$.traits.phone", "$.context.traits.phone"), country(), field.Text("list_id")).
		Fields(field.Lines(fields)).
		NeedsIdentity(body.Any(email, phone), "an email or a phone_number in E.164 is required").
		Verdicts(byPointer()).
		Post("/api/"+kind+"s/", body.Object(body.Member("data", body.Object(
			body.Member("type", body.Const(kind)),
			body.When(list, body.Within("relationships.list.data", of("list", list))),
			body.Member("attributes", body.Object(own, body.Within("profiles.data", body.Items(resource("profile",
				body.Member("email", email), body.Member("phone_number", phone),
				body.Member("subscriptions", body.Object(
					body.When(email, body.Member("email", agreed)), body.When(phone, body.Member("sms", agreed)))),
			))))),
		)))).
		Success(destination.NoBody(docs, 202)).
		BatchEvents(most, docs).Rates(docs, "75/s", "750/m")
}
