package filter

import (
	"fmt"
	"io"
)

// Entry documents one part of the language. Its example is run by a test.
type Entry struct {
	Name    string // as it is written
	Doc     string
	Example string
	Event   string // JSON
	Holds   bool
}

// Reference is the language, part by part, for `help filters`.
func Reference() []Entry {
	return []Entry{
		{"=  !=", "equal or not: texts, numbers, booleans, lists, null; values of different types are never equal",
			`event = "Order Completed"`, `{"event":"Order Completed"}`, true},
		{"<  <=  >  >=", "compare numbers; false for anything else", `properties.total >= 100`,
			`{"properties":{"total":99.5}}`, false},
		{"and  or  !", "and binds tighter than or, ! tightest; null counts as false",
			`type = "page" or type = "track" and !properties.test`, `{"type":"track","properties":{"test":true}}`,
			false},
		{
			"( )",
			"group, to any depth",
			`type = "track" and (event = "A" or event = "B")`,
			`{"type":"track","event":"B"}`,
			true,
		},
		{"in", "one of a list, written out or in a field", `"dark-mode" in properties.features`,
			`{"properties":{"features":["beta","dark-mode"]}}`, true},
		{"[ , ]", "a list", `type in ["identify", "group"]`, `{"type":"group"}`, true},
		{"null", "a field that is missing or null", `userId != null`, `{"anonymousId":"a"}`, false},
		{`\`, "in a field's name: the next character as it is", `properties.product\ 1.price = 5`,
			`{"properties":{"product 1":{"price":5}}}`, true},
		{"contains(s, sub)", "the text s holds sub; false when s is no text", `contains(traits.email, "@acme.")`,
			`{"traits":{"email":"eva@acme.example"}}`, true},
		{
			"match(s, pattern)",
			`the whole text fits the pattern: * any run, ? one character, [a-z] one of a set, \x the character x`,
			`match(event, "Product *")`,
			`{"event":"Product Added"}`,
			true,
		},
		{"length(v)", "bytes of a text, items of a list, 0 for null", `length(properties.products) > 1`,
			`{"properties":{"products":[{},{}]}}`, true},
		{"lowercase(s)", "the text in lower case; null for anything else", `lowercase(traits.plan) = "pro"`,
			`{"traits":{"plan":"PRO"}}`, true},
		{
			"uppercase(s)",
			"the text in upper case",
			`uppercase(traits.country) = "DE"`,
			`{"traits":{"country":"de"}}`,
			true,
		},
		{
			"snakecase(s)",
			"spaces become _",
			`snakecase(event) = "Order_Completed"`,
			`{"event":"Order Completed"}`,
			true,
		},
		{
			"kebabcase(s)",
			"spaces become -",
			`kebabcase(event) = "Order-Completed"`,
			`{"event":"Order Completed"}`,
			true,
		},
		{"titlecase(s)", "the first letter of every word in upper case", `titlecase(event) = "Order Completed"`,
			`{"event":"order completed"}`, true},
		{"typeof(v)", `"string", "number", "list", "bool" or "null" ("object" for the rest)`,
			`typeof(properties.total) = "number"`, `{"properties":{"total":"12"}}`, false},
		{"bool(v)", `true for true, "true" and numbers other than 0`, `bool(properties.active)`,
			`{"properties":{"active":"true"}}`, true},
		{"string(v)", "a number or boolean as text", `string(properties.id) = "42"`, `{"properties":{"id":42}}`, true},
		{"number(v)", "the number that a text spells; null when it spells none", `number(properties.total) > 10`,
			`{"properties":{"total":"12.5"}}`, true},
	}
}

// WriteReference writes the language, part by part, for people.
func WriteReference(w io.Writer) error {
	for _, e := range Reference() {
		if _, err := fmt.Fprintf(w, "\n  %s\n    %s\n    %s\n    on %s is %v\n", e.Name, e.Doc, e.Example, e.Event,
			e.Holds); err != nil {
			return err
		}
	}
	return nil
}
