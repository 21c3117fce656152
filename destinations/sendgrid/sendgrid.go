// Package sendgrid delivers to SendGrid: contacts of its marketing campaigns in bulk, and
// e-mails made of templates.
package sendgrid

import (
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of an account.
type Settings struct {
	APIKey string `setting:"send_grid_api_key,required,secret,transport" doc:"API key." example:"SG.0123456789abcdef"`
	Region string `setting:"region" doc:"Where the account resides." default:"global" choices:"global,eu"`
}

const (
	docs     = "https://www.twilio.com/docs/sendgrid/api-reference/contacts/add-or-update-a-contact"
	mailDocs = "https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "sendgrid", Name: "SendGrid", Summary: "e-mail", Docs: docs, Minimal: true,
			Backfill: "Contacts are updated some time later: what SendGrid then finds wrong, it does not tell here. " +
				"sendEmail sends a mail to a person for every event, now, and again when it is repeated: no preset does.",
			Differences: destination.Differences("no request to /v3/marketing/field_definitions: customFields has the ids of "+
				"custom fields, not their names", docs),
		},
		// https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/regional-email
		Hosts: map[string]string{"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"},
		Auth:  func(s *Settings) destination.Auth { return destination.Bearer(s.APIKey) },
		Order: true,
		Actions: destination.Actions{
			destination.Action("updateUserProfile", "Update user profile").On(`type = "identify"`).
				Doc("Makes a contact or updates it.").
				Fields(
					traits(50, "first_name", "last_name", "country = .address.country"),
					traits(0, "postal_code = .address.postal_code"), traits(60, "city = .address.city"),
					traits(50, "state = .address.state"),
					traits(100, "address_line_1 = .address.line1", "address_line_2 = .address.line2"),
					traits(0, "phone_number = .phone", "whatsapp", "line", "facebook", "unique_name"),
					traits(254, "primary_email = .email"), traits(0, "phone_number_id = .phone"), traits(254, "external_id"),
					field.AnonymousID("anonymous_id").AtMost(254),
					field.Object("customFields").Doc("Values of custom fields, by the ids of these."),
				).
				NeedsOneOf("primary_email", "phone_number_id", "external_id", "anonymous_id").
				Put("/v3/marketing/contacts", body.Batch("contacts", body.Object(
					body.Fields("state", "primary_email", "customFields"),
					body.Copy("email = primary_email", "state_province_region = state"),
					body.Member("custom_fields", body.From("customFields").Else(body.Empty())),
				))).
				Header("Accept", body.Const("application/json")).
				BatchEvents(30_000, docs).BatchBytes(6_000_000, docs).
				Success(destination.JSON(docs, destination.Text("job_id")).With(202)),
			destination.Action("sendEmail", "Send email").Doc("Sends a mail that is made of a template.").
				Live("sends a mail to a person", mailDocs).
				Fields(
					address("from").Required(), address("to").Required(), address("cc").List(), address("bcc").List(),
					address("reply_to"), field.Object("headers"), field.Object("dynamic_template_data"),
					field.Object("custom_args"), field.Text("template_id").Required(),
					field.Text("send_at").Format("date-time").Doc("When to send it, at most 72 hours from now."),
					field.Text("categories").List(), field.Text("ip_pool_name"),
					field.Text("group_id").Doc("Group that a person can unsubscribe from."),
				).
				Post("/v3/mail/send", body.Object(
					body.Same("from", "reply_to", "template_id", "categories", "ip_pool_name"),
					body.Member("send_at", body.From("send_at").Seconds()),
					body.Member("asm", body.Object(body.Member("group_id", body.From("group_id").Integer()))),
					body.Member("personalizations", body.List(body.Object(
						body.Member("to", body.List(body.From("to"))),
						body.Same("cc", "bcc", "headers", "dynamic_template_data", "custom_args"),
					))),
				)).
				Success(destination.NoBody(mailDocs, 202)),
		},
	}.Destination()
}

// traits are texts out of traits or properties; most is how many characters SendGrid takes.
func traits(most float64, keys ...string) field.Lines {
	return field.Texts(keys...).Below("$.traits", "$.properties").
		With(func(l field.Line) field.Line { return l.AtMost(most) })
}

func address(key string) field.Line {
	return field.Object(key, field.Text("email").Email().Required(), field.Text("name"))
}
