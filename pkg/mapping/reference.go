package mapping

import (
	"fmt"
	"io"
	"slices"
)

// Entry documents one directive with an example that runs: Mapping on Event
// gives Result ("undefined" when there is none). Where several lines show more
// of it, they are entries of the same Name with an empty Doc.
type Entry struct {
	Name    string
	Doc     string
	Mapping string
	Event   string
	Result  string
}

// Reference returns the documentation of every directive: Segment's first, in
// the order in which one learns them, then our own.
func Reference() []Entry {
	return slices.Concat(valueEntries(), containerEntries(), ownEntries(), manyEntries(), exportEntries())
}

// What the examples of the reference are of.
const (
	exampleOrder = `{"event":"Order ` +
		`Completed","userId":"u1","timestamp":"2024-05-06T07:08:09.123Z","properties":{"order_id":"o-1",` +
		`"total":"19.99","coupon":"","products":[{"sku":"a","qty":2},{"sku":"b"}]}}`
	examplePerson = `{"userId":"u1","traits":{"email":" Ada@Example.COM ","phone":"(0171) 234 ` +
		`5678","plan":null,"address":{"city":"St. John's","country":"United Kingdom"}}}`
)

// valueEntries are Segment's directives for single values.
func valueEntries() []Entry {
	return []Entry{
		{
			"@path",
			"The value at a path. $. is the event; dots and brackets descend: $.properties.products[0].sku, " +
				"$.traits['first name']. Text and arrays have .length. A path that leads nowhere is undefined, and " +
				"its key is left out.",
			`{"id": {"@path": "$.properties.order_id"}, "second": {"@path": "$.properties.products[1].sku"}, ` +
				`"none": {"@path": "$.properties.x"}}`,
			exampleOrder,
			`{"id":"o-1","second":"b"}`,
		},
		{
			"@template",
			"Text with {{path}} placeholders, written without $. in front. What is missing is empty.",
			`{"@template": "{{userId}}: {{event}} {{properties.x}}"}`,
			exampleOrder,
			`"u1: Order Completed "`,
		},
		{"@literal", "A value as it stands; directives inside it run.",
			`{"@literal": {"source": "backfill", "id": {"@path": "$.userId"}}}`, exampleOrder,
			`{"source":"backfill","id":"u1"}`},
		{
			"@if",
			"then when exists is neither undefined nor null, else otherwise. With blank instead of exists, then is " +
				"taken when the value is not blank: not \"\", 0, false or an array of nothing either.",
			`{"@if": {"exists": {"@path": "$.properties.code"}, "then": {"@path": "$.properties.code"}, "else": ` +
				`"none"}}`,
			exampleOrder,
			`"none"`,
		},
		{
			"@if",
			"",
			`{"@if": {"blank": {"@path": "$.properties.coupon"}, "then": "coupon", "else": "no coupon"}}`,
			exampleOrder,
			`"no coupon"`,
		},
		{"@case", "Text in lower or upper case; other values as they are.",
			`{"@case": {"operator": "upper", "value": {"@path": "$.event"}}}`, exampleOrder, `"ORDER COMPLETED"`},
		{
			"@replace",
			"Replaces pattern (plain text of 1 to 10 characters) by replacement (up to 10; $& is the match), " +
				"everywhere or with global false once; pattern2 and replacement2 run on what comes out. With " +
				"ignorecase true in any case. What is no text, number or boolean gives \"\".",
			`{"@replace": {"value": {"@path": "$.event"}, "pattern": " ", "replacement": "_"}}`,
			exampleOrder,
			`"Order_Completed"`,
		},
		{
			"@arrayPath",
			"The array at a path, each element resolved through a shape in which $. is the element.",
			`{"@arrayPath": ["$.properties.products", {"item_id": {"@path": "$.sku"}, "quantity": {"@path": ` +
				`"$.qty"}}]}`,
			exampleOrder,
			`[{"item_id":"a","quantity":2},{"item_id":"b"}]`,
		},
	}
}

// containerEntries are Segment's directives for objects and arrays.
func containerEntries() []Entry {
	return []Entry{
		{"@json", "mode encode writes a value as JSON text, decode reads JSON text.",
			`{"@json": {"mode": "encode", "value": {"@path": "$.properties.products"}}}`, exampleOrder,
			`"[{\"sku\":\"a\",\"qty\":2},{\"sku\":\"b\"}]"`},
		{
			"@flatten",
			"One level of nested objects and arrays, keys joined by separator; with omitArrays arrays stay whole.",
			`{"@flatten": {"value": {"@path": "$.traits"}, "separator": "_"}}`,
			`{"traits":{"plan":"pro","address":{"city":"Paris","zip":["75001"]}}}`,
			`{"plan":"pro","address_city":"Paris","address_zip_0":"75001"}`,
		},
		{
			"@merge",
			"Puts objects together; with direction right the later one's member wins, with left the earlier one's.",
			`{"@merge": {"direction": "right", "objects": [{"plan": "free", "seats": 1}, {"@path": "$.traits"}]}}`,
			`{"traits":{"plan":"pro"}}`,
			`{"plan":"pro","seats":1}`,
		},
		{"@transform", "Resolves mapping against the result of apply instead of the event.",
			`{"@transform": {"apply": {"n": {"@path": "$.properties.products.length"}}, "mapping": {"text": ` +
				`{"@template": "{{n}} products"}}}}`,
			exampleOrder, `{"text":"2 products"}`},
		{
			"@excludeWhenNull",
			"A value without null: undefined instead of null, and objects without their null members.",
			`{"@excludeWhenNull": {"@path": "$.traits"}}`,
			`{"traits":{"plan":null,"address":{"zip":null,"city":"Paris"}}}`,
			`{"address":{"city":"Paris"}}`,
		},
	}
}

// ownEntries are our own directives for single values.
func ownEntries() []Entry {
	return []Entry{
		{
			"@first",
			"The first of a list that is not empty: not undefined, null, \"\", [] or {}.",
			`{"@first": [{"@path": "$.traits.plan"}, {"@path": "$.traits.tier"}, {"@path": "$.userId"}]}`,
			examplePerson,
			`"u1"`,
		},
		{"@text", "A value as text; objects and arrays as JSON, null and undefined not at all.",
			`{"@text": {"value": {"@path": "$.properties.products[0].qty"}}}`, exampleOrder, `"2"`},
		{
			"@number",
			"A number, or the number that text spells. as integer cuts off the decimals, as cents multiplies by 100 " +
				"and rounds.",
			`{"total": {"@number": {"value": {"@path": "$.properties.total"}}}, "cents": {"@number": {"value": ` +
				`{"@path": "$.properties.total"}, "as": "cents"}}}`,
			exampleOrder,
			`{"total":19.99,"cents":1999}`,
		},
		{"@boolean", "true and false, 1 and 0, and the texts true, yes, 1, false, no, 0 in any case.",
			`{"@boolean": {"value": "Yes"}}`, `{}`, `true`},
		{
			"@time",
			"A time in any form (ISO 8601, a date, Unix seconds to nanoseconds) as format: iso, rfc3339, seconds, " +
				"millis, micros, nanos, fraction, date, datetime, day. Always UTC.",
			`{"ms": {"@time": {"value": {"@path": "$.timestamp"}, "format": "millis"}}, "day": {"@time": {"value": ` +
				`{"@path": "$.timestamp"}, "format": "date"}}}`,
			exampleOrder,
			`{"ms":1714979289123,"day":"2024-05-06"}`,
		},
		{
			"@hash",
			"SHA-256 in hex of the value, normalised as @normalize does when as is given. What is a SHA-256 already " +
				"is left alone; arrays element by element.",
			`{"@hash": {"value": {"@path": "$.traits.email"}, "as": "email"}}`,
			examplePerson,
			`"b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72"`,
		},
		{
			"@normalize",
			"Personal data as ad platforms want it before hashing: email, email_dotless, phone (E.164; country for " +
				"numbers without a country code), phone_digits (without +), name, city, state, zip, country, " +
				"gender, birthdate (YYYYMMDD), text.",
			`{"phone": {"@normalize": {"value": {"@path": "$.traits.phone"}, "as": "phone", "country": "DE"}}, ` +
				`"city": {"@normalize": {"value": {"@path": "$.traits.address.city"}, "as": "city"}}, "country": ` +
				`{"@normalize": {"value": {"@path": "$.traits.address.country"}, "as": "country"}}}`,
			examplePerson,
			`{"phone":"+491712345678","city":"stjohns","country":"gb"}`,
		},
	}
}

// manyEntries are our own directives for several values.
func manyEntries() []Entry {
	return []Entry{
		{
			"@join",
			"The texts of values, and of the elements of arrays among them, joined by separator; empty ones are " +
				"left out.",
			`{"@join": {"values": [{"@path": "$.userId"}, {"@path": "$.properties.coupon"}, {"@arrayPath": ` +
				`["$.properties.products", {"@path": "$.sku"}]}], "separator": ","}}`,
			exampleOrder,
			`"u1,a,b"`,
		},
		{
			"@lookup",
			"The entry of table under the value's text, else otherwise. With ignorecase in any case.",
			`{"@lookup": {"value": {"@path": "$.event"}, "table": {"Order Completed": "purchase", "Product Viewed": ` +
				`"view_item"}, "else": {"@path": "$.event"}}}`,
			exampleOrder,
			`"purchase"`,
		},
		{
			"@keys",
			"An object with its keys in case snake, camel, pascal, title, kebab or lower; with deep at every level.",
			`{"@keys": {"value": {"firstName": "Ada", "Last Name": "Lovelace", "userID": 1}, "case": "snake"}}`,
			`{}`,
			`{"first_name":"Ada","last_name":"Lovelace","user_id":1}`,
		},
		{"@rename", "An object with the keys that keys names renamed.",
			`{"@rename": {"value": {"@path": "$.properties.products[0]"}, "keys": {"sku": "item_id"}}}`, exampleOrder,
			`{"item_id":"a","qty":2}`},
		{"@pick", "An object with only these keys; one that ends in * stands for all that begin so.",
			`{"@pick": {"value": {"@path": "$.properties"}, "keys": ["order_id", "total"]}}`, exampleOrder,
			`{"order_id":"o-1","total":"19.99"}`},
		{"@omit", "An object without these keys.",
			`{"@omit": {"value": {"@path": "$.properties"}, "keys": ["products", "coupon"]}}`, exampleOrder,
			`{"order_id":"o-1","total":"19.99"}`},
		{
			"@compact",
			"A value without null, \"\", [] and {} at every depth; undefined when nothing is left.",
			`{"@compact": {"value": {"a": null, "b": "", "c": [null, {"d": ""}], "e": 0}}}`,
			`{}`,
			`{"e":0}`,
		},
		{
			"@cut",
			"Text of at most so many bytes of UTF-8, cut between characters; more stands at the end of a cut text, " +
				"{n} in it for the number of characters left out.",
			`{"@cut": {"value": "Straßenbahnhaltestelle", "bytes": 12, "more": "…+{n}"}}`,
			`{}`,
			`"Straß…+17"`,
		},
		{
			"@limit",
			"An array or object of at most so many items; more is the last item of a cut array, {n} in it for the " +
				"number left out.",
			`{"@limit": {"value": [1, 2, 3, 4, 5], "items": 3, "more": "{n} more"}}`,
			`{}`,
			`[1,2,"3 more"]`,
		},
	}
}

// exportEntries are our own directives for what exports write instead of an object.
func exportEntries() []Entry {
	return []Entry{
		{"@after", "What stands behind a prefix of a text; undefined without it.",
			`{"@after": {"value": {"@path": "$.id"}, "prefix": "device:"}}`, `{"id":"device:7"}`, `"7"`},
		{"@values", "The values of an object as a list, with what stands in lists among them.",
			`{"@values": {"value": {"@path": "$.groups"}}}`, `{"groups":{"org":["acme"],"plan":"pro"}}`, `["acme","pro"]`},
		{"@unless", "A value, unless it is equal to another one, or a text that begins with prefix.",
			`{"@unless": {"value": {"@path": "$.id"}, "equals": {"@path": "$.device"}, "prefix": "device:"}}`,
			`{"id":"u-1","device":"7"}`, `"u-1"`},
		{
			"@pairs",
			"An array of objects with a key and a value as one object. Of a value with a member for each type, such as " +
				"int_value, the one that is not null is taken.",
			`{"@pairs": {"value": {"@path": "$.params"}}}`,
			`{"params":[{"key":"page","value":{"string_value":"/a","int_value":null}},{"key":"n","value":{"int_value":"7"}}]}`,
			`{"page":"/a","n":7}`,
		},
		{
			"@members",
			"The members of an object whose names begin with prefix, without it; with open true their own members.",
			`{"@members": {"value": {"@path": "$.properties"}, "prefix": "order_"}}`, exampleOrder,
			`{"id":"o-1"}`,
		},
		{
			"@described",
			"A document that names its schema, {\"schema\": \"iglu:…\", \"data\": …}, also as text, by the schema's name; " +
				"of a list of them each name has an array. With open true the members of the data.",
			`{"@described": {"value": {"@path": "$.contexts"}}}`,
			`{"contexts":[{"schema":"iglu:com.acme/userPlan/jsonschema/1-0-2","data":{"plan":"pro"}}]}`,
			`{"com_acme_user_plan_1":[{"plan":"pro"}]}`,
		},
	}
}

// WriteReference writes the documentation of every directive, for people.
func WriteReference(w io.Writer) error {
	for _, e := range Reference() {
		if _, err := fmt.Fprintf(w, "\n  %s\n    %s\n    %s\n    on %s is %s\n", e.Name, e.Doc, e.Mapping, e.Event,
			e.Result); err != nil {
			return err
		}
	}
	return nil
}
