package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Catalogue lists destinations; with rungs, how much code each of them needs.
func Catalogue(w io.Writer, all []destination.Destination, rungs bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, d := range all {
		if rungs {
			name := []string{"", "fields", "functions", "items", "results", "conversation"}[d.Rung()]
			fmt.Fprintf(t, "%s\t%d\t%s\n", d.Info.Slug, d.Rung(), name)
		} else {
			fmt.Fprintf(t, "%s\t%s\t%s\n", d.Info.Slug, d.Info.Name, d.Info.Summary)
		}
	}
	return t.Flush()
}

// Manual shows a destination's settings, limits, actions and presets.
func Manual(w io.Writer, d destination.Destination) {
	fmt.Fprintf(w, "%s — %s\n%s\n\n", d.Info.Name, d.Info.Summary, d.Info.Docs)
	if d.Info.Backfill != "" {
		fmt.Fprintf(w, "Backfill: %s\n\n", d.Info.Backfill)
	}
	if d.Order {
		fmt.Fprint(w, "Order: a user's events arrive in their order, also while some are tried again.\n\n")
	} else {
		fmt.Fprint(w, "Order: events arrive in any order; with `order: user` a user's arrive in theirs.\n\n")
	}
	fmt.Fprintln(w, "SETTINGS")
	for _, f := range d.Settings.Fields {
		showSetting(w, d.Info.Slug, f)
	}
	fmt.Fprintln(w, "\nLIMITS")
	if !showLimits(w, "  ", d.Limits) {
		fmt.Fprintln(w, "  none")
	}
	if p := (engine.VerdictOptions{}).WithDefaults(d.Limits.Retries); !slices.Contains(d.Unused, "retry") {
		fmt.Fprintf(w, "\nRETRIES\n  a delivery is tried at most %d times, and for at most %s; then it is a dead "+
			"letter. `retry:` changes that.\n",
			p.Attempts, Duration(p.MaxTime))
	}
	if len(d.Sayings) > 0 {
		fmt.Fprintln(w, "\nANSWERS THAT MEAN SOMETHING ELSE THAN THEIR STATUS")
	}
	for _, s := range d.Sayings {
		fmt.Fprintf(w, "  %s (%s)\n", s, s.Docs)
	}
	fmt.Fprintln(w, "\nACTIONS")
	for _, act := range d.Actions {
		showAction(w, d, act)
	}
	showPresets(w, d)
	if len(d.Info.Differences) > 0 {
		fmt.Fprintln(w, "\nDIFFERENCES FROM SEGMENT'S DESTINATION")
		for _, x := range d.Info.Differences {
			fmt.Fprintf(w, "  %s (%s)\n", x.What, x.Docs)
		}
	}
}

func showSetting(w io.Writer, slug string, f setting.Field) {
	var notes []string
	if f.Required {
		notes = append(notes, "required")
	}
	if f.Secret {
		notes = append(notes, "secret")
	}
	if f.Default != "" {
		notes = append(notes, "default "+f.Default)
	}
	if len(f.Choices) > 0 {
		notes = append(notes, "one of "+strings.Join(f.Choices, ", "))
	}
	fmt.Fprintf(w, "  %-18s %s", f.Key, f.Doc)
	if len(notes) > 0 {
		fmt.Fprintf(w, " (%s)", strings.Join(notes, "; "))
	}
	fmt.Fprintf(w, "\n  %-18s %s\n", "", config.EnvName(slug, f.Key))
}

func showAction(w io.Writer, d destination.Destination, act destination.ActionInfo) {
	fmt.Fprintf(w, "  %s — %s\n", act.Slug, act.Doc)
	if l := act.Live; l.Does != "" {
		when := ""
		if l.Sometimes {
			when = "may be that it "
		}
		if l.Until > 0 {
			when += "for events of up to " + Duration(l.Until) + " ago "
		}
		fmt.Fprintf(w, "    live: %s%s (%s); for events of more than a day ago this takes --trigger-live %s\n",
			when, l.Does, l.Docs, d.Info.Slug)
	}
	for _, x := range act.Success {
		fmt.Fprintf(w, "    delivered when the answer is %s (%s)\n", x, x.Docs)
	}
	if j := act.Job; j != nil {
		fmt.Fprintf(w, "    it is worked through later: what goes wrong then is asked for, for up to %s (%s)\n",
			Duration(j.Patience), j.Docs)
	}
	fires := func(p destination.Preset) bool { return p.Action == act.Slug || p.Otherwise == act.Slug }
	if len(d.Presets) > 0 && !slices.ContainsFunc(d.Presets, fires) {
		fmt.Fprintln(w, "    no preset fires it: subscribe to it with `actions:`")
	}
	if act.Trigger != "" {
		fmt.Fprintf(w, "    presets all: %s\n", strings.Join(strings.Fields(act.Trigger), " "))
	}
	showLimits(w, "    limit: ", act.Limits.Own(d.Limits).Alone())
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range act.Fields {
		showField(t, "    ", f)
	}
	t.Flush()
}

func showPresets(w io.Writer, d destination.Destination) {
	if len(d.Presets) == 0 {
		return
	}
	kind := "as in Segment"
	if d.Info.Minimal {
		kind = "fanfold's own minimal set"
	}
	fmt.Fprintf(w, "\nPRESETS (automatic, %s)\n", kind)
	for _, p := range d.Presets {
		instead := ""
		if p.Otherwise != "" {
			instead = ", " + p.Otherwise + " for those that lack what it needs"
		}
		fmt.Fprintf(w, "  %s: %s when %s%s\n", p.Name, p.Action, p.Subscribe, instead)
		for _, k := range sortedKeys(p.Mapping) {
			fmt.Fprintf(w, "    %s = %s\n", k, p.Mapping[k])
		}
	}
}

func showField(w io.Writer, indent string, f payload.Field) {
	kind := f.Type.String()
	if f.Multiple {
		kind += " list"
	}
	if f.Required {
		kind += ", required"
	}
	def := ""
	if !f.Default.IsZero() {
		def = f.Default.String()
	}
	fmt.Fprintf(w, "%s%s\t%s\t%s\n", indent, f.Key, kind, def)
	for _, p := range f.Properties {
		showField(w, indent+"  ", p)
	}
}

// showLimits writes a line for each limit, and says whether there is one.
func showLimits(w io.Writer, indent string, l destination.Limits) (some bool) {
	line := func(what, docs string) {
		some = true
		fmt.Fprintf(w, "%s%s (%s)\n", indent, what, docs)
	}
	for _, r := range l.Rates {
		line(fmt.Sprintf("%.0f %s in %s", r.N, r.Of, Duration(r.Per)), r.Docs)
	}
	for _, c := range []struct {
		what string
		cap  destination.Cap
	}{
		{"%d requests in flight", l.Concurrency},
		{"%d events in a request", l.BatchEvents},
		{"%d bytes in a request", l.BatchBytes},
		{"%d bytes an event", l.EventBytes},
	} {
		if c.cap.N > 0 {
			line(fmt.Sprintf(c.what, c.cap.N), c.cap.Docs)
		}
	}
	r := l.Retries
	if r.Attempts > 0 {
		line(fmt.Sprintf("%d attempts of a delivery", r.Attempts), r.Docs)
	}
	if r.MaxTime > 0 {
		line(fmt.Sprintf("%s of attempts of a delivery", Duration(r.MaxTime)), r.Docs)
	}
	if r.First > 0 {
		line(fmt.Sprintf("%s before something is sent again, each time twice as long", Duration(r.First)), r.Docs)
	}
	if r.Longest > 0 {
		line(fmt.Sprintf("%s at most before something is sent again", Duration(r.Longest)), r.Docs)
	}
	if l.Window.Past > 0 {
		line(fmt.Sprintf("events of the last %s; the partner %s others",
			Duration(l.Window.Past), l.Window.Violation), l.Window.Docs)
	}
	if but := l.Window.But; but != nil {
		line(fmt.Sprintf("events of the last %s where %s is %s", Duration(but.Past), but.Field, but.Value), but.Docs)
	}
	if !l.Window.Since.IsZero() {
		line("events from "+l.Window.Since.Format(time.DateOnly)+" on", l.Window.Docs)
	}
	if l.Window.Future > 0 {
		line(fmt.Sprintf("events at most %s ahead; the partner %s others",
			Duration(l.Window.Future), l.Window.Violation), l.Window.Docs)
	}
	if l.Dedupe.Field != "" {
		within := ""
		if l.Dedupe.Window > 0 {
			within = " within " + Duration(l.Dedupe.Window)
		}
		line("recognises repeats by "+l.Dedupe.Field+within, l.Dedupe.Docs)
	}
	return some
}

// Duration is a time for people: days from two on.
func Duration(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	s := d.String() // 10s, 1m0s, 2h0m0s
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
