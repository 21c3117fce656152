// Package optimizelyfeatureexperimentation delivers to Optimizely Feature Experimentation: a
// conversion for every event that is known there.
package optimizelyfeatureexperimentation

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of an account and an environment.
type Settings struct {
	AccountID   string `setting:"account_id,required" doc:"ID of the account." example:"1234"`
	DataFileURL string `setting:"data_file_url,required" doc:"Its datafile." example:"https://cdn.optimizely.com/d.json"`
	AccessToken string `setting:"access_token,secret,transport" doc:"Token for the datafile of a secure environment."`
	Region      string `setting:"region" doc:"Where the account's data resides." default:"us" choices:"us,eu"`
}

const (
	docs     = "https://docs.developers.optimizely.com/experimentation-data/reference/log-endpoint"
	fileDocs = "https://docs.developers.optimizely.com/feature-experimentation/docs/manage-config-datafile"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "optimizely-feature-experimentation-actions", Name: "Optimizely Feature Experimentation",
			Summary: "experiments", Docs: docs, Minimal: true,
			Integrations: []string{"Optimizely Feature Experimentation (Actions)"},
			Elsewhere:    []string{"Optimizely Fullstack", "Optimizely Full Stack"},
			Backfill: "Conversions count at their own time for experiments that ran then. " +
				"Events that the datafile does not have are skipped. Repeats are recognised by uuid.",
			Differences: destination.Differences(
				"the datafile is fetched once for many events, and again after five minutes", fileDocs,
				"X-Optimizely-Strict asks for a refusal of what would be dropped in silence", docs,
			),
		},
		Hosts: map[string]string{"us": "https://logx.optimizely.com", "eu": "https://eu.logx.optimizely.com"},
		Auth: func(s *Settings) destination.Auth {
			if s.AccessToken == "" {
				return destination.Auth{}
			}
			return destination.Bearer(s.AccessToken).Only(s.DataFileURL)
		},
		Limits: destination.Limits{Dedupe: destination.Dedupe{Field: "uuid", Docs: docs}},
		Actions: destination.Actions{
			destination.Action("trackEvent", "Track event").On(`type = "track"`).Doc("A conversion of a visitor.").
				Fields(
					field.Text("eventKey").Required().From("$.event"), field.AnyID("userId").Required(),
					field.Object("attributes").From("$.context.traits"),
					field.Integer("revenue").From("$.properties.revenue").Doc("In cents."),
					field.Number("value").From("$.properties.value"), field.Object("eventTags").From("$.properties"),
					field.Timestamp("timestamp").Required(), field.MessageID("uuid").Required(),
				).
				TimeField("timestamp").Header("X-Optimizely-Strict", body.Const("true")).
				Steps(
					destination.Send("GET", "", body.Empty()).AsQuery().From("data_file_url").Kept(5*time.Minute).
						Success(destination.JSON(fileDocs, destination.List("events"))),
					destination.Send("POST", "/v1/events", body.Object(
						body.Member("account_id", body.Setting("account_id")), body.Member("anonymize_ip", body.Const(true)),
						body.Member("client_name", body.Const("fanfold")), body.Member("enrich_decisions", body.Const(true)),
						body.Member("visitors", body.List(body.Object(
							body.Copy("visitor_id = userId", "attributes = attributes"),
							body.Member("snapshots", body.List(body.Object(
								body.Member("decisions", body.Always(body.List())),
								body.Member("events", body.List(body.Object(
									body.Copy("key = eventKey", "uuid = uuid", "revenue = revenue", "value = value", "tags = eventTags"),
									body.Member("timestamp", body.From("timestamp").Millis()),
								))),
							))),
						))),
					)).Revise(withIDs).Success(destination.NoBody(docs, 204)),
				),
		},
	}.Destination()
}

// withIDs puts the ids of the datafile into what is sent of an event: its own, and those of
// the attributes that Optimizely knows.
func withIDs(text []byte, answer func(step int) event.Value) ([]byte, destination.Result) {
	var sent map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&sent); err != nil {
		return nil, destination.Result{Outcome: destination.Rejected, Reason: destination.Invalid, Detail: err.Error()}
	}
	first := func(in any, key string) map[string]any { return in.(map[string]any)[key].([]any)[0].(map[string]any) }
	visitor := first(sent, "visitors")
	one := first(first(visitor, "snapshots"), "events")
	id := find(answer(1).Get("events"), one["key"].(string))
	if id == "" {
		return nil, destination.Result{
			Outcome: destination.Skipped, Reason: destination.Unneeded, Detail: "the datafile has no event of this name",
		}
	}
	one["entity_id"] = id
	traits, _ := visitor["attributes"].(map[string]any)
	known := []any{}
	for a := range answer(1).Get("attributes").Elements() {
		if v, ok := traits[a.Get("key").Text()]; ok {
			known = append(known, map[string]any{
				"entity_id": a.Get("id").Text(), "key": a.Get("key").Text(), "type": "custom", "value": v,
			})
		}
	}
	visitor["attributes"] = known
	text, err := json.Marshal(sent)
	if err != nil {
		return nil, destination.Result{Outcome: destination.Rejected, Reason: destination.Invalid, Detail: err.Error()}
	}
	return text, destination.Result{}
}

// find is the id of what has a key.
func find(list event.Value, key string) string {
	for e := range list.Elements() {
		if e.Get("key").IsText(key) {
			return e.Get("id").Text()
		}
	}
	return ""
}
