// Package iterable delivers to Iterable: events and users through the bulk
// endpoints, carts and purchases through their own.
package iterable

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of a project.
type Settings struct {
	APIKey             string `setting:"api_key,required,secret,transport" doc:"API key of the project, of the type server-side." example:"0123456789abcdef0123456789abcdef"`
	DataCenterLocation string `setting:"data_center_location,transport" doc:"Where the project's data resides." default:"us" choices:"us,eu"`
}

const (
	docs      = "https://api.iterable.com/api/docs"
	bulkDocs  = docs + "#events_trackBulk"
	usersDocs = docs + "#users_bulkUpdateUser"
	sizeDocs  = "https://support.iterable.com/hc/en-us/articles/204780579-API-Overview-and-Sample-Payloads"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "iterable", Name: "Iterable", Summary: "cross-channel marketing", Docs: docs,
			Integrations: []string{"Iterable (Actions)", "Actions Iterable"},
			Backfill: "Events and purchases keep their own time in createdAt, and one with the id of an earlier one " +
				"replaces it. Users are set to what the event says, in the order of delivery. " +
				"Iterable has no switch for history: journeys that an event, a purchase or a changed field starts may start, " +
				"so pause them.",
			Differences: []destination.Difference{
				{What: "events go to /api/events/trackBulk and users to /api/users/bulkUpdate, many a request, as Segment's " +
					"batches do", Docs: bulkDocs},
				{What: "newEmail becomes the user's email field in the same request, as in Segment's batches, instead of a " +
					"request of its own", Docs: usersDocs},
				{What: "updateOnly is said for each request of users, as in Segment's batches; its single requests leave it out",
					Docs: usersDocs},
				{What: "an event or purchase without an id gets one from messageId, and one whose mapping has no createdAt " +
					"the time of sending", Docs: bulkDocs},
			},
		},
		// https://support.iterable.com/hc/en-us/articles/17572750887444-Iterable-s-European-Data-Center-EDC
		Hosts: map[string]string{"us": "https://api.iterable.com", "eu": "https://api.eu.iterable.com"},
		Auth:  func(s *Settings) destination.Auth { return destination.HeaderAuth("Api-Key", s.APIKey) },
		Limits: destination.Limits{
			BatchBytes: destination.Cap{N: 4_000_000, Docs: sizeDocs},
			EventBytes: destination.Cap{N: 3_900_000, Docs: sizeDocs},
			Dedupe:     destination.Dedupe{Field: "id, of events and purchases", Docs: bulkDocs},
		},
		Order:   true,
		Success: []destination.Success{destination.JSON(docs, destination.Is("code", "Success"))},
		Live:    destination.Live{Does: "may start the journeys that wait for it", Docs: docs},
		Actions: actions(),
		Presets: []destination.Preset{
			{Name: "Track Calls", Action: "trackEvent",
				Subscribe: `type = "track" and event != "Order Completed" and event != "Cart Updated"`},
			{Name: "Identify Calls", Action: "updateUser", Subscribe: `type = "identify"`},
			{Name: "Update Cart Calls", Action: "updateCart", Subscribe: `type = "track" and event = "Cart Updated"`},
			{Name: "Order Completed Calls", Action: "trackPurchase", Subscribe: `type = "track" and event = "Order Completed"`},
		},
	}.Destination()
}

// actions are what the partner can be told.
func actions() destination.Actions {
	// https://api.iterable.com/api/docs#events_track
	const who = "email or userId is required"
	email, id := field.Text("email").Label("Email Address").Email(), field.UserID("userId")
	anyEmail := email.From("$.properties.email", "$.context.traits.email")
	circumstances := field.Together(field.Timestamp("createdAt"),
		field.Integer("campaignId").From("$.properties.campaignId"),
		field.Integer("templateId").From("$.properties.templateId"))
	buyer := field.Object("user",
		anyEmail, id, field.Object("dataFields").From("$.context.traits"), field.Boolean("mergeNestedObjects").Always(false),
		field.Text("phoneNumber").Nullable().From("$.context.traits.phone"),
	).Label("User").Required()
	cart := body.Together(
		body.Member("user", body.Object(body.Spread("user", "phoneNumber"), body.Member("dataFields", about("user.")))),
		body.Member("items", body.Always(body.Each("items", product()))),
	)
	happened := body.Together(
		body.Member("id", body.From("id").Else(body.InsertID())),
		body.Member("createdAt", body.From("createdAt").Seconds().Else(body.Now().Seconds())),
		body.Same("campaignId", "templateId"),
	)
	return destination.Actions{
		bulk("updateUser", "Upsert user", usersDocs, 5).On(`type = "identify"`).Doc("Sets the fields of a user.").
			Fields(
				email.From("$.traits.email"), id,
				field.Text("newEmail").Email().Doc("The address that the user has from now on."),
				field.Object("dataFields").From("$.traits"),
				field.Text("phoneNumber").Nullable().From("$.traits.phone"),
				field.Boolean("mergeNestedObjects").Always(false).
					Doc("Merge objects of the user's fields instead of replacing them."),
				field.Boolean("updateOnly").Doc("Leave out users that Iterable does not know."),
			).
			NeedsIdentity(body.From("email", "userId").Given(), who).
			Post("/api/users/bulkUpdate", body.Object(
				body.Member("updateOnly", body.From("updateOnly").Is("true").Else(body.Const(false))),
				body.Member("users", body.Items(body.Object(
					body.Same("email", "userId", "mergeNestedObjects"),
					body.Member("dataFields", about("", body.Member("email", body.From("newEmail")))),
				))),
			)),
		bulk("trackEvent", "Custom event", bulkDocs, 10).
			On(`type = "track" and event != "Order Completed" and event != "Cart Updated"`).Doc("An event of a user.").
			Fields(anyEmail, id, field.Text("eventName").Required().From("$.event"),
				field.Object("dataFields").From("$.properties"), field.MessageID("id"), circumstances).
			NeedsIdentity(body.From("email", "userId").Given(), who).
			Post("/api/events/trackBulk", body.Object(body.Member("events", body.Items(body.Object(
				body.Same("email", "userId", "eventName"),
				body.Member("dataFields", dated(body.From("dataFields")).Else(body.Empty())),
				happened,
			))))).
			TimeField("createdAt"),
		destination.Action("updateCart", "Cart updates").On(`type = "track" and event = "Cart Updated"`).
			Doc("Replaces what is in the user's cart.").
			Fields(buyer, goods()).
			NeedsIdentity(body.From("user.email", "user.userId").Given(), who).
			Post("/api/commerce/updateCart", body.Object(cart)),
		destination.Action("trackPurchase", "Track purchase").On(`type = "track" and event = "Order Completed"`).
			Doc("An order of a user; it empties the cart.").
			Fields(
				field.Text("id").From("$.properties.order_id"), buyer, field.Object("dataFields").From("$.properties"), goods(),
				field.Number("total").Required().From("$.properties.total"), circumstances,
			).
			NeedsIdentity(body.From("user.email", "user.userId").Given(), who).
			Post("/api/commerce/trackPurchase", body.Object(
				cart,
				body.Same("total"),
				body.Member("dataFields", body.Always(body.Object(
					body.Spread("dataFields", "products").Each(dated(body.This()))))),
				happened,
			)).
			TimeField("createdAt"),
	}
}

// bulk is an action of an endpoint that takes many. A success counts what was refused and names it by what it said: an
// address, a user id, an event's name.
func bulk(slug, title, docs string, rate float64) *destination.Declared {
	return destination.Action(slug, title).AllOrNothing().
		Limits(destination.ActionLimits{
			Rates: []destination.Rate{{N: rate, Per: time.Second, Of: destination.Requests, Docs: docs}},
		}).
		Success(destination.JSON(bulkDocs, destination.Counts("successCount"), destination.Number("failCount"))).
		Verdicts(destination.ByLists("", "invalidEmails of email", "invalidUserIds of userId",
			"disallowedEventNames of eventName", "failedUpdates.* of email userId").Counted("failCount"))
}

// goods are the products of a cart or an order.
func goods() field.Line {
	return field.Object("items",
		field.Text("id").Required().From("product_id"), field.Text("sku").From("sku"),
		field.Text("categories").From("category"), field.Text("name").Required().From("name"),
		field.Number("price").Required().From("price"), field.Integer("quantity").Required().From("quantity"),
		field.Text("url").From("url"), field.Text("imageUrl").From("image_url"),
		field.Text("description").From("description"),
	).EachOf("$.properties.products").Required().Open()
}

// product is one of them; what Iterable has no member for goes into its dataFields.
func product() body.Node {
	return body.Always(body.Object(
		body.SpreadOf(body.This()),
		body.Member("categories", body.List(body.This("categories").Given())),
		body.Member("dataFields", body.Always(body.Object(
			body.SpreadOf(body.This(), "dataFields", "product_id", "id", "sku", "name", "price", "quantity", "categories",
				"category", "url", "image_url", "imageUrl").Each(dated(body.This())),
		))),
	))
}

// about are a user's own fields, and further ones in their place.
func about(in string, more ...body.Members) body.Node {
	return body.Always(body.Object(
		body.Spread(in+"dataFields", "phoneNumber").Each(dated(body.This())),
		body.Member("phoneNumber", body.From(in+"phoneNumber")),
		body.Together(more...),
	))
}

// dated is a value with the times in it, at any depth, in the form in which Iterable knows them;
// days stay as they are.
// https://support.iterable.com/hc/en-us/articles/208183076-Field-Data-Types
func dated(v body.Value) body.Value {
	return v.Deep("with times as YYYY-MM-DD HH:MM:SS +00:00", true, func(dst []byte, v event.Value) []byte {
		b, ok := v.Plain()
		if !ok || len(b) <= len("2006-01-02") || b[4] != '-' || b[7] != '-' {
			return append(dst, v.Raw()...)
		}
		if parts := isoTime.FindStringSubmatch(string(b)); parts == nil {
			return append(dst, v.Raw()...)
		} else if t, ok := moment(parts); ok {
			return t.UTC().AppendFormat(dst, `"2006-01-02 15:04:05 +00:00"`)
		}
		return append(dst, "null"...) // it looks like a time and is none
	})
}

// isoTime is what counts as a time in an event's own fields.
var isoTime = regexp.MustCompile(`^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])` +
	`[ T](\d{2}):?(\d{2})(?::?(\d{2})(?:[,.](\d+))?)?(Z|[+-]\d{2}(?::?\d{2})?)?$`)

// moment is the time of the parts that isoTime finds; one without a zone is UTC.
func moment(parts []string) (time.Time, bool) {
	var n [8]int
	for i := range n {
		n[i], _ = strconv.Atoi(parts[i]) // what is not there is 0
	}
	hour, minute, second := n[4], n[5], n[6]
	t := time.Date(n[1], time.Month(n[2]), n[3], hour, minute, second, 0, time.UTC)
	if zone := strings.ReplaceAll(parts[8], ":", ""); len(zone) > 2 {
		hours, _ := strconv.Atoi(zone[:3])
		minutes, _ := strconv.Atoi(zone[:1] + (zone + "00")[3:5])
		t = t.Add(-time.Duration(hours*60+minutes) * time.Minute)
	}
	return t, (hour < 24 || hour == 24 && minute+second == 0) && minute < 60 && second < 60
}
