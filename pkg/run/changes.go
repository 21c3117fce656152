package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/engine"
)

// Difference is what has changed in a destination's configuration since the run was worked on last, and what the
// run has done by then.
type Difference struct {
	Destination        string
	Keys               []string // like filter, or actions.trackEvent.mapping.name
	Delivered, Pending uint64
	// AtLeast says that a process was killed, and may have delivered more than it had noted.
	AtLeast bool
	// rerouted says that events may now lead to other deliveries than before.
	rerouted bool
	// recounted says that what is settled may now count under another outcome.
	recounted bool
}

// UnfinishedError is returned for a run that cannot continue with another configuration: some events above the
// checkpoint have only a part of their deliveries settled, and these are known only by the numbers that the old
// configuration gave them; or deliveries are in doubt and held.
type UnfinishedError struct {
	Run, Destination string
	Keys             []string
	Events           int
	Held             bool
}

func (e *UnfinishedError) Error() string {
	what := fmt.Sprintf("%s had had only some of the deliveries of %d of the events", e.Destination, e.Events)
	if e.Held {
		what = fmt.Sprintf("it held back %[2]d of the events, which may have arrived at %[1]s", e.Destination, e.Events)
	}
	return fmt.Sprintf("run %s stopped when %s, and with another configuration (%s) it cannot be told which: they "+
		"would be sent again, or lost. Put the old configuration back and run the command to its end, then change it "+
		"and --continue; or --fresh sends everything again", e.Run, what, strings.Join(e.Keys, ", "))
}

// ChangedError is returned for a run whose configuration has changed, while the user has not said whether to
// continue with it or to begin a new run.
type ChangedError struct {
	Run         string
	Differences []Difference
}

func (e *ChangedError) Error() string {
	var said []string
	for _, d := range e.Differences {
		did := fmt.Sprintf("%s were delivered to %s", d.count(), d.Destination)
		if d.Pending > 0 {
			did += fmt.Sprintf(" (%d are pending)", d.Pending)
		}
		said = append(said, fmt.Sprintf("%s with another configuration: %s", did, strings.Join(d.Keys, ", ")))
	}
	return fmt.Sprintf("the configuration has changed since run %s: %s. --continue goes on behind them with the new one, "+
		"--fresh sends everything again", e.Run, strings.Join(said, "; "))
}

// count is how many events were delivered, as a text.
func (d Difference) count() string {
	if d.AtLeast {
		return fmt.Sprintf("at least %d events", d.Delivered)
	}
	return fmt.Sprintf("%d events", d.Delivered)
}

// picked is the run that a job works on.
type picked struct {
	dir     string
	resumed bool          // an earlier process has worked on it
	kept    *keptIdentity // its stored identity; nil: it is a new run
	differs []Difference
	steps   bool     // the transform steps have changed
	added   []string // destinations that are new to the run
	other   *knownRun
	renamed []Renamed
}

// pick chooses the run of a job: the newest run that has all of its destinations; else the newest that has some,
// to which the others are added; else a new one.
func (f Folder) pick(w *World, j *Job) (p picked, err error) {
	meta := j.identity()
	if p.dir, err = f.next(meta); err != nil || j.Fresh || j.Rehearse {
		return p, err
	}
	runs, err := f.family(w, meta)
	if err != nil {
		return p, err
	}
	best, held := -1, map[string]int{} // newest run of each destination
	most := 0
	for i, r := range runs {
		n := 0
		seen := w.see(r.kept, meta)
		for k, d := range meta.Destinations {
			if !r.kept.has(d, seen.Destinations[k]) {
				continue
			}
			n++
			if _, ok := held[d.Name]; !ok {
				held[d.Name] = i
			}
		}
		if n > most {
			best, most = i, n
		}
		if n == len(meta.Destinations) {
			break
		}
	}
	if j.Input.Stream == nil {
		p.renamed = renamed(w, runs, meta, held)
	}
	if most == 0 || j.Input.Stream != nil && most < len(meta.Destinations) {
		if p.other = namesake(runs, meta); j.Input.Stream != nil {
			p.other = nil
		}
		return p, nil
	}
	of := runs[best]
	p.dir, p.resumed, p.kept = of.dir, true, of.kept
	for _, d := range meta.Destinations {
		if i, ok := held[d.Name]; ok && most < len(meta.Destinations) && !hasDestination(of.kept, d.Name) {
			return p, mistakef("the events of this input went to %s by run %s, and to %s by run %s: no run can go on with "+
				"both, so run each by a command of its own with --to, or send everything again with --fresh",
				others(of.kept, meta), filepath.Base(of.dir), d.Name, filepath.Base(runs[i].dir))
		}
	}
	p.compare(w, meta)
	return p, nil
}

// renamed finds destinations that no run has, where one has the same under a name that the job does not have: its
// events would be sent again.
func renamed(w *World, runs []knownRun, meta identity, held map[string]int) (all []Renamed) {
	same := func(k *keptIdentity, d destinationIdentity, was string) bool {
		d.Name = was
		return k.has(d, w.see(k, identity{Destinations: []destinationIdentity{d}}).Destinations[0])
	}
	for _, d := range meta.Destinations {
		found := false
		for _, r := range runs {
			for _, old := range r.kept.Identity.Destinations {
				_, has := held[d.Name]
				if _, now := meta.destination(old.Name); has || found || now || !same(r.kept, d, old.Name) {
					continue
				}
				found = true
				all = append(all, Renamed{Run: filepath.Base(r.dir), Was: old.Name, Destination: d.Name,
					Delivered: deliveredBy(r.dir, old.Name)})
			}
		}
	}
	return all
}

// deliveredBy is how many events a run has delivered to a destination, as far as it has noted that.
func deliveredBy(dir, name string) uint64 {
	sum, err := Standing(dir)
	if err != nil {
		return 0
	}
	for _, l := range slices.Concat(sum.Destinations, sum.Removed) {
		if l.Name == name {
			return l.Delivered
		}
	}
	return 0
}

func hasDestination(k *keptIdentity, name string) bool {
	_, ok := k.destination(name)
	return ok
}

// others names the destinations of a job that a run already has.
func others(k *keptIdentity, meta identity) string {
	var names []string
	for _, d := range meta.Destinations {
		if hasDestination(k, d.Name) {
			names = append(names, d.Name)
		}
	}
	return strings.Join(names, ", ")
}

// namesake is the newest run that has a different destination under the same name as one of the job's; nil: there
// is none.
func namesake(runs []knownRun, meta identity) *knownRun {
	for i := range runs {
		if others(runs[i].kept, meta) != "" {
			return &runs[i]
		}
	}
	return nil
}

// compare finds what is new or different in the job, compared with the run.
func (p *picked) compare(w *World, meta identity) {
	seen := w.see(p.kept, meta)
	p.steps = p.kept.Identity.Transform != seen.Transform
	var steps []string
	if p.steps {
		steps = stepsThatDiffer(p.kept.Steps, seen.steps)
	}
	sum, err := Standing(p.dir)
	if err != nil {
		sum = &engine.Summary{}
	}
	for i, d := range meta.Destinations {
		old, ok := p.kept.destination(d.Name)
		if !ok {
			p.added = append(p.added, d.Name)
			continue
		}
		diff := Difference{Destination: d.Name, AtLeast: sum.Status == Killed}
		diff.Keys, diff.rerouted = p.kept.differs(d, seen.Destinations[i])
		diff.recounted = diff.rerouted || len(diff.Keys) > 0 && recounts(old, seen.Destinations[i])
		diff.recounted = diff.recounted || len(steps) > 0
		diff.Keys = append(diff.Keys, steps...)
		if len(diff.Keys) == 0 {
			continue
		}
		for _, l := range slices.Concat(sum.Destinations, sum.Removed) {
			if l.Name == d.Name {
				diff.Delivered, diff.Pending = l.Delivered, l.Pending
			}
		}
		p.differs = append(p.differs, diff)
	}
}

// keysThatDiffer names the settings in which two configurations of a destination differ.
func keysThatDiffer(old, now destinationIdentity) (keys []string, rerouted bool) {
	add := func(differs bool, key string) {
		if differs {
			keys = append(keys, key)
		}
	}
	add(old.Type != now.Type, "type")
	add(old.BaseURL != now.BaseURL, "base_url")
	for _, k := range keysOf(old.Settings, now.Settings) {
		add(hashOf(old.Settings[k]) != hashOf(now.Settings[k]), "settings."+k)
	}
	add(old.Filter != now.Filter, "filter")
	add(old.Presets != now.Presets, "presets")
	if old.Parts != nil && now.Parts != nil { // by the parts of its description
		parts, other := partsThatDiffer(old.Parts, now.Parts)
		keys, rerouted = append(keys, parts...), other || old.Type != now.Type || old.Presets != now.Presets
		actions, other := actionsThatDiffer(old.Actions[1:], now.Actions[1:])
		return append(keys, actions...), rerouted || other
	}
	actions, rerouted := actionsThatDiffer(old.Actions, now.Actions)
	return append(keys, actions...), rerouted || old.Type != now.Type || old.Presets != now.Presets
}

// keysOf are the keys of two maps, sorted.
func keysOf[V any](a, b map[string]V) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.AppendSeq(sortedKeys(a), maps.Keys(b)))))
}

// partsThatDiffer names the parts in which two descriptions differ. rerouted: events may lead to other deliveries,
// not only to other requests.
func partsThatDiffer(old, now map[string]string) (keys []string, rerouted bool) {
	for _, k := range keysOf(old, now) {
		if old[k] == now[k] {
			continue
		}
		keys = append(keys, k)
		of, part, _ := strings.Cut(strings.TrimPrefix(k, "actions."), ".")
		rerouted = rerouted || of == "actions" || k != of && (part == "subscribe" || part == "action")
	}
	return keys, rerouted
}

// recounts says whether settled deliveries could be mistaken for others. A change of mapping alone keeps each
// action's deliveries in order, unless an action is there twice: then it may be the other of the two.
func recounts(old, now destinationIdentity) bool {
	if old.Filter != now.Filter || hashOf(old.Settings) != hashOf(now.Settings) {
		return true
	}
	seen := map[string]bool{}
	for i, text := range now.Actions {
		action, _, _ := cutAction(text)
		if seen[action] && !slices.Equal(old.Actions, now.Actions) || i >= len(old.Actions) {
			return true
		}
		seen[action] = true
	}
	return false
}

// actionsThatDiffer names what differs between two lists of actions. rerouted: the actions or their triggers
// differ.
func actionsThatDiffer(old, now []string) (keys []string, rerouted bool) {
	for i := range max(len(old), len(now)) {
		if i >= len(old) || i >= len(now) {
			return append(keys, fmt.Sprintf("actions (there were %d, and are %d)", len(old), len(now))), true
		}
		action, trigger, mapping := cutAction(old[i])
		action2, trigger2, mapping2 := cutAction(now[i])
		switch {
		case action != action2:
			keys, rerouted = append(keys, fmt.Sprintf("actions (%s was %s)", action2, action)), true
			continue
		case trigger != trigger2:
			keys, rerouted = append(keys, "actions."+action+".subscribe"), true
		}
		for _, k := range membersThatDiffer(mapping, mapping2) {
			keys = append(keys, strings.TrimSuffix("actions."+action+".mapping."+k, "."))
		}
	}
	return keys, rerouted
}

// cutAction splits the text of an action in an identity into its parts.
func cutAction(s string) (action, trigger, mapping string) {
	action, rest, _ := strings.Cut(s, "|")
	for at := 0; ; {
		i := strings.IndexByte(rest[at:], '|')
		if i < 0 {
			return action, rest, ""
		}
		if at += i + 1; json.Valid([]byte(rest[at:])) {
			return action, rest[:at-1], rest[at:]
		}
	}
}

// membersThatDiffer names the members in which two JSON objects differ; "": at least one of them is no object.
func membersThatDiffer(old, now string) (keys []string) {
	var a, b map[string]json.RawMessage
	if old == now {
		return nil
	}
	if json.Unmarshal([]byte(old), &a) != nil || json.Unmarshal([]byte(now), &b) != nil {
		return []string{""}
	}
	for _, k := range keysOf(a, b) {
		if string(a[k]) != string(b[k]) {
			keys = append(keys, k)
		}
	}
	return keys
}

// stepsThatDiffer names the transform steps that have changed.
func stepsThatDiffer(old, now []string) (keys []string) {
	for i := range max(len(old), len(now)) {
		if i >= len(old) || i >= len(now) {
			return append(keys, fmt.Sprintf("transform (there were %d steps, and are %d)", len(old), len(now)))
		}
		if old[i] != now[i] {
			kind, _, _ := strings.Cut(now[i], " ")
			keys = append(keys, fmt.Sprintf("transform, step %d (%s)", i+1, kind))
		}
	}
	if len(keys) == 0 { // an older version of fanfold did not store the steps separately
		return []string{"transform"}
	}
	return keys
}
