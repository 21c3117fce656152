// Package moengage delivers to MoEngage: events and traits, at the address that it has for
// Segment's calls.
package moengage

import (
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of a workspace.
type Settings struct {
	APIID  string `setting:"api_id,required" doc:"ID of the workspace." example:"OAPQQ2AMD01MJZYZX1YPG"`
	APIKey string `setting:"api_key,required,secret,transport" doc:"Data API key." example:"0123456789abcdef01234567"`
	Region string `setting:"region" doc:"Data center." default:"DC_01" choices:"DC_01,DC_02,DC_03,DC_04,DC_05,DC_06,DC_101" places:"us,eu,in"`
}

const docs = "https://www.moengage.com/docs/api/data/data-overview"

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "moengage", Name: "MoEngage", Summary: "customer engagement", Docs: docs,
			Integrations: []string{"Moengage (Actions)"}, Minimal: true,
			Backfill: "Events keep their own time, and campaigns that wait for one may be triggered by it: pause them. " +
				"Attributes are what the last call says. A repeat of an event counts twice.",
			Differences: destination.Differences("MoEngage does not describe the answers at its address for Segment: those of "+
				"its Data API are taken for it", docs),
		},
		BaseURL: func(s *Settings) string {
			// https://www.moengage.com/docs/api/introduction#data-centers
			return "https://api-" + strings.TrimPrefix(s.Region, "DC_") + ".moengage.com"
		},
		Auth: func(s *Settings) destination.Auth { return destination.Basic(s.APIID, s.APIKey) },
		Limits: destination.Limits{
			BatchEvents: destination.Cap{N: 1, Docs: docs},
			EventBytes:  destination.Cap{N: 131_072, Docs: docs},
		},
		Order:   true,
		Success: []destination.Success{destination.JSON(docs, destination.Is("status", "success"))},
		Live:    destination.Live{Does: "may trigger the campaigns and flows that wait for it", Docs: docs},
		Actions: destination.Actions{
			call("trackEvent", "Track event", field.Text("event").Required().From("$.event"),
				field.Object("properties").From("$.properties"), field.Text("project_name").Doc("Nothing is sent of it.")).
				On(`type = "track"`).Doc("An event of a person.").
				Post(path, sent(body.Same("event", "properties"))).Rates(docs, "30000/m"),
			call("identifyUser", "Identify user", field.Object("traits").From("$.traits")).
				On(`type = "identify"`).Doc("Sets attributes of a person.").
				Post(path, sent(body.Same("traits"))).Rates(docs, "10000/m"),
		},
	}.Destination()
}

const path = "/v1/integrations/segment?appId={settings.api_id}"

// call is an action with the fields that both have.
func call(slug, title string, own ...field.Set) *destination.Declared {
	return destination.Action(slug, title).Fields(
		field.Text("type").Required().From("$.type"), field.UserID("userId"), field.AnonymousID("anonymousId"),
		field.Context("os_name", "app_version", "library_version"), field.Timestamp("timestamp"),
		field.Boolean("update_existing_only").Doc("Only of people who are there already."),
	).Fields(own...).NeedsOneOf("userId", "anonymousId")
}

func sent(own body.Members) body.Node {
	version := func(path string) body.Node { return body.Always(body.Object(body.Member("version", body.From(path)))) }
	return body.Object(
		body.Copy("type = type", "user_id = userId", "anonymous_id = anonymousId", "timestamp = timestamp"), own,
		body.Member("context", body.Object(
			body.Member("app", version("app_version")),
			body.Member("os", body.Always(body.Object(body.Member("name", body.From("os_name"))))),
			body.Member("library", version("library_version")),
		)),
		body.Member("update_existing_only", body.From("update_existing_only").Else(body.Const(false))),
	)
}
