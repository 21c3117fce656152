package report

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
)

// deadColumns are those of a table of dead letters.
var deadColumns = []column{{"destination", false, 0}, {"action", false, 5}, {"reason", false, 0}, {"status", false, 2},
	{"event", false, 3}, {"name", false, 1}, {"user", false, 4}, {"object", false, 6}, {"line", false, 6},
	{"attempts", false, 7}, {"first", false, 9}, {"last", false, 8}, {"redriven_by", false, 8}, {"detail", false, 10}}

// Dead writes the dead letters of the run in a folder, as a table for people, csv or json, a line each.
func Dead(ctx context.Context, w io.Writer, dir string, choice run.DeadChoice, form string) error {
	if form == "json" {
		return run.EachDead(ctx, dir, choice, func(d *run.Dead) error {
			_, err := w.Write(append(append([]byte{}, d.Raw...), '\n'))
			return err
		})
	}
	t, err := rowsOf(w, deadColumns, form)
	if err != nil {
		return err
	}
	err = run.EachDead(ctx, dir, choice, func(d *run.Dead) error {
		return t.row([]string{d.Destination, d.Action, d.Reason, number(d.Status), d.Event, d.Name, d.User, d.Object,
			number(int(d.Line)), number(d.Attempts), d.First, d.Last, d.RedrivenBy, d.Detail})
	})
	if err != nil {
		return err
	}
	return t.end()
}

// deadGroup is a group of dead letters as JSON.
type deadGroup struct {
	Destination string `json:"destination,omitempty"`
	By          string `json:"by,omitempty"`
	Key         string `json:"key"`
	Letters     uint64 `json:"letters"`
	Redriven    uint64 `json:"redriven"`
	Example     string `json:"example"`
}

func groupOf(g *run.DeadGroup, by string) deadGroup {
	return deadGroup{g.Destination, by, g.Key, g.Letters, g.Redriven, g.Example.Detail}
}

// DeadGroups writes the groups of a run's dead letters.
func DeadGroups(w io.Writer, groups []*run.DeadGroup, by, form string) error {
	if form == "json" {
		for _, g := range groups {
			if err := JSON(w, groupOf(g, by)); err != nil {
				return err
			}
		}
		return nil
	}
	t, err := rowsOf(w, []column{{"letters", true, 0}, {"redriven", true, 1}, {"destination", false, 0}, {by, false, 0},
		{"example", false, 2}}, form)
	if err != nil {
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

// rowsOf begins a table for people, or csv.
func rowsOf(w io.Writer, columns []column, form string) (rows, error) {
	if form == "csv" {
		t := &csvRows{csv.NewWriter(w)}
		var names []string
		for _, c := range columns {
			names = append(names, c.name)
		}
		return t, t.row(names)
	}
	columns = slices.Clone(columns)
	for i := range columns {
		columns[i].name = strings.ToUpper(columns[i].name)
	}
	return &tableRows{table{w: w, columns: columns}}, nil
}

// tableRows is a table for people. Rows are held, so that their cells are as wide as each other, but not all of them.
type tableRows struct{ t table }

func (r *tableRows) row(cells []string) error {
	for i, c := range cells {
		cells[i] = destination.Cut(c, 100)
	}
	if r.t.row(cells...); len(r.t.rows) < 1000 {
		return nil
	}
	return r.t.flush()
}

func (r *tableRows) end() error { return r.t.flush() }

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
	t := &table{w: w, columns: []column{{"", false, 0}, {"would send", true, 0}, {"not sent", true, 0},
		{"rejected", true, 0},
		{"requests", true, 0}, {"bytes", true, 1}, {"time", true, 0}}}
	for _, l := range p.Destinations {
		takes := "-"
		if l.Span > 0 {
			takes = span(l.Span)
		}
		t.row(append(append([]string{l.Name}, numbers(l.Deliveries, planned(l.Skipped), planned(l.Rejected), l.Requests,
			l.Bytes)...), takes)...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, l := range p.Destinations {
		liveText(w, l)
		for _, k := range sortedKeys(l.Skipped) {
			fmt.Fprintf(w, "%s: not sent %d: %s%s\n", l.Name, l.Skipped[k].N, k, like(where(l.Skipped[k].Example)))
		}
		for _, k := range sortedKeys(l.Rejected) {
			fmt.Fprintf(w, "%s: would be rejected again %d: %s%s\n", l.Name, l.Rejected[k].N, k,
				like(where(l.Rejected[k].Example)))
		}
	}
	return nil
}
