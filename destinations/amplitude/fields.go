package amplitude

import "github.com/fanfold/fanfold/pkg/field"

// whoFields are of the user and the device: what events and profiles share.
func whoFields() field.Lines {
	device, place := "$.context.device", "$.context.location"
	return field.Lines{
		field.UserID("user_id").Nullable(), field.Text("device_id").From(device+".id", "$.anonymousId"),
		field.Object("user_properties").From("$.traits"), field.Object("groups"),
		field.Text("app_version").From("$.context.app.version"), field.Text("platform").From(device + ".type"),
		field.Text("os_name").From("$.context.os.name"), field.Text("os_version").From("$.context.os.version"),
		field.Text("device_brand").From(device + ".brand"), field.Text("device_manufacturer").From(device + ".manufacturer"),
		field.Text("device_model").From(device + ".model"), field.Text("carrier").From("$.context.network.carrier"),
		field.Text("country").From(place + ".country"), field.Text("region").From(place + ".region"), field.Text("city").From(place + ".city"),
		field.Text("dma"), field.Text("language").From("$.context.locale"), field.Text("insert_id"),
		field.Text("library").From("$.context.library.name"),
	}
}

// agentFields say what becomes of the user agent, and how short an id may be.
func agentFields() field.Lines {
	return field.Lines{
		field.UserAgent("userAgent"), field.Boolean("userAgentParsing").Always(true), field.Boolean("includeRawUserAgent").Always(false),
		field.Object("userAgentData", field.Texts("model", "platformVersion").Below("$.context.userAgentData")),
		field.Integer("min_id_length").Nullable(),
	}
}

// utm are the parts of a campaign under their usual names, with a prefix.
func utm(prefix string) field.Lines {
	return field.Lines{
		field.Text(prefix + "utm_source").From("$.context.campaign.source"), field.Text(prefix + "utm_medium").From("$.context.campaign.medium"),
		field.Text(prefix + "utm_campaign").From("$.context.campaign.name"), field.Text(prefix + "utm_term").From("$.context.campaign.term"),
		field.Text(prefix + "utm_content").From("$.context.campaign.content"),
	}
}

func referrer(key string) field.Line { return field.Text(key).From("$.context.page.referrer") }

// campaignFields are where the user came from.
func campaignFields() field.Lines {
	return field.Lines{field.Object("utm_properties", utm("")), referrer("referrer")}
}

// eventFields are of an event alone.
func eventFields() field.Lines {
	earned := field.Lines{field.Number("price"), field.Integer("quantity"), field.Number("revenue"), field.Text("productId"), field.Text("revenueType")}
	advertising := []string{"$.context.device.advertisingId", "$.context.device.idfa"}
	return append(earned.Below("$.properties"),
		field.Text("event_type").Required().From("$.event"), field.Time("session_id").From("$.integrations.Actions Amplitude.session_id"),
		field.Timestamp("time"), field.Object("event_properties").From("$.properties"),
		field.Number("location_lat").From("$.context.location.latitude"), field.Number("location_lng").From("$.context.location.longitude"),
		field.IP("ip"), field.Text("idfa").From(advertising...), field.Text("idfv").From("$.context.device.id"),
		field.Text("adid").From(advertising...), field.Text("android_id"), field.Integer("event_id"),
		field.Object("library2", field.Text("behavior").OneOf("auto", "use_mapping").Always("use_mapping"), field.Text("mapping").From("$.context.library.name")),
		field.Products("products", earned.Below("")).Open(),
	)
}

// onceFields are the user properties that Log Event V2 sets.
func onceFields() field.Lines {
	return field.Lines{
		field.Object("setOnce", referrer("initial_referrer"), utm("initial_")).Open(),
		field.Object("setAlways", referrer("referrer"), utm("")).Open(),
		field.Object("add").Open(),
	}
}
