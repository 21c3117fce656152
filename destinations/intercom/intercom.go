// Package intercom delivers to Intercom's REST API: events, contacts and
// companies. Intercom knows contacts by ids of its own, so that some of the
// actions look a contact up before they write.
package intercom

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Settings of a workspace.
type Settings struct {
	AccessToken string `setting:"access_token,required,secret,transport" doc:"Access token of an app that may write events, contacts and companies." example:"dG9rOjAxMjM0NTY3XzAxMjNfNDU2N184OWFi"`
	Region      string `setting:"region,transport" doc:"Where the workspace's data resides." default:"us" choices:"us,eu,au"`
}

const (
	api         = "https://developers.intercom.com/docs/references/rest-api/api.intercom.io/"
	eventDocs   = api + "data-events/createdataevent"
	contactDocs = api + "contacts/createcontact"
	companyDocs = api + "companies/createorupdatecompany"
	searchDocs  = api + "contacts/searchcontacts"
	attachDocs  = api + "companies/attachcontacttoacompany"
	rateDocs    = "https://developers.intercom.com/docs/references/rest-api/errors/rate-limiting"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "intercom", Name: "Intercom", Summary: "customer messaging", Docs: "https://developers.intercom.com/docs/references/rest-api/api.intercom.io",
			Integrations: []string{"Intercom Cloud Mode (Actions)", "Actions Intercom Cloud"},
			Backfill:     "Events of any age are taken at their own time, to the second; those older than 90 days count but are not listed. The same event of the same contact in the same second counts once. Contacts have to exist before their events, so forward identify events first or along. Series and rules that are set off by an event, a contact or a company see them as they arrive.",
			Minimal:      true,
			Differences: []destination.Difference{
				{What: "an event without user_id, email or id is rejected as missing_identity, and so is a user without external_id and email", Docs: eventDocs},
				{What: "remote_created_at is a Unix time in seconds", Docs: companyDocs},
				{What: "created_at, signed_up_at and last_seen_at are Unix times also when they were mapped from digits", Docs: eventDocs},
				{What: "the amount of a price is a whole number of cents", Docs: eventDocs},
				{What: "a company is written before its contact is looked up, and a contact_id is used without looking it up", Docs: attachDocs},
				{What: "a contact that is reported as a duplicate is updated at once", Docs: "https://github.com/intercom/Intercom-OpenAPI/pull/543"},
				{What: "every request names the version of the API that it is written for", Docs: contactDocs},
			},
		},
		BaseURL: func(s *Settings) string {
			// https://developers.intercom.com/docs/build-an-integration/learn-more/rest-apis
			return map[string]string{"us": "https://api.intercom.io", "eu": "https://api.eu.intercom.io", "au": "https://api.au.intercom.io"}[s.Region]
		},
		Auth: func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			// https://developers.intercom.com/docs/references/rest-api/errors/rate-limiting: 10,000 a minute of an app, spread over windows of ten seconds
			Rates:       []destination.Rate{{N: 1666, Per: 10 * time.Second, Of: destination.Requests, Docs: rateDocs}},
			BatchEvents: destination.Cap{N: 1, Docs: eventDocs},
			Dedupe:      destination.Dedupe{Field: "contact, event_name and created_at together", Docs: eventDocs + "#event-de-duplication"},
		},
		// Events need their contact, and the last write to a contact wins.
		Order: true,
		Actions: destination.Coded[Settings]{
			{
				Slug: "trackEvent", Title: "Track event", Doc: "An event of a contact. Who is known by an email alone is looked up.", Trigger: `type = "track"`,
				Fields: []mapping.Field{
					{Key: "event_name", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.event")},
					{Key: "created_at", Type: mapping.TypeDatetime, Required: true, Default: mapping.Path("$.timestamp")},
					{Key: "user_id", Type: mapping.TypeString, Doc: "Your id of the contact, its external_id.", Default: mapping.Path("$.userId")},
					{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Path("$.properties.email")},
					{Key: "revenue", Type: mapping.TypeNumber, Doc: "Becomes the metadata's price, in cents.", Default: mapping.Path("$.properties.revenue")},
					{Key: "currency", Type: mapping.TypeString, Doc: "Of the revenue; USD without it.", Default: mapping.Path("$.properties.currency")},
					{Key: "id", Type: mapping.TypeString, Doc: "Intercom's id of the contact."},
					{Key: "metadata", Type: mapping.TypeObject, Doc: "Flat; Intercom keeps the first 10 members.", Default: mapping.Path("$.properties")},
				},
				Item: track, Send: converse(createEvent),
			},
			{
				Slug: "identifyContact", Title: "Identify contact", Doc: "Creates a user or lead, or updates the one that has the external id or email.", Trigger: `type = "identify"`,
				Fields: []mapping.Field{
					{Key: "role", Type: mapping.TypeString, Required: true, Choices: []string{"lead", "user"}},
					{Key: "external_id", Type: mapping.TypeString, Default: mapping.Path("$.userId")},
					{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Path("$.traits.email")},
					{Key: "phone", Type: mapping.TypeString, Default: mapping.Path("$.traits.phone")},
					{Key: "name", Type: mapping.TypeString, Default: mapping.Path("$.traits.name")},
					{Key: "avatar", Type: mapping.TypeString, Format: "uri", Default: mapping.Path("$.traits.avatar")},
					{Key: "signed_up_at", Type: mapping.TypeDatetime},
					{Key: "last_seen_at", Type: mapping.TypeDatetime, Default: mapping.Path("$.timestamp")},
					{Key: "owner_id", Type: mapping.TypeNumber, Doc: "Id of the admin who owns the contact."},
					{Key: "unsubscribed_from_emails", Type: mapping.TypeBoolean},
					{Key: "custom_attributes", Type: mapping.TypeObject, Doc: "Intercom takes those that are defined in the workspace."},
				},
				Item: identify, Send: converse(upsertContact),
			},
			{
				Slug: "groupIdentifyContact", Title: "Identify company", Doc: "Creates or updates a company, then attaches the contact to it.", Trigger: `type = "group"`,
				Fields: []mapping.Field{
					{Key: "remote_created_at", Type: mapping.TypeDatetime, Default: mapping.Path("$.traits.createdAt")},
					{Key: "external_id", Type: mapping.TypeString, Doc: "Your id of the contact.", Default: mapping.Path("$.userId")},
					{Key: "email", Type: mapping.TypeString, Format: "email", Default: mapping.Path("$.traits.email")},
					{Key: "company_id", Type: mapping.TypeString, Required: true, Default: mapping.Path("$.groupId")},
					{Key: "contact_id", Type: mapping.TypeString, Doc: "Intercom's id of the contact."},
					{Key: "name", Type: mapping.TypeString, Default: mapping.Path("$.traits.name")},
					{Key: "monthly_spend", Type: mapping.TypeNumber, Default: mapping.Path("$.traits.monthly_spend")},
					{Key: "plan", Type: mapping.TypeString, Default: mapping.Path("$.traits.plan")},
					{Key: "size", Type: mapping.TypeNumber, Default: mapping.Path("$.traits.employees")},
					{Key: "website", Type: mapping.TypeString, Default: mapping.Path("$.traits.website")},
					{Key: "industry", Type: mapping.TypeString, Default: mapping.Path("$.traits.industry")},
					{Key: "custom_attributes", Type: mapping.TypeObject, Doc: "Intercom takes those that are defined in the workspace."},
				},
				Item: company, Send: converse(writeCompany),
			},
		},
		Presets: []destination.Preset{
			{Name: "Track calls", Action: "trackEvent", Subscribe: `type = "track"`},
			{Name: "Identify calls", Action: "identifyContact", Subscribe: `type = "identify"`, Mapping: map[string]mapping.Value{"role": mapping.Literal("user")}},
			{Name: "Group calls", Action: "groupIdentifyContact", Subscribe: `type = "group"`},
		},
	}.Destination()
}

// seconds writes a time of the payload as Intercom wants it.
func seconds(p *mapping.Payload, out *destination.Output, key string) {
	v := p.Get(key)
	if v.Exists() && v.Test(event.IsTime) {
		out.Key(key)
		out.Compute(v, func(w *mapping.Writer, v event.Value, _ *mapping.Late) {
			t, _ := event.ParseTime(v)
			w.Int(t.Unix())
		})
	} else {
		out.Field(key, v)
	}
}

func fields(p *mapping.Payload, out *destination.Output, keys ...string) {
	for _, k := range keys {
		out.Field(k, p.Get(k))
	}
}

// search is the body of a look-up by the external id, else by the email; ""
// when there is neither.
func search(external, email string) string {
	field, value := "external_id", external
	if value == "" {
		field, value = "email", email
	}
	if value == "" {
		return ""
	}
	return `{"query":{"field":"` + field + `","operator":"=","value":` + string(event.AppendQuoted(nil, value)) + `}}`
}

// given says that the payload has a field, and that it is not the empty text.
func given(p *mapping.Payload, key string) bool {
	v := p.Get(key)
	return v.Exists() && !v.IsEmptyText()
}

func track(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	user, email, id := given(p, "user_id"), given(p, "email"), given(p, "id")
	switch {
	case !user && !email && !id:
		out.Reject(destination.MissingIdentity, "user_id, email or id is required")
		return
	case !user && !id:
		// An email may be a lead's, whose events need Intercom's id.
		// https://developers.intercom.com/docs/references/rest-api/api.intercom.io/data-events/createdataevent
		out.Group = search("", p.Text("email"))
	}
	out.BeginObject()
	fields(p, out, "event_name")
	seconds(p, out, "created_at")
	fields(p, out, "user_id", "email", "id")
	priced := p.Get("revenue").Kind() == event.Number
	if data := p.Get("metadata"); data.Exists() || priced {
		out.Key("metadata")
		out.BeginObject()
		if priced {
			out.Members(data, "email", "revenue", "currency", "price")
			price(out, p)
		} else {
			out.Members(data, "email", "revenue", "currency")
		}
		out.EndObject()
	}
	out.EndObject()
}

// price is a monetary amount: whole cents.
func price(out *destination.Output, p *mapping.Payload) {
	out.Key("price")
	out.BeginObject()
	out.Key("amount")
	out.Compute(p.Get("revenue"), func(w *mapping.Writer, v event.Value, _ *mapping.Late) {
		revenue, _ := v.Float()
		w.Float(math.Round(revenue * 100))
	})
	if given(p, "currency") {
		out.Key("currency")
		out.Compute(p.Get("currency"), func(w *mapping.Writer, v event.Value, _ *mapping.Late) { w.Text(v.Text()) })
	} else {
		out.Str("currency", "USD")
	}
	out.EndObject()
}

func identify(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	if out.Group = search(p.Text("external_id"), p.Text("email")); out.Group == "" && p.Text("role") == "user" {
		out.Reject(destination.MissingIdentity, "a user needs an external_id or email")
		return
	}
	out.BeginObject()
	fields(p, out, "role", "external_id", "email", "phone", "name", "avatar")
	seconds(p, out, "signed_up_at")
	seconds(p, out, "last_seen_at")
	fields(p, out, "owner_id", "unsubscribed_from_emails", "custom_attributes")
	out.EndObject()
}

// company writes two deliveries: the company, and what finds the contact to
// attach to it.
func company(_ *Settings, in *destination.Input, out *destination.Output) {
	p := in.Payload
	out.BeginObject()
	seconds(p, out, "remote_created_at")
	fields(p, out, "company_id", "contact_id", "name", "monthly_spend", "plan", "size", "website", "industry", "custom_attributes")
	out.EndObject()
	out.Emit()
	out.Group, out.Wait = p.Text("company_id"), true
	if id := p.Text("contact_id"); id != "" {
		out.Path = "/contacts/" + url.PathEscape(id) + "/companies"
		out.RawString("{}")
	} else if q := search(p.Text("external_id"), p.Text("email")); q != "" {
		out.Path = "/contacts/search"
		out.RawString(q)
	}
}

// conversation makes the requests of one delivery.
type conversation struct {
	ctx context.Context
	t   destination.Transport
	b   *destination.Batch
}

// converse sends a batch delivery by delivery; it holds one.
func converse(deliver func(c *conversation, d *destination.Delivery) (destination.Result, error)) func(context.Context, *Settings, destination.Transport, *destination.Batch) ([]destination.Result, error) {
	return func(ctx context.Context, _ *Settings, t destination.Transport, b *destination.Batch) ([]destination.Result, error) {
		c := &conversation{ctx, t, b}
		rs := make([]destination.Result, len(b.Deliveries))
		for i, d := range b.Deliveries {
			var err error
			if rs[i], err = deliver(c, d); err != nil {
				return nil, err
			}
		}
		return rs, nil
	}
}

func (c *conversation) do(method, path string, body []byte) (*destination.Answer, error) {
	req, err := destination.NewRequest(c.ctx, method, c.b.BaseURL+path, "application/json", body)
	if err != nil {
		return nil, err
	}
	// Without it an app's own version is answered to, which may be one from
	// before there were contacts.
	// https://developers.intercom.com/docs/references/rest-api/api.intercom.io/contacts/createcontact
	req.Header.Set("Intercom-Version", "2.14")
	return destination.Do(c.t, req)
}

// say makes the request that settles a delivery.
func (c *conversation) say(method, path string, body []byte, success destination.Success) (destination.Result, error) {
	a, err := c.do(method, path, body)
	if err != nil {
		return destination.Result{}, err
	}
	return c.verdict(a, success), nil
}

// What Intercom says of what it has taken.
func event202() destination.Success { return destination.NoBody(eventDocs, http.StatusAccepted) }

func contactOK() destination.Success {
	return destination.JSON(contactDocs, destination.Is("type", "contact"), destination.Text("id"))
}

func companyOK(docs string) destination.Success {
	return destination.JSON(docs, destination.Is("type", "company"), destination.Text("id"))
}

func found() destination.Success {
	return destination.JSON(searchDocs, destination.Is("type", "list"), destination.List("data"), destination.Number("total_count"))
}

// verdict is the outcome of an answer, which success describes when all is well.
func (c *conversation) verdict(a *destination.Answer, success destination.Success) destination.Result {
	r := a.Verdict(c.b.Now)
	switch a.Status {
	case http.StatusConflict:
		r.Outcome, r.Reason = destination.Retry, destination.Conflict
	case http.StatusTooManyRequests:
		// https://developers.intercom.com/docs/references/rest-api/errors/rate-limiting
		if at, err := strconv.ParseInt(a.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && r.RetryAfter == 0 {
			r.RetryAfter = min(max(time.Unix(at, 0).Sub(c.b.Now), 0), time.Minute)
		}
	}
	return destination.Confirm([]destination.Success{success}, a, []destination.Result{r})[0]
}

// find looks up a contact. The id is "" when not exactly one is found; the
// result is not Delivered when the look-up itself failed.
func (c *conversation) find(query string) (id string, r destination.Result, err error) {
	a, err := c.do(http.MethodPost, "/contacts/search", []byte(query))
	if err != nil {
		return "", r, err
	}
	r = c.verdict(a, found())
	if n, ok := a.JSON.Get("total_count").Int(); ok && n == 1 && r.Outcome == destination.Delivered {
		id = a.JSON.Get("data").Index(0).Get("id").Text()
	}
	return id, r, nil
}

func createEvent(c *conversation, d *destination.Delivery) (destination.Result, error) {
	body := d.Item
	if query := d.Address().Key; query != "" {
		id, r, err := c.find(query)
		if err != nil || r.Outcome != destination.Delivered {
			return r, err
		}
		if id == "" {
			return destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: r.Status, Detail: "not exactly one contact has this email"}, nil
		}
		body = append(append(append([]byte(`{"id":`), event.AppendQuoted(nil, id)...), ','), d.Item[1:]...)
	}
	return c.say(http.MethodPost, "/events", body, event202())
}

func upsertContact(c *conversation, d *destination.Delivery) (destination.Result, error) {
	id := ""
	if query := d.Address().Key; query != "" {
		var r destination.Result
		var err error
		if id, r, err = c.find(query); err != nil || r.Outcome != destination.Delivered {
			return r, err
		}
	}
	if id == "" {
		a, err := c.do(http.MethodPost, "/contacts", d.Item)
		if err != nil {
			return destination.Result{}, err
		}
		// A contact can be found minutes after it was created; until then
		// only the conflict names it.
		if id = duplicate(a); id == "" {
			return c.verdict(a, contactOK()), nil
		}
	}
	return c.say(http.MethodPut, "/contacts/"+url.PathEscape(id), d.Item, contactOK())
}

// duplicate is the id of the contact that an answer says exists already.
func duplicate(a *destination.Answer) string {
	if a.Status != http.StatusConflict || bytes.Contains(a.Body, []byte("archived")) {
		return ""
	}
	_, id, _ := strings.Cut(a.JSON.Get("errors").Index(0).Get("message").Text(), "with id=")
	id, _, _ = strings.Cut(id, " ")
	return id
}

func writeCompany(c *conversation, d *destination.Delivery) (destination.Result, error) {
	path := d.Address().Path
	if path == "" {
		return c.say(http.MethodPost, "/companies", d.Item, companyOK(companyDocs))
	}
	if path == "/contacts/search" {
		id, r, err := c.find(string(d.Item))
		if err != nil || r.Outcome != destination.Delivered {
			return r, err
		}
		if id == "" {
			return destination.Result{Outcome: destination.Skipped, Reason: destination.Unneeded, Status: r.Status, Detail: "there is not exactly one contact to attach to the company"}, nil
		}
		path = "/contacts/" + url.PathEscape(id) + "/companies"
	}
	// The company that the step before has written, for Intercom's id of it.
	a, err := c.do(http.MethodPost, "/companies", append(event.AppendQuoted([]byte(`{"company_id":`), d.Address().Key), '}'))
	if err != nil {
		return destination.Result{}, err
	}
	if r := c.verdict(a, companyOK(companyDocs)); r.Outcome != destination.Delivered {
		return r, nil
	}
	return c.say(http.MethodPost, path, append(append([]byte(`{"id":`), a.JSON.Get("id").Raw()...), '}'), companyOK(attachDocs))
}
