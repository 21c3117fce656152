// Package amplitude delivers to Amplitude: events through /batch, which takes
// history, and profiles, groups and user mappings through their own endpoints.
package amplitude

import (
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/destinations/internal/agent"
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a project.
type Settings struct {
	APIKey    string `setting:"api_key,required,secret,transport" doc:"API key of the project." example:"0123456789abcdef0123456789abcdef"`
	SecretKey string `setting:"secret_key,secret,transport" doc:"Secret key of the project. Sending events does not need it." example:"fedcba9876543210fedcba9876543210"`
	Endpoint  string `setting:"endpoint,transport" doc:"Where the project's data resides." default:"us" choices:"us,eu"`
}

const (
	httpDocs  = "https://amplitude.com/docs/apis/analytics/http-v2"
	batchDocs = "https://amplitude.com/docs/apis/analytics/batch-event-upload"
	whoDocs   = "https://amplitude.com/docs/apis/analytics/identify"
	groupDocs = "https://amplitude.com/docs/apis/analytics/group-identify"
	mapDocs   = "https://amplitude.com/docs/apis/analytics/user-mapping"
)

// New declares the destination.
func New() destination.Destination {
	viewed := mapping.Lines(`event_type = "Viewed {{name}}"`)
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "amplitude", Name: "Amplitude", Summary: "product analytics", Docs: httpDocs,
			Integrations: []string{"Actions Amplitude", "Amplitude (Actions)"}, Elsewhere: []string{"AM"},
			Backfill: "Events of any age go through /batch and show up at their own time; a repeat within 7 days is " +
				"dropped by its insert_id, a later one counts again. User properties take effect on events that arrive after " +
				"them: history does not change what older events show. Nothing is sent to users, but cohorts and what is " +
				"synced from them follow the new data.",
			Differences: destination.Differences(
				"events go to /batch instead of /2/httpapi: 1000 events a second of one user instead of 30, and 20 MB a "+
					"request", batchDocs,
				"insert_id is always sent, from messageId when the mapping has none", httpDocs+"#event-deduplication",
				"options.min_id_length is 1, because Amplitude drops shorter ids than 5 characters otherwise; where the mapping "+
					"has a min_id_length, shorter ids are left out before sending", batchDocs,
				"profiles are sent as an array of many instead of one a request", whoDocs,
				"a mapping of users carries no min_id_length", mapDocs,
			),
		},
		// https://amplitude.com/docs/apis/analytics/http-v2#regions
		Hosts: map[string]string{"us": "https://api2.amplitude.com", "eu": "https://api.eu.amplitude.com"},
		Limits: destination.Limits{
			// The rates that Amplitude documents for /batch (1000 events a second, 500,000 a day) are of one user or device.
			BatchEvents: destination.Cap{N: 2000, Docs: httpDocs + "#upload-limit"},
			BatchBytes:  destination.Cap{N: 20_000_000, Docs: batchDocs},
			Dedupe: destination.Dedupe{Field: "insert_id", Window: 7 * destination.Day,
				Docs: httpDocs + "#event-deduplication"},
		},
		Order: true,
		Sayings: []destination.Saying{
			destination.Means(destination.Retry, destination.Unauthorized, httpDocs, 400).When("missing_field", "api_key"),
			destination.Means(destination.Retry, destination.Unauthorized, httpDocs, 400).
				When(".", "*invalid_api_key*", "*invalid api key*", "*invalid api_key*"),
			destination.Means(destination.Retry, destination.RateLimited, httpDocs, 429).Wait(30 * time.Second),
		},
		Success: []destination.Success{destination.JSON(httpDocs, destination.Is("code", 200),
			destination.Counts("events_ingested"))},
		Actions: destination.Actions{
			events("logEvent", "Log event", item(who(), insertID(), told(), campaign(true), library(), body.Same("products"))).
				Doc("An event, with user properties from the campaign and the referrer.").
				Fields(whoFields(), eventFields(), agentFields(), campaignFields()),
			destination.Action("identifyUser", "Identify user").Doc("Sets the properties of a user or device.").
				On(`type = "identify"`).
				Fields(whoFields(), agentFields(), campaignFields(), field.Boolean("paying"), field.Text("start_version")).
				NeedsIdentity(identified()).
				Steps(upload("/identify", "identification", body.Object(
					who(), insertID(), told(), campaign(false), body.Member("library", body.Const("segment")),
					body.Fields("user_properties", "library", "userAgent", "userAgentParsing", "includeRawUserAgent",
						"userAgentData", "utm_properties", "referrer", "min_id_length"),
				))).
				Success(destination.Words(whoDocs, "success")).
				// https://amplitude.com/docs/apis/analytics/http-v2#upload-limit: its rules apply to /identify
				BatchEvents(1000, whoDocs).BatchBytes(1_000_000, httpDocs+"#upload-limit"),
			mapUser(), groupIdentifyUser(), logPurchase(),
			events("logEventV2", "Log event V2", item(who(), insertID(), told(), sets(), library(), body.Same("products"))).
				Doc("An event, with user properties to set once, always, or to add to.").
				Fields(whoFields(), eventFields(), onceFields(), agentFields()),
		},
		Presets: []destination.Preset{
			{Name: "Track calls", Action: "logEventV2", Subscribe: `type = "track" and event != "Order Completed"`},
			{Name: "Order Completed calls", Action: "logPurchase", Subscribe: `type = "track" and event = "Order Completed"`},
			{Name: "Page calls", Action: "logEventV2", Subscribe: `type = "page"`, Mapping: viewed},
			{Name: "Screen calls", Action: "logEventV2", Subscribe: `type = "screen"`, Mapping: viewed},
			{Name: "Identify calls", Action: "identifyUser", Subscribe: `type = "identify"`},
		},
	}.Destination()
}

// request is what every endpoint is sent: a list of something.
func request(of string, items ...body.Node) body.Node {
	return body.Object(
		body.Member("api_key", body.Setting("api_key")), body.Member(of, body.Items(items...)),
		body.Member("options", body.Const(map[string]int{"min_id_length": 1})),
	)
}

// events is an action that sends events. A 400 names those at fault, and has taken none.
func events(slug, title string, items ...body.Node) *destination.Declared {
	return destination.Action(slug, title).On(`type = "track"`).NeedsIdentity(identified()).
		Post("/batch", request("events", items...)).
		Verdicts(destination.ByLists("error", "events_with_invalid_fields.*", "events_with_missing_fields.*",
			"events_with_invalid_id_lengths.*", "silenced_events"))
}

// upload is a request of several things as a form.
func upload(path, parameter string, item body.Node) destination.Step {
	return destination.Send("POST", path, request(parameter, item)).AsForm()
}

func mapUser() *destination.Declared {
	user, global := id("user_id"), id("global_user_id")
	join := upload("/usermap", "mapping", body.Object(body.Member("user_id", user), body.Member("global_user_id", global)))
	return destination.Action("mapUser", "Map user").Doc("Joins one user id to another.").On(`type = "alias"`).
		Fields(field.Texts("user_id = previousId"), field.UserID("global_user_id"), minIDLength).
		NeedsIdentity(body.All(user.Given(), global.Given()), "user_id and global_user_id are required").
		// It is on a host of its own in the US: https://amplitude.com/docs/apis/analytics/user-mapping
		Steps(join.At("https://api.amplitude.com").If(body.Setting("endpoint").Is("us")),
			join.If(body.Setting("endpoint").Is("eu"))).
		Success(destination.JSON(mapDocs, destination.Is("success", true))).
		Rates(mapDocs, "1500events/30s").BatchBytes(1_000_000, mapDocs)
}

func groupIdentifyUser() *destination.Declared {
	group := body.Pair("group_type", "group_value")
	somebody, _ := identified()
	return destination.Action("groupIdentifyUser", "Group identify user").On(`type = "group"`).
		Doc("Sets the properties of a group, and puts the user into it.").
		Fields(
			ids(), field.Texts("insert_id", "time = timestamp"), field.Object("group_properties").From("$.traits"),
			field.Texts("group_type", "group_value").With(field.Line.Required), minIDLength,
		).
		Steps(
			upload("/identify", "identification", body.Object(
				body.Member("user_id", id("user_id")), body.Member("device_id", id("device_id")), insertID(),
				body.Member("time", body.From("time").Millis()), body.Member("groups", group),
				body.Member("user_properties", group), body.Member("library", body.Const("segment")),
			)).If(somebody),
			upload("/groupidentify", "identification", body.Object(
				body.Same("group_type", "group_value"),
				body.Member("group_properties", body.Always(body.Object(body.Spread("group_properties")))),
				body.Member("library", body.Const("segment")),
			)),
		).
		Success(destination.Words(groupDocs, "success")).
		BatchEvents(1024, groupDocs).BatchBytes(1_000_000, groupDocs)
}

// logPurchase is an order, and an event for each of its products.
func logPurchase() *destination.Declared {
	perProduct := body.Outer("trackRevenuePerProduct").Is("true")
	return events("logPurchase", "Log purchase",
		item(who(), insertID(), told(), campaign(true), library(),
			body.When(body.Not(body.All(perProduct, body.Outer("products").NotEmpty())), revenue(body.Outer))),
		body.Each("products", item(who(), campaign(true), library(), body.When(perProduct, revenue(body.This)),
			body.Member("event_type", body.Const("Product Purchased")), body.Member("event_properties", body.This()),
			body.Member("insert_id", body.Outer("insert_id").As("with the product's number", nthOf).Else(body.InsertID())))),
	).
		Doc("An order with its revenue, and one event for each of its products.").
		Fields(whoFields(), eventFields(), agentFields(), campaignFields(),
			field.Boolean("trackRevenuePerProduct").Always(false))
}

// whoFields are of the user and the device: what events and profiles share.
func whoFields() field.Lines {
	return field.Together(
		ids(), field.Object("user_properties").From("$.traits"), field.Object("groups"), field.Context("app_version"),
		field.Texts("platform = context.device.type"), field.Context("os_name", "os_version", "device_brand",
			"device_manufacturer", "device_model"), field.Texts("carrier = .network.carrier", "country = .location.country",
			"region = .location.region", "city = .location.city").Below("$.context"),
		field.Texts("dma", "language = context.locale", "insert_id", "library = context.library.name"),
	)
}

func ids() field.Lines {
	return field.Together(field.UserID("user_id").Nullable(), field.Texts("device_id = context.device.id, anonymousId"))
}

// agentFields say what becomes of the user agent, and how short an id may be.
func agentFields() field.Lines {
	return field.Lines{
		field.UserAgent("userAgent"), field.Boolean("userAgentParsing").Always(true),
		field.Boolean("includeRawUserAgent").Always(false),
		field.Object("userAgentData", field.Texts("model", "platformVersion").Below("$.context.userAgentData")), minIDLength,
	}
}

// campaignFields are where the user came from.
func campaignFields() field.Lines {
	return field.Together(field.Object("utm_properties", field.Campaign("")),
		field.Texts("referrer = context.page.referrer"))
}

// eventFields are of an event alone.
func eventFields() field.Lines {
	earned := field.Together(field.Number("price"), field.Integer("quantity"), field.Number("revenue"),
		field.Texts("productId", "revenueType"))
	return field.Together(earned.Below("$.properties"),
		field.Text("event_type").Required().From("$.event"),
		field.Time("session_id").From("$.integrations.Actions Amplitude.session_id"),
		field.Timestamp("time"), field.Object("event_properties").From("$.properties"),
		field.Numbers("location_lat = context.location.latitude", "location_lng = context.location.longitude"),
		field.IP("ip"), field.Texts("idfa = context.device.advertisingId, context.device.idfa", "idfv = context.device.id",
			"adid = context.device.advertisingId, context.device.idfa", "android_id"), field.Integer("event_id"),
		field.Object("library2", field.Text("behavior").OneOf("auto", "use_mapping").Always("use_mapping"),
			field.Texts("mapping = context.library.name")),
		field.Products("products", earned.Below("")).Open(),
	)
}

// onceFields are the user properties that Log Event V2 sets.
func onceFields() field.Lines {
	return field.Lines{
		field.Object("setOnce", field.Texts("initial_referrer = context.page.referrer"), field.Campaign("initial_")).Open(),
		field.Object("setAlways", field.Texts("referrer = context.page.referrer"), field.Campaign("")).Open(),
		field.Object("add").Open(),
	}
}

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

var minIDLength = field.Integer("min_id_length").Nullable()

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
			body.Outer("platform").Given().Rewritten("as it is spelt", platform),
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

func platform(text string) string { return respell(respell(text, "iOS"), "Android") }

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
	asked := body.All(ua, body.From("userAgentParsing").Is("true"))
	parsed := func(of func(*agent.Device) string) body.Value { return agent.Part(ua, agent.Read, of) }
	member := func(key string, n body.Node) body.Members {
		return body.Member(key, body.From(key).Else(body.If(asked, n)))
	}
	return body.Together(
		body.When(body.From("includeRawUserAgent").Is("true"), body.Member("user_agent", ua.Text())),
		member("os_name", parsed(func(d *agent.Device) string { return cmp.Or(d.OS, d.Browser) })),
		member("os_version", body.From("userAgentData.platformVersion").NotNull().Else(
			parsed(func(d *agent.Device) string { return d.Major }))),
		member("device_manufacturer", parsed(func(d *agent.Device) string { return d.Vendor })),
		member("device_model", body.From("userAgentData.model").NotNull().Else(
			parsed(func(d *agent.Device) string { return cmp.Or(d.Model, d.OS) }))),
		body.Member("device_type", body.If(asked, parsed(func(d *agent.Device) string { return d.Kind }))), // no field
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
