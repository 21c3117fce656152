package destination

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// rounds sends a batch in which something may stand only once a request, the action's once:
// what stands there again goes into a second request, in the order of the events, and so on.
// Whoever packs requests sees to it ([ActionPlan.Once]), so that this is for others alone.
// What comes after a request that fails waits with it.
func (o *sender) rounds(ctx context.Context, t Transport, a *openAction, b *Batch) ([]Result, error) {
	rs := make([]Result, len(b.Deliveries))
	names := make([]string, len(rs))
	for i, d := range b.Deliveries {
		names[i] = nameIn(d.Item, a.once)
	}
	notSent := false
	for left := len(rs); left > 0; {
		round := Batch{Now: b.Now, BaseURL: b.BaseURL}
		var places []int
		taken := map[string]bool{}
		for i, d := range b.Deliveries {
			if rs[i].Outcome == Undecided && !taken[names[i]] {
				taken[names[i]] = names[i] != ""
				round.Deliveries, places = append(round.Deliveries, d), append(places, i)
			}
		}
		answer, part, err := o.exchange(ctx, t, a, &round)
		if errors.Is(err, ErrNotSent) {
			answer, part = &Answer{Status: http.StatusOK}, Same(Result{Outcome: Delivered}, len(places)) // to see the next
		} else if err != nil {
			return nil, err
		}
		notSent = notSent || err != nil
		for i, r := range part {
			rs[places[i]] = r
		}
		first := left == len(rs)
		if left -= len(places); answer.OK() && !slices.ContainsFunc(part, func(r Result) bool { return r.Outcome == Retry }) {
			continue
		}
		verdict := part[0]
		if !first && verdict.Outcome == Rejected {
			// Asked about again by themselves, so that one bad item costs itself only.
			verdict.Outcome, verdict.Reason = Retry, Conflict
		}
		for i, r := range rs {
			if first || r.Outcome == Undecided || r.Status == answer.Status {
				rs[i] = verdict
			}
		}
		break
	}
	if notSent {
		return nil, ErrNotSent
	}
	return rs, nil
}

// Name is what of a delivery may stand in a request only once; "": nothing.
func (a *ActionPlan) Name(d *Delivery) string {
	if a.Once == "" {
		return ""
	}
	return nameIn(d.Item, a.Once)
}

// nameIn is what stands in an item at a path, whatever its case.
func nameIn(item []byte, path string) string {
	v, err := event.ParseValue(item)
	if err != nil {
		return ""
	}
	return strings.ToLower(at(v, path).Text())
}
