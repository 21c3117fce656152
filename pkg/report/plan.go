package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
)

// Price is what a destination costs: so much for so many of something.
type Price struct {
	Amount float64
	Per    float64
	Of     string // event, delivery, request, MB
}

// ParsePrices reads prices such as mixpanel=0.28/1k, slack=0.01/request, s3=2/1000MB. Without
// a word they are of events. Errors begin with the text that is wrong.
func ParsePrices(texts []string, destinations []string) (map[string]Price, error) {
	out := map[string]Price{}
	for _, text := range texts {
		name, rest, ok := strings.Cut(text, "=")
		amount, unit, ok2 := strings.Cut(rest, "/")
		a, err := strconv.ParseFloat(amount, 64)
		digits := strings.TrimRight(unit, "abcdefghijklmnopqrstuvwxyzMB ")
		p := Price{Amount: a, Per: 1, Of: "event"}
		word := strings.TrimSpace(unit[len(digits):])
		if k, is := strings.CutPrefix(word, "k"); is {
			p.Per, word = 1000, strings.TrimSpace(k)
		}
		if digits != "" {
			n, wrong := strconv.ParseFloat(digits, 64)
			if wrong != nil || n <= 0 {
				ok2 = false
			}
			p.Per *= n
		}
		word = strings.TrimSuffix(word, "s")
		if word != "" {
			p.Of = map[string]string{"event": "event", "delivery": "delivery", "deliverie": "delivery", "request": "request",
				"MB": "MB"}[word]
		}
		switch {
		case !ok || !ok2 || err != nil || a < 0 || math.IsInf(a, 0) || math.IsNaN(a) || unit == "" || p.Of == "":
			return nil, fmt.Errorf("%q is no price: it has to be like mixpanel=0.28/1k, slack=0.01/request or s3=2/1000MB "+
				"(of event, delivery, request or MB)", text)
		case !slices.Contains(destinations, name):
			return nil, fmt.Errorf("%q: there is no destination %s in this plan", text, name)
		}
		out[name] = p
	}
	return out, nil
}

// of is what a lane costs.
func (p Price) of(l *run.PlannedLane) float64 { return p.Amount * p.units(l) / p.Per }

// units is how many of what has a price a lane is sent.
func (p Price) units(l *run.PlannedLane) float64 {
	switch p.Of {
	case "delivery":
		return float64(l.Deliveries)
	case "request":
		return float64(l.Requests)
	case "MB":
		return float64(l.Bytes) / 1e6
	}
	return float64(l.Events)
}

// text is what a lane costs, and how that comes about. Less than one hundredth is not shown as nothing.
func (p Price) text(l *run.PlannedLane) string {
	sum, number := p.of(l), func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	digits := 2
	for x := sum; x > 0 && x < 0.1 && digits < 8; x *= 10 {
		digits++
	}
	what := map[string]string{"event": "events", "delivery": "deliveries", "request": "requests", "MB": "MB"}[p.Of]
	return fmt.Sprintf("%.*f (%s %s at %s for %s)", digits, sum, number(math.Round(p.units(l)*1000)/1000), what,
		number(p.Amount), number(p.Per))
}

// Plan writes what a run would do.
func Plan(w io.Writer, p *run.Plan, prices map[string]Price) error {
	fmt.Fprintf(w, "plan of run %s: nothing was sent\n", p.Run)
	if p.Sample < 1 {
		fmt.Fprintf(w, "a sample: %s of the events were routed, and the counts of destinations are what that makes of all, "+
			"about; requests and time are at most so much\n", share(p.Sample))
		if !slices.ContainsFunc(p.Names, func(n *run.PlannedName) bool { return n.Routed > 0 }) {
			fmt.Fprintln(w, "none of the events is in it: a larger one says more")
		}
	}
	planInput(w, p)
	t := &table{w: w, columns: []column{{"", false, 0}, {"events", true, 0}, {"deliveries", true, 4}, {"skipped", true, 2},
		{"filtered", true, 3}, {"rejected", true, 0}, {"requests", true, 1}, {"bytes", true, 5}, {"time", true, 0}}}
	for _, l := range p.Destinations {
		takes := "-"
		if l.Span > 0 {
			takes = span(l.Span)
		}
		t.row(append(append([]string{l.Name}, numbers(l.Events, l.Deliveries, planned(l.Skipped), l.Filtered,
			planned(l.Rejected), l.Requests, l.Bytes)...), takes)...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, l := range p.Destinations {
		planLane(w, l, prices)
	}
	if len(p.Names) > 0 {
		fmt.Fprintf(w, "most frequent: %s\n", strings.Join(frequent(p, 8), ", "))
		whereNamesGo(w, p, 8)
	}
	planEarlier(w, p)
	return nil
}

func planInput(w io.Writer, p *run.Plan) {
	fmt.Fprintf(w, "input: %s, %s", printable.Count(p.Objects, "object"), printable.Count(p.Read, "record"))
	for _, k := range sortedKeys(p.Dropped) {
		fmt.Fprintf(w, ", dropped by %s %d", k, p.Dropped[k])
	}
	fmt.Fprintln(w)
	if !p.First.IsZero() {
		fmt.Fprintf(w, "events are from %s to %s\n", p.First.UTC().Format(time.RFC3339), p.Last.UTC().Format(time.RFC3339))
	}
	if p.Undated > 0 {
		fmt.Fprintf(w, "without a time: %d\n", p.Undated)
	}
	for _, k := range sortedKeys(p.Bad) {
		fmt.Fprintf(w, "no events %d: %s%s\n", p.Bad[k].N, k, like(where(p.Bad[k].Example)))
	}
}

// whereNamesGo says of the most frequent names how many of their events go where.
func whereNamesGo(w io.Writer, p *run.Plan, most int) {
	for _, n := range p.Names[:min(most, len(p.Names))] {
		var to, none []string
		for i, k := range n.To {
			switch name := p.Destinations[i].Name; {
			case k == 0:
				none = append(none, name)
			case k >= n.N || k == n.Routed && p.Sample >= 1:
				to = append(to, name)
			default:
				to = append(to, fmt.Sprintf("%s (%d)", name, k))
			}
		}
		line := "to " + shortList(to)
		if n.Routed == 0 {
			line = "none is in the sample"
		} else if len(to) == 0 {
			line = "nowhere"
		} else if len(none) > 0 {
			line += "; none to " + shortList(none)
		}
		fmt.Fprintf(w, "  %s: %s\n", destination.Cut(n.Name, 60), line)
	}
}

// shortList is a list of which a few are named.
func shortList(names []string) string {
	if n := len(names) - 6; n > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:6], ", "), n)
	}
	return strings.Join(names, ", ")
}

func planLane(w io.Writer, l *run.PlannedLane, prices map[string]Price) {
	for _, k := range sortedKeys(l.Skipped) {
		fmt.Fprintf(w, "%s: skipped %d: %s%s\n", l.Name, l.Skipped[k].N, k, like(where(l.Skipped[k].Example)))
	}
	for _, k := range sortedKeys(l.Rejected) {
		fmt.Fprintf(w, "%s: rejected %d: %s%s\n", l.Name, l.Rejected[k].N, k, like(where(l.Rejected[k].Example)))
	}
	liveText(w, l)
	if l.Skipped[string(destination.TooOld)].N+l.Skipped[string(destination.TooNew)].N > 0 {
		for _, win := range l.Windows {
			fmt.Fprintf(w, "%s: %s\n", l.Name, windowText(win))
		}
	}
	if l.Depends && l.Deliveries > 0 {
		fmt.Fprintf(w, "%s: some of its requests depend on what it answers: there may be fewer\n", l.Name)
	}
	if l.Limit != nil {
		fmt.Fprintf(w, "%s: the limit that binds: %s\n", l.Name, limitText(l.Limit))
	}
	if p, ok := prices[l.Name]; ok {
		fmt.Fprintf(w, "%s: price %s\n", l.Name, p.text(l))
	}
	if l.Backfill != "" && l.Deliveries > 0 {
		fmt.Fprintf(w, "%s: %s\n", l.Name, l.Backfill)
	}
}

func planEarlier(w io.Writer, p *run.Plan) {
	switch e := p.Earlier; {
	case e == nil:
	case len(e.Differences) > 0:
		fmt.Fprintf(w, "run %s had another configuration: %s; forward wants --continue, to go on behind that, or --fresh\n",
			e.Run, differences(e.Differences))
	case e.Status == run.Complete:
		fmt.Fprintf(w, "run %s of this command is complete: forward would send only what is new in its input%s, "+
			"and all of the above with --fresh\n", e.Run, leftText(p))
	default:
		fmt.Fprintf(w, "run %s of this command is not finished: forward would go on where it is, with what is left%s "+
			"(fanfold runs show %s)\n", e.Run, leftText(p), e.Run)
	}
}

// leftText is how many events an earlier run has left of those that are planned; "": it is not known.
func leftText(p *run.Plan) string {
	var parts []string
	for _, l := range p.Destinations {
		if n, known := p.Earlier.Left[l.Name]; known {
			parts = append(parts, fmt.Sprintf("%s for %s", printable.Count(n, "event"), l.Name))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// liveText says what events of long ago start at a partner.
func liveText(w io.Writer, l *run.PlannedLane) {
	for _, k := range sortedKeys(l.Live) {
		fmt.Fprintf(w, "%s: %d deliveries of events of more than a day ago: %s %s (%s)\n", l.Name, l.Live[k].N, k,
			l.Live[k].Does, l.Live[k].Docs)
	}
	if len(l.Live) > 0 && !l.Asked {
		fmt.Fprintf(w, "%s: forward stops before the first of these, unless it is said that they are meant: "+
			"--trigger-live %s\n", l.Name, l.Name)
	}
}

// windowText says which events a partner takes by their time, and what it would do with others.
func windowText(w destination.Window) string {
	var takes []string
	if w.Past > 0 {
		takes = append(takes, "of the last "+span(w.Past))
	}
	if w.Future > 0 {
		takes = append(takes, "at most "+span(w.Future)+" ahead")
	}
	text := "it takes events " + strings.Join(takes, " and ")
	if w.Violation != "" {
		text += "; with others, it " + w.Violation
	}
	return text + ", so they are not sent (" + w.Docs + ")"
}

func limitText(k *engine.Kept) string {
	s := fmt.Sprintf("%s %s in %s", strconv.FormatFloat(k.N, 'f', -1, 64), k.What, span(k.Per))
	if k.Action != "" {
		s += " of " + k.Action
	}
	if k.Docs != "" {
		s += " (" + k.Docs + ")"
	}
	return s
}

// where says which event an example is, and why it is one.
func where(e run.Example) string {
	s := e.Object
	if e.Line > 0 {
		s += " line " + strconv.FormatInt(e.Line, 10)
	}
	if e.Name != "" {
		s += " (" + e.Name + " " + e.Event + ")"
	}
	return destination.Cut(s+": "+e.Detail, 400)
}

func planned(by map[string]run.Planned) (n uint64) {
	for _, c := range by {
		n += c.N
	}
	return n
}

// frequent are the names of most events.
func frequent(p *run.Plan, most int) (list []string) {
	slices.SortFunc(p.Names, func(a, b *run.PlannedName) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name))
	})
	for _, n := range p.Names[:min(most, len(p.Names))] {
		list = append(list, fmt.Sprintf("%s (%d)", destination.Cut(n.Name, 60), n.N))
	}
	return list
}

// span writes how long something takes.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d >= time.Minute:
		return Duration(d.Round(time.Second))
	}
	return Duration(d.Round(time.Millisecond))
}

// share is a part of a whole, for people.
func share(of float64) string { return strconv.FormatFloat(of*100, 'g', 4, 64) + "%" }

type planLimit struct {
	Action  string  `json:"action,omitempty"`
	Of      string  `json:"of"`
	N       float64 `json:"n"`
	Seconds float64 `json:"seconds"`
	Docs    string  `json:"docs,omitempty"`
}

// planDestination has the names of a summary's destination for what it counts, too.
type planDestination struct {
	Name         string                 `json:"name"`
	Type         string                 `json:"type"`
	Filtered     uint64                 `json:"filtered"`
	Delivered    uint64                 `json:"delivered"`
	Deliveries   uint64                 `json:"deliveries"`
	Skipped      map[string]uint64      `json:"skipped"`
	SkippedLike  map[string]run.Example `json:"skipped_like,omitempty"`
	Rejected     map[string]uint64      `json:"rejected"`
	RejectedLike map[string]run.Example `json:"rejected_like,omitempty"`
	Live         map[string]planLive    `json:"live,omitempty"`
	NeedsLive    string                 `json:"needs_trigger_live,omitempty"`
	Requests     uint64                 `json:"requests"`
	Bytes        uint64                 `json:"bytes"`
	Seconds      float64                `json:"seconds"`
	Limit        *planLimit             `json:"limit,omitempty"`
	Price        *float64               `json:"price,omitempty"`
	Depends      bool                   `json:"depends_on_answers,omitempty"`
	Backfill     string                 `json:"backfill,omitempty"`
}

// planLive is what an action would start for events of long ago.
type planLive struct {
	Deliveries uint64      `json:"deliveries"`
	Like       run.Example `json:"like"`
	Does       string      `json:"does"`
	Docs       string      `json:"docs"`
}

type planName struct {
	Name  string            `json:"name"`
	Count uint64            `json:"count"`
	To    map[string]uint64 `json:"to"` // of them, that something is sent of
}

type planDocument struct {
	Run          string                 `json:"run"`
	Earlier      *run.Earlier           `json:"earlier,omitempty"`
	Objects      int                    `json:"objects"`
	Read         uint64                 `json:"read"`
	BadRecords   uint64                 `json:"bad_records"`
	BadReasons   map[string]uint64      `json:"bad_reasons,omitempty"`
	BadLike      map[string]run.Example `json:"bad_like,omitempty"`
	Dropped      map[string]uint64      `json:"dropped"`
	Undated      uint64                 `json:"undated"`
	First        time.Time              `json:"first,omitzero"`
	Last         time.Time              `json:"last,omitzero"`
	Destinations []planDestination      `json:"destinations"`
	Names        []planName             `json:"names"`
	Sample       float64                `json:"sample,omitempty"`
	Saved        *run.SavedPlan         `json:"saved,omitempty"`
}

// PlanJSON writes a plan as one JSON document, with what it holds on to, if it is to be saved.
func PlanJSON(w io.Writer, p *run.Plan, prices map[string]Price, saved *run.SavedPlan) error {
	doc := planDocument{Run: p.Run, Earlier: p.Earlier, Objects: p.Objects, Read: p.Read, BadRecords: planned(p.Bad),
		BadReasons: planCounts(p.Bad), BadLike: planExamples(p.Bad), Dropped: p.Dropped, Undated: p.Undated,
		First: p.First.UTC(), Last: p.Last.UTC(), Destinations: []planDestination{}, Names: []planName{},
		Saved: saved}
	if p.Sample < 1 {
		doc.Sample = p.Sample
	}
	for _, l := range p.Destinations {
		d := planDestination{Name: l.Name, Type: l.Type, Filtered: l.Filtered, Delivered: l.Events,
			Deliveries: l.Deliveries, Skipped: planCounts(l.Skipped), SkippedLike: planExamples(l.Skipped),
			Rejected: planCounts(l.Rejected), RejectedLike: planExamples(l.Rejected), Requests: l.Requests, Bytes: l.Bytes,
			Seconds: l.Span.Seconds(), Depends: l.Depends, Backfill: l.Backfill}
		for _, k := range sortedKeys(l.Live) {
			c := l.Live[k]
			if d.Live == nil {
				d.Live = map[string]planLive{}
			}
			d.Live[k] = planLive{c.N, c.Example, c.Does, c.Docs}
			if !l.Asked && d.NeedsLive == "" {
				d.NeedsLive = c.Example.Detail
			}
		}
		if k := l.Limit; k != nil {
			d.Limit = &planLimit{k.Action, k.What, k.N, k.Per.Seconds(), k.Docs}
		}
		if price, ok := prices[l.Name]; ok {
			sum := price.of(l)
			d.Price = &sum
		}
		doc.Destinations = append(doc.Destinations, d)
	}
	frequent(p, 0)
	for _, n := range p.Names[:min(100, len(p.Names))] {
		to := map[string]uint64{}
		for i, k := range n.To {
			if k > 0 {
				to[p.Destinations[i].Name] = k
			}
		}
		doc.Names = append(doc.Names, planName{n.Name, n.N, to})
	}
	return JSON(w, doc)
}

func planCounts(by map[string]run.Planned) map[string]uint64 {
	counts := map[string]uint64{}
	for k, c := range by {
		counts[k] = c.N
	}
	return counts
}

func planExamples(by map[string]run.Planned) map[string]run.Example {
	examples := map[string]run.Example{}
	for k, c := range by {
		examples[k] = c.Example
	}
	return examples
}
