// Package iterable delivers to Iterable: events and users through the bulk
// endpoints, carts and purchases through their own.
package iterable

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a project.
type Settings struct {
	APIKey             string `setting:"api_key,required,secret,transport" doc:"API key of the project, of the type server-side." example:"0123456789abcdef0123456789abcdef"`
	DataCenterLocation string `setting:"data_center_location,transport" doc:"Where the project's data resides." default:"us" choices:"us,eu"`
}

const (
	docs      = "https://api.iterable.com/api/docs"
	bulkDocs  = docs + "#events_trackBulk"
	usersDocs = docs + "#users_bulkUpdateUser"
	sizeDocs  = "https://support.iterable.com/hc/en-us/articles/204780579-API-Overview-and-Sample-Payloads"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "iterable", Name: "Iterable", Summary: "cross-channel marketing", Docs: docs,
			Integrations: []string{"Iterable (Actions)", "Actions Iterable"},
			Backfill: "Events and purchases keep their own time in createdAt, and one with the id of an earlier one replaces it. Users are set to what the event says, in the order of delivery. " +
				"Iterable has no switch for history: journeys that an event, a purchase or a changed field starts may start, so pause them.",
			Differences: []destination.Difference{
				{What: "events go to /api/events/trackBulk and users to /api/users/bulkUpdate, many a request, as Segment's batches do", Docs: bulkDocs},
				{What: "newEmail becomes the user's email field in the same request, as in Segment's batches, instead of a request of its own", Docs: usersDocs},
				{What: "updateOnly is said for each request of users, as in Segment's batches; its single requests leave it out", Docs: usersDocs},
				{What: "an event or purchase without an id gets one from messageId, and one without createdAt the time of sending", Docs: bulkDocs},
			},
		},
		BaseURL: func(s *Settings) string {
			// https://support.iterable.com/hc/en-us/articles/17572750887444-Iterable-s-European-Data-Center-EDC
			if s.DataCenterLocation == "eu" {
				return "https://api.eu.iterable.com"
			}
			return "https://api.iterable.com"
		},
		Auth: func(s *Settings) destination.Auth { return destination.HeaderAuth("Api-Key", s.APIKey) },
		Limits: destination.Limits{
			BatchBytes: destination.Cap{N: 4_000_000, Docs: sizeDocs},
			EventBytes: destination.Cap{N: 3_900_000, Docs: sizeDocs},
			Dedupe:     destination.Dedupe{Field: "id, of events and purchases", Docs: bulkDocs},
		},
		Order:   true,
		Success: []destination.Success{destination.JSON(docs, destination.Is("code", "Success"))},
		Actions: destination.Coded[Settings]{
			{
				Slug: "updateUser", Title: "Upsert user", Doc: "Sets the fields of a user.", Trigger: `type = "identify"`,
				Fields: []mapping.Field{
					{Key: "email", Label: "Email Address", Type: mapping.TypeString, Format: "email", Default: mapping.Path("$.traits.email")},
					{Key: "userId", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
					{Key: "newEmail", Doc: "The address that the user has from now on.", Type: mapping.TypeString, Format: "email"},
					{Key: "dataFields", Type: mapping.TypeObject, Default: mapping.Path("$.traits")},
					{Key: "phoneNumber", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.traits.phone")},
					{Key: "mergeNestedObjects", Doc: "Merge objects of the user's fields instead of replacing them.", Type: mapping.TypeBoolean, Default: mapping.Literal(false)},
					{Key: "updateOnly", Doc: "Leave out users that Iterable does not know.", Type: mapping.TypeBoolean},
				},
				Item: user, Request: users, Results: counted, Success: bulkSuccess(), AllOrNothing: true,
				Limits: destination.ActionLimits{Rates: []destination.Rate{{N: 5, Per: time.Second, Of: destination.Requests, Docs: usersDocs}}},
			},
			{
				Slug: "trackEvent", Title: "Custom event", Doc: "An event of a user.", Trigger: `type = "track" and event != "Order Completed" and event != "Cart Updated"`,
				Fields: []mapping.Field{
					{Key: "email", Label: "Email Address", Type: mapping.TypeString, Format: "email", Default: mapping.Paths("$.properties.email", "$.context.traits.email")},
					{Key: "userId", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
					{Key: "eventName", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
					{Key: "dataFields", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
					{Key: "id", Type: mapping.TypeString, Default: mapping.Path("$.messageId")},
					createdAt(), campaign(), template(),
				},
				Item: track, Request: list("/api/events/trackBulk", "events"), Results: counted, Success: bulkSuccess(), AllOrNothing: true, TimeField: "createdAt",
				Limits: destination.ActionLimits{Rates: []destination.Rate{{N: 10, Per: time.Second, Of: destination.Requests, Docs: bulkDocs}}},
			},
			{
				Slug: "updateCart", Title: "Cart updates", Doc: "Replaces what is in the user's cart.", Trigger: `type = "track" and event = "Cart Updated"`,
				Fields: []mapping.Field{buyer(), goods()},
				Item:   cart, Request: one("/api/commerce/updateCart"),
			},
			{
				Slug: "trackPurchase", Title: "Track purchase", Doc: "An order of a user; it empties the cart.", Trigger: `type = "track" and event = "Order Completed"`,
				Fields: []mapping.Field{
					{Key: "id", Type: mapping.TypeString, Default: mapping.Path("$.properties.order_id")},
					buyer(),
					{Key: "dataFields", Type: mapping.TypeObject, Default: mapping.Path("$.properties")},
					goods(),
					{Key: "total", Type: mapping.TypeNumber, Required: true, Default: mapping.Path("$.properties.total")},
					createdAt(), campaign(), template(),
				},
				Item: purchase, Request: one("/api/commerce/trackPurchase"), TimeField: "createdAt",
			},
		},
		Presets: []destination.Preset{
			{Name: "Track Calls", Action: "trackEvent", Subscribe: `type = "track" and event != "Order Completed" and event != "Cart Updated"`},
			{Name: "Identify Calls", Action: "updateUser", Subscribe: `type = "identify"`},
			{Name: "Update Cart Calls", Action: "updateCart", Subscribe: `type = "track" and event = "Cart Updated"`},
			{Name: "Order Completed Calls", Action: "trackPurchase", Subscribe: `type = "track" and event = "Order Completed"`},
		},
	}.Destination()
}

func createdAt() mapping.Field {
	return mapping.Field{Key: "createdAt", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")}
}

func campaign() mapping.Field {
	return mapping.Field{Key: "campaignId", Type: mapping.TypeInteger, Default: mapping.Path("$.properties.campaignId")}
}

func template() mapping.Field {
	return mapping.Field{Key: "templateId", Type: mapping.TypeInteger, Default: mapping.Path("$.properties.templateId")}
}

// buyer is whose cart or order it is.
func buyer() mapping.Field {
	return mapping.Field{
		Key: "user", Label: "User", Type: mapping.TypeObject, Required: true,
		Default: mapping.Object(mapping.M("email", mapping.Paths("$.properties.email", "$.context.traits.email")), mapping.M("userId", mapping.Path("$.userId")),
			mapping.M("dataFields", mapping.Path("$.context.traits")), mapping.M("phoneNumber", mapping.Path("$.context.traits.phone")), mapping.M("mergeNestedObjects", mapping.Literal(false))),
		Properties: []mapping.Field{
			{Key: "email", Label: "Email Address", Type: mapping.TypeString, Format: "email"},
			{Key: "userId", Type: mapping.TypeString},
			{Key: "dataFields", Type: mapping.TypeObject},
			{Key: "mergeNestedObjects", Type: mapping.TypeBoolean},
			{Key: "phoneNumber", Type: mapping.TypeString, AllowNull: true},
		},
	}
}

// goods are the products of a cart or an order.
func goods() mapping.Field {
	return mapping.Field{
		Key: "items", Type: mapping.TypeObject, Required: true, Multiple: true, AdditionalProperties: true,
		Default: mapping.ArrayPath("$.properties.products", mapping.Object(mapping.M("id", mapping.Path("product_id")), mapping.M("sku", mapping.Path("sku")), mapping.M("categories", mapping.Path("category")),
			mapping.M("name", mapping.Path("name")), mapping.M("price", mapping.Path("price")), mapping.M("quantity", mapping.Path("quantity")), mapping.M("url", mapping.Path("url")),
			mapping.M("imageUrl", mapping.Path("image_url")), mapping.M("description", mapping.Path("description")))),
		Properties: []mapping.Field{
			{Key: "id", Type: mapping.TypeString, Required: true},
			{Key: "name", Type: mapping.TypeString, Required: true},
			{Key: "sku", Type: mapping.TypeString},
			{Key: "quantity", Type: mapping.TypeInteger, Required: true},
			{Key: "price", Type: mapping.TypeNumber, Required: true},
			{Key: "description", Type: mapping.TypeString},
			{Key: "categories", Type: mapping.TypeString},
			{Key: "url", Type: mapping.TypeString},
			{Key: "imageUrl", Type: mapping.TypeString},
		},
	}
}

func list(path, of string) func(*Settings) destination.Request {
	return func(*Settings) destination.Request {
		return destination.Request{Path: path, Open: `{"` + of + `":[`, Sep: ",", Close: "]}"}
	}
}

// onlyKnown is the group of the users that are not made where Iterable does
// not know them, which it wants said once a request.
const onlyKnown = "updateOnly"

func users(*Settings) destination.Request {
	open := func(group string) string {
		if group == onlyKnown {
			return `{"updateOnly":true,"users":[`
		}
		return `{"updateOnly":false,"users":[`
	}
	return destination.Request{Path: "/api/users/bulkUpdate", Open: open(""), OpenFor: open, Sep: ",", Close: "]}"}
}

func one(path string) func(*Settings) destination.Request {
	return func(*Settings) destination.Request { return destination.Request{Path: path} }
}

// bulkSuccess is the answer of the bulk endpoints.
func bulkSuccess() []destination.Success {
	return []destination.Success{destination.JSON(bulkDocs, destination.Counts("successCount"), destination.Number("failCount"))}
}

// counted reads the verdicts of the bulk endpoints. A success counts what was
// refused and names it by what it said: an address, a user id, an event's
// name. Where the count is higher than what is named, nobody is known to be
// taken; sending those again does no harm.
func counted(_ *Settings, a *destination.Answer, b *destination.Batch) []destination.Result {
	var body struct {
		FailCount            int                 `json:"failCount"`
		InvalidEmails        []string            `json:"invalidEmails"`
		InvalidUserIDs       []string            `json:"invalidUserIds"`
		DisallowedEventNames []string            `json:"disallowedEventNames"`
		FailedUpdates        map[string][]string `json:"failedUpdates"`
	}
	if !a.OK() || json.Unmarshal(a.Body, &body) != nil {
		return nil
	}
	refused := map[string]string{}
	note := func(kind, why string, names []string) {
		for _, n := range names {
			refused[kind+strings.ToLower(n)] = why
		}
	}
	note("email ", "invalidEmails", body.InvalidEmails)
	note("user ", "invalidUserIds", body.InvalidUserIDs)
	note("event ", "disallowedEventNames", body.DisallowedEventNames)
	for why, names := range body.FailedUpdates {
		if strings.HasSuffix(why, "Emails") {
			note("email ", why, names)
		} else {
			note("user ", why, names)
		}
	}
	rs := destination.Same(destination.Result{Outcome: destination.Delivered, Status: a.Status}, len(b.Deliveries))
	if len(refused) == 0 && body.FailCount == 0 {
		return rs
	}
	reject := func(i int, why string) {
		rs[i] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: why}
		body.FailCount--
	}
	for i, d := range b.Deliveries {
		var item struct{ Email, UserID, EventName string }
		if json.Unmarshal(d.Item, &item) != nil {
			continue
		}
		for _, name := range [...]string{"email " + item.Email, "user " + item.UserID, "event " + item.EventName} {
			if why := refused[strings.ToLower(name)]; why != "" {
				reject(i, why)
				break
			}
		}
	}
	if body.FailCount > 0 {
		for i := range rs {
			if rs[i].Outcome == destination.Delivered {
				reject(i, "Iterable refused some of the request and did not say which")
			}
		}
	}
	return rs
}

// identified rejects what is about nobody.
// https://api.iterable.com/api/docs#events_track
func identified(out *destination.Output, email, id event.Value) bool {
	if email.Falsy() && id.Falsy() {
		out.Reject(destination.MissingIdentity, "email or userId is required")
		return false
	}
	return true
}

func user(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !identified(out, p.Get("email"), p.Get("userId")) {
		return
	}
	if p.Get("updateOnly").Bool() {
		out.Group = onlyKnown
	}
	out.BeginObject()
	out.Field("email", p.Get("email"))
	out.Field("userId", p.Get("userId"))
	out.Field("mergeNestedObjects", p.Get("mergeNestedObjects"))
	about(out, p.Get("dataFields"), p.Get("phoneNumber"), p.Get("newEmail"))
	out.EndObject()
}

// about writes a user's fields.
func about(out *destination.Output, fields, phone, email event.Value) {
	out.Key("dataFields")
	out.BeginObject()
	for k, v := range fields.Members() {
		if !k.IsText("phoneNumber") && !(k.IsText("email") && email.Exists()) {
			out.RawKey(k.Raw())
			dated(out, v)
		}
	}
	out.Field("email", email)
	out.Field("phoneNumber", phone)
	out.EndObject()
}

func track(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !identified(out, p.Get("email"), p.Get("userId")) {
		return
	}
	out.BeginObject()
	out.Field("email", p.Get("email"))
	out.Field("userId", p.Get("userId"))
	out.Field("eventName", p.Get("eventName"))
	out.Key("dataFields")
	dated(out, p.Get("dataFields"), "")
	happened(in, out)
}

// happened ends an event or purchase with what both have.
func happened(in *destination.Input, out *destination.Output) {
	p := in.Payload
	if id := p.Get("id"); id.Exists() {
		out.Field("id", id)
	} else {
		out.Key("id")
		out.Compute(event.Value{}, mapping.WriteInsertID)
	}
	out.Key("createdAt")
	out.Compute(p.Get("createdAt"), writeTime)
	out.Field("campaignId", p.Get("campaignId"))
	out.Field("templateId", p.Get("templateId"))
	out.EndObject()
}

// writeTime writes when it was, which is now when nothing says it.
func writeTime(w *mapping.Writer, v event.Value, l *mapping.Late) {
	at, ok := event.ParseTime(v)
	if !ok {
		at = l.Now
	}
	w.Int(at.Unix())
}

func cart(_ *Settings, in *destination.Input, out *destination.Output) {
	if commerce(in, out) {
		out.EndObject()
	}
}

func purchase(_ *Settings, in *destination.Input, out *destination.Output) {
	if !commerce(in, out) {
		return
	}
	out.Field("total", in.Payload.Get("total"))
	out.Key("dataFields")
	dated(out, in.Payload.Get("dataFields"), "products")
	happened(in, out)
}

// commerce begins a cart or an order: whose it is, and of what.
func commerce(in *destination.Input, out *destination.Output) bool {
	who := in.Payload.Get("user")
	if !identified(out, who.Get("email"), who.Get("userId")) {
		return false
	}
	out.BeginObject()
	out.Key("user")
	out.BeginObject()
	out.Members(who, "dataFields", "phoneNumber")
	about(out, who.Get("dataFields"), who.Get("phoneNumber"), event.Value{})
	out.EndObject()
	out.Key("items")
	out.BeginArray()
	for product := range in.Payload.Get("items").Elements() {
		out.BeginObject()
		out.Members(product, "dataFields", "categories")
		if c := product.Get("categories"); !c.Falsy() {
			out.Key("categories")
			out.BeginArray()
			out.Val(c)
			out.EndArray()
		}
		out.Key("dataFields")
		dated(out, product, "dataFields", "product_id", "id", "sku", "name", "price", "quantity", "categories", "category", "url", "image_url", "imageUrl")
		out.EndObject()
	}
	out.EndArray()
	return true
}

// dated writes a value with its times, at any depth, in the form in which
// Iterable knows them; days stay as they are. A missing object becomes an
// empty one.
// https://support.iterable.com/hc/en-us/articles/208183076-Field-Data-Types
func dated(out *destination.Output, v event.Value, skip ...string) {
	switch v.Kind() {
	case event.Missing:
		out.BeginObject()
		out.EndObject()
	case event.Object:
		out.BeginObject()
		for k, m := range v.Members() {
			if len(skip) == 0 || !slices.Contains(skip, k.Text()) {
				out.RawKey(k.Raw())
				dated(out, m)
			}
		}
		out.EndObject()
	case event.Array:
		out.BeginArray()
		for e := range v.Elements() {
			dated(out, e)
		}
		out.EndArray()
	case event.String:
		if v.Test(looksDated) {
			out.Compute(v, writeDated)
		} else {
			out.Val(v)
		}
	default:
		out.Val(v)
	}
}

func looksDated(v event.Value) bool {
	b, ok := v.Plain()
	return ok && len(b) > len("2006-01-02") && b[4] == '-' && b[7] == '-'
}

// writeDated writes a time, null for one that is none, and any other text as it is.
func writeDated(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	if parts := isoTime.FindStringSubmatch(v.Text()); parts == nil {
		w.Val(v)
	} else if t, ok := moment(parts); ok {
		w.Text(t.UTC().Format("2006-01-02 15:04:05 +00:00"))
	} else {
		w.Null()
	}
}

// isoTime is what counts as a time in an event's own fields.
var isoTime = regexp.MustCompile(`^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[ T](\d{2}):?(\d{2})(?::?(\d{2})(?:[,.](\d+))?)?(Z|[+-]\d{2}(?::?\d{2})?)?$`)

// moment is the time of the parts that isoTime finds; one without a zone is UTC.
func moment(parts []string) (time.Time, bool) {
	n := func(s string) int {
		i, err := strconv.Atoi(s)
		if err != nil {
			return 0
		}
		return i
	}
	hour, minute, second := n(parts[4]), n(parts[5]), n(parts[6])
	t := time.Date(n(parts[1]), time.Month(n(parts[2])), n(parts[3]), hour, minute, second, 0, time.UTC)
	if zone := strings.ReplaceAll(parts[8], ":", ""); len(zone) > 2 {
		off := time.Duration(n(zone[1:3])) * time.Hour
		if len(zone) == 5 {
			off += time.Duration(n(zone[3:])) * time.Minute
		}
		if zone[0] == '+' {
			off = -off
		}
		t = t.Add(off)
	}
	return t, (hour < 24 || hour == 24 && minute+second == 0) && minute < 60 && second < 60
}
