package field

// What identifies a person.

// UserID is the id that the company gave its user.
func UserID(key string) Line { return Text(key).From("$.userId") }

// AnonymousID is the id of a device that nobody has said whose it is.
func AnonymousID(key string) Line { return Text(key).From("$.anonymousId") }

// AnyID is the user's id, else that of the device.
func AnyID(key string) Line { return Text(key).From("$.userId", "$.anonymousId") }

// Email is the person's e-mail address, wherever one of the six calls has it.
func Email(key string) Line {
	return Text(key).Email().From("$.traits.email", "$.context.traits.email", "$.properties.email")
}

// Phone is the person's number.
func Phone(key string) Line {
	return Text(key).From("$.traits.phone", "$.context.traits.phone", "$.properties.phone")
}

// FirstName is the person's first name.
func FirstName(key string) Line {
	return Text(key).From("$.traits.first_name", "$.traits.firstName", "$.context.traits.first_name",
		"$.context.traits.firstName", "$.properties.first_name")
}

// LastName is the person's last name.
func LastName(key string) Line {
	return Text(key).From("$.traits.last_name", "$.traits.lastName", "$.context.traits.last_name",
		"$.context.traits.lastName", "$.properties.last_name")
}

// Address are the parts of the person's address, as an identify call has them.
func Address(street, city, state, zip, country string) Lines {
	return Lines{
		Text(street).From("$.traits.address.street"),
		Text(city).From("$.traits.address.city"),
		Text(state).From("$.traits.address.state"),
		Text(zip).From("$.traits.address.postal_code", "$.traits.address.postalCode"),
		Text(country).From("$.traits.address.country"),
	}
}

// The circumstances.

// Timestamp is when it happened.
func Timestamp(key string) Line { return Time(key).From("$.timestamp") }

// MessageID is the event's own id.
func MessageID(key string) Line { return Text(key).From("$.messageId") }

// IP is the person's address on the network.
func IP(key string) Line { return Text(key).From("$.context.ip") }

// UserAgent is what the person's browser calls itself.
func UserAgent(key string) Line { return Text(key).From("$.context.userAgent") }

// PageURL is where in the web it happened.
func PageURL(key string) Line { return Text(key).From("$.context.page.url") }

// Campaign is where the person came from, under the usual names of links with a prefix.
func Campaign(prefix string) Lines {
	return Texts(prefix+"utm_source = context.campaign.source", prefix+"utm_medium = context.campaign.medium",
		prefix+"utm_campaign = context.campaign.name", prefix+"utm_term = context.campaign.term",
		prefix+"utm_content = context.campaign.content")
}

// What was bought.

// Value is what it was worth.
func Value(key string) Line { return Number(key).From("$.properties.value", "$.properties.revenue") }

// Currency is the currency of amounts, in three letters.
func Currency(key string) Line { return Text(key).From("$.properties.currency") }

// Products are those of an order or a cart: the lines are mapped to each one's members.
func Products(key string, members ...Set) Line {
	return Object(key, members...).EachOf("$.properties.products")
}
