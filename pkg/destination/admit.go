package destination

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
)

// Admit decides, before any mapping, whether an event may go to the destination at all. When it may not, ok is
// false and r says why. Callers of Route ask it first.
func (e *Env) Admit(ev *event.Event) (r Result, ok bool) {
	if e.Suppressed {
		return Result{Outcome: Skipped, Reason: Suppressed, Detail: "whose event it is stands in the suppression list"}, false
	}
	if len(e.Consent) == 0 {
		return Result{}, true
	}
	context := ev.Root().Get("context")
	for _, category := range e.Consent {
		if !consents(context, category) {
			return Result{Outcome: Skipped, Reason: NoConsent,
				Detail: "the event's consent (context.consent.categoryPreferences) does not grant " + category}, false
		}
	}
	return Result{}, true
}

// consents says whether the event's consent grants a category and denies it nowhere. It reads Segment's form, an
// object with true or false for each category, and RudderStack's, which lists the allowed and the denied ones.
// https://segment.com/docs/privacy/consent-management/consent-in-segment-connect/
// https://www.rudderstack.com/docs/data-governance/consent-management/
func consents(context event.Value, category string) bool {
	granted := false
	for k, v := range inJSON(context.Get("consent").Get("categoryPreferences")).Members() {
		if sameCategory(k.Text(), category) {
			if v.Kind() != event.Bool || !v.Bool() {
				return false
			}
			granted = true
		}
	}
	managed := inJSON(context.Get("consentManagement"))
	for el := range managed.Get("deniedConsentIds").Elements() {
		if sameCategory(el.Text(), category) {
			return false
		}
	}
	for el := range managed.Get("allowedConsentIds").Elements() {
		granted = granted || sameCategory(el.Text(), category)
	}
	return granted
}

// inJSON parses a text that holds JSON: exports of tables store objects that way.
func inJSON(v event.Value) event.Value {
	if v.Kind() == event.String {
		if inner, err := event.ParseValue(v.AppendString(nil)); err == nil {
			return inner
		}
	}
	return v
}

// sameCategory compares category names without case and separators, because column names in tables lose both.
func sameCategory(a, b string) bool {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '_' || r == '-' || r == ' ' {
				return -1
			}
			return unicode.ToLower(r)
		}, s)
	}
	return strings.EqualFold(a, b) || plain(a) != "" && plain(a) == plain(b)
}

// timeless says why an event that needs a time has none; "" when it has one.
func timeless(ev *event.Event) string {
	if _, err := ev.TimeIn(event.AnyOrder); err == nil {
		return ""
	} else if v := ev.TimestampMember(); !v.Nullish() && !v.IsEmptyText() {
		why := "its timestamp " + Cut(string(v.Raw()), 60) + " cannot be read: " + err.Error()
		if errors.Is(err, event.ErrAmbiguousDate) {
			why += "; say which comes first with --date-order mdy or dmy"
		}
		return why
	}
	return "none of its timestamp, originalTimestamp, sentAt and receivedAt is a time; " +
		"--undated now or skip says what else to do with such events"
}

// timeMembers are the members of an event that can say when it happened.
var timeMembers = map[string]bool{"timestamp": true, "originalTimestamp": true, "sentAt": true, "receivedAt": true}

// dates says whether a mapping reads the time of the event.
func dates(m mapping.Value) bool {
	var v any
	if json.Unmarshal([]byte(m.String()), &v) != nil {
		return false
	}
	return readsTime(v)
}

func readsTime(v any) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if readsTime(e) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			text, isText := e.(string)
			switch {
			case k == "@path" && isText:
				if timeMembers[strings.TrimPrefix(strings.TrimPrefix(text, "$"), ".")] {
					return true
				}
			case k == "@template" && isText:
				for name := range timeMembers {
					if strings.Contains(text, "{{"+name+"}}") || strings.Contains(text, "{{$."+name+"}}") {
						return true
					}
				}
			case readsTime(e):
				return true
			}
		}
	}
	return false
}

// isTimed says whether the action sends a time, in a field or otherwise.
func (d *Declared) isTimed() bool {
	return d.dated || d.timeField != "" ||
		slices.ContainsFunc(d.fields, func(f payload.Field) bool { return f.Type == payload.TypeDatetime })
}

// times is the difference that every destination has from Segment's own in how it sends times.
func times() Difference {
	return Difference{What: "a time that stands in digits (seconds, milliseconds or microseconds since 1970), or in " +
		"another form than ISO 8601, is the one that they say; without a timestamp it is what the event's three other " +
		"times say, and an event that has none is rejected instead of dated as of now",
		Docs: "https://segment.com/docs/connections/spec/common/#timestamps"}
}

// isDated says whether a subscription with this mapping tells the partner when events happened.
func (a *openAction) isDated(m mapping.Value) bool {
	if m.IsZero() {
		m = payload.Defaults(a.Fields)
	}
	return a.dated || a.TimeField != "" || dates(m)
}
