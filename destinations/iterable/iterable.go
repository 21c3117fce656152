// Package iterable delivers to Iterable: events and users through the bulk
// endpoints, carts and purchases through their own.
package iterable

import (
	"regexp"

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
			Differences: destination.Differences(
				"events go to /api/events/trackBulk and users to /api/users/bulkUpdate, as Segment's batches do", bulkDocs,
				"newEmail becomes the user's email in the same request, as in Segment's batches, not in one more", usersDocs,
				"updateOnly is in every request of users, as in Segment's batches; its single requests lack it", usersDocs,
				"an event or purchase without an id gets one from messageId, and one whose mapping has no createdAt the time of "+
					"sending", bulkDocs,
			),
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
		Presets: destination.Presets("Track Calls: trackEvent", "Identify Calls: updateUser", "Update Cart Calls: updateCart",
			"Order Completed Calls: trackPurchase"),
	}.Destination()
}

// actions are what the partner can be told.
func actions() destination.Actions {
	email, id := field.Text("email").Label("Email Address").Email(), field.UserID("userId")
	anyEmail := email.From("$.properties.email", "$.context.traits.email")
	nested := field.Boolean("mergeNestedObjects").Always(false)
	circumstances := field.Together(field.Timestamp("createdAt"),
		field.Integers("campaignId", "templateId").Below("$.properties"))
	buyer := field.Object("user",
		anyEmail, id, field.Object("dataFields").From("$.context.traits"), nested,
		field.Text("phoneNumber").Nullable().From("$.context.traits.phone"),
	).Label("User").Required()
	goods := field.Products("items", field.Text("id").Required().From("product_id"), field.Together(
		field.Text("sku"), field.Text("categories").From("category"), field.Text("name").Required(),
		field.Number("price").Required(), field.Integer("quantity").Required(), field.Text("url"),
		field.Text("imageUrl").From("image_url"), field.Text("description"),
	).Below("")).Required().Open()
	cart := body.Together(
		body.Member("user", body.Object(body.Spread("user", "phoneNumber"), body.Member("dataFields",
			own(body.Spread("user.dataFields", "phoneNumber"), body.Copy("phoneNumber = user.phoneNumber"))))),
		body.Member("items", body.Always(body.Each("items", body.Always(body.Object(
			body.SpreadOf(body.This()), body.Member("categories", body.List(body.This("categories").Given())),
			// What Iterable has no member for in a product.
			body.Member("dataFields", own(body.SpreadOf(body.This(), "dataFields", "product_id", "id", "sku", "name", "price",
				"quantity", "categories", "category", "url", "image_url", "imageUrl"))),
		))))),
	)
	happened := body.Together(
		body.Member("id", body.From("id").Else(body.InsertID())),
		body.Member("createdAt", body.From("createdAt").Seconds().Else(body.Now().Seconds())),
		body.Same("campaignId", "templateId"),
	)
	return destination.Actions{
		bulk("updateUser", "Upsert user", usersDocs, "5/s").On(`type = "identify"`).Doc("Sets the fields of a user.").
			Fields(
				email.From("$.traits.email"), id,
				field.Text("newEmail").Email().Doc("The address that the user has from now on."),
				field.Object("dataFields").From("$.traits"), field.Text("phoneNumber").Nullable().From("$.traits.phone"),
				nested.Doc("Merge objects of the user's fields instead of replacing them."),
				field.Boolean("updateOnly").Doc("Leave out users that Iterable does not know."),
			).
			Post("/api/users/bulkUpdate", body.Object(
				body.Member("updateOnly", body.From("updateOnly").Is("true").Else(body.Const(false))),
				body.Member("users", body.Items(body.Object(
					body.Same("email", "userId", "mergeNestedObjects"),
					body.Member("dataFields", own(body.Spread("dataFields", "phoneNumber"), body.Same("phoneNumber"),
						body.Copy("email = newEmail"))),
				))),
			)),
		bulk("trackEvent", "Custom event", bulkDocs, "10/s").On(`type = "track" and event != "Order Completed" and event != "Cart Updated"`).
			Doc("An event of a user.").
			Fields(anyEmail, id, field.Text("eventName").Required().From("$.event"),
				field.Object("dataFields").From("$.properties"), field.MessageID("id"), circumstances).
			TimeField("createdAt").
			Post("/api/events/trackBulk", body.Batch("events", body.Object(
				body.Same("email", "userId", "eventName"),
				body.Member("dataFields", dated(body.From("dataFields")).Else(body.Empty())), happened,
			))),
		destination.Action("updateCart", "Cart updates").On(`type = "track" and event = "Cart Updated"`).
			Doc("Replaces what is in the user's cart.").
			Fields(buyer, goods).NeedsIdentity(body.From("user.email", "user.userId").Given(), who).
			Post("/api/commerce/updateCart", body.Object(cart)),
		destination.Action("trackPurchase", "Track purchase").On(`type = "track" and event = "Order Completed"`).
			Doc("An order of a user; it empties the cart.").
			Fields(field.Texts("id = properties.order_id"), buyer, field.Object("dataFields").From("$.properties"), goods,
				field.Number("total").Required().From("$.properties.total"), circumstances).
			NeedsIdentity(body.From("user.email", "user.userId").Given(), who).TimeField("createdAt").
			Post("/api/commerce/trackPurchase", body.Object(
				cart, body.Same("total"),
				body.Member("dataFields", own(body.Spread("dataFields", "products"))), happened,
			)),
	}
}

const who = "email or userId is required"

// bulk is an action of an endpoint that takes many. A success counts what was refused and names it by what it said: an
// address, a user id, an event's name.
func bulk(slug, title, docs, rate string) *destination.Declared {
	return destination.Action(slug, title).NeedsIdentity(body.From("email", "userId").Given(), who).
		Rates(docs, rate).
		Success(destination.JSON(bulkDocs, destination.Counts("successCount"), destination.Number("failCount"))).
		Verdicts(destination.ByLists("", "invalidEmails of email", "invalidUserIds of userId",
			"disallowedEventNames of eventName", "failedUpdates.* of email userId").Counted("failCount"))
}

// own are members of the user's own choice, with their times as Iterable knows them, and others in their place.
func own(members body.SpreadMembers, others ...body.Members) body.Node {
	return body.Always(body.Object(members.Each(dated(body.This())), body.Together(others...)))
}

// dated is a value with the times in it, at any depth, in the form in which Iterable knows them;
// days stay as they are.
// https://support.iterable.com/hc/en-us/articles/208183076-Field-Data-Types
func dated(v body.Value) body.Value {
	return v.Deep("with times as YYYY-MM-DD HH:MM:SS +00:00", true, func(dst []byte, v event.Value) []byte {
		b, ok := v.Plain()
		if !ok || len(b) <= len("2006-01-02") || b[4] != '-' || b[7] != '-' || !isoTime.Match(b) {
			return append(dst, v.Raw()...)
		}
		if t, ok := event.ParseTimeText(b); ok {
			return t.AppendFormat(dst, `"2006-01-02 15:04:05 +00:00"`)
		}
		return append(dst, "null"...) // it looks like a time and is none
	})
}

// isoTime is what counts as a time in an event's own fields.
var isoTime = regexp.MustCompile(`^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])` +
	`[ T]\d{2}:?\d{2}(:?\d{2}([,.]\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?$`)
