package match

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// Drift compares an answer with the recorded one: the status, and the shape of the
// JSON, that is, which members there are and their types. Values may differ, and arrays
// may have any length.
func Drift(wasStatus int, wasBody string, status int, body string) []Difference {
	var out []Difference
	if wasStatus != status {
		out = append(out, Difference{"status", strconv.Itoa(wasStatus), strconv.Itoa(status)})
	}
	was, ok1 := parseJSON(wasBody)
	now, ok2 := parseJSON(body)
	switch {
	case !ok1 && !ok2:
		return out
	case ok1 != ok2:
		return append(out, Difference{"body", kindOfBody(ok1, wasBody), kindOfBody(ok2, body)})
	}
	a, b := map[string]string{}, map[string]string{}
	typesOf("body", was[0], a)
	typesOf("body", now[0], b)
	for _, path := range slices.Sorted(maps.Keys(a)) {
		switch t, ok := b[path]; {
		case !ok:
			out = append(out, Difference{path, a[path], absent})
		case t != a[path] && t != "null" && a[path] != "null":
			out = append(out, Difference{path, a[path], t})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[path]; !ok {
			out = append(out, Difference{path, absent, b[path]})
		}
	}
	return out
}

func kindOfBody(isJSON bool, s string) string {
	switch {
	case isJSON:
		return "JSON"
	case s == "":
		return "nothing"
	}
	return "text"
}

// typesOf collects the types of all values by their paths. All elements of an array
// have the same path.
func typesOf(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		out[path] = "object"
		for k, e := range v {
			typesOf(path+"."+k, e, out)
		}
	case []any:
		out[path] = "array"
		for _, e := range v {
			typesOf(path+"[*]", e, out)
		}
	case string:
		out[path] = "string"
	case json.Number:
		out[path] = "number"
	case bool:
		out[path] = "boolean"
	default:
		out[path] = "null"
	}
}

// CompareInteractions compares the requests of two interactions field by field,
// and their answers by Drift.
func (m *Matcher) CompareInteractions(was, now *redact.Interaction) []Difference {
	a, b := Recorded(was), Recorded(now)
	var out []Difference
	for _, d := range m.Compare(&a, &b).Differences {
		out = append(out, Difference{"request " + d.Path, d.Recorded, d.Sent})
	}
	for _, d := range Drift(was.Response.Code, was.Response.Body, now.Response.Code, now.Response.Body) {
		out = append(out, Difference{"response " + d.Path, d.Recorded, d.Sent})
	}
	return out
}
