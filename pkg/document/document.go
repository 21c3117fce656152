// Package document reads values of YAML as what they mean elsewhere, and writes JSON.
package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// JSON writes a YAML value as JSON, keeping the order of keys, and the digits of numbers that JSON
// spells as YAML does; other spellings (0x1F, .5, 1_000) are the same numbers, but digits that begin with a
// zero (01234), or with a plus where they are more than six (+4915112345678), are a text. A text of several lines
// that holds a JSON object is that object. References are not followed: whoever has read the file has put
// what they stand for in their place. The error says what has no form in JSON.
func JSON(n *yaml.Node) ([]byte, error) {
	switch n.Kind {
	case yaml.MappingNode:
		return containerJSON(n.Content, 2, "{}")
	case yaml.SequenceNode:
		return containerJSON(n.Content, 1, "[]")
	}
	if n.Kind == yaml.AliasNode {
		return nil, fmt.Errorf("the reference *%s is not followed here: write what it stands for", n.Value)
	}
	switch n.Tag {
	case "!!int", "!!float":
		return number(n)
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
	return Encode(n.Value)
}

// number writes a number as JSON spells it.
func number(n *yaml.Node) ([]byte, error) {
	if json.Valid([]byte(n.Value)) {
		return []byte(n.Value), nil
	}
	if zeros(n.Value) || isPhone(n.Value) {
		return Encode(n.Value)
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s is no number to JSON: put it in quotes if it is a text", n.Value)
	}
	return text, nil
}

// zeros says that digits begin with a zero, whatever sign they have: a postal code or an account, which YAML
// would read as an octal number.
func zeros(s string) bool {
	s = strings.ReplaceAll(strings.TrimLeft(s, "+-"), "_", "")
	return len(s) > 1 && s[0] == '0' && strings.Trim(s, "0123456789") == ""
}

// isPhone says that digits are a telephone number with its country, rather than a number with a sign.
func isPhone(s string) bool {
	return len(s) > 7 && s[0] == '+' && strings.Trim(s[1:], "0123456789") == ""
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
			key, err := Encode(content[i].Value)
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

// Encode writes a value as JSON on one line, with <, > and & as they are.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
