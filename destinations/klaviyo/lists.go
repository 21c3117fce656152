package klaviyo

import (
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/field"
)

const (
	listDocs        = "https://developers.klaviyo.com/en/reference/remove_profiles_from_list"
	findDocs        = "https://developers.klaviyo.com/en/reference/get_profiles"
	subscribeDocs   = "https://developers.klaviyo.com/en/reference/bulk_subscribe_profiles"
	unsubscribeDocs = "https://developers.klaviyo.com/en/reference/bulk_unsubscribe_profiles"
)

// lists are the actions about who is on a list, and who has agreed to be written to.
func lists() destination.Actions {
	past := body.Any(body.From("historical_import").Is("true"), body.History())
	audience := []string{"$.context.personas.audience_settings.listId", "$.context.personas.external_audience_id"}
	return destination.Actions{
		imported("addProfileToList", "Add Profile to List", "$.context.traits.email", "$.properties",
			field.Text("list_id").Required().From(audience...), field.Object("properties").From("$.properties.properties"),
		).On(`event = "Audience Entered"`).Doc("Makes a profile or updates it, and puts it on a list."),
		removal("removeProfileFromList", "Remove Profile from List (Engage)", field.Text("email").Email().
			From("$.context.traits.email"), field.Text("phone_number").From("$.context.traits.phone"),
			field.Text("list_id").Required().From(audience...)).On(`event = "Audience Exited"`),
		removal("removeProfile", "Remove Profile", field.Text("email").Email().From("$.traits.email"),
			field.Text("phone_number").From("$.context.traits.phone"), field.Text("list_id").Required()),
		consent("subscribeProfile", "Subscribe Profile", "create", "SUBSCRIBED", 1000, subscribeDocs,
			body.Together(body.Member("custom_source", body.From("custom_source").Given()),
				body.When(past, body.Member("historical_import", body.Const(true)))),
			body.When(past, body.Member("consented_at", body.From("consented_at").ISO())),
			field.Text("custom_source").Always("-59"),
			field.Boolean("historical_import").Doc("Nobody is asked to confirm. True for events of more than a day ago."),
			field.Timestamp("consented_at"),
		).On(`type = "track" and event = "User Subscribed"`).
			Doc("Subscribes a person to marketing by e-mail and text message.").
			Live(destination.Live{Does: "subscribes a person, also one who has unsubscribed since", Docs: subscribeDocs}),
		consent("unsubscribeProfile", "Unsubscribe Profile", "delete", "UNSUBSCRIBED", 100, unsubscribeDocs, body.Together(),
			body.Together()).
			On(`type = "track" and event = "User Unsubscribed"`).
			Doc("Unsubscribes a person from a list, or from all marketing when the person is on none of that name.").
			Live(destination.Live{Does: "unsubscribes a person", Docs: unsubscribeDocs}),
	}
}

// removal takes a profile, which has to be found first, off a list.
func removal(slug, title string, own ...field.Line) *destination.Declared {
	find := func(field, key string) destination.Step {
		return destination.Send("GET", "/api/profiles/?filter=any("+field+",[%22{"+key+"}%22])", body.Empty()).AsQuery().
			Take("profile", func(a *destination.Answer) string { return a.JSON.Get("data").Index(0).Get("id").Text() }).
			Otherwise(destination.Skipped, destination.Unneeded, "Klaviyo knows no such profile").
			Success(destination.JSON(findDocs, destination.List("data")))
	}
	id, email, phone := body.From("external_id").Filled(), body.From("email").Filled(), body.From("phone_number").Filled()
	return destination.Action(slug, title).Doc("Takes a profile off a list; what the person has agreed to stays.").
		Live(destination.Live{Does: "takes a profile off a list", Docs: listDocs}).
		Fields(field.Text("external_id"), country()).Fields(field.Lines(own)).
		NeedsOneOf("external_id", "email", "phone_number").
		Check(func(c *body.Context) string {
			for _, key := range []string{"external_id", "email", "phone_number", "list_id"} {
				if strings.ContainsAny(c.Field(key).Text(), `"\`) {
					return key + " has a quotation mark or a backslash in it, which no filter can hold"
				}
			}
			return ""
		}).
		Steps(
			find("external_id", "external_id").If(id),
			find("email", "email").If(body.All(body.Not(id), email)),
			find("phone_number", "phone_number").If(body.All(body.Not(id), body.Not(email), phone)),
			destination.Send("DELETE", "/api/lists/{list_id}/relationships/profiles/",
				body.Object(body.Member("data", body.List(of("profile", body.Taken("profile")))))).
				Success(destination.NoBody(listDocs, 204)),
		)
}

// consent is a job that changes what people have agreed to.
func consent(slug, title, verb, word string, most int, docs string, own, agreement body.Members,
	fields ...field.Line) *destination.Declared {
	kind := "profile-subscription-bulk-" + verb + "-job"
	agreed := body.Object(body.Member("marketing", body.Object(body.Member("consent", body.Const(word)), agreement)))
	email, phone := body.From("email").Filled(), number("phone_number", "country_code")
	list := body.From("list_id").Filled()
	return destination.Action(slug, title).
		Fields(field.Text("email").Email().From("$.traits.email", "$.context.traits.email"),
			field.Text("phone_number").From("$.traits.phone", "$.context.traits.phone"), country(), field.Text("list_id")).
		Fields(field.Lines(fields)).
		NeedsIdentity(body.Any(email, phone), "an email or a phone_number in E.164 is required").
		Verdicts(byPointer()).
		Post("/api/"+kind+"s/", body.Object(body.Member("data", body.Object(
			body.Member("type", body.Const(kind)),
			body.When(list, body.Within("relationships.list.data", of("list", list))),
			body.Member("attributes", body.Object(own, body.Within("profiles.data", body.Items(resource("profile",
				body.Member("email", email), body.Member("phone_number", phone),
				body.Member("subscriptions", body.Object(
					body.When(email, body.Member("email", agreed)), body.When(phone, body.Member("sms", agreed)))),
			))))),
		)))).
		Success(destination.NoBody(docs, 202)).
		Limits(destination.ActionLimits{BatchEvents: destination.Cap{N: most, Docs: docs},
			Rates: []destination.Rate{{N: 75, Per: time.Second, Of: destination.Requests, Docs: docs},
				{N: 750, Per: time.Minute, Of: destination.Requests, Docs: docs}}})
}
