package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/source"
)

// Markdown writes a report of a run for a pull request.
func Markdown(w io.Writer, st *run.Story, by string, now time.Time) error {
	p := pageOf(st, by, now)
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", plainText(p.Headline))
	if p.Under != "" {
		fmt.Fprintf(&b, "%s.\n\n", plainText(p.Under))
	}
	var facts []string
	for _, f := range p.Facts {
		facts = append(facts, f.Name+" "+f.Value)
	}
	fmt.Fprintf(&b, "Run `%s` is %s; %s.\n\n", p.Run, p.Status, strings.Join(facts, ", "))
	var rows [][]string
	for i := range st.Summary.Destinations {
		d := &st.Summary.Destinations[i]
		c := countsOf(d)
		rows = append(rows, []string{d.Name, grouped(c.delivered), grouped(c.redriven), grouped(c.skipped),
			grouped(c.filtered),
			grouped(c.rejected), grouped(c.pending), grouped(d.Requests), grouped(d.Retries)})
	}
	markdownTable(&b, "", []string{"destination", "delivered", "redriven", "skipped", "filtered", "rejected", "pending",
		"requests", "retries"}, rows)
	rows = nil
	for _, r := range p.Reasons {
		rows = append(rows, []string{r.Destination, r.Outcome, r.Reason, r.N, r.Example})
	}
	markdownTable(&b, "Why events did not arrive", []string{"destination", "outcome", "reason", "events", "example"}, rows)
	for _, g := range p.Groups {
		rows = nil
		for _, r := range g.Rows {
			rows = append(rows, []string{r.Destination, r.Key, r.Letters, r.Redriven, r.Says})
		}
		markdownTable(&b, "Dead letters by "+g.By, []string{"destination", g.By, "letters", "redriven", "example"}, rows)
		if len(g.Commands) > 0 {
			fmt.Fprintf(&b, "```\n%s\n```\n\n", strings.Join(g.Commands, "\n"))
		}
	}
	b.WriteString("### What happened when\n\n")
	for _, s := range p.Story {
		fmt.Fprintf(&b, "- %s: %s\n", s.When, plainText(s.Says))
	}
	b.WriteString("\n")
	rows = nil
	for _, r := range p.Plan {
		rows = append(rows, []string{r.Destination, r.What, r.Planned, r.Happened})
	}
	markdownTable(&b, "Plan and outcome", []string{"destination", "what", "planned", "happened"}, rows)
	fmt.Fprintf(&b, "Input: %s\n\n%s, %s (UTC).\n", plainText(p.InputSays), by, p.Written)
	_, err := io.WriteString(w, b.String())
	return err
}

// markdownTable writes a table, unless it is empty.
func markdownTable(b *strings.Builder, title string, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	if title != "" {
		fmt.Fprintf(b, "### %s\n\n", title)
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = plainText(cell)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
	b.WriteString("\n")
}

// plainText keeps what others wrote from being Markdown or HTML.
func plainText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			r = ' '
		case strings.ContainsRune("\\`*_{}[]<>#|!~@", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// StoryJSON writes a report of a run as one JSON document.
func StoryJSON(w io.Writer, st *run.Story) error {
	head, under := headline(st.Summary)
	doc := struct {
		Headline string                 `json:"headline"`
		Under    string                 `json:"under,omitempty"`
		Summary  *engine.Summary        `json:"summary"`
		History  *run.History           `json:"history"`
		Redrives []run.Redrive          `json:"redrives"`
		Groups   map[string][]deadGroup `json:"dead_letter_groups"`
		Objects  int                    `json:"objects"`
		Bytes    int64                  `json:"input_bytes"`
		Input    []source.Object        `json:"input"`
		Plan     json.RawMessage        `json:"plan,omitempty"`
		Made     json.RawMessage        `json:"made_with,omitempty"`
	}{head, under, st.Summary, st.History, append([]run.Redrive{}, st.Redrives...), map[string][]deadGroup{},
		st.Objects, st.Bytes, st.Input, st.Plan, st.Meta}
	for by, groups := range st.Groups {
		list := []deadGroup{}
		for _, g := range groups {
			list = append(list, groupOf(g, ""))
		}
		doc.Groups[by] = list
	}
	return JSON(w, doc)
}
