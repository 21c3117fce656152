package field

import "strings"

// What identifies a person.

// UserID is the id that the company gave its user.
func UserID(key string) Line { return Text(key).From("$.userId") }

// AnonymousID is the id of a device that nobody has said whose it is.
func AnonymousID(key string) Line { return Text(key).From("$.anonymousId") }

// AnyID is the user's id, else that of the device.
func AnyID(key string) Line { return Text(key).From("$.userId", "$.anonymousId") }

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

// Context are texts of the event's context, by the name of the part that they are in: Context("os_name", "app_version")
// is Texts("os_name = context.os.name", "app_version = context.app.version").
func Context(keys ...string) (ls Lines) {
	for _, key := range keys {
		ls = append(ls, Text(key).From("$.context."+strings.Replace(key, "_", ".", 1)))
	}
	return ls
}

// Device are an app and the machine it runs on, in the order in which ad platforms want them (extinfo).
// https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/app-data
func Device() Lines {
	return append(Lines{Text("version").OneOf("i2", "a2")}, Texts("packageName = context.app.namespace", "shortVersion",
		"longVersion = context.app.version", "osVersion = context.os.version", "deviceName = context.device.model",
		"locale = context.locale", "timezone", "carrier = context.network.carrier", "width = context.screen.width",
		"height = context.screen.height", "density = context.screen.density", "cpuCores", "storageSize", "freeStorage",
		"deviceTimezone = context.timezone")...)
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
