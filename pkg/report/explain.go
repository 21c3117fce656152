package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/transport"
)

// What an explanation shows of texts of others, in bytes, and how many lines of a list.
const (
	mostOfEvent   = 400
	mostOfBody    = 2000
	mostOfDetail  = 400
	mostOfChanges = 12
	mostOfTerms   = 12
)

// Explain writes for a person what becomes of the events that were asked for. redact takes out
// secrets.
func Explain(w io.Writer, a *run.Answers, redact func(string) string) error {
	var b strings.Builder
	for i, x := range a.Explanations {
		if i > 0 {
			b.WriteString("\n")
		}
		explanation(&b, x)
	}
	_, err := io.WriteString(w, redact(b.String()))
	return err
}

func explanation(b *strings.Builder, x *run.Explanation) {
	name := destination.Cut(x.Name, 100)
	if name == "" {
		name = "a record"
	}
	fmt.Fprintf(b, "%s, %s\n", name, destination.Cut(x.Event, 100))
	fmt.Fprintf(b, "  in %s", x.Object)
	if x.Line > 0 {
		fmt.Fprintf(b, ", line %d", x.Line)
	}
	fmt.Fprintf(b, ", byte %d\n", x.Offset)
	gates(b, x.Gates, "  ")
	if x.Stopped {
		fmt.Fprintf(b, "  => it goes to no destination: %s\n", x.Gates[len(x.Gates)-1].Name)
		return
	}
	for _, l := range x.Destinations {
		fmt.Fprintf(b, "\n  %s (%s)\n", l.Name, l.Type)
		gates(b, l.Gates, "    ")
		shown(b, l)
		became(b, l.Became)
	}
}

func gates(b *strings.Builder, list []run.Gate, indent string) {
	for _, g := range list {
		mark := "✓"
		switch {
		case !g.Passed && g.Considered:
			mark = "·"
		case !g.Passed:
			mark = "✗"
		}
		fmt.Fprintf(b, "%s%s %s: %s", indent, mark, g.Name, destination.Cut(g.Says, mostOfDetail))
		switch {
		case g.Terms != nil && (g.Passed || g.Terms.Holds):
			fmt.Fprintf(b, ": %s", destination.Cut(g.Terms.Text, 200))
		case g.Terms != nil:
			terms(b, g.Terms, indent+"    ")
			continue
		}
		b.WriteString("\n")
		switch {
		case g.Before != nil:
			changes(b, g.Before, g.After, indent+"    ")
		case g.After != nil:
			fmt.Fprintf(b, "%s    %s\n", indent, destination.Cut(string(g.After), mostOfEvent))
		}
		fields(b, g.Fields, indent+"    ")
	}
}

// terms writes what of a filter does not hold.
func terms(b *strings.Builder, t *filter.Term, indent string) {
	failed := t.Failed()
	if len(failed) == 1 && failed[0].Why != "" {
		fmt.Fprintf(b, ": %s, but %s\n", destination.Cut(failed[0].Text, 200), destination.Cut(failed[0].Why, mostOfDetail))
		return
	}
	b.WriteString("\n")
	for _, f := range failed[:min(len(failed), mostOfTerms)] {
		fmt.Fprintf(b, "%s%s", indent, destination.Cut(f.Text, 200))
		if f.Why != "" {
			fmt.Fprintf(b, "   (%s)", destination.Cut(f.Why, mostOfDetail))
		}
		b.WriteString("\n")
	}
	if n := len(failed) - mostOfTerms; n > 0 {
		fmt.Fprintf(b, "%sand %d more\n", indent, n)
	}
}

// fields writes where each field's value comes from; of those that may be missing and are, only that.
func fields(b *strings.Builder, list []run.GateField, indent string) {
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	var missing []string
	for _, f := range list {
		from := destination.Cut(f.From, 60)
		if from == "" {
			from = "(nothing is mapped to it)"
		}
		if f.Value == nil && !f.Required && len(f.Problems) == 0 {
			missing = append(missing, f.Name+" ("+from+")")
			continue
		}
		value, mark := "missing", " "
		if f.Value != nil {
			value = destination.Cut(string(f.Value), 80)
		}
		if len(f.Problems) > 0 {
			mark = "✗"
		}
		fmt.Fprintf(t, "%s%s %s\t%s\t%s\n", indent, mark, f.Name, from, value)
	}
	_ = t.Flush() // a strings.Builder takes everything
	if len(missing) > 0 {
		fmt.Fprintf(b, "%s  not in the event: %s\n", indent, destination.Cut(strings.Join(missing, ", "), mostOfDetail))
	}
}

// changes writes the members in which two events differ.
func changes(b *strings.Builder, before, after []byte, indent string) {
	was, is := map[string]string{}, map[string]string{}
	flatten(was, "", before)
	flatten(is, "", after)
	paths := slices.Sorted(maps.Keys(was))
	for _, path := range slices.Sorted(maps.Keys(is)) {
		if _, old := was[path]; !old {
			paths = append(paths, path)
		}
	}
	n := 0
	for _, path := range paths {
		old, had := was[path]
		now, has := is[path]
		if had == has && old == now {
			continue
		}
		if n++; n > mostOfChanges {
			continue
		}
		if !had {
			old = "missing"
		}
		if !has {
			now = "gone"
		}
		fmt.Fprintf(b, "%s%s: %s -> %s\n", indent, path, destination.Cut(old, 80), destination.Cut(now, 80))
	}
	if n > mostOfChanges {
		fmt.Fprintf(b, "%sand %d more\n", indent, n-mostOfChanges)
	}
}

// flatten notes the scalars of a JSON text by their paths.
func flatten(into map[string]string, path string, text []byte) {
	var members map[string]json.RawMessage
	if len(text) > 0 && text[0] == '{' && json.Unmarshal(text, &members) == nil && len(members) > 0 {
		for k, v := range members {
			flatten(into, strings.TrimPrefix(path+"."+k, "."), v)
		}
		return
	}
	into[path] = string(text)
}

// shown writes what would be sent, or why nothing is.
func shown(b *strings.Builder, l *run.ExplainedLane) {
	for _, s := range l.Shown {
		switch {
		case s.Settled != nil:
			fmt.Fprintf(b, "    => not sent: %s, %s: %s\n", s.Settled.Outcome, s.Settled.Reason,
				destination.Cut(s.Settled.Detail, mostOfDetail))
		case s.Request == nil:
			fmt.Fprintf(b, "    => written by %s: %s\n", s.Action, destination.Cut(string(s.Item), mostOfBody))
		default:
			request(b, s.Request, l.Share)
		}
	}
	if len(l.Shown) == 0 {
		b.WriteString("    => not sent\n")
	}
}

func request(b *strings.Builder, r *transport.Captured, share int) {
	fmt.Fprintf(b, "    => %s %s", r.Method, r.URL)
	if share > 1 {
		fmt.Fprintf(b, "  (alone here; up to %d events share a request in a run)", share)
	}
	b.WriteString("\n")
	for _, k := range sortedKeys(r.Header) {
		fmt.Fprintf(b, "       %s: %s\n", k, strings.Join(r.Header[k], ", "))
	}
	if len(r.Body) > 0 {
		fmt.Fprintf(b, "       %s\n", destination.Cut(string(r.Body), mostOfBody))
	}
}

func became(b *strings.Builder, o *run.Became) {
	if o == nil {
		return
	}
	fmt.Fprintf(b, "    => in run %s: %s: %s\n", o.Run, o.Outcome, o.Says)
	for _, l := range o.Late {
		late(b, &l)
	}
	for _, l := range o.Letters {
		fmt.Fprintf(b, "       %s: %s", l.Action, l.Reason)
		if l.Status != 0 {
			fmt.Fprintf(b, ", status %d", l.Status)
		}
		fmt.Fprintf(b, " after %s", printable.Count(int64(l.Attempts), "attempt"))
		if l.First != "" {
			fmt.Fprintf(b, " from %s to %s", l.First, l.Last)
		}
		fmt.Fprintf(b, ": %s\n", destination.Cut(l.Detail, mostOfDetail))
		if l.RedrivenBy != "" {
			fmt.Fprintf(b, "       delivered since by redrive %s\n", l.RedrivenBy)
		} else {
			fmt.Fprintf(b, "       once the cause is fixed: fanfold redrive %s --to %s --reason %s\n", o.Run, l.Destination,
				l.Reason)
		}
	}
}

// late tells of a request that was not taken the first time.
func late(b *strings.Builder, l *engine.Late) {
	which := "the request with it was"
	if l.To-l.From+1 > l.Deliveries {
		which = fmt.Sprintf("it may be among %d deliveries that were", l.Deliveries)
	}
	fmt.Fprintf(b, "       %s taken at attempt %d, at %s, and first made at %s", which, l.Attempts,
		l.Taken.UTC().Format(time.DateTime), l.First.UTC().Format(time.DateTime))
	if l.Said != "" {
		fmt.Fprintf(b, "; before that: %s", destination.Cut(l.Said, mostOfDetail))
	}
	b.WriteString("\n")
}

type explainedDestination struct {
	Name     string         `json:"name"`
	Type     string         `json:"type"`
	Gates    []run.Gate     `json:"gates"`
	Requests []shownRequest `json:"requests"`
	NotSent  []notSent      `json:"not_sent"`
	Share    int            `json:"events_a_request,omitempty"`
	Became   *run.Became    `json:"became,omitempty"`
}

type explainedEvent struct {
	Event        string                 `json:"event"`
	Name         string                 `json:"name,omitempty"`
	Object       string                 `json:"object"`
	Line         int64                  `json:"line,omitempty"`
	Offset       int64                  `json:"offset"`
	Gates        []run.Gate             `json:"gates"`
	Destinations []explainedDestination `json:"destinations"`
}

// ExplainJSON writes a line of JSON for each event that was asked for.
func ExplainJSON(w io.Writer, a *run.Answers, redact func(string) string) error {
	for _, x := range a.Explanations {
		doc := explainedEvent{x.Event, x.Name, x.Object, x.Line, x.Offset, x.Gates, []explainedDestination{}}
		for _, l := range x.Destinations {
			d := explainedDestination{Name: l.Name, Type: l.Type, Gates: append([]run.Gate{}, l.Gates...),
				Requests: []shownRequest{}, NotSent: []notSent{}, Share: l.Share, Became: l.Became}
			for _, s := range l.Shown {
				if s.Settled != nil {
					d.NotSent = append(d.NotSent, notSentOf(s))
				} else {
					d.Requests = append(d.Requests, requestOf(s))
				}
			}
			doc.Destinations = append(doc.Destinations, d)
		}
		var b strings.Builder
		if err := JSON(&b, doc); err != nil {
			return err
		}
		if _, err := io.WriteString(w, redact(b.String())); err != nil {
			return err
		}
	}
	return nil
}
