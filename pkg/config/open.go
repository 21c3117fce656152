package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/fanfold/fanfold/pkg/secret"
	"github.com/fanfold/fanfold/pkg/setting"
)

// OpenOptions say how destinations are opened.
type OpenOptions struct {
	// Rehearse fills what is missing with the settings' examples.
	Rehearse bool
	// Edit, if not nil, may change what a destination is opened with.
	Edit func(*Opened)
}

// Open validates destinations and makes them ready. The error joins a *Problem for
// each thing that is wrong; the destinations beside it are those that could be
// opened.
func (w *World) Open(f *File, dests []*Destination, how OpenOptions) ([]*Opened, error) {
	file := f.Path
	if file == "" {
		file = "command line"
	}
	p := &problems{file: file}
	var out []*Opened
	places := map[string]*Destination{}
	for _, d := range dests {
		if o := w.open(d, how, p); o != nil {
			out = append(out, o)
			place := o.Sender.Plan().Place
			if other := places[place]; place != "" && other != nil && !how.Rehearse {
				p.add(d.Line, "%s: it writes to %s as %s does, and each would replace what the other has written: give one of "+
					"them another prefix", d.Name, place, other.Name)
			}
			places[place] = d
		}
		d.Notes, p.notes = append(d.Notes, p.notes...), nil
	}
	return out, p.err()
}

// Warnings are what the file and those of its destinations that take part are
// warned of. Open may add some.
func (f *File) Warnings(dests []*Destination) []string {
	notes := slices.Clone(f.Notes)
	for _, d := range dests {
		notes = append(notes, d.Notes...)
	}
	return notes
}

func (w *World) open(d *Destination, how OpenOptions, p *problems) *Opened {
	o := &Opened{Destination: d}
	o.Spec = w.SpecOf(d)
	if how.Rehearse {
		for k, v := range o.Spec.Settings.Examples() {
			if _, ok := d.Settings[k]; !ok {
				d.Settings[k] = v
			}
		}
	} else {
		p.errs = append(p.errs, d.unset...)
		for _, key := range d.unsetOptions {
			delete(d.Written, key)
		}
		for _, f := range o.Spec.Settings.Fields {
			if v, ok := d.Settings[f.Key].(string); ok && f.Secret {
				w.conceal(v)
			}
		}
	}
	w.hideAddresses(d)
	o.readOptions(p)
	o.Config.Settings = d.Settings
	if how.Edit != nil {
		how.Edit(o)
	}
	sender, err := o.Spec.Open(o.Config)
	if err != nil {
		for _, e := range flatten(err) {
			o.explain(e, how.Rehearse, p)
		}
		return nil
	}
	o.Sender = sender
	o.checkBatches(p)
	w.conceal(sender.Plan().Secrets...)
	w.conceal(sender.Plan().Auth.Secrets()...)
	return o
}

// hideAddresses makes secrets of the credentials in the addresses that a destination was
// given, wherever they come from.
func (w *World) hideAddresses(d *Destination) {
	for _, v := range d.Settings {
		if s, ok := v.(string); ok {
			w.conceal(secret.OfAddress(s)...)
		}
	}
	if n := d.Written["base_url"]; n != nil {
		w.conceal(secret.OfAddress(n.Value)...)
	}
}

// explain adds one thing that kept a destination from being opened.
func (o *Opened) explain(err error, rehearse bool, p *problems) {
	d := o.Destination
	key, missing := settingOf(err)
	switch {
	case !rehearse && slices.Contains(d.unsetSettings, key):
		return // what is wrong with it is that it refers to nothing
	case missing:
		p.add(d.Line, "%s: setting %s is required: set %s, --set %s.%s=…, or settings in fanfold.yaml; "+
			"--rehearse needs none",
			d.Name, key, d.EnvName(key), d.Name, key)
		return
	case key == "":
		key = "actions"
	}
	line := d.Line
	if m := ofAction.FindStringSubmatch(err.Error()); m != nil {
		if o.actionsWrong {
			return // it was said already
		}
		if i, _ := strconv.Atoi(m[1]); i < len(o.actionLines) { // digits
			line = o.actionLines[i]
		}
	} else if l := d.Lines[key]; l > 0 {
		line = l
	}
	p.by = d.givenBy["set "+key]
	p.add(line, "%s: %w", d.Name, err)
	p.by = ""
}

var ofAction = regexp.MustCompile(`^actions\[(\d+)\]`)

var ofSetting = regexp.MustCompile(`^setting ([a-z0-9_.]+): `)

// settingOf says which setting an error is about, if any, and whether that is not
// there. Destinations' own checks write what the settings' problems write.
func settingOf(err error) (key string, missing bool) {
	var p *setting.Problem
	if errors.As(err, &p) {
		return p.Key, p.Missing
	}
	if m := ofSetting.FindStringSubmatch(err.Error()); m != nil {
		return m[1], false
	}
	return "", false
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range j.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}

// err joins what is wrong, in the order of the lines.
func (p *problems) err() error {
	byLine(p.errs)
	return errors.Join(p.errs...)
}

// Findings are what is wrong with a configuration, as it is and with each of its profiles.
type Findings struct {
	errs []error
	said map[string]bool
}

// Add takes what was joined in an error, unless it was added before: a mistake outside of the profiles is found with
// each of them. profile is the name of the profile with which it was found; "": it was without one.
func (f *Findings) Add(err error, profile string) {
	if f.said == nil {
		f.said = map[string]bool{}
	}
	if err == nil {
		return
	}
	for _, e := range flatten(err) {
		var p *Problem
		text := e.Error()
		if f.said[text] {
			continue
		}
		f.said[text] = true
		if profile != "" && errors.As(e, &p) {
			e = &Problem{File: p.File, Line: p.Line, Err: fmt.Errorf("profile %s: %w", profile, p.Err)}
		}
		f.errs = append(f.errs, e)
	}
}

// Err joins all that was added, in the order of the lines; nil: nothing was.
func (f *Findings) Err() error {
	byLine(f.errs)
	return errors.Join(f.errs...)
}

// byLine sorts errors by the lines of the problems that they are; others come first.
func byLine(errs []error) {
	line := func(err error) int {
		var one *Problem
		if errors.As(err, &one) {
			return one.Line
		}
		return 0
	}
	slices.SortStableFunc(errs, func(a, b error) int { return line(a) - line(b) })
}
