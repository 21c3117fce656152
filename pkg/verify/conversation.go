package verify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Verdict is the result of one delivery in a conversation.
type Verdict struct {
	Action  string // "-" if no action accepts the event
	Outcome string
	Reason  string
	Detail  string
}

// String is the verdict in the form that sidecars use.
func (v Verdict) String() string {
	return strings.TrimSpace(v.Action + " " + v.Outcome + " " + v.Reason)
}

// Case reads from a sidecar how to send its events: with which settings (the examples,
// unless the sidecar has others), and at which time.
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

// Converse routes events, packs them into batches as a lane does, and sends one batch
// after the other, in the order of their first events. Unlike a lane, it has no pace,
// no retries and no concurrency, so that the same events always give the same requests.
// rt is the transport that adds the credentials.
func Converse(ctx context.Context, s destination.Sender, rt destination.Transport, events []string,
	now time.Time) ([]Verdict, error) {
	plan := s.Plan()
	var list destination.Deliveries
	var users []uint64
	for i, text := range events {
		ev, err := event.Parse([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		s.Route(ev, &destination.Env{Now: now, Fallback: fmt.Sprintf("fallback-%d", i)}, &list)
		for len(users) < len(list.List) {
			users = append(users, engine.UserKey(ev))
		}
	}
	verdicts := make([]Verdict, len(list.List))
	var failed error
	packer := engine.NewPacker(plan, engine.PackOptions{Concurrency: 1}, func(p *engine.Packed[int]) {
		if failed != nil {
			return
		}
		b := destination.Batch{Now: now}
		for _, i := range p.Values {
			b.Deliveries = append(b.Deliveries, &list.List[i])
		}
		rs, err := s.Send(ctx, rt, &b)
		if err == nil && len(rs) != len(b.Deliveries) {
			err = fmt.Errorf("%d results for %d deliveries", len(rs), len(b.Deliveries))
		}
		if err != nil {
			failed = fmt.Errorf("sending: %w", err)
			return
		}
		for k, i := range p.Values {
			verdicts[i] = Verdict{plan.Actions[p.Group.Action].Slug, rs[k].Outcome.String(), string(rs[k].Reason), rs[k].Detail}
		}
	})
	for i := range list.List {
		del := &list.List[i]
		if r := del.Settled; r != nil {
			verdicts[i] = Verdict{"-", r.Outcome.String(), string(r.Reason), r.Detail}
			continue
		}
		packer.Add(engine.Parcel[int]{Delivery: del, Value: i, User: users[i], Record: uint64(i), Held: len(del.Item)})
	}
	packer.Flush()
	return verdicts, failed
}
