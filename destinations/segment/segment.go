// Package segment delivers to the HTTP tracking API of Segment, which
// RudderStack and others speak too: the events as they are, in batches.
package segment

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
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
			Slug: "segment", Name: "Segment", Summary: "HTTP tracking API, also of RudderStack", Docs: docs, Integrations: []string{"Segment.io"},
			Backfill: "Events keep their messageId and timestamp; receivedAt and sentAt are those of the backfill. Whatever is connected to the source gets them again, live.",
			Minimal:  true,
		},
		BaseURL: func(s *Settings) string {
			// https://segment.com/docs/guides/regional-segment/
			if s.Region == "eu" {
				return "https://events.eu1.segmentapis.com"
			}
			return "https://api.segment.io"
		},
		Auth: func(s *Settings) destination.Auth { return destination.Basic(s.WriteKey, "") },
		Limits: destination.Limits{
			// https://segment.com/docs/connections/rate-limits/
			Rates:       []destination.Rate{{N: 1000, Per: time.Second, Of: destination.Requests, Docs: "https://segment.com/docs/connections/rate-limits/"}},
			BatchEvents: destination.Cap{N: 2500, Docs: docs + "#batch"},
			BatchBytes:  destination.Cap{N: 500_000, Docs: docs + "#batch"},
			EventBytes:  destination.Cap{N: 32_000, Docs: docs + "#max-request-size"},
			Dedupe:      destination.Dedupe{Field: "messageId", Window: 24 * time.Hour, Docs: "https://segment.com/docs/guides/duplicate-data/"},
		},
		Success: []destination.Success{destination.JSON(docs+"#responses", destination.Is("success", true))},
		Actions: destination.Coded[Settings]{{
			Slug: "batch", Title: "Send events", Doc: "Every event of the six types, unchanged but for the times of transport.",
			Trigger: trigger, Item: item,
			Request: func(*Settings) destination.Request {
				return destination.Request{Path: "/v1/batch", Open: `{"batch":[`, Sep: ",", Close: "]}"}
			},
		}},
		Presets: []destination.Preset{{Name: "All events", Action: "batch", Subscribe: trigger}},
	}.Destination()
}

const trigger = `type in ["track", "identify", "page", "screen", "group", "alias"]`

// item writes the event without what the receiving side sets itself, and with
// a messageId, so that a repeat is recognised.
func item(_ *Settings, in *destination.Input, out *destination.Output) {
	ev := in.Event
	if none(ev.UserID()) && none(ev.AnonymousID()) {
		out.Reject(destination.MissingIdentity, "userId or anonymousId is required")
		return
	}
	out.BeginObject()
	out.Members(ev.Root(), "sentAt", "receivedAt", "writeKey", "messageId", "timestamp", "projectId")
	out.Key("messageId")
	out.Compute(event.Value{}, writeID)
	if v := ev.Root().Get("timestamp"); !v.Nullish() {
		out.Field("timestamp", v)
	} else if v := ev.TimestampValue(); v.Exists() {
		out.Key("timestamp")
		out.Compute(v, writeTime)
	}
	out.EndObject()
}

func writeID(w *mapping.Writer, _ event.Value, l *mapping.Late) { w.Text(l.ID) }

func writeTime(w *mapping.Writer, v event.Value, _ *mapping.Late) {
	at, _ := event.ParseTime(v)
	w.Text(at.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

func none(v event.Value) bool { return v.Nullish() || v.IsEmptyText() }
