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
		field.Texts("app_name = context.app.name", "app_namespace = context.app.namespace", "app_build = context.app.build",
			"app_version = context.app.version", "os_name = context.os.name", "os_version = context.os.version",
			"device_id = context.device.id", "device_type = context.device.type", "device_name = context.device.name",
			"device_manufacturer = context.device.manufacturer", "device_model = context.device.model"),
		field.Booleans("bluetooth", "cellular", "wifi").Below("$.context.network"),
		field.Texts("carrier = context.network.carrier", "country = context.location.country",
			"region = context.location.region",
			"language = context.locale", "library_name = context.library.name", "library_version = context.library.version"),
		field.IP("ip"), field.Text("idfa").From("$.context.device.advertisingId", "$.context.device.idfa"),
		field.PageURL("url"),
		field.Numbers("screen_width = context.screen.width", "screen_height = context.screen.height",
			"screen_density = context.screen.density"),
		field.UserAgent("userAgent"),
		field.Texts("referrer = context.page.referrer", "advertising_id = context.device.advertisingId",
			"ad_tracking_enabled = context.device.adTrackingEnabled", "timezone = context.timezone",
			"app_platform = context.app.platform"),
		field.Text("name").From("$.event", "$.name"),
		field.Object("event_properties").From("$.properties"),
		field.Object("context").From("$.context"),
		field.Object("utm_properties", field.Campaign("")),
		field.Object("userAgentData",
			field.Together(
				field.Boolean("mobile"), field.Texts("platform", "architecture", "bitness", "model", "platformVersion",
					"uaFullVersion"), field.Boolean("wow64"),
			).Below("$.context.userAgentData"),
		),
	)
}

// purchaseFields are the further ones of an order.
func purchaseFields() field.Set {
	return field.Together(
		field.Boolean("generatePurchaseEventPerProduct").Always(true),
		field.Products("products", field.Together(
			field.Texts("product_id", "sku", "category", "name", "brand", "variant"), field.Number("price"),
			field.Integer("quantity"),
			field.Text("coupon"), field.Number("position"), field.Texts("url", "image_url"),
		).Below("")).Open(),
	)
}
