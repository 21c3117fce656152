// Package intercom delivers to Intercom's REST API: events, contacts and
// companies. Intercom knows contacts by ids of its own, so that some of the
// actions look a contact up before they write.
package intercom

import (
	"net/http"
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
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
			Slug: "intercom", Name: "Intercom", Summary: "customer messaging",
			Docs:         "https://developers.intercom.com/docs/references/rest-api/api.intercom.io",
			Integrations: []string{"Intercom Cloud Mode (Actions)", "Actions Intercom Cloud"},
			Elsewhere:    []string{"Intercom V2"},
			Backfill: "Events of any age are taken at their own time, to the second; those older than 90 days count " +
				"but are not listed. The same event of the same contact in the same second counts once. Contacts have to " +
				"exist before their events, so forward identify events first or along. Series and rules that are set off by " +
				"an event, a contact or a company see them as they arrive.",
			Minimal: true,
			Differences: destination.Differences(
				"an event without user_id, email or id is rejected as missing_identity, and so is a user without external_id and "+
					"email", eventDocs,
				"remote_created_at is a Unix time in seconds", companyDocs,
				"created_at, signed_up_at and last_seen_at are Unix times also when they were mapped from digits", eventDocs,
				"the amount of a price is a whole number of cents", eventDocs,
				"a company is written before its contact is looked up, and a contact_id is used without looking it up", attachDocs,
				"a contact that is reported as a duplicate is updated at "+
					"once", "https://github.com/intercom/Intercom-OpenAPI/pull/543",
				"every request names the version of the API that it is written for", contactDocs,
			),
		},
		// https://developers.intercom.com/docs/build-an-integration/learn-more/rest-apis
		Hosts: map[string]string{"us": "https://api.intercom.io", "eu": "https://api.eu.intercom.io",
			"au": "https://api.au.intercom.io"},
		Auth: func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		// Without it an app's own version is answered to, which may be one from before there were contacts: contactDocs.
		Headers: map[string]body.Value{"Intercom-Version": body.Const("2.14")},
		Limits: destination.Limits{
			// 10,000 a minute of an app, spread over windows of ten seconds.
			Rates:       destination.Rates(rateDocs, "1666/10s"),
			BatchEvents: destination.Cap{N: 1, Docs: eventDocs},
			Dedupe: destination.Dedupe{Field: "contact, event_name and created_at together",
				Docs: eventDocs + "#event-de-duplication"},
		},
		// Events need their contact, and the last write to a contact wins.
		Order:   true,
		Sayings: []destination.Saying{destination.Means(destination.Retry, destination.Conflict, contactDocs, 409)},
		Live:    destination.Live{Does: "may set off the series and rules that wait for it", Docs: eventDocs},
		Actions: destination.Actions{trackEvent(), identifyContact(), groupIdentifyContact()},
		Presets: []destination.Preset{
			{Name: "Track calls", Action: "trackEvent"},
			{Name: "Identify calls", Action: "identifyContact", Mapping: mapping.Lines(`role = "user"`)},
			{Name: "Group calls", Action: "groupIdentifyContact"},
		},
	}.Destination()
}

func trackEvent() *destination.Declared {
	// An email may be a lead's, whose events need Intercom's id: eventDocs.
	byEmail := body.Not(body.From("user_id", "id").Filled())
	priced := body.From("revenue").IsNumber()
	return destination.Action("trackEvent", "Track event").On(`type = "track"`).
		Doc("An event of a contact. Who is known by an email alone is looked up.").
		Fields(
			field.Text("event_name").Required().From("$.event"), field.Timestamp("created_at").Required(),
			field.UserID("user_id").Doc("Your id of the contact, its external_id."),
			field.Text("email").Email().From("$.properties.email"),
			field.Number("revenue").From("$.properties.revenue").Doc("Becomes the metadata's price, in cents."),
			field.Currency("currency").Doc("Of the revenue; USD without it."),
			field.Text("id").Doc("Intercom's id of the contact."),
			field.Object("metadata").From("$.properties").Doc("Flat; Intercom keeps the first 10 members."),
		).
		NeedsIdentity(body.From("user_id", "email", "id").Filled(), "user_id, email or id is required").
		Steps(
			search(by("email")).If(byEmail).
				Otherwise(destination.Rejected, destination.Refused, "not exactly one contact has this email"),
			destination.Send("POST", "/events", body.Object(
				body.Member("id", body.First(body.If(byEmail, body.Taken("contact")), body.From("id"))),
				body.Same("event_name"), seconds("created_at"), body.Same("user_id", "email"),
				body.When(body.Any(priced, body.From("metadata")), body.Member("metadata", body.Always(body.Object(
					body.Spread("metadata", "email", "revenue", "currency"),
					body.When(priced, body.Member("price", body.Object(
						body.Member("amount", body.From("revenue").Times(100).Round()),
						body.Member("currency", body.From("currency").Filled().Text().Else(body.Const("USD"))),
					))),
				)))),
			)).Success(destination.NoBody(eventDocs, http.StatusAccepted)),
		)
}

func identifyContact() *destination.Declared {
	known := body.From("external_id", "email").Filled()
	contact := body.Object(
		body.Same("role", "external_id", "email", "phone", "name", "avatar"), seconds("signed_up_at"),
		seconds("last_seen_at"), body.Same("owner_id", "unsubscribed_from_emails", "custom_attributes"),
	)
	taken := destination.JSON(contactDocs, destination.Is("type", "contact"), destination.Text("id"))
	return destination.Action("identifyContact", "Identify contact").On(`type = "identify"`).
		Doc("Creates a user or lead, or updates the one that has the external id or email.").
		Fields(
			field.Text("role").Required().OneOf("lead", "user"), field.UserID("external_id"),
			field.Text("email").Email().From("$.traits.email"), field.Texts("phone", "name").Below("$.traits"),
			field.Text("avatar").Format("uri").From("$.traits.avatar"), field.Time("signed_up_at"),
			field.Timestamp("last_seen_at"),
			field.Number("owner_id").Doc("Id of the admin who owns the contact."),
			field.Boolean("unsubscribed_from_emails"), customAttributes(),
		).
		NeedsIdentity(body.Any(known, body.From("role").Not("user")), "a user needs an external_id or email").
		Steps(
			search(body.First(by("external_id"), by("email"))).If(known),
			// A contact can be found minutes after it was created; until then only the
			// conflict names it.
			destination.Send("POST", "/contacts", contact).UnlessTaken("contact").TakeRefused("contact", duplicate).
				Success(taken),
			destination.Send("PUT", "/contacts/{answer.contact}", contact).IfTaken("contact").Success(taken),
		)
}

// groupIdentifyContact writes a company, and then looks for the contact to attach to it.
func groupIdentifyContact() *destination.Declared {
	company := func(docs string) destination.Success {
		return destination.JSON(docs, destination.Is("type", "company"), destination.Text("id"))
	}
	given, known := body.From("contact_id").Filled(), body.From("external_id", "email").Filled()
	sought := body.All(body.Not(given), known)
	attached := body.Object(body.Member("id", body.Taken("company")))
	return destination.Action("groupIdentifyContact", "Identify company").On(`type = "group"`).
		Doc("Creates or updates a company, then attaches the contact to it.").
		Fields(
			field.Time("remote_created_at").From("$.traits.createdAt"),
			field.UserID("external_id").Doc("Your id of the contact."), field.Text("email").Email().From("$.traits.email"),
			field.Text("company_id").Required().From("$.groupId"),
			field.Text("contact_id").Doc("Intercom's id of the contact."), field.Together(field.Text("name"),
				field.Number("monthly_spend"), field.Text("plan"), field.Numbers("size = .employees"),
				field.Texts("website", "industry")).Below("$.traits"),
			customAttributes(),
		).
		Steps(
			destination.Send("POST", "/companies", body.Object(seconds("remote_created_at"), body.Same("company_id",
				"contact_id", "name", "monthly_spend", "plan", "size", "website", "industry", "custom_attributes"))).
				Success(company(companyDocs)),
			search(body.First(by("external_id"), by("email"))).If(sought).After().
				Otherwise(destination.Skipped, destination.Unneeded, "there is not exactly one contact to attach to the company"),
			// Once more, for Intercom's id of it.
			destination.Send("POST", "/companies", body.Object(body.Same("company_id"))).If(body.Any(given, known)).
				TakeAt("company", "id").
				Success(company(companyDocs)),
			destination.Send("POST", "/contacts/{contact_id}/companies", attached).If(given).Success(company(attachDocs)),
			destination.Send("POST", "/contacts/{answer.contact}/companies", attached).If(sought).Success(company(attachDocs)),
		)
}

func customAttributes() field.Line {
	return field.Object("custom_attributes").Doc("Intercom takes those that are defined in the workspace.")
}

// seconds is a time as Intercom wants it.
func seconds(key string) body.Members {
	return body.Member(key, body.First(body.From(key).Seconds(), body.From(key)))
}

// by is the query of a look-up by a field.
func by(key string) body.Node {
	return body.If(body.From(key).Filled(), body.Object(body.Member("query", body.Object(
		body.Member("field", body.Const(key)), body.Member("operator", body.Const("=")), body.Member("value", body.From(key)),
	))))
}

// search looks up the one contact that a query finds.
func search(query body.Node) destination.Step {
	return destination.Send("POST", "/contacts/search", query).
		Success(destination.JSON(searchDocs, destination.Is("type", "list"), destination.List("data"),
			destination.Number("total_count"))).
		Take("contact", func(a *destination.Answer) string {
			if n, ok := a.JSON.Get("total_count").Int(); ok && n == 1 {
				return a.JSON.Get("data").Index(0).Get("id").Text()
			}
			return ""
		})
}

// duplicate is the id of the contact that an answer says exists already.
func duplicate(a *destination.Answer) string {
	if a.Status != http.StatusConflict || strings.Contains(string(a.Body), "archived") {
		return ""
	}
	_, id, _ := strings.Cut(a.JSON.Get("errors").Index(0).Get("message").Text(), "with id=")
	id, _, _ = strings.Cut(id, " ")
	return id
}
