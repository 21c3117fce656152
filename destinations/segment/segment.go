// Package segment delivers to the HTTP tracking API of Segment, which
// RudderStack and others speak too: the events as they are, in batches.
package segment

import (
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
)

// Settings of a source.
type Settings struct {
	WriteKey string `setting:"write_key,required,secret,transport" doc:"Write key of the source that receives the events." example:"0123456789abcdefghijklmnopqrstuv"`
	Region   string `setting:"region,transport" doc:"Where the workspace's data resides. For RudderStack and others set base_url." default:"us" choices:"us,eu"`
}

const docs = "https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/"

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "segment", Name: "Segment", Summary: "HTTP tracking API, also of RudderStack", Docs: docs,
			Integrations: []string{"Segment.io"}, Elsewhere: []string{"Segment Connections"},
			Backfill: "Events keep their messageId and timestamp; receivedAt and sentAt are those of the backfill. " +
				"Whatever is connected to the source gets them again, live.",
			Minimal: true,
		},
		// https://segment.com/docs/guides/regional-segment/
		Hosts: map[string]string{"us": "https://api.segment.io", "eu": "https://events.eu1.segmentapis.com"},
		Auth:  func(s *Settings) destination.Auth { return destination.Basic(s.WriteKey, "") },
		Limits: destination.Limits{
			Rates:       destination.Rates("https://segment.com/docs/connections/rate-limits/", "1000/s"),
			BatchEvents: destination.Cap{N: 2500, Docs: docs + "#batch"},
			BatchBytes:  destination.Cap{N: 500_000, Docs: docs + "#batch"},
			EventBytes:  destination.Cap{N: 32_000, Docs: docs + "#max-request-size"},
			Dedupe: destination.Dedupe{Field: "messageId", Window: destination.Day,
				Docs: "https://segment.com/docs/guides/duplicate-data/"},
		},
		Success: []destination.Success{destination.JSON(docs+"#responses", destination.Is("success", true))},
		Live:    destination.Live{Does: "is passed on, as of now, to whatever is connected to the source", Docs: docs},
		Actions: destination.Actions{
			destination.Action("batch", "Send events").On(trigger).Dated().
				Doc("Every event of the six types, unchanged but for the times of transport.").
				NeedsIdentity(body.Event("userId", "anonymousId").Filled(), "userId or anonymousId is required").
				Post("/v1/batch", body.Object(body.Member("batch", body.Items(body.Object(
					// What the receiving side sets itself is left out.
					body.SpreadOf(body.Event(""), "sentAt", "receivedAt", "writeKey", "messageId", "timestamp", "projectId"),
					body.Member("messageId", body.InsertID()), // so that a repeat is recognised
					body.Member("timestamp", body.Event("timestamp").NotNull()),
				))))),
		},
	}.Destination()
}

const trigger = `type in ["track", "identify", "page", "screen", "group", "alias"]`
