package amplitude

import "github.com/fanfold/fanfold/pkg/mapping"

// whoFields are of the user and the device: what events and profiles share.
func whoFields() []mapping.Field {
	return []mapping.Field{
		{Key: "user_id", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.userId")},
		{Key: "device_id", Type: mapping.TypeString, Default: mapping.Paths("$.context.device.id", "$.anonymousId")},
		{Key: "user_properties", Type: mapping.TypeObject, Default: mapping.Path("$.traits")},
		{Key: "groups", Type: mapping.TypeObject},
		{Key: "app_version", Type: mapping.TypeString, Default: mapping.Path("$.context.app.version")},
		{Key: "platform", Type: mapping.TypeString, Default: mapping.Path("$.context.device.type")},
		{Key: "os_name", Type: mapping.TypeString, Default: mapping.Path("$.context.os.name")},
		{Key: "os_version", Type: mapping.TypeString, Default: mapping.Path("$.context.os.version")},
		{Key: "device_brand", Type: mapping.TypeString, Default: mapping.Path("$.context.device.brand")},
		{Key: "device_manufacturer", Type: mapping.TypeString, Default: mapping.Path("$.context.device.manufacturer")},
		{Key: "device_model", Type: mapping.TypeString, Default: mapping.Path("$.context.device.model")},
		{Key: "carrier", Type: mapping.TypeString, Default: mapping.Path("$.context.network.carrier")},
		{Key: "country", Type: mapping.TypeString, Default: mapping.Path("$.context.location.country")},
		{Key: "region", Type: mapping.TypeString, Default: mapping.Path("$.context.location.region")},
		{Key: "city", Type: mapping.TypeString, Default: mapping.Path("$.context.location.city")},
		{Key: "dma", Type: mapping.TypeString},
		{Key: "language", Type: mapping.TypeString, Default: mapping.Path("$.context.locale")},
		{Key: "insert_id", Type: mapping.TypeString},
		{Key: "library", Type: mapping.TypeString, Default: mapping.Path("$.context.library.name")},
	}
}

// agentFields say what becomes of the user agent, and how short an id may be.
func agentFields() []mapping.Field {
	return []mapping.Field{
		{Key: "userAgent", Type: mapping.TypeString, Default: mapping.Path("$.context.userAgent")},
		{Key: "userAgentParsing", Type: mapping.TypeBoolean, Default: mapping.Literal(true)},
		{Key: "includeRawUserAgent", Type: mapping.TypeBoolean, Default: mapping.Literal(false)},
		{Key: "userAgentData", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("model", mapping.Path("$.context.userAgentData.model")), mapping.M("platformVersion", mapping.Path("$.context.userAgentData.platformVersion"))), Properties: []mapping.Field{
			{Key: "model", Type: mapping.TypeString},
			{Key: "platformVersion", Type: mapping.TypeString},
		}},
		{Key: "min_id_length", Type: mapping.TypeInteger, AllowNull: true},
	}
}

// campaignFields are where the user came from.
func campaignFields() []mapping.Field {
	return []mapping.Field{
		{Key: "utm_properties", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("utm_source", mapping.Path("$.context.campaign.source")), mapping.M("utm_medium", mapping.Path("$.context.campaign.medium")), mapping.M("utm_campaign", mapping.Path("$.context.campaign.name")), mapping.M("utm_term", mapping.Path("$.context.campaign.term")), mapping.M("utm_content", mapping.Path("$.context.campaign.content"))), Properties: []mapping.Field{
			{Key: "utm_source", Type: mapping.TypeString},
			{Key: "utm_medium", Type: mapping.TypeString},
			{Key: "utm_campaign", Type: mapping.TypeString},
			{Key: "utm_term", Type: mapping.TypeString},
			{Key: "utm_content", Type: mapping.TypeString},
		}},
		{Key: "referrer", Type: mapping.TypeString, Default: mapping.Path("$.context.page.referrer")},
	}
}

// eventFields are of an event alone.
func eventFields() []mapping.Field {
	return []mapping.Field{
		{Key: "event_type", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
		{Key: "session_id", Type: mapping.TypeDatetime, Default: mapping.Path("$.integrations.Actions Amplitude.session_id")},
		{Key: "time", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")},
		{Key: "event_properties", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
		{Key: "price", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.price")},
		{Key: "quantity", Type: mapping.TypeInteger, Default: mapping.Path("$.properties.quantity")},
		{Key: "revenue", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.revenue")},
		{Key: "productId", Type: mapping.TypeString, Default: mapping.Path("$.properties.productId")},
		{Key: "revenueType", Type: mapping.TypeString, Default: mapping.Path("$.properties.revenueType")},
		{Key: "location_lat", Type: mapping.TypeNumber, Default: mapping.Path("$.context.location.latitude")},
		{Key: "location_lng", Type: mapping.TypeNumber, Default: mapping.Path("$.context.location.longitude")},
		{Key: "ip", Type: mapping.TypeString, Default: mapping.Path("$.context.ip")},
		{Key: "idfa", Type: mapping.TypeString, Default: mapping.Paths("$.context.device.advertisingId", "$.context.device.idfa")},
		{Key: "idfv", Type: mapping.TypeString, Default: mapping.Path("$.context.device.id")},
		{Key: "adid", Type: mapping.TypeString, Default: mapping.Paths("$.context.device.advertisingId", "$.context.device.idfa")},
		{Key: "android_id", Type: mapping.TypeString},
		{Key: "event_id", Type: mapping.TypeInteger},
		{Key: "library2", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("behavior", mapping.Literal("use_mapping")), mapping.M("mapping", mapping.Path("$.context.library.name"))), Properties: []mapping.Field{
			{Key: "behavior", Type: mapping.TypeString, Choices: []string{"auto", "use_mapping"}},
			{Key: "mapping", Type: mapping.TypeString},
		}},
		{Key: "products", Type: mapping.TypeObject, Multiple: true, AdditionalProperties: true, Default: mapping.ArrayPath("$.properties.products", mapping.Object(mapping.M("price", mapping.Path("price")), mapping.M("revenue", mapping.Path("revenue")), mapping.M("quantity", mapping.Path("quantity")), mapping.M("productId", mapping.Path("productId")), mapping.M("revenueType", mapping.Path("revenueType")))), Properties: []mapping.Field{
			{Key: "price", Type: mapping.TypeNumber},
			{Key: "quantity", Type: mapping.TypeInteger},
			{Key: "revenue", Type: mapping.TypeNumber},
			{Key: "productId", Type: mapping.TypeString},
			{Key: "revenueType", Type: mapping.TypeString},
		}},
	}
}

// onceFields are the user properties that Log Event V2 sets.
func onceFields() []mapping.Field {
	return []mapping.Field{
		{Key: "setOnce", Type: mapping.TypeObject, AdditionalProperties: true, Default: mapping.Object(mapping.M("initial_referrer", mapping.Path("$.context.page.referrer")), mapping.M("initial_utm_source", mapping.Path("$.context.campaign.source")), mapping.M("initial_utm_medium", mapping.Path("$.context.campaign.medium")), mapping.M("initial_utm_campaign", mapping.Path("$.context.campaign.name")), mapping.M("initial_utm_term", mapping.Path("$.context.campaign.term")), mapping.M("initial_utm_content", mapping.Path("$.context.campaign.content"))), Properties: []mapping.Field{
			{Key: "initial_referrer", Type: mapping.TypeString},
			{Key: "initial_utm_source", Type: mapping.TypeString},
			{Key: "initial_utm_medium", Type: mapping.TypeString},
			{Key: "initial_utm_campaign", Type: mapping.TypeString},
			{Key: "initial_utm_term", Type: mapping.TypeString},
			{Key: "initial_utm_content", Type: mapping.TypeString},
		}},
		{Key: "setAlways", Type: mapping.TypeObject, AdditionalProperties: true, Default: mapping.Object(mapping.M("referrer", mapping.Path("$.context.page.referrer")), mapping.M("utm_source", mapping.Path("$.context.campaign.source")), mapping.M("utm_medium", mapping.Path("$.context.campaign.medium")), mapping.M("utm_campaign", mapping.Path("$.context.campaign.name")), mapping.M("utm_term", mapping.Path("$.context.campaign.term")), mapping.M("utm_content", mapping.Path("$.context.campaign.content"))), Properties: []mapping.Field{
			{Key: "referrer", Type: mapping.TypeString},
			{Key: "utm_source", Type: mapping.TypeString},
			{Key: "utm_medium", Type: mapping.TypeString},
			{Key: "utm_campaign", Type: mapping.TypeString},
			{Key: "utm_term", Type: mapping.TypeString},
			{Key: "utm_content", Type: mapping.TypeString},
		}},
		{Key: "add", Type: mapping.TypeObject, AdditionalProperties: true},
	}
}
