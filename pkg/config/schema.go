package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
	"github.com/fanfold/fanfold/pkg/transform"
)

// form is a JSON Schema, or a part of one.
type form map[string]any

func list(of ...string) []string { return of }

// A value may be a text that holds a variable, wherever another type is wanted.
const holdsVariable = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`

func textForm() form { return form{"type": list("string", "number", "boolean")} }

func textsForm() form {
	return form{"anyOf": []form{textForm(), {"type": "array", "items": textForm()}}}
}

func countForm() form {
	return form{"anyOf": []form{{"type": "integer", "minimum": 1}, {"type": "string",
		"pattern": `^[0-9]+$|` + holdsVariable}}}
}

// likeForm is a text of some form.
func likeForm(pattern string) form {
	return form{"type": "string", "pattern": pattern + "|" + holdsVariable}
}

// wordForm is one of a few words, some of which YAML reads as something else where they stand without quotes.
func wordForm(words ...string) form {
	var all []any
	for _, w := range words {
		all = append(all, w)
		if n, err := strconv.Atoi(w); err == nil {
			all = append(all, n)
		} else if b, wrong := boolean(w); wrong == "" {
			all = append(all, b)
		}
	}
	return form{"anyOf": []form{{"enum": all}, {"type": "string", "pattern": holdsVariable}}}
}

func retryForm() form {
	return form{"anyOf": []form{
		{"type": list("string", "integer")},
		{"type": "object", "additionalProperties": false, "properties": form{"attempts": countForm(),
			"max_time": textForm()}},
	}}
}

// with adds a description to a form.
func (f form) with(doc string) form {
	out := form{}
	for k, v := range f {
		out[k] = v
	}
	if doc != "" {
		out["description"] = doc
	}
	return out
}

// Schema returns the JSON Schema (draft 7, which editors' YAML servers know) of a
// configuration: keys, options, and of each destination the settings, actions and fields.
// It encodes with encoding/json. What a schema cannot say (filters, mappings, limits,
// what the environment holds) World.Open finds.
func (w *World) Schema() any {
	definitions := form{"options": w.optionForms(), "step": stepForm()}
	var byType []form
	named := form{}
	for _, d := range w.Catalogue.All() {
		definitions[d.Info.Slug+" settings"] = settingsForm(d)
		then := form{"properties": form{"settings": ref(d.Info.Slug + " settings")}}
		if len(d.Actions) > 0 {
			definitions[d.Info.Slug+" actions"] = actionsForm(d)
			for _, a := range d.Actions {
				definitions[fieldsOf(d, a)] = form{"anyOf": []form{{"type": "string"}, fieldsForm(a.Fields, true)}}
			}
			then["properties"].(form)["actions"] = ref(d.Info.Slug + " actions")
		}
		is := form{"properties": form{"type": form{"const": d.Info.Slug}}, "required": list("type")}
		byType = append(byType, form{"if": is, "then": then})
		named[d.Info.Slug] = form{"anyOf": []form{{"required": list("type")}, then}, "allOf": []form{ref("destination")}}
	}
	definitions["api"], definitions["http"] = apiForms()
	byType = append(byType, form{"if": form{"properties": form{"type": form{"const": api.Type}}, "required": list("type")},
		"then": ref("http")})
	definitions["destination"] = form{"allOf": append([]form{ref("options")}, byType...)}
	properties := form{
		"transform":    form{"description": "steps for every destination, in order", "type": "array", "items": ref("step")},
		"destinations": w.destinationsForm(named),
	}
	properties["tests"] = testsForm()
	texts := textsForm()
	properties["suppress"] = texts.with("files that list who must not be sent anything: plain or gzip, an id a line")
	properties["cassettes"] = form{
		"description": "what recording takes out beside secrets, and what it leaves in",
		"type":        "object", "additionalProperties": false, "properties": form{"redact": texts, "allow": texts},
	}
	properties["profiles"] = form{
		"description": "by name, what is merged over the rest with --profile NAME",
		"type":        "object", "additionalProperties": form{"anyOf": []form{{"type": "null"}, ref("profile")}},
	}
	definitions["profile"] = profileForm(properties)
	definitions["profile options"] = nullable(w.optionForms())
	for _, g := range GlobalOptions() {
		properties[g.Name] = textForm().with(g.Usage)
	}
	return form{
		"$schema": "http://json-schema.org/draft-07/schema#",
		"title":   "fanfold.yaml",
		"type":    "object", "additionalProperties": false,
		"properties":        properties,
		"patternProperties": form{"^" + asideKey: form{}},
		"definitions":       definitions,
	}
}

// testsForm are the tests of a configuration: see [Test].
func testsForm() form {
	object := func(properties form) form {
		return form{"type": "object", "additionalProperties": false, "properties": properties}
	}
	request := object(form{
		"method": textForm(), "path": textForm(), "url": textForm(), "body": form{},
		"headers": form{"type": "object", "additionalProperties": textForm()},
	})
	expect := object(form{
		"requests": form{"type": "array", "items": request},
		"skipped":  textForm(), "rejected": textForm(), "filtered": form{"const": true},
	})
	test := object(form{
		"name": textForm(), "event": form{"type": "object"}, "now": textForm(), "dropped": form{"type": "boolean"},
		"expect": form{"type": "object", "additionalProperties": expect},
	})
	test["required"] = list("name", "event")
	return form{"description": "events, and what has to become of them: fanfold config test", "type": "array",
		"items": test}
}

// profileForm is part of a configuration: what it says need not be whole.
func profileForm(whole form) form {
	properties := form{
		"transform": whole["transform"], "suppress": whole["suppress"],
		"destinations": form{"type": "object", "additionalProperties": form{"anyOf": []form{{"type": "null"},
			ref("profile options")}}},
	}
	for _, g := range GlobalOptions() {
		properties[g.Name] = form{}
	}
	return form{"type": "object", "additionalProperties": false, "properties": properties}
}

// nullable is a form of a table whose members may be null, which takes them out.
func nullable(table form) form {
	members := form{}
	for key, f := range table["properties"].(form) {
		members[key] = form{"anyOf": []form{{"type": "null"}, f.(form)}}
	}
	out := table.with("")
	out["properties"] = members
	return out
}

func ref(name string) form {
	return form{"$ref": "#/definitions/" + strings.ReplaceAll(name, " ", "%20")}
}

// destinationsForm is the table of destinations. One that is called as its type needs not
// say it.
func (w *World) destinationsForm(named form) form {
	return form{
		"description": "where events go, by names of your own",
		"type":        "object",
		"properties":  named,
		"additionalProperties": form{
			"allOf": []form{ref("destination"), {"required": list("type")}},
		},
	}
}

// optionForms are the keys of every destination.
func (w *World) optionForms() form {
	properties := form{
		"type":     form{"description": "which destination of the catalogue it is", "enum": append(w.Slugs(), api.Type)},
		"settings": form{"description": "what the partner has to be told", "type": "object"},
	}
	for _, o := range options() {
		properties[o.key] = o.form.with(o.doc)
	}
	for _, key := range describing { // see apiForms
		properties[key] = form{}.with("of a destination of type http: fanfold help http")
	}
	return form{"type": "object", "additionalProperties": false, "properties": properties}
}

func stepForm() form {
	properties := form{"when": textForm().with("a filter: the step is for events that match")}
	var one []form
	for _, kind := range transform.Kinds() {
		properties[kind] = form{}
		one = append(one, form{"required": list(kind)})
	}
	return form{"type": "object", "additionalProperties": false, "properties": properties, "oneOf": one}
}

// settingsForm are a destination's settings. None is required here: the environment may
// hold it.
func settingsForm(d destination.Destination) form {
	properties := form{}
	for _, f := range d.Settings.Fields {
		one := settingForm(f).with(f.Doc)
		if f.Default != "" {
			one["default"] = f.Default
		}
		if f.Example != "" {
			one["examples"] = list(f.Example)
		}
		properties[f.Key] = one
	}
	return form{"type": "object", "additionalProperties": false, "properties": properties}
}

func settingForm(f setting.Field) form {
	switch f.Type {
	case "boolean":
		return form{"type": list("boolean", "string")}
	case "integer":
		return form{"type": list("integer", "string")}
	case "number":
		return form{"type": list("number", "string")}
	case "duration":
		return form{"type": "string"}
	case "list":
		return form{"anyOf": []form{textForm(), {"type": "array", "items": textForm()}}}
	case "table":
		return form{"anyOf": []form{{"type": "string"}, {"type": "object", "additionalProperties": textForm()}}}
	}
	if len(f.Choices) > 0 {
		return wordForm(f.Choices...)
	}
	return textForm()
}

// actionsForm are the entries of a destination's `actions:`, in our words and Segment's.
func actionsForm(d destination.Destination) form {
	var slugs []string
	var byAction []form
	for _, a := range d.Actions {
		slugs = append(slugs, a.Slug)
		for _, key := range keysOf("action") {
			then := form{}
			for _, m := range keysOf("mapping") {
				then[m] = ref(fieldsOf(d, a))
			}
			is := form{"properties": form{key: form{"const": a.Slug}}, "required": list(key)}
			byAction = append(byAction, form{"if": is, "then": form{"properties": then}})
		}
	}
	properties := form{"enabled": form{"type": list("boolean", "string")}, "name": textForm()}
	for _, own := range segmentsOwn {
		properties[own] = form{}
	}
	docs := map[string]form{
		"action":    form{"enum": slugs}.with("which action it is"),
		"subscribe": textForm().with("which events it is for, in FQL"),
		"mapping":   form{"type": list("object", "string")}.with("where the action's fields come from"),
	}
	for key, what := range actionKeys {
		if f, ok := docs[what]; ok {
			properties[key] = f
		}
	}
	entry := form{"type": "object", "additionalProperties": false, "properties": properties, "allOf": byAction}
	var whole []form
	for _, key := range wrappers {
		whole = append(whole, form{"required": list(key)})
	}
	// One subscription, or an answer of Segment's API or a resource of Terraform's around some.
	one := form{"if": form{"type": "object", "anyOf": whole}, "else": entry}
	return form{"anyOf": []form{{"type": "array", "items": one}, one.with("a subscription, or what stands around some")}}
}

// fieldsOf names the definition of an action's mapping.
func fieldsOf(d destination.Destination, a destination.ActionInfo) string {
	return d.Info.Slug + " " + a.Slug + " mapping"
}

// keysOf are the names of one key of an action, ours first.
func keysOf(what string) (keys []string) {
	for key, is := range actionKeys {
		if is == what {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if (a == what) != (b == what) {
			return map[bool]int{true: -1, false: 1}[a == what]
		}
		return strings.Compare(a, b)
	})
	return keys
}

// fieldsForm are the members of a mapping: fields, or one directive.
func fieldsForm(fields []payload.Field, root bool) form {
	properties := form{}
	for _, f := range fields {
		one := form{}
		if len(f.Properties) > 0 && !f.AdditionalProperties {
			one = form{"anyOf": []form{{"not": form{"type": "object"}}, fieldsForm(f.Properties, false)}}
		}
		properties[f.Key] = one.with(f.Doc)
	}
	beside := form{`^@`: form{}}
	if root {
		beside[`batch|^__segment`] = form{}
	}
	return form{"type": "object", "additionalProperties": false, "properties": properties, "patternProperties": beside}
}
