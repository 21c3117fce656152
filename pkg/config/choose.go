package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/setting"
)

// Choice is what a command line says of destinations.
type Choice struct {
	To       []string // names of the file or slugs, also separated by commas; none: all of the file
	Set      []string // settings: NAME.KEY=VALUE, VALUE being a reference or a literal
	Opt      []string // options: NAME.KEY=VALUE
	Live     []string // destinations whose option trigger_live is on
	Rehearse bool     // without a To and a file, the whole catalogue
}

// Choose returns the destinations that a command asks for, with what stands in
// the environment and on the command line added to what stands in the file. They
// are the file's own: to choose twice is to add twice. The error joins all
// problems; those beside it are for whoever looks for more of them.
func (w *World) Choose(f *File, c Choice) ([]*Destination, error) {
	out, errs := w.named(f, c)
	if len(out) == 0 && len(errs) == 0 {
		return nil, fmt.Errorf("no destination: name one with --to (%s), or configure some in fanfold.yaml "+
			"(`fanfold config init` prints one to start from)", strings.Join(w.Slugs(), ", "))
	}
	for _, d := range out {
		errs = append(errs, w.fetchAll(f, d, c.Rehearse)...)
		if c.Rehearse { // examples take their place
			for _, key := range d.unsetSettings {
				delete(d.Settings, key)
			}
		}
		w.fromEnvironment(d)
	}
	for _, s := range c.Set {
		errs = append(errs, assign("--set", s, out, func(d *Destination, key, value string) error {
			v, err := w.value(value)
			d.Settings[key] = v
			d.given("set", key, "--set "+d.Name+"."+key)
			return err
		}))
	}
	for _, o := range c.Opt {
		errs = append(errs, assign("--opt", o, out, setOption))
	}
	for _, name := range c.Live {
		errs = append(errs, allowLive(name, out))
	}
	return out, errors.Join(errs...)
}

// named returns the destinations by their names.
func (w *World) named(f *File, c Choice) (out []*Destination, errs []error) {
	slugs := w.Slugs()
	plain := func(slug string) *Destination {
		return &Destination{Name: slug, Slug: slug, Settings: map[string]any{}, Written: map[string]*yaml.Node{},
			Lines: map[string]int{}}
	}
	if len(c.To) == 0 {
		out = append(out, f.Destinations...)
		if len(out) == 0 && c.Rehearse {
			for _, s := range slugs {
				out = append(out, plain(s))
			}
		}
		return out, nil
	}
	seen := map[string]bool{}
	for name := range strings.SplitSeq(strings.Join(c.To, ","), ",") {
		if name = strings.TrimSpace(name); name == "" || seen[name] {
			continue
		}
		seen[name] = true
		i := slices.IndexFunc(f.Destinations, func(d *Destination) bool { return d.Name == name })
		switch {
		case i >= 0:
			out = append(out, f.Destinations[i])
		case slices.Contains(slugs, name):
			out = append(out, plain(name))
		default:
			names := slugs
			for _, d := range f.Destinations {
				names = append(names, d.Name)
			}
			errs = append(errs, fmt.Errorf("--to: %s (see `fanfold destinations list`)", setting.Unknown(name, "destination",
				names)))
		}
	}
	return out, errs
}

// assign carries out one NAME.KEY=VALUE of a flag on the destinations that NAME
// names.
func assign(flag, text string, dests []*Destination, put func(d *Destination, key, value string) error) error {
	left, value, ok := strings.Cut(text, "=")
	at := strings.LastIndexByte(left, '.')
	if !ok || at < 0 {
		return fmt.Errorf("%s %s: has to be NAME.KEY=VALUE", flag, left)
	}
	// Names may have dots in them: the longest one counts.
	name := ""
	for _, d := range dests {
		for _, n := range []string{d.Name, d.Slug} {
			if strings.HasPrefix(left, n+".") && len(n) > len(name) {
				name = n
			}
		}
	}
	if name == "" {
		name = left[:at]
	}
	key := left[len(name)+1:]
	var names []string
	var errs []error
	hit := false
	for _, d := range dests {
		names = append(names, d.Name)
		if d.Name != name && d.Slug != name {
			continue
		}
		hit = true
		if err := put(d, key, value); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", flag, left, err))
		}
	}
	if !hit {
		return fmt.Errorf("%s %s: %s", flag, left, setting.Unknown(name, "destination", names))
	}
	return errors.Join(errs...)
}

// allowLive sets the option trigger_live of the destinations that a name names.
func allowLive(name string, dests []*Destination) error {
	var names []string
	hit := false
	for _, d := range dests {
		names = append(names, d.Name)
		if d.Name == name || d.Slug == name {
			hit = true
			d.Written["trigger_live"] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}
			d.given("opt", "trigger_live", "--trigger-live "+name)
		}
	}
	if !hit {
		return errors.New("--trigger-live: " + setting.Unknown(name, "destination", names))
	}
	return nil
}

// setOption sets an option to what --opt says: YAML, or a text that is none.
func setOption(d *Destination, key, value string) error {
	if keys := OptionKeys(); !slices.Contains(keys, key) {
		return errors.New(setting.Unknown(key, "option", keys))
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(value), &n); err != nil || len(n.Content) == 0 {
		n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	} else {
		n = *n.Content[0]
	}
	if n.Kind == yaml.ScalarNode {
		n.Value = value
	}
	d.Written[key] = &n
	d.given("opt", key, "--opt "+d.Name+"."+key)
	return nil
}
