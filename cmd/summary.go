package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/transform"
)

// sayNotice says what is found when a run is opened.
func (a *app) sayNotice(n run.Notice) {
	switch n := n.(type) {
	case run.Resuming:
		fmt.Fprintf(a.err, "fanfold: resuming run %s\n", n.Run)
	case run.NewStream:
		fmt.Fprintf(a.err, "fanfold: run %s is complete: %s is new input, for run %s\n", n.Done, n.Name, n.Run)
	case run.NewPresets:
		fmt.Fprintf(a.err, "fanfold: the presets of %s have changed since run %s was begun (%s): what is new goes out with those of today\n", n.Destination, n.Run, n.Changes)
	case run.NewObjects:
		fmt.Fprintf(a.err, "fanfold: run %s: %d new objects in the input since it was complete\n", n.Run, n.Objects)
	case run.NothingNew:
		switch {
		case n.Rejected == 0:
			fmt.Fprintf(a.err, "fanfold: run %s: everything was delivered already, %s; --fresh sends it again\n", n.Run, n.Finished)
		case n.Left == 0:
			fmt.Fprintf(a.err, "fanfold: run %s: everything was delivered already, %s, the %d rejected events by redrives since; --fresh sends it again\n", n.Run, n.Finished, n.Rejected)
		default:
			fmt.Fprintf(a.err, "fanfold: run %s: everything was settled already, %s, and nothing is new; %d were rejected: `fanfold redrive %s` sends those again, --fresh everything\n", n.Run, n.Finished, n.Left, n.Run)
		}
	case run.RedrivenAgain:
		again := ""
		if n.Left > 0 {
			again = fmt.Sprintf("; `fanfold redrive %s` sends those that were refused then", n.Run)
		}
		fmt.Fprintf(a.err, "fanfold: run %s: these dead letters were sent again already, %s%s\n", n.Run, n.Finished, again)
	}
}

// sayResult says what of a run's end the summary does not show by itself.
func (a *app) sayResult(j *run.Job, res *run.Result) {
	sum := res.Summary
	a.noteSteps(j.Steps)
	a.noteFilters(sum)
	a.noteSkipped(sum)
	for _, d := range sum.Destinations {
		if d.Stopped != "" {
			again := "when the same command runs again"
			if j.Input.Stream != nil {
				again += " with the same " + j.Input.Stream.Name
			}
			fmt.Fprintf(a.err, "fanfold: %s was stopped: %s; its %d pending events go out %s\n", d.Name, d.Stopped, d.Pending, again)
		}
	}
	for _, name := range res.Held {
		fmt.Fprintf(a.err, "fanfold: %s: events whose request was without an answer at a crash are held back; look whether the partner has them; --opt %s.in_doubt=resend sends them again\n", name, name)
	}
	if res.Input != nil {
		reportSelection(a.err, res.Input)
	}
}

// noteSteps says which steps of the transform could not do their work.
func (a *app) noteSteps(p *transform.Pipeline) {
	for _, c := range p.Counters() {
		switch {
		case c.Failed == 0:
		case strings.HasSuffix(c.Step, " mask"):
			fmt.Fprintf(a.err, "fanfold: transform: step %s: events that could not be masked (too large with it) and went no further: %d\n", c.Step, c.Failed)
		default:
			fmt.Fprintf(a.err, "fanfold: transform: step %s: events that it could not change (its mapping failed, or the result is too large or too deep) and that went on as they were: %d\n", c.Step, c.Failed)
		}
	}
}

// noteFilters says which filters matched nothing: that is mostly a slip.
func (a *app) noteFilters(s *engine.Summary) {
	if n := s.Dropped["filter"]; n > 0 && n == s.Read-s.BadRecords-s.Dropped["time_range"] {
		fmt.Fprintf(a.err, "fanfold: --filter matched none of %d events\n", n)
	}
	for _, d := range s.Destinations {
		if d.Filtered > 0 && d.Delivered+total(d.Skipped)+total(d.Rejected)+d.Pending == 0 {
			fmt.Fprintf(a.err, "fanfold: the filter of %s matched none of %d events\n", d.Name, d.Filtered)
		}
	}
}

// printSummary writes what became of every event.
func printSummary(w io.Writer, s *engine.Summary, form string) error {
	if form == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(s)
	}
	fmt.Fprintf(w, "run %s: %s", s.Run, s.Status)
	if s.Rehearsal {
		fmt.Fprint(w, " (a rehearsal: stand-ins were sent to, no partner)")
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "read %d", s.Read)
	if s.BadRecords > 0 {
		fmt.Fprintf(w, ", %d of them no events", s.BadRecords)
	}
	for _, k := range sortedKeys(s.Dropped) {
		fmt.Fprintf(w, ", dropped by %s %d", k, s.Dropped[k])
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tdelivered\tskipped\tfiltered\trejected\tpending\trequests\tretries\tevents/s\t")
	for _, d := range s.Destinations {
		rate := "-"
		if d.Rate > 0 {
			rate = fmt.Sprintf("%.0f", d.Rate)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", d.Name, d.Delivered, total(d.Skipped), d.Filtered, total(d.Rejected), d.Pending, d.Requests, d.Retries, rate)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range s.Destinations {
		for _, k := range sortedKeys(d.Skipped) {
			fmt.Fprintf(w, "%s: skipped %d: %s%s\n", d.Name, d.Skipped[k], k, like(d.SkippedExamples[k]))
		}
		for _, k := range sortedKeys(d.Rejected) {
			fmt.Fprintf(w, "%s: rejected %d: %s%s\n", d.Name, d.Rejected[k], k, like(d.Examples[k]))
		}
		if d.Problem != "" && d.Pending > 0 {
			fmt.Fprintf(w, "%s: the last problem: %s\n", d.Name, d.Problem)
		}
		if d.InDoubt > 0 {
			fmt.Fprintf(w, "%s: %d were in doubt after a crash\n", d.Name, d.InDoubt)
		}
		if d.DeadLetters != "" {
			fmt.Fprintf(w, "%s: dead letters in %s\n", d.Name, d.DeadLetters)
		}
		if n := total(d.Redriven); n > 0 {
			fmt.Fprintf(w, "%s: %d of the rejected were delivered by a redrive since (%s)\n", d.Name, n, redrivenText(d.Redriven))
		}
	}
	for _, k := range sortedKeys(s.BadReasons) {
		fmt.Fprintf(w, "no events %d: %s%s\n", s.BadReasons[k], k, like(s.BadExamples[k]))
	}
	if s.DeadLetters != "" {
		fmt.Fprintf(w, "records that are no events: %s\n", s.DeadLetters)
	}
	return nil
}

// like is one of many, if it is known.
func like(example string) string {
	if example == "" {
		return ""
	}
	return ", like " + example
}

// noteSkipped warns of destinations that were sent nothing because every event was
// skipped, and says why: that is mostly a slip in the actions, or the wrong archive.
func (a *app) noteSkipped(s *engine.Summary) {
	for _, d := range s.Destinations {
		skipped := total(d.Skipped)
		if skipped == 0 || d.Delivered+total(d.Rejected)+d.Pending > 0 {
			continue
		}
		var why []string
		for _, k := range sortedKeys(d.Skipped) {
			why = append(why, fmt.Sprintf("%s %d%s", k, d.Skipped[k], like(d.SkippedExamples[k])))
		}
		fmt.Fprintf(a.err, "fanfold: warning: %s was sent nothing: all of its %d events were skipped: %s\n", d.Name, skipped, strings.Join(why, "; "))
	}
}

func total(m map[string]uint64) uint64 {
	var n uint64
	for _, v := range m {
		n += v
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// redrivenText says by which redrives events were delivered.
func redrivenText(by map[string]uint64) string {
	var runs []string
	for _, run := range sortedKeys(by) {
		runs = append(runs, fmt.Sprintf("%d by run %s", by[run], run))
	}
	return strings.Join(runs, ", ")
}
