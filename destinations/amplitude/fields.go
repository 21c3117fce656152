package amplitude

import "github.com/fanfold/fanfold/pkg/field"

// whoFields are of the user and the device: what events and profiles share.
func whoFields() field.Lines {
	return append(field.Lines{
		field.UserID("user_id").Nullable(), field.Text("device_id").From("$.context.device.id", "$.anonymousId"),
		field.Object("user_properties").From("$.traits"), field.Object("groups"),
	}, field.Texts("app_version = context.app.version", "platform = context.device.type", "os_name = context.os.name",
		"os_version = context.os.version", "device_brand = context.device.brand",
		"device_manufacturer = context.device.manufacturer", "device_model = context.device.model",
		"carrier = context.network.carrier", "country = context.location.country", "region = context.location.region",
		"city = context.location.city", "dma", "language = context.locale", "insert_id", "library = context.library.name")...)
}

// agentFields say what becomes of the user agent, and how short an id may be.
func agentFields() field.Lines {
	return field.Lines{
		field.UserAgent("userAgent"), field.Boolean("userAgentParsing").Always(true),
		field.Boolean("includeRawUserAgent").Always(false),
		field.Object("userAgentData", field.Texts("model", "platformVersion").Below("$.context.userAgentData")),
		field.Integer("min_id_length").Nullable(),
	}
}

func referrer(key string) field.Line { return field.Text(key).From("$.context.page.referrer") }

// campaignFields are where the user came from.
func campaignFields() field.Lines {
	return field.Lines{field.Object("utm_properties", field.Campaign("")), referrer("referrer")}
}

// eventFields are of an event alone.
func eventFields() field.Lines {
	earned := field.Lines{field.Number("price"), field.Integer("quantity"), field.Number("revenue"),
		field.Text("productId"), field.Text("revenueType")}
	advertising := []string{"$.context.device.advertisingId", "$.context.device.idfa"}
	return append(earned.Below("$.properties"),
		field.Text("event_type").Required().From("$.event"), field.Time("session_id").
			From("$.integrations.Actions Amplitude.session_id"),
		field.Timestamp("time"), field.Object("event_properties").From("$.properties"),
		field.Number("location_lat").From("$.context.location.latitude"), field.Number("location_lng").
			From("$.context.location.longitude"),
		field.IP("ip"), field.Text("idfa").From(advertising...), field.Text("idfv").From("$.context.device.id"),
		field.Text("adid").From(advertising...), field.Text("android_id"), field.Integer("event_id"),
		field.Object("library2", field.Text("behavior").OneOf("auto", "use_mapping").Always("use_mapping"),
			field.Text("mapping").From("$.context.library.name")),
		field.Products("products", earned.Below("")).Open(),
	)
}

// onceFields are the user properties that Log Event V2 sets.
func onceFields() field.Lines {
	return field.Lines{
		field.Object("setOnce", referrer("initial_referrer"), field.Campaign("initial_")).Open(),
		field.Object("setAlways", referrer("referrer"), field.Campaign("")).Open(),
		field.Object("add").Open(),
	}
}
