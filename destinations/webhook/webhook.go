// Package webhook delivers to any HTTP endpoint: the raw events, or what a
// mapping makes of them.
package webhook

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Settings of an endpoint.
type Settings struct {
	URL          string            `setting:"url,required,transport" doc:"Where requests go." example:"https://example.com/hook"`
	Method       string            `setting:"method" doc:"HTTP method." default:"POST" choices:"POST,PUT,PATCH"`
	Headers      map[string]string `setting:"headers,secret,transport" doc:"Headers of every request: a table in YAML; elsewhere a JSON object, or NAME: VALUE lines."`
	Format       string            `setting:"format" doc:"array: a JSON array of events; lines: one event a line; single: one event a request." default:"array" choices:"array,lines,single" elsewhere:"single"`
	SharedSecret string            `setting:"shared_secret,secret,transport" doc:"Signs the body: hex HMAC-SHA-256 in the signature header." example:"hook-signing-key"`
	Signature    string            `setting:"signature_header" doc:"Header of the signature." default:"X-Signature"`
	Signing      string            `setting:"signing_secret,secret,transport" doc:"Signs as Standard Webhooks has it (webhook-id, webhook-timestamp, webhook-signature): base64 behind whsec_." example:"whsec_ZmFuZm9sZC1leGFtcGxlLXNpZ25pbmcta2V5"`
	Idempotency  string            `setting:"idempotency_header,transport" doc:"Header that is the same whenever a request is made again: an event's insert id, or of several a hash of theirs. Empty text: none." default:"Idempotency-Key"`
}

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "webhook", Name: "Webhook", Summary: "any HTTP endpoint",
			Docs:         "https://segment.com/docs/connections/destinations/catalog/webhooks/",
			Integrations: []string{"Webhooks"}, Minimal: true,
			Backfill: "Every event is posted; what the endpoint does with old ones is its own affair.",
		},
		BaseURL: func(s *Settings) string { return s.URL },
		Auth: func(s *Settings) destination.Auth {
			var a destination.Auth
			for k, v := range s.Headers {
				a = a.And(destination.HeaderAuth(k, v))
			}
			if s.SharedSecret != "" {
				a = a.And(destination.SignBody(s.Signature, s.SharedSecret))
			}
			if s.Signing != "" {
				sign, _ := destination.SignWebhook(s.Signing) // Check says what is wrong with it
				a = a.And(sign)
			}
			return a
		},
		Keys: func(s *Settings) destination.Keys {
			return destination.Keys{Header: s.Idempotency, Webhook: s.Signing != ""}
		},
		Check: func(s *Settings) (errs []error) {
			wrong := func(key, msg string) { errs = append(errs, &setting.Problem{Key: key, Msg: msg}) }
			if u, err := url.Parse(s.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				wrong("url", "has to be an http or https address, like https://example.com/hook")
			} else if strings.Contains(s.URL, "{{") {
				wrong("url", "holds {{…}}, and nothing is filled in there: all events go to one address")
			}
			if msg := badHeader(s.Headers); msg != "" {
				wrong("headers", msg)
			}
			if !httpguts.ValidHeaderFieldName(s.Signature) {
				wrong("signature_header", "has to be the name of a header, like X-Signature")
			}
			if s.Idempotency != "" && !httpguts.ValidHeaderFieldName(s.Idempotency) {
				wrong("idempotency_header", "has to be the name of a header, like Idempotency-Key, or an empty text")
			}
			if _, err := destination.SignWebhook(s.Signing); err != nil && s.Signing != "" {
				wrong("signing_secret", err.Error())
			}
			return errs
		},
		// What an endpoint of anybody's says is its own affair: a 2xx is all that is asked for.
		Success: []destination.Success{{Docs: "https://www.rfc-editor.org/rfc/rfc9110#section-15.3", Any: true}},
		Actions: destination.Actions{
			destination.Action("send", "Send").Doc("Posts the event, or the body that a mapping makes of it.").
				On(`type != null`).
				Fields(field.Object("body").Doc("What is sent instead of the event.")).
				Steps(
					destination.Send("{settings.method}", "", body.Items(sent())).If(body.Setting("format").Is("array")),
					destination.Send("{settings.method}", "", body.Lines(sent())).If(body.Setting("format").Is("lines")).
						Of("application/x-ndjson"),
					destination.Send("{settings.method}", "", sent()).If(body.Setting("format").Is("single")),
				),
		},
	}.Destination()
}

// sent is what the endpoint gets of an event.
func sent() body.Node { return body.First(body.From("body"), destination.EventLine()) }

// badHeader says what could not be sent, which would look like an endpoint
// that is down. It does not say a name that is none: that may be a secret.
func badHeader(headers map[string]string) string {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		key := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return "holds a name that no header can have: letters, digits and - are what names are made of"
		case !httpguts.ValidHeaderFieldValue(headers[name]):
			return "the value of " + name + " holds a line end or another control character"
		case seen[key]:
			return "holds " + key + " twice"
		}
		seen[key] = true
	}
	return ""
}
