package braze

import (
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/mapping"
)

// syncMode is where Segment's mappings say whether an action may make a new
// profile.
const syncMode = "__segment_internal_sync_mode"

func mode(standard string) mapping.Field {
	return mapping.Field{Key: syncMode, Label: "Sync mode", Doc: "add makes a profile for a user that Braze does not know; update leaves such a user out.", Type: mapping.TypeString, Default: mapping.Literal(standard)}
}

func existingOnly() mapping.Field {
	return mapping.Field{Key: "_update_existing_only", Doc: "Leave out users that Braze does not know.", Type: mapping.TypeBoolean, Default: mapping.Literal(false)}
}

func alias(required bool) []mapping.Field {
	return []mapping.Field{{Key: "alias_name", Type: mapping.TypeString, Required: required}, {Key: "alias_label", Type: mapping.TypeString, Required: required}}
}

func objectOf(key string, of ...mapping.Field) mapping.Field {
	return mapping.Field{Key: key, Type: mapping.TypeObject, Properties: of}
}

func listOf(key string, of ...mapping.Field) mapping.Field {
	return mapping.Field{Key: key, Type: mapping.TypeObject, Multiple: true, Properties: of}
}

// at is when an event happened: Segment's default, and for events that no
// Segment has received their own timestamp.
func at() mapping.Field {
	return mapping.Field{Key: "time", Type: mapping.TypeDatetime, Required: true, Default: mapping.Paths("$.receivedAt", "$.timestamp")}
}

func eventFields(last ...mapping.Field) []mapping.Field {
	return slices.Concat([]mapping.Field{
		{Key: "external_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
		objectOf("user_alias", alias(false)...),
		{Key: "email", Type: mapping.TypeString, Default: mapping.Paths("$.context.traits.email", "$.properties.email")},
		{Key: "braze_id", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.properties.braze_id")},
		{Key: "name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
		at(),
		{Key: "properties", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
	}, last)
}

func purchaseFields(last ...mapping.Field) []mapping.Field {
	return slices.Concat([]mapping.Field{
		{Key: "external_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
		objectOf("user_alias", alias(false)...),
		{Key: "email", Type: mapping.TypeString, Default: mapping.Path("$.traits.email")},
		{Key: "braze_id", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.properties.braze_id")},
		at(),
		{Key: "products", Type: mapping.TypeObject, Required: true, Multiple: true, AdditionalProperties: true, Default: mapping.Path("$.properties.products"), Properties: []mapping.Field{
			{Key: "product_id", Type: mapping.TypeString, Required: true},
			{Key: "currency", Type: mapping.TypeString},
			{Key: "price", Type: mapping.TypeNumber, Required: true},
			{Key: "quantity", Type: mapping.TypeInteger},
		}},
		{Key: "properties", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
	}, last)
}

func profileFields(last ...mapping.Field) []mapping.Field {
	return slices.Concat([]mapping.Field{
		{Key: "external_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
		objectOf("user_alias", alias(false)...),
		{Key: "braze_id", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.properties.braze_id")},
		{Key: "country", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.context.location.country")},
		{Key: "current_location", Type: mapping.TypeObject, AllowNull: true, Default: mapping.Object(mapping.M("latitude", mapping.Path("$.context.location.latitude")), mapping.M("longitude", mapping.Path("$.context.location.longitude"))), Properties: []mapping.Field{
			{Key: "latitude", Type: mapping.TypeNumber},
			{Key: "longitude", Type: mapping.TypeNumber},
		}},
		{Key: "date_of_first_session", Type: mapping.TypeDatetime, AllowNull: true},
		{Key: "date_of_last_session", Type: mapping.TypeDatetime, AllowNull: true},
		{Key: "dob", Type: mapping.TypeDatetime, AllowNull: true},
		{Key: "email", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.traits.email")},
		{Key: "email_subscribe", Type: mapping.TypeString},
		{Key: "email_open_tracking_disabled", Type: mapping.TypeBoolean},
		{Key: "email_click_tracking_disabled", Type: mapping.TypeBoolean},
		objectOf("facebook", mapping.Field{Key: "id", Type: mapping.TypeString}, mapping.Field{Key: "likes", Type: mapping.TypeString, Multiple: true}, mapping.Field{Key: "num_friends", Type: mapping.TypeInteger}),
		{Key: "first_name", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.traits.firstName")},
		{Key: "gender", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.traits.gender")},
		{Key: "home_city", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.traits.address.city")},
		{Key: "image_url", Type: mapping.TypeString, AllowNull: true, Format: "uri", Default: mapping.Path("$.traits.avatar")},
		{Key: "language", Type: mapping.TypeString, AllowNull: true},
		{Key: "last_name", Type: mapping.TypeString, Default: mapping.Path("$.traits.lastName")},
		{Key: "marked_email_as_spam_at", Type: mapping.TypeDatetime, AllowNull: true},
		{Key: "phone", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.traits.phone")},
		{Key: "push_subscribe", Type: mapping.TypeString},
		listOf("push_tokens", mapping.Field{Key: "app_id", Type: mapping.TypeString, Required: true}, mapping.Field{Key: "token", Type: mapping.TypeString, Required: true}, mapping.Field{Key: "device_id", Type: mapping.TypeString}),
		{Key: "time_zone", Type: mapping.TypeString},
		objectOf("twitter", mapping.Field{Key: "id", Type: mapping.TypeString}, mapping.Field{Key: "screen_name", Type: mapping.TypeString},
			mapping.Field{Key: "followers_count", Type: mapping.TypeInteger}, mapping.Field{Key: "friends_count", Type: mapping.TypeInteger}, mapping.Field{Key: "statuses_count", Type: mapping.TypeInteger}),
		listOf("subscription_groups", mapping.Field{Key: "subscription_group_id", Type: mapping.TypeString, Required: true},
			mapping.Field{Key: "subscription_state", Type: mapping.TypeString, Required: true, Choices: []string{"subscribed", "unsubscribed"}}),
		{Key: "custom_attributes", Type: mapping.TypeObject, Default: mapping.Path("$.traits")},
	}, last)
}

func aliasFields(last ...mapping.Field) []mapping.Field {
	return slices.Concat([]mapping.Field{
		{Key: "external_id", Type: mapping.TypeString, AllowNull: true},
		{Key: "alias_name", Type: mapping.TypeString, Required: true},
		{Key: "alias_label", Type: mapping.TypeString, Required: true},
	}, last)
}

func mergeBehavior() mapping.Field {
	return mapping.Field{Key: "merge_behavior", Doc: "merge keeps what only the anonymous profile has.", Type: mapping.TypeString, Choices: []string{"none", "merge"}}
}

func identifyFields() []mapping.Field {
	return []mapping.Field{
		{Key: "external_id", Type: mapping.TypeString, Required: true},
		{Key: "user_alias", Type: mapping.TypeObject, Required: true, Properties: alias(true)},
		mergeBehavior(),
	}
}

func identifyFields2() []mapping.Field {
	return []mapping.Field{
		{Key: "external_id", Type: mapping.TypeString, Required: true},
		{Key: "user_alias", Type: mapping.TypeObject, RequiredIf: when(mapping.Test{Field: "email_to_identify"}), Properties: alias(true)},
		{Key: "email_to_identify", Type: mapping.TypeString, RequiredIf: when(mapping.Test{Field: "user_alias"})},
		{Key: "prioritization", Type: mapping.TypeObject, RequiredIf: when(mapping.Test{Field: "email_to_identify", Not: true}), Properties: priorities("unidentified", "most_recently_updated", "least_recently_updated")},
		mergeBehavior(), mode("add"),
	}
}

func when(tests ...mapping.Test) *mapping.Condition {
	return &mapping.Condition{All: true, Tests: tests}
}

func priorities(choices ...string) []mapping.Field {
	return []mapping.Field{{Key: "first_priority", Type: mapping.TypeString, Choices: choices}, {Key: "second_priority", Type: mapping.TypeString, Choices: choices}}
}

// triggerFields are those of the two endpoints that send messages: of, what
// is sent; with, what it is filled from.
func triggerFields(of, with string, alias []mapping.Field, broadcast, recipients *mapping.Condition, last ...mapping.Field) []mapping.Field {
	return slices.Concat([]mapping.Field{
		{Key: of, Type: mapping.TypeString, Required: true},
		{Key: with, Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
		{Key: "broadcast", Doc: "To everybody that the audience of the campaign or canvas takes in.", Type: mapping.TypeBoolean, RequiredIf: broadcast},
		{Key: "recipients", Type: mapping.TypeObject, Multiple: true, RequiredIf: recipients, Properties: []mapping.Field{
			{Key: "external_user_id", Type: mapping.TypeString},
			objectOf("user_alias", alias...),
			{Key: "email", Type: mapping.TypeString},
			{Key: with, Type: mapping.TypeObject},
			{Key: "send_to_existing_only", Type: mapping.TypeBoolean},
			{Key: "attributes", Type: mapping.TypeObject},
		}},
		{Key: "prioritization", Type: mapping.TypeObject, Properties: priorities("identified", "unidentified", "most_recently_updated", "least_recently_updated")},
		{Key: "audience", Type: mapping.TypeObject},
	}, last)
}

func campaignFields() []mapping.Field {
	return triggerFields("campaign_id", "trigger_properties", nil, when(mapping.Test{Field: "recipients"}, mapping.Test{Field: "audience"}), nil,
		mapping.Field{Key: "send_id", Type: mapping.TypeString},
		listOf("attachments", mapping.Field{Key: "file_name", Type: mapping.TypeString, Required: true}, mapping.Field{Key: "url", Type: mapping.TypeString, Required: true}))
}

func canvasFields() []mapping.Field {
	return triggerFields("canvas_id", "canvas_entry_properties", alias(false), nil, when(mapping.Test{Field: "broadcast", Not: true, Value: mapping.Literal(true)}))
}

// Braze's names of e-commerce events.
// https://www.braze.com/docs/user_guide/data/activation/custom_data/recommended_events/ecommerce_events
const (
	viewed    = "ecommerce.product_viewed"
	cart      = "ecommerce.cart_updated"
	checkout  = "ecommerce.checkout_started"
	placed    = "ecommerce.order_placed"
	cancelled = "ecommerce.order_cancelled"
	refunded  = "ecommerce.order_refunded"
)

// named is the condition that the event has one of these names.
func named(is ...mapping.Test) *mapping.Condition { return &mapping.Condition{Tests: is} }

func name(is string) mapping.Test { return mapping.Test{Field: "name", Value: mapping.Literal(is)} }

func shopFields(last ...mapping.Field) []mapping.Field {
	return slices.Concat([]mapping.Field{
		{Key: "name", Type: mapping.TypeString, Required: true, Choices: []string{viewed, cart, checkout, placed, cancelled, refunded}},
		{Key: "external_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
		objectOf("user_alias", alias(true)...),
		{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Paths("$.context.traits.email", "$.properties.email")},
		{Key: "phone", Type: mapping.TypeString, AllowNull: true, Default: mapping.Paths("$.context.traits.phone", "$.properties.phone")},
		{Key: "braze_id", Type: mapping.TypeString, AllowNull: true, Default: mapping.Paths("$.context.traits.braze_id", "$.properties.braze_id")},
		{Key: "cancel_reason", Type: mapping.TypeString, RequiredIf: named(name(cancelled)), Default: mapping.Path("$.properties.reason")},
		{Key: "time", Type: mapping.TypeString, Required: true, Format: "date-time", Default: mapping.Path("$.timestamp")},
		{Key: "checkout_id", Type: mapping.TypeString, RequiredIf: named(name(checkout)), Default: mapping.Path("$.properties.checkout_id")},
		{Key: "order_id", Type: mapping.TypeString, RequiredIf: named(name(placed), name(cancelled), name(refunded)), Default: mapping.Path("$.properties.order_id")},
		{Key: "cart_id", Type: mapping.TypeString, RequiredIf: named(name(cart)), Default: mapping.Path("$.properties.cart_id")},
		{Key: "total_value", Type: mapping.TypeNumber, RequiredIf: named(name(checkout), name(placed), name(cancelled), name(refunded)), Default: mapping.Path("$.properties.total")},
		{Key: "action", Type: mapping.TypeString, Choices: []string{"add", "remove", "replace"}, Default: mapping.Path("$.properties.action")},
		{Key: "subtotal_value", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.subtotal")},
		{Key: "tax", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.tax")},
		{Key: "shipping", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.shipping")},
		{Key: "total_discounts", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.discount")},
		{Key: "discounts", Type: mapping.TypeObject, Multiple: true, Default: mapping.ArrayPath("$.properties.discount_items", mapping.Object(mapping.M("code", mapping.Path("$.code")), mapping.M("amount", mapping.Path("$.amount")))), Properties: []mapping.Field{
			{Key: "code", Type: mapping.TypeString, Required: true},
			{Key: "amount", Type: mapping.TypeNumber, Required: true},
		}},
		{Key: "currency", Type: mapping.TypeString, Required: true, Choices: currencies(), Default: mapping.Path("$.properties.currency")},
		{Key: "source", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.properties.source")},
		{Key: "metadata", Type: mapping.TypeObject, AdditionalProperties: true},
	}, last, []mapping.Field{mode("add")})
}

func productFields(last ...mapping.Field) []mapping.Field {
	return slices.Concat([]mapping.Field{
		{Key: "product_id", Type: mapping.TypeString, Required: true},
		{Key: "product_name", Type: mapping.TypeString, Required: true},
		{Key: "variant_id", Type: mapping.TypeString, Required: true},
		{Key: "image_url", Type: mapping.TypeString, Format: "uri"},
		{Key: "product_url", Type: mapping.TypeString, Format: "uri"},
		{Key: "price", Type: mapping.TypeNumber, Required: true},
	}, last)
}

// product takes a product's members from below a path.
func product(from string, more ...mapping.Member) mapping.Value {
	return mapping.Object(slices.Concat([]mapping.Member{
		mapping.M("product_id", mapping.Path(from+"product_id")), mapping.M("product_name", mapping.Path(from+"name")), mapping.M("variant_id", mapping.Path(from+"variant")),
		mapping.M("image_url", mapping.Path(from+"image_url")), mapping.M("product_url", mapping.Path(from+"url")), mapping.M("price", mapping.Path(from+"price")),
	}, more)...)
}

func ecommerceFields() []mapping.Field {
	return shopFields(mapping.Field{Key: "products", Type: mapping.TypeObject, Required: true, Multiple: true, AdditionalProperties: true,
		Default:    mapping.ArrayPath("$.properties.products", product("$.", mapping.M("quantity", mapping.Path("$.quantity")))),
		Properties: productFields(mapping.Field{Key: "quantity", Type: mapping.TypeNumber, Required: true})})
}

func singleFields() []mapping.Field {
	return shopFields(
		mapping.Field{Key: "catalog_type", Type: mapping.TypeString, Multiple: true, Choices: []string{"price_drop", "back_in_stock"}, Default: mapping.Path("$.properties.type")},
		mapping.Field{Key: "product", Type: mapping.TypeObject, Required: true, Default: product("$.properties."), Properties: productFields()})
}

// currencies are the codes that Braze takes in e-commerce events.
func currencies() []string {
	return strings.Fields("AFN EUR ALL DZD USD AOA XCD XAD ARS AMD AWG AUD AZN BSD BHD BDT BBD BYN BZD XOF BMD INR BTN BOB BOV BAM BWP NOK BRL BND BGN BIF CVE KHR XAF CAD KYD CLP CLF CNY " +
		"COP COU KMF CDF NZD CRC CUP XCG CZK DKK DJF DOP EGP SVC ERN SZL ETB FKP FJD XPF GMD GEL GHS GIP GTQ GBP GNF GYD HTG HNL HKD HUF ISK IDR XDR IRR IQD ILS JMD JPY " +
		"JOD KZT KES KPW KRW KWD KGS LAK LBP LSL ZAR LRD LYD CHF MOP MGA MWK MYR MVR MRU MUR XUA MXN MXV MDL MNT MAD MZN MMK NAD NPR NIO NGN MKD OMR PKR PAB PGK PYG PEN " +
		"PHP PLN QAR RON RUB RWF SHP WST STN SAR RSD SCR SLE SGD XSU SBD SOS SSP LKR SDG SRD SEK CHE CHW SYP TWD TJS TZS THB TOP TTD TND TRY TMT UGX UAH AED USN UYU UYI " +
		"UYW UZS VUV VES VED VND YER ZMW ZWG")
}
