package braze

import (
	"strings"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

const (
	iso = "2006-01-02T15:04:05.000Z"
	day = "2006-01-02"

	// https://www.braze.com/docs/user_guide/data/custom_data/custom_events/nested_objects/
	maxProperties = 50 << 10
	tooLarge      = "properties have at most 50 KB"

	// https://www.braze.com/docs/api/objects_filters/event_object/
	maxName = 255
	tooLong = "a name has at most 255 characters"
)

// track is an action of /users/track with a list of objects. A success names those that were
// left out, by their place; anything else took none.
func track(slug, title, list string, processed destination.Member, fields field.Set,
	item ...body.Node) *destination.Declared {
	return destination.Action(slug, title).Fields(fields).Success(success(processed.IfThere())...).
		Verdicts(byIndex()).
		Post("/users/track", body.Batch(list, item...))
}

// byIndex: an error beside a success says where the object is that was left out.
func byIndex() destination.Verdicts {
	return destination.ByIndex("errors", "index", "type").OthersTaken()
}

// modes is what an action needs that only knows some sync modes.
func modes(may ...string) (is body.Cond, otherwise string) {
	return body.From(syncMode).Is(may...), syncMode + " has to be " + strings.Join(may, " or ")
}

// user are the members that say who an object is about. Every object needs one of the ids.
// https://www.braze.com/docs/api/endpoints/user_data/post_user_track/
func user() body.Members {
	return body.Together(
		body.CopyOf(body.Outer, "external_id = external_id", "braze_id = braze_id", "email = email"),
		body.When(aliased, body.Member("user_alias", body.Object(
			body.CopyOf(body.Outer, "alias_name = user_alias.alias_name", "alias_label = user_alias.alias_label"),
		))),
	)
}

var aliased = body.All(body.Outer("user_alias.alias_label").Given(), body.Outer("user_alias.alias_name").Given())

func identified() (is body.Cond, otherwise string) {
	return body.Any(body.From("external_id", "braze_id", "email").Given(), aliased),
		"external_id, user_alias, braze_id or email is required"
}

// existing says whether an object may make a profile: as the sync mode has it, or the field of
// the actions that know no such mode.
func existing(by field.Line) body.Members {
	v := body.Node(body.Outer("_update_existing_only"))
	if by.Fields()[0].Key == syncMode {
		v = body.First(body.If(body.Outer(syncMode).Is("update"), body.Const(true)), body.Const(false))
	}
	return body.Member("_update_existing_only", v)
}

// moment is a time in a layout; null stays null.
func moment(key, layout string) body.Members {
	return body.Member(key, body.First(body.Outer(key).IsTime().Layout(layout),
		body.Outer(key).Where("null", func(v event.Value) bool { return v.Kind() == event.Null })))
}

// occurrence is a custom event.
func occurrence(slug, title string, last field.Line) *destination.Declared {
	return track(slug, title, "events", destination.Counts("events_processed"), eventFields(last), body.Object(
		user(), body.Member("app_id", body.Setting("app_id")), body.Same("name"), moment("time", iso),
		body.Same("properties"), existing(last),
	)).On(`type = "track" and event != "Order Completed"`).
		Needs(body.May(body.From("name").AtMost(maxName)), tooLong).
		MemberFits("properties", maxProperties, tooLarge).
		NeedsIdentity(identified())
}

// purchase is a purchase for each product of an order.
func purchase(slug, title string, last field.Line) *destination.Declared {
	return track(slug, title, "purchases", destination.Counts("purchases_processed"), purchaseFields(last),
		body.Each("products", body.Object(
			user(), body.Member("app_id", body.Setting("app_id")), moment("time", iso),
			body.Same("product_id", "price", "quantity"),
			body.Member("currency", body.From("currency").NotNull().Else(body.Const("USD"))),
			body.Member("properties", body.Always(body.Object(
				body.SpreadOf(body.This(), "product_id", "currency", "price", "quantity"),
				body.SpreadOf(body.Outer("properties"), "products")))),
			existing(last),
		))).On(`event = "Order Completed"`).
		Needs(body.From("products").Every("a product_id of at most 255 characters", func(p event.Value) bool {
			return utf8.RuneCountInString(p.Get("product_id").Text()) <= maxName
		}), tooLong).
		MemberFits("properties", maxProperties, tooLarge).
		NeedsIdentity(identified())
}

// attributes are the members of a profile that are filled from fields of their own, and never
// from custom attributes.
var attributes = []string{
	"country", "date_of_first_session", "date_of_last_session", "dob", "email_subscribe", "email_open_tracking_disabled",
	"email_click_tracking_disabled", "facebook", "first_name", "gender", "home_city", "image_url", "language", "last_name",
	"marked_email_as_spam_at", "phone", "push_subscribe", "push_tokens", "time_zone", "twitter", "current_location",
}

// profile sets attributes of a profile.
func profile(slug, title string, last field.Line) *destination.Declared {
	custom := body.Spread("custom_attributes", append([]string{
		"external_id", "user_alias", "email", "braze_id", "time", "products", "properties", "_update_existing_only",
		"enable_batching", "batch_size", "firstName", "lastName", "avatar",
	}, attributes...)...)
	// https://www.braze.com/docs/api/objects_filters/user_attributes_object/
	genders := map[string]string{
		"man": "M", "male": "M", "m": "M", "woman": "F", "female": "F", "w": "F", "f": "F", "other": "O", "o": "O",
		"not applicable": "N", "n": "N", "prefer not to say": "P", "p": "P",
	}
	return track(slug, title, "attributes", destination.Some("attributes_processed"), profileFields(last), body.Object(
		user(), custom,
		body.Same("country", "email_subscribe", "email_open_tracking_disabled", "email_click_tracking_disabled", "facebook",
			"first_name", "home_city", "image_url", "language", "last_name", "phone", "push_subscribe", "push_tokens",
			"time_zone", "twitter"),
		moment("date_of_first_session", iso), moment("date_of_last_session", iso), moment("marked_email_as_spam_at", iso),
		moment("dob", day),
		body.Member("gender", body.First(body.From("gender").IsText().Lower().Lookup(genders), body.From("gender"))),
		body.Member("current_location", body.From("current_location").NotEmpty()),
		body.Member("subscription_groups", body.From("subscription_groups").IsList().NotEmpty()),
		existing(last),
	)).On(`type = "identify"`).NeedsIdentity(identified())
}

// identities is an action of the identity endpoints. Those that identify list what they refuse beside
// a success, and not where: one event a request, so that it is known.
func identities(slug, title string) *destination.Declared {
	return destination.Action(slug, title).Success(success(destination.Some("aliases_processed").IfThere())...).
		Results(refusedWhole).
		BatchEvents(1, whoDocs).Rates(limitDocs, "20000/m")
}

func refusedWhole(a *destination.Answer, b *destination.Batch) []destination.Result {
	errors := a.JSON.Get("errors")
	if !a.OK() || errors.Kind() != event.Array || errors.Len() == 0 {
		return nil
	}
	return destination.Same(a.Refuse(string(errors.Raw())), len(b.Deliveries))
}

func newAlias(slug, title string, last ...field.Line) *destination.Declared {
	return identities(slug, title).On(`event = "Create Alias"`).
		Fields(field.Text("external_id").Nullable(), alias().With(field.Line.Required), field.Lines(last)).
		Post("/users/alias/new", body.Batch("user_aliases", body.Object(
			body.SameNotNull("external_id"), body.Same("alias_name", "alias_label"),
		))).
		Verdicts(byIndex()).BatchEvents(50, aliasDocs)
}

// catalog writes the items of a catalog, or deletes them.
func catalog() *destination.Declared {
	const path = "/catalogs/{catalog_name}/items"
	id, deletes := body.From("item_id"), body.From(syncMode).Is("delete")
	return destination.Action("upsertCatalogItem", "Upsert catalog item").
		Doc("Writes an item of a catalog, whose fields have to be there, or deletes it.").
		Live("deletes an item of a catalog", catalogDocs, deletes).
		Fields(field.Text("catalog_name").Required(), field.Object("item").Open(), field.Text("item_id").Required(),
			mode("upsert")).
		Needs(modes("upsert", "delete")).
		Needs(id.Matches(`^[A-Za-z0-9_-]{1,250}$`), "item_id has 1 to 250 letters, digits, hyphens and underscores").
		Steps(
			destination.Send("PUT", path, body.Batch("items", body.Object(body.Member("id", id), body.Spread("item", "id")))).
				If(body.Not(deletes)),
			destination.Send("DELETE", path, body.Batch("items", body.Object(body.Member("id", id)))).If(deletes),
		).
		Once("id").Success(success()...).BatchEvents(50, catalogDocs).Rates(limitDocs, "16000/m")
}

func identify(slug, title string, known body.Members, own ...field.Line) *destination.Declared {
	return identities(slug, title).
		Fields(field.Text("external_id").Required(), field.Lines(own),
			field.Text("merge_behavior").Doc("merge keeps what only the anonymous profile has.").OneOf("none", "merge")).
		Post("/users/identify", body.Object(body.Same("merge_behavior"), known))
}

func knownByAlias() body.Members {
	return body.When(body.From("user_alias").Given(),
		body.Member("aliases_to_identify", body.List(body.Object(body.Same("external_id", "user_alias")))))
}

func knownByEmail() body.Members {
	return body.When(body.From("email_to_identify").Given(), body.Member("emails_to_identify", body.List(body.Object(
		body.Same("external_id"), body.Copy("email = email_to_identify"),
		body.Member("prioritization", body.Always(priority)),
	))))
}

var priority = body.List(body.Outer("prioritization.first_priority").Given(),
	body.Outer("prioritization.second_priority").Given())

// trigger sends a message: the fields as they are, with the priorities at each of the recipients.
func trigger(slug, title, path string, fields field.Set) *destination.Declared {
	recipients, broadcast := body.From("recipients").NotEmpty(), body.From("broadcast").Is("true")
	return destination.Action(slug, title).On(`type = "track"`).Fields(fields).
		Needs(body.Any(broadcast, recipients), "broadcast has to be true, or there have to be recipients").
		Needs(body.Not(body.All(broadcast, recipients)), "a broadcast has no recipients").
		BatchEvents(1, sendDocs).Rates(limitDocs, "250000/h").
		Post(path, body.Object(
			body.When(recipients, body.Fields("recipients", "prioritization")),
			body.When(body.Not(recipients), body.Fields("recipients")),
			body.Member("recipients", body.Each("recipients", body.Object(body.SpreadOf(body.This()),
				body.Member("prioritization", priority)))),
		))
}

// shop is one of the recommended e-commerce events.
// https://www.braze.com/docs/user_guide/data/activation/custom_data/recommended_events/ecommerce_events
func shop(slug, title string, own body.Members, fields field.Set) *destination.Declared {
	name := body.From("name")
	return track(slug, title, "events", destination.Counts("events_processed"), fields, body.Object(
		body.SameGiven("external_id", "braze_id", "email", "phone", "user_alias"),
		body.Member("app_id", body.Setting("app_id")), body.Same("name"), moment("time", iso),
		body.Member("properties", body.Always(body.Object(body.Same("currency", "source"), body.SameNotNull("metadata"),
			own))),
		body.When(body.Any(aliased, body.From(syncMode).Is("update")),
			body.Member("_update_existing_only", body.Const(true))),
	)).
		NeedsIdentity(body.From("external_id", "braze_id", "email", "phone", "user_alias").Given(),
			"external_id, user_alias, braze_id, email or phone is required").
		Needs(body.Any(body.Not(name.Is(cart)), body.Has("total_value"), body.From("action").Is("add", "remove")),
			"total_value is required unless the action is add or remove").
		Needs(body.From("currency").Where("a code of ISO 4217", func(v event.Value) bool {
			return field.IsCurrency(v.Text())
		}), "currency is no code of ISO 4217").
		MemberFits("properties.metadata", maxProperties, tooLarge)
}

// single are the properties of an event about one product.
func single() body.Members {
	return body.Together(body.Spread("product"), body.Member("type", body.From("catalog_type").IsList().NotEmpty()))
}

// several are the properties of an event about several; what Braze has no name for in a
// product goes into its metadata.
func several() body.Members {
	known := []string{"quantity", "product_id", "product_name", "variant_id", "price", "image_url", "product_url"}
	of := func(keys []string, names ...string) body.Members {
		var ms []body.Members
		for _, k := range keys {
			ms = append(ms, body.Member(k, body.First(body.From(k).Given(), body.From(k).IsNumber())))
		}
		return body.When(body.From("name").Is(names...), ms...)
	}
	return body.When(body.From("name").Not(viewed),
		body.Member("products", body.Always(body.Each("products", body.Always(body.Object(
			body.Same(known...), body.Member("metadata", body.Object(body.SpreadOf(body.This(), known...))),
		))))),
		body.Same("total_value"),
		of([]string{"action"}, cart), of([]string{"checkout_id"}, checkout), of([]string{"cancel_reason"}, cancelled),
		of([]string{"cart_id"}, cart, checkout, placed),
		of([]string{"order_id", "total_discounts", "discounts"}, placed, cancelled, refunded),
		of([]string{"subtotal_value", "tax", "shipping"}, cart, checkout, placed, cancelled),
	)
}
