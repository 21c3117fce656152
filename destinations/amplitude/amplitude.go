// Package amplitude delivers to Amplitude: events through /batch, which takes
// history, and profiles, groups and user mappings through their own endpoints.
package amplitude

import (
	"cmp"
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
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
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "amplitude", Name: "Amplitude", Summary: "product analytics", Docs: httpDocs,
			Integrations: []string{"Actions Amplitude", "Amplitude (Actions)"},
			Backfill: "Events of any age go through /batch and show up at their own time; a repeat within 7 days is dropped by its insert_id, a later one counts again. " +
				"User properties take effect on events that arrive after them: history does not change what older events show. Nothing is sent to users, but cohorts and what is synced from them follow the new data.",
			Differences: []destination.Difference{
				{What: "events go to /batch instead of /2/httpapi: 1000 events a second of one user instead of 30, and 20 MB a request", Docs: batchDocs},
				{What: "insert_id is always sent, from messageId when the mapping has none", Docs: httpDocs + "#event-deduplication"},
				{What: "options.min_id_length is 1, because Amplitude drops shorter ids than 5 characters otherwise; where the mapping has a min_id_length, shorter ids are left out before sending", Docs: batchDocs},
				{What: "profiles are sent as an array of many instead of one a request", Docs: whoDocs},
				{What: "a mapping of users carries no min_id_length", Docs: mapDocs},
			},
		},
		BaseURL: func(s *Settings) string {
			// https://amplitude.com/docs/apis/analytics/http-v2#regions
			if s.Endpoint == "eu" {
				return "https://api.eu.amplitude.com"
			}
			return "https://api2.amplitude.com"
		},
		Limits: destination.Limits{
			// The rates that Amplitude documents for /batch (1000 events a second, 500,000 a day) are of one user or device.
			BatchEvents: destination.Cap{N: 2000, Docs: httpDocs + "#upload-limit"},
			BatchBytes:  destination.Cap{N: 20_000_000, Docs: batchDocs},
			Dedupe:      destination.Dedupe{Field: "insert_id", Window: 7 * 24 * time.Hour, Docs: httpDocs + "#event-deduplication"},
		},
		Order:   true,
		Verdict: verdict,
		Success: []destination.Success{destination.JSON(httpDocs, destination.Is("code", 200), destination.Counts("events_ingested"))},
		Actions: destination.Coded[Settings]{
			{
				Slug: "logEvent", Title: "Log event", Doc: "An event, with user properties from the campaign and the referrer.", Trigger: `type = "track"`,
				Fields: slices.Concat(whoFields(), eventFields(), agentFields(), campaignFields()),
				Item:   logEvent, Request: events, Results: indexed,
			},
			{
				Slug: "identifyUser", Title: "Identify user", Doc: "Sets the properties of a user or device.", Trigger: `type = "identify"`,
				Fields: append(slices.Concat(whoFields(), agentFields(), campaignFields()),
					mapping.Field{Key: "paying", Type: mapping.TypeBoolean},
					mapping.Field{Key: "start_version", Type: mapping.TypeString}),
				Item: identify, Request: form("/identify", "identification"), Success: []destination.Success{destination.Words(whoDocs, "success")}, AllOrNothing: true,
				// https://amplitude.com/docs/apis/analytics/http-v2#upload-limit: its rules apply to /identify
				Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 1000, Docs: whoDocs}, BatchBytes: destination.Cap{N: 1_000_000, Docs: httpDocs + "#upload-limit"}},
			},
			{
				Slug: "mapUser", Title: "Map user", Doc: "Joins one user id to another.", Trigger: `type = "alias"`,
				Fields: []mapping.Field{
					{Key: "user_id", Type: mapping.TypeString, Default: mapping.Path("$.previousId")},
					{Key: "global_user_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
					{Key: "min_id_length", Type: mapping.TypeInteger, AllowNull: true},
				},
				Item: mapUser, Request: userMap, Success: []destination.Success{destination.JSON(mapDocs, destination.Is("success", true))}, AllOrNothing: true,
				Limits: destination.ActionLimits{
					Rates:      []destination.Rate{{N: 1500, Per: 30 * time.Second, Of: destination.Events, Docs: mapDocs}},
					BatchBytes: destination.Cap{N: 1_000_000, Docs: mapDocs},
				},
			},
			{
				Slug: "groupIdentifyUser", Title: "Group identify user", Doc: "Sets the properties of a group, and puts the user into it.", Trigger: `type = "group"`,
				Fields: []mapping.Field{
					{Key: "user_id", Type: mapping.TypeString, AllowNull: true, Default: mapping.Path("$.userId")},
					{Key: "device_id", Type: mapping.TypeString, Default: mapping.Paths("$.context.device.id", "$.anonymousId")},
					{Key: "insert_id", Type: mapping.TypeString},
					{Key: "time", Type: mapping.TypeString, Default: mapping.Path("$.timestamp")},
					{Key: "group_properties", Type: mapping.TypeObject, Default: mapping.Path("$.traits")},
					{Key: "group_type", Type: mapping.TypeString, Required: true},
					{Key: "group_value", Type: mapping.TypeString, Required: true},
					{Key: "min_id_length", Type: mapping.TypeInteger, AllowNull: true},
				},
				Item: group, Request: form("/groupidentify", "identification"), Success: []destination.Success{destination.Words(groupDocs, "success")}, AllOrNothing: true,
				Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 1024, Docs: groupDocs}, BatchBytes: destination.Cap{N: 1_000_000, Docs: groupDocs}},
			},
			{
				Slug: "logPurchase", Title: "Log purchase", Doc: "An order with its revenue, and one event for each of its products.", Trigger: `type = "track"`,
				Fields: append(slices.Concat(whoFields(), eventFields(), agentFields(), campaignFields()),
					mapping.Field{Key: "trackRevenuePerProduct", Type: mapping.TypeBoolean, Default: mapping.Literal(false)}),
				Item: purchase, Request: events, Results: indexed,
			},
			{
				Slug: "logEventV2", Title: "Log event V2", Doc: "An event, with user properties to set once, always, or to add to.", Trigger: `type = "track"`,
				Fields: slices.Concat(whoFields(), eventFields(), onceFields(), agentFields()),
				Item:   logEventV2, Request: events, Results: indexed,
			},
		},
		Presets: []destination.Preset{
			{Name: "Track calls", Action: "logEventV2", Subscribe: `type = "track" and event != "Order Completed"`},
			{Name: "Order Completed calls", Action: "logPurchase", Subscribe: `type = "track" and event = "Order Completed"`},
			{Name: "Page calls", Action: "logEventV2", Subscribe: `type = "page"`, Mapping: map[string]mapping.Value{"event_type": mapping.Template("Viewed {{name}}")}},
			{Name: "Screen calls", Action: "logEventV2", Subscribe: `type = "screen"`, Mapping: map[string]mapping.Value{"event_type": mapping.Template("Viewed {{name}}")}},
			{Name: "Identify calls", Action: "identifyUser", Subscribe: `type = "identify"`},
		},
	}.Destination()
}

func events(s *Settings) destination.Request {
	return destination.Request{
		Path: "/batch", Sep: ",", Close: `],"options":{"min_id_length":1}}`,
		Open: `{"api_key":` + string(event.AppendQuoted(nil, s.APIKey)) + `,"events":[`,
	}
}

func form(path, field string) func(*Settings) destination.Request {
	return func(s *Settings) destination.Request {
		return destination.Request{
			Path: path, ContentType: "application/x-www-form-urlencoded",
			Open: "api_key=" + url.QueryEscape(s.APIKey) + "&" + field + "=%5B", Sep: "%2C",
			Close: "%5D&options=" + url.QueryEscape(`{"min_id_length":1}`),
		}
	}
}

// userMap is on a host of its own in the US.
// https://amplitude.com/docs/apis/analytics/user-mapping
func userMap(s *Settings) destination.Request {
	r := form("/usermap", "mapping")(s)
	if s.Endpoint == "us" {
		r.BaseURL = "https://api.amplitude.com"
	}
	return r
}

// escape makes an item the value of a form's field.
func escape(item []byte) []byte { return []byte(url.QueryEscape(string(item))) }

// verdict reads what Amplitude says with a status of its own: a key it does not
// know is a 400, and a user who sends too much has to wait half a minute.
// https://amplitude.com/docs/apis/analytics/http-v2#responses
// https://github.com/amplitude/Amplitude-TypeScript/blob/main/packages/analytics-core/src/plugins/destination.ts
func verdict(a *destination.Answer) destination.Result {
	switch {
	case a.Status == 400 && (a.JSON.Get("missing_field").IsText("api_key") || badKey(a.Body)):
		return destination.Result{Outcome: destination.Retry, Reason: destination.Unauthorized, Status: a.Status, Detail: a.Words()}
	case a.Status == 429 && a.Header.Get("Retry-After") == "":
		return destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: a.Status, Detail: a.Words(), RetryAfter: 30 * time.Second}
	}
	return destination.Result{}
}

func badKey(body []byte) bool {
	text := strings.ToLower(string(body[:min(len(body), 400)]))
	return strings.Contains(text, "invalid_api_key") || strings.Contains(text, "invalid api key") || strings.Contains(text, "invalid api_key")
}

// indexed reads a 400 that names the events at fault. Nothing of the request
// was taken, so the others have to go out again.
func indexed(_ *Settings, a *destination.Answer, b *destination.Batch) []destination.Result {
	if a.Status != 400 {
		return nil
	}
	type named map[string][]int
	var body struct {
		Error   string `json:"error"`
		Invalid named  `json:"events_with_invalid_fields"`
		Missing named  `json:"events_with_missing_fields"`
		Lengths named  `json:"events_with_invalid_id_lengths"`
		Silent  []int  `json:"silenced_events"`
	}
	if json.Unmarshal(a.Body, &body) != nil {
		return nil
	}
	rs := destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Conflict, Status: a.Status, Detail: "refused with others of the same request"}, len(b.Deliveries))
	found := false
	refuse := func(i int, words string) {
		if i >= 0 && i < len(rs) {
			found = true
			rs[i] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: destination.Cut(words, 400)}
		}
	}
	for _, of := range [...]named{body.Invalid, body.Missing, body.Lengths} {
		for field, list := range of {
			for _, i := range list {
				refuse(i, field+": "+body.Error)
			}
		}
	}
	for _, i := range body.Silent {
		refuse(i, "the device is silenced")
	}
	if !found {
		return nil
	}
	return rs
}

// id is an id of the payload, or Missing when it is shorter than the payload
// allows: Amplitude drops such an id from the event.
// https://amplitude.com/docs/apis/analytics/batch-event-upload
func id(p *mapping.Payload, key string) event.Value {
	v := p.Get(key)
	if least, ok := p.Get("min_id_length").Int(); ok && least > 0 && v.Exists() {
		if v.Test(func(v event.Value) bool { return int64(utf8.RuneCountInString(v.Text())) < least }) {
			return event.Value{}
		}
	}
	return v
}

// identified rejects what no user or device can be told from.
func identified(p *mapping.Payload, out *destination.Output) bool {
	if !id(p, "user_id").Falsy() || !id(p, "device_id").Falsy() {
		return true
	}
	out.Reject(destination.MissingIdentity, "user_id or device_id is required")
	return false
}

func logEvent(_ *Settings, in *destination.Input, out *destination.Output) {
	if identified(in.Payload, out) {
		out.BeginObject()
		body(in, out, false, 0)
		agent(in.Payload, out)
		campaign(in.Payload, out, true)
		library(in.Payload, out)
		out.EndObject()
	}
}

func logEventV2(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !identified(p, out) {
		return
	}
	out.BeginObject()
	body(in, out, false, 0)
	agent(p, out)
	own, sets := p.Get("user_properties"), [...]struct {
		name string
		v    event.Value
	}{{"$setOnce", filled(p.Get("setOnce"))}, {"$set", filled(p.Get("setAlways"))}, {"$add", filled(p.Get("add"))}}
	var skip []string
	for _, set := range sets {
		if set.v.Exists() {
			skip = append(skip, set.name)
		}
	}
	if len(skip) == 0 {
		out.Field("user_properties", own)
	} else {
		out.Key("user_properties")
		out.BeginObject()
		out.Members(own, skip...)
		for _, set := range sets {
			out.Field(set.name, set.v)
		}
		out.EndObject()
	}
	library(p, out)
	out.EndObject()
}

// filled is an object in which something is not empty, else Missing.
func filled(v event.Value) event.Value {
	if v.Kind() == event.Object {
		for _, m := range v.Members() {
			if !m.IsEmptyText() {
				return v
			}
		}
	}
	return event.Value{}
}

func purchase(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !identified(p, out) {
		return
	}
	products, perProduct := p.Get("products"), p.Get("trackRevenuePerProduct").Bool()
	out.BeginObject()
	body(in, out, true, 0)
	agent(p, out)
	campaign(p, out, true)
	if products.Len() == 0 || !perProduct {
		revenue(out, p.Get)
	}
	library(p, out)
	out.EndObject()
	out.Emit()
	if products.Kind() != event.Array {
		return
	}
	n := 1
	for product := range products.Elements() {
		n++
		out.BeginObject()
		out.Str("event_type", "Product Purchased")
		out.Field("event_properties", product)
		if mapped := p.Get("insert_id"); mapped.Exists() {
			end := "-" + strconv.Itoa(n)
			out.Key("insert_id")
			out.Compute(mapped, func(w *mapping.Writer, v event.Value, _ *mapping.Late) { w.Text(v.Text() + end) })
		}
		body(in, out, true, n)
		campaign(p, out, true)
		if perProduct {
			revenue(out, product.Get)
		}
		library(p, out)
		out.EndObject()
		out.Emit()
	}
}

// body writes the members that stand for themselves, and the time, the platform
// and the insert id. Of a product's event (n is its number) those that are already
// there are the product's.
func body(in *destination.Input, out *destination.Output, ofPurchase bool, n int) {
	p := in.Payload
	product := n > 0
	for key, f := range p.Fields() {
		switch key {
		case "time", "session_id", "user_properties", "platform", "insert_id", "library", "library2",
			"userAgent", "userAgentParsing", "includeRawUserAgent", "userAgentData", "utm_properties", "referrer", "min_id_length",
			"setOnce", "setAlways", "add", "trackRevenuePerProduct",
			"price", "quantity", "revenue", "productId", "revenueType":
		case "products":
			if !ofPurchase {
				p.Put(&out.Writer, f)
			}
		case "event_type", "event_properties":
			if !product {
				p.Put(&out.Writer, f)
			}
		case "user_id", "device_id":
			out.Field(key, id(p, key))
		default:
			p.Put(&out.Writer, f)
		}
	}
	if at := p.Get("time"); at.Exists() {
		out.Compute(at, writeTime)
	}
	if session := p.Get("session_id"); session.Kind() == event.Number {
		out.Field("session_id", session)
	} else if session.Exists() {
		out.Compute(session, writeSession)
	}
	platform(p, out)
	if !product || !p.Get("insert_id").Exists() {
		insertID(in, out)
	}
}

// writeTime writes the time, where it is one.
func writeTime(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	if at, ok := event.ParseTime(v); ok {
		w.IntField("time", at.UnixMilli())
	}
}

// writeSession writes a session's number: that of a text, or its time.
func writeSession(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	if n, err := strconv.ParseInt(v.Text(), 10, 64); err == nil {
		w.IntField("session_id", n)
	} else if at, ok := event.ParseTime(v); ok {
		w.IntField("session_id", at.UnixMilli())
	}
}

func platform(p *mapping.Payload, out *destination.Output) {
	if v := p.Get("platform"); !v.Falsy() {
		out.Key("platform")
		out.Compute(v, writePlatform)
	} else if p.Get("library").IsText("analytics.js") {
		out.Str("platform", "Web")
	}
}

func writePlatform(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	w.Text(respell(respell(v.Text(), "iOS"), "Android"))
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

// told are the members that a user agent tells, each with the hint of the browser
// that knows better.
var told = [...]struct {
	key, hint string
	of        func(*device) string
}{
	{"os_name", "", func(d *device) string { return cmp.Or(d.os, d.browser) }},
	{"os_version", "platformVersion", func(d *device) string { return d.major }},
	{"device_manufacturer", "", func(d *device) string { return d.vendor }},
	{"device_model", "model", func(d *device) string { return cmp.Or(d.model, d.os) }},
	{"device_type", "", func(d *device) string { return d.kind }},
}

// agent writes what the user agent says where the payload does not.
func agent(p *mapping.Payload, out *destination.Output) {
	ua := p.Get("userAgent")
	if !ua.Exists() || ua.IsEmptyText() {
		return
	}
	if p.Get("includeRawUserAgent").Bool() {
		out.Key("user_agent")
		out.Compute(ua, mapping.WriteText)
	}
	if !p.Get("userAgentParsing").Bool() {
		return
	}
	hints := p.Get("userAgentData")
	var some [len(told)]bool
	for i := range told {
		t := &told[i]
		if p.Has(t.key) {
			continue
		}
		if hint := hints.Get(t.hint); !hint.Nullish() {
			tell(out, ua, some)
			some = [len(told)]bool{}
			out.Field(t.key, hint)
		} else {
			some[i] = true
		}
	}
	tell(out, ua, some)
}

// tell writes some of what a user agent tells.
func tell(out *destination.Output, ua event.Value, some [len(told)]bool) {
	if some == [len(told)]bool{} {
		return
	}
	out.Compute(ua, func(w *mapping.Writer, v event.Value, l *mapping.Late) {
		d := mapping.Recall(l, v, parseAgent)
		for i := range told {
			if some[i] {
				w.StrNonEmpty(told[i].key, told[i].of(d))
			}
		}
	})
}

// campaign writes the user properties, and among them the campaign and the
// referrer: first and last. ownWins says that the event's own go before them.
func campaign(p *mapping.Payload, out *destination.Output, ownWins bool) {
	own, utm, referrer := p.Get("user_properties"), p.Get("utm_properties"), p.Get("referrer")
	if utm.Len() == 0 && referrer.Falsy() {
		out.Field("user_properties", own)
		return
	}
	out.Key("user_properties")
	out.BeginObject()
	out.Members(own, "utm_properties", "referrer", "$set", "$setOnce")
	for _, set := range [...]struct{ name, prefix string }{{"$set", ""}, {"$setOnce", "initial_"}} {
		mine := own.Get(set.name)
		out.Key(set.name)
		out.BeginObject()
		var skip []string
		for k, v := range utm.Members() {
			if key := set.prefix + k.Text(); !ownWins || !mine.Get(key).Exists() {
				skip = append(skip, key)
				out.Field(key, v)
			}
		}
		if key := set.prefix + "referrer"; !referrer.Falsy() && (!ownWins || !mine.Get(key).Exists()) {
			skip = append(skip, key)
			out.Field(key, referrer)
		}
		out.Members(mine, skip...)
		out.EndObject()
	}
	out.EndObject()
}

// revenue writes what was earned, of an order or a product: quantity times
// price where both are known.
func revenue(out *destination.Output, of func(string) event.Value) {
	sum, quantity := of("revenue"), of("quantity")
	counted := quantity.Kind() == event.Number
	switch price := of("price"); {
	case counted && price.Kind() == event.Number:
		a, _ := price.Float()
		b, _ := quantity.Float()
		if a*b == 0 {
			return
		}
		out.FloatField("revenue", a*b)
	case sum.Kind() == event.Number && !sum.Falsy():
		out.Key("revenue")
		out.Compute(sum, writeFloat)
	default:
		return
	}
	if v := of("revenueType"); !v.Nullish() {
		out.Field("revenueType", v)
	} else {
		out.Str("revenueType", "Purchase")
	}
	if counted {
		out.Key("quantity")
		out.Compute(quantity, writeRounded)
	}
	out.Field("price", of("price"))
	out.Field("productId", of("productId"))
}

func writeFloat(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	f, _ := v.Float()
	w.Float(f)
}

func writeRounded(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	f, _ := v.Float()
	w.Float(math.Floor(f + 0.5))
}

func library(p *mapping.Payload, out *destination.Output) {
	if l := p.Get("library2"); l.Get("behavior").IsText("use_mapping") {
		out.Field("library", l.Get("mapping"))
	} else {
		out.Str("library", "segment")
	}
}

func identify(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !identified(p, out) {
		return
	}
	out.BeginObject()
	for key, f := range p.Fields() {
		switch key {
		case "user_properties", "platform", "library", "insert_id", "userAgent", "userAgentParsing", "includeRawUserAgent", "userAgentData", "utm_properties", "referrer", "min_id_length":
		case "user_id", "device_id":
			out.Field(key, id(p, key))
		default:
			p.Put(&out.Writer, f)
		}
	}
	platform(p, out)
	agent(p, out)
	campaign(p, out, false)
	insertID(in, out)
	out.Str("library", "segment")
	out.EndObject()
	out.Encode(escape)
}

func insertID(in *destination.Input, out *destination.Output) {
	if mapped := in.Payload.Get("insert_id"); mapped.Exists() {
		out.Field("insert_id", mapped)
	} else {
		out.Key("insert_id")
		out.Compute(event.Value{}, mapping.WriteInsertID)
	}
}

func group(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	kind := p.Text("group_type")
	if user, device := id(p, "user_id"), id(p, "device_id"); !user.Falsy() || !device.Falsy() {
		out.Path = "/identify"
		out.BeginObject()
		out.Field("user_id", user)
		out.Field("device_id", device)
		insertID(in, out)
		if at := p.Get("time"); at.Exists() {
			out.Compute(at, writeTime)
		}
		for _, key := range [...]string{"groups", "user_properties"} {
			out.Key(key)
			out.BeginObject()
			out.Field(kind, p.Get("group_value"))
			out.EndObject()
		}
		out.Str("library", "segment")
		out.EndObject()
		out.Encode(escape)
		out.Emit()
	}
	out.Path = ""
	out.BeginObject()
	out.Field("group_type", p.Get("group_type"))
	out.Field("group_value", p.Get("group_value"))
	out.Key("group_properties")
	out.BeginObject()
	out.Members(p.Get("group_properties"))
	out.EndObject()
	out.Str("library", "segment")
	out.EndObject()
	out.Encode(escape)
}

func mapUser(_ *Settings, in *destination.Input, out *destination.Output) {
	user, global := id(in.Payload, "user_id"), id(in.Payload, "global_user_id")
	if user.Falsy() || global.Falsy() {
		out.Reject(destination.MissingIdentity, "user_id and global_user_id are required")
		return
	}
	out.BeginObject()
	out.Field("user_id", user)
	out.Field("global_user_id", global)
	out.EndObject()
	out.Encode(escape)
}
