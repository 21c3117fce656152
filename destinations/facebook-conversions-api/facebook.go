// Package facebookconversionsapi delivers to Meta's Conversions API: web, app and offline
// events of a pixel or dataset, with personal data hashed.
package facebookconversionsapi

import (
	"slices"
	"strings"
	"time"

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
			Backfill: "Only the last seven days are taken, of a shop's own (physical_store) 62; what is older is skipped. " +
				"What is sent counts for attribution " +
				"and optimisation at once, and cannot be taken back. " +
				"An event with the event_id of one that the browser's pixel sent within 48 hours is counted once.",
			Minimal: true,
			Differences: []destination.Difference{
				{What: "a phone number is hashed by its digits, less an extension, a 00 in front and the (0) behind a country's " +
					"code",
					Docs: docs},
				{What: "event_time is a Unix time in seconds, not text", Docs: serverDocs + "#event-time"},
				{What: "events share requests", Docs: docs + "#batch-requests"},
				{What: "birthdays, names, cities and postal codes are normalised as documented before they are hashed",
					Docs: userDocs},
				{What: "the access token is a setting", Docs: docs + "#send"},
			},
		},
		BaseURL: func(*Settings) string { return "https://graph.facebook.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			BatchEvents: destination.Cap{N: 1000, Docs: docs + "#batch-requests"},
			Window: destination.Window{Past: 7 * 24 * time.Hour, Violation: "refuses the whole request",
				But: &destination.PastOf{Field: "action_source", Value: "physical_store", Past: 62 * 24 * time.Hour,
					Docs: "https://developers.facebook.com/docs/marketing-api/conversions-api/offline-events"},
				Docs: serverDocs + "#event-time"},
			Dedupe: destination.Dedupe{Field: "event_id, together with event_name", Window: 48 * time.Hour,
				Docs: dedupeDocs},
		},
		Sayings: sayings(),
		Success: []destination.Success{destination.JSON(docs+"#send", destination.Counts("events_received"))},
		Actions: slices.Concat(
			twice("purchase", "Purchase", "An order was completed.",
				field.Currency("currency").Required(), field.Number("value").Required().From("$.properties.revenue"),
				field.Number("net_revenue"),
				ids, name, kind, contents("$.properties.products"), items),
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
		with["contents"] = contents("$.properties.products").Fields()[0].Default
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
		Needs(body.Any(body.Not(body.Has("contents")), body.From("contents").Where("all have an id", haveIDs)),
			"each of the contents needs an id").
		Needs(body.Any(body.Not(body.Has("contents")), body.From("contents").
			Where("their delivery_category is known", haveCategories)),
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
	return destination.Action(slug, title).Fields(common(), own).TimeField("event_time").AllOrNothing().
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
	limited := body.From("data_processing_options").Is("true")
	id := body.Together(
		body.CopyOf(given, "client_ip_address = user_data.client_ip_address",
			"client_user_agent = user_data.client_user_agent",
			"fbc = user_data.fbc", "fbp = user_data.fbp", "subscription_id = user_data.subscriptionID",
			"lead_id = user_data.leadID",
			"anon_id = user_data.anonId", "madid = user_data.madId", "fb_login_id = user_data.fbLoginID",
			"partner_id = user_data.partner_id", "partner_name = user_data.partner_name", "ctwa_clid = user_data.ctwa_clid"),
		body.Member("external_id", body.Each("user_data.externalId", body.This().Hash("compact"))),
		personal("em", "email", "email"), personal("ph", "phone", "phone_digits"), personal("ge", "gender", "gender"),
		personal("db", "dateOfBirth", "birthdate"), names("ln", "lastName"), names("fn", "firstName"),
		personal("ct", "city", "city"),
		personal("st", "state", "state"), personal("zp", "zip", "zip"), personal("country", "country", "country"),
	)
	return a.NeedsIdentity(somebody(), "nothing in user_data says who it was").
		Post("/"+version+"/{settings.pixel_id}/events", body.Object(
			body.Member("test_event_code", body.From("test_event_code").Filled().Else(body.Setting("test_event_code"))),
			body.Member("data", body.Items(body.Object(
				body.Member("event_name", name),
				body.Member("event_time", body.From("event_time").Seconds()),
				body.SameGiven("event_source_url"),
				// It says which events are one: also that of the browser's pixel.
				body.Member("event_id", body.From("event_id").Given().Else(body.InsertID())),
				body.Same("action_source"),
				body.Member("user_data", body.Object(id)),
				body.Member("app_data", body.If(body.From("app_data_field.use_app_data").Is("true"), app())),
				body.When(limited,
					body.Member("data_processing_options", body.Const([]string{"LDU"})),
					body.Member("data_processing_options_country", body.From("data_processing_options_country").Given().
						Else(body.Const(0))),
					body.Member("data_processing_options_state", body.From("data_processing_options_state").Given().
						Else(body.Const(0))),
				),
				body.Together(more...),
			))),
		))
}

// somebody holds when anything in user_data says who it was.
func somebody() body.Cond {
	in := func(key string) body.Value { return body.From("user_data." + key) }
	return body.Any(
		given("user_data.client_ip_address", "user_data.client_user_agent", "user_data.fbc", "user_data.fbp",
			"user_data.subscriptionID", "user_data.leadID",
			"user_data.anonId", "user_data.madId", "user_data.fbLoginID", "user_data.partner_id", "user_data.partner_name",
			"user_data.ctwa_clid"),
		in("externalId").Normal("compact"), in("email").Normal("email"), in("lastName").Normal("name"),
		in("firstName").Normal("name"),
		in("city").Normal("city"), in("state").Normal("state"), in("zip").Normal("zip"), in("country").Normal("country"),
		in("phone").Hash("phone_digits"), in("gender").Hash("gender"), in("dateOfBirth").Hash("birthdate"),
		// what is hashed has no normal form of these
	)
}

func given(paths ...string) body.Value { return body.From(paths...).Given() }

// personal is a member of user_data that Meta wants normalised and in SHA-256.
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters
func personal(key, from, kind string) body.Members {
	return body.Member(key, body.From("user_data."+from).Hash(kind))
}

// names are hashed without any space.
func names(key, from string) body.Members {
	return body.Member(key, body.From("user_data."+from).Normal("name").Replace(" ", "").Hash(""))
}

// app is the app and its device.
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/app-data: the order of extinfo
func app() body.Node {
	flag := func(key string) body.Members {
		return body.Member(key, body.First(body.If(body.From("app_data_field."+key).Is("true"), body.Const(1)),
			body.Const(0)))
	}
	var extinfo []body.Node
	for _, key := range []string{"version", "packageName", "shortVersion", "longVersion", "osVersion", "deviceName",
		"locale", "timezone", "carrier",
		"width", "height", "density", "cpuCores", "storageSize", "freeStorage", "deviceTimezone"} {
		extinfo = append(extinfo, body.From("app_data_field."+key).NotNull().Else(body.Const("")))
	}
	return body.Object(
		flag("advertiser_tracking_enabled"), flag("application_tracking_enabled"),
		body.Member("madid", body.From("app_data_field.madId").NotNull()),
		body.Member("extinfo", body.List(extinfo...)),
	)
}

func haveIDs(contents event.Value) bool {
	for c := range contents.Elements() {
		if c.Get("id").Falsy() {
			return false
		}
	}
	return true
}

func haveCategories(contents event.Value) bool {
	for c := range contents.Elements() {
		if d := c.Get("delivery_category"); !d.Falsy() && !d.IsText("in_store") && !d.IsText("curbside") && !d.IsText(
			"home_delivery") {
			return false
		}
	}
	return true
}

// sayings are what Meta says with a status of 400: the codes of rate limits and of passing
// troubles, and those of the token.
// https://developers.facebook.com/docs/graph-api/overview/rate-limiting#error-codes
func sayings() []destination.Saying {
	code := func(r destination.Reason, at string, is ...string) destination.Saying {
		return destination.Saying{Docs: "https://developers.facebook.com/docs/graph-api/guides/error-handling",
			Status: []int{4, 5}, At: at, Is: is, Then: destination.Retry, Reason: r}
	}
	return []destination.Saying{
		code(destination.RateLimited, "error.code", "4", "17", "32", "341", "613", "80*"),
		code(destination.Unavailable, "error.code", "1", "2"), code(destination.Unavailable, "error.is_transient", "true"),
		code(destination.Unauthorized, "error.code", "104", "190", "102", "10", "200"),
	}
}
