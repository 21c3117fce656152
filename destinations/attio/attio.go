// Package attio delivers to Attio: people and users, companies and workspaces, each found by
// one of its attributes and made where there is none.
package attio

import (
	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

// Settings of a workspace.
type Settings struct {
	AccessToken string `setting:"access_token,required,secret,transport" doc:"Access token." example:"0123456789abcdef"`
}

const (
	docs     = "https://docs.attio.com/rest-api/endpoint-reference/records/assert-a-record"
	rateDocs = "https://docs.attio.com/rest-api/guides/rate-limiting"
)

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "attio", Name: "Attio", Summary: "customer relations", Docs: docs, Integrations: []string{"Attio (Actions)"},
			Backfill: "Records become what the last call says; values of lists are added to. A repeat changes nothing.",
			Differences: destination.Differences("no request to /v2/batch/records: every record is asserted by itself, so "+
				"that each has its verdict", docs),
		},
		BaseURL: func(*Settings) string { return "https://api.attio.com" },
		Auth:    func(s *Settings) destination.Auth { return destination.Bearer(s.AccessToken) },
		Limits: destination.Limits{
			Rates:       destination.Rates(rateDocs, "25/s"),
			BatchEvents: destination.Cap{N: 1, Docs: docs},
		},
		Order:   true,
		Success: []destination.Success{destination.JSON(docs, destination.Text("data.id.record_id"))},
		Live: destination.Live{Does: "may run the workflows that wait for a record",
			Docs: "https://attio.com/help/reference/integrations-automations/workflows/workflows-block-library"},
		Actions: destination.Actions{
			destination.Action("identifyUser", "Identify user").On(`type = "identify"`).
				Doc("Asserts a person, and then the user who it is.").
				Fields(
					field.Text("email_address").Email().Required().From("$.traits.email", "$.email"),
					field.UserID("user_id").Required(),
					field.Object("user_attributes").Doc("Values of the user's attributes."),
					field.Object("person_attributes").Doc("Values of the person's attributes."),
				).
				Steps(
					assert("people", "email_addresses", body.Copy("email_addresses = email_address"),
						body.Spread("person_attributes")),
					assert("users", "user_id", body.Copy("primary_email_address = email_address", "person = email_address"),
						body.Same("user_id"), body.Spread("user_attributes")).After(),
				),
			destination.Action("groupWorkspace", "Group workspace").On(`type = "group"`).
				Doc("Asserts a company, and then the workspace that is the company's.").
				Fields(
					field.Text("domain").Required().From("$.traits.website", "$.website"),
					field.Text("workspace_id").Required().From("$.groupId", "$.context.group_id"), field.UserID("user_id"),
					field.Object("company_attributes").Doc("Values of the company's attributes."),
					field.Object("workspace_attributes").Doc("Values of the workspace's attributes."),
				).
				Steps(
					assert("companies", "domains", body.Copy("domains = domain"), body.Spread("company_attributes")),
					assert("workspaces", "workspace_id", body.Same("workspace_id"),
						body.Member("users", body.List(body.From("user_id"))),
						body.Member("company", body.Answer(1, "data.id.record_id")), body.Spread("workspace_attributes")),
				),
			destination.Action("assertRecord", "Assert record").Doc("Asserts a record of any object.").
				Fields(
					field.Text("object").Required().Doc("Slug or id of the object."),
					field.Text("matching_attribute").Required().Doc("The attribute that a record is found by."),
					field.Object("attributes").Doc("Values of its attributes."),
				).
				Steps(assert("{object}", "{matching_attribute}", body.Spread("attributes"))),
		},
	}.Destination()
}

// assert makes a record of an object, or changes the one that has the same value of an attribute.
func assert(object, by string, values ...body.Members) destination.Step {
	return destination.Send("PUT",
		"/v2/objects/"+object+"/records/simple?matching_attribute="+by+"&append_to_existing_values=true",
		body.Object(body.Member("data", body.Object(body.Member("values", body.Always(body.Object(values...)))))))
}
