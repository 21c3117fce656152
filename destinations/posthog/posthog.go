// Package posthog delivers to PostHog: everything is an event of its capture
// API, sent to /batch/, what is of more than a day ago as history.
package posthog

import (
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a project.
type Settings struct {
	APIKey              string `setting:"api_key,required,secret" doc:"API key of the project." example:"phc_0123456789abcdef0123456789abcdef"`
	ProjectID           string `setting:"project_id" doc:"ID of the project. Sending events does not need it."`
	Endpoint            string `setting:"endpoint,transport" doc:"Where the project's data resides. For an instance of your own set base_url." default:"us" choices:"us,eu"`
	HistoricalMigration bool   `setting:"historical_migration" doc:"Mark all events as history, also new ones: they are taken in order, without spike detection. Those of more than a day ago are marked anyhow, unless trigger_live is on."`
	GeoIPDisable        bool   `setting:"geoip_disable" doc:"Have PostHog not look up where an event's IP address is."`
}

const (
	docs          = "https://posthog.com/docs/api/capture"
	queueDocs     = "https://github.com/PostHog/posthog/tree/master/rust/capture"
	migrationDocs = "https://posthog.com/docs/migrate"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "posthog", Name: "PostHog", Summary: "product analytics", Docs: docs,
			Integrations: []string{"Actions Posthog"},
			Backfill: "Events of any age show up at their own time. Those of more than a day ago are marked as " +
				"historical_migration, so that they do not set off spike detection; PostHog asks to be told of more than 20 " +
				"million. Person properties are what the last event delivered says. Events cannot be deleted one by one " +
				"afterwards.",
			Differences: destination.Differences(
				"historical_migration is true for events of more than a day ago, whatever the setting says", migrationDocs,
				"identify goes to /batch/ too, instead of one a request", docs+"#batch-events",
				"uuid is sent, made of the messageId", docs,
				"timestamp is the event's own, not when Segment received it", docs,
				"a timestamp that is not ISO 8601 is written as such: PostHog would put the time of arrival instead", docs,
				"distinct_id is the anonymousId of events without a userId, and ip_address may be of IPv6", docs,
				"group and alias are actions of our own, which no preset fires", docs+"#alias",
			),
		},
		Hosts: map[string]string{"us": "https://us.i.posthog.com", "eu": "https://eu.i.posthog.com"}, // see docs
		Limits: destination.Limits{
			BatchBytes: destination.Cap{N: 20_000_000, Docs: docs + "#batch-events"},
			// What goes into its queue has at most a megabyte, with what it puts around the event.
			EventBytes: destination.Cap{N: 900_000, Docs: queueDocs},
			Dedupe:     destination.Dedupe{Field: "uuid, together with event, distinct_id and timestamp", Docs: docs},
		},
		Order: true,
		// Over the project's billing limit events are dropped, for which PostHog's own library waits a minute.
		// https://github.com/PostHog/posthog-js/blob/main/src/rate-limiter.ts
		Sayings: []destination.Saying{destination.Means(destination.Retry, destination.RateLimited, docs, 200).
			When("quota_limited", `["*`).Wait(time.Minute).Tell("over the project's billing limit")},
		// https://github.com/PostHog/posthog/blob/master/rust/capture/src/api.rs: a number, or its word in newer ones
		Success: []destination.Success{destination.JSON(docs, destination.Is("status", 1, "Ok"))},
		Actions: actions(),
		Presets: []destination.Preset{
			{Name: "Track event", Action: "event"},
			{Name: "Page view", Action: "event", Subscribe: `type = "page"`,
				Mapping: mapping.Lines(`event_type = "page"`, `event_name = "$pageview"`)},
			{Name: "Screen view", Action: "event", Subscribe: `type = "screen"`,
				Mapping: mapping.Lines(`event_type = "screen"`, `event_name = "$screenview"`)},
			{Name: "Identify", Action: "identify", Subscribe: `type = "identify"`},
		},
	}.Destination()
}

// actions are what the partner can be told.
func actions() destination.Actions {
	ip := field.IP("ip_address").Nullable()
	page, screen := body.From("event_type").Is("page"), body.From("event_type").Is("screen")
	// place is where an event came from.
	place := body.Together(
		body.When(body.Setting("geoip_disable"), body.Member("$geoip_disable", body.Const(true))),
		body.Member("$ip", body.From("ip_address").Given()),
	)
	return destination.Actions{
		destination.Action("event", "Track event").On(`type = "track"`).Doc("An event, a page view or a screen view.").
			Fields(
				field.Text("event_type").Required().OneOf("track", "page", "screen").Always("track"),
				field.Text("event_name").Required().From("$.event"),
				field.AnyID("distinct_id").Required(),
				field.Object("properties").From("$.properties"),
				field.PageURL("current_url").RequiredWhen("event_type", "page"),
				field.Text("screen_name").RequiredWhen("event_type", "screen").From("$.name"),
				field.Boolean("anonymous_event_capture").Doc("Sent as $process_person_profile.").Required().Always(false),
				field.Timestamp("timestamp"),
				ip,
			).
			Post("/batch/", batch(
				body.First(body.If(page, body.Const("$pageview")), body.If(screen, body.Const("$screen")),
					body.From("event_name").Text()),
				body.Spread("properties"),
				body.When(page, body.Copy("$current_url = current_url")),
				body.When(screen, body.Copy("$screen_name = screen_name")),
				body.Same("distinct_id"), body.Copy("$process_person_profile = anonymous_event_capture"), place,
			)),
		destination.Action("identify", "Identify").Doc("Sets the properties of a person.").
			Fields(field.AnyID("distinct_id").Required(), field.Object("properties").Required().From("$.traits"),
				field.Timestamp("timestamp"), ip).
			Post("/batch/", batch(body.Const("$identify"), body.Member("$set", body.From("properties")), place)),
		destination.Action("group", "Group").Doc("Sets the properties of a group.").
			Fields(field.AnyID("distinct_id").Required(), field.Text("group_type").Required().Always("company"),
				field.Text("group_key").Required().From("$.groupId"), field.Object("properties").From("$.traits"),
				field.Timestamp("timestamp")).
			Post("/batch/", batch(body.Const("$groupidentify"),
				body.Copy("$group_type = group_type", "$group_key = group_key", "$group_set = properties"))),
		destination.Action("alias", "Alias").Doc("Merges the person of an earlier id (distinct_id) into the one of alias.").
			Fields(field.Text("distinct_id").Required().From("$.previousId"), field.UserID("alias").Required(),
				field.Timestamp("timestamp")).
			Post("/batch/", batch(body.Const("$create_alias"), body.Same("distinct_id", "alias"))),
	}
}

// batch is a request with many events, and what all of them have.
func batch(name body.Node, properties ...body.Members) body.Node {
	return body.Object(
		body.Member("api_key", body.Setting("api_key")),
		body.Member("historical_migration", body.First(body.Setting("historical_migration"), body.History(),
			body.Const(false))),
		body.Member("batch", body.Items(body.Object(
			body.Member("event", name),
			body.Same("distinct_id"),
			body.Member("uuid", body.InsertID().UUID()),
			body.Member("timestamp", body.From("timestamp").ISO()),
			body.Member("properties", body.Always(body.Object(properties...))),
		))),
	)
}
