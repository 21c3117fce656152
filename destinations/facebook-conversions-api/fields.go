package facebookconversionsapi

import "github.com/fanfold/fanfold/pkg/field"

// common are the fields that every action has.
func common() field.Lines {
	return field.Lines{
		field.Text("action_source").Required().Doc(
			"Where the event happened. A website's needs event_source_url and client_user_agent.").
			OneOf("email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "other"),
		field.Text("event_time").Required().From("$.timestamp"),
		userData(),
		appData(),
		field.MessageID("event_id"),
		field.PageURL("event_source_url"),
		field.Object("custom_data"),
		field.Boolean("data_processing_options").Doc("Limited data use."),
		field.Number("data_processing_options_country").OneOf("0", "1"),
		field.Number("data_processing_options_state").
			OneOf("0", "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010"),
		field.Text("test_event_code"),
	}
}

func userData() field.Line {
	return field.Object("user_data",
		field.AnyID("externalId").List(),
		field.Text("email").From("$.context.traits.email"), field.Text("phone").From("$.context.traits.phone"),
		field.Text("gender"),
		field.Text("dateOfBirth").From("$.context.traits.birthday"),
		field.Text("lastName").From("$.context.traits.lastName"), field.Text("firstName").From("$.context.traits.firstName"),
		field.Text("city").From("$.context.traits.address.city"), field.Text("state").From("$.context.traits.address.state"),
		field.Text("zip").From("$.context.traits.address.postalCode"), field.Text("country"),
		field.IP("client_ip_address"), field.UserAgent("client_user_agent"),
		field.Text("fbc").From("$.properties.fbc"), field.Text("fbp").From("$.properties.fbp"),
		field.Text("subscriptionID"), field.Integer("leadID"), field.Integer("fbLoginID"),
		field.Texts("anonId", "madId", "partner_id", "partner_name", "ctwa_clid"),
	).Required().Doc("Who it was. What is to be hashed is hashed here, unless it is already.")
}

func appData() field.Line {
	return field.Object("app_data_field",
		field.Boolean("use_app_data").Always(false), field.Boolean("advertiser_tracking_enabled"),
		field.Boolean("application_tracking_enabled").From("$.context.device.adTrackingEnabled"),
		field.Text("version").OneOf("i2", "a2"), field.Text("packageName").From("$.context.app.namespace"),
		field.Text("shortVersion"),
		field.Text("longVersion").From("$.context.app.version"), field.Text("osVersion").From("$.context.os.version"),
		field.Text("deviceName").From("$.context.device.model"), field.Text("madId").From("$.context.madId"),
		field.Text("locale").From("$.context.locale"), field.Text("timezone"),
		field.Text("carrier").From("$.context.network.carrier"),
		field.Text("width").From("$.context.screen.width"), field.Text("height").From("$.context.screen.height"),
		field.Text("density").From("$.context.screen.density"), field.Texts("cpuCores", "storageSize", "freeStorage"),
		field.Text("deviceTimezone").From("$.context.timezone"),
	).Doc("The app and its device, sent when use_app_data is true.")
}

// contents are products, out of a list of the event or out of what it says itself.
func contents(path string) field.Line {
	return field.Object("contents",
		field.Text("id").From("$.product_id"), field.Integer("quantity").From("$.quantity"),
		field.Number("item_price").From("$.price"),
		field.Text("delivery_category"),
	).EachOf(path)
}
