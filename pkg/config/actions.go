package config

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/setting"
)

// readActions reads the subscriptions that replace the presets: our own form, in
// which Segment's mapping JSON can stand as it is.
func (o *Opened) readActions(_ string, n *yaml.Node, p *problems) {
	if n.Kind != yaml.SequenceNode {
		p.add(n.Line, "%s: actions have to be a list, not %s", o.Name, nodeKind(n))
		return
	}
	if len(n.Content) == 0 {
		p.add(n.Line, "%s: actions is an empty list, which would send nothing: take it out to have the presets", o.Name)
		return
	}
	for _, item := range n.Content {
		s := o.readAction(item, p)
		if s.Action == "" {
			p.add(item.Line, "%s: an entry of actions does not say which action", o.Name)
			continue
		}
		o.Config.Actions = append(o.Config.Actions, s)
	}
}

func (o *Opened) readAction(item *yaml.Node, p *problems) (s destination.Subscription) {
	keys := []string{"action", "subscribe", "mapping"}
	eachPair(item, p, "an action", func(k, v *yaml.Node) {
		switch k.Value {
		case "action":
			s.Action = v.Value
		case "subscribe":
			s.Subscribe = v.Value
		case "mapping":
			doc, err := nodeJSON(v)
			if err == nil {
				s.Mapping, err = mapping.Parse(doc)
			}
			if err != nil {
				p.add(v.Line, "%s: action %s: %w", o.Name, s.Action, err)
			}
		default:
			p.add(k.Line, "%s: %s", o.Name, setting.Unknown(k.Value, "key of an action", keys))
		}
	})
	return s
}

// nodeJSON writes a YAML value as JSON, keeping the order of keys and the digits of
// numbers. A text that holds a JSON object is that object.
func nodeJSON(n *yaml.Node) ([]byte, error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return containerJSON(n.Content, 2, "{}")
	case yaml.SequenceNode:
		return containerJSON(n.Content, 1, "[]")
	}
	switch n.Tag {
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return []byte(n.Value), nil
		}
	case "!!bool", "!!null":
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	block := n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if t := strings.TrimSpace(n.Value); block && strings.HasPrefix(t, "{") && json.Valid([]byte(t)) {
		return []byte(t), nil
	}
	return quoted(n.Value)
}

// containerJSON writes the members of a table (step 2: keys and values in turn) or
// the elements of a list.
func containerJSON(content []*yaml.Node, step int, brackets string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(brackets[0])
	for i := 0; i+step <= len(content); i += step {
		if i > 0 {
			b.WriteByte(',')
		}
		if step == 2 {
			key, err := quoted(content[i].Value)
			if err != nil {
				return nil, err
			}
			b.Write(key)
			b.WriteByte(':')
		}
		value, err := nodeJSON(content[i+step-1])
		if err != nil {
			return nil, err
		}
		b.Write(value)
	}
	b.WriteByte(brackets[1])
	return b.Bytes(), nil
}

func quoted(s string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return bytes.TrimSpace(b.Bytes()), err
}
