package api

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/document"
)

// partsOf is what of a description says which events are sent, and as what: the whole, and its parts by their names,
// such as base_url, actions.send.path and actions.send.mapping.user, each as JSON. Values of the
// environment may stand in
// them. What describes the API to people, how fast it is asked and what its answers mean is left out: who mends a
// sentence goes on where they
// were. The name stays, since events opt out by it.
func partsOf(n *yaml.Node) (whole string, parts map[string]string) {
	sent := without(n, "summary", "docs", "answers")
	parts = map[string]string{}
	for i := 0; i+1 < len(sent.Content) && sent.Kind == yaml.MappingNode; i += 2 {
		n := sent.Content[i+1]
		switch key := sent.Content[i].Value; key {
		case "limits":
			n = without(n, "rate", "concurrency", "gzip")
		case "settings":
			n = eachWithout(n, "doc")
		case "actions":
			n = eachWithout(n, "name", "doc")
		}
		sent.Content[i+1] = n
	}
	for i := 0; i+1 < len(sent.Content) && sent.Kind == yaml.MappingNode; i += 2 {
		key, n := sent.Content[i].Value, sent.Content[i+1]
		if key == "limits" && len(n.Content) == 0 {
			sent.Content = slices.Delete(sent.Content, i, i+2)
			i -= 2
			continue
		}
		if key != "actions" || n.Kind != yaml.SequenceNode {
			parts[key] = printOf(n)
			continue
		}
		order := ""
		for i, action := range n.Content {
			name := fmt.Sprintf("actions.%d", i+1)
			if m := memberOf(action, "action"); m != nil {
				name = "actions." + m.Value
			}
			order += name + "\x00"
			for k := 0; k+1 < len(action.Content) && action.Kind == yaml.MappingNode; k += 2 {
				part, value := name+"."+action.Content[k].Value, action.Content[k+1]
				if parts[part] = printOf(value); action.Content[k].Value != "mapping" || value.Kind != yaml.MappingNode {
					continue
				}
				delete(parts, part)
				for f := 0; f+1 < len(value.Content); f += 2 {
					parts[part+"."+value.Content[f].Value] = printOf(value.Content[f+1])
				}
			}
		}
		parts[key] = order
	}
	return printOf(sent), parts
}

// without is a copy of a table that lacks some keys.
func without(n *yaml.Node, keys ...string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	out := *n
	out.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !slices.Contains(keys, n.Content[i].Value) {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &out
}

// eachWithout is a copy of a list, or a table, of tables that lack some keys.
func eachWithout(n *yaml.Node, keys ...string) *yaml.Node {
	out := *n
	out.Content = slices.Clone(n.Content)
	for i, c := range out.Content {
		if n.Kind == yaml.SequenceNode || i%2 == 1 {
			out.Content[i] = without(c, keys...)
		}
	}
	return &out
}

// memberOf is a member of a table; nil: it has none of that name.
func memberOf(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func printOf(n *yaml.Node) string {
	doc, err := document.JSON(n)
	if err != nil {
		return "" // it was said what is wrong
	}
	return string(doc)
}
