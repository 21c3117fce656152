// Package braze delivers to Braze: profiles, events and purchases through
// /users/track, identities and messages through their own endpoints.
package braze

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a workspace.
type Settings struct {
	APIKey   string `setting:"api_key,required,secret,transport" doc:"REST API key with the permissions users.track, users.alias.new and users.identify." example:"01234567-89ab-cdef-0123-456789abcdef"`
	AppID    string `setting:"app_id" doc:"App that events and purchases belong to."`
	Endpoint string `setting:"endpoint,transport" doc:"REST endpoint of the workspace's instance, or the instance alone: us-01 to us-10, eu-01, eu-02, au-01, id-01, jp-01." default:"https://rest.iad-01.braze.com"`
}

const (
	trackDocs    = "https://www.braze.com/docs/api/endpoints/user_data/post_user_track/"
	limitDocs    = "https://www.braze.com/docs/api/api_limits/"
	aliasDocs    = "https://www.braze.com/docs/api/endpoints/user_data/post_user_alias/"
	whoDocs      = "https://www.braze.com/docs/api/endpoints/user_data/post_user_identify/"
	purchaseDocs = "https://www.braze.com/docs/api/objects_filters/purchase_object/"
	eventDocs    = "https://www.braze.com/docs/api/objects_filters/event_object/"
	sendDocs     = "https://www.braze.com/docs/api/endpoints/messaging/send_messages/post_send_triggered_campaigns/"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "braze", Name: "Braze", Summary: "customer engagement", Docs: trackDocs,
			Integrations: []string{"Braze Cloud Mode (Actions)", "Appboy"},
			Backfill: "Events and purchases of any age are kept with their own time; profiles are set to what the event says, in the order of delivery. " +
				"Braze has no switch for history: campaigns and canvases that an event, a purchase or a changed attribute triggers may start, so pause them. It drops no repeats: an event sent twice counts twice.",
			Differences: []destination.Difference{
				{What: "the products of orders, and the events of several users, share requests of up to 75", Docs: limitDocs + "#batch-user-track"},
				{What: "an event without receivedAt is sent with its timestamp; Segment does not send it", Docs: eventDocs},
				{What: "an event or product whose name has more than 255 characters or whose properties have more than 50 KB is not sent, because Braze refuses it", Docs: eventDocs},
			},
		},
		BaseURL: func(s *Settings) string { return endpoint(s.Endpoint) },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.APIKey) },
		Check: func(s *Settings) []error {
			if u, err := url.Parse(endpoint(s.Endpoint)); err != nil || u.Scheme != "https" || !ours(u.Host) || strings.Trim(u.Path, "/") != "" {
				return []error{fmt.Errorf("endpoint: %q is no REST endpoint of Braze, such as https://rest.iad-01.braze.com, nor an instance, such as us-01", s.Endpoint)}
			}
			return nil
		},
		Limits: destination.Limits{
			Rates:       []destination.Rate{{N: 3000, Per: 3 * time.Second, Of: destination.Requests, Docs: limitDocs}},
			BatchEvents: destination.Cap{N: 75, Docs: limitDocs + "#batch-user-track"},
			BatchBytes:  destination.Cap{N: 4_000_000, Docs: "https://www.braze.com/docs/api/errors/"},
			EventBytes:  destination.Cap{N: 3_900_000, Docs: "https://www.braze.com/docs/api/errors/"},
		},
		Order:   true,
		Verdict: verdict,
		Success: success(),
		Actions: destination.Coded[Settings]{
			{
				Slug: "updateUserProfile", Title: "Update user profile", Doc: "Sets attributes of a profile.", Trigger: `type = "identify"`,
				Fields: profileFields(existingOnly()), Item: profile, Request: list("/users/track", "attributes"), Results: processed, Success: success(destination.Some("attributes_processed").IfThere()), AllOrNothing: true,
			},
			{
				Slug: "trackEvent", Title: "Track event", Doc: "A custom event.", Trigger: `type = "track" and event != "Order Completed"`,
				Fields: eventFields(existingOnly()), Item: track, Request: list("/users/track", "events"), Results: processed, Success: success(destination.Counts("events_processed").IfThere()), AllOrNothing: true,
			},
			{
				Slug: "trackPurchase", Title: "Track purchase", Doc: "A purchase for each product of an order.", Trigger: `event = "Order Completed"`,
				Fields: purchaseFields(existingOnly()), Item: purchase, Request: list("/users/track", "purchases"), Results: processed, Success: success(destination.Counts("purchases_processed").IfThere()), AllOrNothing: true,
			},
			{
				Slug: "createAlias", Title: "Create alias", Doc: "Gives a user, known or not, an alias.", Trigger: `event = "Create Alias"`,
				Fields: aliasFields(), Item: newAlias, Request: list("/users/alias/new", "user_aliases"), Results: identified, Success: success(destination.Some("aliases_processed").IfThere()), Limits: identities(),
			},
			{
				Slug: "identifyUser", Title: "Identify user", Doc: "Makes the user of an alias one with an external id.",
				Fields: identifyFields(), Item: identify, Request: one("/users/identify"), Results: identified, Success: success(destination.Some("aliases_processed").IfThere()), Limits: identities(),
			},
			{
				Slug: "identifyUser2", Title: "Identify user V2", Doc: "Makes the user of an alias or of an email address one with an external id.",
				Fields: identifyFields2(), Item: modes(identify, "add", "upsert"), Request: one("/users/identify"), Results: identified, Success: success(destination.Some("aliases_processed").IfThere()), Limits: identities(),
			},
			{
				Slug: "trackEvent2", Title: "Track event V2", Doc: "A custom event, with a sync mode.", Trigger: `type = "track" and event != "Order Completed"`,
				Fields: eventFields(mode("add")), Item: modes(track, "add", "update"), Request: list("/users/track", "events"), Results: processed, Success: success(destination.Counts("events_processed").IfThere()), AllOrNothing: true,
			},
			{
				Slug: "trackPurchase2", Title: "Track purchase V2", Doc: "A purchase for each product of an order, with a sync mode.", Trigger: `event = "Order Completed"`,
				Fields: purchaseFields(mode("add")), Item: modes(purchase, "add", "update"), Request: list("/users/track", "purchases"), Results: processed, Success: success(destination.Counts("purchases_processed").IfThere()), AllOrNothing: true,
			},
			{
				Slug: "updateUserProfile2", Title: "Update user profile V2", Doc: "Sets attributes of a profile that exists.", Trigger: `type = "identify"`,
				Fields: profileFields(mode("update")), Item: modes(profile, "update"), Request: list("/users/track", "attributes"), Results: processed, Success: success(destination.Some("attributes_processed").IfThere()), AllOrNothing: true,
			},
			{
				Slug: "createAlias2", Title: "Create alias V2", Doc: "Gives a user, known or not, an alias.", Trigger: `event = "Create Alias"`,
				Fields: aliasFields(mode("add")), Item: modes(newAlias, "add"), Request: list("/users/alias/new", "user_aliases"), Results: identified, Success: success(destination.Some("aliases_processed").IfThere()), Limits: identities(),
			},
			{
				Slug: "triggerCampaign", Title: "Trigger campaign", Doc: "Sends an API-triggered campaign, at once and also for old events.", Trigger: `type = "track"`,
				Fields: campaignFields(), Item: trigger, Request: one("/campaigns/trigger/send"), Limits: messages(),
			},
			{
				Slug: "triggerCanvas", Title: "Trigger canvas", Doc: "Starts an API-triggered canvas, at once and also for old events.", Trigger: `type = "track"`,
				Fields: canvasFields(), Item: trigger, Request: one("/canvas/trigger/send"), Limits: messages(),
			},
			{
				Slug: "ecommerce", Title: "Ecommerce event (multi product)", Doc: "One of Braze's recommended events about a cart or an order. It needs a source, and of every product name, variant, price and quantity.",
				Fields: ecommerceFields(), Item: shop, Request: list("/users/track", "events"), Results: processed, Success: success(destination.Counts("events_processed").IfThere()), AllOrNothing: true,
			},
			{
				Slug: "ecommerceSingleProduct", Title: "Ecommerce event (single product)", Doc: "Braze's recommended event about a product that was viewed. It needs a source, and of the product name, variant and price.",
				Fields: singleFields(), Item: shop, Request: list("/users/track", "events"), Results: processed, Success: success(destination.Counts("events_processed").IfThere()), AllOrNothing: true,
			},
		},
		Presets: []destination.Preset{
			{Name: "Track Calls", Action: "trackEvent", Subscribe: `type = "track" and event != "Order Completed" and event != "Checkout Started" and event != "Order Refunded" and event != "Order Cancelled" and event != "Product Viewed" and event != "Product Added" and event != "Product Removed"`},
			{Name: "Order Placed (beta)", Action: "ecommerce", Subscribe: `event = "Order Completed"`, Mapping: about(placed, "order_status_url")},
			{Name: "Checkout Started (beta)", Action: "ecommerce", Subscribe: `event = "Checkout Started"`, Mapping: about(checkout, "checkout_url")},
			{Name: "Order Refunded (beta)", Action: "ecommerce", Subscribe: `event = "Order Refunded"`, Mapping: about(refunded, "order_status_url")},
			{Name: "Order Cancelled (beta)", Action: "ecommerce", Subscribe: `event = "Order Cancelled"`, Mapping: about(cancelled, "order_status_url")},
			{Name: "Product Viewed (beta)", Action: "ecommerceSingleProduct", Subscribe: `event = "Product Viewed"`, Mapping: map[string]mapping.Value{"name": mapping.Literal(viewed)}},
			{Name: "Product Added (beta)", Action: "ecommerce", Subscribe: `event = "Product Added"`, Mapping: carted("add")},
			{Name: "Product Removed (beta)", Action: "ecommerce", Subscribe: `event = "Product Removed"`, Mapping: carted("remove")},
			{Name: "Identify Calls", Action: "updateUserProfile", Subscribe: `type = "identify"`},
		},
	}.Destination()
}

// about is the mapping of an e-commerce event that carries an address.
func about(name, address string) map[string]mapping.Value {
	return map[string]mapping.Value{"name": mapping.Literal(name), "metadata": mapping.Object(mapping.M(address, mapping.Path("$.properties."+address)))}
}

// carted is the mapping of an event about one product of a cart.
func carted(action string) map[string]mapping.Value {
	return map[string]mapping.Value{
		"name": mapping.Literal(cart), "action": mapping.Literal(action),
		"products": mapping.Array(product("$.properties.", mapping.M("quantity", mapping.Path("$.properties.quantity")))),
	}
}

// endpoint is the address of an instance, which may be named by itself.
// https://www.braze.com/docs/api/basics/#endpoints
func endpoint(s string) string {
	name := strings.ToLower(strings.TrimSpace(s))
	switch area, number, _ := strings.Cut(name, "-"); {
	case name == "us-09" || name == "us-10":
		return "https://rest." + name + ".braze.com"
	case area == "us" && len(number) == 2:
		return "https://rest.iad-" + number + ".braze.com"
	case area == "eu" && len(number) == 2:
		return "https://rest.fra-" + number + ".braze.eu"
	case (area == "au" || area == "id" || area == "jp") && len(number) == 2:
		return "https://rest." + name + ".braze.com"
	}
	return strings.TrimRight(strings.TrimSpace(s), "/")
}

func ours(host string) bool {
	com, _ := path.Match("rest.*.braze.com", host)
	eu, _ := path.Match("rest.*.braze.eu", host)
	return com || eu
}

// identities are the limits of the endpoints that say what they refuse but not
// where: one event a request, so that it is known.
func identities() destination.ActionLimits {
	return destination.ActionLimits{
		BatchEvents: destination.Cap{N: 1, Docs: whoDocs},
		Rates:       []destination.Rate{{N: 20_000, Per: time.Minute, Of: destination.Requests, Docs: limitDocs}},
	}
}

// messages are the limits of the endpoints that send.
func messages() destination.ActionLimits {
	return destination.ActionLimits{
		BatchEvents: destination.Cap{N: 1, Docs: sendDocs},
		Rates:       []destination.Rate{{N: 250_000, Per: time.Hour, Of: destination.Requests, Docs: limitDocs}},
	}
}

func list(path, of string) func(*Settings) destination.Request {
	return func(*Settings) destination.Request {
		return destination.Request{Path: path, Open: `{"` + of + `":[`, Sep: ",", Close: "]}"}
	}
}

func one(path string) func(*Settings) destination.Request {
	return func(*Settings) destination.Request { return destination.Request{Path: path} }
}

// success is what every endpoint says of what it has taken, with the counts of those
// that count. During maintenance a request is queued.
// https://www.braze.com/docs/api/errors/#messaging-queued
func success(counts ...destination.Member) []destination.Success {
	members := append([]destination.Member{destination.Is("message", "success")}, counts...)
	return []destination.Success{
		destination.JSON(trackDocs, members...).With(200, 201, 202),
		destination.JSON("https://www.braze.com/docs/api/errors/", destination.Is("message", "queued")).With(202),
	}
}

// verdict reads how long to wait from the header that Braze sends with 429.
// https://www.braze.com/docs/api/api_limits/#monitoring-your-rate-limits
func verdict(a *destination.Answer) destination.Result {
	after, err := strconv.Atoi(strings.TrimSpace(a.Header.Get("X-Ratelimit-Retry-After")))
	if a.Status != 429 || err != nil || after <= 0 {
		return destination.Result{}
	}
	return destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429, Detail: a.Words(), RetryAfter: time.Duration(min(after, 86400)) * time.Second}
}

// processed reads the verdicts of /users/track: a success names the objects
// that were left out, by their place in the request; anything else took none.
func processed(_ *Settings, a *destination.Answer, b *destination.Batch) []destination.Result {
	var body struct {
		Errors []struct {
			Type  string `json:"type"`
			Index int    `json:"index"`
		} `json:"errors"`
	}
	if !a.OK() || json.Unmarshal(a.Body, &body) != nil {
		return nil
	}
	rs := destination.Same(destination.Result{Outcome: destination.Delivered, Status: a.Status}, len(b.Deliveries))
	for _, e := range body.Errors {
		if e.Index >= 0 && e.Index < len(rs) {
			rs[e.Index] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: destination.Cut(e.Type, 400)}
		}
	}
	return rs
}

// identified reads the answers of the identity endpoints, which list what they
// refuse beside a success.
func identified(_ *Settings, a *destination.Answer, b *destination.Batch) []destination.Result {
	errors := a.JSON.Get("errors")
	if !a.OK() || errors.Kind() != event.Array || errors.Len() == 0 {
		return nil
	}
	return destination.Same(destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: a.Status, Detail: destination.Cut(string(errors.Raw()), 400)}, len(b.Deliveries))
}

type item func(*Settings, *destination.Input, *destination.Output)

// modes is an item that is only written with one of these sync modes.
func modes(write item, may ...string) item {
	return func(s *Settings, in *destination.Input, out *destination.Output) {
		if !slices.Contains(may, in.Payload.Text(syncMode)) {
			out.Reject(destination.Invalid, syncMode+" has to be "+strings.Join(may, " or "))
			return
		}
		write(s, in, out)
	}
}

// user writes who an object is about, or rejects the delivery. Every object
// needs one of the ids.
// https://www.braze.com/docs/api/endpoints/user_data/post_user_track/
func user(in *destination.Input, out *destination.Output) bool {
	p := in.Payload
	id, braze, email, alias := p.Get("external_id"), p.Get("braze_id"), p.Get("email"), p.Get("user_alias")
	label, name := alias.Get("alias_label"), alias.Get("alias_name")
	aliased := !label.Falsy() && !name.Falsy()
	if id.Falsy() && braze.Falsy() && email.Falsy() && !aliased {
		out.Reject(destination.MissingIdentity, "external_id, user_alias, braze_id or email is required")
		return false
	}
	out.BeginObject()
	out.Field("external_id", id)
	out.Field("braze_id", braze)
	out.Field("email", email)
	if aliased {
		out.Key("user_alias")
		out.BeginObject()
		out.Field("alias_name", name)
		out.Field("alias_label", label)
		out.EndObject()
	}
	return true
}

// existing ends an object by saying whether it may make a profile.
func existing(in *destination.Input, out *destination.Output) {
	if v := in.Payload.Get(syncMode); v.Exists() {
		out.BoolField("_update_existing_only", v.IsText("update"))
	} else {
		out.Field("_update_existing_only", in.Payload.Get("_update_existing_only"))
	}
	out.EndObject()
}

func moment(out *destination.Output, key string, v event.Value, layout string) {
	if v.Kind() == event.Null {
		out.Field(key, v)
	} else if v.Exists() && v.Test(event.IsTime) {
		out.Key(key)
		out.Compute(v, func(w *mapping.Writer, v event.Value, _ *mapping.Late) {
			t, _ := event.ParseTime(v)
			var buf [40]byte
			w.TextBytes(t.UTC().AppendFormat(buf[:0], layout))
		})
	}
}

const (
	iso = "2006-01-02T15:04:05.000Z"
	day = "2006-01-02"

	// https://www.braze.com/docs/api/objects_filters/event_object/
	maxName = 255
	// https://www.braze.com/docs/user_guide/data/custom_data/custom_events/nested_objects/
	maxProperties = 50 << 10
	tooLarge      = "properties have at most 50 KB"
)

// fits rejects what Braze would refuse for its name.
func fits(out *destination.Output, name event.Value) bool {
	if name.Exists() && !name.Test(isName) {
		out.Reject(destination.Invalid, "a name has at most 255 characters")
		return false
	}
	return true
}

func isName(v event.Value) bool {
	if v.Kind() == event.String && v.Size() <= maxName+2 {
		return true
	}
	return utf8.RuneCountInString(v.Text()) <= maxName
}

func fitsProperties(v event.Value) bool { return v.Size() <= maxProperties }

func track(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !fits(out, p.Get("name")) {
		return
	}
	if v := p.Get("properties"); v.Exists() && !v.Test(fitsProperties) {
		out.Reject(destination.TooLarge, tooLarge)
		return
	}
	if !user(in, out) {
		return
	}
	out.StrNonEmpty("app_id", s.AppID)
	out.Field("name", p.Get("name"))
	moment(out, "time", p.Get("time"), iso)
	out.Field("properties", p.Get("properties"))
	existing(in, out)
}

func purchase(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	order := p.Get("properties")
	for product := range p.Get("products").Elements() {
		if !fits(out, product.Get("product_id")) || !user(in, out) {
			return
		}
		out.StrNonEmpty("app_id", s.AppID)
		moment(out, "time", p.Get("time"), iso)
		out.Field("product_id", product.Get("product_id"))
		if c := product.Get("currency"); c.Nullish() {
			out.Str("currency", "USD")
		} else {
			out.Field("currency", c)
		}
		out.Field("price", product.Get("price"))
		out.Field("quantity", product.Get("quantity"))
		out.Key("properties")
		from := out.Place()
		out.BeginObject()
		for k, v := range product.Members() {
			switch key := k.Text(); key {
			case "product_id", "currency", "price", "quantity":
			default:
				if key == "products" || !order.Get(key).Exists() {
					out.Key(key)
					out.Val(v)
				}
			}
		}
		out.Members(order, "products")
		out.EndObject()
		if out.Exceeds(from, maxProperties) {
			out.Reject(destination.TooLarge, tooLarge)
			continue
		}
		existing(in, out)
		out.Emit()
	}
}

// attributes are the members of a profile that are filled from fields of
// their own, and never from custom attributes.
var attributes = [...]string{
	"country", "current_location", "date_of_first_session", "date_of_last_session", "dob", "email_subscribe", "email_open_tracking_disabled", "email_click_tracking_disabled",
	"facebook", "first_name", "gender", "home_city", "image_url", "language", "last_name", "marked_email_as_spam_at", "phone", "push_subscribe", "push_tokens", "time_zone", "twitter",
}

// reserved are no custom attributes either.
var reserved = [...]string{
	"external_id", "user_alias", "email", "braze_id", "time", "products", "properties", "_update_existing_only", "enable_batching", "batch_size", "firstName", "lastName", "avatar",
}

func profile(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if !user(in, out) {
		return
	}
	groups := p.Get("subscription_groups")
	for k, v := range p.Get("custom_attributes").Members() {
		key := k.Text()
		if slices.Contains(reserved[:], key) || slices.Contains(attributes[:], key) || key == "subscription_groups" && groups.Len() > 0 {
			continue
		}
		out.RawKey(k.Raw())
		out.Val(v)
	}
	for _, key := range attributes {
		switch v := p.Get(key); key {
		case "date_of_first_session", "date_of_last_session", "marked_email_as_spam_at":
			moment(out, key, v, iso)
		case "dob":
			moment(out, key, v, day)
		case "gender":
			if v.Kind() == event.String && v.Test(hasGender) {
				out.Key(key)
				out.Compute(v, func(w *mapping.Writer, v event.Value, _ *mapping.Late) { w.Text(genderOf(v.Text())) })
			} else {
				out.Field(key, v)
			}
		case "current_location":
			if v.Kind() != event.Object || v.Len() > 0 {
				out.Field(key, v)
			}
		default:
			out.Field(key, v)
		}
	}
	if groups.Len() > 0 {
		out.Field("subscription_groups", groups)
	}
	existing(in, out)
}

// genderOf is Braze's letter for a gender.
// https://www.braze.com/docs/api/objects_filters/user_attributes_object/
func genderOf(s string) string {
	switch strings.ToLower(s) {
	case "man", "male", "m":
		return "M"
	case "woman", "female", "w", "f":
		return "F"
	case "other", "o":
		return "O"
	case "not applicable", "n":
		return "N"
	case "prefer not to say", "p":
		return "P"
	}
	return ""
}

func hasGender(v event.Value) bool { return genderOf(v.Text()) != "" }

func newAlias(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	out.BeginObject()
	out.FieldNonNull("external_id", p.Get("external_id"))
	out.Field("alias_name", p.Get("alias_name"))
	out.Field("alias_label", p.Get("alias_label"))
	out.EndObject()
}

func identify(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	known := func(list, by string, v event.Value) {
		out.Key(list)
		out.BeginArray()
		out.BeginObject()
		out.Field("external_id", p.Get("external_id"))
		out.Field(by, v)
	}
	out.BeginObject()
	out.Field("merge_behavior", p.Get("merge_behavior"))
	if v := p.Get("user_alias"); !v.Falsy() {
		known("aliases_to_identify", "user_alias", v)
		out.EndObject()
		out.EndArray()
	}
	if v := p.Get("email_to_identify"); !v.Falsy() {
		known("emails_to_identify", "email", v)
		out.Key("prioritization")
		priority(out, p.Get("prioritization"))
		out.EndObject()
		out.EndArray()
	}
	out.EndObject()
}

func priority(out *destination.Output, v event.Value) {
	out.BeginArray()
	for _, key := range [...]string{"first_priority", "second_priority"} {
		if p := v.Get(key); !p.Falsy() {
			out.Val(p)
		}
	}
	out.EndArray()
}

// trigger writes a message to send: the payload, with the priorities at each
// of the recipients.
func trigger(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	recipients, broadcast, first := p.Get("recipients"), p.Get("broadcast").Bool(), p.Get("prioritization")
	switch {
	case !broadcast && recipients.Len() == 0:
		out.Reject(destination.Invalid, "broadcast has to be true, or there have to be recipients")
		return
	case broadcast && recipients.Len() > 0:
		out.Reject(destination.Invalid, "a broadcast has no recipients")
		return
	}
	out.BeginObject()
	for key, v := range p.All() {
		if key != "recipients" && (key != "prioritization" || recipients.Len() == 0) {
			out.RawField(key, v)
		}
	}
	if recipients.Len() > 0 {
		out.Key("recipients")
		out.BeginArray()
		for r := range recipients.Elements() {
			out.BeginObject()
			out.Members(r)
			if !first.Get("first_priority").Falsy() || !first.Get("second_priority").Falsy() {
				out.Key("prioritization")
				priority(out, first)
			}
			out.EndObject()
		}
		out.EndArray()
	}
	out.EndObject()
}

// shop writes one of the recommended e-commerce events.
func shop(s *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	name, alias, total, action := p.Text("name"), p.Get("user_alias"), p.Get("total_value"), p.Get("action")
	who := [...]string{"external_id", "braze_id", "email", "phone"}
	identity := !alias.Falsy()
	for _, key := range who {
		identity = identity || !p.Get(key).Falsy()
	}
	switch {
	case !identity:
		out.Reject(destination.MissingIdentity, "external_id, user_alias, braze_id, email or phone is required")
		return
	case name == cart && !total.Exists() && !action.IsText("add") && !action.IsText("remove"):
		out.Reject(destination.Invalid, "total_value is required unless the action is add or remove")
		return
	case name != viewed && !p.Has("products"):
		out.Reject(destination.Invalid, name+" is an event of several products")
		return
	}
	out.BeginObject()
	for _, key := range who {
		if v := p.Get(key); !v.Falsy() {
			out.Field(key, v)
		}
	}
	if !alias.Falsy() {
		out.Field("user_alias", alias)
	}
	out.StrNonEmpty("app_id", s.AppID)
	out.Str("name", name)
	moment(out, "time", p.Get("time"), iso)
	out.Key("properties")
	from := out.Place()
	out.BeginObject()
	out.Field("currency", p.Get("currency"))
	out.Field("source", p.Get("source"))
	out.FieldNonNull("metadata", p.Get("metadata"))
	if name == viewed {
		out.Members(p.Get("product"))
		if types := p.Get("catalog_type"); types.Len() > 0 {
			out.Field("type", types)
		}
	} else {
		products(out, p.Get("products"))
		out.Field("total_value", total)
		for _, key := range detailsOf(name) {
			if v := p.Get(key); !v.Falsy() || v.Kind() == event.Number {
				out.Field(key, v)
			}
		}
	}
	out.EndObject()
	if out.Exceeds(from, maxProperties) {
		out.Reject(destination.TooLarge, tooLarge)
		return
	}
	if !alias.Get("alias_label").Falsy() && !alias.Get("alias_name").Falsy() || p.Get(syncMode).IsText("update") {
		out.BoolField("_update_existing_only", true)
	}
	out.EndObject()
}

// detailsOf are the further properties of an event about several products.
// https://www.braze.com/docs/user_guide/data/activation/custom_data/recommended_events/ecommerce_events
func detailsOf(name string) []string {
	switch name {
	case cart:
		return []string{"cart_id", "action", "subtotal_value", "tax", "shipping"}
	case checkout:
		return []string{"checkout_id", "cart_id", "subtotal_value", "tax", "shipping"}
	case placed:
		return []string{"order_id", "cart_id", "subtotal_value", "tax", "shipping", "total_discounts", "discounts"}
	case cancelled:
		return []string{"order_id", "cancel_reason", "subtotal_value", "tax", "shipping", "total_discounts", "discounts"}
	}
	return []string{"order_id", "total_discounts", "discounts"}
}

// products writes a list of products; what Braze has no name for goes into
// their metadata.
func products(out *destination.Output, list event.Value) {
	known := [...]string{"quantity", "product_id", "product_name", "variant_id", "price", "image_url", "product_url"}
	out.Key("products")
	out.BeginArray()
	for product := range list.Elements() {
		out.BeginObject()
		n := 0
		for _, key := range known {
			if v := product.Get(key); v.Exists() {
				out.Field(key, v)
				n++
			}
		}
		if product.Len() > n {
			out.Key("metadata")
			out.BeginObject()
			out.Members(product, known[:]...)
			out.EndObject()
		}
		out.EndObject()
	}
	out.EndArray()
}
