package workspace

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/secret"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Write makes a fanfold.yaml of a workspace. from names where it comes from. said is what somebody has to know: the
// destinations that are not in the file, each with the reason, what the export lacks, and what makes other requests
// of those that are. What means nothing here stands in the file as a comment.
func Write(from string, ws *Workspace, catalogue []destination.Destination) (out []byte, said []string, err error) {
	var left []string
	w := &writer{catalogue: catalogue, names: map[string]bool{}, values: map[string]string{}}
	table := &yaml.Node{Kind: yaml.MappingNode}
	for _, one := range ws.Left {
		left = append(left, oneLine(one))
	}
	for i := range ws.Destinations {
		d := &ws.Destinations[i]
		key, body, why := w.destination(d)
		if why != "" {
			left = append(left, oneLine(fmt.Sprintf("%s (%s): %s", d.label(), d.Kind, why)))
			w.notes = append(w.notes, besides(d)...)
			continue
		}
		table.Content = append(table.Content, key, body)
	}
	head := []string{"Made of " + from + " by fanfold import. Look through it, then: fanfold config check"}
	if len(w.variables) > 0 {
		head = append(head, "", "Secrets were not carried over. Set these, in the environment or in a .env beside this file:")
		for _, v := range w.variables {
			head = append(head, "  "+v+"=")
		}
	}
	for title, lines := range each("Left out:", left, "Not carried over:", append(w.notes, ws.Notes...)) {
		head = append(head, "", title)
		for _, line := range lines {
			head = append(head, "  "+line)
		}
	}
	root := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("destinations"), table}}
	var b bytes.Buffer
	for _, line := range head {
		b.WriteString(strings.TrimRight("# "+oneLine(line), " ") + "\n")
	}
	b.WriteByte('\n')
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return nil, nil, err
	}
	for _, line := range left {
		said = append(said, "left out: "+line)
	}
	return b.Bytes(), append(said, w.parts...), e.Close()
}

// each are titles with the lines below them, where there are any.
func each(title string, lines []string, other string, others []string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		if len(lines) > 0 && !yield(title, lines) {
			return
		}
		if len(others) > 0 {
			yield(other, others)
		}
	}
}

// writer knows what has been written already.
type writer struct {
	catalogue []destination.Destination
	names     map[string]bool
	variables []string
	values    map[string]string // of the variables
	parts     []string          // what makes other requests than the other tool's
	notes     []string          // of what is left out
}

func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// oneLine is a text of others in a comment.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		// YAML ends a comment at some more than the control characters.
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || r == '\ufeff' {
			return ' '
		}
		return r
	}, s)
}

// besides is what stands with a destination that is left out.
func besides(d *Destination) (notes []string) {
	for _, s := range d.Subscriptions {
		notes = append(notes, oneLine(fmt.Sprintf("%s: its subscription %s", d.label(), cmp.Or(s.Name, s.Action))))
	}
	for _, f := range d.Filters {
		notes = append(notes, oneLine(fmt.Sprintf("%s: its filter %s", d.label(), f.Name)))
	}
	return notes
}

func (d *Destination) label() string {
	if d.Name != "" {
		return d.Name
	}
	return d.Kind
}

// destination writes one, or says why not.
func (w *writer) destination(d *Destination) (key, body *yaml.Node, why string) {
	spec, ok := find(w.catalogue, d.Kind, d.Code)
	switch {
	case !ok:
		return nil, nil, "fanfold has no such destination"
	case d.Disabled:
		return nil, nil, "it is switched off"
	case d.Off != "":
		return nil, nil, d.Off
	}
	name := w.name(d.label(), spec.Info.Slug)
	var notes []string
	if len(d.Sources) > 0 {
		notes = append(notes, "gets events of "+strings.Join(d.Sources, ", "))
	}
	notes = append(append(notes, d.Losses...), d.Notes...)
	w.tell(d, d.Losses)
	body = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("type"), scalar(spec.Info.Slug)}}
	borrow(d, spec)
	settings, base, remarks := w.settings(d, spec, name)
	if len(settings.Content) > 0 {
		body.Content = append(body.Content, scalar("settings"), settings)
	}
	if base != "" {
		body.Content = append(body.Content, scalar("base_url"), scalar(base))
	}
	for _, one := range remarks {
		if notes = append(notes, one.text); one.told {
			w.tell(d, []string{one.text})
		}
	}
	if len(d.Consent) > 0 {
		n, err := node(d.Consent)
		if err != nil {
			return nil, nil, err.Error()
		}
		body.Content = append(body.Content, scalar("consent"), n)
	}
	filter, lost, off := filterOf(d)
	if notes = append(append(notes, lost...), off...); filter != "" {
		body.Content = append(body.Content, scalar("filter"), literal(filter))
	}
	w.tell(d, lost)
	if len(d.Subscriptions) > 0 {
		actions, lost, off := w.actions(d, spec, name)
		notes = append(append(notes, lost...), off...)
		if len(actions.Content) == 0 {
			return nil, nil, "none of its subscriptions can be carried over: " + strings.Join(lost, "; ")
		}
		w.tell(d, lost)
		body.Content = append(body.Content, scalar("actions"), actions)
	} else if d.Bare {
		bare := []string{"no subscription of it is in the export: without any it sends nothing there, and here what its " +
			"presets send"}
		notes = append(notes, bare...)
		w.tell(d, bare)
	}
	key = scalar(name)
	for i := range notes {
		notes[i] = oneLine(notes[i])
	}
	key.HeadComment = strings.Join(notes, "\n")
	return key, body, ""
}

// tell notes what the requests to a destination are others without.
func (w *writer) tell(d *Destination, lost []string) {
	for _, one := range lost {
		w.parts = append(w.parts, oneLine(d.label()+": "+one))
	}
}

// filterOf is the filter of a destination: no event that one of the workspace's filters drops. The language is the
// same. What is no filter here is written in a way that `config check` refuses, since events would be sent that were
// not.
func filterOf(d *Destination) (text string, lost, notes []string) {
	var parts []string
	for _, f := range d.Filters {
		if notes = append(notes, f.Notes...); f.Disabled {
			notes = append(notes, fmt.Sprintf("switched off there: its filter %s (%s)", f.Name, f.If))
			continue
		}
		if len(f.Does) > 0 {
			lost = append(lost, fmt.Sprintf("not carried over: its filter %s does %s to events with %s: see `fanfold help "+
				"transform` for steps", f.Name, strings.Join(f.Does, " and "), f.If))
		}
		if !f.Drop {
			if len(f.Does) == 0 {
				lost = append(lost, fmt.Sprintf("not carried over: its filter %s, which does nothing that is known here", f.Name))
			}
			continue
		}
		_, err := filter.Compile(f.If)
		switch {
		case strings.EqualFold(strings.TrimSpace(f.If), "all"):
			lost = append(lost, fmt.Sprintf("its filter %s drops all events", f.Name))
			parts = append(parts, "type = null")
		case err != nil:
			lost = append(lost, fmt.Sprintf("to be mended: its filter %s: %v", f.Name, err))
			parts = append(parts, "TO BE MENDED: !("+f.If+")")
		default:
			parts = append(parts, "!("+f.If+")")
		}
	}
	return strings.Join(parts, " and "), lost, notes
}

// remark is what has become of a setting. Those that are told make other requests than the other tool's, or send them
// elsewhere; the others are noted in the file alone.
type remark struct {
	text string
	told bool
}

// weighty says that a setting of the other tool that is none here is told: by its name it says where data resides, who
// has consented, or which events are sent.
func weighty(key string) bool { return weights.MatchString(fold(key)) }

var weights = regexp.MustCompile(`consent|cookiecategor|region|resid|europ|datacent|filter|` +
	`(white|black|allow|deny|block)list`)

// literal is a text in which nothing stands for a variable.
func literal(s string) *yaml.Node { return scalar(strings.ReplaceAll(s, "${", "$${")) }

// borrow takes what the other tool is told with each subscription, and fanfold once for the destination, such
// as an address: a text that is the same in all of them. Secrets are not among it.
func borrow(d *Destination, spec destination.Destination) {
	for _, f := range spec.Settings.Fields {
		is := func(s Setting) bool { g, ok := fieldFor(spec.Settings, s.Key); return ok && g.Key == f.Key }
		if f.Secret || slices.ContainsFunc(d.Settings, is) {
			continue
		}
		found, same := "", true
		var from []map[string]any
		for _, s := range d.Subscriptions {
			m, _ := s.Mapping.(map[string]any)
			value, there := m[f.Key]
			i := slices.IndexFunc(spec.Actions, func(a destination.ActionInfo) bool { return a.Slug == s.Action })
			if i < 0 || !there || slices.ContainsFunc(spec.Actions[i].Fields, func(own payload.Field) bool {
				return own.Key == f.Key
			}) {
				continue
			}
			text, _ := value.(string)
			same = same && text != "" && (found == "" || found == text)
			found, from = text, append(from, m)
		}
		if found == "" || !same {
			continue
		}
		d.Settings = append(d.Settings, Setting{f.Key, found})
		for _, m := range from {
			delete(m, f.Key)
		}
	}
}

// name makes a destination's name of a user's, which may be anything.
func (w *writer) name(label, slug string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(label) {
		switch {
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	base := strings.TrimRight(b.String(), "-")
	if base == "" {
		base = slug
	}
	name := base
	for n := 2; w.names[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	w.names[name] = true
	return name
}

// settings are those that the destination has, in its own words. base is the address of an
// instance of the user's own, where one stands in the place of a region.
func (w *writer) settings(d *Destination, spec destination.Destination, name string) (
	table *yaml.Node, base string, lost []remark,
) {
	table = &yaml.Node{Kind: yaml.MappingNode, Style: 0}
	given, lost := gather(d, spec)
	for _, f := range spec.Settings.Fields {
		value, ok := given[f.Key]
		ok = ok && value != ""
		variable := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name + "_" + f.Key))
		named, isNamed := value.(reference)
		switch {
		case isNamed:
			table.Content = append(table.Content, scalar(f.Key), w.variable(string(named), named))
		case f.Secret && (ok || f.Required):
			n := w.variable(variable, value)
			table.Content = append(table.Content, scalar(f.Key), n)
			if names := namesIn(value); len(names) > 0 {
				lost = append(lost, remark{fmt.Sprintf("%s is for the values of %s", n.Value, strings.Join(names, ", ")), false})
			}
		case !ok && f.Elsewhere != "" && !batched(d):
			table.Content = append(table.Content, scalar(f.Key), scalar(f.Elsewhere))
		case ok:
			n, fits := w.valueOf(spec, f, value, variable)
			text, _ := value.(string)
			switch {
			case fits:
			case isRegion(f) && isAddress(text):
				if base = text; len(secret.OfAddress(text)) > 0 {
					base = w.variable(variable, text).Value
				}
				continue
			case isRegion(f): // events must not go elsewhere for want of it: `config check` refuses the value
				lost = append(lost, remark{"to be mended: the value of the setting " + f.Key + ", which says where data resides",
					true})
				n = literal(cut(asText(value)))
			default:
				lost = append(lost, remark{"not carried over: the value of the setting " + f.Key, true})
				continue
			}
			table.Content = append(table.Content, scalar(f.Key), n)
		}
	}
	return table, base, lost
}

// namesIn are the names in a table, or in a list of pairs, such as headers.
func namesIn(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		return slices.Sorted(maps.Keys(v))
	case []any:
		for _, one := range v {
			o, _ := one.(map[string]any)
			if name := object(o).text("from"); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// batched says that the other tool sends several events in a request.
func batched(d *Destination) bool {
	return slices.ContainsFunc(d.Subscriptions, func(s Subscription) bool {
		m, _ := s.Mapping.(map[string]any)
		return m["enable_batching"] == true
	})
}

// variable is a reference to a variable that the user has to set, to a value.
func (w *writer) variable(name string, value any) *yaml.Node {
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	base := name
	for n := 2; slices.Contains(w.variables, name) && w.values[name] != fmt.Sprint(value); n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	if !slices.Contains(w.variables, name) {
		w.variables = append(w.variables, name)
		w.values[name] = fmt.Sprint(value)
	}
	n := scalar("${" + name + "}")
	n.Style = yaml.DoubleQuotedStyle
	return n
}

// written is a value as YAML: an address with a credential in it is a variable, a text whose name announces one is
// another, called after that, as one with the name of a secret setting is; and a text says nothing else than it did.
func (w *writer) written(v any, variable string, spec destination.Destination) (*yaml.Node, error) {
	n, err := node(v)
	if err != nil {
		return nil, err
	}
	var texts func(n *yaml.Node, key string)
	texts = func(n *yaml.Node, key string) {
		switch text := n.Kind == yaml.ScalarNode && n.Tag == "!!str"; {
		case text && len(secret.OfAddress(n.Value)) > 0:
			*n = *w.variable(variable, n.Value)
		case text && announced(key, spec) && n.Value != "" && !strings.Contains(n.Value, "{{"):
			*n = *w.variable(strings.TrimSuffix(variable, "_ADDRESS")+"_"+strings.ToUpper(strings.Map(func(r rune) rune {
				if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
					return r
				}
				return '_'
			}, key)), n.Value)
		case text && strings.Contains(n.Value, "${"):
			*n = *literal(n.Value)
		}
		for i, c := range n.Content {
			switch {
			case n.Kind != yaml.MappingNode:
				texts(c, key)
			case i%2 == 0:
				texts(c, "")
			case n.Content[i-1].Value == "@literal":
				texts(c, key)
			default:
				texts(c, n.Content[i-1].Value)
			}
		}
	}
	texts(n, "")
	return n, nil
}

// announced says that a member's name announces a credential. Short names mean other things in events: a key, a code.
func announced(key string, spec destination.Destination) bool {
	f, ok := spec.Settings.Field(key)
	return ok && f.Secret || len(key) > len("code") && !strings.HasPrefix(key, "@") && secret.Announced(key)
}

// valueOf is a value as the setting takes it: one of a few words is found in what the
// other tool shows instead of it.
func (w *writer) valueOf(spec destination.Destination, f setting.Field, value any, variable string) (*yaml.Node, bool) {
	if len(f.Choices) > 0 {
		if on, isSwitch := value.(bool); isSwitch && slices.Contains(f.Choices, "1") {
			value = map[bool]string{true: "1", false: "0"}[on]
		}
		at := slices.IndexFunc(f.Choices, func(c string) bool {
			return strings.EqualFold(c, asText(value)) ||
				!isRegion(f) && slices.Contains(wordsOf(asText(value)), strings.ToLower(c))
		})
		if at < 0 {
			return nil, false
		}
		return scalar(f.Choices[at]), true
	}
	n, err := w.written(value, variable, spec)
	return n, err == nil
}

// actions are the subscriptions whose actions the destination has.
func (w *writer) actions(d *Destination, spec destination.Destination, name string) (list *yaml.Node, lost,
	notes []string) {
	list = &yaml.Node{Kind: yaml.SequenceNode}
	on := 0
	for _, s := range d.Subscriptions {
		i := slices.IndexFunc(spec.Actions, func(a destination.ActionInfo) bool { return a.Slug == s.Action })
		if i < 0 {
			lost = append(lost, fmt.Sprintf("not carried over: %s (%s): there is no action %s here", s.Name, s.Trigger,
				s.Action))
			continue
		}
		if strings.TrimSpace(s.Trigger) == "" || s.Model != "" {
			why := "it has no trigger"
			if s.Model != "" {
				why = "rows of the model " + s.Model + " feed it there, and no events"
			}
			lost = append(lost, fmt.Sprintf("not carried over: %s (%s): %s", s.Name, s.Action, why))
			continue
		}
		notes = append(notes, s.Notes...)
		entry := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("action"), scalar(s.Action),
			scalar("subscribe"), literal(s.Trigger)}}
		entry.HeadComment = oneLine(s.Name)
		if s.Disabled {
			off := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "false"}
			entry.Content = append(entry.Content, scalar("enabled"), off)
		} else {
			on++
		}
		if m, _ := s.Mapping.(map[string]any); len(m) > 0 {
			kept, gone := known(m, spec.Actions[i])
			if len(gone) > 0 {
				lost = append(lost, fmt.Sprintf("not carried over: of %s, the fields %s", s.Action, strings.Join(gone, ", ")))
			}
			n, err := w.written(kept, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"_ADDRESS", spec)
			if err != nil {
				lost = append(lost, fmt.Sprintf("not carried over: %s: %v", s.Action, err))
				continue
			}
			if len(kept) > 0 { // else the action's own mapping is nearer than none
				entry.Content = append(entry.Content, scalar("mapping"), n)
			}
		}
		list.Content = append(list.Content, entry)
	}
	if on == 0 {
		return &yaml.Node{Kind: yaml.SequenceNode}, append(lost, "none of its subscriptions is enabled"), nil
	}
	return list, lost, notes
}

// known are the members of a mapping that the action has, and the names of the others. How
// Segment makes batches is of no use here.
func known(m map[string]any, a destination.ActionInfo) (kept map[string]any, gone []string) {
	kept = map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		has := strings.HasPrefix(key, "@")
		for _, f := range a.Fields {
			has = has || f.Key == key
		}
		switch {
		case has:
			kept[key] = m[key]
		case strings.Contains(key, "batch"), strings.HasPrefix(key, "__segment"):
		default:
			gone = append(gone, key)
		}
	}
	return kept, gone
}

// node is a JSON value as YAML, in one line where it is short.
func node(v any) (*yaml.Node, error) {
	text, err := document.Encode(v)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	n := doc.Content[0]
	unflow(n)
	return n, nil
}

// unflow writes tables that are longer than a line on several.
func unflow(n *yaml.Node) {
	if n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode {
		if n.Tag == "!!str" {
			n.SetString(n.Value) // in the quotes that it needs
		}
		return
	}
	size := 0
	for _, c := range n.Content {
		unflow(c)
		size += length(c) + 2
	}
	if size > 80 {
		n.Style &^= yaml.FlowStyle
	}
}

func length(n *yaml.Node) int {
	size := len(n.Value)
	for _, c := range n.Content {
		size += length(c) + 2
	}
	return size
}
