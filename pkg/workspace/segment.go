package workspace

import (
	"cmp"
	"encoding/json"
	"strings"
)

// segment sees an object of Segment's API, or of a resource of Terraform.
func (r *reader) segment(o object) bool {
	if planned := o["planned_values"]; planned != nil && r.walk(planned, r.segment, 1) {
		// What Terraform plans has everything once more as it was, and as it changes.
		r.notes["the plan"] = append(r.notes["the plan"], "but planned_values")
		return true
	}
	if values := o.object("values"); values != nil { // a resource
		kind := o.text("type")
		if kind != "segment_source" && kind != "segment_destination" && !strings.HasPrefix(kind, "segment_destination_") {
			return false
		}
		if taken := kind == "segment_source" && r.source(values) || r.taken(values); !taken {
			return false
		}
		for _, key := range r.rest(o, r.segment, "values", "type", "name", "address", "index", "mode", "providerName",
			"schemaVersion", "sensitiveValues", "dependsOn", "identity", "identitySchemaVersion") {
			r.leave(kind+"."+key, o[key])
		}
		return true
	}
	return r.taken(o)
}

// taken makes of an object what it looks like.
func (r *reader) taken(o object) bool {
	r.page(o)
	action := cmp.Or(o.text("actionSlug"), o.text("partnerAction"))
	trigger := cmp.Or(o.text("trigger"), o.text("subscribe"))
	metadata, settings := o.object("metadata"), o.object("settings")
	_, does := o.get("actions").([]any)
	switch {
	case o.text("if") != "" && (o.text("destinationId") != "" || does):
		r.filter(o)
	case action != "" && (trigger != "" || o.text("destinationId") != ""),
		o.text("actionId") != "" && trigger != "" && o.text("destinationId") != "":
		r.subscription(o, action, trigger)
	case o.get("writeKeys") != nil && o.text("name") != "":
		return r.source(o)
	case metadata != nil && (settings != nil || o.text("sourceId") != ""):
		r.destination(o, metadata, settings)
	default:
		return false
	}
	return true
}

// source keeps where events come from.
func (r *reader) source(o object) bool {
	name := cmp.Or(o.text("name"), o.text("slug"), o.text("id"))
	r.sources[o.text("id")] = origin{name, o.off("enabled")}
	for _, key := range r.rest(o, r.segment, "id", "name", "slug", "enabled", "writeKeys", "metadata") {
		r.notes["sources."+key] = append(r.notes["sources."+key], name)
	}
	return true
}

// destination keeps a destination, and what stands in it.
func (r *reader) destination(o, metadata, settings object) {
	d := &Destination{ID: o.text("id"), Name: o.text("name"), Disabled: o.off("enabled"), Settings: settingsOf(settings),
		Kind: cmp.Or(metadata.text("slug"), metadata.text("name")), Code: metadata.text("name")}
	actions, _ := metadata.get("actions").([]any)
	for _, one := range actions {
		a, _ := one.(map[string]any)
		if slug := object(a).text("slug"); slug != "" {
			r.actions[object(a).text("id")] = slug
		}
	}
	d.Bare = len(actions) > 0 || strings.HasPrefix(d.Kind, "actions-") || strings.Contains(d.Code, "(Actions)")
	if from := o.text("sourceId"); from != "" {
		d.Sources = append(d.Sources, from)
	}
	d = r.add(d)
	before := len(r.orphans)
	d.Notes = append(d.Notes, lost(r.rest(o, r.segment, "id", "name", "enabled", "settings", "metadata", "sourceId"))...)
	for i := before; i < len(r.orphans); i++ {
		if r.orphans[i].destination == "" || r.orphans[i].destination == d.ID {
			r.orphans[i].of = d
		}
	}
}

// again says that an object of a kind was there already: Terraform has it in a plan and in the state before.
func (r *reader) again(kind string, o object) bool {
	id := o.text("id")
	if id == "" {
		return false
	}
	was := r.seen[kind+id]
	r.seen[kind+id] = true
	return was
}

// subscription keeps an action of a destination's.
func (r *reader) subscription(o object, action, trigger string) {
	if r.again("subscription", o) {
		return
	}
	s := Subscription{Name: o.text("name"), Action: action, Trigger: trigger, Disabled: o.off("enabled"),
		Model: cmp.Or(o.text("modelId"), o.text("reverseETLModelId"))}
	if s.ID = o.text("actionId"); s.ID != "" && action != "" {
		r.actions[s.ID] = action
	}
	mapped := o.object("settings")
	if mapped == nil {
		mapped = o.object("mapping")
	}
	s.Mapping = map[string]any(mapped)
	s.Notes = lost(r.rest(o, r.segment, "id", "name", "enabled", "settings", "mapping", "trigger", "subscribe",
		"actionSlug", "partnerAction"))
	r.orphans = append(r.orphans, orphan{Subscription: s, destination: o.text("destinationId")})
}

// filter keeps a filter of a destination.
func (r *reader) filter(o object) {
	if r.again("filter", o) {
		return
	}
	f := &Filter{Name: cmp.Or(o.text("title"), o.text("id")), If: o.text("if"), Disabled: o.off("enabled")}
	list, _ := o.get("actions").([]any)
	for _, one := range list {
		a, _ := one.(map[string]any)
		kind := cmp.Or(object(a).text("type"), "?")
		how := map[string]any{} // percent, path, fields
		for _, key := range r.rest(a, nil, "type") {
			how[key] = a[key]
		}
		f.Drop = f.Drop || kind == "DROP"
		if what, err := json.Marshal(how); err == nil && len(how) > 0 {
			f.Does = append(f.Does, kind+" "+cut(string(what)))
		} else if kind != "DROP" {
			f.Does = append(f.Does, kind)
		}
	}
	f.Notes = lost(r.rest(o, r.segment, "id", "title", "description", "if", "enabled", "actions"))
	r.orphans = append(r.orphans, orphan{Filter: f, destination: o.text("destinationId")})
}

// cut bounds a text of others in a line.
func cut(s string) string {
	const most = 300
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
