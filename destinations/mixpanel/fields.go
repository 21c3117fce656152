package mixpanel

import "github.com/fanfold/fanfold/pkg/field"

// eventFields are what an event of any kind carries.
func eventFields() field.Set {
	return field.Together(
		field.Text("event").Required().From("$.event"),
		field.AnyID("distinct_id"),
		field.AnonymousID("anonymous_id"),
		field.UserID("user_id"),
		field.Text("group_id").From("$.context.groupId"),
		field.MessageID("insert_id"),
		field.Timestamp("time"),
		field.Text("app_name").From("$.context.app.name"),
		field.Text("app_namespace").From("$.context.app.namespace"),
		field.Text("app_build").From("$.context.app.build"),
		field.Text("app_version").From("$.context.app.version"),
		field.Text("os_name").From("$.context.os.name"),
		field.Text("os_version").From("$.context.os.version"),
		field.Text("device_id").From("$.context.device.id"),
		field.Text("device_type").From("$.context.device.type"),
		field.Text("device_name").From("$.context.device.name"),
		field.Text("device_manufacturer").From("$.context.device.manufacturer"),
		field.Text("device_model").From("$.context.device.model"),
		field.Boolean("bluetooth").From("$.context.network.bluetooth"),
		field.Text("carrier").From("$.context.network.carrier"),
		field.Boolean("cellular").From("$.context.network.cellular"),
		field.Boolean("wifi").From("$.context.network.wifi"),
		field.Text("country").From("$.context.location.country"),
		field.Text("region").From("$.context.location.region"),
		field.Text("language").From("$.context.locale"),
		field.Text("library_name").From("$.context.library.name"),
		field.Text("library_version").From("$.context.library.version"),
		field.IP("ip"),
		field.Text("idfa").From("$.context.device.advertisingId", "$.context.device.idfa"),
		field.PageURL("url"),
		field.Number("screen_width").From("$.context.screen.width"),
		field.Number("screen_height").From("$.context.screen.height"),
		field.Number("screen_density").From("$.context.screen.density"),
		field.Text("referrer").From("$.context.page.referrer"),
		field.UserAgent("userAgent"),
		field.Text("advertising_id").From("$.context.device.advertisingId"),
		field.Text("ad_tracking_enabled").From("$.context.device.adTrackingEnabled"),
		field.Text("timezone").From("$.context.timezone"),
		field.Text("app_platform").From("$.context.app.platform"),
		field.Text("name").From("$.event", "$.name"),
		field.Object("event_properties").From("$.properties"),
		field.Object("context").From("$.context"),
		field.Object("utm_properties",
			field.Text("utm_source").From("$.context.campaign.source"),
			field.Text("utm_medium").From("$.context.campaign.medium"),
			field.Text("utm_campaign").From("$.context.campaign.name"),
			field.Text("utm_term").From("$.context.campaign.term"),
			field.Text("utm_content").From("$.context.campaign.content"),
		),
		field.Object("userAgentData",
			field.Together(
				field.Boolean("mobile"), field.Texts("platform", "architecture", "bitness", "model", "platformVersion", "uaFullVersion"), field.Boolean("wow64"),
			).Below("$.context.userAgentData"),
		),
	)
}

// purchaseFields are the further ones of an order.
func purchaseFields() field.Set {
	return field.Together(
		field.Boolean("generatePurchaseEventPerProduct").Always(true),
		field.Products("products", field.Together(
			field.Texts("product_id", "sku", "category", "name", "brand", "variant"), field.Number("price"), field.Integer("quantity"),
			field.Text("coupon"), field.Number("position"), field.Texts("url", "image_url"),
		).Below("")).Open(),
	)
}
