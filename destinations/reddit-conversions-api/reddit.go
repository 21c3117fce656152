// Package redditconversionsapi delivers to Reddit's Conversions API.
package redditconversionsapi

import (
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of an ad account.
type Settings struct {
	AdAccountID     string `setting:"ad_account_id,required" doc:"ID of the ad account, or of its pixel." example:"t2_0"`
	ConversionToken string `setting:"conversion_token,required,secret,transport" doc:"Access token." example:"eyJhbGciOi"`
	TestMode        bool   `setting:"test_mode" doc:"Have Reddit check events and not count them."`
}

const (
	docs      = "https://ads-api.reddit.com/docs/v2/"
	aboutDocs = "https://business.reddithelp.com/s/article/about-conversions-api"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "reddit-conversions-api", Name: "Reddit Conversions API", Summary: "advertising", Docs: docs,
			Integrations: []string{"Reddit Conversions Api"}, Elsewhere: []string{"Reddit"},
			Differences: destination.Differences("a phone number is hashed by its digits, less an extension, a 00 in front "+
				"and the (0) behind a country's code", docs),
			Backfill: "Only events of the last seven days are taken; they count for attribution at their own time. " +
				"Repeats are recognised by conversion_id for two days.",
		},
		BaseURL: func(*Settings) string { return "https://ads-api.reddit.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.ConversionToken) },
		Limits: destination.Limits{
			Rates:       destination.Rates(docs, "1000/s", "10000events/s"),
			BatchEvents: destination.Cap{N: 1000, Docs: docs},
			Window:      destination.Window{Past: 7 * destination.Day, Violation: "refuses the event", Docs: aboutDocs},
			Dedupe:      destination.Dedupe{Field: "event_metadata.conversion_id", Window: 2 * destination.Day, Docs: docs},
		},
		Success: []destination.Success{destination.JSON(docs, destination.Text("message"))},
		Actions: destination.Actions{
			report("standardEvent", "Standard event", field.Text("tracking_type").Required().OneOf(
				"AddToCart", "AddToWishlist", "Lead", "PageVisit", "Purchase", "Search", "SignUp", "ViewContent"),
				body.Same("tracking_type")).Doc("A conversion that Reddit has a name for."),
			report("customEvent", "Custom event", field.Text("custom_event_name").Required(), body.Together(
				body.Member("tracking_type", body.Const("Custom")), body.Same("custom_event_name"),
			)).Doc("A conversion under a name of one's own."),
		},
		Presets: destination.Commerce{
			PageViewed: "PageVisit", ProductViewed: "ViewContent", ProductsSearched: "Search", ProductAdded: "AddToCart",
			ProductAddedToWishlist: "AddToWishlist", OrderCompleted: "Purchase", LeadGenerated: "Lead", SignedUp: "SignUp",
		}.Presets(func(m destination.Moment) destination.Preset {
			with := map[string]mapping.Value{"tracking_type": mapping.Literal(m.Name)}
			currency := mapping.M("currency", mapping.Path("$.properties.currency"))
			switch m.Name {
			case "PageVisit", "ViewContent", "Search":
				with["event_metadata"] = mapping.Object()
			case "AddToCart", "AddToWishlist":
				with["event_metadata"] = mapping.Object(currency)
			case "Lead", "SignUp":
				with["event_metadata"] = mapping.Object(currency, mapping.M("value_decimal", mapping.Path("$.properties.price")))
			}
			return destination.Preset{Action: "standardEvent", Mapping: with}
		}),
	}.Destination()
}

// report is an action; kind is the field and the member with the event's name.
func report(slug, title string, kind field.Line, name body.Members) *destination.Declared {
	const own = "$.integrations.Reddit Conversions Api"
	hash := func(key, path, form string) body.Members { return body.Member(key, body.From(path).Given().Hash(form)) }
	ios := body.From("user.device_type").Lower().Is("ios", "apple")
	return destination.Action(slug, title).Fields(
		field.Timestamp("event_at").Required(), kind, field.Texts("click_id").Below(own, "$.properties"),
		field.Products("products", field.Texts("category = category", "id = product_id", "name = name")),
		field.Object("user",
			field.Texts("advertising_id = context.device.advertisingId", "device_type = context.device.type",
				"email = context.traits.email, properties.email"),
			field.AnyID("external_id"), field.IP("ip_address"), field.UserAgent("user_agent"),
			field.Texts("uuid").Below(own, "$.properties"),
			field.Texts("phone_number = context.traits.phone, properties.phone"),
		),
		field.Object("data_processing_options",
			field.Text("country"), field.Text("modes").OneOf("LDU"), field.Text("region")),
		field.Object("screen_dimensions", field.Integers("height", "width").Below("$.context.screen")),
		field.Object("event_metadata", field.Currency("currency"), field.Integers("item_count = properties.quantity"),
			field.Numbers("value_decimal = properties.revenue, properties.total")),
		field.MessageID("conversion_id"),
	).TimeField("event_at").Post("/api/v2.0/conversions/events/{settings.ad_account_id}", body.Object(
		body.Member("events", body.Items(body.Object(
			body.Member("event_at", body.From("event_at").ISO()),
			body.Member("event_type", body.Object(name)),
			body.SameGiven("click_id"),
			body.Member("event_metadata", body.Object(
				body.Spread("event_metadata"), body.Same("products"),
				body.Member("conversion_id", body.From("conversion_id").Given().Hash("").Else(body.InsertID().Hash(""))),
			)),
			body.Member("user", body.Object(
				body.When(ios, hash("idfa", "user.advertising_id", "")),
				body.When(body.Not(ios), hash("aaid", "user.advertising_id", "")),
				hash("email", "user.email", "email_plain"), hash("phone_number", "user.phone_number", "phone"),
				hash("external_id", "user.external_id", ""), hash("ip_address", "user.ip_address", ""),
				body.Copy("user_agent = user.user_agent", "uuid = user.uuid"), body.Same("screen_dimensions"),
				body.Member("data_processing_options", body.Object(body.Spread("data_processing_options", "modes"),
					body.Member("modes", body.From("data_processing_options.modes").Wrapped()))),
			)),
		))),
		body.Member("test_mode", body.Setting("test_mode").Else(body.Const(false))),
		body.Member("partner", body.Const("SEGMENT")),
	)).Verdicts(destination.ByID(
		"invalid_events", "event.event_metadata.conversion_id", "error_message", "event_metadata.conversion_id"))
}
