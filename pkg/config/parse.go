package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/setting"
	"github.com/fanfold/fanfold/pkg/transform"
)

// MaxBytes bounds a configuration file.
const MaxBytes = 16 << 20

// Parse reads a configuration. The error joins a *Problem for each thing that is
// wrong; the File beside it is what could be read, and not nil.
func (w *World) Parse(path string, data []byte) (*File, error) {
	f := &File{Path: path, Globals: map[string]Global{}}
	p := &problems{file: path}
	if len(data) > MaxBytes {
		p.add(0, "it is larger than %d MiB", MaxBytes>>20)
		f.Unusable = true
		return f, p.err()
	}
	doc, ok := parseYAML(data, p)
	if doc == nil || !ok {
		f.Unusable = true
		return f, p.err()
	}
	if len(doc.Content) == 0 {
		return f, nil
	}
	checkTwice(doc, p)
	checkTags(doc, p)
	checkMeant(doc, p)
	left := mostNodes
	root, over := follow(doc.Content[0], 0, &left)
	if over != nil {
		p.add(over.Line, "%w", over.Err)
		f.Unusable = true
		return f, p.err()
	}
	f.Unusable = len(p.errs) > 0 // no YAML, though what was meant could be read
	f.applyProfile(root, w.Profile, p)
	keys := append([]string{"transform", "destinations", "profiles", "tests", "cassettes", "suppress"}, globalNames()...)
	eachPair(root, p, "the configuration", func(key, value *yaml.Node) {
		before := len(p.errs)
		if key.Value != "destinations" && !strings.HasPrefix(key.Value, asideKey) {
			w.expand(value, p)
		}
		switch {
		case len(p.errs) > before && slices.Contains(globalNames(), key.Value): // it was said what it lacks
			f.Unusable = true
		case key.Value == "transform":
			f.readTransform(value, p)
		case key.Value == "cassettes":
			f.readCassettes(value, p)
		case key.Value == "suppress":
			f.Suppress, f.SuppressLine = f.texts("suppress", value, p), key.Line
			for i, path := range f.Suppress {
				if !filepath.IsAbs(path) && f.Path != "" {
					f.Suppress[i] = filepath.Join(filepath.Dir(f.Path), path)
				}
			}
		case key.Value == "tests":
			f.readTests(value, p)
		case key.Value == "destinations":
			eachPair(value, p, "destinations", func(name, body *yaml.Node) { w.readDestination(f, name, body, p) })
		case strings.HasPrefix(key.Value, asideKey):
		case !slices.Contains(keys, key.Value):
			hint := ""
			if hasAnchor(value) {
				hint = "; what is only referred to stands under a key that begins with " + asideKey
			}
			p.add(key.Line, "%s%s", w.unknown(key.Value, "", "key", keys), hint)
		default:
			f.readGlobal(key, value, p)
		}
	})
	f.checkTests(p)
	f.Notes = p.notes
	return f, p.err()
}

// asideKey begins the keys at the top of a file under which stands what is only referred to elsewhere (&name, *name).
const asideKey = "x-"

// hasAnchor says whether something in a value can be referred to.
func hasAnchor(n *yaml.Node) bool { return n.Anchor != "" || slices.ContainsFunc(n.Content, hasAnchor) }

// readGlobal reads an option of fanfold as a whole. One that is wrong is wrong for
// every command.
func (f *File) readGlobal(key, value *yaml.Node, p *problems) {
	g, _ := globalOption(key.Value)
	switch err := g.Check(value.Value); {
	case value.Kind != yaml.ScalarNode:
		p.add(key.Line, "%s has to be a single value, not %s", g.Name, nodeKind(value))
		f.Unusable = true
	case err != nil:
		p.add(key.Line, "%s %w", g.Name, err)
		f.Unusable = true
	default:
		f.Globals[g.Name] = Global{value.Value, key.Line}
	}
}

func (f *File) readTransform(value *yaml.Node, p *problems) {
	steps, wrong := transform.Parse(value)
	pipeline, err := transform.Compile(steps)
	f.Transform, f.Steps, f.Pipeline = steps, value, pipeline
	for _, e := range transform.Errors(wrong, err) {
		line := e.Line
		e.Line = 0
		p.add(line, "%w", e)
	}
}

// texts reads a list of texts. One needs no list.
func (f *File) texts(key string, n *yaml.Node, p *problems) []string {
	var texts []string
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		texts = []string{n.Value}
	} else if err := n.Decode(&texts); err != nil || len(texts) == 0 {
		p.add(n.Line, "%s has to be a text, or a list of texts", key)
	}
	for _, s := range texts {
		if strings.TrimSpace(s) == "" {
			p.add(n.Line, "%s has an empty text in it", key)
		}
	}
	return texts
}

// readCassettes reads the rules of redaction. One rule needs no list.
func (f *File) readCassettes(value *yaml.Node, p *problems) {
	own := &problems{file: f.Path}
	eachPair(value, own, "cassettes", func(key, list *yaml.Node) {
		var texts []string
		if list.Kind == yaml.ScalarNode {
			texts = []string{list.Value}
		} else if err := list.Decode(&texts); err != nil {
			own.add(list.Line, "cassettes.%s has to be a list of texts", key.Value)
		}
		switch key.Value {
		case "redact":
			f.Redact = texts
		case "allow":
			f.Allow = texts
		default:
			own.add(key.Line, "%s", setting.Unknown(key.Value, "key of cassettes", []string{"redact", "allow"}))
		}
	})
	f.CassettesError = own.err()
	p.errs = append(p.errs, own.errs...)
}

// nameForm is what names of destinations look like: they stand in lists of --to, in
// names of files and on terminals.
var nameForm = regexp.MustCompile(`^[^\pC\pZ,=/\\.][^\pC\pZ,=/\\]*$`)

// readDestination reads one entry of `destinations:`.
func (w *World) readDestination(f *File, name, body *yaml.Node, p *problems) {
	if !nameForm.MatchString(name.Value) || name.Value == "_source" {
		p.add(name.Line, "%q cannot name a destination: names stand in --to lists and in names of files, "+
			"without blanks, commas, = and slashes", name.Value)
		return
	}
	d := &Destination{
		Name: name.Value, Line: name.Line,
		Settings: map[string]any{}, Written: map[string]*yaml.Node{}, Lines: map[string]int{},
	}
	own := typeOf(body) == api.Type
	keys := append([]string{"type", "settings"}, OptionKeys()...)
	if own {
		flattenAuth(body)
		keys = append(keys, describing...)
	}
	w.expandDestination(d, body, p.file)
	var settings *yaml.Node
	eachPair(body, p, "destination "+d.Name, func(key, value *yaml.Node) {
		switch key.Value {
		case "type":
			d.Slug = value.Value
		case "settings":
			settings = value
		default:
			if !slices.Contains(keys, key.Value) {
				p.add(key.Line, "%s: %s", d.Name, w.unknown(key.Value, typeOf(body), "option", keys))
				return
			}
			if slices.Contains(describing, key.Value) {
				return
			}
			d.Written[key.Value], d.Lines[key.Value] = value, key.Line
		}
	})
	slugs := append(w.Slugs(), api.Type)
	if d.Slug == "" && slices.Contains(slugs, d.Name) {
		d.Slug = d.Name // there is no need to say it twice
	}
	switch {
	case d.Slug == "" && body.Kind != yaml.MappingNode: // said already
	case d.Slug == "":
		p.add(d.Line, "destination %s has no type: which destination of the catalogue is it? "+
			"`fanfold destinations list` shows them", d.Name)
	case !slices.Contains(slugs, d.Slug):
		p.add(d.Line, "destination %s: %s", d.Name, setting.Unknown(d.Slug, "type", slugs))
	case own && !w.readAPI(f, d, body, p): // said already
		return
	default:
		f.Destinations = append(f.Destinations, d)
	}
	if settings != nil {
		w.readSettings(d, settings, p)
	}
}

// unknown says that there is no such key among those of what, and where it belongs, if it is one of another place: of
// a destination of this type, if it is in one.
func (w *World) unknown(key, slug, what string, keys []string) string {
	actions := slices.Collect(maps.Keys(actionKeys))
	if slug == api.Type {
		actions = api.ActionKeys()
	}
	spec, _ := w.Catalogue.Find(slug)
	_, isSetting := spec.Settings.Field(key)
	place := ""
	switch {
	case isSetting:
		place = "it is a setting, and stands below settings"
	case slug != "" && slices.Contains(globalNames(), key):
		place = "it is an option of fanfold as a whole, and stands at the top of the file"
	case what != "option" && slices.Contains(OptionKeys(), key):
		place = "it is an option of a destination, and stands beside its type"
	case slug != "" && what == "option" && slices.Contains(actions, key):
		place = "it is of an action, and stands in an entry of actions"
	default:
		return setting.Unknown(key, what, keys)
	}
	return fmt.Sprintf("there is no %s %q here: %s", what, key, place)
}

// readSettings reads the settings, when the destination is known whose they are.
func (w *World) readSettings(d *Destination, settings *yaml.Node, p *problems) {
	spec := w.SpecOf(d)
	eachPair(settings, p, "settings of "+d.Name, func(k, v *yaml.Node) {
		field, _ := spec.Settings.Field(k.Value)
		x, err := settingValue(v, field.Type)
		if err != nil {
			p.add(v.Line, "%s: %s: %w", d.Name, k.Value, err)
		}
		d.Settings[k.Value], d.Lines[k.Value] = x, k.Line
	})
}

// expandDestination replaces the variables in what belongs to a destination. What
// one destination lacks does not matter to a run to others, so it is kept with the
// destination.
func (w *World) expandDestination(d *Destination, body *yaml.Node, file string) {
	eachPair(body, &problems{}, d.Name, func(key, value *yaml.Node) {
		switch {
		case key.Value == "settings" && value.Kind == yaml.MappingNode:
			for i := 0; i+1 < len(value.Content); i += 2 {
				if w.refersToNothing(value.Content[i+1]) {
					d.unsetSettings = append(d.unsetSettings, value.Content[i].Value)
				}
			}
		case value.Kind == yaml.ScalarNode && w.refersToNothing(value):
			d.unsetOptions = append(d.unsetOptions, key.Value)
		}
	})
	own := &problems{file: file}
	w.expand(body, own)
	d.unset, d.Notes = own.errs, own.notes
}

var envRef = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// nearlyRef is what a shell would take for a variable.
var nearlyRef = regexp.MustCompile(`^\$[A-Z_][A-Z0-9_]*$`)

// shellRef is a variable with what else shells know of them: a default, a message.
var shellRef = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*):?[-+?=][^}]*\}`)

// halfRef is a variable with a blank in it, or without its end. Anything else behind ${ is a text,
// such as the amount of
// ${{properties.total}} in a template.
var halfRef = regexp.MustCompile(`\$\{\s+[A-Za-z_]\w*\s*\}|\$\{[A-Za-z_]\w*\s+\}|\$\{\s*[A-Za-z_]\w*\s*$`)

// otherRef is what templates and shells take for a value that is kept elsewhere.
var otherRef = regexp.MustCompile(`^(?:\{\{\s*[A-Z_][A-Z0-9_]*\s*\}\}|\$\([^)]*\)|%[A-Z_][A-Z0-9_]*%)$`)

// noVariable stands for a ${ that begins no variable.
const noVariable = "$${"

// expand replaces ${NAME} in every value by the environment's, and $${ by ${; such values are
// secrets when they are long enough to be told from ordinary text. One that is not
// set stays as it is, so that it is not called missing for a second time.
func (w *World) expand(n *yaml.Node, p *problems) {
	if n.Kind == yaml.ScalarNode && nearlyRef.MatchString(n.Value) {
		// The value is not shown: it may be a secret after all.
		p.note(n.Line, "the value looks like an environment variable, but is a text: ${NAME} is one")
	}
	if n.Kind == yaml.ScalarNode && otherRef.MatchString(n.Value) {
		p.note(n.Line, "the value looks like one that another program fills in, but is a text here: ${NAME} is a variable, "+
			"and exec:COMMAND in a setting what a command prints")
	}
	m := shellRef.FindStringSubmatch(strings.ReplaceAll(n.Value, noVariable, ""))
	if n.Kind == yaml.ScalarNode && m != nil {
		p.add(n.Line, "only ${%s} is known of what shells can do with a variable: no default stands in it; in a text that "+
			"is none, write $${", m[1])
	} else if n.Kind == yaml.ScalarNode && halfRef.MatchString(strings.ReplaceAll(n.Value, noVariable, "")) {
		p.add(n.Line, "${ begins a variable, like ${NAME}, and this is none: no blanks stand in it, "+
			"and } ends it; in a text "+
			"that is none, write $${")
	}
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "${") {
		parts := strings.Split(n.Value, noVariable)
		for i, part := range parts {
			parts[i] = envRef.ReplaceAllStringFunc(part, func(ref string) string {
				name := ref[2 : len(ref)-1]
				v, ok := w.Env(name)
				if !ok {
					p.add(n.Line, "the environment variable %s is not set", name)
					return ref
				}
				w.hide(v)
				return v
			})
		}
		n.Value = strings.Join(parts, "${")
		if n.Style == 0 && n.Tag == "!!str" {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		w.expand(c, p)
	}
}

// refersToNothing says that a value names an environment variable that is not
// set.
func (w *World) refersToNothing(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		for _, ref := range envRef.FindAllString(strings.ReplaceAll(n.Value, noVariable, ""), -1) {
			if _, ok := w.Env(ref[2 : len(ref)-1]); !ok {
				return true
			}
		}
	}
	return slices.ContainsFunc(n.Content, w.refersToNothing)
}

// eachPair calls f with each key of a table and its value.
func eachPair(n *yaml.Node, p *problems, what string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.add(n.Line, "%s has to be a table of keys and values, not %s%s", what, nodeKind(n), noTable(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !seen[k.Value] { // that it stands twice is said of the whole file
			seen[k.Value] = true
			f(k, v)
		}
	}
}

// noTable says how something that was meant as a table mostly came to be none; "": that cannot be told.
func noTable(n *yaml.Node) string {
	switch {
	case n.Tag == "!!null":
		return ": what belongs to it stands below it, indented deeper than it"
	case n.Kind == yaml.ScalarNode && noBlank.MatchString(n.Value):
		return ": a blank belongs behind the colon"
	}
	return ""
}

func nodeKind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a table"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return "the value " + strconv.Quote(n.Value)
}
