package amplitude

import (
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/destinations/internal/agent"
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
)

// item is an event: the fields that stand for themselves, and the members given.
func item(members ...body.Members) body.Node {
	return body.Object(body.Together(members...),
		body.Member("time", body.Outer("time").Millis()),
		body.Member("session_id", body.Outer("session_id").Epoch(time.Millisecond)),
		body.Fields("time", "session_id", "user_properties", "platform", "insert_id", "library", "library2", "products",
			"userAgent", "userAgentParsing", "includeRawUserAgent", "userAgentData", "utm_properties", "referrer", "setOnce",
			"min_id_length", "setAlways", "add", "trackRevenuePerProduct", "price", "quantity", "revenue", "productId",
			"revenueType", "user_id", "device_id"),
	)
}

// id is an id of the payload, unless it is shorter than the payload allows: Amplitude drops
// such an id from the event.
// https://amplitude.com/docs/apis/analytics/batch-event-upload
func id(key string) body.Value {
	return body.Outer(key).As("unless it is too short", func(dst []byte, v event.Value, c *body.Context) []byte {
		least, ok := c.Field("min_id_length").Int()
		if ok && least > 0 && int64(utf8.RuneCountInString(v.Text())) < least {
			return dst
		}
		return append(dst, v.Raw()...)
	})
}

// identified holds when a user or a device can be told.
func identified() (is body.Cond, otherwise string) {
	return body.Any(id("user_id").Given(), id("device_id").Given()), "user_id or device_id is required"
}

// who are the members of the user and the device.
func who() body.Members {
	return body.Together(
		body.Member("user_id", id("user_id")), body.Member("device_id", id("device_id")),
		body.Member("platform", body.First(
			body.Outer("platform").Given().As("as it is spelt", platform),
			body.If(body.Outer("library").Is("analytics.js"), body.Const("Web")),
		)),
	)
}

func insertID() body.Members {
	return body.Member("insert_id", body.From("insert_id").Else(body.InsertID()))
}

// nthOf appends the insert id of a product's event.
func nthOf(dst []byte, v event.Value, c *body.Context) []byte {
	return event.AppendQuoted(dst, v.Text()+"-"+strconv.Itoa(c.Index()+2))
}

func platform(dst []byte, v event.Value, _ *body.Context) []byte {
	return event.AppendQuoted(dst, respell(respell(v.Text(), "iOS"), "Android"))
}

// respell writes the first place where a name stands the way it is written.
func respell(text, name string) string {
	for i := 0; i+len(name) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(name)], name) {
			return text[:i] + name + text[i+len(name):]
		}
	}
	return text
}

// told are the members that the user agent tells where the payload does not. Of some the
// browser's hints know better.
func told() body.Members {
	ua := body.From("userAgent").NotEmpty()
	member := func(key, hint string, of func(*agent.Device) string) body.Members {
		parsed := body.Node(agent.Part(ua, agent.Read, of))
		if hint != "" {
			parsed = body.First(body.From("userAgentData."+hint).NotNull(), parsed)
		}
		n := body.If(body.All(ua, body.From("userAgentParsing").Is("true")), parsed)
		if key != "device_type" { // no field
			n = body.First(body.From(key), n)
		}
		return body.Member(key, n)
	}
	return body.Together(
		body.When(body.From("includeRawUserAgent").Is("true"), body.Member("user_agent", ua.Text())),
		member("os_name", "", func(d *agent.Device) string { return cmp.Or(d.OS, d.Browser) }),
		member("os_version", "platformVersion", func(d *agent.Device) string { return d.Major }),
		member("device_manufacturer", "", func(d *agent.Device) string { return d.Vendor }),
		member("device_model", "model", func(d *agent.Device) string { return cmp.Or(d.Model, d.OS) }),
		member("device_type", "", func(d *agent.Device) string { return d.Kind }),
	)
}

// campaign are the user properties, and among them the campaign and the referrer: first and
// last. ownWins says that the event's own go before them.
func campaign(ownWins bool) body.Members {
	own, utm, referrer := body.Outer("user_properties"), body.Outer("utm_properties"), body.Outer("referrer").Given()
	set := func(name, prefix string) body.Members {
		from := body.SpreadOf(utm).Renamed(func(key string) string { return prefix + key })
		mine := body.SpreadOf(body.Outer("user_properties." + name))
		members := body.Together(mine, from, body.Member(prefix+"referrer", referrer))
		if ownWins {
			members = body.Together(from, body.Member(prefix+"referrer", referrer), mine.Wins())
		}
		return body.Member(name, body.Always(body.Object(members)))
	}
	return body.Member("user_properties", body.First(
		body.If(body.Any(utm.NotEmpty(), referrer), body.Object(
			body.SpreadOf(own, "utm_properties", "referrer", "$set", "$setOnce"), set("$set", ""), set("$setOnce", "initial_"),
		)),
		own,
	))
}

// sets are the user properties with those to set once, always, or to add to.
func sets() body.Members {
	filled := func(name, key string) body.Members {
		v := body.From(key).IsObject()
		return body.When(body.Not(v.Every("empty", event.Value.IsEmptyText)), body.Member(name, v))
	}
	set := body.Together(filled("$setOnce", "setOnce"), filled("$set", "setAlways"), filled("$add", "add"))
	return body.Member("user_properties", body.First(
		body.If(body.Some(set), body.Object(body.Spread("user_properties"), set)), body.From("user_properties"),
	))
}

// revenue is what was earned, by an order or a product: quantity times price where both are
// known.
func revenue(of func(paths ...string) body.Value) body.Members {
	both := body.All(of("price").IsNumber(), of("quantity").IsNumber())
	product := of("price").As("times the quantity", times)
	sum := of("revenue").IsNumber().Given().Times(1)
	return body.When(body.Any(body.All(both, product), body.All(body.Not(both), sum)),
		body.Member("revenue", body.First(body.If(both, product), sum)),
		body.Member("revenueType", of("revenueType").NotNull().Else(body.Const("Purchase"))),
		body.Member("quantity", of("quantity").Round()),
		body.Member("price", of("price")), body.Member("productId", of("productId")),
	)
}

// times appends a price times the quantity beside it, unless that is nothing.
func times(dst []byte, v event.Value, c *body.Context) []byte {
	quantity := c.Field("quantity")
	if this := c.This(); this.Exists() {
		quantity = this.Get("quantity")
	}
	a, _ := v.Float()
	b, _ := quantity.Float()
	if a*b == 0 {
		return dst
	}
	return event.AppendFloatJS(dst, a*b)
}

func library() body.Members {
	mapped := body.Outer("library2.behavior").Is("use_mapping")
	return body.Together(
		body.When(mapped, body.Member("library", body.Outer("library2.mapping"))),
		body.When(body.Not(mapped), body.Member("library", body.Const("segment"))),
	)
}
