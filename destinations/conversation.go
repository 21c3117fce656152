package destinations

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Verdict is what became of one delivery of a conversation.
type Verdict struct {
	Action  string // "-" where no action takes the event
	Outcome string
	Reason  string
	Detail  string
}

// String is the verdict as sidecars of cassettes hold it.
func (v Verdict) String() string {
	return strings.TrimSpace(v.Action + " " + v.Outcome + " " + v.Reason)
}

// Case reads from a sidecar how its events are sent: with the examples of the
// settings, and the day on which it is told.
func Case(d destination.Destination, m cassette.Meta) (c destination.Config, now time.Time, err error) {
	c = destination.Config{Settings: d.Settings.Examples(), Presets: m.Presets}
	for k, v := range m.Settings {
		c.Settings[k] = v
	}
	if m.Action != "" {
		sub := destination.Subscription{Action: m.Action}
		if m.Mapping != "" {
			if sub.Mapping, err = mapping.Parse([]byte(m.Mapping)); err != nil {
				return c, now, fmt.Errorf("mapping: %w", err)
			}
		}
		c.Actions = []destination.Subscription{sub}
	}
	now = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	if m.Now != "" {
		if now, err = time.Parse(time.RFC3339, m.Now); err != nil {
			return c, now, fmt.Errorf("now: %w", err)
		}
	}
	return c, now, nil
}

// Converse routes events, batches them as the destination's caps allow, and
// sends the batches one after the other, in the order of their first event. It
// is what a lane does without its pace, its retries and its concurrency, so
// that the same events always give the same requests. rt is the transport with
// the credentials.
func Converse(ctx context.Context, s destination.Sender, rt destination.Transport, events []string, now time.Time) (
	[]Verdict, error) {
	plan := s.Plan()
	var list destination.Deliveries
	for i, text := range events {
		ev, err := event.Parse([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		s.Route(ev, &destination.Env{Now: now, Fallback: fmt.Sprintf("fallback-%d", i)}, &list)
	}
	var order []destination.Group
	open := map[destination.Group][]int{}
	verdicts := make([]Verdict, len(list.List))
	send := func(g destination.Group) error {
		b := destination.Batch{Now: now}
		for _, i := range open[g] {
			b.Deliveries = append(b.Deliveries, &list.List[i])
		}
		rs, err := s.Send(ctx, rt, &b)
		if err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		if len(rs) != len(b.Deliveries) {
			return fmt.Errorf("%d results for %d deliveries", len(rs), len(b.Deliveries))
		}
		for k, i := range open[g] {
			verdicts[i] = Verdict{plan.Actions[g.Action].Slug, rs[k].Outcome.String(), string(rs[k].Reason), rs[k].Detail}
		}
		delete(open, g)
		return nil
	}
	for i := range list.List {
		del := &list.List[i]
		if r := del.Settled; r != nil {
			verdicts[i] = Verdict{"-", r.Outcome.String(), string(r.Reason), r.Detail}
			continue
		}
		g := del.Group()
		if len(open[g]) == 0 {
			order = append(order, g)
		}
		open[g] = append(open[g], i)
		if most := plan.Actions[g.Action].Limits.BatchEvents.N; most > 0 && len(open[g]) >= most {
			if err := send(g); err != nil {
				return verdicts, err
			}
		}
	}
	for _, g := range order {
		if len(open[g]) > 0 {
			if err := send(g); err != nil {
				return verdicts, err
			}
		}
	}
	return verdicts, nil
}
