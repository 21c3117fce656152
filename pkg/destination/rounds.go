package destination

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// rounds sends a batch for an action in which a value may occur only once in a request ([Declared.Once]).
// Deliveries with a repeated value go into a second request, in the order of the events, and so on. Lanes already
// pack requests that way ([ActionPlan.Once]), so this is only for other callers. When a request fails, those after
// it are not made, and its result counts for their deliveries, too.
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
			// Each is retried by itself, so that one bad item does not fail the others.
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

// Name is the value in a delivery that may occur only once in a request; "": there is none.
func (a *ActionPlan) Name(d *Delivery) string {
	if a.Once == "" {
		return ""
	}
	return nameIn(d.Item, a.Once)
}

// nameIn is the value at a path in an item, in lower case.
func nameIn(item []byte, path string) string {
	v, err := event.ParseValue(item)
	if err != nil {
		return ""
	}
	return strings.ToLower(at(v, path).Text())
}
