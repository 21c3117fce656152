// Package mixpanel delivers to Mixpanel: events through /import, which takes
// history, and profiles, groups and aliases through their own endpoints.
package mixpanel

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/destinations/internal/agent"
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a project.
type Settings struct {
	ProjectToken string `setting:"project_token,required,secret,stamp" doc:"Token of the project." example:"0123456789abcdef0123456789abcdef"`
	APISecret    string `setting:"api_secret,secret,transport" doc:"API secret of the project. Without it the token authenticates imports." example:"fedcba9876543210fedcba9876543210"`
	APIRegion    string `setting:"api_region,transport" doc:"Where the project's data resides." default:"us" choices:"us,eu,in"`
	SourceName   string `setting:"source_name" doc:"Sent with every event as segment_source_name."`
	StrictMode   string `setting:"strict_mode,transport" doc:"1 has Mixpanel validate every event and say which ones it refuses; 0 does not." default:"1" choices:"1,0"`
}

const (
	importDocs = "https://developer.mixpanel.com/reference/import-events"
	engageDocs = "https://developer.mixpanel.com/reference/profile-set"
	againDocs  = "https://docs.mixpanel.com/troubleshooting/errors/429-rate-limit-exceeded"
	groupsDocs = "https://developer.mixpanel.com/reference/group-set-property"
)

// New declares the destination.
func New() destination.Destination {
	viewed := mapping.Lines(`event = "Viewed {{name}}"`)
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "mixpanel", Name: "Mixpanel", Summary: "product analytics", Docs: importDocs,
			Integrations: []string{"Mixpanel (Actions)", "Actions Mixpanel"}, Elsewhere: []string{"MP", "Mixpanel (Legacy)"},
			Backfill: "Events of any age go through /import and show up at their own time. Profiles are set to what " +
				"the event says, in the order of delivery; nothing is triggered.",
			Differences: destination.Differences(
				"an insert id of more than 36 characters is cut to its last 36, which is all that Mixpanel "+
					"takes", importDocs+"#propertiesinsert_id",
				"profiles, groups and identity events are JSON arrays of many instead of one form a request", engageDocs,
				"an event of any age is sent with its own time; one from before 1971 or more than an hour ahead, which Mixpanel "+
					"would refuse, is skipped", importDocs,
			),
		},
		// https://developer.mixpanel.com/reference/overview#data-residency
		Hosts: map[string]string{"us": "https://api.mixpanel.com", "eu": "https://api-eu.mixpanel.com",
			"in": "https://api-in.mixpanel.com"},
		Auth: func(s *Settings) destination.Auth {
			if s.APISecret != "" {
				return destination.Basic(s.APISecret, "")
			}
			return destination.Basic(s.ProjectToken, "")
		},
		Limits: destination.Limits{
			Rates: destination.Rates(importDocs+"#rate-limits", "2GiB/m", "30000events/s"),
			// 10 to 20 concurrent clients
			Concurrency: destination.Cap{N: 16, Docs: importDocs + "#rate-limits"},
			BatchEvents: destination.Cap{N: 2000, Docs: importDocs},
			BatchBytes:  destination.Cap{N: 10_000_000, Docs: importDocs},
			EventBytes:  destination.Cap{N: 1_000_000, Docs: importDocs},
			Window: destination.Window{Future: time.Hour, Since: time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC),
				Violation: "rejects the event", Docs: importDocs},
			Dedupe: destination.Dedupe{Field: "$insert_id, together with event, distinct_id and time", Docs: importDocs},
			Gzip:   destination.Cap{N: 1, Docs: importDocs},
			// a 429 comes without Retry-After
			Retries: destination.Retries{First: 2 * time.Second, Longest: time.Minute, Docs: againDocs},
		},
		// The endpoints that take ?verbose=1 say 200 also when they refuse, and when the token in the items is not that
		// of a project.
		Sayings: []destination.Saying{
			destination.Means(destination.Retry, destination.Unauthorized, engageDocs, 2).When("error", "*token*"),
			destination.Means(destination.Rejected, destination.Refused, engageDocs, 2).When("status", "0"),
		},
		Success: []destination.Success{destination.JSON(engageDocs, destination.Is("status", 1),
			destination.Is("error", nil, "").IfThere())},
		Actions: append(destination.Actions{
			imported("trackEvent", "Track event", tracked()).
				Doc("An event, with the properties that Mixpanel knows filled from the event's context."),
			imported("trackPurchase", "Track purchase", tracked(), body.If(
				body.From("generatePurchaseEventPerProduct").Is("true"), body.Each("products", purchased()))).
				Doc("An order, and one event for each of its products.").Fields(purchaseFields()),
		}, profiles()...),
		Presets: []destination.Preset{
			{Name: "Track calls", Action: "trackEvent", Subscribe: `type = "track" and event != "Order Completed"`},
			{Name: "Order Completed calls", Action: "trackPurchase", Subscribe: `type = "track" and event = "Order Completed"`},
			{Name: "Page calls", Action: "trackEvent", Subscribe: `type = "page"`, Mapping: viewed},
			{Name: "Screen calls", Action: "trackEvent", Subscribe: `type = "screen"`, Mapping: viewed},
			{Name: "Identify calls", Action: "identifyUser", Subscribe: `type = "identify"`},
			{Name: "Group calls", Action: "groupIdentifyUser", Subscribe: `type = "group"`},
		},
	}.Destination()
}

// imported is an action that imports events. With strict=1 a status of 400 names the events that were refused, and has
// taken all others.
func imported(slug, title string, of ...body.Node) *destination.Declared {
	members := []destination.Member{destination.Is("code", 200), destination.Is("status", "OK")}
	taken := destination.Counts("num_records_imported")
	return destination.Action(slug, title).On(`type = "track"`).Fields(eventFields()).TimeField("time").
		Post("/import?strict={settings.strict_mode}", body.Items(of...)).
		Verdicts(destination.ByIndex("failed_records", "index", "field message").OthersTaken()).
		Success(destination.JSON(importDocs, append(members, taken)...),
			destination.JSON(importDocs, destination.List("failed_records"), taken).With(400))
}

// profiles are the actions that change users and groups.
func profiles() destination.Actions {
	token := body.Member("$token", body.Setting("project_token"))
	profile := body.Together(token, body.Member("$distinct_id", body.From("user_id").NotNull().Else(
		body.From("anonymous_id"))), body.Copy("$ip = ip"))
	whose := field.Together(field.IP("ip"), field.UserID("user_id").Nullable(),
		field.AnonymousID("anonymous_id").Nullable())
	created := body.Member("$created", body.From("traits.created", "traits.createdAt", "traits.created_at").NotNull())
	named := body.All(body.From("traits.firstName").Given(), body.From("traits.lastName").Given())
	return destination.Actions{
		destination.Action("identifyUser", "Identify user").On(`type = "identify"`).
			Doc("Joins the anonymous id to the user's, and sets the profile's properties.").
			Fields(whose, field.Object("traits").From("$.traits")).
			Steps(
				destination.Send("POST", "/track?verbose=1", body.Items(identity(
					"$identify", body.Copy("$identified_id = user_id", "$anon_id = anonymous_id")))).
					If(body.From("anonymous_id").Filled()),
				destination.Send("POST", "/engage?verbose=1", body.Items(body.Object(
					profile, body.Member("$set", body.Always(body.Object(
						body.Spread("traits", "created", "createdAt", "created_at", "email", "firstName", "lastName", "name",
							"username", "phone"),
						created,
						body.Copy("$email = traits.email", "$first_name = traits.firstName", "$last_name = traits.lastName"),
						body.Member("$name", body.From("traits.name").NotNull().Else(
							body.If(named, body.Format("{traits.firstName} {traits.lastName}")))),
						body.Copy("$username = traits.username", "$phone = traits.phone"),
					)))))).If(body.From("traits").NotEmpty()),
			),
		destination.Action("groupIdentifyUser", "Set group profile").On(`type = "group"`).
			Doc("Sets the properties of a group.").
			Fields(field.Text("group_key"), field.Text("group_id").Required().From("$.groupId"),
				field.Object("traits").From("$.traits")).
			Needs(body.From("traits"), "traits are required to set a group's properties").
			Post("/groups?verbose=1", body.Items(body.Object(
				token, body.Member("$group_key", body.From("group_key").Given().Else(body.Const("$group_id"))),
				body.Member("$group_id", body.From("traits").As("the trait that group_key names", keyed).Given().Else(
					body.From("group_id"))),
				body.Member("$set", body.Always(body.Object(
					body.Spread("traits", "created", "createdAt", "created_at", "name"), body.Copy("$name = traits.name"), created,
				))),
			))).
			// https://developer.mixpanel.com/reference/group-batch-update
			BatchEvents(200, groupsDocs),
		destination.Action("alias", "Alias").Doc("Gives a user a second id.").
			Fields(field.AnyID("alias").Nullable(), field.Texts("distinct_id = previousId")).
			Post("/track?verbose=1", body.Items(identity("$create_alias", body.Same("distinct_id", "alias")))),
		destination.Action("incrementProperties", "Increment properties").On(`type = "track"`).
			Doc("Adds to numeric properties of the profile.").
			Fields(whose, field.Object("increment").Required().From("$.properties.increment")).
			Only(body.From("increment").NotEmpty(), destination.Unneeded, "there is nothing to increment").
			Needs(body.From("increment").AtMost(20), "at most 20 properties can be incremented at once").
			Needs(body.From("increment").Every("a number", isNumber), "an increment is not a number").
			Post("/engage?verbose=1", body.Items(body.Object(profile, body.Member("$add", body.Always(body.Object(
				body.Spread("increment").Each(body.First(body.This().IsNumber(), body.This().IsText().Number())),
			)))))),
	}
}

// keyed is the trait that group_key names.
func keyed(dst []byte, traits event.Value, c *body.Context) []byte {
	return append(dst, traits.Get(cmp.Or(c.Field("group_key").Text(), "$group_id")).Raw()...)
}

// identity is an event that joins two ids.
func identity(name string, ids body.Members) body.Node {
	return body.Object(
		body.Member("event", body.Const(name)), body.Member("properties", body.Object(
			ids, body.Member("token", body.Setting("project_token")),
			body.Member("segment_source_name", body.Setting("source_name")),
		)),
	)
}

// isNumber says that a text among increments is a number.
func isNumber(v event.Value) bool {
	_, err := strconv.ParseFloat(strings.TrimSpace(v.Text()), 64)
	return err == nil || v.Kind() != event.String
}

// maxInsertID is the length of an insert id in characters: its end is the part of a
// messageId that tells it from others.
// https://developer.mixpanel.com/reference/import-events#propertiesinsert_id
const maxInsertID = 36

// reserved are properties that an event's own never replace.
var reserved = []string{"time", "id", "$anon_id", "distinct_id", "$group_id", "$insert_id", "$user_id"}

// tracked is an event.
func tracked() body.Node {
	return body.Object(
		body.Same("event"),
		body.Member("properties", body.Object(
			body.Member("time", body.First(body.From("time").Millis(), body.Now().Millis())),
			body.Member("$insert_id", body.From("insert_id").Last(maxInsertID).Else(body.InsertID().Last(maxInsertID))),
			properties(body.From),
			// What the event says itself replaces what its context says.
			body.Spread("event_properties").Wins(reserved...),
		)),
	)
}

// purchased is the event of one product of an order.
func purchased() body.Node {
	ofOrder := []string{"affiliation", "subtotal", "total", "revenue", "shipping", "tax", "discount", "coupon",
		"currency", "order_number", "products"}
	return body.Object(
		body.Member("event", body.Const("Product Purchased")),
		body.Member("properties", body.Object(
			body.Member("time", body.First(body.Outer("time").As("a millisecond before that of the product before it",
				earlier), body.Now().As("the same", earlier))),
			body.Member("$insert_id", body.Outer("insert_id").As("the order's, behind the product's number", numbered).
				Else(body.EventID().As("the same", numbered))),
			properties(body.Outer),
			body.SpreadOf(body.Outer("event_properties"), ofOrder...).Wins(reserved...),
			body.SpreadOf(body.This()).Wins(),
		)),
	)
}

// earlier keeps the events of an order apart, whose time is one.
func earlier(dst []byte, v event.Value, c *body.Context) []byte {
	if at, ok := event.ParseTime(v); ok {
		return strconv.AppendInt(dst, at.UnixMilli()-int64(c.Index())-1, 10)
	}
	return dst
}

func numbered(dst []byte, id event.Value, c *body.Context) []byte {
	number, text := strconv.Itoa(c.Index()), id.Text()
	if n := maxInsertID - len(number); len(text) > n {
		text = strings.ToValidUTF8(text[len(text)-n:], "-")
	}
	return event.AppendQuoted(dst, number+text)
}

// properties are those that the event's context fills. of is where the fields are.
func properties(of func(...string) body.Value) body.Members {
	browser := func(part func(*agent.Browser) string) body.Value {
		return agent.Part(of("userAgent"), agent.ReadBrowser, part)
	}
	return body.Together(
		// An event of nobody in particular has an empty distinct_id.
		// https://developer.mixpanel.com/reference/import-events#propertiesdistinct_id
		body.Member("distinct_id", of("distinct_id").Else(body.Const(""))),
		body.CopyOf(of,
			"ip = ip", "id = distinct_id", "$anon_id = anonymous_id", "$app_build_number = app_build",
			"$app_version_string = app_version", "$app_namespace = app_namespace", "$app_name = app_name",
			"$bluetooth_enabled = bluetooth", "$cellular_enabled = cellular", "$carrier = carrier", "$current_url = url",
			"$device = device_name", "$device_id = anonymous_id", "$device_type = device_type", "$device_name = device_name",
			"$group_id = group_id", "$identified_id = user_id", "$ios_ifa = idfa", "$lib_version = library_version",
			"$locale = language", "$manufacturer = device_manufacturer", "$model = device_model", "$os = os_name",
			"$os_version = os_version", "$referrer = referrer", "$screen_height = screen_height",
			"$screen_width = screen_width", "$screen_density = screen_density", "$user_id = user_id", "$wifi_enabled = wifi",
			"mp_country_code = country", "advertising_id = advertising_id", "ad_tracking_enabled = ad_tracking_enabled",
			"timezone = timezone", "app_platform = app_platform", "event_original_name = name",
			"utm_campaign = utm_properties.utm_campaign", "utm_content = utm_properties.utm_content",
			"utm_medium = utm_properties.utm_medium", "utm_source = utm_properties.utm_source",
			"utm_term = utm_properties.utm_term", "$mobile = userAgentData.mobile", "$platform = userAgentData.platform",
			"$bitness = userAgentData.bitness", "$platformVersion = userAgentData.platformVersion",
			"$uaFullVersion = userAgentData.uaFullVersion", "$wow64 = userAgentData.wow64",
		),
		body.Member("$browser", body.First(browser(func(b *agent.Browser) string { return b.Name }),
			body.If(of("userAgent"), body.Const("")))),
		body.Member("$browser_version", browser(func(b *agent.Browser) string { return b.Version })),
		body.Member("$source", body.First(of("context.integration.name").Is("Iterable"), body.Const("segment"))),
		body.Member("mp_lib", of("library_name").Prefix("Segment Actions: ")),
		body.Member("segment_source_name", body.Setting("source_name")),
	)
}

// eventFields are what an event of any kind carries.
func eventFields() field.Set {
	return field.Together(
		field.Text("event").Required().From("$.event"), field.AnyID("distinct_id"), field.AnonymousID("anonymous_id"),
		field.UserID("user_id"), field.Texts("group_id = context.groupId"), field.MessageID("insert_id"),
		field.Timestamp("time"),
		field.Context("app_name", "app_namespace", "app_build", "app_version", "os_name", "os_version", "device_id",
			"device_type", "device_name", "device_manufacturer", "device_model"),
		field.Booleans("bluetooth", "cellular", "wifi").Below("$.context.network"),
		field.Texts("carrier = .network.carrier", "country = .location.country", "region = .location.region",
			"language = .locale").Below("$.context"), field.Context("library_name", "library_version"), field.IP("ip"),
		field.Texts("idfa = context.device.advertisingId, context.device.idfa"), field.PageURL("url"),
		field.Numbers("screen_width = .screen.width", "screen_height = .screen.height", "screen_density = .screen.density").
			Below("$.context"), field.UserAgent("userAgent"),
		field.Texts("referrer = .page.referrer", "advertising_id = .device.advertisingId",
			"ad_tracking_enabled = .device.adTrackingEnabled", "timezone", "app_platform = .app.platform").Below("$.context"),
		field.Texts("name = event, name"), field.Object("event_properties").From("$.properties"),
		field.Object("context").From("$.context"), field.Object("utm_properties", field.Campaign("")),
		field.Object("userAgentData", field.Together(
			field.Boolean("mobile"), field.Texts("platform", "architecture", "bitness", "model", "platformVersion",
				"uaFullVersion"), field.Boolean("wow64"),
		).Below("$.context.userAgentData")),
	)
}

// purchaseFields are the further ones of an order.
func purchaseFields() field.Set {
	return field.Together(
		field.Boolean("generatePurchaseEventPerProduct").Always(true),
		field.Products("products", field.Together(
			field.Texts("product_id", "sku", "category", "name", "brand", "variant"), field.Number("price"),
			field.Integer("quantity"), field.Text("coupon"), field.Number("position"), field.Texts("url", "image_url"),
		).Below("")).Open(),
	)
}
