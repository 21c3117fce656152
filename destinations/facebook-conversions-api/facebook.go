// Package facebookconversionsapi delivers to Meta's Conversions API: web, app and offline
// events of a pixel or dataset, with personal data hashed.
package facebookconversionsapi

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a pixel.
type Settings struct {
	PixelID       string `setting:"pixel_id,required,transport" doc:"ID of the pixel or dataset." example:"1234567890123456" pattern:"^[0-9]+$"`
	AccessToken   string `setting:"access_token,required,secret,transport" doc:"Access token of a system user that may send to the pixel." example:"EXAMPLE-access-token-0123456789"`
	TestEventCode string `setting:"test_event_code" doc:"Marks all events as tests. Take it out for real traffic."`
}

const (
	docs       = "https://developers.facebook.com/docs/marketing-api/conversions-api/using-the-api"
	serverDocs = "https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/server-event"
	userDocs   = "https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters"
	dataDocs   = "https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/custom-data"
	dedupeDocs = "https://developers.facebook.com/docs/marketing-api/conversions-api/deduplicate-pixel-and-server-events"
	version    = "v24.0"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "facebook-conversions-api", Name: "Facebook Conversions API", Summary: "Meta's server-side conversions", Docs: docs,
			Integrations: []string{"Facebook Conversions API (Actions)", "Facebook Conversions API"},
			Backfill: "Only the last seven days are taken; what is older is skipped. What is sent counts for attribution and optimisation at once, and cannot be taken back. " +
				"An event with the event_id of one that the browser's pixel sent within 48 hours is counted once.",
			Minimal: true,
			Differences: []destination.Difference{
				{What: "event_time is a Unix time in seconds, not text", Docs: serverDocs + "#event-time"},
				{What: "events share requests", Docs: docs + "#batch-requests"},
				{What: "birthdays, names, cities and postal codes are normalised as documented before they are hashed", Docs: userDocs},
				{What: "the access token is a setting", Docs: docs + "#send"},
			},
		},
		BaseURL: func(*Settings) string { return "https://graph.facebook.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			BatchEvents: destination.Cap{N: 1000, Docs: docs + "#batch-requests"},
			Window:      destination.Window{Past: 7 * 24 * time.Hour, Violation: "refuses the whole request", Docs: serverDocs + "#event-time"},
			Dedupe:      destination.Dedupe{Field: "event_id, together with event_name", Window: 48 * time.Hour, Docs: dedupeDocs},
		},
		Verdict: throttled,
		Success: []destination.Success{destination.JSON(docs+"#send", destination.Counts("events_received"))},
		Actions: destination.Coded[Settings]{
			{
				Slug: "purchase", Title: "Purchase", Doc: "An order was completed.", Trigger: `type = "track" and event = "Order Completed"`,
				Fields: fields(
					mapping.Field{Key: "currency", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Required: true, Default: mapping.Path("$.properties.revenue")},
					mapping.Field{Key: "net_revenue", Type: mapping.TypeNumber},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					mapping.Field{Key: "content_name", Type: mapping.TypeString},
					mapping.Field{Key: "content_type", Type: mapping.TypeString},
					contents("$.properties.products"),
					mapping.Field{Key: "num_items", Type: mapping.TypeInteger},
				),
				Item: standard("Purchase", "currency", "value", "net_revenue", "content_ids", "content_name", "content_type", "contents", "num_items"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "purchase2", Title: "Purchase V2", Doc: "An order was completed.", Trigger: `type = "track" and event = "Order Completed"`,
				Fields: fields(
					mapping.Field{Key: "currency", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Required: true, Default: mapping.Path("$.properties.revenue")},
					mapping.Field{Key: "net_revenue", Type: mapping.TypeNumber},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					mapping.Field{Key: "content_name", Type: mapping.TypeString},
					mapping.Field{Key: "content_type", Type: mapping.TypeString},
					contents("$.properties.products"),
					mapping.Field{Key: "num_items", Type: mapping.TypeInteger},
				),
				Item: standard("Purchase", "currency", "value", "net_revenue", "content_ids", "content_name", "content_type", "contents", "num_items"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "initiateCheckout", Title: "Initiate Checkout", Doc: "A checkout was started.", Trigger: `type = "track" and event = "Checkout Started"`,
				Fields: fields(
					mapping.Field{Key: "content_category", Type: mapping.TypeString},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					contents("$.properties.products"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "num_items", Type: mapping.TypeInteger},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.revenue")},
				),
				Item: standard("InitiateCheckout", "currency", "value", "content_ids", "contents", "num_items", "content_category"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "initiateCheckout2", Title: "Initiate Checkout V2", Doc: "A checkout was started.", Trigger: `type = "track" and event = "Checkout Started"`,
				Fields: fields(
					mapping.Field{Key: "content_category", Type: mapping.TypeString},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					contents("$.properties.products"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "num_items", Type: mapping.TypeInteger},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.revenue")},
				),
				Item: standard("InitiateCheckout", "currency", "value", "content_ids", "contents", "num_items", "content_category"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "addToCart", Title: "Add to Cart", Doc: "A product was put into the cart.", Trigger: `type = "track" and event = "Product Added"`,
				Fields: fields(
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					mapping.Field{Key: "content_name", Type: mapping.TypeString},
					mapping.Field{Key: "content_type", Type: mapping.TypeString},
					contents("$.properties"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.price")},
				),
				Item: standard("AddToCart", "currency", "value", "content_ids", "content_name", "content_type", "contents"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "addToCart2", Title: "Add to Cart V2", Doc: "A product was put into the cart.", Trigger: `type = "track" and event = "Product Added"`,
				Fields: fields(
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					mapping.Field{Key: "content_name", Type: mapping.TypeString},
					mapping.Field{Key: "content_type", Type: mapping.TypeString},
					contents("$.properties"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.price")},
				),
				Item: standard("AddToCart", "currency", "value", "content_ids", "content_name", "content_type", "contents"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "viewContent", Title: "View Content", Doc: "A product was looked at.", Trigger: `type = "track" and event = "Product Viewed"`,
				Fields: fields(
					mapping.Field{Key: "content_category", Type: mapping.TypeString},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true, Default: mapping.Path("$.properties.product_id")},
					mapping.Field{Key: "content_name", Type: mapping.TypeString},
					mapping.Field{Key: "content_type", Type: mapping.TypeString},
					contents("$.properties"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.price")},
				),
				Item: standard("ViewContent", "currency", "value", "content_ids", "content_category", "content_name", "content_type", "contents"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "viewContent2", Title: "View Content V2", Doc: "A product was looked at.", Trigger: `type = "track" and event = "Product Viewed"`,
				Fields: fields(
					mapping.Field{Key: "content_category", Type: mapping.TypeString},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true, Default: mapping.Path("$.properties.product_id")},
					mapping.Field{Key: "content_name", Type: mapping.TypeString},
					mapping.Field{Key: "content_type", Type: mapping.TypeString},
					contents("$.properties"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.price")},
				),
				Item: standard("ViewContent", "currency", "value", "content_ids", "content_category", "content_name", "content_type", "contents"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "search", Title: "Search", Doc: "Products were searched.", Trigger: `type = "track" and event = "Products Searched"`,
				Fields: fields(
					mapping.Field{Key: "content_category", Type: mapping.TypeString},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					contents("$.properties"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "search_string", Type: mapping.TypeString, Default: mapping.Path("$.properties.query")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber},
				),
				Item: standard("Search", "currency", "value", "content_ids", "contents", "content_category", "search_string"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "search2", Title: "Search V2", Doc: "Products were searched.", Trigger: `type = "track" and event = "Products Searched"`,
				Fields: fields(
					mapping.Field{Key: "content_category", Type: mapping.TypeString},
					mapping.Field{Key: "content_ids", Type: mapping.TypeString, Multiple: true},
					contents("$.properties"),
					mapping.Field{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
					mapping.Field{Key: "search_string", Type: mapping.TypeString, Default: mapping.Path("$.properties.query")},
					mapping.Field{Key: "value", Type: mapping.TypeNumber},
				),
				Item: standard("Search", "currency", "value", "content_ids", "contents", "content_category", "search_string"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "pageView", Title: "Page View", Doc: "A page was looked at.", Trigger: `type = "page"`,
				Fields: fields(),
				Item:   standard("PageView"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "pageView2", Title: "Page View V2", Doc: "A page was looked at.", Trigger: `type = "page"`,
				Fields: fields(),
				Item:   standard("PageView"), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "custom", Title: "Custom Event", Doc: "Any other event, with a name of its own.",
				Fields: fields(
					mapping.Field{Key: "event_name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
				),
				Item: standard(""), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
			{
				Slug: "custom2", Title: "Custom Event V2", Doc: "Any other event, with a name of its own.",
				Fields: fields(
					mapping.Field{Key: "event_name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
				),
				Item: standard(""), Request: events, AllOrNothing: true, TimeField: "event_time",
			},
		},
		Presets: []destination.Preset{
			{Name: "Orders", Action: "purchase", Subscribe: `type = "track" and event = "Order Completed"`, Mapping: ours("")},
			{Name: "Checkouts", Action: "initiateCheckout", Subscribe: `type = "track" and event = "Checkout Started"`, Mapping: ours("")},
			{Name: "Products added", Action: "addToCart", Subscribe: `type = "track" and event = "Product Added"`, Mapping: ours("")},
			{Name: "Products viewed", Action: "viewContent", Subscribe: `type = "track" and event = "Product Viewed"`, Mapping: ours("")},
			{Name: "Searches", Action: "search", Subscribe: `type = "track" and event = "Products Searched"`, Mapping: search()},
			{Name: "Pages", Action: "pageView", Subscribe: `type = "page"`, Mapping: ours("")},
			{
				Name: "Other events", Action: "custom", Mapping: ours("$.properties"),
				Subscribe: `type = "track" and event != "Order Completed" and event != "Checkout Started" and event != "Product Added" and event != "Product Viewed" and event != "Products Searched"`,
			},
		},
	}.Destination()
}

// ours is what our presets know and Segment's fields have no default for: an
// event of a web page says so, others are of no kind with demands of its own.
func ours(custom string) map[string]mapping.Value {
	m := map[string]mapping.Value{
		"action_source": mapping.If(mapping.Path("$.context.page.url"), mapping.If(mapping.Path("$.context.userAgent"), mapping.Literal("website"), mapping.Literal("other")), mapping.Literal("other")),
	}
	if custom != "" {
		m["custom_data"] = mapping.Path(custom)
	}
	return m
}

// search takes the contents of what was found; the fields' default asks of the
// search itself to be a product, which Meta refuses.
func search() map[string]mapping.Value {
	m := ours("")
	m["contents"] = contents("$.properties.products").Default
	return m
}

// fields are those that every action has, around its own.
func fields(own ...mapping.Field) []mapping.Field {
	out := []mapping.Field{
		{Key: "action_source", Doc: "Where the event happened. A website's needs event_source_url and client_user_agent.", Type: mapping.TypeString, Required: true, Choices: []string{"email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "other"}},
		{Key: "event_time", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.timestamp")},
		{Key: "user_data", Doc: "Who it was. What is to be hashed is hashed here, unless it is already.", Type: mapping.TypeObject, Required: true, Default: mapping.Object(
			mapping.M("externalId", mapping.Paths("$.userId", "$.anonymousId")), mapping.M("email", mapping.Path("$.context.traits.email")), mapping.M("phone", mapping.Path("$.context.traits.phone")),
			mapping.M("dateOfBirth", mapping.Path("$.context.traits.birthday")), mapping.M("lastName", mapping.Path("$.context.traits.lastName")), mapping.M("firstName", mapping.Path("$.context.traits.firstName")),
			mapping.M("city", mapping.Path("$.context.traits.address.city")), mapping.M("state", mapping.Path("$.context.traits.address.state")), mapping.M("zip", mapping.Path("$.context.traits.address.postalCode")),
			mapping.M("client_ip_address", mapping.Path("$.context.ip")), mapping.M("client_user_agent", mapping.Path("$.context.userAgent")), mapping.M("fbc", mapping.Path("$.properties.fbc")), mapping.M("fbp", mapping.Path("$.properties.fbp")),
		), Properties: []mapping.Field{
			{Key: "externalId", Type: mapping.TypeString, Multiple: true}, {Key: "email", Type: mapping.TypeString}, {Key: "phone", Type: mapping.TypeString}, {Key: "gender", Type: mapping.TypeString},
			{Key: "dateOfBirth", Type: mapping.TypeString}, {Key: "lastName", Type: mapping.TypeString}, {Key: "firstName", Type: mapping.TypeString}, {Key: "city", Type: mapping.TypeString},
			{Key: "state", Type: mapping.TypeString}, {Key: "zip", Type: mapping.TypeString}, {Key: "country", Type: mapping.TypeString}, {Key: "client_ip_address", Type: mapping.TypeString},
			{Key: "client_user_agent", Type: mapping.TypeString}, {Key: "fbc", Type: mapping.TypeString}, {Key: "fbp", Type: mapping.TypeString}, {Key: "subscriptionID", Type: mapping.TypeString},
			{Key: "leadID", Type: mapping.TypeInteger}, {Key: "fbLoginID", Type: mapping.TypeInteger}, {Key: "anonId", Type: mapping.TypeString}, {Key: "madId", Type: mapping.TypeString},
			{Key: "partner_id", Type: mapping.TypeString}, {Key: "partner_name", Type: mapping.TypeString}, {Key: "ctwa_clid", Type: mapping.TypeString},
		}},
		{Key: "app_data_field", Doc: "The app and its device, sent when use_app_data is true.", Type: mapping.TypeObject, Default: mapping.Object(
			mapping.M("application_tracking_enabled", mapping.Path("$.context.device.adTrackingEnabled")), mapping.M("packageName", mapping.Path("$.context.app.namespace")), mapping.M("longVersion", mapping.Path("$.context.app.version")),
			mapping.M("osVersion", mapping.Path("$.context.os.version")), mapping.M("deviceName", mapping.Path("$.context.device.model")), mapping.M("locale", mapping.Path("$.context.locale")), mapping.M("carrier", mapping.Path("$.context.network.carrier")),
			mapping.M("width", mapping.Path("$.context.screen.width")), mapping.M("height", mapping.Path("$.context.screen.height")), mapping.M("density", mapping.Path("$.context.screen.density")),
			mapping.M("deviceTimezone", mapping.Path("$.context.timezone")), mapping.M("madId", mapping.Path("$.context.madId")),
		), Properties: []mapping.Field{
			{Key: "use_app_data", Type: mapping.TypeBoolean, Default: mapping.Literal(false)}, {Key: "advertiser_tracking_enabled", Type: mapping.TypeBoolean}, {Key: "application_tracking_enabled", Type: mapping.TypeBoolean},
			{Key: "version", Type: mapping.TypeString, Choices: []string{"i2", "a2"}}, {Key: "packageName", Type: mapping.TypeString}, {Key: "shortVersion", Type: mapping.TypeString}, {Key: "longVersion", Type: mapping.TypeString},
			{Key: "osVersion", Type: mapping.TypeString}, {Key: "deviceName", Type: mapping.TypeString}, {Key: "madId", Type: mapping.TypeString}, {Key: "locale", Type: mapping.TypeString}, {Key: "timezone", Type: mapping.TypeString},
			{Key: "carrier", Type: mapping.TypeString}, {Key: "width", Type: mapping.TypeString}, {Key: "height", Type: mapping.TypeString}, {Key: "density", Type: mapping.TypeString}, {Key: "cpuCores", Type: mapping.TypeString},
			{Key: "storageSize", Type: mapping.TypeString}, {Key: "freeStorage", Type: mapping.TypeString}, {Key: "deviceTimezone", Type: mapping.TypeString},
		}},
		{Key: "event_id", Type: mapping.TypeString, Default: mapping.Path("$.messageId")},
		{Key: "event_source_url", Type: mapping.TypeString, Default: mapping.Path("$.context.page.url")},
		{Key: "custom_data", Type: mapping.TypeObject},
		{Key: "data_processing_options", Doc: "Limited data use.", Type: mapping.TypeBoolean},
		{Key: "data_processing_options_country", Type: mapping.TypeNumber, Choices: []string{"0", "1"}},
		{Key: "data_processing_options_state", Type: mapping.TypeNumber, Choices: []string{"0", "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010"}},
		{Key: "test_event_code", Type: mapping.TypeString},
	}
	return append(out, own...)
}

func contents(path string) mapping.Field {
	return mapping.Field{
		Key: "contents", Type: mapping.TypeObject, Multiple: true,
		Default: mapping.ArrayPath(path, mapping.Object(mapping.M("id", mapping.Path("$.product_id")), mapping.M("quantity", mapping.Path("$.quantity")), mapping.M("item_price", mapping.Path("$.price")))),
		Properties: []mapping.Field{
			{Key: "id", Type: mapping.TypeString}, {Key: "quantity", Type: mapping.TypeInteger}, {Key: "item_price", Type: mapping.TypeNumber}, {Key: "delivery_category", Type: mapping.TypeString},
		},
	}
}

func events(s *Settings) destination.Request {
	return destination.Request{Path: "/" + version + "/" + s.PixelID + "/events", Open: `{"data":[`, Sep: ",", Close: "]}", OpenFor: open}
}

// open begins a request, all of whose events may be tests.
func open(testCode string) string {
	if testCode == "" {
		return `{"data":[`
	}
	return `{"test_event_code":` + string(event.AppendQuoted(nil, testCode)) + `,"data":[`
}

// throttled reads what Meta says with a status of 400: the codes of rate limits
// and of passing troubles, and those of the token.
// https://developers.facebook.com/docs/graph-api/guides/error-handling
// https://developers.facebook.com/docs/graph-api/overview/rate-limiting#error-codes
func throttled(a *destination.Answer) destination.Result {
	if a.Status < 400 {
		return destination.Result{}
	}
	e := a.JSON.Get("error")
	code := e.Get("code")
	switch {
	case is(code, "4", "17", "32", "341", "613") || len(code.Raw()) == 5 && string(code.Raw()[:2]) == "80":
		return destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: a.Status, Detail: a.Words()}
	case is(code, "1", "2") || e.Get("is_transient").Bool():
		return destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: a.Status, Detail: a.Words()}
	case is(code, "104", "190", "102") || is(code, "10", "200"):
		return destination.Result{Outcome: destination.Retry, Reason: destination.Unauthorized, Status: a.Status, Detail: a.Words()}
	}
	return destination.Result{}
}

func is(v event.Value, texts ...string) bool {
	for _, t := range texts {
		if string(v.Raw()) == t {
			return true
		}
	}
	return false
}

// standard writes an event of a name that Meta knows, with the fields given in
// its custom_data; an empty name takes the payload's.
func standard(name string, own ...string) func(*Settings, *destination.Input, *destination.Output) {
	return func(s *Settings, in *destination.Input, out *destination.Output) {
		p := in.Payload
		at := p.Get("event_time")
		if !at.Exists() || !at.Test(event.IsTime) {
			out.Reject(destination.Invalid, "event_time is no time")
			return
		}
		user := p.Get("user_data")
		if name != "" && p.Get("action_source").IsText("website") && !user.Get("client_user_agent").Exists() {
			out.Reject(destination.MissingIdentity, "an event of a website needs client_user_agent")
			return
		}
		if c := p.Get("currency"); len(own) > 0 && c.Exists() && !c.Test(currency) {
			out.Reject(destination.Invalid, "currency has to be a code of three letters (ISO 4217)")
			return
		}
		for c := range p.Get("contents").Elements() {
			if id := c.Get("id"); id.Falsy() {
				out.Reject(destination.Invalid, "each of the contents needs an id")
				return
			}
			if d := c.Get("delivery_category"); !d.Falsy() && !d.IsText("in_store") && !d.IsText("curbside") && !d.IsText("home_delivery") {
				out.Reject(destination.Invalid, "delivery_category is in_store, curbside or home_delivery")
				return
			}
		}
		if out.Group = p.Text("test_event_code"); out.Group == "" {
			out.Group = s.TestEventCode
		}
		out.BeginObject()
		if name != "" {
			out.Str("event_name", name)
		} else {
			out.Field("event_name", p.Get("event_name"))
		}
		out.Key("event_time")
		out.Compute(at, writeTime)
		truthy(out, "event_source_url", p.Get("event_source_url"))
		// The id says which events are one: also that of the browser's pixel.
		if id := p.Get("event_id"); !id.Falsy() {
			out.Field("event_id", id)
		} else {
			out.Key("event_id")
			out.Compute(event.Value{}, mapping.WriteInsertID)
		}
		out.Field("action_source", p.Get("action_source"))
		out.Key("user_data")
		if !writeUser(out, user) {
			out.Reject(destination.MissingIdentity, "nothing in user_data says who it was")
			return
		}
		appData(out, p.Get("app_data_field"))
		if p.Get("data_processing_options").Bool() {
			out.Key("data_processing_options")
			out.RawString(`["LDU"]`)
			zeroOr(out, "data_processing_options_country", p.Get("data_processing_options_country"))
			zeroOr(out, "data_processing_options_state", p.Get("data_processing_options_state"))
		}
		if name != "PageView" {
			out.Key("custom_data")
			out.BeginObject()
			out.Members(p.Get("custom_data"), own...)
			for _, key := range own {
				if v := p.Get(key); !v.Nullish() && !v.IsEmptyText() && (v.Kind() != event.Array || v.Len() > 0 || key == "contents") {
					out.Field(key, v)
				} else if c := p.Get("custom_data").Get(key); c.Exists() {
					out.Field(key, c)
				}
			}
			out.EndObject()
		}
		out.EndObject()
	}
}

func writeTime(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	at, _ := event.ParseTime(v)
	w.Int(at.Unix())
}

// currency tells whether a value is none, or may be a code of ISO 4217.
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/custom-data#currency
func currency(v event.Value) bool {
	if v.Falsy() {
		return true
	}
	text, ok := v.Plain()
	if !ok || len(text) != 3 {
		return false
	}
	for _, c := range text {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func truthy(out *destination.Output, key string, v event.Value) {
	if !v.Falsy() {
		out.Field(key, v)
	}
}

func zeroOr(out *destination.Output, key string, v event.Value) {
	if v.Falsy() {
		out.IntField(key, 0)
	} else {
		out.Field(key, v)
	}
}

// personal are the members of user_data that are hashed, but for the ids.
var personal = [...]struct {
	key, from string
	hash
}{
	{"em", "email", hashOf("email")}, {"ph", "phone", hashOf("phone_digits")}, {"ge", "gender", hashOf("gender")}, {"db", "dateOfBirth", hashOf("birthdate")},
	{"ln", "lastName", hashOf("name")}, {"fn", "firstName", hashOf("name")}, {"ct", "city", hashOf("city")}, {"st", "state", hashOf("state")}, {"zp", "zip", hashOf("zip")}, {"country", "country", hashOf("country")},
}

var idHash = hashOf("id")

// writeUser writes who it was, and reports false when nothing says so. Meta wants
// personal data in SHA-256, normalised before.
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters
func writeUser(out *destination.Output, u event.Value) (any bool) {
	out.BeginObject()
	for i := range personal {
		f := &personal[i]
		if v := u.Get(f.from); !v.Nullish() && v.Test(f.any) {
			any = true
			out.Key(f.key)
			out.Compute(v, f.write)
		}
	}
	if ids := u.Get("externalId"); ids.Kind() == event.Array {
		open := false
		for id := range ids.Elements() {
			if !id.Nullish() && id.Test(idHash.any) {
				if !open {
					out.Key("external_id")
					out.BeginArray()
					any, open = true, true
				}
				out.Compute(id, idHash.write)
			}
		}
		if open {
			out.EndArray()
		}
	}
	for _, f := range []struct{ key, from string }{
		{"client_ip_address", "client_ip_address"}, {"client_user_agent", "client_user_agent"}, {"fbc", "fbc"}, {"fbp", "fbp"}, {"subscription_id", "subscriptionID"}, {"lead_id", "leadID"},
		{"anon_id", "anonId"}, {"madid", "madId"}, {"fb_login_id", "fbLoginID"}, {"partner_id", "partner_id"}, {"partner_name", "partner_name"}, {"ctwa_clid", "ctwa_clid"},
	} {
		v := u.Get(f.from)
		any = any || !v.Falsy()
		truthy(out, f.key, v)
	}
	out.EndObject()
	return any
}

// hash is how personal data of a kind is written, and the test whether there is any
// in a value.
type hash struct {
	any   func(event.Value) bool
	write mapping.Compute
}

// hashOf hashes a text that is normalised as data of a kind, unless it is hashed
// already.
func hashOf(as string) hash {
	picky := as == "phone_digits" || as == "gender" || as == "birthdate"
	return hash{
		any: func(v event.Value) bool {
			var a, b [128]byte
			text := v.AppendString(a[:0])
			if !picky && len(text) > 0 && isAlphanumeric(text[0]) { // nearly all: what is left has that at least
				return true
			}
			return mapping.IsHashed(text) || len(appendNormal(b[:0], as, text)) > 0
		},
		write: func(w *mapping.Writer, v event.Value, _ *mapping.Late) {
			var a, b, c [128]byte
			text := v.AppendString(a[:0])
			if mapping.IsHashed(text) {
				w.TextBytes(text)
				return
			}
			w.Raw(mapping.AppendHash(c[:0], appendNormal(b[:0], as, text)))
		},
	}
}

func appendNormal(dst []byte, as string, text []byte) []byte {
	dst = mapping.AppendNormal(dst, as, text, "")
	if as == "name" || as == "id" {
		dst = squeeze(dst)
	}
	return dst
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// squeeze takes white space out.
func squeeze(text []byte) []byte {
	out := text[:0]
	for _, c := range text {
		if c > ' ' {
			out = append(out, c)
		}
	}
	return out
}

// appData writes the app and its device, in the order of extinfo.
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/app-data
func appData(out *destination.Output, a event.Value) {
	if !a.Get("use_app_data").Bool() {
		return
	}
	out.Key("app_data")
	out.BeginObject()
	for _, key := range []string{"advertiser_tracking_enabled", "application_tracking_enabled"} {
		if a.Get(key).Bool() {
			out.IntField(key, 1)
		} else {
			out.IntField(key, 0)
		}
	}
	out.FieldNonNull("madid", a.Get("madId"))
	out.Key("extinfo")
	out.BeginArray()
	for _, key := range []string{"version", "packageName", "shortVersion", "longVersion", "osVersion", "deviceName", "locale", "timezone", "carrier", "width", "height", "density", "cpuCores", "storageSize", "freeStorage", "deviceTimezone"} {
		if v := a.Get(key); v.Nullish() {
			out.Text("")
		} else {
			out.Val(v)
		}
	}
	out.EndArray()
	out.EndObject()
}
