package tiktokconversions

import "github.com/fanfold/fanfold/pkg/field"

// ofPerson maps a field to a property of the event, else to a trait of the person.
func ofPerson(key, path string) field.Line {
	return field.Text(key).From("$.properties."+path, "$.context.traits."+path)
}

// what happened.
func what() field.Lines {
	return field.Lines{
		field.Text("event_source").OneOf("web", "crm").Always("web"),
		field.Text("event_spec_type").OneOf("travel_fields", "vehicle_fields"),
		field.Text("event").Required(),
		field.MessageID("event_id"),
		field.Text("timestamp").From("$.timestamp"),
		field.Boolean("limited_data_use").From("$.properties.limited_data_use"),
		field.Text("test_event_code"),
		field.Object("lead_fields", field.Texts("lead_id", "lead_event_source").Below("$.properties")).
			RequiredWhen("event_source", "crm"),
	}
}

// who did it.
func who() field.Lines {
	return field.Lines{
		ofPerson("phone_number", "phone").List(), ofPerson("email", "email").List(),
		ofPerson("first_name", "first_name"), ofPerson("last_name", "last_name"),
		field.Object("address", ofPerson("city", "address.city"), ofPerson("country", "address.country"),
			ofPerson("zip_code", "address.postal_code"), ofPerson("state", "address.state")),
		field.AnyID("external_id").List(),
		field.Text("ttclid").From("$.properties.ttclid", "$.integrations.TikTok Conversions.ttclid"),
		field.Text("ttp").From("$.properties.ttp", "$.integrations.TikTok Conversions.ttp"),
	}
}

// where it happened.
func where() field.Lines {
	return field.Lines{
		field.Text("locale").From("$.context.locale"), field.PageURL("url"),
		field.Text("referrer").From("$.context.page.referrer"),
		field.IP("ip"), field.UserAgent("user_agent"),
	}
}

// bought is what it was about.
func bought() field.Lines {
	return append(field.Lines{
		field.Object("contents", field.Numbers("price", "quantity"), field.Texts(
			"content_category", "content_id", "content_name", "brand")).List(),
		field.Text("content_ids").List().From("$.properties.content_ids"),
		field.Text("content_type").OneOf("product", "product_group").Always("product"),
		field.Currency("currency"), field.Value("value"), field.Text("description"),
		field.Text("delivery_category").OneOf("in_store", "curbside", "home_delivery").From("$.properties.delivery_category"),
	}, append(field.Texts("order_id", "shop_id", "query", "search_string"),
		field.Numbers("num_items", "predicted_ltv")...).Below("$.properties")...)
}

// vehicle is what TikTok wants to know of a car.
func vehicle() field.Line {
	return field.Object("vehicle_fields", field.Lines{
		field.Text("postal_code"), field.Text("make"), field.Text("model"), field.Number("year"),
		field.Text("state_of_vehicle").OneOf("New", "Used", "CPO"),
		field.Number("mileage_value"), field.Text("mileage_unit").OneOf("MI", "KM"), field.Text("exterior_color"),
		field.Text("transmission").OneOf("Automatic", "Manual", "Other"),
		field.Text("body_style").OneOf("Convertible", "Coupe", "Hatchback", "Minivan", "Truck", "SUV", "Sedan", "Van",
			"Wagon", "Crossover", "Other"),
		field.Text("fuel_type").OneOf("Diesel", "Electric", "Flex", "Gasoline", "Hybrid", "Other"),
		field.Text("drivetrain").OneOf("AWD", "FOUR_WD", "FWD", "RWD", "TWO_WD", "Other").From("$.properties.drive_train"),
		field.Number("preferred_price_range_min"), field.Number("preferred_price_range_max"),
		field.Text("trim"), field.Text("vin"), field.Text("interior_color"),
		field.Text("condition_of_vehicle").OneOf("Excellent", "Good", "Fair", "Poor", "Other"),
		field.Text("viewcontent_type"), field.Text("search_type"), field.Text("registration_type"),
	}.Below("$.properties"))
}

// travel is what TikTok wants to know of a journey.
func travel() field.Line {
	return field.Object("travel_fields", field.Lines{
		field.Text("city"), field.Text("region"), field.Text("country"), field.Text("checkin_date"),
		field.Text("checkout_date"),
		field.Number("num_adults"), field.Number("num_children"), field.Number("num_infants"),
		field.Text("suggested_hotels").List(),
		field.Text("departing_departure_date"), field.Text("returning_departure_date"),
		field.Text("origin_airport"), field.Text("destination_airport"), field.Text("destination_ids").List(),
		field.Text("departing_arrival_date"), field.Text("returning_arrival_date"),
		field.Text("travel_class").OneOf("eco", "prem", "bus", "first"), field.Number("user_score"),
		field.Integer("preferred_num_stops"),
		field.Text("travel_start"), field.Text("travel_end"), field.Text("suggested_destinations").List(),
	}.Below("$.properties"))
}
