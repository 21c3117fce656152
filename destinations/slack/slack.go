// Package slack posts messages to Slack channels by incoming webhooks. It is a
// notice board, not a store: one event is one message that people read.
package slack

import (
	"net/url"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Settings of a webhook.
type Settings struct {
	URL string `setting:"url,secret" doc:"Address of the incoming webhook. Whoever knows it can post. A mapping's url takes its place." example:"https://hooks.slack.com/services/T00000000/B00000000/EXAMPLEEXAMPLEEXAMPLEEX"`
}

const (
	docs      = "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"
	errorDocs = docs + "#handling_errors"
	rateDocs  = "https://docs.slack.dev/apis/web-api/rate-limits"
	againDocs = "https://docs.slack.dev/tools/node-slack-sdk/reference/webhook/variables/retryPolicies"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "slack", Name: "Slack", Summary: "messages in a channel", Docs: docs,
			Integrations: []string{"Slack (Actions)", "Slack"},
			Backfill: "Every event becomes a message of today, one a second, that people are notified of and that nobody " +
				"can take back: use --filter and --limit. Slack knows no repeats: after a crash a message may stand there twice.",
			Minimal: true,
			Differences: destination.Differences(
				`username is "fanfold", where the mapping says nothing else`, docs,
				"icon_url is not sent, unless it is mapped", docs,
			),
		},
		BaseURL: func(s *Settings) string {
			if u := address(s.URL); u != nil {
				return "https://" + u.Host
			}
			return "https://hooks.slack.com"
		},
		Check: func(s *Settings) []error {
			if s.URL != "" && address(s.URL) == nil {
				return []error{&setting.Problem{Key: "url", Msg: "has to be the address of a webhook, like " +
					"https://hooks.slack.com/services/…"}}
			}
			return nil
		},
		Limits: destination.Limits{
			Rates:       destination.Rates(rateDocs, "1/s"),
			BatchEvents: destination.Cap{N: 1, Docs: docs},
			// as Slack's own library does
			Retries: destination.Retries{Attempts: 11, MaxTime: 30 * time.Minute, Docs: againDocs},
		},
		Order: true,
		// A webhook that is gone, as opposed to a message that is refused.
		Sayings: []destination.Saying{destination.Means(destination.Retry, destination.Unauthorized, errorDocs, 404, 410).
			When(".", "no_service", "no_service_id", "no_team", "team_disabled", "invalid_token", "no_active_hooks").
			Tell("the webhook is gone; see " + errorDocs)},
		Success: []destination.Success{destination.Words(docs, "ok")},
		Live:    destination.Live{Does: "posts a message that people are notified of", Docs: docs},
		Actions: destination.Actions{
			destination.Action("postToChannel", "Post message").
				Doc("Posts a message. Webhooks of Slack apps take channel, name and icon from the app and ignore those here.").
				Fields(
					field.Text("url").Format("uri").Doc("Address of the webhook, where it is not the setting's."),
					field.LongText("text").Required().Doc("The message, in Slack's mrkdwn."),
					field.Text("channel").Doc("Name of the channel, without #."),
					field.Text("username").Always("fanfold"), field.Text("icon_url"),
				).
				Check(sameHost).
				Steps(destination.Send("POST", "", body.Object(body.Same("channel", "text", "username", "icon_url"))).
					To(body.First(body.From("url").Given().Rewritten("its path", path),
						body.Setting("url").Rewritten("its path", path)))),
		},
		Presets: []destination.Preset{{
			Name: "Events", Action: "postToChannel", Subscribe: `type = "track"`,
			Mapping: map[string]mapping.Value{"text": mapping.Join(" ", mapping.Paths("$.userId", "$.anonymousId"),
				mapping.Literal("did"), mapping.Path("$.event"))},
		}},
	}.Destination()
}

// address reads the address of a webhook; nil: it is none. Nothing is posted anywhere else.
func address(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host != "hooks.slack.com" && u.Host != "hooks.slack-gov.com" ||
		u.User != nil || u.Path == "" || u.Path == "/" {
		return nil
	}
	return u
}

// sameHost says what is wrong with an event's own address.
func sameHost(c *body.Context) string {
	host := "hooks.slack.com"
	own := body.Recall(c, c.Setting("url"), address)
	if own != nil {
		host = own.Host
	}
	switch v := c.Field("url"); {
	case v.Falsy() && own == nil:
		return "there is no url: neither the setting nor the mapping has one"
	case v.Falsy():
		return ""
	default:
		if at := body.Recall(c, v, address); at == nil || at.Host != host {
			return "url has to be the address of a webhook at " + host
		}
	}
	return ""
}

// path is the path of an address.
func path(text string) string {
	if u := address(text); u != nil {
		return u.RequestURI()
	}
	return ""
}
