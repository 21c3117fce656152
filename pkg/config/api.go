package config

import (
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/destination"
)

// SpecOf is what is known of a destination: of the catalogue, or described by the user.
func (w *World) SpecOf(d *Destination) destination.Destination {
	if d.Own != nil {
		return *d.Own
	}
	spec, _ := w.Catalogue.Find(d.Slug)
	return spec
}

// EnvName is the environment variable that holds a setting. Destinations that the user
// describes have their own name in it: there may be several.
func (d *Destination) EnvName(key string) string {
	if d.Own != nil {
		return EnvName(d.Name, key)
	}
	return EnvName(d.Slug, key)
}

// describing are the keys by which a destination of type http describes itself, beside
// options that it has like others.
var describing = []string{"api", "name", "summary", "docs", "limits", "idempotency_header", "answers"}

// described are the members of an entry that are its description, and those that are
// options where a description is kept elsewhere.
func described(body *yaml.Node) (n *yaml.Node, elsewhere *yaml.Node, stray []*yaml.Node) {
	n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: body.Line}
	for i := 0; i+1 < len(body.Content); i += 2 {
		switch k := body.Content[i]; {
		case k.Value == "api":
			elsewhere = body.Content[i+1]
		case slices.Contains(describing, k.Value):
			stray = append(stray, k)
			fallthrough
		case k.Value == "base_url", k.Value == "actions":
			n.Content = append(n.Content, k, body.Content[i+1])
		}
	}
	return n, elsewhere, stray
}

// readAPI makes the destination that an entry of type http describes. ok is false when
// something is wrong with the description.
func (w *World) readAPI(f *File, d *Destination, body *yaml.Node, p *problems) (ok bool) {
	n, elsewhere, stray := described(body)
	if elsewhere != nil {
		for _, k := range stray {
			p.add(k.Line, "%s: %s stands in the description that api names: take it out here", d.Name, k.Value)
		}
		if elsewhere.Kind == yaml.ScalarNode {
			path := elsewhere.Value
			if !filepath.IsAbs(path) && f.Path != "" {
				path = filepath.Join(filepath.Dir(f.Path), path)
			}
			if strings.Contains(elsewhere.Value, "://") {
				p.add(elsewhere.Line, "%s: api has to be a file, like ./partner.yaml, and no address: fetch it once, and keep it",
					d.Name)
				return false
			}
			if _, err := w.ReadFile(path); err != nil {
				p.add(elsewhere.Line, "%s: api: %w", d.Name, err)
				return false
			}
			own, errs := w.API(path, d.Name)
			for _, err := range errs { // those of a file that several share are said once
				said := func(before error) bool { return before.Error() == err.Error() }
				if !slices.ContainsFunc(p.errs, said) {
					p.errs = append(p.errs, err)
				}
			}
			d.Own, d.Description = &own, path
			return len(errs) == 0
		}
		n = elsewhere
	} else { // they describe it, and are no options
		delete(d.Written, "base_url")
		delete(d.Written, "actions")
	}
	d.Described = n
	own, wrong := api.Read(n, d.Name)
	for _, one := range wrong {
		p.add(one.Line, "%s: %w", d.Name, one)
	}
	d.Own = &own
	return len(wrong) == 0
}

// API reads the description of an API in a file of its own; name is what it is called where
// it does not say so itself. Each error is a *Problem.
func (w *World) API(path, name string) (d destination.Destination, errs []error) {
	p := &problems{file: path}
	data, err := w.ReadFile(path)
	switch {
	case err != nil:
		p.add(0, "%w", err)
		return d, p.errs
	case len(data) > MaxBytes:
		p.add(0, "it is larger than %d MiB", MaxBytes>>20)
		return d, p.errs
	}
	doc, ok := parseYAML(data, p)
	if doc == nil || !ok || len(doc.Content) == 0 {
		if len(p.errs) == 0 {
			p.add(0, "it is empty: `fanfold help http` says what describes an API")
		}
		return d, p.errs
	}
	checkTwice(doc, p)
	checkTags(doc, p)
	checkMeant(doc, p)
	left := mostNodes
	root, over := follow(doc.Content[0], 0, &left)
	if over != nil {
		p.add(over.Line, "%w", over.Err)
		return d, p.errs
	}
	if refuseVariables(root, p); len(p.errs) > 0 {
		return d, p.errs
	}
	d, wrong := api.Read(root, name)
	for _, one := range wrong {
		p.add(one.Line, "%w", one)
	}
	byLine(p.errs)
	return d, p.errs
}

// refuseVariables finds references to the environment in a description that several share: what differs
// between its users is a setting.
func refuseVariables(n *yaml.Node, p *problems) {
	if n.Kind == yaml.ScalarNode {
		for _, ref := range envRef.FindAllString(n.Value, -1) {
			name := strings.ToLower(ref[2 : len(ref)-1])
			p.add(n.Line, "%s: a description that several share reads no variables: declare a setting (settings: {%s: "+
				"{doc: …}}), write {{settings.%s}} here, and %s as its value in fanfold.yaml", ref, name, name, ref)
		}
	}
	for _, c := range n.Content {
		refuseVariables(c, p)
	}
}

// typeOf is the type that an entry says it is of.
func typeOf(body *yaml.Node) string {
	for i := 0; i+1 < len(body.Content) && body.Kind == yaml.MappingNode; i += 2 {
		if body.Content[i].Value == "type" {
			return body.Content[i+1].Value
		}
	}
	return ""
}

// flattenAuth writes settings: {auth: {basic: {user: …}}} as the settings that it stands for,
// auth.basic.user.
func flattenAuth(body *yaml.Node) {
	for i := 0; i+1 < len(body.Content); i += 2 {
		s := body.Content[i+1]
		if body.Content[i].Value != "settings" || s.Kind != yaml.MappingNode {
			continue
		}
		var flat []*yaml.Node
		for k := 0; k+1 < len(s.Content); k += 2 {
			if s.Content[k].Value == "auth" && s.Content[k+1].Kind == yaml.MappingNode {
				flat = append(flat, flattened(s.Content[k], s.Content[k+1], 0)...)
			} else {
				flat = append(flat, s.Content[k], s.Content[k+1])
			}
		}
		s.Content = flat
	}
}

func flattened(key, n *yaml.Node, depth int) (pairs []*yaml.Node) {
	if n.Kind != yaml.MappingNode || depth > 2 {
		return []*yaml.Node{key, n}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := *n.Content[i]
		k.Value = key.Value + "." + k.Value
		pairs = append(pairs, flattened(&k, n.Content[i+1], depth+1)...)
	}
	return pairs
}
