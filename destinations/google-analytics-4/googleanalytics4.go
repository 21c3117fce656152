// Package googleanalytics4 delivers to Google Analytics 4 through the
// Measurement Protocol. A request is of one client, and takes events of the
// last three days only.
package googleanalytics4

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
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
			Slug: "google-analytics-4", Name: "Google Analytics 4", Summary: "web and app analytics, by the Measurement Protocol", Docs: docs,
			Integrations: []string{"Google Analytics 4 Cloud", "Actions Google Analytics 4"},
			Backfill: "Google takes the last 72 hours only; what is older is skipped. Events count towards key events, audiences and linked advertising accounts as if they came from the site. " +
				"Nothing but a purchase's transaction_id tells a repeat, and Google says 204 to whatever it gets: try new mappings against a test stream.",
			Differences: []destination.Difference{
				{What: "an event name that Google would drop (not of letters, digits and underscores, longer than 40 characters, or reserved) is rejected before sending", Docs: reference + "#reserved_names"},
				{What: "more than 25 parameters or user properties, or names that Google does not take for them, are rejected before sending", Docs: docs + "#limitations"},
				{What: "more than 200 items are rejected before sending", Docs: reference + "/events"},
				{What: "a timestamp that is no time is left out instead of sent as null", Docs: docs + "#override_timestamp"},
			},
			Minimal: true,
		},
		BaseURL: func(s *Settings) string {
			// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#transport
			if s.Region == "eu" {
				return "https://region1.google-analytics.com"
			}
			return "https://www.google-analytics.com"
		},
		Auth: func(s *Settings) destination.Auth { return destination.QueryAuth("api_secret", s.APISecret) },
		Check: func(s *Settings) []error {
			if s.MeasurementID == "" && s.FirebaseAppID == "" {
				return []error{errors.New("measurement_id (of a web stream) or firebase_app_id (of an app) is required")}
			}
			return nil
		},
		Limits: destination.Limits{
			EventBytes: destination.Cap{N: 130 << 10, Docs: docs + "#limitations"},
			Window:     destination.Window{Past: 72 * time.Hour, Violation: "drops", Docs: docs + "#override_timestamp"},
			Dedupe:     destination.Dedupe{Field: "transaction_id, of a purchase", Docs: "https://support.google.com/analytics/answer/12313109"},
		},
		Success: []destination.Success{destination.NoBody(reference+"#response_codes", 200, 201, 202, 204)},
		Actions: destination.Coded[Settings]{
			ecommerce("purchase", "Purchase", "An order.", "Order Completed", "purchase", currencyChecked, list(
				text("affiliation", "$.properties.affiliation"), text("coupon", "$.properties.coupon"), required(text("currency", "$.properties.currency")),
				required(products()), required(text("transaction_id", "$.properties.order_id")),
				number("shipping", "$.properties.shipping"), number("tax", "$.properties.tax"), number("value", "$.properties.total"))),
			ecommerce("addToCart", "Add to cart", "A product put into the cart.", "Product Added", "add_to_cart", currencyChecked, list(
				text("currency", "$.properties.currency"), required(product()), number("value", "$.properties.value"))),
			{
				Slug: "pageView", Title: "Page view", Doc: "A page seen.", Trigger: `type = "page"`,
				Fields: fields("clientId", list(
					text("page_location", "$.context.page.url"), text("page_referrer", "$.context.page.referrer"), text("page_title", "$.context.page.title"))),
				Item: item("page_view", currencyChecked, []string{"page_location", "page_referrer", "page_title"}), Request: collect, TimeField: "timestamp_micros",
			},
			{
				Slug: "customEvent", Title: "Custom event", Doc: "An event of any name.", Trigger: `type = "track"`,
				Fields: fields("clientId", list(
					required(text("name", "$.event")), mapping.Field{Key: "lowercase", Type: mapping.TypeBoolean, Default: mapping.Literal(false)})),
				Item: item("", currencyChecked, nil), Request: collect, TimeField: "timestamp_micros",
			},
			ecommerce("selectItem", "Select item", "A product chosen from a list.", "Product Clicked", "select_item", currencyChecked, list(
				text("item_list_name", ""), text("item_list_id", ""), required(product()))),
			ecommerce("beginCheckout", "Begin checkout", "A checkout begun.", "Checkout Started", "begin_checkout", currencyChecked, list(
				text("coupon", "$.properties.coupon"), text("currency", "$.properties.currency"), required(products()), number("value", "$.properties.value"))),
			ecommerce("selectPromotion", "Select promotion", "A promotion chosen.", "Promotion Clicked", "select_promotion", currencyChecked, list(
				text("creative_name", ""), text("creative_slot", "$.properties.creative"), text("location_id", ""),
				text("promotion_id", "$.properties.promotion_id"), text("promotion_name", "$.properties.name"), promoted())),
			ecommerce("viewItem", "View item", "A product seen.", "Product Viewed", "view_item", currencyChecked, list(
				text("currency", "$.properties.currency"), number("value", "$.properties.value"), required(product()))),
			ecommerce("removeFromCart", "Remove from cart", "A product taken out of the cart.", "Product Removed", "remove_from_cart", currencyNeeded, list(
				text("currency", "$.properties.currency"), number("value", "$.properties.value"), required(product()))),
			ecommerce("viewCart", "View cart", "A cart seen.", "Cart Viewed", "view_cart", currencyNeeded, list(
				text("currency", "$.properties.currency"), number("value", "$.properties.value"), required(products()))),
			ecommerce("search", "Search", "A search for products.", "Products Searched", "search", currencyChecked, list(
				required(text("search_term", "$.properties.query")))),
			ecommerce("viewItemList", "View item list", "A list of products seen.", "Product List Viewed", "view_item_list", currencyChecked, list(
				text("item_list_id", "$.properties.list_id"), text("item_list_name", "$.properties.category"), required(products()))),
			ecommerce("signUp", "Sign up", "An account opened.", "Signed Up", "sign_up", currencyChecked, list(
				text("method", "$.properties.type"))),
			ecommerce("viewPromotion", "View promotion", "A promotion seen.", "Promotion Viewed", "view_promotion", currencyChecked, list(
				text("creative_name", ""), text("creative_slot", "$.properties.creative"), text("location_id", "$.properties.position"),
				text("promotion_id", "$.properties.promotion_id"), text("promotion_name", "$.properties.name"), required(promoted()))),
			ecommerce("addPaymentInfo", "Add payment info", "A way to pay chosen.", "Payment Info Entered", "add_payment_info", currencyAndItemsNeeded, list(
				text("currency", "$.properties.currency"), number("value", "$.properties.value"), text("coupon", ""),
				text("payment_type", "$.properties.payment_method"), required(products()))),
			ecommerce("refund", "Refund", "An order paid back.", "Order Refunded", "refund", currencyNeeded, list(
				text("currency", "$.properties.currency"), required(text("transaction_id", "$.properties.order_id")), number("value", "$.properties.total"),
				text("affiliation", "$.properties.affiliation"), text("coupon", ""), number("shipping", "$.properties.shipping"), number("tax", ""), products())),
			ecommerce("login", "Login", "A user signed in.", "Signed In", "login", currencyChecked, list(
				text("method", ""))),
			ecommerce("generateLead", "Generate lead", "A lead won.", "", "generate_lead", currencyIfValue, list(
				text("currency", "$.properties.currency"), number("value", "$.properties.value"))),
			ecommerce("addToWishlist", "Add to wishlist", "A product put onto the wishlist.", "Product Added to Wishlist", "add_to_wishlist", currencyNeeded, list(
				text("currency", "$.properties.currency"), number("value", "$.properties.value"), required(product()))),
		},
		Presets: []destination.Preset{
			{Name: "Order Completed", Action: "purchase", Subscribe: only("Order Completed")},
			{Name: "Product Added", Action: "addToCart", Subscribe: only("Product Added")},
			{Name: "Product Clicked", Action: "selectItem", Subscribe: only("Product Clicked")},
			{Name: "Checkout Started", Action: "beginCheckout", Subscribe: only("Checkout Started")},
			{Name: "Promotion Clicked", Action: "selectPromotion", Subscribe: only("Promotion Clicked")},
			{Name: "Product Viewed", Action: "viewItem", Subscribe: only("Product Viewed")},
			{Name: "Product Removed", Action: "removeFromCart", Subscribe: only("Product Removed")},
			{Name: "Cart Viewed", Action: "viewCart", Subscribe: only("Cart Viewed")},
			{Name: "Products Searched", Action: "search", Subscribe: only("Products Searched")},
			{Name: "Product List Viewed", Action: "viewItemList", Subscribe: only("Product List Viewed")},
			{Name: "Signed Up", Action: "signUp", Subscribe: only("Signed Up")},
			{Name: "Promotion Viewed", Action: "viewPromotion", Subscribe: only("Promotion Viewed")},
			{Name: "Payment Info Entered", Action: "addPaymentInfo", Subscribe: only("Payment Info Entered")},
			{Name: "Order Refunded", Action: "refund", Subscribe: only("Order Refunded")},
			{Name: "Signed In", Action: "login", Subscribe: only("Signed In")},
			{Name: "Product Added to Wishlist", Action: "addToWishlist", Subscribe: only("Product Added to Wishlist")},
			{Name: "Other track calls", Action: "customEvent", Mapping: map[string]mapping.Value{"params": plain()},
				Subscribe: `type = "track" and !(event in ["Order Completed", "Product Added", "Product Clicked", "Checkout Started", "Promotion Clicked", "Product Viewed", "Product Removed", "Cart Viewed", ` +
					`"Products Searched", "Product List Viewed", "Signed Up", "Promotion Viewed", "Payment Info Entered", "Order Refunded", "Signed In", "Product Added to Wishlist"])`},
			{Name: "Page calls", Action: "pageView", Subscribe: `type = "page"`},
			{Name: "Screen calls", Action: "customEvent", Subscribe: `type = "screen"`, Mapping: map[string]mapping.Value{
				"name": mapping.Literal("screen_view"), "params": mapping.Object(mapping.M("screen_name", mapping.Path("$.name")))}},
		},
	}.Destination()
}

func only(name string) string { return `type = "track" and event = "` + name + `"` }

// plain are an event's properties in the form that parameters have: no arrays,
// objects or nulls, names in lower case, and no more than there may be.
func plain() mapping.Value {
	return mapping.Limit(maxParams-1, "", mapping.KeyCase("snake", false, mapping.Compact(mapping.Flatten(mapping.Path("$.properties"), "_", false))))
}

func list(fs ...mapping.Field) []mapping.Field { return fs }

func text(key, path string) mapping.Field {
	return field(mapping.Field{Key: key, Type: mapping.TypeString}, path)
}

func number(key, path string) mapping.Field {
	return field(mapping.Field{Key: key, Type: mapping.TypeNumber}, path)
}

func field(f mapping.Field, path string) mapping.Field {
	if path != "" {
		f.Default = mapping.Path(path)
	}
	return f
}

func required(f mapping.Field) mapping.Field {
	f.Required = true
	return f
}

// products are those of an order or a cart, product the one an event is about.
func products() mapping.Field {
	return items("$.properties.products", mapping.M("index", mapping.Path("$.position")))
}

func product() mapping.Field { return items("$.properties") }

func promoted() mapping.Field {
	f := product()
	f.Properties = append(f.Properties, text("creative_name", ""), text("creative_slot", ""), text("promotion_name", ""), text("promotion_id", ""))
	return f
}

func items(path string, more ...mapping.Member) mapping.Field {
	return mapping.Field{
		Key: "items", Type: mapping.TypeObject, Multiple: true, AdditionalProperties: true,
		Default: mapping.ArrayPath(path, mapping.Object(append([]mapping.Member{
			mapping.M("item_id", mapping.Path("$.product_id")), mapping.M("item_name", mapping.Path("$.name")), mapping.M("affiliation", mapping.Path("$.affiliation")),
			mapping.M("coupon", mapping.Path("$.coupon")), mapping.M("item_brand", mapping.Path("$.brand")), mapping.M("item_category", mapping.Path("$.category")),
			mapping.M("item_variant", mapping.Path("$.variant")), mapping.M("price", mapping.Path("$.price")), mapping.M("quantity", mapping.Path("$.quantity")),
		}, more...)...)),
		Properties: list(
			text("item_id", ""), text("item_name", ""), text("affiliation", ""), text("coupon", ""), text("currency", ""), number("discount", ""), number("index", ""),
			text("item_brand", ""), text("item_category", ""), text("item_category2", ""), text("item_category3", ""), text("item_category4", ""), text("item_category5", ""),
			text("item_list_id", ""), text("item_list_name", ""), text("item_variant", ""), text("location_id", ""), number("price", ""),
			mapping.Field{Key: "quantity", Type: mapping.TypeInteger}),
	}
}

// fields are those that all actions have, and an action's own between them.
func fields(client string, own []mapping.Field) []mapping.Field {
	return slices.Concat(list(
		mapping.Field{Key: "data_stream_type", Type: mapping.TypeString, Choices: []string{"Web", "Mobile App"}, Default: mapping.Literal("Web")},
		text("app_instance_id", ""),
		mapping.Field{Key: client, Type: mapping.TypeString, Default: mapping.Paths("$.userId", "$.anonymousId")},
		text("user_id", ""),
		text("timestamp_micros", "$.timestamp"),
	), own, list(
		mapping.Field{Key: "user_properties", Type: mapping.TypeObject, AdditionalProperties: true},
		mapping.Field{Key: "engagement_time_msec", Type: mapping.TypeNumber, Default: mapping.Literal(1)},
		mapping.Field{Key: "params", Type: mapping.TypeObject, AdditionalProperties: true},
		mapping.Field{Key: "ad_user_data_consent", Type: mapping.TypeString, Choices: []string{"GRANTED", "DENIED"}},
		mapping.Field{Key: "ad_personalization_consent", Type: mapping.TypeString, Choices: []string{"GRANTED", "DENIED"}},
	))
}

// ecommerce is an action whose fields are the parameters of an event that
// Google knows. Without a trigger it is for all track calls.
func ecommerce(slug, title, doc, trigger, name string, r rule, own []mapping.Field) destination.CodedAction[Settings] {
	a := destination.CodedAction[Settings]{
		Slug: slug, Title: title, Doc: doc, Trigger: `type = "track"`, Fields: fields("client_id", own),
		Item: item(name, r, keys(own)), Request: collect, TimeField: "timestamp_micros",
	}
	if trigger != "" {
		a.Trigger = only(trigger)
	}
	return a
}

func keys(fs []mapping.Field) []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Key)
	}
	return out
}

func collect(s *Settings) destination.Request {
	return destination.Request{Path: "/mp/collect?measurement_id=" + url.QueryEscape(s.MeasurementID)}
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

// item writes the body of one event. Without a name it is that of the payload.
func item(name string, r rule, params []string) func(*Settings, *destination.Input, *destination.Output) {
	return func(s *Settings, in *destination.Input, out *destination.Output) {
		p := in.Payload
		key, id, ok := identity(s, p, out)
		if !ok {
			return
		}
		isName, writeName := isWord, writeWord
		if p.Get("lowercase").Bool() {
			isName, writeName = isLowerWord, writeLowerWord
		}
		problem := check(r, p)
		if v := p.Get("name"); name == "" && !(v.Exists() && v.Test(isName)) {
			problem = "Google does not take an event of the name " + strconv.Quote(normalize(v.Text(), p.Get("lowercase").Bool()))
		}
		if problem != "" {
			out.Reject(destination.Invalid, problem)
			return
		}
		out.BeginObject()
		out.Field(key, id)
		out.Field("user_id", p.Get("user_id"))
		if at := p.Get("timestamp_micros"); at.Exists() {
			out.Compute(at, writeTimestamp)
		}
		if props := p.Get("user_properties"); props.Kind() == event.Object {
			out.Key("user_properties")
			out.BeginObject()
			for k, v := range props.Members() {
				out.RawKey(k.Raw())
				out.BeginObject()
				out.Field("value", v)
				out.EndObject()
			}
			out.EndObject()
		}
		if data, ads := p.Get("ad_user_data_consent"), p.Get("ad_personalization_consent"); data.Exists() || ads.Exists() {
			out.Key("consent")
			out.BeginObject()
			out.Field("ad_user_data", data)
			out.Field("ad_personalization", ads)
			out.EndObject()
		}
		out.Key("events")
		out.BeginArray()
		out.BeginObject()
		out.Key("name")
		if name != "" {
			out.Text(name)
		} else {
			out.Compute(p.Get("name"), writeName)
		}
		out.Key("params")
		out.BeginObject()
		own, n := p.Get("params"), 0
		put := func(key string) {
			if v := p.Get(key); own.Get(key).Exists() {
				return
			} else if v.Exists() {
				out.Field(key, v)
				n++
			} else if key == "items" {
				out.RawField(key, []byte("[]"))
				n++
			}
		}
		for _, key := range params {
			put(key)
		}
		put("engagement_time_msec")
		out.Members(own)
		if n += own.Len(); n > maxParams {
			out.Reject(destination.Invalid, "the event has "+strconv.Itoa(n)+" parameters; Google takes "+strconv.Itoa(maxParams))
			return
		}
		out.EndObject()
		out.EndObject()
		out.EndArray()
		out.EndObject()
	}
}

// identity is who the event is of: a browser, or an installation of an app.
func identity(s *Settings, p *mapping.Payload, out *destination.Output) (key string, id event.Value, ok bool) {
	setting, of := s.MeasurementID, "measurement_id is required for web streams"
	if p.Get("data_stream_type").IsText("Mobile App") {
		key, id = "app_instance_id", p.Get("app_instance_id")
		setting, of = s.FirebaseAppID, "firebase_app_id is required for streams of mobile apps"
		out.Path = "/mp/collect?firebase_app_id=" + url.QueryEscape(s.FirebaseAppID)
	} else if key, id = "client_id", p.Get("client_id"); !id.Exists() {
		id = p.Get("clientId")
	}
	switch {
	case setting == "":
		out.Reject(destination.Invalid, of)
	case id.Falsy():
		out.Reject(destination.MissingIdentity, key+" is required")
	default:
		return key, id, true
	}
	return "", id, false
}

// writeTimestamp writes microseconds: a number as it is, anything else read as a
// time.
func writeTimestamp(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	if b, ok := v.Plain(); !ok || len(b) > 0 && b[len(b)-1] != 'Z' {
		if micros, err := strconv.ParseInt(v.Text(), 10, 64); err == nil {
			w.IntField("timestamp_micros", micros)
			return
		}
	}
	if at, ok := event.ParseTime(v); ok {
		w.IntField("timestamp_micros", at.UnixMilli()*1000)
	}
}

func isWord(v event.Value) bool      { return isEvent(normalize(v.Text(), false)) }
func isLowerWord(v event.Value) bool { return isEvent(normalize(v.Text(), true)) }

func writeWord(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	w.Text(normalize(v.Text(), false))
}

func writeLowerWord(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	w.Text(normalize(v.Text(), true))
}

// isEvent says that an event may have a name.
func isEvent(name string) bool { return nameOf(name, 40) && !slices.Contains(reserved[:], name) }

// check says what is wrong with an event, its name aside, or nothing.
func check(r rule, p *mapping.Payload) string {
	currency, list := p.Get("currency"), p.Get("items")
	if !currency.Falsy() && !currency.Test(isCurrency) {
		return currency.Text() + " is not a valid currency code"
	}
	if list.Len() > maxItems {
		return "the event has " + strconv.Itoa(list.Len()) + " items; Google takes " + strconv.Itoa(maxItems)
	}
	switch first := list.Index(0).Get("currency"); {
	case r >= currencyIfValue && !currency.Exists() && !p.Get("value").Falsy():
		return "a value needs a currency"
	case r == currencyAndItemsNeeded && list.Len() == 0:
		return "one or more products are required"
	case r == currencyNeeded && !currency.Exists() && first.Falsy(), r == currencyAndItemsNeeded && !currency.Exists() && !first.Exists():
		return "a currency is required, of the event or its first item"
	}
	for el := range list.Elements() {
		if !el.Get("item_name").Exists() && !el.Get("item_id").Exists() {
			return "an item needs a name or an id"
		}
		if c := el.Get("currency"); !c.Falsy() && !c.Test(isCurrency) {
			return c.Text() + " is not a valid currency code"
		}
	}
	for k, v := range p.Get("params").Members() {
		switch kind := v.Kind(); {
		case kind == event.Array && k.IsText("items"):
		case kind == event.Array || kind == event.Object || kind == event.Null:
			return "the parameter " + k.Text() + " is " + kind.String() + "; Google takes none"
		}
		if !nameOf(strings.TrimLeft(k.Text(), "_"), 40) {
			return "Google does not take a parameter of the name " + strconv.Quote(k.Text())
		}
	}
	properties := p.Get("user_properties")
	for k, v := range properties.Members() {
		if kind := v.Kind(); kind == event.Array || kind == event.Object {
			return "the user property " + k.Text() + " is " + kind.String() + "; Google takes none"
		}
		if !nameOf(k.Text(), 24) {
			return "Google does not take a user property of the name " + strconv.Quote(k.Text())
		}
	}
	if n := properties.Len(); n > maxParams {
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

// reserved are the names of events that Google keeps for itself.
// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#reserved_names
var reserved = [...]string{
	"ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data", "app_exception", "app_install", "app_remove",
	"app_store_refund", "app_update", "app_upgrade", "dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "firebase_campaign",
	"firebase_in_app_message_action", "firebase_in_app_message_dismiss", "firebase_in_app_message_impression", "first_open", "first_visit", "in_app_purchase",
	"notification_dismiss", "notification_foreground", "notification_open", "notification_receive", "notification_send", "os_update", "session_start", "user_engagement",
}

// normalize makes an event's name one word.
func normalize(name string, lower bool) string {
	name = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || c == '\ufeff' {
			return '_'
		}
		return c
	}, strings.TrimSpace(name))
	if lower {
		name = strings.ToLower(name)
	}
	return name
}

// currencies are the codes of ISO 4217.
const currencies = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK " +
	"DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD " +
	"MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLL SOS SRD SSP STN SVC SYP SZL " +
	"THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XDR XOF XPD XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWC"

func isCurrency(v event.Value) bool {
	code := v.Text()
	return len(code) == 3 && !strings.Contains(code, " ") && strings.Contains(currencies, strings.ToUpper(code))
}
