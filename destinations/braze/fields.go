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

// at is when an event happened. Segment's default is when Segment received it, which a
// backfill of an archive that was collected late would tell wrongly.
func at() field.Line { return field.Timestamp("time").Required() }

func brazeID() field.Line { return field.Text("braze_id").Nullable().From("$.properties.braze_id") }

func eventFields(last field.Line) field.Set {
	return field.Together(
		field.UserID("external_id"), field.Object("user_alias", alias()),
		field.Text("email").From("$.context.traits.email", "$.properties.email"), brazeID(),
		field.Text("name").Required().From("$.event"), at(), field.Object("properties").From("$.properties"), last,
	)
}

func purchaseFields(last field.Line) field.Set {
	return field.Together(
		field.UserID("external_id"), field.Object("user_alias", alias()), field.Texts("email = traits.email"),
		brazeID(), at(),
		field.Object("products", field.Text("product_id").Required(), field.Text("currency"),
			field.Number("price").Required(), field.Integer("quantity"),
		).List().Required().Open().From("$.properties.products"),
		field.Object("properties").From("$.properties"), last,
	)
}

func profileFields(last field.Line) field.Set {
	return field.Together(
		field.UserID("external_id"), field.Object("user_alias", alias()), brazeID(),
		field.Text("country").Nullable().From("$.context.location.country"),
		field.Object("current_location", field.Numbers("latitude = context.location.latitude",
			"longitude = context.location.longitude")).Nullable(),
		field.Time("date_of_first_session").Nullable(), field.Time("date_of_last_session").Nullable(),
		field.Time("dob").Nullable(), field.Text("email").Nullable().From("$.traits.email"), field.Text("email_subscribe"),
		field.Booleans("email_open_tracking_disabled", "email_click_tracking_disabled"),
		field.Object("facebook", field.Text("id"), field.Text("likes").List(), field.Integer("num_friends")),
		field.Texts("first_name = traits.firstName", "gender = traits.gender", "home_city = traits.address.city").
			With(field.Line.Nullable),
		field.Text("image_url").Nullable().Format("uri").From("$.traits.avatar"), field.Text("language").Nullable(),
		field.Texts("last_name = traits.lastName"), field.Time("marked_email_as_spam_at").Nullable(),
		field.Text("phone").Nullable().From("$.traits.phone"), field.Text("push_subscribe"),
		field.Object("push_tokens", field.Texts("app_id", "token").With(field.Line.Required), field.Text("device_id")).List(),
		field.Text("time_zone"),
		field.Object("twitter", field.Texts("id", "screen_name"), field.Integer("followers_count"),
			field.Integer("friends_count"), field.Integer("statuses_count")),
		field.Object("subscription_groups", field.Text("subscription_group_id").Required(),
			field.Text("subscription_state").Required().OneOf("subscribed", "unsubscribed")).List(),
		field.Object("custom_attributes").From("$.traits"), last,
	)
}

func priorities(choices ...string) field.Lines {
	return field.Texts("first_priority", "second_priority").
		With(func(l field.Line) field.Line { return l.OneOf(choices...) })
}

// triggerFields are those of the two endpoints that send messages: of, what
// is sent; with, what it is filled from.
func triggerFields(of, with string, alias field.Lines, change func(broadcast, recipients field.Line) field.Lines,
	last ...field.Line) field.Set {
	recipients := field.Object("recipients",
		field.Text("external_user_id"), field.Object("user_alias", alias), field.Text("email"), field.Object(with),
		field.Boolean("send_to_existing_only"), field.Object("attributes"),
	).List()
	broadcast := field.Boolean("broadcast").Doc("To everybody that the audience of the campaign or canvas takes in.")
	return field.Together(
		field.Text(of).Required(), field.Object(with).From("$.properties"), change(broadcast, recipients),
		field.Object("prioritization", priorities("identified", "unidentified", "most_recently_updated",
			"least_recently_updated")),
		field.Object("audience"), field.Lines(last),
	)
}

func campaignFields() field.Set {
	return triggerFields("campaign_id", "trigger_properties", nil, func(broadcast, recipients field.Line) field.Lines {
		return field.Lines{broadcast.RequiredUnless("recipients", "audience"), recipients}
	}, field.Text("send_id"),
		field.Object("attachments", field.Texts("file_name", "url").With(field.Line.Required)).List())
}

func canvasFields() field.Set {
	return triggerFields("canvas_id", "canvas_entry_properties", alias(),
		func(broadcast, recipients field.Line) field.Lines {
			return field.Lines{broadcast, recipients.RequiredUntil("broadcast", true)}
		})
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
	return field.Together(
		field.Text("name").Required().OneOf(viewed, cart, checkout, placed, cancelled, refunded),
		field.UserID("external_id"), field.Object("user_alias", alias().With(field.Line.Required)),
		field.Text("email").Email().From("$.context.traits.email", "$.properties.email"),
		field.Text("phone").Nullable().From("$.context.traits.phone", "$.properties.phone"),
		field.Text("braze_id").Nullable().From("$.context.traits.braze_id", "$.properties.braze_id"),
		field.Text("cancel_reason").From("$.properties.reason").RequiredWhen("name", cancelled),
		field.Text("time").Required().Format("date-time").From("$.timestamp"),
		field.Text("checkout_id").From("$.properties.checkout_id").RequiredWhen("name", checkout),
		field.Text("order_id").From("$.properties.order_id").RequiredWhen("name", placed, cancelled, refunded),
		field.Text("cart_id").From("$.properties.cart_id").RequiredWhen("name", cart),
		field.Number("total_value").From("$.properties.total").RequiredWhen("name", checkout, placed, cancelled, refunded),
		field.Text("action").OneOf("add", "remove", "replace").From("$.properties.action"),
		field.Number("subtotal_value").From("$.properties.subtotal"), field.Numbers("tax", "shipping").Below("$.properties"),
		field.Number("total_discounts").From("$.properties.discount"),
		field.Object("discounts", field.Text("code").Required().From("$.code"),
			field.Number("amount").Required().From("$.amount")).EachOf("$.properties.discount_items"),
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
	return shopFields(field.Object("products", product("$."), field.Number("quantity").Required().From("$.quantity")).
		EachOf("$.properties.products").Required().Open())
}

func singleFields() field.Set {
	return shopFields(
		field.Text("catalog_type").List().OneOf("price_drop", "back_in_stock").From("$.properties.type"),
		field.Object("product", product("$.properties.")).Required(),
	)
}
