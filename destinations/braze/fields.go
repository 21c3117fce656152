package braze

import (
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// syncMode is where Segment's mappings say whether an action may make a new
// profile.
const syncMode = "__segment_internal_sync_mode"

func mode(standard string) field.Line {
	return field.Text(syncMode).Label("Sync mode").
		Doc("add makes a profile for a user that Braze does not know; update leaves such a user out.").Always(standard)
}

func existingOnly() field.Line {
	return field.Boolean("_update_existing_only").Doc("Leave out users that Braze does not know.").Always(false)
}

func alias() field.Lines { return field.Texts("alias_name", "alias_label") }

// ids say who it is about. Every action needs one of them.
func ids() field.Lines {
	return field.Together(field.UserID("external_id"), field.Object("user_alias", alias()))
}

// at is when an event happened. Segment's default is when Segment received it, which a
// backfill of an archive that was collected late would tell wrongly.
func at() field.Line { return field.Timestamp("time").Required() }

func brazeID() field.Line { return field.Text("braze_id").Nullable().From("$.properties.braze_id") }

func eventFields(last field.Line) field.Set {
	return field.Together(
		ids(), field.Texts("email = context.traits.email, properties.email"), brazeID(),
		field.Text("name").Required().From("$.event"), at(), field.Object("properties").From("$.properties"), last,
	)
}

func purchaseFields(last field.Line) field.Set {
	return field.Together(
		ids(), field.Texts("email = traits.email"), brazeID(), at(),
		field.Object("products", field.Text("product_id").Required(), field.Text("currency"),
			field.Number("price").Required(), field.Integer("quantity"),
		).List().Required().Open().From("$.properties.products"),
		field.Object("properties").From("$.properties"), last,
	)
}

func profileFields(last field.Line) field.Set {
	null := func(sets ...field.Set) field.Lines { return field.Together(sets...).With(field.Line.Nullable) }
	return field.Together(
		ids(), brazeID(),
		null(field.Texts("country = context.location.country"), field.Object("current_location",
			field.Numbers("latitude", "longitude").Below("$.context.location")),
			field.Time("date_of_first_session"), field.Time("date_of_last_session"), field.Time("dob"),
			field.Texts("email = traits.email")),
		field.Text("email_subscribe"), field.Booleans("email_open_tracking_disabled", "email_click_tracking_disabled"),
		field.Object("facebook", field.Text("id"), field.Text("likes").List(), field.Integer("num_friends")),
		null(field.Texts("first_name = traits.firstName", "gender = traits.gender", "home_city = traits.address.city"),
			field.Text("image_url").Format("uri").From("$.traits.avatar"), field.Text("language")),
		field.Texts("last_name = traits.lastName"),
		null(field.Time("marked_email_as_spam_at"), field.Texts("phone = traits.phone")), field.Text("push_subscribe"),
		field.Object("push_tokens", field.Texts("app_id", "token").With(field.Line.Required), field.Text("device_id")).List(),
		field.Text("time_zone"), field.Object("twitter", field.Texts("id", "screen_name"),
			field.Integers("followers_count", "friends_count", "statuses_count")),
		field.Object("subscription_groups", field.Text("subscription_group_id").Required(),
			field.Text("subscription_state").Required().OneOf("subscribed", "unsubscribed")).List(),
		field.Object("custom_attributes").From("$.traits"), last,
	)
}

func priorities(choices ...string) field.Lines {
	return field.Texts("first_priority", "second_priority").
		With(func(l field.Line) field.Line { return l.OneOf(choices...) })
}

// recipients are those of a message that is filled from the fields in with.
func recipients(with string, alias field.Lines) field.Line {
	return field.Object("recipients", field.Text("external_user_id"), field.Object("user_alias", alias),
		field.Text("email"), field.Object(with), field.Boolean("send_to_existing_only"), field.Object("attributes")).List()
}

func broadcast() field.Line {
	return field.Boolean("broadcast").Doc("To everybody that the audience of the campaign or canvas takes in.")
}

// audience are the last of the fields that both endpoints for messages have.
func audience() field.Lines {
	return field.Lines{field.Object("prioritization", priorities("identified", "unidentified", "most_recently_updated",
		"least_recently_updated")), field.Object("audience")}
}

func campaignFields() field.Set {
	const with = "trigger_properties"
	return field.Together(
		field.Text("campaign_id").Required(), field.Object(with).From("$.properties"),
		broadcast().RequiredUnless("recipients", "audience"), recipients(with, nil), audience(), field.Text("send_id"),
		field.Object("attachments", field.Texts("file_name", "url").With(field.Line.Required)).List(),
	)
}

func canvasFields() field.Set {
	const with = "canvas_entry_properties"
	return field.Together(
		field.Text("canvas_id").Required(), field.Object(with).From("$.properties"), broadcast(),
		recipients(with, alias()).RequiredUntil("broadcast", true), audience(),
	)
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

func shopFields(own ...field.Set) field.Set {
	person, order := []string{"$.context.traits", "$.properties"}, "$.properties"
	return field.Together(
		field.Text("name").Required().OneOf(viewed, cart, checkout, placed, cancelled, refunded),
		field.UserID("external_id"), field.Object("user_alias", alias().With(field.Line.Required)),
		field.Texts("email").Below(person...).With(field.Line.Email),
		field.Texts("phone", "braze_id").Below(person...).With(field.Line.Nullable),
		field.Text("cancel_reason").From("$.properties.reason").RequiredWhen("name", cancelled),
		field.Text("time").Required().Format("date-time").From("$.timestamp"),
		field.Together(field.Text("checkout_id").RequiredWhen("name", checkout),
			field.Text("order_id").RequiredWhen("name", placed, cancelled, refunded),
			field.Text("cart_id").RequiredWhen("name", cart)).Below(order),
		field.Number("total_value").From("$.properties.total").RequiredWhen("name", checkout, placed, cancelled, refunded),
		field.Text("action").OneOf("add", "remove", "replace").From("$.properties.action"),
		field.Numbers("subtotal_value = .subtotal", "tax", "shipping", "total_discounts = .discount").Below(order),
		field.Object("discounts", field.Texts("code = code").With(field.Line.Required),
			field.Numbers("amount = amount").With(field.Line.Required)).EachOf("$.properties.discount_items"),
		field.Text("currency").Required().Doc("A code of ISO 4217.").
			Mapped(mapping.Upper(mapping.Path("$.properties.currency"))),
		field.Text("source").Required().From("$.properties.source", "$.context.page.url", "$.context.app.name",
			"$.context.library.name").Else("fanfold"), field.Object("metadata").Open(),
		field.Together(own...), mode("add"),
	)
}

// product takes a product's members from below a path.
func product(from string) field.Lines {
	return field.Lines{
		field.Text("product_id").Required().From(from+"product_id", from+"sku"),
		field.Text("product_name").Required().From(from + "name"),
		field.Text("variant_id").Required().From(from+"variant", from+"sku", from+"product_id"),
		field.Text("image_url").Format("uri").From(from + "image_url"),
		field.Text("product_url").Format("uri").From(from + "url"), field.Number("price").Required().From(from + "price"),
	}
}

func ecommerceFields() field.Set {
	return shopFields(field.Products("products", product("$."), field.Number("quantity").Required().From("$.quantity")).
		Required().Open())
}

func singleFields() field.Set {
	return shopFields(
		field.Text("catalog_type").List().OneOf("price_drop", "back_in_stock").From("$.properties.type"),
		field.Object("product", product("$.properties.")).Required(),
	)
}
