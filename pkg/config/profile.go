package config

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/setting"
)

// applyProfile takes `profiles:` out of a configuration and merges the one that is asked
// for over the rest.
func (f *File) applyProfile(root *yaml.Node, name string, p *problems) {
	var profiles *yaml.Node
	for i := 0; i+1 < len(root.Content) && root.Kind == yaml.MappingNode; i += 2 {
		if root.Content[i].Value == "profiles" {
			profiles = root.Content[i+1]
			root.Content = slices.Delete(root.Content, i, i+2)
			break
		}
	}
	var chosen *yaml.Node
	if profiles != nil {
		eachPair(profiles, p, "profiles", func(key, value *yaml.Node) {
			f.Profiles = append(f.Profiles, key.Value)
			if value.Tag == "!!null" { // it changes nothing
				value = &yaml.Node{Kind: yaml.MappingNode, Line: value.Line}
			}
			if value.Kind != yaml.MappingNode {
				p.add(value.Line, "profile %s has to be a table like the whole configuration, not %s", key.Value, nodeKind(value))
			} else if key.Value == name {
				chosen = value
			}
		})
	}
	switch {
	case name == "":
	case chosen != nil:
		before := destinationNames(root)
		mergeOver(root, chosen)
		after := destinationNames(root)
		f.takenOut = slices.DeleteFunc(before, func(name string) bool { return slices.Contains(after, name) })
	case len(f.Profiles) == 0:
		p.add(0, "there is no profile %q: it has no profiles", name)
		f.Unusable = true
	default:
		p.add(profiles.Line, "%s", setting.Unknown(name, "profile", f.Profiles))
		f.Unusable = true
	}
}

// destinationNames are the destinations of a configuration.
func destinationNames(root *yaml.Node) (names []string) {
	table := func(n *yaml.Node, see func(key, value *yaml.Node)) {
		for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			see(n.Content[i], n.Content[i+1])
		}
	}
	table(root, func(key, value *yaml.Node) {
		if key.Value == "destinations" {
			table(value, func(name, _ *yaml.Node) { names = append(names, name.Value) })
		}
	})
	return names
}

// mergeOver merges a table over another: tables in it are merged, other values replaced,
// and null removes a key.
func mergeOver(n, over *yaml.Node) {
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		at := -1
		for k := 0; k+1 < len(n.Content); k += 2 {
			if n.Content[k].Value == key.Value {
				at = k
			}
		}
		switch {
		case value.Tag == "!!null":
			if at >= 0 {
				n.Content = slices.Delete(n.Content, at, at+2)
			}
		case at < 0:
			n.Content = append(n.Content, key, value)
		case value.Kind == yaml.MappingNode && n.Content[at+1].Kind == yaml.MappingNode:
			mergeOver(n.Content[at+1], value)
		default:
			n.Content[at], n.Content[at+1] = key, value
		}
	}
}
