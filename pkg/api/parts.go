package api

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/document"
)

// partsOf are the parts of a description by their names, such as base_url, actions.send.path and
// actions.send.mapping.user, each as JSON. Values of the environment may stand in them.
func partsOf(members map[string]*yaml.Node) map[string]string {
	parts := map[string]string{}
	for key, n := range members {
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
	return parts
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
