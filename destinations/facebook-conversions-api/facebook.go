// Package facebookconversionsapi delivers to Meta's Conversions API: web, app and offline
// events of a pixel or dataset, with personal data hashed.
package facebookconversionsapi

import (
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a pixel.
type Settings struct {
	PixelID       string `setting:"pixel_id,required,transport" doc:"ID of the pixel or dataset." example:"1234567890123456" pattern:"^[0-9]+$"`
	AccessToken   string `setting:"access_token,required,secret,transport" doc:"Access token of a system user that may send to the pixel." example:"EXAMPLE-access-token-0123456789"`
	TestEventCode string `setting:"test_event_code" doc:"Marks all events as tests. Take it out for real traffic."`
}

const (
	api        = "https://developers.facebook.com/docs/marketing-api/conversions-api/"
	docs       = api + "using-the-api"
	serverDocs = api + "parameters/server-event"
	userDocs   = api + "parameters/customer-information-parameters"
	dataDocs   = api + "parameters/custom-data"
	dedupeDocs = api + "deduplicate-pixel-and-server-events"
	version    = "v24.0"
)

// New declares the destination.
func New() destination.Destination {
	category, name, kind := field.Text("content_category"), field.Text("content_name"), field.Text("content_type")
	ids, items := field.Text("content_ids").List(), field.Integer("num_items")
	price := field.Number("value").From("$.properties.price")
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "facebook-conversions-api", Name: "Facebook Conversions API", Summary: "Meta's server-side conversions",
			Docs:         docs,
			Integrations: []string{"Facebook Conversions API (Actions)", "Facebook Conversions API"},
			Elsewhere:    []string{"Facebook Conversions"},
			Backfill: "Only the last seven days are taken, of a shop's own (physical_store) 62; what is older is skipped. " +
				"What is sent counts for attribution and optimisation at once, and cannot be taken back. " +
				"An event with the event_id of one that the browser's pixel sent within 48 hours is counted once.",
			Minimal: true,
			Differences: destination.Differences(
				"a phone number is hashed by its digits, less an extension, a 00 in front and the (0) behind a country's "+
					"code", docs,
				"event_time is a Unix time in seconds, not text", serverDocs+"#event-time",
				"events share requests", docs+"#batch-requests",
				"birthdays, names, cities and postal codes are normalised as documented before they are hashed", userDocs,
				"the access token is a setting", docs+"#send",
			),
		},
		BaseURL: func(*Settings) string { return "https://graph.facebook.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			BatchEvents: destination.Cap{N: 1000, Docs: docs + "#batch-requests"},
			Window: destination.Window{Past: 7 * destination.Day, Violation: "refuses the whole request",
				But: &destination.PastOf{Field: "action_source", Value: "physical_store", Past: 62 * destination.Day,
					Docs: "https://developers.facebook.com/docs/marketing-api/conversions-api/offline-events"},
				Docs: serverDocs + "#event-time"},
			Dedupe: destination.Dedupe{Field: "event_id, together with event_name", Window: 2 * destination.Day,
				Docs: dedupeDocs},
		},
		// https://developers.facebook.com/docs/graph-api/overview/rate-limiting#error-codes
		Sayings: []destination.Saying{
			said(destination.RateLimited, "error.code", "4", "17", "32", "341", "613", "80*"),
			said(destination.Unavailable, "error.code", "1", "2"), said(destination.Unavailable, "error.is_transient", "true"),
			said(destination.Unauthorized, "error.code", "104", "190", "102", "10", "200"),
		},
		Success: []destination.Success{destination.JSON(docs+"#send", destination.Counts("events_received"))},
		Actions: slices.Concat(
			twice("purchase", "Purchase", "An order was completed.",
				field.Currency("currency").Required(), field.Number("value").Required().From("$.properties.revenue"),
				field.Number("net_revenue"), ids, name, kind, contents("$.properties.products"), items),
			twice("initiateCheckout", "Initiate Checkout", "A checkout was started.",
				category, ids, contents("$.properties.products"), field.Currency("currency"), items,
				field.Number("value").From("$.properties.revenue")),
			twice("addToCart", "Add to Cart", "A product was put into the cart.",
				ids, name, kind, contents("$.properties"), field.Currency("currency"), price),
			twice("viewContent", "View Content", "A product was looked at.",
				category, ids.From("$.properties.product_id"), name, kind, contents("$.properties"), field.Currency("currency"),
				price),
			twice("search", "Search", "Products were searched.",
				category, ids, contents("$.properties"), field.Currency("currency"),
				field.Text("search_string").From("$.properties.query"), field.Number("value")),
			twice("pageView", "Page View", "A page was looked at."),
			destination.Actions{custom("custom", "Custom Event"), custom("custom2", "Custom Event V2")},
		),
		Presets: append(commerce().Presets(func(m destination.Moment) destination.Preset {
			return destination.Preset{Action: m.Name, Mapping: ours(m)}
		}), destination.Preset{
			Name: "Other events", Action: "custom", Subscribe: commerce().Others(),
			Mapping: map[string]mapping.Value{"action_source": source(), "custom_data": mapping.Path("$.properties")},
		}),
	}.Destination()
}

// ours is what our presets know and Segment's fields have no default for. A search takes the
// contents of what was found: the default asks of the search itself to be a product, which
// Meta refuses.
func ours(m destination.Moment) map[string]mapping.Value {
	with := map[string]mapping.Value{"action_source": source()}
	if m.Name == "search" {
		with["contents"] = contents("$.properties.products").Mapping()
	}
	return with
}

// source says that an event of a web page is one; others are of no kind with demands of its own.
func source() mapping.Value {
	website, other := mapping.Literal("website"), mapping.Literal("other")
	return mapping.If(mapping.Path("$.context.page.url"), mapping.If(mapping.Path("$.context.userAgent"), website,
		other), other)
}

// commerce are the actions for what people do in a shop.
func commerce() destination.Commerce {
	return destination.Commerce{
		PageViewed: "pageView", ProductsSearched: "search", ProductViewed: "viewContent", ProductAdded: "addToCart",
		CheckoutStarted: "initiateCheckout", OrderCompleted: "purchase",
	}
}

// twice is an event under both of its slugs: Segment has two versions of each action, which
// send the same.
func twice(slug, title, doc string, own ...field.Line) destination.Actions {
	on, name := commerce().Trigger(slug), strings.ToUpper(slug[:1])+slug[1:]
	return destination.Actions{
		standard(slug, title, name, own...).On(on).Doc(doc),
		standard(slug+"2", title+" V2", name, own...).On(on).Doc(doc),
	}
}

// standard is an event that Meta knows by name, with the fields given in its custom_data.
func standard(slug, title, name string, own ...field.Line) *destination.Declared {
	website := body.From("action_source").Is("website")
	a := begin(slug, title, own).
		NeedsIdentity(body.Any(body.Not(website), body.Has("user_data.client_user_agent")),
			"an event of a website needs client_user_agent")
	if len(own) == 0 {
		return post(a, body.Const(name))
	}
	currency := body.From("currency").Given()
	a.Needs(body.Any(body.Not(currency), currency.IsText().Matches(`^[A-Z]{3}$`)),
		"currency has to be a code of three letters (ISO 4217)").
		Needs(body.May(body.From("contents").Every("an id", hasID)), "each of the contents needs an id").
		Needs(body.May(body.From("contents").Every("a category that is known", hasCategory)),
			"delivery_category is in_store, curbside or home_delivery")
	return post(a, body.Const(name), body.Member("custom_data", body.Always(
		body.Object(body.Spread("custom_data"), ownData(own)))))
}

// custom is any other event.
func custom(slug, title string) *destination.Declared {
	a := begin(slug, title, field.Lines{field.Text("event_name").Required().From("$.event")}).
		Doc("Any other event, with a name of its own.")
	return post(a, body.From("event_name"), body.Member("custom_data", body.Always(
		body.Object(body.Spread("custom_data")))))
}

func begin(slug, title string, own field.Lines) *destination.Declared {
	return destination.Action(slug, title).Fields(common(), own).TimeField("event_time").
		Needs(body.From("event_time").IsTime(), "event_time is no time")
}

// ownData are the fields of an action in custom_data, where they may stand as well.
func ownData(own field.Lines) body.Members {
	var ms []body.Members
	for _, f := range own.Fields() {
		v := body.From(f.Key).Filled()
		if f.Key != "contents" {
			v = v.NotEmpty()
		}
		ms = append(ms, body.Member(f.Key, v.Else(body.From("custom_data."+f.Key))))
	}
	return body.Together(ms...)
}

// post sends events of a name, with further members.
func post(a *destination.Declared, name body.Node, more ...body.Members) *destination.Declared {
	limited, somebody := body.From("data_processing_options").Is("true"), person()
	orZero := func(key string) body.Members { return body.Member(key, body.From(key).Given().Else(body.Const(0))) }
	return a.NeedsIdentity(body.Some(somebody), "nothing in user_data says who it was").
		Post("/"+version+"/{settings.pixel_id}/events", body.Object(
			body.Member("test_event_code", body.From("test_event_code").Filled().Else(body.Setting("test_event_code"))),
			body.Member("data", body.Items(body.Object(
				body.Member("event_name", name),
				body.Member("event_time", body.From("event_time").Seconds()),
				body.SameGiven("event_source_url"),
				// It says which events are one: also that of the browser's pixel.
				body.Member("event_id", body.From("event_id").Given().Else(body.InsertID())),
				body.Same("action_source"),
				body.Member("user_data", body.Object(somebody)),
				body.Member("app_data", body.If(body.From("app_data_field.use_app_data").Is("true"), app())),
				body.When(limited, body.Member("data_processing_options", body.Const([]string{"LDU"})),
					orZero("data_processing_options_country"), orZero("data_processing_options_state")),
				body.Together(more...),
			))),
		))
}

// person is who it was: what Meta wants as it is, and what it wants normalised and in SHA-256.
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters
func person() body.Members {
	of := func(paths ...string) body.Value { return body.From("user_data." + paths[0]) }
	given := func(paths ...string) body.Value { return of(paths...).Given() }
	hash := func(key, from, kind string) body.Members { return body.Member(key, of(from).Hash(kind)) }
	// Names are hashed without any space.
	name := func(key, from string) body.Members {
		return body.Member(key, of(from).Normal("name").Replace(" ", "").Hash(""))
	}
	return body.Together(
		body.CopyOf(given, "client_ip_address = client_ip_address", "client_user_agent = client_user_agent", "fbc = fbc",
			"fbp = fbp", "subscription_id = subscriptionID", "lead_id = leadID", "anon_id = anonId", "madid = madId",
			"fb_login_id = fbLoginID", "partner_id = partner_id", "partner_name = partner_name", "ctwa_clid = ctwa_clid"),
		body.Member("external_id", body.Each("user_data.externalId", body.This().Hash("compact"))),
		hash("em", "email", "email"), hash("ph", "phone", "phone_digits"), hash("ge", "gender", "gender"),
		hash("db", "dateOfBirth", "birthdate"), name("ln", "lastName"), name("fn", "firstName"), hash("ct", "city", "city"),
		hash("st", "state", "state"), hash("zp", "zip", "zip"), hash("country", "country", "country"),
	)
}

// app is the app and its device.
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/app-data: the order of extinfo
func app() body.Node {
	flag := func(key string) body.Members {
		on := body.From("app_data_field." + key).Is("true")
		return body.Member(key, body.First(body.If(on, body.Const(1)), body.Const(0)))
	}
	var extinfo []body.Node
	for _, l := range field.Device() {
		extinfo = append(extinfo, body.From("app_data_field."+l.Key()).NotNull().Else(body.Const("")))
	}
	return body.Object(
		flag("advertiser_tracking_enabled"), flag("application_tracking_enabled"),
		body.Member("madid", body.From("app_data_field.madId").NotNull()), body.Member("extinfo", body.List(extinfo...)),
	)
}

func hasID(content event.Value) bool { return !content.Get("id").Falsy() }

func hasCategory(content event.Value) bool {
	d := content.Get("delivery_category")
	return d.Falsy() || slices.Contains([]string{"in_store", "curbside", "home_delivery"}, d.Text())
}

// said is what an error means whose status is 400 whatever happened.
func said(r destination.Reason, at string, is ...string) destination.Saying {
	const docs = "https://developers.facebook.com/docs/graph-api/guides/error-handling"
	return destination.Means(destination.Retry, r, docs, 4, 5).When(at, is...)
}

// common are the fields that every action has.
func common() field.Lines {
	return field.Lines{
		field.Text("action_source").Required().Doc(
			"Where the event happened. A website's needs event_source_url and client_user_agent.").
			OneOf("email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "other"),
		field.Text("event_time").Required().From("$.timestamp"),
		userData(), appData(), field.MessageID("event_id"), field.PageURL("event_source_url"), field.Object("custom_data"),
		field.Boolean("data_processing_options").Doc("Limited data use."),
		field.Number("data_processing_options_country").OneOf("0", "1"),
		field.Number("data_processing_options_state").
			OneOf("0", "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010"),
		field.Text("test_event_code"),
	}
}

func userData() field.Line {
	return field.Object("user_data",
		field.AnyID("externalId").List(), field.Texts("email", "phone").Below("$.context.traits"), field.Text("gender"),
		field.Texts("dateOfBirth = .birthday", "lastName", "firstName", "city = .address.city", "state = .address.state",
			"zip = .address.postalCode").Below("$.context.traits"), field.Text("country"),
		field.IP("client_ip_address"), field.UserAgent("client_user_agent"), field.Texts("fbc", "fbp").Below("$.properties"),
		field.Text("subscriptionID"), field.Integers("leadID", "fbLoginID"),
		field.Texts("anonId", "madId", "partner_id", "partner_name", "ctwa_clid"),
	).Required().Doc("Who it was. What is to be hashed is hashed here, unless it is already.")
}

func appData() field.Line {
	return field.Object("app_data_field",
		field.Boolean("use_app_data").Always(false), field.Booleans("advertiser_tracking_enabled",
			"application_tracking_enabled = context.device.adTrackingEnabled"),
		field.Device(), field.Texts("madId = context.madId"),
	).Doc("The app and its device, sent when use_app_data is true.")
}

// contents are products, out of a list of the event or out of what it says itself.
func contents(path string) field.Line {
	return field.Object("contents", field.Texts("id = product_id"), field.Integers("quantity = quantity"),
		field.Numbers("item_price = price"), field.Text("delivery_category")).EachOf(path)
}
