// Package googleanalytics4 delivers to Google Analytics 4 through the
// Measurement Protocol. A request is of one client, and takes events of the
// last three days only.
package googleanalytics4

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a data stream.
type Settings struct {
	MeasurementID string `setting:"measurement_id" doc:"Measurement ID of a web stream." example:"G-ABC123DEF4"`
	FirebaseAppID string `setting:"firebase_app_id" doc:"Firebase app ID of a stream of a mobile app." example:"1:1234567890:android:321abc456def7890"`
	APISecret     string `setting:"api_secret,required,secret,transport" doc:"API secret of the stream, for the Measurement Protocol." example:"abcdefghijklmnopqrstuv"`
	Region        string `setting:"region,transport" doc:"Where Google collects the data." default:"global" choices:"global,eu"`
}

const (
	docs      = "https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events"
	reference = "https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "google-analytics-4", Name: "Google Analytics 4",
			Summary: "web and app analytics, by the Measurement Protocol", Docs: docs,
			Integrations: []string{"Google Analytics 4 Cloud", "Actions Google Analytics 4"},
			Elsewhere:    []string{"GA4", "GA4 V2", "Google Analytics 4 (GA4) V2"},
			Backfill: "Google takes the last 72 hours only; what is older is skipped. Events count towards key events, " +
				"audiences and linked advertising accounts as if they came from the site. " +
				"Nothing but a purchase's transaction_id tells a repeat, and Google says 204 to whatever it gets: try new " +
				"mappings against a test stream.",
			Differences: destination.Differences(
				"a parameter or user property with a name that Google does not take is renamed: other characters become "+
					"underscores, and what is too long is cut", reference,
				"an event name that Google would drop (not of letters, digits and underscores, longer than 40 characters, or "+
					"reserved) is rejected before sending", reference+"#reserved_names",
				"more than 25 parameters or user properties, or names that Google does not take for them, are rejected before "+
					"sending", docs+"#limitations",
				"more than 200 items are rejected before sending", reference+"/events",
				"a timestamp that is no time is left out instead of sent as null", docs+"#override_timestamp",
			),
			Minimal: true,
		},
		// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#transport
		Hosts: map[string]string{"global": "https://www.google-analytics.com", "eu": "https://region1.google-analytics.com"},
		Auth:  func(s *Settings) destination.Auth { return destination.QueryAuth("api_secret", s.APISecret) },
		Check: func(s *Settings) []error {
			if s.MeasurementID == "" && s.FirebaseAppID == "" {
				return []error{errors.New("measurement_id (of a web stream) or firebase_app_id (of an app) is required")}
			}
			return nil
		},
		Limits: destination.Limits{
			EventBytes: destination.Cap{N: 130 << 10, Docs: docs + "#limitations"},
			Window:     destination.Window{Past: 3 * destination.Day, Violation: "drops", Docs: docs + "#override_timestamp"},
			Dedupe: destination.Dedupe{Field: "transaction_id, of a purchase",
				Docs: "https://support.google.com/analytics/answer/12313109"},
		},
		Success: []destination.Success{destination.NoBody(reference+"#response_codes", 200, 201, 202, 204)},
		Actions: actions(),
		Presets: presets(),
	}.Destination()
}

// commerce are the events of the e-commerce specification that Google has a name and
// parameters of its own for. One without a call is for all track calls.
func commerce() []spec {
	currency, value := field.Currency("currency"), field.Number("value").From("$.properties.value")
	coupon, affiliation := field.Text("coupon"), field.Texts("affiliation = properties.affiliation")
	transaction, total := field.Text("transaction_id").Required().From("$.properties.order_id"),
		value.From("$.properties.total")
	products, product := items("$.properties.products", field.Numbers("index = position")),
		items("$.properties", field.Number("index"))
	promotion := func(location string) field.Lines {
		return field.Texts("creative_name", "creative_slot = properties.creative", location,
			"promotion_id = properties.promotion_id", "promotion_name = properties.name")
	}
	promoted := items("$.properties", field.Number("index"), field.Texts(
		"creative_name", "creative_slot", "promotion_name", "promotion_id"))
	return []spec{
		{"purchase", "Purchase", "An order.", "purchase", currencyChecked, field.Together(
			affiliation, coupon.From("$.properties.coupon"), currency.Required(), products.Required(),
			transaction, field.Numbers("shipping", "tax").Below("$.properties"), total)},
		{"addToCart", "Add to cart", "A product put into the cart.", "add_to_cart", currencyChecked,
			field.Together(currency, product.Required(), value)},
		{"selectItem", "Select item", "A product chosen from a list.", "select_item", currencyChecked,
			field.Together(field.Texts("item_list_name", "item_list_id"), product.Required())},
		{"beginCheckout", "Begin checkout", "A checkout begun.", "begin_checkout", currencyChecked,
			field.Together(coupon.From("$.properties.coupon"), currency, products.Required(), value)},
		{"selectPromotion", "Select promotion", "A promotion chosen.", "select_promotion", currencyChecked,
			field.Together(promotion("location_id"), promoted)},
		{"viewItem", "View item", "A product seen.", "view_item", currencyChecked,
			field.Together(currency, value, product.Required())},
		{"removeFromCart", "Remove from cart", "A product taken out of the cart.", "remove_from_cart", currencyNeeded,
			field.Together(currency, value, product.Required())},
		{"viewCart", "View cart", "A cart seen.", "view_cart", currencyNeeded,
			field.Together(currency, value, products.Required())},
		{"search", "Search", "A search for products.", "search", currencyChecked,
			field.Text("search_term").Required().From("$.properties.query")},
		{"viewItemList", "View item list", "A list of products seen.", "view_item_list", currencyChecked,
			field.Together(field.Texts("item_list_id = properties.list_id", "item_list_name = properties.category"),
				products.Required())},
		{"signUp", "Sign up", "An account opened.", "sign_up", currencyChecked,
			field.Text("method").From("$.properties.type")},
		{"viewPromotion", "View promotion", "A promotion seen.", "view_promotion", currencyChecked,
			field.Together(promotion("location_id = properties.position"), promoted.Required())},
		{"addPaymentInfo", "Add payment info", "A way to pay chosen.", "add_payment_info", currencyAndItemsNeeded,
			field.Together(currency, value, coupon, field.Texts("payment_type = properties.payment_method"),
				products.Required())},
		{"refund", "Refund", "An order paid back.", "refund", currencyNeeded,
			field.Together(currency, transaction, total, affiliation, coupon,
				field.Numbers("shipping = properties.shipping", "tax"), products)},
		{"login", "Login", "A user signed in.", "login", currencyChecked, field.Text("method")},
		{"generateLead", "Generate lead", "A lead won.", "generate_lead", currencyIfValue, field.Together(currency, value)},
		{"addToWishlist", "Add to wishlist", "A product put onto the wishlist.", "add_to_wishlist", currencyNeeded,
			field.Together(currency, value, product.Required())},
	}
}

// spec is one of them.
type spec struct {
	slug, title, doc, name string
	rule                   rule
	fields                 field.Set // the parameters
}

// calls are the actions for what people do in a shop.
func calls() destination.Commerce {
	return destination.Commerce{
		ProductsSearched: "search", ProductListViewed: "viewItemList", PromotionViewed: "viewPromotion",
		PromotionClicked: "selectPromotion", ProductClicked: "selectItem", ProductViewed: "viewItem",
		ProductAdded: "addToCart", ProductRemoved: "removeFromCart", CartViewed: "viewCart",
		CheckoutStarted: "beginCheckout", PaymentInfoEntered: "addPaymentInfo", OrderCompleted: "purchase",
		OrderRefunded: "refund", ProductAddedToWishlist: "addToWishlist", SignedUp: "signUp", SignedIn: "login",
	}
}

func actions() (list destination.Actions) {
	for _, s := range commerce() {
		a := action(s.slug, s.title, "client_id", s.fields, s.rule, body.Const(s.name), s.fields).Doc(s.doc)
		list = append(list, a.On(calls().Trigger(s.slug)))
	}
	page := field.Texts("page_location = .url", "page_referrer = .referrer", "page_title = .title").Below("$.context.page")
	named := field.Together(field.Text("name").Required().From("$.event"), field.Boolean("lowercase").Always(false))
	name := body.From("name").As("one word", func(dst []byte, _ event.Value, c *body.Context) []byte {
		return event.AppendQuoted(dst, nameIn(c))
	})
	return append(list,
		action("pageView", "Page view", "clientId", page, currencyChecked, body.Const("page_view"), page).
			On(`type = "page"`).Doc("A page seen."),
		action("customEvent", "Custom event", "clientId", named, currencyChecked, name, field.Lines{}).On(`type = "track"`).
			Doc("An event of any name.").Check(func(c *body.Context) string {
			if name := nameIn(c); !nameOf(name, 40) || slices.Contains(reserved[:], name) {
				return "Google does not take an event of the name " + strconv.Quote(name)
			}
			return ""
		}),
	)
}

func presets() []destination.Preset {
	screen := mapping.Lines(`name = "screen_view"`, "params.screen_name = name")
	own := func(m destination.Moment) destination.Preset { return destination.Preset{Action: m.Name} }
	return append(calls().Presets(own),
		destination.Preset{Name: "Other track calls", Action: "customEvent", Subscribe: calls().Others(),
			Mapping: map[string]mapping.Value{"params": plain()}},
		destination.Preset{Name: "Page calls", Action: "pageView", Subscribe: `type = "page"`},
		destination.Preset{Name: "Screen calls", Action: "customEvent", Subscribe: `type = "screen"`, Mapping: screen},
	)
}

// plain are an event's properties in the form that parameters have: no arrays,
// objects or nulls, names in lower case, and no more than there may be.
func plain() mapping.Value {
	return mapping.Limit(maxParams-1, "", mapping.KeyCase("snake", false,
		mapping.Compact(mapping.Flatten(mapping.Path("$.properties"), "_", false))))
}

// items are products at a path of the event.
func items(path string, index field.Set, more ...field.Set) field.Line {
	return field.Object("items",
		field.Texts("item_id = product_id", "item_name = name", "affiliation = affiliation", "coupon = coupon", "currency"),
		field.Number("discount"), index, field.Texts("item_brand = brand", "item_category = category", "item_category2",
			"item_category3", "item_category4", "item_category5", "item_list_id", "item_list_name", "item_variant = variant",
			"location_id"), field.Numbers("price = price"), field.Integers("quantity = quantity"), field.Together(more...),
	).EachOf(path).Open()
}

// action is one event of a name with parameters: fields of it, and those that the user
// adds, which replace them.
func action(slug, title, client string, own field.Set, r rule, name body.Node, params field.Set) *destination.Declared {
	const collect = "/mp/collect?"
	app := body.From("data_stream_type").Is("Mobile App")
	var members []body.Members
	var keys []string
	for _, f := range params.Fields() {
		v := body.Node(body.From(f.Key))
		if f.Key == "items" {
			v = body.From(f.Key).Else(body.Always(body.List()))
		}
		members, keys = append(members, body.Member(f.Key, v)), append(keys, f.Key)
	}
	event := func(id body.Members) body.Node {
		return body.Object(
			id,
			body.Same("user_id"),
			body.Member("timestamp_micros", body.From("timestamp_micros").Epoch(time.Microsecond)),
			body.Member("user_properties", body.If(body.From("user_properties").IsObject(), body.Always(body.Object(
				body.Spread("user_properties").Renamed(property).Each(body.Object(body.Member("value", body.This()))),
			)))),
			body.Member("consent", body.Object(body.Copy("ad_user_data = ad_user_data_consent",
				"ad_personalization = ad_personalization_consent"))),
			body.Member("events", body.List(body.Object(
				body.Member("name", name),
				body.Member("params", body.Always(body.Object(body.Together(members...), body.Same("engagement_time_msec"),
					body.Spread("params").Renamed(parameter).Wins()))),
			))),
		)
	}
	counted := slices.Concat(keys, []string{"engagement_time_msec"}) // once: events are checked side by side
	return destination.Action(slug, title).TimeField("timestamp_micros").
		Fields(
			field.Text("data_stream_type").OneOf("Web", "Mobile App").Always("Web"),
			field.Text("app_instance_id"), field.AnyID(client), field.Text("user_id"),
			field.Text("timestamp_micros").From("$.timestamp"),
			own,
			field.Object("user_properties").Open(), field.Number("engagement_time_msec").Always(1),
			field.Object("params").Open(),
			field.Texts("ad_user_data_consent", "ad_personalization_consent").With(
				func(l field.Line) field.Line { return l.OneOf("GRANTED", "DENIED") }),
		).
		Needs(body.Any(app, body.Setting("measurement_id")), "measurement_id is required for web streams").
		Needs(body.Any(body.Not(app), body.Setting("firebase_app_id")),
			"firebase_app_id is required for streams of mobile apps").
		NeedsIdentity(body.Any(app, body.From(client).Given()), "client_id is required").
		NeedsIdentity(body.Any(body.Not(app), body.From("app_instance_id").Given()), "app_instance_id is required").
		Check(func(c *body.Context) string { return cmp.Or(check(r, c), few(c, counted)) }).
		Steps(
			destination.Send("POST", collect+"measurement_id={settings.measurement_id}",
				event(body.Copy("client_id = "+client))).If(body.Not(app)),
			destination.Send("POST", collect+"firebase_app_id={settings.firebase_app_id}",
				event(body.Same("app_instance_id"))).If(app),
		)
}

// rule is what Google wants of an event's currency.
// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference/events
type rule uint8

const (
	currencyChecked        rule = iota // has to exist in ISO 4217
	currencyIfValue                    // and to be there with a value
	currencyNeeded                     // or in any case, of the event or the first item
	currencyAndItemsNeeded             // and there have to be items
)

// maxParams is how many parameters an event may have, and how many properties
// a user; maxItems is how many items.
// https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#limitations
// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference/events
const (
	maxParams = 25
	maxItems  = 200
)

// few says when an event has too many parameters.
func few(c *body.Context, keys []string) string {
	own := c.Field("params")
	n := own.Len()
	for _, key := range keys {
		if !own.Get(key).Exists() && (key == "items" || c.Field(key).Exists()) {
			n++
		}
	}
	if n > maxParams {
		return "the event has " + strconv.Itoa(n) + " parameters; Google takes " + strconv.Itoa(maxParams)
	}
	return ""
}

// check says what is wrong with an event, its name aside, or nothing.
func check(r rule, c *body.Context) string {
	currency, list := c.Field("currency"), c.Field("items")
	known := func(code event.Value) bool { return code.Falsy() || field.IsCurrency(code.Text()) }
	switch first := list.Index(0).Get("currency"); {
	case !known(currency):
		return currency.Text() + " is not a valid currency code"
	case list.Len() > maxItems:
		return "the event has " + strconv.Itoa(list.Len()) + " items; Google takes " + strconv.Itoa(maxItems)
	case r >= currencyIfValue && !currency.Exists() && !c.Field("value").Falsy():
		return "a value needs a currency"
	case r == currencyAndItemsNeeded && list.Len() == 0:
		return "one or more products are required"
	case r == currencyNeeded && !currency.Exists() && first.Falsy(), r == currencyAndItemsNeeded && !currency.Exists() &&
		!first.Exists():
		return "a currency is required, of the event or its first item"
	}
	for el := range list.Elements() {
		if !el.Get("item_name").Exists() && !el.Get("item_id").Exists() {
			return "an item needs a name or an id"
		}
		if code := el.Get("currency"); !known(code) {
			return code.Text() + " is not a valid currency code"
		}
	}
	for k, v := range c.Field("params").Members() {
		if kind := v.Kind(); kind == event.Null || kind == event.Object || kind == event.Array && !k.IsText("items") {
			return "the parameter " + k.Text() + " is " + kind.String() + "; Google takes none"
		}
	}
	for k, v := range c.Field("user_properties").Members() {
		if v.Kind() >= event.Array {
			return "the user property " + k.Text() + " is " + v.Kind().String() + "; Google takes none"
		}
	}
	if n := c.Field("user_properties").Len(); n > maxParams {
		return "the event has " + strconv.Itoa(n) + " user properties; Google takes " + strconv.Itoa(maxParams)
	}
	return ""
}

// nameOf says that a name is of letters, digits and underscores, begins with a
// letter and is not too long.
// https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#limitations
func nameOf(name string, most int) bool {
	if name == "" || len(name) > most {
		return false
	}
	for i, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// parameter and property are names as Google takes them: what it does not is an underscore, and what
// is too long is cut. A name of which nothing is left is left out.
func parameter(name string) string { return named(name, 40) }
func property(name string) string  { return named(name, 24) }

func named(name string, most int) string {
	if nameOf(strings.TrimLeft(name, "_"), most) {
		return name
	}
	name = strings.Trim(strings.Map(func(c rune) rune {
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; letter || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, name), "_")
	if name != "" && name[0] <= '9' {
		name = "n" + name
	}
	return name[:min(len(name), most)]
}

// reserved are the names of events that Google keeps for itself.
// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#reserved_names
var reserved = [...]string{
	"ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data",
	"app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade",
	"dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "firebase_campaign",
	"firebase_in_app_message_action", "firebase_in_app_message_dismiss", "firebase_in_app_message_impression",
	"first_open", "first_visit", "in_app_purchase", "notification_dismiss", "notification_foreground",
	"notification_open", "notification_receive", "notification_send", "os_update", "session_start", "user_engagement",
}

// nameIn is an event's name as one word, in lower case where that is asked for.
func nameIn(c *body.Context) string {
	name := *body.Recall(c, c.Field("name"), word)
	if c.Field("lowercase").Bool() {
		name = strings.ToLower(name)
	}
	return name
}

func word(name string) *string {
	return new(strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || c == '\ufeff' {
			return '_'
		}
		return c
	}, strings.TrimSpace(name)))
}
