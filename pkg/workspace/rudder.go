package workspace

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What values of a workspace configuration may be instead: of an event, and of the server's environment.
// https://www.rudderstack.com/docs/user-guides/how-to-guides/dynamic-destination-configuration/
var (
	perEvent        = regexp.MustCompile(`^\{\{.*\|\|.*\}\}$`)
	fromEnvironment = regexp.MustCompile(`^env[.]([A-Za-z_][A-Za-z0-9_]*)$`)
)

// reference is the name of a variable whose value a setting has.
type reference string

// rudder sees an object of a workspace configuration.
func (r *reader) rudder(o object) bool {
	if definition := o.object("destinationDefinition"); definition != nil {
		r.connection(o, definition, "")
		return true
	}
	if o.object("sourceDefinition") == nil {
		return false
	}
	name := cmp.Or(o.text("name"), o.text("id"))
	r.sources[o.text("id")] = origin{name, o.off("enabled")}
	see := func(inner object) bool {
		definition := inner.object("destinationDefinition")
		if definition == nil {
			return r.rudder(inner)
		}
		r.connection(inner, definition, o.text("id"))
		return true
	}
	for _, key := range r.rest(o, see, "id", "name", "enabled", "writeKey", "sourceDefinition") {
		r.notes["sources."+key] = append(r.notes["sources."+key], name)
	}
	return true
}

// connection keeps a destination as it stands with a source.
func (r *reader) connection(o, definition object, source string) {
	config := o.object("config")
	gone, _ := o.get("deleted").(bool)
	d := &Destination{ID: o.text("id"), Name: o.text("name"), Filters: namedEvents(config), Code: definition.text("name"),
		Disabled: o.off("enabled") || o.off("isConnectionEnabled") || gone}
	d.Kind = cmp.Or(definition.text("displayName"), d.Code)
	if source != "" {
		d.Sources = []string{source}
	}
	var all bool
	if d.Consent, all = r.consents(config); !all {
		d.Losses = append(d.Losses,
			"not carried over: its rules of consent (consentManagement): see consent in `fanfold help config`")
	}
	for _, s := range settingsOf(config) {
		switch which := config.text(eventFiltering); {
		case s.Key == eventFiltering, s.Key == which, s.Key == consentKey, !holds(s.Value):
		case s.Key == allowedEvents || s.Key == deniedEvents: // the list that does not hold
			d.Notes = append(d.Notes, "means nothing: its "+s.Key)
		default:
			if m := fromEnvironment.FindStringSubmatch(asText(s.Value)); m != nil {
				s.Value = reference(m[1])
			}
			d.Settings = append(d.Settings, s)
		}
	}
	if o.off("isProcessorEnabled") {
		d.Off = "devices alone send to it (isProcessorEnabled is off)"
	}
	if list, _ := o.get("transformations").([]any); len(list) > 0 {
		d.Losses = append(d.Losses, fmt.Sprintf("not carried over: its %d transformations are code: see `fanfold help "+
			"transform` for steps", len(list)))
	}
	d.Notes = append(d.Notes, lost(r.rest(o, r.rudder, "id", "name", "enabled", "isConnectionEnabled",
		"isProcessorEnabled", "deleted", "config", "destinationDefinition", "transformations"))...)
	r.add(d)
}

// consentKey is the setting that has a destination's rules of consent, by kinds of sources.
const consentKey = "consentManagement"

// consents are the categories all of which an event's user has to have consented to. ok says that this is what the
// rules of all kinds of sources come to.
func (r *reader) consents(config object) (categories []string, ok bool) {
	first := true
	for _, rules := range config.object(consentKey) {
		list, _ := rules.([]any)
		for _, one := range list {
			rule, _ := one.(map[string]any)
			said, _ := object(rule).get("consents").([]any)
			var these []string
			for _, c := range said {
				inner, _ := c.(map[string]any)
				if name := object(inner).text("consent"); name != "" {
					these = append(these, name)
				}
				if len(r.rest(inner, nil, "consent")) > 0 {
					return nil, false
				}
			}
			slices.Sort(these)
			if len(r.rest(rule, nil, "provider", "consents", "resolutionStrategy")) > 0 {
				return nil, false
			}
			if !first && !slices.Equal(these, categories) || len(these) > 1 && object(rule).text("resolutionStrategy") == "or" {
				return nil, false
			}
			categories, first = these, false
		}
		if list == nil && holds(rules) {
			return nil, false
		}
	}
	return categories, true
}

// The settings by which RudderStack keeps track events away from a destination: which of the two lists holds.
const eventFiltering, allowedEvents, deniedEvents = "eventFilteringOption", "whitelistedEvents", "blacklistedEvents"

// namedEvents is the filter of a destination of RudderStack's that has a list of events.
func namedEvents(config object) []Filter {
	which := config.text(eventFiltering)
	list, _ := config.get(which).([]any)
	var names []string
	for _, one := range list {
		o, _ := one.(map[string]any)
		if name := strings.TrimSpace(object(o).text("eventName")); name != "" {
			names = append(names, `event = "`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)+`"`)
		}
	}
	f := Filter{Name: which, Drop: true, If: `type = "track" and (` + strings.Join(names, " or ") + ")"}
	switch {
	case which == allowedEvents && len(names) == 0:
		f.If = `type = "track"` // a list of none lets none through
	case which == allowedEvents:
		f.If = `type = "track" and !(` + strings.Join(names, " or ") + ")"
	case len(names) == 0:
		return nil
	}
	return []Filter{f}
}
