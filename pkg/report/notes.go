package report

import (
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
)

// Notice is the sentence for what was found while a run was opened.
func Notice(n run.Notice) string {
	switch n := n.(type) {
	case run.Resuming:
		return fmt.Sprintf("resuming run %s", n.Run)
	case run.NewStream:
		return fmt.Sprintf("run %s is complete: %s is new input, for run %s", n.Done, n.Name, n.Run)
	case run.StreamGoesOn:
		if n.Same {
			return fmt.Sprintf("run %s: %s begins as it did: it goes on behind the %d bytes that were read of it", n.Run, n.Name,
				n.Before)
		}
		text := fmt.Sprintf("run %s: %s is a new stream: it follows the %d bytes that were read of the last one", n.Run,
			n.Name, n.Before)
		if n.How != "" {
			text += "; " + n.How
		}
		return text
	case run.Continuing:
		return fmt.Sprintf("run %s goes on with another configuration: %s", n.Run, differences(n.Differences))
	case run.Added:
		return fmt.Sprintf("run %s: %s begins at the beginning, the others go on where they were", n.Run,
			strings.Join(n.Destinations, ", "))
	case run.Renamed:
		return fmt.Sprintf("run %s has delivered %d events of this input to %s, which has the type and settings of %s (but "+
			"for secrets): %[4]s is sent them again; named %[3]s, it goes on behind them", n.Run, n.Delivered, n.Was,
			n.Destination)
	case run.OtherSettings:
		return fmt.Sprintf("a new run: run %s of the same input had other destinations of these names: %s", n.Run,
			differences(n.Differences))
	case run.NewPresets:
		return fmt.Sprintf("the presets of %s have changed since run %s was begun (%s): "+
			"what is new goes out with those of today", n.Destination, n.Run, n.Changes)
	case run.NewObjects:
		return fmt.Sprintf("run %s: %s in the input since it was complete", n.Run, printable.Count(n.Objects, "new object"))
	case run.Replaced:
		return fmt.Sprintf("run %s: %s is another file than the one of this name that was read, and is read from its "+
			"beginning; what that one had behind its first %s, if it grew before it went, was not read: the same command reads "+
			"it once the file lies beside this one, as %s.1", n.Run, n.File, printable.Count(n.Read, "byte"), n.File)
	case run.Held:
		return fmt.Sprintf("run %s: what %s ends in may only be the beginning of a record, and was not read: somebody "+
			"still "+
			"wrote "+
			"to it; the same command reads it, whole", n.Run, strings.Join(n.Files[:min(len(n.Files), 5)], ", "))
	case run.NothingNew:
		return nothingNew(n)
	case run.RedrivenAgain:
		again := ""
		if n.Left > 0 {
			again = fmt.Sprintf("; `fanfold redrive %s` sends those that were refused then", n.Redrive)
		}
		return fmt.Sprintf("run %s: these dead letters were sent again already, %s%s", n.Run, n.Finished, again)
	}
	return ""
}

// were is the subject and the verb of a sentence about so many things.
func were(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return fmt.Sprintf("%d %ss were", n, what)
}

// differences says what of destinations is not as it was, and what they had been sent by then.
func differences(ds []run.Difference) string {
	var said []string
	for _, d := range ds {
		said = append(said, fmt.Sprintf("%s (%s), with %d events delivered before", d.Destination, strings.Join(d.Keys, ", "),
			d.Delivered))
	}
	return strings.Join(said, "; ")
}

func nothingNew(n run.NothingNew) string {
	switch {
	case n.Rejected == 0 && n.Bad > 0:
		bad := "1 record was no event"
		if n.Bad > 1 {
			bad = fmt.Sprintf("%d records were no events", n.Bad)
		}
		return fmt.Sprintf("run %s: everything was settled already, %s, and nothing is new; %s, so the exit code is 3; "+
			"--fresh sends everything again", n.Run, n.Finished, bad)
	case n.Rejected == 0:
		return fmt.Sprintf("run %s: everything was delivered already, %s; --fresh sends it again", n.Run, n.Finished)
	case n.Left == 0:
		return fmt.Sprintf("run %s: everything was delivered already, %s, the %d rejected events by redrives since; "+
			"--fresh sends it again", n.Run, n.Finished, n.Rejected)
	}
	return fmt.Sprintf("run %s: everything was settled already, %s, and nothing is new; %d were rejected: "+
		"`fanfold redrive %s` sends those again, --fresh everything", n.Run, n.Finished, n.Left, n.Redrive)
}

// Notes are sentences about a run's end that the summary does not show by itself:
// mostly slips in a configuration, and what to do next.
func Notes(j *run.Job, res *run.Result) []string {
	sum := res.Summary
	notes := append(Selected(j), filters(sum)...)
	notes = append(notes, allSkipped(sum)...)
	for _, d := range sum.Destinations {
		if d.Stopped == "" {
			continue
		}
		again := "when the same command runs again"
		if j.Input.Stream != nil {
			again += " with the same " + j.Input.Stream.Name
		}
		if d.Until != "" {
			again += ", once " + d.Until
		}
		// The log has said why when it happened, and the summary says it.
		if j.Rehearse {
			notes = append(notes, fmt.Sprintf("%s was stopped with %s pending; a rehearsal does not go on: the same command "+
				"begins anew", d.Name, printable.Count(d.Pending, "event")))
			continue
		}
		notes = append(notes, fmt.Sprintf("%s was stopped: its %s out %s", d.Name, goOut(d.Pending), again))
	}
	notes = append(notes, rehearsedLive(sum)...)
	if o := sum.Overlap; o != nil {
		notes = append(notes,
			fmt.Sprintf("warning: --since %s has no end, so that this run overlaps with run %s by %s: leave it "+
				"out, and the same command sends only what is new each time (help resume)", j.Input.Since, o.Run,
				printable.Count(int(o.Events), "event")))
	}
	for _, name := range res.Held {
		notes = append(notes, fmt.Sprintf("%s: events whose request had no answer yet at a crash are held back; "+
			"look whether the partner has them; --opt %s.in_doubt=resend sends them again", name, name))
	}
	if res.Input != nil {
		notes = append(notes, Input(res.Input)...)
	}
	return notes
}

// Rejections says how rejected events are sent again. Those of an earlier command count until a redrive has delivered
// them: what the exit code says of them is not about this one.
func Rejections(res *run.Result) (notes []string) {
	left, now := res.Left, res.Left
	if res.Summary.ThisTime != nil {
		now = 0
		for _, d := range res.Summary.Destinations {
			now += engine.Total(d.ThisTime.Rejected)
		}
		now = min(now, left)
	}
	if now > 0 {
		notes = append(notes, fmt.Sprintf("once the cause is fixed, `fanfold redrive %s` sends the rejected events again",
			res.Redrive))
	}
	if earlier := left - now; earlier > 0 && !res.Settled { // else it was said
		notes = append(notes, fmt.Sprintf("%s rejected by an earlier command: the exit code is 3 until `fanfold redrive %s` "+
			"has delivered them", were(earlier, "event"), res.Redrive))
	}
	return notes
}

// rehearsedLive says which destinations of a rehearsal would stop for real before events of long
// ago, for what these would start.
func rehearsedLive(s *engine.Summary) []string {
	var names []string
	first := ""
	for _, d := range s.Destinations {
		if d.Live != "" && d.Stopped == "" {
			if names = append(names, d.Name); first == "" {
				first = d.Live
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("for real, %s would stop before events of more than a day ago (%s), unless "+
		"--trigger-live %s says that it is meant", strings.Join(names, ", "), first, strings.Join(names, ","))}
}

// goOut is the subject and the verb of what pending events will do.
func goOut(pending uint64) string {
	if pending == 1 {
		return "1 pending event goes"
	}
	return fmt.Sprintf("%d pending events go", pending)
}

// Steps says which steps of the transform could not do their work.
func Steps(p *transform.Pipeline) (notes []string) {
	for _, c := range p.Counters() {
		if c.Failed == 0 {
			continue
		}
		what := "that it could not change (its mapping failed, or the result is too large or too deep) and " +
			"that went on as they were"
		if strings.HasSuffix(c.Step, " mask") {
			what = "that could not be masked (too large with it) and went no further"
		}
		notes = append(notes, fmt.Sprintf("transform: step %s: events %s: %d", c.Step, what, c.Failed))
	}
	return notes
}

// PlanNotes are sentences about a plan that its counts do not show by themselves, as [Notes] are about a run.
func PlanNotes(j *run.Job, p *run.Plan) []string {
	bad := uint64(0)
	for _, b := range p.Bad {
		bad += b.N
	}
	s := &engine.Summary{Read: p.Read, BadRecords: bad, Dropped: p.Dropped}
	for _, l := range p.Destinations {
		d := engine.LaneSummary{Name: l.Name, Filtered: l.Filtered, Delivered: l.Events, Skipped: map[string]uint64{},
			Rejected: map[string]uint64{"": planned(l.Rejected)}}
		for k, c := range l.Skipped {
			d.Skipped[k] = c.N
		}
		s.Destinations = append(s.Destinations, d)
	}
	return append(Selected(j), filters(s)...)
}

// PreviewNotes are sentences about what a preview has not shown: what was dropped, and what filters keep back.
func PreviewNotes(j *run.Job, p *run.Previewed) (notes []string) {
	if p.Input != nil {
		notes = Input(p.Input)
	}
	notes = append(notes, Selected(j)...)
	s := &engine.Summary{Read: p.Read, BadRecords: p.Bad, Dropped: p.Dropped}
	events := p.Read - p.Bad - engine.Total(p.Dropped)
	var parts []string
	for _, k := range sortedKeys(p.Dropped) {
		if k != "filter" || p.Dropped[k] < p.Read-p.Bad-p.Dropped["time_range"] { // else it is said below
			parts = append(parts, fmt.Sprintf("%d dropped by %s", p.Dropped[k], k))
		}
	}
	for i, d := range j.Destinations {
		n := p.Filtered[i]
		s.Destinations = append(s.Destinations, engine.LaneSummary{Name: d.Name, Filtered: n, Delivered: events - n})
		if n > 0 && n < events {
			parts = append(parts, fmt.Sprintf("%d filtered for %s", n, d.Name))
		}
	}
	if len(parts) > 0 {
		notes = append(notes, fmt.Sprintf("not shown, of %s read: %s", printable.Count(p.Read, "record"),
			strings.Join(parts, ", ")))
	}
	return append(notes, filters(s)...) // those that let nothing through
}

// Selected says what was wrong with what was selected: [Steps], and types that nobody knows.
func Selected(j *run.Job) []string { return append(Steps(j.Steps), foreignTypes(j)...) }

// foreignTypes warns of an input none of whose events is of a type of the spec.
func foreignTypes(j *run.Job) []string {
	types := j.ForeignTypes()
	if len(types) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("warning: none of the events is a track, identify, page, screen, group or alias; their "+
		"types are %s: --map FILE says how such records are events (help shapes)", strings.Join(types, ", "))}
}

// filters says which filters matched nothing.
func filters(s *engine.Summary) (notes []string) {
	if n := s.Dropped["filter"]; n > 0 && n == s.Read-s.BadRecords-s.Dropped["time_range"] {
		notes = append(notes, fmt.Sprintf("--filter matched none of %d events", n))
	}
	for _, d := range s.Destinations {
		if d.Filtered > 0 && d.Delivered+engine.Total(d.Skipped)+engine.Total(d.Rejected)+d.Pending == 0 {
			notes = append(notes, fmt.Sprintf("the filter of %s matched none of %d events", d.Name, d.Filtered))
		}
	}
	return notes
}

// allSkipped warns of destinations that were sent nothing because every event was
// skipped, and says why: the actions may be wrong, or the archive.
func allSkipped(s *engine.Summary) (notes []string) {
	for _, d := range s.Destinations {
		skipped := engine.Total(d.Skipped)
		if skipped == 0 || d.Delivered+engine.Total(d.Rejected)+d.Pending > 0 {
			continue
		}
		var why []string
		for _, k := range sortedKeys(d.Skipped) {
			why = append(why, fmt.Sprintf("%s %d%s", k, d.Skipped[k], like(d.SkippedExamples[k])))
		}
		notes = append(notes, fmt.Sprintf("warning: %s was sent nothing: all of its %d events were skipped: %s",
			d.Name, skipped, strings.Join(why, "; ")))
	}
	return notes
}

// Input says what the input was taken for and what of it was left out, where that is
// not obvious.
func Input(in run.Described) (notes []string) {
	for _, line := range in.Describe() {
		if strings.Contains(line, "recognised as") || strings.Contains(line, "read as") {
			notes = append(notes, line)
		}
	}
	listed, ok := in.(*source.Input)
	if !ok {
		return notes
	}
	st := listed.Stats()
	if st.Layout != "" {
		line := fmt.Sprintf("paths follow the layout %s; by their time %d objects (%d bytes) and %d folders were left out",
			st.Layout, st.Pruned, st.PrunedBytes, st.PrunedGroups)
		if st.Undated > 0 {
			line += fmt.Sprintf(", %d objects without a time were read", st.Undated)
		}
		notes = append(notes, line)
	} else if st.Undated > 1 {
		notes = append(notes, fmt.Sprintf("the paths follow no known layout, so all %d objects were read; "+
			"--layout says where the time is", st.Undated))
	}
	for _, what := range st.Passed {
		notes = append(notes, "passed over: "+what)
	}
	if more := st.NoFiles - len(st.Passed); more > 0 {
		notes = append(notes, fmt.Sprintf("and %d more that are no files", more))
	}
	if st.Skipped > 0 {
		notes = append(notes, fmt.Sprintf("%d marker or hidden files and folders were passed over", st.Skipped))
	}
	return notes
}
