package mixpanel

import "github.com/fanfold/fanfold/pkg/mapping"

// eventFields are what an event of any kind carries.
func eventFields() []mapping.Field {
	return []mapping.Field{
		{Key: "event", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
		{Key: "distinct_id", Type: mapping.TypeString, Default: mapping.Paths("$.userId", "$.anonymousId")},
		{Key: "anonymous_id", Type: mapping.TypeString, Default: mapping.Path("$.anonymousId")},
		{Key: "user_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
		{Key: "group_id", Type: mapping.TypeString, Default: mapping.Path("$.context.groupId")},
		{Key: "insert_id", Type: mapping.TypeString, Default: mapping.Path("$.messageId")},
		{Key: "time", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")},
		{Key: "app_name", Type: mapping.TypeString, Default: mapping.Path("$.context.app.name")},
		{Key: "app_namespace", Type: mapping.TypeString, Default: mapping.Path("$.context.app.namespace")},
		{Key: "app_build", Type: mapping.TypeString, Default: mapping.Path("$.context.app.build")},
		{Key: "app_version", Type: mapping.TypeString, Default: mapping.Path("$.context.app.version")},
		{Key: "os_name", Type: mapping.TypeString, Default: mapping.Path("$.context.os.name")},
		{Key: "os_version", Type: mapping.TypeString, Default: mapping.Path("$.context.os.version")},
		{Key: "device_id", Type: mapping.TypeString, Default: mapping.Path("$.context.device.id")},
		{Key: "device_type", Type: mapping.TypeString, Default: mapping.Path("$.context.device.type")},
		{Key: "device_name", Type: mapping.TypeString, Default: mapping.Path("$.context.device.name")},
		{Key: "device_manufacturer", Type: mapping.TypeString, Default: mapping.Path("$.context.device.manufacturer")},
		{Key: "device_model", Type: mapping.TypeString, Default: mapping.Path("$.context.device.model")},
		{Key: "bluetooth", Type: mapping.TypeBoolean, Default: mapping.Path("$.context.network.bluetooth")},
		{Key: "carrier", Type: mapping.TypeString, Default: mapping.Path("$.context.network.carrier")},
		{Key: "cellular", Type: mapping.TypeBoolean, Default: mapping.Path("$.context.network.cellular")},
		{Key: "wifi", Type: mapping.TypeBoolean, Default: mapping.Path("$.context.network.wifi")},
		{Key: "country", Type: mapping.TypeString, Default: mapping.Path("$.context.location.country")},
		{Key: "region", Type: mapping.TypeString, Default: mapping.Path("$.context.location.region")},
		{Key: "language", Type: mapping.TypeString, Default: mapping.Path("$.context.locale")},
		{Key: "library_name", Type: mapping.TypeString, Default: mapping.Path("$.context.library.name")},
		{Key: "library_version", Type: mapping.TypeString, Default: mapping.Path("$.context.library.version")},
		{Key: "ip", Type: mapping.TypeString, Default: mapping.Path("$.context.ip")},
		{Key: "idfa", Type: mapping.TypeString, Default: mapping.Paths("$.context.device.advertisingId", "$.context.device.idfa")},
		{Key: "url", Type: mapping.TypeString, Default: mapping.Path("$.context.page.url")},
		{Key: "screen_width", Type: mapping.TypeNumber, Default: mapping.Path("$.context.screen.width")},
		{Key: "screen_height", Type: mapping.TypeNumber, Default: mapping.Path("$.context.screen.height")},
		{Key: "screen_density", Type: mapping.TypeNumber, Default: mapping.Path("$.context.screen.density")},
		{Key: "referrer", Type: mapping.TypeString, Default: mapping.Path("$.context.page.referrer")},
		{Key: "userAgent", Type: mapping.TypeString, Default: mapping.Path("$.context.userAgent")},
		{Key: "advertising_id", Type: mapping.TypeString, Default: mapping.Path("$.context.device.advertisingId")},
		{Key: "ad_tracking_enabled", Type: mapping.TypeString, Default: mapping.Path("$.context.device.adTrackingEnabled")},
		{Key: "timezone", Type: mapping.TypeString, Default: mapping.Path("$.context.timezone")},
		{Key: "app_platform", Type: mapping.TypeString, Default: mapping.Path("$.context.app.platform")},
		{Key: "name", Type: mapping.TypeString, Default: mapping.Paths("$.event", "$.name")},
		{Key: "event_properties", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
		{Key: "context", Type: mapping.TypeObject, Default: mapping.Path("$.context")},
		{Key: "utm_properties", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("utm_source", mapping.Path("$.context.campaign.source")), mapping.M("utm_medium", mapping.Path("$.context.campaign.medium")), mapping.M("utm_campaign", mapping.Path("$.context.campaign.name")), mapping.M("utm_term", mapping.Path("$.context.campaign.term")), mapping.M("utm_content", mapping.Path("$.context.campaign.content"))), Properties: []mapping.Field{
			{Key: "utm_source", Type: mapping.TypeString},
			{Key: "utm_medium", Type: mapping.TypeString},
			{Key: "utm_campaign", Type: mapping.TypeString},
			{Key: "utm_term", Type: mapping.TypeString},
			{Key: "utm_content", Type: mapping.TypeString},
		}},
		{Key: "userAgentData", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("mobile", mapping.Path("$.context.userAgentData.mobile")), mapping.M("platform", mapping.Path("$.context.userAgentData.platform")), mapping.M("architecture", mapping.Path("$.context.userAgentData.architecture")), mapping.M("bitness", mapping.Path("$.context.userAgentData.bitness")), mapping.M("model", mapping.Path("$.context.userAgentData.model")), mapping.M("platformVersion", mapping.Path("$.context.userAgentData.platformVersion")), mapping.M("uaFullVersion", mapping.Path("$.context.userAgentData.uaFullVersion")), mapping.M("wow64", mapping.Path("$.context.userAgentData.wow64"))), Properties: []mapping.Field{
			{Key: "mobile", Type: mapping.TypeBoolean},
			{Key: "platform", Type: mapping.TypeString},
			{Key: "architecture", Type: mapping.TypeString},
			{Key: "bitness", Type: mapping.TypeString},
			{Key: "model", Type: mapping.TypeString},
			{Key: "platformVersion", Type: mapping.TypeString},
			{Key: "uaFullVersion", Type: mapping.TypeString},
			{Key: "wow64", Type: mapping.TypeBoolean},
		}},
	}
}

// purchaseFields are those of an order: an event with products.
func purchaseFields() []mapping.Field {
	return append(eventFields(),
		mapping.Field{Key: "generatePurchaseEventPerProduct", Type: mapping.TypeBoolean, Default: mapping.Literal(true)},
		mapping.Field{Key: "products", Type: mapping.TypeObject, Multiple: true, AdditionalProperties: true, Default: mapping.ArrayPath("$.properties.products", mapping.Object(mapping.M("product_id", mapping.Path("product_id")), mapping.M("sku", mapping.Path("sku")), mapping.M("category", mapping.Path("category")), mapping.M("name", mapping.Path("name")), mapping.M("brand", mapping.Path("brand")), mapping.M("variant", mapping.Path("variant")), mapping.M("price", mapping.Path("price")), mapping.M("quantity", mapping.Path("quantity")), mapping.M("coupon", mapping.Path("coupon")), mapping.M("position", mapping.Path("position")), mapping.M("url", mapping.Path("url")), mapping.M("image_url", mapping.Path("image_url")))), Properties: []mapping.Field{
			{Key: "product_id", Type: mapping.TypeString},
			{Key: "sku", Type: mapping.TypeString},
			{Key: "category", Type: mapping.TypeString},
			{Key: "name", Type: mapping.TypeString},
			{Key: "brand", Type: mapping.TypeString},
			{Key: "variant", Type: mapping.TypeString},
			{Key: "price", Type: mapping.TypeNumber},
			{Key: "quantity", Type: mapping.TypeInteger},
			{Key: "coupon", Type: mapping.TypeString},
			{Key: "position", Type: mapping.TypeNumber},
			{Key: "url", Type: mapping.TypeString},
			{Key: "image_url", Type: mapping.TypeString},
		}},
	)
}
