// Package tiktokconversions delivers to TikTok's Events API 2.0: web and CRM
// events, with personal data hashed.
package tiktokconversions

import (
	"net/url"
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a pixel.
type Settings struct {
	AccessToken string `setting:"access_token,required,secret,transport" doc:"Access token of the Events API." example:"0123456789abcdef0123456789abcdef01234567"`
	PixelCode   string `setting:"pixel_code,required" doc:"Code of the pixel, or of the CRM event set." example:"C0PIXELCODE0EXAMPLE0"`
}

const (
	docs            = "https://business-api.tiktok.com/portal/docs?id=1771100865818625"
	userDocs        = "https://business-api.tiktok.com/portal/docs?id=1771101027431425"
	codeDocs        = "https://business-api.tiktok.com/portal/docs?id=1737172488964097"
	attributionDocs = "https://ads.tiktok.com/help/article/about-attribution-manager"
	dedupeDocs      = "https://ads.tiktok.com/help/article/event-deduplication"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "tiktok-conversions", Name: "TikTok Conversions", Summary: "TikTok's server-side events", Docs: docs,
			Integrations: []string{"Tiktok Conversions", "TikTok Conversions"},
			Elsewhere:    []string{"TikTok Ads"},
			Backfill: "Events count for attribution at their own time, for clicks of up to 28 days and views of up to " +
				"seven; older ones would be matched to nothing and are skipped. " +
				"An event with the event and event_id of one that the browser's pixel sent within 48 hours is counted once.",
			Differences: destination.Differences(
				"events share requests", docs,
				`partner_name is "fanfold", which sends them`, docs,
			),
		},
		BaseURL: func(*Settings) string { return "https://business-api.tiktok.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.HeaderAuth("Access-Token", s.AccessToken) },
		Limits: destination.Limits{
			// https://business-api.tiktok.com/portal/docs?id=1771100865818625: 1,000 requests a second
			Rates:       destination.Rates(docs, "1000/s"),
			BatchEvents: destination.Cap{N: 1000, Docs: docs},
			Window:      destination.Window{Past: 28 * destination.Day, Violation: "matches to nothing", Docs: attributionDocs},
			Dedupe:      destination.Dedupe{Field: "event_id, together with event", Window: 2 * destination.Day, Docs: dedupeDocs},
		},
		// The status is 200 whatever happened. With 20001 some of the events were taken, and which is not said: they are
		// asked about again in parts, and those that were are recognised by their event_id.
		// https://business-api.tiktok.com/portal/docs?id=1737172488964097
		Sayings: []destination.Saying{
			said(destination.Delivered, "", "0"),
			said(destination.Retry, destination.RateLimited, "40100", "40016", "40133"),
			said(destination.Retry, destination.Unauthorized, "40101", "40102", "40103", "40104", "40105", "40001"),
			said(destination.Retry, destination.Unavailable, "", "5*", "40700", "60001"),
			said(destination.Rejected, destination.Refused, "*"),
		},
		Success: []destination.Success{destination.JSON(codeDocs, destination.Is("code", 0), destination.Text("request_id"))},
		Actions: destination.Actions{
			destination.Action("reportWebEvent", "Report Web Event").Doc("An event of a website, or of a CRM system.").
				Fields(what(), who(), where(), bought(), vehicle(), travel()).
				Timed("timestamp").
				Post("/open_api/v1.3/event/track/", body.Object(
					body.Member("event_source", body.From("event_source").Given().Else(body.Const("web"))),
					body.Member("event_source_id", body.Setting("pixel_code")),
					body.Member("partner_name", body.Const("fanfold")),
					body.Member("test_event_code", body.From("test_event_code").Filled()),
					body.Member("data", body.Items(data())),
				)),
		},
		Presets: destination.Commerce{
			PageViewed: "PageView", ProductsSearched: "Search", ProductClicked: "ClickButton", ProductViewed: "ViewContent",
			ProductAdded: "AddToCart", ProductAddedToWishlist: "AddToWishlist", CheckoutStarted: "InitiateCheckout",
			PaymentInfoEntered: "AddPaymentInfo", OrderPlaced: "PlaceAnOrder", OrderCompleted: "CompletePayment",
			SignedUp: "CompleteRegistration", CallbackStarted: "Contact", SubscriptionCreated: "Subscribe",
			FormSubmitted: "SubmitForm", DownloadLinkClicked: "Download",
		}.Presets(preset),
	}.Destination()
}

// preset sends an event under a name of TikTok's, with its products.
func preset(m destination.Moment) destination.Preset {
	with := map[string]mapping.Value{"event": mapping.Literal(m.Name)}
	if m.Products != "" {
		with["contents"] = field.Object("contents", field.Numbers("price = price", "quantity = quantity"),
			field.Texts("content_category = category", "content_id = product_id", "content_name = name", "brand = brand")).
			EachOf(m.Products).Mapping()
	}
	return destination.Preset{Action: "reportWebEvent", Mapping: with}
}

// data is one event.
// https://business-api.tiktok.com/portal/docs?id=1771101027431425: SHA-256 of ids, addresses and names
func data() body.Node {
	orEmpty := func(key string, v body.Value) body.Members { return body.Member(key, v.Else(body.Const(""))) }
	hashed := func(key string) body.Value { return body.From(key).Given().Hash("compact") }
	plain := func(key string) body.Value { return body.From("address." + key).Given().Normal("alphanumeric") }
	each := func(key string, n body.Value) body.Node { return body.Always(body.Each(key, n.Hash(""))) }
	crm, kind := body.From("event_source").Is("crm"), body.From("event_spec_type")
	mileage, unit := body.From("vehicle_fields.mileage_value").IsNumber(), body.From("vehicle_fields.mileage_unit")
	low := body.From("vehicle_fields.preferred_price_range_min").IsNumber()
	high := body.From("vehicle_fields.preferred_price_range_max").IsNumber()
	return body.Object(
		body.Same("event"),
		body.Member("event_time", body.From("timestamp").Given().Seconds().Else(body.Now().Seconds())),
		body.Member("event_id", body.From("event_id").Given().Text().Else(body.InsertID())),
		body.Member("user", body.Object(
			body.Member("external_id", each("external_id", body.This().Lower())),
			body.Member("phone", each("phone_number", body.This().Rewritten("+ and at most 14 digits", international))),
			body.Member("email", each("email", body.This().Lower())),
			orEmpty("first_name", hashed("first_name")), orEmpty("last_name", hashed("last_name")),
			orEmpty("zip_code", hashed("address.zip_code")), orEmpty("city", plain("city")), orEmpty("state", plain("state")),
			orEmpty("country", plain("country")),
			body.Member("ttclid", body.First(body.From("url").IsText().Rewritten("the ttclid in its query", clickID),
				body.From("ttclid").Given())),
			body.SameGiven("ttp", "ip", "user_agent", "locale"),
		)),
		body.Member("properties", body.Object(
			body.Member("contents", body.Always(body.Each("contents", body.Always(body.Object(
				body.SameNotNull("price", "quantity", "content_category", "content_id", "content_name", "brand"),
			))))),
			body.Same("content_type", "currency", "value", "query", "description", "order_id", "shop_id", "content_ids",
				"delivery_category", "num_items", "predicted_ltv", "search_string"),
			body.When(body.All(body.Not(crm), kind.Is("travel_fields")), body.Spread("travel_fields")),
			body.When(body.All(body.Not(crm), kind.Is("vehicle_fields")),
				body.Spread("vehicle_fields", "mileage_value", "mileage_unit", "preferred_price_range_min",
					"preferred_price_range_max"),
				body.When(body.All(mileage, unit), body.Member("mileage", body.Object(
					body.Member("unit", unit), body.Member("value", mileage)))),
				body.When(body.All(low, high), body.Member("preferred_price_range", body.List(low, high))),
			),
		)),
		body.Member("page", body.Object(body.SameGiven("url", "referrer"))),
		body.When(body.All(crm, body.From("lead_fields.lead_id").IsText()), body.Member("lead", body.Object(
			body.Copy("lead_id = lead_fields.lead_id"),
			body.Member("lead_event_source", body.From("lead_fields.lead_event_source").Given()),
		))),
		body.Member("limited_data_use", body.From("limited_data_use").Is("true").Else(body.Const(false))),
	)
}

// international is a number with a plus in front: TikTok wants E.164, which has at most 15 characters here. What is
// hashed already is left.
func international(text string) string {
	if jsonval.IsHashed([]byte(text)) {
		return text
	}
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
	return strings.TrimSuffix("+"+digits[:min(len(digits), 14)], "+")
}

// clickID is the ttclid in the query of a URL.
func clickID(text string) string {
	if !strings.Contains(text, "ttclid=") {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Query().Get("ttclid")
}

// said is what a code in the body means.
func said(then destination.Outcome, r destination.Reason, codes ...string) destination.Saying {
	return destination.Means(then, r, codeDocs, 2).When("code", codes...)
}

// what happened.
func what() field.Lines {
	return field.Together(
		field.Text("event_source").OneOf("web", "crm").Always("web"),
		field.Text("event_spec_type").OneOf("travel_fields", "vehicle_fields"), field.Text("event").Required(),
		field.MessageID("event_id"), field.Texts("timestamp = timestamp"),
		field.Booleans("limited_data_use = properties.limited_data_use"), field.Text("test_event_code"),
		field.Object("lead_fields", field.Texts("lead_id", "lead_event_source").Below("$.properties")).
			RequiredWhen("event_source", "crm"),
	)
}

// who did it, by what the event says of the person, or else what is known of the person.
func who() field.Lines {
	of := func(keys ...string) field.Lines {
		return field.Texts(keys...).Below("$.properties", "$.context.traits")
	}
	return field.Together(
		of("phone_number = .phone", "email").With(field.Line.List), of("first_name", "last_name"),
		field.Object("address", of("city = .address.city", "country = .address.country", "zip_code = .address.postal_code",
			"state = .address.state")),
		field.AnyID("external_id").List(),
		field.Texts("ttclid", "ttp").Below("$.properties", "$.integrations.TikTok Conversions"),
	)
}

// where it happened.
func where() field.Lines {
	return field.Together(field.Texts("locale = context.locale"), field.PageURL("url"),
		field.Texts("referrer = context.page.referrer"), field.IP("ip"), field.UserAgent("user_agent"))
}

// bought is what it was about.
func bought() field.Lines {
	return field.Together(
		field.Object("contents", field.Numbers("price", "quantity"),
			field.Texts("content_category", "content_id", "content_name", "brand")).List(),
		field.Text("content_ids").List().From("$.properties.content_ids"),
		field.Text("content_type").OneOf("product", "product_group").Always("product"),
		field.Currency("currency"), field.Value("value"), field.Text("description"),
		field.Text("delivery_category").OneOf("in_store", "curbside", "home_delivery").From("$.properties.delivery_category"),
		field.Texts("order_id", "shop_id", "query", "search_string").Below("$.properties"),
		field.Numbers("num_items", "predicted_ltv").Below("$.properties"),
	)
}

// vehicle is what TikTok wants to know of a car.
func vehicle() field.Line {
	return field.Object("vehicle_fields", field.Together(
		field.Texts("postal_code", "make", "model"), field.Number("year"),
		field.Text("state_of_vehicle").OneOf("New", "Used", "CPO"),
		field.Number("mileage_value"), field.Text("mileage_unit").OneOf("MI", "KM"), field.Text("exterior_color"),
		field.Text("transmission").OneOf("Automatic", "Manual", "Other"),
		field.Text("body_style").OneOf("Convertible", "Coupe", "Hatchback", "Minivan", "Truck", "SUV", "Sedan", "Van",
			"Wagon", "Crossover", "Other"),
		field.Text("fuel_type").OneOf("Diesel", "Electric", "Flex", "Gasoline", "Hybrid", "Other"),
		field.Text("drivetrain").OneOf("AWD", "FOUR_WD", "FWD", "RWD", "TWO_WD", "Other").From("$.properties.drive_train"),
		field.Numbers("preferred_price_range_min", "preferred_price_range_max"),
		field.Texts("trim", "vin", "interior_color"),
		field.Text("condition_of_vehicle").OneOf("Excellent", "Good", "Fair", "Poor", "Other"),
		field.Texts("viewcontent_type", "search_type", "registration_type"),
	).Below("$.properties"))
}

// travel is what TikTok wants to know of a journey.
func travel() field.Line {
	return field.Object("travel_fields", field.Together(
		field.Texts("city", "region", "country", "checkin_date", "checkout_date"),
		field.Numbers("num_adults", "num_children", "num_infants"), field.Text("suggested_hotels").List(),
		field.Texts("departing_departure_date", "returning_departure_date", "origin_airport", "destination_airport"),
		field.Text("destination_ids").List(), field.Texts("departing_arrival_date", "returning_arrival_date"),
		field.Text("travel_class").OneOf("eco", "prem", "bus", "first"), field.Number("user_score"),
		field.Integer("preferred_num_stops"), field.Texts("travel_start", "travel_end"),
		field.Text("suggested_destinations").List(),
	).Below("$.properties"))
}
