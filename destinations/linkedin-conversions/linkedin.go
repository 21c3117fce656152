// Package linkedinconversions delivers to LinkedIn's Conversions API.
package linkedinconversions

import (
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of an app that may write conversions, and of a conversion rule.
type Settings struct {
	ClientID     string `setting:"client_id,required" doc:"Client ID of the app." example:"77abcdefghijkl"`
	ClientSecret string `setting:"client_secret,required,secret,transport" doc:"Its secret." example:"WPL0abcdefgh"`
	RefreshToken string `setting:"refresh_token,required,secret,transport" doc:"Refresh token. It ends a year after the app was authorized. When LinkedIn gives another one, that is kept, sealed, in the state folder and used from then on." example:"AQV0abcdefgh"`
	ConversionID string `setting:"conversion_id" doc:"ID of the conversion rule." example:"104012"`
	Version      string `setting:"version,transport" doc:"Version of the API, as year and month." default:"202606"`
}

const (
	docs      = "https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/conversions-api"
	tokenDocs = "https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "linkedin-conversions", Name: "LinkedIn Conversions API", Summary: "advertising", Docs: docs, Minimal: true,
			Elsewhere: []string{"Linkedin Ads"},
			Backfill: "Conversions of the last 90 days are taken and count at their own time. " +
				"Repeats are recognised by eventId. A preset sends orders alone.",
			Differences: destination.Differences(
				"the conversion rule is a setting or a field: none is made here", docs,
				"email is looked for in context.traits and properties, too, where track calls have it", docs,
				"the token is got for a refresh token, and again before it ends", tokenDocs,
			),
		},
		BaseURL: func(*Settings) string { return "https://api.linkedin.com" },
		Auth: func(s *Settings) destination.Auth {
			const tokens = "https://www.linkedin.com/oauth/v2/accessToken" // as tokenDocs has it
			return destination.RefreshToken(tokens, s.ClientID, s.ClientSecret, s.RefreshToken)
		},
		Limits: destination.Limits{
			Rates:       destination.Rates(docs, "600/m", "300000/d"),
			BatchEvents: destination.Cap{N: 5000, Docs: docs},
			Window:      destination.Window{Past: 90 * destination.Day, Violation: "refuses the event", Docs: docs},
			Dedupe:      destination.Dedupe{Field: "eventId", Docs: docs},
		},
		Success: []destination.Success{destination.JSON(docs, destination.Lists("elements"))},
		Actions: destination.Actions{
			destination.Action("streamConversion", "Stream conversion").On(`type = "track"`).Doc("A conversion of somebody.").
				Fields(
					field.Text("conversionId").Doc("ID of the conversion rule, instead of the setting's."),
					field.Time("conversionHappenedAt").Required().From("$.timestamp"),
					field.Object("conversionValue", field.Currency("currencyCode"), field.Text("amount").From("$.properties.revenue")),
					field.MessageID("eventId"), field.Texts("email = traits.email, context.traits.email, properties.email",
						"linkedInUUID", "acxiomID", "oracleID"),
					field.Object("userInfo", field.Text("firstName").Required(), field.Text("lastName").Required(),
						field.Texts("companyName", "title", "countryCode")),
					field.Text("externalIds").List(),
				).
				TimeField("conversionHappenedAt").
				Needs(body.Any(body.From("conversionId").Given(), body.Setting("conversion_id")),
					"conversionId is required, or the setting conversion_id").
				NeedsOneOf("email", "linkedInUUID", "acxiomID", "oracleID", "userInfo").
				Header("Linkedin-Version", body.Setting("version")).Header("X-Restli-Protocol-Version", body.Const("2.0.0")).
				Header("X-Restli-Method", body.Const("BATCH_CREATE")).
				Post("/rest/conversionEvents", body.Batch("elements", conversion())).
				Verdicts(destination.ByPosition("elements", "status", "error.message")),
		},
		Presets: []destination.Preset{{
			Name: "Order Completed", Action: "streamConversion", Subscribe: `type = "track" and event = "Order Completed"`,
		}},
	}.Destination()
}

// conversion is one event.
func conversion() body.Node {
	id := func(kind string, v body.Value) body.Node {
		return body.If(v, body.Object(body.Member("idType", body.Const(kind)), body.Member("idValue", v)))
	}
	rule := body.From("conversionId").Given().Prefix("urn:lla:llaPartnerConversion:")
	worth := body.All(body.Has("conversionValue.currencyCode"), body.Has("conversionValue.amount"))
	return body.Object(
		body.Member("conversion", body.First(rule, body.Format("urn:lla:llaPartnerConversion:{settings.conversion_id}"))),
		body.Member("conversionHappenedAt", body.From("conversionHappenedAt").Millis()),
		body.When(worth, body.Same("conversionValue")),
		body.Member("eventId", body.From("eventId").Given().Else(body.InsertID())),
		body.Member("user", body.Object(
			body.Member("userIds", body.Always(body.List(
				id("SHA256_EMAIL", body.From("email").Given().Hash("email")),
				id("LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", body.From("linkedInUUID").Given()),
				id("ACXIOM_ID", body.From("acxiomID").Given()), id("ORACLE_MOAT_ID", body.From("oracleID").Given()),
			))),
			body.Same("userInfo", "externalIds"),
		)),
	)
}
