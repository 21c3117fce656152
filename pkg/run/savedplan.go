package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/source"
)

// SavedPlan is what a plan was based on: the plan holds only as long as this has not changed.
type SavedPlan struct {
	Version   int               `json:"version"`
	Fanfold   string            `json:"fanfold"`
	Identity  *keptIdentity     `json:"identity"`
	Catalogue map[string]string `json:"catalogue"` // by destination, what it makes of events
	Objects   []source.Object   `json:"objects"`
}

const savedPlanVersion = 1

// mostNamed is how many of the objects that differ are named.
const mostNamed = 5

// Save returns what a plan of the job is based on. Input that is different every time cannot be planned for: then
// the error is a *[MistakeError].
func (w *World) Save(ctx context.Context, j *Job) (_ *SavedPlan, err error) {
	switch {
	case j.Input.Stream != nil:
		return nil, mistakef("a plan of %s cannot be kept: it can be read only once", j.Input.Stream.Name)
	case j.Input.Bounds.Relative:
		return nil, mistakef("a plan of a range that begins so long ago cannot be kept, since it is another one every " +
			"time: give --since and --until as times, like 2024-05-01T12:00:00Z")
	}
	s := &SavedPlan{Version: savedPlanVersion, Fanfold: w.UserAgent, Identity: w.keep(j.identity(), ""),
		Catalogue: map[string]string{}}
	for _, d := range j.Destinations {
		s.Catalogue[d.Name] = w.makes(s.Identity.salt(), d)
	}
	s.Objects, err = j.Input.objects(ctx)
	return s, err
}

// makes is a hash of what a destination makes of events, and of what decides how many requests that takes: it
// changes when they do. Settings with secrets are part of it, which are sealed.
func (w *World) makes(salt string, d *config.Opened) string {
	p := d.Sender.Plan()
	type action struct {
		Slug                        string
		Events, Bytes, Event        int
		Overhead, PerItem, Requests int
	}
	var actions []action
	for _, a := range p.Actions {
		actions = append(actions, action{a.Slug, a.Limits.BatchEvents.N, a.Limits.BatchBytes.N, a.Limits.EventBytes.N,
			a.Overhead, a.PerItem, a.Requests})
	}
	subscribed := slices.Clone(p.Subscribed)
	for i, text := range subscribed {
		subscribed[i] = w.seal(salt, text)
	}
	return hashOf(struct {
		Content    string
		Subscribed []string
		Actions    []action
		Consent    []string
	}{w.seal(salt, p.Content), subscribed, actions, d.Consent})
}

// objects lists the objects of the input as they are now.
func (in *Input) objects(ctx context.Context) (_ []source.Object, err error) {
	o := in.Options
	o.Since, o.Until = in.Bounds.Since, in.Bounds.Until
	input, err := source.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, input.Close()) }()
	if err = input.Manifest().Wait(ctx); err != nil {
		return nil, err
	}
	return input.Manifest().Objects(), nil
}

// Holds says whether a saved plan still fits the job. The error, a *[MistakeError], lists everything that has
// changed since.
func (w *World) Holds(ctx context.Context, j *Job, plan []byte) error {
	var doc struct{ Saved *SavedPlan }
	switch err := json.Unmarshal(plan, &doc); {
	case err != nil:
		return mistakef("it is no plan: %w", err)
	case doc.Saved == nil || doc.Saved.Identity == nil:
		return mistakef("it is no plan that was saved: `fanfold plan --save FILE` writes one")
	case doc.Saved.Version != savedPlanVersion:
		return mistakef("it was saved by another version of fanfold (%s): plan again", doc.Saved.Fanfold)
	}
	now, err := w.Save(ctx, j)
	if err != nil {
		return err
	}
	if differs := doc.Saved.differs(now, j.identity(), w.see(doc.Saved.Identity, j.identity())); len(differs) > 0 {
		return mistakef("it is not what was planned: %s; nothing was sent: plan again, or leave out --plan",
			strings.Join(differs, "; "))
	}
	return nil
}

// differs lists what has changed since the plan was saved. seen is today's identity as the plan would have it.
func (s *SavedPlan) differs(now *SavedPlan, meta, seen identity) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if s.Identity.Input != now.Identity.Input {
		add("what is read and selected (%s)", strings.Join(inputsThatDiffer(s.Identity.Identity, seen), ", "))
	}
	if s.Identity.Identity.Transform != seen.Transform {
		add("%s", strings.Join(stepsThatDiffer(s.Identity.Steps, seen.steps), ", "))
	}
	for _, name := range sortedKeys(s.Identity.Destinations) {
		d, there := seen.destination(name)
		if !there {
			add("%s was planned, and is left out", name)
			continue
		}
		today, _ := meta.destination(name)
		switch keys, _ := s.Identity.differs(today, d); {
		case len(keys) > 0:
			add("%s has another configuration (%s)", name, strings.Join(keys, ", "))
		case s.Catalogue[name] != now.Catalogue[name]:
			add("what %s is sent has changed, by its options, or with fanfold (planned with %s, this is %s)", name, s.Fanfold,
				now.Fanfold)
		}
	}
	for _, name := range sortedKeys(now.Identity.Destinations) {
		if !hasDestination(s.Identity, name) {
			add("%s was not planned", name)
		}
	}
	return append(list, objectsThatDiffer(s.Objects, now.Objects)...)
}

// inputsThatDiffer names the options in which two inputs differ.
func inputsThatDiffer(a, b identity) []string {
	text := func(i identity) string {
		data, err := json.Marshal(i.input())
		if err != nil {
			panic(err) // texts and numbers cannot fail
		}
		return string(data)
	}
	var keys []string
	for _, k := range membersThatDiffer(text(a), text(b)) {
		keys = append(keys, strings.ToLower(k))
	}
	return keys
}

// objectsThatDiffer says which objects are new, gone or changed.
func objectsThatDiffer(old, now []source.Object) (list []string) {
	was := map[string]string{}
	for _, o := range old {
		was[o.Name] = o.Fingerprint
	}
	for _, o := range now {
		switch before, there := was[o.Name]; {
		case !there:
			list = append(list, o.Name+" is new")
		case before != o.Fingerprint:
			list = append(list, o.Name+" has changed")
		}
		delete(was, o.Name)
	}
	for _, name := range sortedKeys(was) {
		list = append(list, name+" is gone")
	}
	if n := len(list) - mostNamed; n > 0 {
		list = append(slices.Clip(list[:mostNamed]), fmt.Sprintf("and %d objects more", n))
	}
	return list
}
