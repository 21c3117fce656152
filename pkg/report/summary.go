package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
)

// Summary writes what became of every event.
func Summary(w io.Writer, s *engine.Summary) error {
	head(w, s)
	if err := counts(w, s); err != nil {
		return err
	}
	for _, d := range s.Destinations {
		reasons(w, &d, s.ThisTime != nil)
	}
	for _, c := range s.Continued {
		fmt.Fprintf(w, "%s: another configuration (%s) since %s, after %d records and %d events delivered\n", c.Destination,
			strings.Join(c.Changed, ", "), c.At.Format(time.RFC3339), c.After, c.Delivered)
	}
	for _, d := range s.Removed {
		fmt.Fprintf(w, "%s: of an earlier command, and left as it is: %d delivered, %d pending\n", d.Name,
			d.Delivered, d.Pending)
	}
	for _, k := range sortedKeys(s.BadReasons) {
		fmt.Fprintf(w, "no events %d: %s%s\n", s.BadReasons[k], k, like(s.BadExamples[k]))
	}
	if s.DeadLetters != "" {
		fmt.Fprintf(w, "records that are no events: %s\n", s.DeadLetters)
	}
	return nil
}

// head says which run it is, and what was read.
func head(w io.Writer, s *engine.Summary) {
	fmt.Fprintf(w, "run %s: %s", s.Run, s.Status)
	if s.Rehearsal {
		fmt.Fprint(w, " (a rehearsal: stand-ins were sent to, no partner)")
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "read %d", s.Read)
	if now := s.ThisTime; now != nil {
		fmt.Fprintf(w, " (%d this time)", now.Read)
	}
	if s.BadRecords > 0 {
		fmt.Fprintf(w, ", %d of them no events", s.BadRecords)
		if now := s.ThisTime; now != nil {
			fmt.Fprintf(w, " (%d this time)", now.BadRecords)
		}
	}
	for _, k := range sortedKeys(s.Dropped) {
		fmt.Fprintf(w, ", dropped by %s %d", k, s.Dropped[k])
	}
	fmt.Fprintln(w)
}

// counts is the table of what became of events at each destination.
func counts(w io.Writer, s *engine.Summary) error {
	t := &table{w: w, columns: []column{{"", false, 0}, {"delivered", true, 0}, {"this time", true, 0},
		{"skipped", true, 2}, {"filtered", true, 3},
		{"rejected", true, 0}, {"pending", true, 1}, {"requests", true, 4}, {"retries", true, 5}, {"events/s", true, 6}}}
	for _, d := range s.Destinations {
		rate := "-"
		if d.Rate > 0 {
			rate = fmt.Sprintf("%.0f", d.Rate)
		}
		now := uint64(0)
		if d.ThisTime != nil {
			now = d.ThisTime.Delivered
		}
		t.row(append(append([]string{d.Name}, numbers(d.Delivered, now, engine.Total(d.Skipped), d.Filtered,
			engine.Total(d.Rejected), d.Pending, d.Requests, d.Retries)...), rate)...)
	}
	if s.ThisTime == nil { // then it is all
		t.leaveOut(2)
	}
	return t.flush()
}

// reasons says why events were not delivered to a destination, with an example each; with again also how many of
// them this time, since others are from earlier.
func reasons(w io.Writer, d *engine.LaneSummary, again bool) {
	count := func(n, now uint64) string {
		if !again {
			return strconv.FormatUint(n, 10)
		}
		return fmt.Sprintf("%d (%d this time)", n, now)
	}
	now := engine.ThisTime{}
	if d.ThisTime != nil {
		now = *d.ThisTime
	}
	for _, k := range sortedKeys(d.Skipped) {
		fmt.Fprintf(w, "%s: skipped %s: %s%s\n", d.Name, count(d.Skipped[k], now.Skipped[k]), k, like(d.SkippedExamples[k]))
	}
	for _, k := range sortedKeys(d.Rejected) {
		fmt.Fprintf(w, "%s: rejected %s: %s%s\n", d.Name, count(d.Rejected[k], now.Rejected[k]), k, like(d.Examples[k]))
	}
	if d.Stopped != "" {
		until := ""
		if d.Until != "" {
			until = "; it goes on once " + d.Until
		}
		fmt.Fprintf(w, "%s: stopped: %s%s\n", d.Name, d.Stopped, until)
	}
	if d.Lag > 0 {
		lag := time.Duration(d.Lag * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(w, "%s: lags behind by %s: the oldest pending event has been read for so long\n", d.Name, lag)
	}
	if d.Problem != "" && d.Pending > 0 {
		fmt.Fprintf(w, "%s: the last problem: %s\n", d.Name, d.Problem)
	}
	if d.InDoubt > 0 {
		when, then := "", ", and were sent again"
		if again && now.InDoubt == 0 {
			when = " of an earlier command"
		} else if again && now.InDoubt < d.InDoubt {
			when = fmt.Sprintf(" (%d this time)", now.InDoubt)
		}
		if d.Pending > 0 { // some may be held back, or wait
			then = "; those that are pending still are"
		}
		fmt.Fprintf(w, "%s: %d were in doubt after a crash%s%s\n", d.Name, d.InDoubt, when, then)
	}
	if d.DeadLetters != "" {
		fmt.Fprintf(w, "%s: dead letters in %s\n", d.Name, d.DeadLetters)
	}
	if n := engine.Total(d.Redriven); n > 0 {
		fmt.Fprintf(w, "%s: %d of the rejected were delivered by a redrive since (%s)\n", d.Name, n, redrivenText(d.Redriven))
	}
}

// like is one of many, if it is known.
func like(example string) string {
	if example == "" {
		return ""
	}
	return ", like " + example
}

// redrivenText says by which redrives events were delivered.
func redrivenText(by map[string]uint64) string {
	var runs []string
	for _, run := range sortedKeys(by) {
		runs = append(runs, fmt.Sprintf("%d by run %s", by[run], run))
	}
	return strings.Join(runs, ", ")
}
