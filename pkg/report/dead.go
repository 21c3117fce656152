package report

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
)

// deadColumns are those of a table of dead letters.
var deadColumns = []string{"destination", "action", "reason", "status", "event", "name", "user", "object", "line",
	"attempts", "first", "last", "redriven_by", "detail"}

// Dead writes the dead letters of the run in a folder, as a table for people, csv or jsonl.
func Dead(ctx context.Context, w io.Writer, dir string, choice run.DeadChoice, form string) error {
	var t rows = &tableRows{t: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	switch form {
	case "jsonl":
		return run.EachDead(ctx, dir, choice, func(d *run.Dead) error {
			_, err := w.Write(append(append([]byte{}, d.Raw...), '\n'))
			return err
		})
	case "csv":
		t = &csvRows{csv.NewWriter(w)}
	}
	if err := t.row(deadColumns); err != nil {
		return err
	}
	err := run.EachDead(ctx, dir, choice, func(d *run.Dead) error {
		return t.row([]string{d.Destination, d.Action, d.Reason, number(d.Status), d.Event, d.Name, d.User, d.Object,
			number(int(d.Line)), number(d.Attempts), d.First, d.Last, d.RedrivenBy, d.Detail})
	})
	if err != nil {
		return err
	}
	return t.end()
}

// DeadGroups writes the groups of a run's dead letters.
func DeadGroups(w io.Writer, groups []*run.DeadGroup, by, form string) error {
	if form == "jsonl" {
		for _, g := range groups {
			err := JSON(w, struct {
				Destination string `json:"destination,omitempty"`
				By          string `json:"by"`
				Key         string `json:"key"`
				Letters     uint64 `json:"letters"`
				Redriven    uint64 `json:"redriven"`
				Example     string `json:"example"`
			}{g.Destination, by, g.Key, g.Letters, g.Redriven, g.Example.Detail})
			if err != nil {
				return err
			}
		}
		return nil
	}
	var t rows = &tableRows{t: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	if form == "csv" {
		t = &csvRows{csv.NewWriter(w)}
	}
	if err := t.row([]string{"letters", "redriven", "destination", by, "example"}); err != nil {
		return err
	}
	for _, g := range groups {
		err := t.row([]string{fmt.Sprint(g.Letters), fmt.Sprint(g.Redriven), g.Destination, g.Key, g.Example.Detail})
		if err != nil {
			return err
		}
	}
	return t.end()
}

// rows are written one after the other.
type rows interface {
	row(cells []string) error
	end() error
}

// tableRows is a table for people. The cells of a few rows are held, to be as wide as each other.
type tableRows struct {
	t *tabwriter.Writer
	n int
}

func (r *tableRows) row(cells []string) error {
	short := make([]string, len(cells))
	for i, c := range cells {
		if r.n == 0 {
			c = strings.ToUpper(c)
		}
		short[i] = destination.Cut(strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(c), 100)
	}
	if _, err := fmt.Fprintln(r.t, strings.TrimRight(strings.Join(short, "\t"), "\t")); err != nil {
		return err
	}
	if r.n++; r.n%1000 == 0 {
		return r.t.Flush()
	}
	return nil
}

func (r *tableRows) end() error { return r.t.Flush() }

// csvRows is a table for spreadsheets, which must not take a cell for a formula.
type csvRows struct{ w *csv.Writer }

func (r *csvRows) row(cells []string) error {
	for i, c := range cells {
		if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
			cells[i] = "'" + c
		}
	}
	return r.w.Write(cells)
}

func (r *csvRows) end() error {
	r.w.Flush()
	return r.w.Error()
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// RedrivePlan writes what a redrive would send.
func RedrivePlan(w io.Writer, of string, p *run.Plan) error {
	if e := p.Earlier; e != nil {
		again := ""
		if e.Redrive != "" {
			again = fmt.Sprintf("; `fanfold redrive %s` sends those that were refused then", e.Redrive)
		}
		_, err := fmt.Fprintf(w, "redrive of run %s: these dead letters were sent again already, by run %s: nothing would "+
			"be sent%s\n", of, e.Run, again)
		return err
	}
	fmt.Fprintf(w, "redrive of run %s: nothing was sent; %s read\n", of, printable.Count(p.Read, "dead letter"))
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\twould send\tnot sent\trejected\trequests\tbytes\ttime\t")
	for _, l := range p.Destinations {
		takes := "-"
		if l.Span > 0 {
			takes = span(l.Span)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t\n", l.Name, l.Deliveries, planned(l.Skipped), planned(l.Rejected),
			l.Requests, l.Bytes, takes)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range p.Destinations {
		liveText(w, l)
		for _, k := range sortedKeys(l.Skipped) {
			fmt.Fprintf(w, "%s: not sent %d: %s, like %s\n", l.Name, l.Skipped[k].N, k,
				destination.Cut(l.Skipped[k].Example.Detail, 200))
		}
		for _, k := range sortedKeys(l.Rejected) {
			fmt.Fprintf(w, "%s: would be rejected again %d: %s, like %s\n", l.Name, l.Rejected[k].N, k,
				destination.Cut(l.Rejected[k].Example.Detail, 200))
		}
	}
	return nil
}
