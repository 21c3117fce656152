package report

import (
	"cmp"
	_ "embed" // of the page
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
)

//go:embed story.html
var storyPage string

// page is a report as its template takes it: texts, and numbers as texts.
type page struct {
	Run, Status, RedriveOf, Headline, Under string
	Rehearsal, HasReasons                   bool
	Facts                                   []fact
	Lanes                                   []lanePage
	Reasons                                 []reasonRow
	Groups                                  []groupTable
	Story                                   []storyItem
	Plan                                    []planRow
	PlanSays, InputSays                     string
	Input                                   []inputRow
	Settings                                []settingRow
	By, Written                             string
}

type fact struct{ Name, Value string }

type lanePage struct {
	Name, Type, Equation, Numbers, Stopped, Problem string
	Parts                                           []barPart
	Charts                                          []chart
}

// barPart is a part of an equation's bar.
type barPart struct {
	Class, Text string
	N           uint64
}

type reasonRow struct{ Destination, Outcome, Reason, N, Example string }

type groupTable struct {
	By, Title string
	Rows      []groupRow
	Commands  []string
}

type groupRow struct{ Destination, Key, Letters, Redriven, Says string }

type storyItem struct{ Class, When, Says string }

type planRow struct {
	Destination, What, Planned, Happened string
	Off                                  bool
}

type inputRow struct{ Name, Size, Fingerprint string }

type settingRow struct{ Of, Name, Value string }

// HTML writes a report of a run as one page, which needs nothing else. by is who writes it.
func HTML(w io.Writer, st *run.Story, by string, now time.Time) error {
	t, err := template.New("story").Parse(storyPage)
	if err != nil {
		return err
	}
	return t.Execute(w, pageOf(st, by, now))
}

// grouped writes a number with its thousands apart.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counts are what became of events at a destination.
type eventCounts struct{ delivered, redriven, skipped, filtered, rejected, pending uint64 }

func countsOf(d *engine.LaneSummary) eventCounts {
	c := eventCounts{delivered: d.Delivered, redriven: engine.Total(d.Redriven), skipped: engine.Total(d.Skipped),
		filtered: d.Filtered, rejected: engine.Total(d.Rejected), pending: d.Pending}
	c.rejected -= min(c.rejected, c.redriven)
	return c
}

// Headline is the equation of all destinations of a run together, in one sentence.
func Headline(s *engine.Summary) string {
	head, under := headline(s)
	if under != "" {
		head += "; " + under
	}
	return head
}

// headline is the equation of all destinations together.
func headline(s *engine.Summary) (head, under string) {
	var all eventCounts
	for i := range s.Destinations {
		c := countsOf(&s.Destinations[i])
		all.delivered, all.redriven = all.delivered+c.delivered, all.redriven+c.redriven
		all.skipped, all.filtered = all.skipped+c.skipped, all.filtered+c.filtered
		all.rejected, all.pending = all.rejected+c.rejected, all.pending+c.pending
	}
	arrived := all.delivered + all.redriven
	of := arrived + all.rejected + all.pending
	if all.redriven > 0 {
		head = fmt.Sprintf("%s + %s redriven = ", grouped(all.delivered), grouped(all.redriven))
	}
	what := ""
	if s.Status != run.Complete { // there may be more than was read
		what = "read so far "
	}
	head += fmt.Sprintf("%s of %s %sarrived", grouped(arrived), grouped(of), what)
	var rest []string
	for _, p := range []struct {
		n    uint64
		what string
	}{{all.rejected, "rejected"}, {all.pending, "pending"}, {all.skipped, "rightly not sent"},
		{all.filtered, "kept out by filters"}} {
		if p.n > 0 {
			rest = append(rest, grouped(p.n)+" "+p.what)
		}
	}
	if n := len(s.Destinations); n > 1 {
		rest = append(rest, fmt.Sprintf("over %d destinations", n))
	}
	return head, strings.Join(rest, ", ")
}

func pageOf(st *run.Story, by string, now time.Time) *page {
	s := st.Summary
	p := &page{Run: s.Run, Status: s.Status, RedriveOf: s.RedriveOf, Rehearsal: s.Rehearsal, By: by,
		Written: stamp(now)}
	p.Headline, p.Under = headline(s)
	p.facts(st)
	for i := range s.Destinations {
		p.Lanes = append(p.Lanes, laneOf(&s.Destinations[i], st.History.Courses[s.Destinations[i].Name]))
	}
	p.reasons(st)
	p.groups(st)
	p.story(st)
	p.planned(st)
	p.inputs(st)
	p.settings(st)
	return p
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func (p *page) facts(st *run.Story) {
	s := st.Summary
	var requests, retries, bytes uint64
	for _, d := range s.Destinations {
		requests, retries, bytes = requests+d.Requests, retries+d.Retries, bytes+d.Bytes
	}
	add := func(name, value string) { p.Facts = append(p.Facts, fact{name, value}) }
	add("records read", grouped(s.Read))
	if s.BadRecords > 0 {
		add("no events", grouped(s.BadRecords))
	}
	for _, k := range sortedKeys(s.Dropped) {
		add("dropped by "+strings.ReplaceAll(k, "_", " "), grouped(s.Dropped[k]))
	}
	add("requests", grouped(requests))
	add("retries", grouped(retries))
	add("sent", printable.Size(int64(bytes)))
	if ps := st.History.Processes; len(ps) > 0 {
		add("from start to end", Duration(ps[len(ps)-1].End.Sub(ps[0].Start).Round(time.Second)))
	}
}

func laneOf(d *engine.LaneSummary, c *engine.Course) lanePage {
	l := lanePage{Name: printable.Text(d.Name), Type: d.Type, Stopped: printable.Text(d.Stopped)}
	if d.Pending > 0 {
		l.Problem = printable.Text(d.Problem)
	}
	n := countsOf(d)
	var words []string
	for _, part := range []struct {
		class, what string
		n           uint64
	}{{"delivered", "delivered", n.delivered}, {"redriven", "redriven", n.redriven}, {"rejected", "rejected", n.rejected},
		{"pending", "pending", n.pending}, {"skipped", "skipped", n.skipped}, {"filtered", "filtered", n.filtered}} {
		if part.n > 0 {
			text := grouped(part.n) + " " + part.what
			l.Parts, words = append(l.Parts, barPart{part.class, text, part.n}), append(words, text)
		}
	}
	total := n.delivered + n.redriven + n.rejected + n.pending + n.skipped + n.filtered
	l.Equation = fmt.Sprintf("%s = %s events", strings.Join(words, " + "), grouped(total))
	l.Numbers = fmt.Sprintf("= %s events; %s deliveries in %s requests, %s of them retries; %s", grouped(total),
		grouped(d.Deliveries), grouped(d.Requests), grouped(d.Retries), printable.Size(int64(d.Bytes)))
	if c != nil && len(c.Slots) > 0 {
		l.Charts = append(l.Charts, overTime(c), latencyOf(c))
		if len(c.Days) > 0 {
			l.Charts = append(l.Charts, byDay(c, d.Delivered))
		}
	}
	return l
}

func (p *page) reasons(st *run.Story) {
	s := st.Summary
	for i := range s.Destinations {
		d := &s.Destinations[i]
		for _, k := range sortedKeys(d.Rejected) {
			p.Reasons = append(p.Reasons, reasonRow{d.Name, "rejected", k, grouped(d.Rejected[k]),
				printable.Text(d.Examples[k])})
		}
		for _, k := range sortedKeys(d.Skipped) {
			p.Reasons = append(p.Reasons,
				reasonRow{d.Name, "skipped", k, grouped(d.Skipped[k]), printable.Text(d.SkippedExamples[k])})
		}
	}
	for _, k := range sortedKeys(s.BadReasons) {
		example := s.BadExamples[k]
		for _, g := range st.Groups["reason"] { // of a process that was killed the dead letters are left
			if example == "" && g.Destination == "" && g.Example.Reason == k {
				example = fmt.Sprintf("%s, line %d: %s", g.Example.Object, g.Example.Line, destination.Cut(g.Example.Detail, 300))
			}
		}
		p.Reasons = append(p.Reasons, reasonRow{"all", "no event", k, grouped(s.BadReasons[k]), printable.Text(example)})
	}
	p.HasReasons = len(p.Reasons) > 0
}

func (p *page) groups(st *run.Story) {
	for _, by := range []string{"reason", "field", "event"} {
		t := groupTable{By: by, Title: map[string]string{"reason": "Reason", "field": "Field that is blamed",
			"event": "Event"}[by]}
		for _, g := range st.Groups[by] {
			t.Rows = append(t.Rows, groupRow{cmp.Or(printable.Text(g.Destination), "all"),
				printable.Text(destination.Cut(g.Key, 200)),
				grouped(g.Letters), grouped(g.Redriven), printable.Text(destination.Cut(g.Example.Detail, 300))})
			if by == "reason" && g.Destination != "" && g.Letters > g.Redriven {
				t.Commands = append(t.Commands, fmt.Sprintf("fanfold redrive %s --to %s --reason %s",
					st.Summary.Run, printable.Text(g.Destination), printable.Text(g.Example.Reason)))
			}
		}
		t.Commands = slices.Compact(t.Commands)
		if len(t.Rows) > 0 {
			p.Groups = append(p.Groups, t)
		}
	}
}

// story tells of the processes that have worked on the run, and of redrives, in the order of time.
func (p *page) story(st *run.Story) {
	type item struct {
		at time.Time
		storyItem
	}
	var items []item
	before := run.Process{}
	for i, pr := range st.History.Processes {
		what := "The run began"
		switch {
		case i > 0 && before.Status == run.Killed: // what it had delivered in the end nobody has counted
			what = "It was resumed"
		case i > 0:
			what = fmt.Sprintf("It was resumed, with %s delivered", grouped(before.Delivered))
		}
		status := pr.Status
		says := fmt.Sprintf("%s (%s). ", what, pr.Fanfold)
		switch status {
		case run.Running:
			says += "It is under way."
		case run.Killed:
			says += fmt.Sprintf("Its process was killed: the last that it had written down of itself, after %s, was that %s "+
				"were delivered.", Duration(pr.End.Sub(pr.Start).Round(time.Second)), grouped(pr.Delivered))
		default:
			says += fmt.Sprintf("After %s it was %s: %s delivered, %s rejected, %s pending.",
				Duration(pr.End.Sub(pr.Start).Round(time.Second)), status, grouped(pr.Delivered), grouped(pr.Rejected),
				grouped(pr.Pending))
		}
		items = append(items, item{pr.Start, storyItem{status, stamp(pr.Start), says}})
		before = pr
	}
	for _, r := range st.Redrives {
		says := fmt.Sprintf("Redrive %s of %s: %s delivered, %s rejected again, %s pending.", r.Run, r.Of,
			grouped(r.Delivered), grouped(r.Rejected), grouped(r.Pending))
		at := cmp.Or(r.Start, r.End)
		items = append(items, item{at, storyItem{"redrive", stamp(at), says}})
	}
	if len(items) == 0 {
		items = append(items, item{st.LastUsed, storyItem{"", stamp(st.LastUsed), "The run was last used; " +
			"the version of fanfold that has made it kept no more."}})
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.at.Compare(b.at) })
	for _, i := range items {
		p.Story = append(p.Story, i.storyItem)
	}
}

// savedPlan is what a report needs of a saved plan, in the form of [planDocument] and in the one before, which had
// Events for Delivered and objects with a count for numbers.
type savedPlan struct {
	Destinations []struct {
		Name              string
		Delivered, Events uint64
		Skipped, Rejected map[string]savedCount
		Deliveries        uint64
		Requests, Bytes   uint64
		Seconds           float64
	}
}

type savedCount uint64

// UnmarshalJSON takes both forms.
func (n *savedCount) UnmarshalJSON(text []byte) error {
	var before struct{ Count uint64 }
	if json.Unmarshal(text, &before) == nil {
		*n = savedCount(before.Count)
		return nil
	}
	return json.Unmarshal(text, (*uint64)(n))
}

func totalOf(by map[string]savedCount) (n uint64) {
	for _, k := range by {
		n += uint64(k)
	}
	return n
}

func (p *page) planned(st *run.Story) {
	var doc savedPlan
	if st.Plan == nil || json.Unmarshal(st.Plan, &doc) != nil {
		return
	}
	p.PlanSays = "What plan --save said before, and what forward did. Redrives are not counted."
	for _, planned := range doc.Destinations {
		i := slices.IndexFunc(st.Summary.Destinations, func(d engine.LaneSummary) bool { return d.Name == planned.Name })
		if i < 0 {
			continue
		}
		d := &st.Summary.Destinations[i]
		for _, row := range []struct {
			what string
			a, b uint64
			// Requests that were made again count twice in what is sent.
			more bool
		}{{"events delivered", planned.Delivered + planned.Events, d.Delivered, false},
			{"events skipped", totalOf(planned.Skipped), engine.Total(d.Skipped), false},
			{"events rejected", totalOf(planned.Rejected), engine.Total(d.Rejected), false},
			{"deliveries", planned.Deliveries, d.Deliveries, false},
			{"requests without retries", planned.Requests, d.Requests - d.Retries, false},
			{"bytes, with those of retries", planned.Bytes, d.Bytes, d.Retries > 0}} {
			p.Plan = append(p.Plan, planRow{d.Name, row.what, grouped(row.a), grouped(row.b), row.a != row.b && !row.more})
		}
		p.Plan = append(p.Plan, planRow{d.Name, "time at its limits, and taken",
			span(time.Duration(planned.Seconds * float64(time.Second))),
			span(time.Duration(d.Seconds * float64(time.Second))), false})
	}
}

func (p *page) inputs(st *run.Story) {
	switch {
	case st.Unknown:
		p.InputSays = "A process works on the run: its list of objects cannot be read meanwhile."
	case st.Objects > len(st.Input):
		p.InputSays = fmt.Sprintf("The first %d of %s objects, of %s together.", len(st.Input), grouped(uint64(st.Objects)),
			printable.Size(st.Bytes))
	default:
		p.InputSays = fmt.Sprintf("%s, %s together.", printable.Count(st.Objects, "object"), printable.Size(st.Bytes))
	}
	for _, o := range st.Input {
		p.Input = append(p.Input, inputRow{printable.Text(o.Name), printable.Size(o.Size),
			printable.Text(destination.Cut(o.Fingerprint, 80))})
	}
}

// settings are what the run was made with, as its journal keeps it: without secrets.
func (p *page) settings(st *run.Story) {
	add := func(of, name, value string) {
		if value != "" && value != "null" && value != "0" && value != "false" {
			p.Settings = append(p.Settings, settingRow{printable.Text(of), name, printable.Text(destination.Cut(value, 400))})
		}
	}
	add("run", "configuration", st.Summary.Config)
	add("run", "profile", st.Summary.Profile)
	for _, from := range st.Summary.From {
		add("run", "from", from)
	}
	var meta struct {
		Since, Until, Filter, Format, Layout, Transform, Undated string
		Limit                                                    int64
		Destinations                                             []struct {
			Name, Type, Presets, BaseURL, Filter string
			Settings                             map[string]json.RawMessage
			Actions                              []string
		}
	}
	if json.Unmarshal(st.Meta, &meta) != nil {
		return
	}
	for _, kv := range [][2]string{{"since", meta.Since}, {"until", meta.Until}, {"filter", meta.Filter},
		{"format", meta.Format},
		{"layout", meta.Layout}, {"steps (digest)", meta.Transform}, {"undated", meta.Undated},
		{"limit", strconv.FormatInt(meta.Limit, 10)}} {
		add("run", kv[0], kv[1])
	}
	for _, d := range meta.Destinations {
		add(d.Name, "type", d.Type)
		add(d.Name, "presets", d.Presets)
		add(d.Name, "base_url", d.BaseURL)
		add(d.Name, "filter", d.Filter)
		for _, k := range sortedKeys(d.Settings) {
			add(d.Name, k, strings.Trim(string(d.Settings[k]), `"`))
		}
		for _, a := range d.Actions {
			action, rest, _ := strings.Cut(a, "|")
			add(d.Name, "action", action+": "+strings.TrimSuffix(strings.Replace(rest, "|", ", mapping ", 1), ", mapping null"))
		}
	}
	for _, pr := range st.History.Processes {
		add("process of "+stamp(pr.Start), "version", pr.Fanfold)
	}
}
