package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/eval"
	"github.com/fanfold/fanfold/pkg/event"
)

// change is something that partners have done with a value: in words of package body, and what comes of it.
type change struct {
	node string // %q is the field
	of   func(v any) any
}

// changes are those that are tried for members that nobody has explained.
func changes() []change {
	written := func(layout string) func(any) any {
		return func(v any) any {
			s, _ := v.(string)
			at, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				return nil
			}
			return at.UTC().Format(layout)
		}
	}
	mapped := func(directive string) func(any) any {
		run, err := eval.Mapping([]byte(directive))
		return func(v any) (out any) {
			in, err2 := json.Marshal(map[string]any{"v": v})
			if err != nil || err2 != nil {
				return nil
			}
			doc, err := event.ParseValue(in)
			if err != nil {
				return nil
			}
			text, err := run(nil, doc)
			if err != nil || json.Unmarshal(text, &out) != nil {
				return nil
			}
			return out
		}
	}
	of := func(format string) func(any) any {
		return mapped(fmt.Sprintf(`{"@time": {"value": {"@path": "$.v"}, "format": %q}}`, format))
	}
	edited := func(f func(string) string) func(any) any {
		return func(v any) any {
			if s, ok := v.(string); ok {
				return f(s)
			}
			return nil
		}
	}
	list := []change{
		{"body.From(%q)", func(v any) any { return v }},
		{"body.From(%q).Seconds()", of("seconds")}, {"body.From(%q).Millis()", of("millis")},
		{`body.From(%q).Time("fraction")`, of("fraction")}, {`body.From(%q).Time("micros")`, of("micros")},
		{"body.From(%q).Lower()", edited(strings.ToLower)}, {"body.From(%q).Upper()", edited(strings.ToUpper)},
		{"body.From(%q).Trim()", edited(strings.TrimSpace)},
		{`body.From(%q).Replace(" ", "_")`, edited(func(s string) string { return strings.ReplaceAll(s, " ", "_") })},
		{`body.From(%q).Replace("-", "_")`, edited(func(s string) string { return strings.ReplaceAll(s, "-", "_") })},
		{`body.From(%q).Lower().Replace(" ", "_")`, edited(func(s string) string {
			return strings.ReplaceAll(strings.ToLower(s), " ", "_")
		})},
	}
	for _, l := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04:05Z", "2006-01-02 15:04:05", "2006-01-02",
		"2006-01-02 15:04:05-07:00", "2006-01-02T15:04:05-07:00", "01/02/2006"} {
		list = append(list, change{"body.From(%q).Layout(" + fmt.Sprintf("%q", l) + ")", written(l)})
	}
	for _, form := range []string{"email", "email_plain", "phone", "phone_digits", "name", "city", "state", "zip",
		"country", "gender", "birthdate"} {
		hash := mapped(fmt.Sprintf(`{"@hash": {"value": {"@path": "$.v"}, "as": %q}}`, form))
		list = append(list, change{"body.From(%q).Hash(" + fmt.Sprintf("%q", form) + ")", hash},
			change{"body.List(body.From(%q).Hash(" + fmt.Sprintf("%q", form) + "))", func(v any) any {
				if one := hash(v); one != nil {
					return []any{one}
				}
				return nil
			}})
	}
	return list
}

// solved is a node for a member that came out of some field by one of the changes in all samples that have the
// member; "": there is none.
func solved(list []sample, names []string) string {
	var fields []string
	for _, x := range list {
		leaves("", x.payload, func(path string, _ any) {
			if path != "" && !slices.Contains(fields, path) {
				fields = append(fields, path)
			}
		})
	}
	slices.Sort(fields)
	for _, c := range changes() {
		for _, f := range fields {
			seen, right := 0, true
			for _, x := range list {
				want, v := at(x.body, names), at(x.payload, strings.Split(f, "."))
				if want == nil {
					right = right && v == nil
					continue
				}
				seen++
				right = right && v != nil && reflect.DeepEqual(c.of(v), want)
			}
			if right && seen > 0 {
				return fmt.Sprintf(c.node, f)
			}
		}
	}
	return ""
}
