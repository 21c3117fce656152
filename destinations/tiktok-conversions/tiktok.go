// Package tiktokconversions delivers to TikTok's Events API 2.0: web and CRM
// events, with personal data hashed.
package tiktokconversions

import (
	"bytes"
	"net/url"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a pixel.
type Settings struct {
	AccessToken string `setting:"access_token,required,secret,transport" doc:"Access token of the Events API." example:"0123456789abcdef0123456789abcdef01234567"`
	PixelCode   string `setting:"pixel_code,required" doc:"Code of the pixel, or of the CRM event set." example:"C0PIXELCODE0EXAMPLE0"`
}

const (
	docs       = "https://business-api.tiktok.com/portal/docs?id=1771100865818625"
	userDocs   = "https://business-api.tiktok.com/portal/docs?id=1771101027431425"
	codeDocs   = "https://business-api.tiktok.com/portal/docs?id=1737172488964097"
	dedupeDocs = "https://ads.tiktok.com/help/article/event-deduplication"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "tiktok-conversions", Name: "TikTok Conversions", Summary: "TikTok's server-side events", Docs: docs, Integrations: []string{"Tiktok Conversions", "TikTok Conversions"},
			Backfill: "Events count for attribution at their own time, for clicks of up to 28 days and views of up to seven; older ones are taken and matched to nothing. " +
				"An event with the event and event_id of one that the browser's pixel sent within 48 hours is counted once.",
			Differences: []destination.Difference{{What: "events share requests", Docs: docs}},
		},
		BaseURL: func(*Settings) string { return "https://business-api.tiktok.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.HeaderAuth("Access-Token", s.AccessToken) },
		Limits: destination.Limits{
			// https://business-api.tiktok.com/portal/docs?id=1771100865818625: 1,000 requests a second
			Rates:       []destination.Rate{{N: 1000, Per: time.Second, Of: destination.Requests, Docs: docs}},
			BatchEvents: destination.Cap{N: 1000, Docs: docs},
			Dedupe:      destination.Dedupe{Field: "event_id, together with event", Window: 48 * time.Hour, Docs: dedupeDocs},
		},
		Verdict: verdict,
		Success: []destination.Success{destination.JSON(codeDocs, destination.Is("code", 0), destination.Text("request_id"))},
		Actions: destination.Coded[Settings]{{
			Slug: "reportWebEvent", Title: "Report Web Event", Doc: "An event of a website, or of a CRM system.",
			Fields: fields(), Item: report, Request: track, AllOrNothing: true, TimeField: "timestamp",
		}},
		Presets: []destination.Preset{
			{Name: "Complete Payment", Action: "reportWebEvent", Subscribe: `event = "Order Completed"`, Mapping: map[string]mapping.Value{"contents": products("$.properties.products"), "event": mapping.Literal("CompletePayment")}},
			{Name: "Contact", Action: "reportWebEvent", Subscribe: `event = "Callback Started"`, Mapping: map[string]mapping.Value{"event": mapping.Literal("Contact")}},
			{Name: "Subscribe", Action: "reportWebEvent", Subscribe: `event = "Subscription Created"`, Mapping: map[string]mapping.Value{"event": mapping.Literal("Subscribe")}},
			{Name: "Submit Form", Action: "reportWebEvent", Subscribe: `event = "Form Submitted"`, Mapping: map[string]mapping.Value{"event": mapping.Literal("SubmitForm")}},
			{Name: "Page View", Action: "reportWebEvent", Subscribe: `type="page"`, Mapping: map[string]mapping.Value{"contents": products("$.properties.products"), "event": mapping.Literal("PageView")}},
			{Name: "View Content", Action: "reportWebEvent", Subscribe: `event = "Product Viewed"`, Mapping: map[string]mapping.Value{"contents": products("$.properties"), "event": mapping.Literal("ViewContent")}},
			{Name: "Click Button", Action: "reportWebEvent", Subscribe: `event = "Product Clicked"`, Mapping: map[string]mapping.Value{"contents": products("$.properties"), "event": mapping.Literal("ClickButton")}},
			{Name: "Search", Action: "reportWebEvent", Subscribe: `event = "Products Searched"`, Mapping: map[string]mapping.Value{"contents": products("$.properties"), "event": mapping.Literal("Search")}},
			{Name: "Add to Wishlist", Action: "reportWebEvent", Subscribe: `event = "Product Added to Wishlist"`, Mapping: map[string]mapping.Value{"contents": products("$.properties"), "event": mapping.Literal("AddToWishlist")}},
			{Name: "Add to Cart", Action: "reportWebEvent", Subscribe: `event = "Product Added"`, Mapping: map[string]mapping.Value{"contents": products("$.properties"), "event": mapping.Literal("AddToCart")}},
			{Name: "Initiate Checkout", Action: "reportWebEvent", Subscribe: `event = "Checkout Started"`, Mapping: map[string]mapping.Value{"contents": products("$.properties.products"), "event": mapping.Literal("InitiateCheckout")}},
			{Name: "Add Payment Info", Action: "reportWebEvent", Subscribe: `event = "Payment Info Entered"`, Mapping: map[string]mapping.Value{"contents": products("$.properties.products"), "event": mapping.Literal("AddPaymentInfo")}},
			{Name: "Place an Order", Action: "reportWebEvent", Subscribe: `event = "Order Placed"`, Mapping: map[string]mapping.Value{"contents": products("$.properties.products"), "event": mapping.Literal("PlaceAnOrder")}},
			{Name: "Download", Action: "reportWebEvent", Subscribe: `event = "Download Link Clicked"`, Mapping: map[string]mapping.Value{"event": mapping.Literal("Download")}},
			{Name: "Complete Registration", Action: "reportWebEvent", Subscribe: `event = "Signed Up"`, Mapping: map[string]mapping.Value{"event": mapping.Literal("CompleteRegistration")}},
		},
	}.Destination()
}

func products(path string) mapping.Value {
	return mapping.ArrayPath(path, mapping.Object(
		mapping.M("price", mapping.Path("$.price")), mapping.M("quantity", mapping.Path("$.quantity")), mapping.M("content_category", mapping.Path("$.category")),
		mapping.M("content_id", mapping.Path("$.product_id")), mapping.M("content_name", mapping.Path("$.name")), mapping.M("brand", mapping.Path("$.brand")),
	))
}

func fields() []mapping.Field {
	return []mapping.Field{
		{Key: "event_source", Type: mapping.TypeString, Choices: []string{"web", "crm"}, Default: mapping.Literal("web")},
		{Key: "event_spec_type", Type: mapping.TypeString, Choices: []string{"travel_fields", "vehicle_fields"}},
		{Key: "event", Type: mapping.TypeString, Required: true},
		{Key: "event_id", Type: mapping.TypeString, Default: mapping.Path("$.messageId")},
		{Key: "timestamp", Type: mapping.TypeString, Default: mapping.Path("$.timestamp")},
		{Key: "phone_number", Type: mapping.TypeString, Multiple: true, Default: mapping.Paths("$.properties.phone", "$.context.traits.phone")},
		{Key: "email", Type: mapping.TypeString, Multiple: true, Default: mapping.Paths("$.properties.email", "$.context.traits.email")},
		{Key: "first_name", Type: mapping.TypeString, Default: mapping.Paths("$.properties.first_name", "$.context.traits.first_name")},
		{Key: "last_name", Type: mapping.TypeString, Default: mapping.Paths("$.properties.last_name", "$.context.traits.last_name")},
		{Key: "address", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("city", mapping.Paths("$.properties.address.city", "$.context.traits.address.city")), mapping.M("country", mapping.Paths("$.properties.address.country", "$.context.traits.address.country")), mapping.M("zip_code", mapping.Paths("$.properties.address.postal_code", "$.context.traits.address.postal_code")), mapping.M("state", mapping.Paths("$.properties.address.state", "$.context.traits.address.state"))), Properties: []mapping.Field{
			{Key: "city", Type: mapping.TypeString},
			{Key: "country", Type: mapping.TypeString},
			{Key: "zip_code", Type: mapping.TypeString},
			{Key: "state", Type: mapping.TypeString},
		}},
		{Key: "order_id", Type: mapping.TypeString, Default: mapping.Path("$.properties.order_id")},
		{Key: "shop_id", Type: mapping.TypeString, Default: mapping.Path("$.properties.shop_id")},
		{Key: "external_id", Type: mapping.TypeString, Multiple: true, Default: mapping.Paths("$.userId", "$.anonymousId")},
		{Key: "ttclid", Type: mapping.TypeString, Default: mapping.Paths("$.properties.ttclid", "$.integrations.TikTok Conversions.ttclid")},
		{Key: "ttp", Type: mapping.TypeString, Default: mapping.Paths("$.properties.ttp", "$.integrations.TikTok Conversions.ttp")},
		{Key: "locale", Type: mapping.TypeString, Default: mapping.Path("$.context.locale")},
		{Key: "url", Type: mapping.TypeString, Default: mapping.Path("$.context.page.url")},
		{Key: "referrer", Type: mapping.TypeString, Default: mapping.Path("$.context.page.referrer")},
		{Key: "ip", Type: mapping.TypeString, Default: mapping.Path("$.context.ip")},
		{Key: "user_agent", Type: mapping.TypeString, Default: mapping.Path("$.context.userAgent")},
		{Key: "contents", Type: mapping.TypeObject, Multiple: true, Properties: []mapping.Field{
			{Key: "price", Type: mapping.TypeNumber},
			{Key: "quantity", Type: mapping.TypeNumber},
			{Key: "content_category", Type: mapping.TypeString},
			{Key: "content_id", Type: mapping.TypeString},
			{Key: "content_name", Type: mapping.TypeString},
			{Key: "brand", Type: mapping.TypeString},
		}},
		{Key: "content_ids", Type: mapping.TypeString, Multiple: true, Default: mapping.Path("$.properties.content_ids")},
		{Key: "num_items", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.num_items")},
		{Key: "content_type", Type: mapping.TypeString, Choices: []string{"product", "product_group"}, Default: mapping.Literal("product")},
		{Key: "currency", Type: mapping.TypeString, Default: mapping.Path("$.properties.currency")},
		{Key: "value", Type: mapping.TypeNumber, Default: mapping.Paths("$.properties.value", "$.properties.revenue")},
		{Key: "description", Type: mapping.TypeString},
		{Key: "query", Type: mapping.TypeString, Default: mapping.Path("$.properties.query")},
		{Key: "limited_data_use", Type: mapping.TypeBoolean, Default: mapping.Path("$.properties.limited_data_use")},
		{Key: "test_event_code", Type: mapping.TypeString},
		{Key: "delivery_category", Type: mapping.TypeString, Choices: []string{"in_store", "curbside", "home_delivery"}, Default: mapping.Path("$.properties.delivery_category")},
		{Key: "predicted_ltv", Type: mapping.TypeNumber, Default: mapping.Path("$.properties.predicted_ltv")},
		{Key: "search_string", Type: mapping.TypeString, Default: mapping.Path("$.properties.search_string")},
		{Key: "lead_fields", Type: mapping.TypeObject, RequiredIf: &mapping.Condition{Tests: []mapping.Test{{Field: "event_source", Value: mapping.Literal("crm")}}}, Default: mapping.Object(mapping.M("lead_id", mapping.Path("$.properties.lead_id")), mapping.M("lead_event_source", mapping.Path("$.properties.lead_event_source"))), Properties: []mapping.Field{
			{Key: "lead_id", Type: mapping.TypeString},
			{Key: "lead_event_source", Type: mapping.TypeString},
		}},
		{Key: "vehicle_fields", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("postal_code", mapping.Path("$.properties.postal_code")), mapping.M("make", mapping.Path("$.properties.make")), mapping.M("model", mapping.Path("$.properties.model")), mapping.M("year", mapping.Path("$.properties.year")), mapping.M("state_of_vehicle", mapping.Path("$.properties.state_of_vehicle")), mapping.M("mileage_value", mapping.Path("$.properties.mileage_value")), mapping.M("mileage_unit", mapping.Path("$.properties.mileage_unit")), mapping.M("exterior_color", mapping.Path("$.properties.exterior_color")), mapping.M("transmission", mapping.Path("$.properties.transmission")), mapping.M("body_style", mapping.Path("$.properties.body_style")), mapping.M("fuel_type", mapping.Path("$.properties.fuel_type")), mapping.M("drivetrain", mapping.Path("$.properties.drive_train")), mapping.M("preferred_price_range_min", mapping.Path("$.properties.preferred_price_range_min")), mapping.M("preferred_price_range_max", mapping.Path("$.properties.preferred_price_range_max")), mapping.M("trim", mapping.Path("$.properties.trim")), mapping.M("vin", mapping.Path("$.properties.vin")), mapping.M("interior_color", mapping.Path("$.properties.interior_color")), mapping.M("condition_of_vehicle", mapping.Path("$.properties.condition_of_vehicle")), mapping.M("viewcontent_type", mapping.Path("$.properties.viewcontent_type")), mapping.M("search_type", mapping.Path("$.properties.search_type")), mapping.M("registration_type", mapping.Path("$.properties.registration_type"))), Properties: []mapping.Field{
			{Key: "postal_code", Type: mapping.TypeString},
			{Key: "make", Type: mapping.TypeString},
			{Key: "model", Type: mapping.TypeString},
			{Key: "year", Type: mapping.TypeNumber},
			{Key: "state_of_vehicle", Type: mapping.TypeString, Choices: []string{"New", "Used", "CPO"}},
			{Key: "mileage_value", Type: mapping.TypeNumber},
			{Key: "mileage_unit", Type: mapping.TypeString, Choices: []string{"MI", "KM"}},
			{Key: "exterior_color", Type: mapping.TypeString},
			{Key: "transmission", Type: mapping.TypeString, Choices: []string{"Automatic", "Manual", "Other"}},
			{Key: "body_style", Type: mapping.TypeString, Choices: []string{"Convertible", "Coupe", "Hatchback", "Minivan", "Truck", "SUV", "Sedan", "Van", "Wagon", "Crossover", "Other"}},
			{Key: "fuel_type", Type: mapping.TypeString, Choices: []string{"Diesel", "Electric", "Flex", "Gasoline", "Hybrid", "Other"}},
			{Key: "drivetrain", Type: mapping.TypeString, Choices: []string{"AWD", "FOUR_WD", "FWD", "RWD", "TWO_WD", "Other"}},
			{Key: "preferred_price_range_min", Type: mapping.TypeNumber},
			{Key: "preferred_price_range_max", Type: mapping.TypeNumber},
			{Key: "trim", Type: mapping.TypeString},
			{Key: "vin", Type: mapping.TypeString},
			{Key: "interior_color", Type: mapping.TypeString},
			{Key: "condition_of_vehicle", Type: mapping.TypeString, Choices: []string{"Excellent", "Good", "Fair", "Poor", "Other"}},
			{Key: "viewcontent_type", Type: mapping.TypeString},
			{Key: "search_type", Type: mapping.TypeString},
			{Key: "registration_type", Type: mapping.TypeString},
		}},
		{Key: "travel_fields", Type: mapping.TypeObject, Default: mapping.Object(mapping.M("city", mapping.Path("$.properties.city")), mapping.M("region", mapping.Path("$.properties.region")), mapping.M("country", mapping.Path("$.properties.country")), mapping.M("checkin_date", mapping.Path("$.properties.checkin_date")), mapping.M("checkout_date", mapping.Path("$.properties.checkout_date")), mapping.M("num_adults", mapping.Path("$.properties.num_adults")), mapping.M("num_children", mapping.Path("$.properties.num_children")), mapping.M("num_infants", mapping.Path("$.properties.num_infants")), mapping.M("suggested_hotels", mapping.Path("$.properties.suggested_hotels")), mapping.M("departing_departure_date", mapping.Path("$.properties.departing_departure_date")), mapping.M("returning_departure_date", mapping.Path("$.properties.returning_departure_date")), mapping.M("origin_airport", mapping.Path("$.properties.origin_airport")), mapping.M("destination_airport", mapping.Path("$.properties.destination_airport")), mapping.M("destination_ids", mapping.Path("$.properties.destination_ids")), mapping.M("departing_arrival_date", mapping.Path("$.properties.departing_arrival_date")), mapping.M("returning_arrival_date", mapping.Path("$.properties.returning_arrival_date")), mapping.M("travel_class", mapping.Path("$.properties.travel_class")), mapping.M("user_score", mapping.Path("$.properties.user_score")), mapping.M("preferred_num_stops", mapping.Path("$.properties.preferred_num_stops")), mapping.M("travel_start", mapping.Path("$.properties.travel_start")), mapping.M("travel_end", mapping.Path("$.properties.travel_end")), mapping.M("suggested_destinations", mapping.Path("$.properties.suggested_destinations"))), Properties: []mapping.Field{
			{Key: "city", Type: mapping.TypeString},
			{Key: "region", Type: mapping.TypeString},
			{Key: "country", Type: mapping.TypeString},
			{Key: "checkin_date", Type: mapping.TypeString},
			{Key: "checkout_date", Type: mapping.TypeString},
			{Key: "num_adults", Type: mapping.TypeNumber},
			{Key: "num_children", Type: mapping.TypeNumber},
			{Key: "num_infants", Type: mapping.TypeNumber},
			{Key: "suggested_hotels", Type: mapping.TypeString, Multiple: true},
			{Key: "departing_departure_date", Type: mapping.TypeString},
			{Key: "returning_departure_date", Type: mapping.TypeString},
			{Key: "origin_airport", Type: mapping.TypeString},
			{Key: "destination_airport", Type: mapping.TypeString},
			{Key: "destination_ids", Type: mapping.TypeString, Multiple: true},
			{Key: "departing_arrival_date", Type: mapping.TypeString},
			{Key: "returning_arrival_date", Type: mapping.TypeString},
			{Key: "travel_class", Type: mapping.TypeString, Choices: []string{"eco", "prem", "bus", "first"}},
			{Key: "user_score", Type: mapping.TypeNumber},
			{Key: "preferred_num_stops", Type: mapping.TypeInteger},
			{Key: "travel_start", Type: mapping.TypeString},
			{Key: "travel_end", Type: mapping.TypeString},
			{Key: "suggested_destinations", Type: mapping.TypeString, Multiple: true},
		}},
	}
}

func track(s *Settings) destination.Request {
	head := `"event_source_id":` + string(event.AppendQuoted(nil, s.PixelCode)) + `,"partner_name":"Segment",`
	return destination.Request{
		Path: "/open_api/v1.3/event/track/", Open: `{"event_source":"web",` + head + `"data":[`, Sep: ",", Close: "]}",
		OpenFor: func(group string) string {
			source, test, _ := strings.Cut(group, "\n")
			open := `{"event_source":` + string(event.AppendQuoted(nil, source)) + "," + head
			if test != "" {
				open += `"test_event_code":` + string(event.AppendQuoted(nil, test)) + ","
			}
			return open + `"data":[`
		},
	}
}

// verdict reads the code in the body: the status is 200 whatever happened.
// https://business-api.tiktok.com/portal/docs?id=1737172488964097
func verdict(a *destination.Answer) destination.Result {
	if a.Status/100 != 2 {
		return destination.Result{}
	}
	r := destination.Result{Status: a.Status, Detail: a.Words()}
	switch code := string(a.JSON.Get("code").Raw()); {
	case code == "0":
		return destination.Result{Outcome: destination.Delivered, Status: a.Status}
	case code == "40100" || code == "40016" || code == "40133":
		r.Outcome, r.Reason = destination.Retry, destination.RateLimited
	case code == "40101" || code == "40102" || code == "40103" || code == "40104" || code == "40105" || code == "40001":
		r.Outcome, r.Reason = destination.Retry, destination.Unauthorized
	case code == "" || strings.HasPrefix(code, "5") || code == "40700" || code == "60001":
		r.Outcome, r.Reason = destination.Retry, destination.Unavailable
	default:
		r.Outcome, r.Reason = destination.Rejected, destination.Refused
	}
	return r
}

// report writes one event.
func report(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	source := "web"
	if v := p.Get("event_source"); !v.Falsy() {
		source = v.Text()
	}
	out.Group = source + "\n" + p.Text("test_event_code")
	at := p.Get("timestamp")
	if at.Falsy() {
		at = event.Value{}
	} else if !at.Test(event.IsTime) {
		out.Reject(destination.Invalid, "timestamp is no time")
		return
	}
	out.BeginObject()
	out.Field("event", p.Get("event"))
	out.Key("event_time")
	out.Compute(at, writeTime)
	id := p.Get("event_id")
	if id.Falsy() {
		id = event.Value{}
	}
	out.Key("event_id")
	out.Compute(id, writeID)
	user(out, p)
	properties(out, p, source)
	page, referrer := p.Get("url"), p.Get("referrer")
	if !page.Falsy() || !referrer.Falsy() {
		out.Key("page")
		out.BeginObject()
		truthy(out, "url", page)
		truthy(out, "referrer", referrer)
		out.EndObject()
	}
	if lead := p.Get("lead_fields"); source == "crm" && lead.Get("lead_id").Kind() == event.String {
		out.Key("lead")
		out.BeginObject()
		out.Field("lead_id", lead.Get("lead_id"))
		truthy(out, "lead_event_source", lead.Get("lead_event_source"))
		out.EndObject()
	}
	out.BoolField("limited_data_use", p.Get("limited_data_use").Bool())
	out.EndObject()
}

func writeTime(w *mapping.Writer, v event.Value, l *mapping.Late) {
	at := l.Now
	if v.Exists() {
		at, _ = event.ParseTime(v)
	}
	w.Int(at.Unix())
}

func writeID(w *mapping.Writer, v event.Value, l *mapping.Late) {
	if v.Exists() {
		mapping.WriteText(w, v, l)
	} else {
		mapping.WriteInsertID(w, v, l)
	}
}

func truthy(out *destination.Output, key string, v event.Value) {
	if !v.Falsy() {
		out.Field(key, v)
	}
}

// user writes who it was. TikTok wants SHA-256 of ids, addresses and names.
// https://business-api.tiktok.com/portal/docs?id=1771101027431425
func user(out *destination.Output, p *mapping.Payload) {
	out.Key("user")
	out.BeginObject()
	hashes(out, "external_id", p.Get("external_id"), isText, writeLower)
	hashes(out, "phone", p.Get("phone_number"), isPhone, writePhone)
	hashes(out, "email", p.Get("email"), isText, writeLower)
	address := p.Get("address")
	out.Key("first_name")
	out.Compute(p.Get("first_name"), writeCompact)
	out.Key("last_name")
	out.Compute(p.Get("last_name"), writeCompact)
	out.Key("zip_code")
	out.Compute(address.Get("zip_code"), writeCompact)
	for _, key := range [...]string{"city", "state", "country"} {
		out.Key(key)
		out.Compute(address.Get(key), writeAlphanumeric)
	}
	ttclid := p.Get("ttclid")
	if v := p.Get("url"); v.Kind() == event.String && v.Test(hasClickID) {
		out.Key("ttclid")
		out.Compute(v, func(w *mapping.Writer, v event.Value, _ *mapping.Late) {
			id, _ := clickID(v)
			w.Text(id)
		})
		ttclid = event.Value{}
	}
	truthy(out, "ttclid", ttclid)
	for _, key := range [...]string{"ttp", "ip", "user_agent", "locale"} {
		truthy(out, key, p.Get(key))
	}
	out.EndObject()
}

// clickID is the ttclid in the query of a URL.
func clickID(v event.Value) (id string, ok bool) {
	text := v.Text()
	if !strings.Contains(text, "ttclid=") {
		return "", false
	}
	u, err := url.Parse(text)
	if err != nil || !u.Query().Has("ttclid") {
		return "", false
	}
	return u.Query().Get("ttclid"), true
}

func hasClickID(v event.Value) bool {
	if b, ok := v.Plain(); ok && !bytes.Contains(b, []byte("ttclid=")) {
		return false
	}
	_, ok := clickID(v)
	return ok
}

// hashes writes the hashes of those in a list that there is something of.
func hashes(out *destination.Output, key string, list event.Value, any func(event.Value) bool, write mapping.Compute) {
	out.Key(key)
	out.BeginArray()
	for v := range list.Elements() {
		if v.Test(any) {
			out.Compute(v, write)
		}
	}
	out.EndArray()
}

func isText(v event.Value) bool { return v.Len() > 0 }

func isPhone(v event.Value) bool {
	var buf [64]byte
	text := v.AppendString(buf[:0])
	return mapping.IsHashed(text) || phone(text) != nil
}

func writeLower(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	var buf [128]byte
	text := v.AppendString(buf[:0])
	if !mapping.IsHashed(text) {
		text = bytes.ToLower(text)
	}
	writeHash(w, text)
}

func writePhone(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	var buf [128]byte
	text := v.AppendString(buf[:0])
	if !mapping.IsHashed(text) {
		text = phone(text)
	}
	writeHash(w, text)
}

// writeCompact writes the hash of a text in lower case without white space.
func writeCompact(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	var text []byte
	if !v.Falsy() {
		text = compact(v.AppendString(nil))
	}
	if len(text) == 0 {
		w.Text("")
	} else {
		writeHash(w, text)
	}
}

func writeAlphanumeric(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	w.TextBytes(alphanumeric(v))
}

// writeHash hashes what is not hashed already.
func writeHash(w *mapping.Writer, text []byte) {
	if mapping.IsHashed(text) {
		w.TextBytes(text)
		return
	}
	var buf [80]byte
	w.Raw(mapping.AppendHash(buf[:0], text))
}

// phone is a number in E.164.
func phone(text []byte) []byte {
	out := []byte("+")
	for _, c := range text {
		if c >= '0' && c <= '9' {
			out = append(out, c)
		}
	}
	if len(out) == 1 {
		return nil
	}
	return out[:min(len(out), 15)]
}

// compact is a text in lower case without white space.
func compact(text []byte) []byte {
	return []byte(strings.Join(strings.Fields(strings.ToLower(string(text))), ""))
}

// alphanumeric is a text in lower case with nothing but letters and digits.
func alphanumeric(v event.Value) []byte {
	if v.Falsy() {
		return nil
	}
	var out []byte
	for _, c := range v.AppendString(nil) {
		switch {
		case c >= 'A' && c <= 'Z':
			out = append(out, c+'a'-'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			out = append(out, c)
		}
	}
	return out
}

func properties(out *destination.Output, p *mapping.Payload, source string) {
	out.Key("properties")
	out.BeginObject()
	out.Key("contents")
	out.BeginArray()
	for c := range p.Get("contents").Elements() {
		out.BeginObject()
		for _, key := range [...]string{"price", "quantity", "content_category", "content_id", "content_name", "brand"} {
			out.FieldNonNull(key, c.Get(key))
		}
		out.EndObject()
	}
	out.EndArray()
	for _, key := range [...]string{"content_type", "currency", "value", "query", "description", "order_id", "shop_id", "content_ids", "delivery_category", "num_items", "predicted_ltv", "search_string"} {
		out.Field(key, p.Get(key))
	}
	if kind := p.Get("event_spec_type"); source == "web" && kind.IsText("travel_fields") {
		out.Members(p.Get("travel_fields"))
	} else if source == "web" && kind.IsText("vehicle_fields") {
		v := p.Get("vehicle_fields")
		out.Members(v, "mileage_value", "mileage_unit", "preferred_price_range_min", "preferred_price_range_max")
		if value, unit := v.Get("mileage_value"), v.Get("mileage_unit"); value.Kind() == event.Number && unit.Exists() {
			out.Key("mileage")
			out.BeginObject()
			out.Field("unit", unit)
			out.Field("value", value)
			out.EndObject()
		}
		if low, high := v.Get("preferred_price_range_min"), v.Get("preferred_price_range_max"); low.Kind() == event.Number && high.Kind() == event.Number {
			out.Key("preferred_price_range")
			out.BeginArray()
			out.Val(low)
			out.Val(high)
			out.EndArray()
		}
	}
	out.EndObject()
}
