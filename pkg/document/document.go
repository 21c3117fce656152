// Package document reads values of YAML as what they mean elsewhere.
package document

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"
)

// JSON writes a YAML value as JSON, keeping the order of keys and the digits of
// numbers. A text that holds a JSON object is that object.
func JSON(n *yaml.Node) ([]byte, error) {
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
		value, err := JSON(content[i+step-1])
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
