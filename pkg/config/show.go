package config

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Show is what a file, the environment and the defaults come to, as YAML: destinations, steps, and the options of
// fanfold as a whole, of which globals has those that are set. Settings that are secret are masked.
func (w *World) Show(f *File, globals map[string]string) (string, error) {
	dests := map[string]any{}
	for _, d := range f.Destinations {
		body := map[string]any{"type": d.Slug, "settings": w.effective(d)}
		for k, n := range d.Written {
			body[k] = n
		}
		if retry := w.retry(d); retry != nil {
			body["retry"] = retry
		}
		if d.Described != nil {
			body["api"] = d.Described
		} else if d.Description != "" {
			body["api"] = d.Description
		}
		dests[d.Name] = body
	}
	out := map[string]any{"destinations": dests}
	if f.Steps != nil {
		out["transform"] = f.Steps
	}
	for _, g := range GlobalOptions() {
		if g.Default != "" {
			out[g.Name] = g.Default
		}
	}
	for name, value := range globals {
		if value != "" {
			out[name] = value
		}
	}
	data, err := yaml.Marshal(out)
	head := "# no configuration file\n"
	if f.Path != "" {
		head = "# " + f.Path + "\n"
	}
	return head + string(data), err
}

// retry is how often and for how long deliveries to a destination are tried; nil: that is no option of theirs, or
// what was written is wrong. What nobody has written is a comment: written down it would mean more, since input that
// is followed waits for a partner unless the user says for how long.
func (w *World) retry(d *Destination) *yaml.Node {
	o, p := &Opened{Destination: d, Spec: w.SpecOf(d)}, &problems{}
	if slices.Contains(o.Spec.Unused, "retry") {
		return nil
	}
	if n := d.Written["retry"]; n != nil {
		o.readRetry("retry", n, p)
	}
	if len(p.errs) > 0 {
		return nil
	}
	written, all := o.Options.VerdictOptions, o.Options.VerdictOptions.WithDefaults(o.Spec.Limits.Retries)
	shown, unwritten := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}, []string(nil)
	add := func(key, value string, is bool) {
		if is {
			shown.Content = append(shown.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key},
				&yaml.Node{Kind: yaml.ScalarNode, Value: value})
		} else {
			unwritten = append(unwritten, key+": "+value)
		}
	}
	add("attempts", strconv.Itoa(all.Attempts), written.Attempts > 0)
	add("max_time", all.MaxTime.String(), written.MaxTime > 0)
	if len(unwritten) > 0 {
		shown.LineComment = "and by default " + strings.Join(unwritten, ", ")
	}
	return shown
}

// effective are the settings of a destination, from the file, the environment and the
// defaults; secrets are masked.
func (w *World) effective(d *Destination) map[string]any {
	spec := w.SpecOf(d)
	settings := map[string]any{}
	for _, f := range spec.Settings.Fields {
		v, ok := d.Settings[f.Key]
		if env, has := w.Env(d.EnvName(f.Key)); !ok && has {
			v, ok = env, true
		}
		switch {
		case ok && f.Secret:
			settings[f.Key] = "***"
		case ok:
			settings[f.Key] = v
		case f.Default != "":
			settings[f.Key] = f.Default
		}
	}
	return settings
}
