// Package loops delivers to Loops: contacts, and the events that its workflows wait for.
package loops

import (
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of a team.
type Settings struct {
	APIKey string `setting:"api_key,required,secret,transport" doc:"API key." example:"0123456789abcdef0123456789abcdef"`
}

const (
	docs        = "https://loops.so/docs/api-reference/intro"
	contactDocs = "https://loops.so/docs/api-reference/update-contact"
	eventDocs   = "https://loops.so/docs/api-reference/send-event"
)

// New declares the destination.
func New() destination.Destination {
	success := destination.Is("success", true)
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "loops", Name: "Loops", Summary: "e-mail for software companies", Docs: docs,
			Integrations: []string{"Loops (Actions)"}, Minimal: true,
			Backfill: "Contacts become what the last call says. Events have no time of their own: each counts as of " +
				"now and starts the workflows that wait for it. Pause these, or send history to a team of its own.",
			Differences: destination.Differences(
				`source is "fanfold" where the contact says none`, contactDocs,
				"an Idempotency-Key made of the messageId is sent with events", eventDocs,
			),
		},
		BaseURL: func(*Settings) string { return "https://app.loops.so/api" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.APIKey) },
		Limits: destination.Limits{
			Rates:       destination.Rates(docs, "10/s"),
			BatchEvents: destination.Cap{N: 1, Docs: eventDocs},
			Dedupe:      destination.Dedupe{Field: "Idempotency-Key, of events", Window: destination.Day, Docs: eventDocs},
		},
		Order: true,
		// A key that was used in the last 24 hours: the event is there already.
		Sayings: []destination.Saying{
			destination.Means(destination.Delivered, "", eventDocs, 409).When("message", "Idempotency key*")},
		Live: destination.Live{Does: "may start the workflows that wait for it", Docs: eventDocs},
		Actions: destination.Actions{
			destination.Action("createOrUpdateContact", "Create or update a contact").On(`type = "identify"`).
				Doc("Makes a contact or updates it.").
				Fields(
					field.Time("createdAt").Format("date-time"),
					field.Object("customAttributes").From("$.traits").Doc("Properties of the contact, which Loops has to know."),
					field.Text("email").Email().From("$.traits.email", "$.email"),
					field.Texts("firstName", "lastName").Below("$.traits"),
					field.Object("mailingLists").Doc("Ids of mailing lists: true puts the contact on one, false takes it off."),
					field.Text("source").From("$.traits.source").Else("fanfold"),
					field.Boolean("subscribed"), field.Texts("userGroup = traits.userGroup"), field.UserID("userId").Required(),
				).
				Put("/v1/contacts/update", body.Object(
					body.Spread("customAttributes"),
					body.Same("createdAt", "email", "firstName", "lastName", "source", "subscribed", "userGroup", "userId"),
					body.Member("mailingLists", body.First(body.From("mailingLists"), body.Empty())),
				)).
				Success(destination.JSON(contactDocs, success, destination.Text("id"))),
			destination.Action("sendEvent", "Send event").On(`type = "track"`).
				Doc("Starts the workflows that wait for the event.").
				Fields(
					field.Text("email").Email().From("$.properties.email", "$.context.traits.email"),
					field.Text("eventName").Required().From("$.event"), field.UserID("userId").Required(),
					field.Object("contactProperties").Doc("Properties to set of the contact."),
					field.Object("eventProperties").From("$.properties"),
				).
				Header("Idempotency-Key", body.InsertID().UUID()).
				Post("/v1/events/send", body.Object(
					body.Spread("contactProperties"), body.Same("email", "eventName", "userId", "eventProperties"),
				)).
				Success(
					destination.JSON(eventDocs, success),
					destination.JSON(eventDocs, destination.Is("success", false), destination.Text("message")).With(409),
				),
		},
	}.Destination()
}
