package config

import "github.com/fanfold/fanfold/pkg/api"

// apiForms are the description of an API, and what a destination of type http has beside
// the options of all.
func apiForms() (whole, entry form) {
	actions := form{"type": "array", "minItems": 1, "items": apiActionForm()}
	forms := form{"actions": actions, "limits": apiLimitsForm(), "order": form{"const": "user"},
		"settings": form{"type": "object", "additionalProperties": table(form{
			"type": textForm(), "doc": textForm(), "required": truthForm(), "secret": truthForm(), "default": textForm(),
			"choices": textsForm(), "pattern": textForm(), "example": textForm()})},
		"auth": authForm(), "answers": answersForm()}
	properties := form{}
	for _, key := range api.Keys() {
		if properties[key] = forms[key]; forms[key] == nil {
			properties[key] = textForm()
		}
	}
	whole = table(properties)
	whole["required"] = list("base_url", "actions")
	entry = form{"anyOf": []form{
		{"required": list("api"), "properties": form{"api": form{"anyOf": []form{textForm(), ref("api")}}}},
		{"required": list("base_url", "actions"), "properties": form{"actions": actions, "limits": forms["limits"],
			"answers": forms["answers"]}},
	}}
	return whole, entry
}

// table is an object with no other members than these.
func table(properties form) form {
	return form{"type": "object", "properties": properties, "additionalProperties": false}
}

func truthForm() form {
	return form{"anyOf": []form{{"type": "boolean"}, wordForm("true", "false")}}
}

// apiActionForm is one action of a description.
func apiActionForm() form {
	texts := form{"type": "object", "additionalProperties": textForm()}
	forms := form{
		"subscribe": textForm().with("which events it is for, in FQL"),
		"enabled":   truthForm(),
		"method":    wordForm(api.Methods()...),
		"path":      textForm().with("below base_url; {{field}} is a field of the mapping"),
		"headers":   texts,
		"mapping":   form{"type": list("object", "string")}.with("the fields, and where they come from"),
		"types":     form{"type": "object", "additionalProperties": wordForm(api.Types()...)},
		"required":  textsForm(),
		"one_of":    textsForm(),
		"body":      form{"type": list("object", "array", "string")}.with("with {{field}} in it; none: there is none"),
		"encoding":  wordForm(api.Encodings()...),
		"batch": table(form{"envelope": form{},
			"before": form{"type": list("object", "array")}.with("a line above each event, with {{field}} in it"),
			"open":   textForm(), "sep": textForm(), "close": textForm(),
			"events": countForm(), "bytes": countForm()}),
		"event_bytes": countForm(),
		"success":     successForm(),
		"retry_on":    statusesForm(),
		"reject_on":   statusesForm(),
		"results":     resultsForm(),
	}
	properties := form{}
	for _, key := range api.ActionKeys() {
		if properties[key] = forms[key]; forms[key] == nil {
			properties[key] = textForm()
		}
	}
	action := table(properties)
	action["required"] = list("action", "subscribe", "path")
	return action
}

// statusForm is a status from one to another, or its digits.
func statusForm(from, to int, digits string) form {
	return form{"anyOf": []form{{"type": "integer", "minimum": from, "maximum": to},
		{"type": "string", "pattern": "^" + digits + "$|" + holdsVariable}}}
}

func statusesForm() form {
	one := statusForm(300, 599, "[345](xx|[0-9][0-9])")
	return form{"anyOf": []form{one, {"type": "array", "items": one}}}
}

// answersForm are answers that mean something else than their status says.
func answersForm() form {
	status := statusForm(200, 599, "[2345](xx|[0-9][0-9])")
	word := form{"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": textsForm()}
	one := table(form{"status": form{"anyOf": []form{status, {"type": "array", "items": status}}},
		"contains": textsForm().with("one of these texts is in its first 4 KiB, in any case"),
		"json":     word.with("a path and the words that stand there"),
		"headers":  word.with("a header and the words that stand in it"),
		"means":    wordForm(api.Meanings()...), "wait": textForm()})
	one["required"] = list("means")
	return form{"type": "array", "items": one}
}

func successForm() form {
	one := form{"anyOf": []form{statusForm(200, 299, "2(xx|[0-9][0-9])"), table(form{
		"status": statusForm(200, 299, "2(xx|[0-9][0-9])"), "text": textForm().with("the whole body; \"\": there is none"),
		"contains": textsForm().with("texts in the body, such as <code>0</code>"),
		"matches":  textForm().with("a regular expression that the body matches"),
		"json":     form{"type": "object", "additionalProperties": textsForm()}, "has": textsForm(),
		"counts": textForm()})}}
	return form{"anyOf": []form{one, {"type": "array", "items": one, "minItems": 1}}}
}

func resultsForm() form {
	f := table(form{"by": wordForm("index", "id", "pointer", "position"), "list": textForm(), "index": textForm(),
		"id": textForm(), "pointer": textForm(), "status": textForm(), "message": textForm(), "item": textForm(),
		"taken":  textsForm().with("by position: what the status says of an event that was taken"),
		"others": wordForm("taken", "again"),
		"again": form{"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": textsForm()}.with(
			"a path in an error, and the words there of errors that pass with time")})
	f["required"] = list("by", "list")
	return f
}

func apiLimitsForm() form {
	return table(form{"rate": textsForm(), "concurrency": countForm(), "gzip": truthForm(), "event_bytes": countForm(),
		"window": table(form{"past": textForm(), "future": textForm()})})
}

// authForm is how a description says who is calling.
func authForm() form {
	kinds := form{}
	for kind, told := range api.AuthKinds() {
		if len(told) == 1 {
			kinds[kind] = textForm()
			continue
		}
		members := form{}
		for _, what := range told {
			members[what] = textForm()
		}
		kinds[kind] = table(members)
	}
	return table(kinds)
}
