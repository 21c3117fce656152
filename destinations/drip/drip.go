// Package drip delivers to Drip: subscribers and their events, in batches.
package drip

import (
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of an account.
type Settings struct {
	APIKey    string `setting:"api_key,required,secret,transport" doc:"API token." example:"0123456789abcdef01234567"`
	AccountID string `setting:"account_id,required" doc:"ID of the account." example:"9999999"`
}

const (
	docs      = "https://developer.drip.com/"
	batchDocs = "https://developer.drip.com/#batch-api"
	rateDocs  = "https://developer.drip.com/#rate-limiting"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "drip", Name: "Drip", Summary: "e-mail and text marketing for shops", Docs: docs,
			Integrations: []string{"Drip (Actions)"},
			Backfill: "Events are recorded at their own time and may start workflows that wait for them: pause these. " +
				"Drip works through batches later, and does not tell what it then refuses. A repeat of an event counts twice.",
			Differences: destination.Differences(
				"Authorization is made of the API token, which Segment wants encoded", docs+"#authentication",
				"subscribers and events go to /subscribers/batches and /events/batches", batchDocs,
				"occurred_at is sent with events: without it Drip puts the time of arrival", docs+"#events",
			),
		},
		BaseURL: func(*Settings) string { return "https://api.getdrip.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Basic(s.APIKey, "") },
		Limits: destination.Limits{
			// Of all batch endpoints together.
			Rates:       destination.Rates(rateDocs, "50/h"),
			BatchEvents: destination.Cap{N: 1000, Docs: batchDocs},
		},
		Order:   true,
		Success: []destination.Success{destination.Words(batchDocs, "{}").With(201)},
		Live:    destination.Live{Does: "may start the workflows that wait for it", Docs: docs},
		Actions: destination.Actions{
			destination.Action("trackEvent", "Track event").On(`type = "track"`).Doc("An event of a subscriber.").
				Fields(
					field.Text("action").Required().From("$.event"),
					field.Text("email").Email().Required().From("$.properties.email", "$.context.traits.email"),
					field.Object("properties").From("$.properties"), field.Timestamp("occurred_at"),
				).
				Post("/v2/{settings.account_id}/events/batches", batch("events", body.Object(
					body.Same("email", "action", "properties"), body.Member("occurred_at", body.From("occurred_at").ISO()),
				))),
			destination.Action("identify", "Identify").On(`type = "identify"`).Doc("Makes a subscriber or updates it.").
				Fields(
					field.Object("custom_fields").From("$.traits.custom_fields"),
					field.Text("email").Email().Required().From("$.traits.email"), field.IP("ip").Format("ipv4"),
					field.Texts("phone = traits.phone"),
					field.Text("initial_status").From("$.traits.initial_status").Else("unsubscribed"),
					field.Texts("status = traits.status"), field.Time("status_updated_at").From("$.traits.status_updated_at"),
					field.Text("tags").From("$.traits.tags").Doc("Tags, with commas between them."),
					field.Texts("timezone = context.timezone"),
				).
				Post("/v2/{settings.account_id}/subscribers/batches", batch("subscribers", body.Object(
					body.Same("custom_fields", "email", "phone", "initial_status", "status", "status_updated_at"),
					body.Copy("ip_address = ip", "time_zone = timezone"),
					body.Member("tags", body.From("tags").Given().As("a list", split)),
				))),
		},
	}.Destination()
}

// batch is a request with many of something.
func batch(of string, item body.Node) body.Node {
	return body.Object(body.Member("batches", body.List(body.Object(body.Member(of, body.Items(item))))))
}

// split is a text with commas as a list.
func split(dst []byte, v event.Value, _ *body.Context) []byte {
	dst = append(dst, '[')
	for i, tag := range strings.Split(v.Text(), ",") {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = event.AppendQuoted(dst, strings.TrimSpace(tag))
	}
	return append(dst, ']')
}
