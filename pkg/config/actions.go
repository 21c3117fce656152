package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// actionKeys are those of an entry of `actions:`, each with the names that it has in
// what Segment's API, its exports, its Terraform provider and its source code call a subscription.
var actionKeys = map[string]string{
	"action": "action", "actionSlug": "action", "action_slug": "action", "partnerAction": "action",
	"subscribe": "subscribe", "trigger": "subscribe",
	"mapping": "mapping", "settings": "mapping",
	"enabled": "enabled", "name": "name",
}

// segmentsOwn are the members of a subscription in Segment that say nothing about what
// is sent.
var segmentsOwn = []string{"id", "actionId", "action_id", "destinationId", "destination_id", "modelId", "model_id",
	"reverseETLModel", "reverseETLModelId", "reverseETLSchedule", "reverse_etl_model_id", "reverse_etl_schedule", "type",
	"createdAt", "updatedAt"}

// models are those of them that say that rows of a warehouse feed a subscription, and no events.
var models = []string{"modelId", "model_id", "reverseETLModelId", "reverse_etl_model_id"}

// wrappers are what stands around subscriptions in answers of Segment's API, of one and of several, and in what
// Terraform shows.
var wrappers = []string{"data", "subscriptions", "subscription", "values"}

// subscription is an entry of `actions:`, and where it stands.
type subscription struct {
	destination.Subscription
	line     int
	mapping  *yaml.Node
	disabled bool
}

// readActions reads the subscriptions that replace the presets. Segment's own objects
// can stand among them as they are.
func (o *Opened) readActions(_ string, n *yaml.Node, p *problems) {
	entries, ok := o.subscriptionsOf(n, 0, p)
	if !ok {
		p.add(n.Line, "%s: actions have to be a list, not %s", o.Name, nodeKind(n))
		return
	}
	before := len(p.errs)
	o.Config.Actions = []destination.Subscription{}
	for _, item := range entries {
		s := o.readAction(item, p)
		if s.disabled {
			p.note(s.line, "%s: action %s is not enabled, and left out", o.Name, s.Action)
			continue
		}
		if s.Action == "" {
			continue
		}
		o.checkAction(&s, p)
		o.Config.Actions = append(o.Config.Actions, s.Subscription)
		o.actionLines = append(o.actionLines, s.line)
	}
	o.actionsWrong = len(p.errs) > before
	if len(o.Config.Actions) == 0 && !o.actionsWrong {
		p.add(n.Line, "%s: actions lists none that is enabled, which would send nothing: take it out to have the presets",
			o.Name)
	}
}

// subscriptionsOf are the entries of a list, and of what was pasted whole: an answer of Segment's API, a resource of
// Terraform's, one subscription.
func (o *Opened) subscriptionsOf(n *yaml.Node, depth int, p *problems) (entries []*yaml.Node, ok bool) {
	switch {
	case n.Kind == yaml.SequenceNode && depth < len(wrappers):
		for _, item := range n.Content {
			if inner, is := o.subscriptionsOf(item, depth+1, p); is {
				entries = append(entries, inner...)
			} else {
				entries = append(entries, item)
			}
		}
		return entries, true
	case n.Kind != yaml.MappingNode || depth == len(wrappers):
		return nil, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if actionKeys[n.Content[i].Value] == "action" {
			return []*yaml.Node{n}, true
		}
	}
	for _, key := range wrappers {
		if v := member(n, key); v != nil {
			if page := member(n, "pagination"); page != nil && member(page, "next") != nil &&
				member(page, "next").Tag != "!!null" && member(page, "next").Value != "" {
				p.note(page.Line, "%s: these actions are one page of an answer, and more follow (pagination.next is %q): paste "+
					"them, too", o.Name, member(page, "next").Value)
			}
			return o.subscriptionsOf(v, depth+1, p)
		}
	}
	return nil, false
}

// member is the value of a key of a table; nil where there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// readAction reads one entry.
func (o *Opened) readAction(item *yaml.Node, p *problems) (s subscription) {
	s.line = item.Line
	before := len(p.errs)
	said := map[string]string{}
	eachPair(item, p, o.Name+": an entry of actions", func(k, v *yaml.Node) {
		key := actionKeys[k.Value]
		if key == "" {
			if slices.Contains(models, k.Value) && v.Tag != "!!null" && v.Value != "" {
				p.note(k.Line, "%s: an action has %s: rows of a warehouse feed it in Segment, and here events do", o.Name, k.Value)
			}
			if !slices.Contains(segmentsOwn, k.Value) {
				keys := []string{"action", "subscribe", "mapping", "enabled", "name"}
				if slices.Contains(OptionKeys(), k.Value) {
					p.add(k.Line, "%s: an action has no %s: it is an option of the destination, and stands beside its type",
						o.Name, k.Value)
					return
				}
				p.add(k.Line, "%s: %s", o.Name, setting.Unknown(k.Value, "key of an action", keys))
			}
			return
		}
		if have := said[key]; have != "" {
			p.add(k.Line, "%s: an action has %s and %s, which are the same: take one of them out", o.Name, have, k.Value)
			return
		}
		said[key] = k.Value
		if key == "mapping" {
			if s.mapping = v; strings.HasPrefix(strings.TrimSpace(v.Value), "{") { // JSON in a text, as Terraform has it
				if table, err := jsonNode(v); err == nil && table.Kind == yaml.MappingNode {
					s.mapping = table
				}
			}
			return
		}
		if v.Kind != yaml.ScalarNode {
			p.add(v.Line, "%s: %s of an action has to be a single value, not %s", o.Name, k.Value, nodeKind(v))
			return
		}
		switch key {
		case "action":
			s.Action = v.Value
		case "subscribe":
			s.Subscribe = v.Value
		case "enabled":
			on, want := boolean(v.Value)
			if want != "" {
				p.add(v.Line, "%s: enabled of an action has to be %s, not %q", o.Name, want, v.Value)
			}
			s.disabled = want == "" && !on
		}
	})
	if s.Action == "" && len(p.errs) == before {
		p.add(item.Line, "%s: an entry of actions does not say which action: %s has %s", o.Name, o.Slug,
			strings.Join(o.actionSlugs(), ", "))
	}
	return s
}

func (o *Opened) actionSlugs() []string {
	var slugs []string
	for _, a := range o.Spec.Actions {
		slugs = append(slugs, a.Slug)
	}
	return slugs
}

// checkAction holds a subscription against the action: everything that is wrong, on the
// lines where it stands.
func (o *Opened) checkAction(s *subscription, p *problems) {
	i := slices.IndexFunc(o.Spec.Actions, func(a destination.ActionInfo) bool { return a.Slug == s.Action })
	if i < 0 {
		p.add(s.line, "%s: %s", o.Name, setting.Unknown(s.Action, "action", o.actionSlugs()))
		return
	}
	action := o.Spec.Actions[i]
	if strings.TrimSpace(s.Subscribe) == "" {
		trigger := ""
		if action.Trigger != "" {
			trigger = ", like " + strings.Join(strings.Fields(action.Trigger), " ")
		}
		p.add(s.line, "%s: action %s has no subscribe: say which events it is for%s", o.Name, s.Action, trigger)
	} else if _, err := filter.Written(s.Subscribe); err != nil {
		p.add(s.line, "%s: action %s: subscribe: %w", o.Name, s.Action, err)
	}
	keys := map[string]bool{}
	whole := false // the mapping is one directive: its keys are known with an event only
	if s.mapping != nil && s.mapping.Tag == "!!null" {
		s.mapping = nil
	}
	if s.mapping != nil {
		if n, err := jsonNode(s.mapping); err == nil && n.Kind != yaml.MappingNode {
			p.add(s.mapping.Line, "%s: action %s: mapping has to be a table of the action's fields, not %s", o.Name, s.Action,
				nodeKind(n))
			return
		}
		doc, err := document.JSON(s.mapping)
		if err == nil {
			s.Mapping, err = mapping.Parse(doc)
		}
		if err == nil {
			_, err = payload.Compile(action.Fields, s.Mapping)
		}
		if err != nil {
			p.add(s.mapping.Line, "%s: action %s: %w", o.Name, s.Action, err)
			return
		}
		keys, whole = o.checkKeys(s.Action, s.mapping, action.Fields, p)
		if n, err := jsonNode(s.mapping); err == nil {
			o.doubtTexts(s.Action, n, p)
		}
	}
	for _, f := range action.Fields {
		mapped := keys[f.Key]
		if s.mapping == nil {
			mapped = !f.Default.IsZero()
		}
		if f.Required && !mapped && !whole {
			p.add(s.line, "%s: action %s: the field %s is required and nothing is mapped to it, "+
				"so that every event would be rejected", o.Name, s.Action, f.Key)
		}
	}
}

// checkKeys finds members of a mapping that the action does not have, and returns those
// that it has.
func (o *Opened) checkKeys(action string, n *yaml.Node, fields []payload.Field, p *problems) (keys map[string]bool,
	whole bool) {
	keys = map[string]bool{}
	n, err := jsonNode(n)
	if err != nil || n.Kind != yaml.MappingNode || len(n.Content) == 2 && strings.HasPrefix(n.Content[0].Value, "@") {
		return keys, true
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.Key)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := slices.Index(names, k.Value)
		switch {
		case at >= 0:
			keys[k.Value] = v.Tag != "!!null" && !(v.Kind == yaml.ScalarNode && v.Value == "")
			f := fields[at]
			if v.Kind == yaml.MappingNode && len(f.Properties) > 0 && !f.AdditionalProperties {
				o.checkKeys(action+": "+k.Value, v, f.Properties, p)
			}
		case strings.Contains(k.Value, "batch"), strings.HasPrefix(k.Value, "__segment"):
			// How Segment makes batches: here they are made by the partner's limits.
		default:
			p.add(k.Line, "%s: action %s: %s", o.Name, action, setting.Unknown(k.Value, "field", names))
		}
	}
	return keys, false
}

// aPath is a text that looks like a path of an event.
var aPath = regexp.MustCompile(`^\$\.[A-Za-z_][\w.\[\]]*$`)

// doubtTexts warns of texts in a mapping that are sent as they stand although they look as
// if they were to be filled in: only directives are.
func (o *Opened) doubtTexts(action string, n *yaml.Node, p *problems) {
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) == 2 && strings.HasPrefix(n.Content[0].Value, "@") {
			return // its own affair
		}
		for i := 1; i < len(n.Content); i += 2 {
			o.doubtTexts(action, n.Content[i], p)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			o.doubtTexts(action, item, p)
		}
	case yaml.ScalarNode:
		directive := ""
		if open := strings.Index(n.Value, "{{"); open >= 0 && strings.Contains(n.Value[open:], "}}") {
			directive = "@template"
		} else if aPath.MatchString(n.Value) {
			directive = "@path"
		}
		if directive != "" {
			p.note(n.Line, "%s: action %s: the text %q is sent as it stands; to have it filled in, write {%q: %q}", o.Name,
				action, n.Value, directive, n.Value)
		}
	}
}

// jsonNode is a mapping as a table: one that was pasted as a text of JSON, too.
func jsonNode(n *yaml.Node) (*yaml.Node, error) {
	if n.Kind != yaml.ScalarNode {
		return n, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(n.Value), &doc); err != nil || len(doc.Content) == 0 {
		return n, err
	}
	shift(&doc, n.Line)
	return doc.Content[0], nil
}

// shift moves the lines of a text that stands within another.
func shift(n *yaml.Node, by int) {
	n.Line += by
	for _, c := range n.Content {
		shift(c, by)
	}
}

// settingValue is a value as its setting's type takes it. Of texts it is the source, so
// that 0123 and 1e5 stay what was written.
func settingValue(n *yaml.Node, typ string) (any, error) {
	var v any
	switch typ {
	case "text", "list", "table":
	default:
		err := n.Decode(&v)
		return v, err
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && n.Tag != "!!binary":
		return n.Value, nil
	case n.Kind == yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			item, err := settingValue(c, typ)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case n.Kind == yaml.MappingNode:
		table := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			item, err := settingValue(n.Content[i+1], typ)
			if err != nil {
				return nil, err
			}
			if _, twice := table[n.Content[i].Value]; twice {
				return nil, fmt.Errorf("%s stands twice", n.Content[i].Value)
			}
			table[n.Content[i].Value] = item
		}
		return table, nil
	}
	err := n.Decode(&v)
	return v, err
}
