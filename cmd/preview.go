package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
	"github.com/fanfold/fanfold/pkg/transport"
)

func (a *app) previewCommand() *cobra.Command {
	var s selection
	var output, now string
	var batch int
	var show bool
	c := &cobra.Command{
		Use:   "preview --from INPUT --to DESTINATION",
		Short: "Print the requests that forward would send, and send nothing",
		Long: `preview runs the same selection, mappings and checks as forward and prints the
requests instead of sending them, with secrets masked. Events that would not be
sent are printed with the reason; it exits 3 when one would be rejected.`,
		Example: `  fanfold preview --from events.jsonl --to mixpanel --limit 5 -o json | jq .body
  fanfold preview --from events.jsonl --to webhook --batch-events 1 -o curl --show-secrets | sh`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			at := a.now()
			if now != "" {
				t, relative, err := parseTime("--now", now, at)
				if err != nil || relative {
					return usagef("--now has to be a time like 2024-06-01T00:00:00Z, not %q", now)
				}
				at = t
				a.now = func() time.Time { return at }
			}
			if batch < 0 {
				return usagef("--batch-events has to be a positive number, not %d", batch)
			}
			j, err := a.prepareJob(&s, &runOptions{}, func(o *config.Opened) {
				if batch > 0 {
					o.Config.BatchEvents = batch
				}
			})
			if err != nil {
				return err
			}
			return a.preview(c.Context(), j, &s, at, output, show)
		},
	}
	s.flags(c)
	f := c.Flags()
	choiceP(f, &output, "output", "o", "one line a request, or commands that can be run", "json", "curl")
	f.StringVar(&now, "now", "", "preview as if it were this time")
	f.IntVar(&batch, "batch-events", 0, "at most so many events in a request; 1 turns batching off")
	f.BoolVar(&show, "show-secrets", false, "do not mask secrets")
	return c
}

// previewer collects one destination's deliveries into batches and prints them.
type previewer struct {
	a      *app
	o      *config.Opened
	plan   *destination.Plan
	net    *transport.Capture
	rt     http.RoundTripper
	now    time.Time
	form   string
	show   bool
	w      io.Writer
	open   map[destination.Group]*previewBatch
	order  []destination.Group
	reject bool
}

type previewBatch struct {
	deliveries []*destination.Delivery
	events     []string
	bytes      int
}

func (a *app) preview(ctx context.Context, j *run.Job, s *selection, now time.Time, form string, show bool) error {
	var src source.Source
	if j.Input.Stream != nil {
		dir, cleanup, err := tempDir()
		if err != nil {
			return err
		}
		defer cleanup()
		spool, err := source.OpenSpool(ctx, dir, a.in, source.SpoolOptions{Format: j.Input.Options.Format, Shapes: j.Input.Options.Shapes, Columns: j.Input.Options.Columns})
		if err != nil {
			return err
		}
		defer spool.Close()
		src = spool
	} else {
		so := j.Input.Options
		so.Since, so.Until = j.Input.Bounds.Since, j.Input.Bounds.Until
		in, err := source.Open(ctx, so)
		if err != nil {
			return err
		}
		defer in.Close()
		src = in
	}
	if j.Steps != nil {
		dir, cleanup, err := tempDir()
		if err != nil {
			return err
		}
		defer cleanup()
		if err := j.Steps.Open(dir); err != nil {
			return err
		}
		defer j.Steps.Close()
	}
	var ps []*previewer
	for _, o := range j.Destinations {
		p := &previewer{a: a, o: o, plan: o.Sender.Plan(), net: &transport.Capture{Answer: "{}"}, now: now, form: form, show: show, w: a.out, open: map[destination.Group]*previewBatch{}}
		p.rt = transport.New(transport.Options{Network: p.net, Auth: p.plan.Auth, UserAgent: "fanfold/" + a.build.Version})
		ps = append(ps, p)
	}
	var worker transform.Worker
	left, rejected := s.limit, false
	for c, err := range src.Chunks(ctx, source.Position{}) {
		if err != nil {
			return err
		}
		for i := range c.Records {
			rec := &c.Records[i]
			if rec.Err != nil {
				fmt.Fprintln(a.err, "fanfold: not an event: "+rec.Err.Error())
				rejected = true
				continue
			}
			ev, err := event.Parse(rec.Raw)
			if err != nil {
				fmt.Fprintf(a.err, "fanfold: not an event: %s, line %d: %v\n", c.Name, rec.Line, err)
				rejected = true
				continue
			}
			if t := ev.TypeValue(); t.Kind() != event.String || t.IsEmptyText() {
				fmt.Fprintf(a.err, "fanfold: not an event: %s, line %d: it has no \"type\", which every event of the Segment spec has\n", c.Name, rec.Line)
				rejected = true
				continue
			}
			at, ok := ev.Timestamp()
			if (!j.Input.Bounds.Since.IsZero() || !j.Input.Bounds.Until.IsZero()) && (!ok || at.Before(j.Input.Bounds.Since) || !j.Input.Bounds.Until.IsZero() && !at.Before(j.Input.Bounds.Until)) || !j.Filter.Match(ev.Root()) {
				continue
			}
			if j.Steps != nil {
				out, dropped, err := j.Steps.Apply(&worker, ev, rec.End)
				if err != nil {
					return err
				}
				if dropped != "" {
					continue
				}
				if out != nil {
					if ev, err = event.Parse(append([]byte(nil), out...)); err != nil {
						return err
					}
				}
			}
			id := ev.MessageID().Text()
			if id == "" || id == "null" {
				id = rec.End.String()
			}
			for _, p := range ps {
				if !p.o.Filter.Match(ev.Root()) {
					continue
				}
				env := destination.Env{Now: now, Fallback: src.Manifest().At(int(rec.End.Object)).ID() + "-" + fmt.Sprint(rec.End.Offset)}
				if err := p.event(ctx, ev, &env, id); err != nil {
					return err
				}
			}
			if s.limit > 0 {
				if left--; left == 0 {
					break
				}
			}
		}
		if s.limit > 0 && left == 0 {
			break
		}
	}
	for _, p := range ps {
		for _, g := range p.order {
			if err := p.flush(ctx, g); err != nil {
				return err
			}
		}
		rejected = rejected || p.reject
	}
	a.noteSteps(j.Steps)
	if rejected {
		return outcome(exitRejected)
	}
	return nil
}

type notSent struct {
	Destination string `json:"destination"`
	Action      string `json:"action,omitempty"`
	Event       string `json:"event"`
	Skipped     string `json:"skipped,omitempty"`
	Rejected    string `json:"rejected,omitempty"`
	Detail      string `json:"detail"`
}

type shownRequest struct {
	Destination string            `json:"destination"`
	Action      string            `json:"action"`
	Events      []string          `json:"events"`
	Method      string            `json:"method"`
	URL         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	Body        any               `json:"body"`
	Then        string            `json:"then,omitempty"`
}

func (p *previewer) print(v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	text := b.String()
	if !p.show {
		text = p.a.secrets.redact(text)
	}
	_, err := io.WriteString(p.w, text)
	return err
}

func (p *previewer) event(ctx context.Context, ev *event.Event, env *destination.Env, id string) error {
	var list destination.Deliveries
	p.o.Sender.Route(ev, env, &list)
	for i := range list.List {
		d := &list.List[i]
		action := ""
		if int(d.Action) < len(p.plan.Actions) && d.InsertID != "" {
			action = p.plan.Actions[d.Action].Slug
		}
		if r := d.Settled; r != nil {
			n := notSent{Destination: p.o.Name, Action: action, Event: id, Detail: r.Detail}
			if r.Outcome == destination.Skipped {
				n.Skipped = string(r.Reason)
			} else {
				n.Rejected, p.reject = string(r.Reason), true
			}
			if p.form == "curl" {
				fmt.Fprintf(p.w, "# %s: event %s is not sent: %s%s %s\n", n.Destination, id, n.Skipped, n.Rejected, r.Detail)
				continue
			}
			if err := p.print(n); err != nil {
				return err
			}
			continue
		}
		g := d.Group()
		plan := &p.plan.Actions[d.Action]
		most, bytes := plan.Limits.BatchEvents.N, plan.Limits.BatchBytes.N
		if most == 0 {
			most = 500
		}
		if p.plan.Local && p.o.Config.BatchEvents > 0 {
			most = p.o.Config.BatchEvents
		}
		b := p.open[g]
		if b != nil && (len(b.deliveries) >= most || bytes > 0 && b.bytes+len(d.Item)+plan.PerItem > bytes) {
			if err := p.flush(ctx, g); err != nil {
				return err
			}
			b = nil
		}
		if b == nil {
			b = &previewBatch{bytes: plan.Overhead}
			p.open[g] = b
			if !slices.Contains(p.order, g) {
				p.order = append(p.order, g)
			}
		}
		b.deliveries = append(b.deliveries, d)
		b.events = append(b.events, id)
		b.bytes += len(d.Item) + plan.PerItem
		if len(b.deliveries) >= most {
			if err := p.flush(ctx, g); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *previewer) flush(ctx context.Context, g destination.Group) error {
	b := p.open[g]
	if b == nil {
		return nil
	}
	delete(p.open, g)
	action := p.plan.Actions[g.Action].Slug
	if p.plan.Local {
		for i, d := range b.deliveries {
			if err := p.print(shownRequest{Destination: p.o.Name, Action: action, Events: b.events[i : i+1], Method: "WRITE", Headers: map[string]string{}, Body: json.RawMessage(d.Item)}); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := p.o.Sender.Send(ctx, p.rt, &destination.Batch{Deliveries: b.deliveries, Now: p.now})
	if err != nil && !errors.Is(err, transport.ErrCaptured) {
		return err
	}
	for _, r := range p.net.Take() {
		if p.form == "curl" {
			if err := p.curl(r); err != nil {
				return err
			}
			continue
		}
		s := shownRequest{Destination: p.o.Name, Action: action, Events: b.events, Method: r.Method, URL: r.URL, Headers: map[string]string{}}
		for k, v := range r.Header {
			s.Headers[strings.ToLower(k)] = strings.Join(v, ", ")
		}
		if json.Valid(r.Body) {
			s.Body = json.RawMessage(r.Body)
		} else {
			s.Body = string(r.Body)
		}
		if err := p.print(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *previewer) curl(r transport.Captured) error {
	var b strings.Builder
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	fmt.Fprintf(&b, "curl -X %s %s", r.Method, quote(r.URL))
	for _, k := range sortedKeys(r.Header) {
		for _, v := range r.Header[k] {
			fmt.Fprintf(&b, " -H %s", quote(k+": "+v))
		}
	}
	if len(r.Body) > 0 {
		fmt.Fprintf(&b, " --data-binary %s", quote(string(r.Body)))
	}
	text := b.String() + "\n"
	if !p.show {
		text = p.a.secrets.redact(text)
	}
	_, err := io.WriteString(p.w, text)
	return err
}
