package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/setting"
)

// template is a text with values in it.
type template []piece

// piece is a text, or the name of a value.
type piece struct{ text, name string }

// nameForm is what stands in {{…}}: a field or a setting, and what is in it.
var nameForm = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$-]*(\.[A-Za-z0-9_$-]+)*$`)

// parse reads a template. A text without {{ is one without values.
func parse(text string) (t template, err error) {
	for text != "" {
		before, rest, ok := strings.Cut(text, "{{")
		if strings.Contains(before, "}}") {
			return nil, errors.New("}} stands without {{")
		}
		if before != "" {
			t = append(t, piece{text: before})
		}
		if !ok {
			return t, nil
		}
		name, behind, ok := strings.Cut(rest, "}}")
		if !ok {
			return nil, errors.New("{{ stands without }}")
		}
		if name = strings.TrimSpace(name); !nameForm.MatchString(name) {
			return nil, fmt.Errorf("{{%s}} has to be the name of a field, like {{userId}}, or of a setting, like "+
				"{{settings.region}}; what a value is made of is the mapping's affair", cut(name))
		}
		t = append(t, piece{name: name})
		text = behind
	}
	return t, nil
}

// cut is a text for an error.
func cut(s string) string {
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// names are those of the values.
func (t template) names() (list []string) {
	for _, p := range t {
		if p.name != "" {
			list = append(list, p.name)
		}
	}
	return list
}

// filled puts settings into the text.
func (t template) filled(value func(key string) string) string {
	var b strings.Builder
	for _, p := range t {
		if p.text != "" {
			b.WriteString(p.text)
			continue
		}
		b.WriteString(value(strings.TrimPrefix(p.name, "settings.")))
	}
	return b.String()
}

// format is the template as [body.Format] has it; brace is what stands for a brace of the
// text itself, "" where there may be none.
func (t template) format(open, end string) (string, error) {
	var b strings.Builder
	for _, p := range t {
		switch {
		case p.name != "":
			b.WriteString("{" + p.name + "}")
		case open == "" && strings.ContainsAny(p.text, "{}"):
			return "", errors.New("{ and } cannot stand in a text beside {{…}}")
		default:
			b.WriteString(strings.NewReplacer("{", open, "}", end).Replace(p.text))
		}
	}
	return b.String(), nil
}

// The values beside fields and settings.
const (
	insertID = "insert_id" // the key against repeats
	items    = "items"     // in an envelope: where the events of a batch go
)

// scope is what names stand for in an action.
type scope struct {
	r      *reader
	fields []string
	used   []string // fields that stand in the path or in a header
	always bool     // tables and lists are there also when nothing is in them

	batch body.Node // what {{items}} is; nil: there is none
	put   int       // times that it stands there
}

// check says what is wrong with the names of a template. open says that it stands where
// secrets would be seen.
func (s *scope) check(t template, open bool) error {
	for _, name := range t.names() {
		root, _, _ := strings.Cut(name, ".")
		if key, is := strings.CutPrefix(name, "settings."); is {
			f, ok := s.r.schema.Field(key)
			switch {
			case !ok:
				return errors.New(setting.Unknown(key, "setting", s.r.schema.Keys()))
			case f.Secret && open:
				return fmt.Errorf("the setting %s is a secret, which auth puts into requests: there nothing shows it", key)
			}
			continue
		}
		if name == insertID || name == items {
			if len(t) > 1 {
				return fmt.Errorf("{{%s}} has to stand alone", name)
			}
			continue
		}
		if !slices.Contains(s.fields, root) {
			if len(s.fields) == 0 {
				return fmt.Errorf("{{%s}}: the action has no mapping, and so no fields", name)
			}
			return fmt.Errorf("{{%s}}: %s", name, setting.Unknown(root, "field", s.fields))
		}
	}
	return nil
}

// use notes the fields that a template takes.
func (s *scope) use(t template) {
	for _, name := range t.names() {
		if root, _, _ := strings.Cut(name, "."); slices.Contains(s.fields, root) {
			s.used = append(s.used, root)
		}
	}
}

// value is what a template stands for.
func (s *scope) value(t template) (v body.Value, err error) {
	if len(t) == 0 {
		return body.Const(""), nil
	}
	switch name := t[0].name; {
	case len(t) > 1:
		text, err := t.format("", "")
		if err != nil {
			return v, err
		}
		return body.Format(text), nil
	case name == insertID:
		return body.InsertID(), nil
	case strings.HasPrefix(name, "settings."):
		return body.Setting(strings.TrimPrefix(name, "settings.")), nil
	case name != "":
		return body.From(name), nil
	}
	return body.Const(t[0].text), nil
}

// deepest bounds how deep a body may be.
const deepest = 100

// node is a body as it is written down: tables and lists as they are, texts as templates.
func (s *scope) node(n *yaml.Node, what string, depth int) body.Node {
	if depth > deepest {
		s.r.add(n, "%s is more than %d levels deep", what, deepest)
		return body.Empty()
	}
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) == 0 {
			return body.Always(body.Empty())
		}
		var members []body.Members
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if strings.Contains(k.Value, "{{") || seen[k.Value] {
				s.r.add(k, "%s: the key %s stands twice, or has {{…}} in it", what, cut(k.Value))
				continue
			}
			seen[k.Value] = true
			members = append(members, body.Member(k.Value, s.node(n.Content[i+1], what, depth+1)))
		}
		return s.whole(body.Object(members...))
	case yaml.SequenceNode:
		var elements []body.Node
		for _, e := range n.Content {
			elements = append(elements, s.node(e, what, depth+1))
		}
		if len(elements) == 0 {
			return body.Always(body.List())
		}
		return s.whole(body.List(elements...))
	}
	return s.scalar(n, what)
}

// whole is a table or a list as the scope wants it.
func (s *scope) whole(n body.Node) body.Node {
	if s.always {
		return body.Always(n)
	}
	return n
}

func (s *scope) scalar(n *yaml.Node, what string) body.Node {
	if n.Tag == "!!str" && strings.Contains(n.Value, "{{") {
		t, err := parse(n.Value)
		if err == nil {
			err = s.check(t, false)
		}
		if err == nil && t[0].name == items {
			if s.put++; s.batch != nil {
				return s.batch
			}
			err = errors.New("{{items}} stands for the events of a batch, in its envelope")
		}
		var v body.Value
		if err == nil {
			v, err = s.value(t)
		}
		if err != nil {
			s.r.add(n, "%s: %v", what, err)
			return body.Empty()
		}
		return v
	}
	text, err := document.JSON(n)
	var v any
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		err = d.Decode(&v)
	}
	if err != nil {
		s.r.add(n, "%s: %v", what, err)
		return body.Empty()
	}
	return body.Const(v)
}
