package workspace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/secret"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Write makes a fanfold.yaml of a workspace. from names where it comes from. left is what is not in the file, each
// with the reason: destinations, and parts of them without which other requests are made.
func Write(from string, ws *Workspace, catalogue []destination.Destination) (out []byte, left []string, err error) {
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
	for i, line := range left {
		if i == 0 {
			head = append(head, "", "Left out:")
		}
		head = append(head, "  "+line)
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
	return b.Bytes(), append(left, w.parts...), e.Close()
}

// writer knows what has been written already.
type writer struct {
	catalogue []destination.Destination
	names     map[string]bool
	variables []string
	values    map[string]string // of the variables
	parts     []string          // what subscriptions say that could not be carried over: requests are others without it
}

func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// oneLine is a text of others in a comment.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
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
	}
	name := w.name(d.label(), spec.Info.Slug)
	var notes []string
	if len(d.Sources) > 0 {
		notes = append(notes, "gets events of "+strings.Join(d.Sources, ", "))
	}
	notes = append(notes, d.Notes...)
	body = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("type"), scalar(spec.Info.Slug)}}
	borrow(d, spec)
	settings, base, lost := w.settings(d, spec, name)
	if len(settings.Content) > 0 {
		body.Content = append(body.Content, scalar("settings"), settings)
	}
	if base != "" {
		body.Content = append(body.Content, scalar("base_url"), scalar(base))
	}
	notes = append(notes, lost...)
	if filter, lost := filterOf(d); filter != "" || len(lost) > 0 {
		if notes = append(notes, lost...); filter != "" {
			body.Content = append(body.Content, scalar("filter"), literal(filter))
		}
		w.tell(d, lost)
	}
	if len(d.Subscriptions) > 0 {
		actions, lost := w.actions(d, spec, name)
		notes = append(notes, lost...)
		if len(actions.Content) == 0 {
			return nil, nil, "none of its subscriptions can be carried over: " + strings.Join(lost, "; ")
		}
		w.tell(d, lost)
		body.Content = append(body.Content, scalar("actions"), actions)
	} else if d.Bare {
		bare := []string{"no subscription of it is in the export: without any it sends nothing there, and here what its presets send"}
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
		w.parts = append(w.parts, oneLine(d.label()+": "+strings.TrimPrefix(one, "not carried over: ")))
	}
}

// filterOf is the filter of a destination: no event that one of the workspace's filters drops. The language is the
// same; `config check` refuses what is no filter here.
func filterOf(d *Destination) (text string, lost []string) {
	var parts []string
	for _, f := range d.Filters {
		if len(f.Does) > 0 {
			lost = append(lost, fmt.Sprintf("not carried over: its filter %s does %s to events with %s: see `fanfold help "+
				"transform` for steps", f.Name, strings.Join(f.Does, " and "), f.If))
		}
		switch {
		case !f.Drop:
		case strings.EqualFold(strings.TrimSpace(f.If), "all"):
			lost = append(lost, fmt.Sprintf("its filter %s drops all events", f.Name))
			parts = append(parts, "type = null")
		default:
			parts = append(parts, "!("+f.If+")")
		}
	}
	return strings.Join(parts, " and "), lost
}

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
	table *yaml.Node, base string, lost []string,
) {
	table = &yaml.Node{Kind: yaml.MappingNode, Style: 0}
	given := map[string]any{}
	for _, s := range d.Settings {
		if s.Value == nil || s.Value == "" {
			continue
		}
		if f, ok := fieldFor(spec.Settings, s.Key); ok && given[f.Key] == nil {
			if given[f.Key] = s.Value; isRegion(f) && len(f.Choices) > 0 {
				given[f.Key] = regionOf(f, s.Key, s.Value)
			}
		} else if !ok {
			lost = append(lost, "not carried over: the setting "+s.Key)
		}
	}
	for _, f := range spec.Settings.Fields {
		value, ok := given[f.Key]
		ok = ok && value != ""
		variable := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name + "_" + f.Key))
		if variable[0] >= '0' && variable[0] <= '9' {
			variable = "_" + variable
		}
		switch {
		case f.Secret && (ok || f.Required):
			table.Content = append(table.Content, scalar(f.Key), w.variable(variable, value))
		case ok:
			n, fits := w.valueOf(f, value, variable)
			text, isText := value.(string)
			switch {
			case fits:
			case isRegion(f) && isAddress(text):
				if base = text; len(secret.OfAddress(text)) > 0 {
					base = w.variable(variable, text).Value
				}
				continue
			case isRegion(f): // events must not go elsewhere for want of it: `config check` refuses the value
				mend := "to be mended: the value of the setting " + f.Key
				lost = append(lost, mend)
				w.tell(d, []string{mend})
				if n = literal(text); !isText {
					n = literal(fmt.Sprint(value))
				}
			default:
				lost = append(lost, "not carried over: the value of the setting "+f.Key)
				continue
			}
			table.Content = append(table.Content, scalar(f.Key), n)
		}
	}
	return table, base, lost
}

// isRegion says that a setting tells where data resides: by a few words, or, called as such settings are, by a name or
// an address of its own.
func isRegion(f setting.Field) bool {
	free := f.Transport && !f.Secret || len(f.Choices) > 0
	return slices.Contains(f.Choices, "eu") || free && slices.Contains(regionWords, fold(f.Key))
}

// regionWords are what tools call such a setting.
var regionWords = []string{"region", "residency", "instance", "endpoint", "datacenter", "datacentre", "cluster", "host",
	"server"}

// variable is a reference to a variable that the user has to set, to a value.
func (w *writer) variable(name string, value any) *yaml.Node {
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

// written is a value as YAML: an address with a credential in it is a variable, and a text says nothing else than it did.
func (w *writer) written(v any, variable string) (*yaml.Node, error) {
	n, err := node(v)
	if err != nil {
		return nil, err
	}
	var texts func(n *yaml.Node)
	texts = func(n *yaml.Node) {
		switch {
		case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && len(secret.OfAddress(n.Value)) > 0:
			*n = *w.variable(variable, n.Value)
		case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "${"):
			*n = *literal(n.Value)
		}
		for _, c := range n.Content {
			texts(c)
		}
	}
	texts(n)
	return n, nil
}

func isAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// fieldFor is the setting that another tool calls key: by the same words, as the only one
// that ends with them, as the one that tells the region where the key speaks of one, or as
// the only one that is required, or has choices, whose words the key ends with.
func fieldFor(s setting.Schema, key string) (setting.Field, bool) {
	for _, f := range s.Fields {
		if fold(f.Key) == fold(key) {
			return f, true
		}
	}
	word := fold(key)
	for _, fits := range []func(setting.Field) bool{
		func(f setting.Field) bool { return len(word) >= 3 && strings.HasSuffix(fold(f.Key), word) },
		func(f setting.Field) bool {
			return isRegion(f) && slices.ContainsFunc(regionWords, func(w string) bool { return strings.HasSuffix(word, w) })
		},
		func(f setting.Field) bool { return f.Required && strings.HasSuffix(word, fold(f.Key)) },
		func(f setting.Field) bool { return len(f.Choices) > 0 && strings.HasSuffix(word, fold(f.Key)) },
	} {
		var near []setting.Field
		for _, f := range s.Fields {
			if fits(f) {
				near = append(near, f)
			}
		}
		if len(near) == 1 {
			return near[0], true
		}
	}
	return setting.Field{}, false
}

// valueOf is a value as the setting takes it: one of a few words is found in what the
// other tool shows instead of it.
func (w *writer) valueOf(f setting.Field, value any, variable string) (*yaml.Node, bool) {
	text, isText := value.(string)
	if len(f.Choices) > 0 {
		if !isText {
			text = fmt.Sprint(value)
		}
		for _, c := range f.Choices {
			words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
				return !unicode.IsLetter(r) &&
					!unicode.IsDigit(r)
			})
			if strings.EqualFold(c, text) || slices.Contains(words, strings.ToLower(c)) {
				return scalar(c), true
			}
		}
		return nil, false
	}
	n, err := w.written(value, variable)
	return n, err == nil
}

// regionOf is what a value says of where data resides: a switch says it by its name, and the ordinary place is the
// setting's default ("").
func regionOf(f setting.Field, key string, value any) any {
	switch v := value.(type) {
	case bool:
		var words strings.Builder
		for i, r := range key {
			if i > 0 && unicode.IsUpper(r) {
				words.WriteByte(' ')
			}
			words.WriteRune(unicode.ToLower(r))
		}
		for _, word := range strings.FieldsFunc(words.String(), func(r rune) bool { return !unicode.IsLetter(r) }) {
			if strings.HasPrefix(word, "europe") {
				word = "eu"
			}
			if slices.Contains(f.Choices, word) {
				if v {
					return word
				}
				return ""
			}
		}
	case string:
		if slices.Contains([]string{"standard", "default"}, strings.ToLower(v)) && !slices.Contains(f.Choices, v) {
			return ""
		}
	}
	return value
}

// actions are the subscriptions whose actions the destination has.
func (w *writer) actions(d *Destination, spec destination.Destination, name string) (list *yaml.Node, lost []string) {
	list = &yaml.Node{Kind: yaml.SequenceNode}
	on := 0
	for _, s := range d.Subscriptions {
		i := slices.IndexFunc(spec.Actions, func(a destination.ActionInfo) bool { return a.Slug == s.Action })
		if i < 0 {
			lost = append(lost, fmt.Sprintf("not carried over: %s (%s): there is no action %s here", s.Name, s.Trigger,
				s.Action))
			continue
		}
		if strings.TrimSpace(s.Trigger) == "" {
			lost = append(lost, fmt.Sprintf("not carried over: %s (%s): it has no trigger", s.Name, s.Action))
			continue
		}
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
			n, err := w.written(kept, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"_ADDRESS")
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
		return &yaml.Node{Kind: yaml.SequenceNode}, append(lost, "none of its subscriptions is enabled")
	}
	return list, lost
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
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b.Bytes(), &doc); err != nil {
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
