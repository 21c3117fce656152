package engine

import (
	"math"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// Kept is one limit that a lane keeps.
type Kept struct {
	Action string        // slug; "": the limit holds for all requests of the lane together
	What   string        // requests, events, bytes (rates); concurrency, batch events, batch bytes; and those of retries
	N      float64       // as declared, or as the user has set it; a time in seconds
	Per    time.Duration // of a rate; else 0
	Docs   string        // the partner's URL for the number; "": it is not the partner's number
}

// Keeps lists the limits that a lane keeps. It reads them where the lane's parts do: rates and concurrency from
// the pacer, sizes of requests from the packer, retries from the options of the verdicts. The limits of a single event
// (size, age) are kept by the Sender's Route.
func Keeps(plan *destination.Plan, o Options) []Kept {
	var all []Kept
	for _, l := range limitsOf(plan, o) {
		k := Kept{What: l.rate.Of.String(), N: l.rate.N, Per: l.rate.Per, Docs: l.rate.Docs}
		if l.action != wholeLane {
			k.Action = plan.Actions[l.action].Slug
		}
		all = append(all, k)
	}
	c := Kept{What: "concurrency", N: float64(concurrencyOf(plan, o))}
	if int(c.N) == plan.Limits.Concurrency.N {
		c.Docs = plan.Limits.Concurrency.Docs
	}
	all = append(all, c)
	all = append(all, retriesOf(plan.Limits.Retries, o.VerdictOptions)...)
	for i := range plan.Actions {
		a := &plan.Actions[i]
		caps := capsOf(a)
		all = append(
			all,
			Kept{Action: a.Slug, What: "batch events", N: float64(caps.events), Docs: a.Limits.BatchEvents.Docs},
			Kept{Action: a.Slug, What: "batch bytes", N: float64(caps.bytes), Docs: a.Limits.BatchBytes.Docs},
		)
	}
	return all
}

// retriesOf are the limits of what a lane sends again.
func retriesOf(declared destination.Retries, o VerdictOptions) (all []Kept) {
	o = o.WithDefaults(declared)
	add := func(what string, n, partners float64) {
		k := Kept{What: what, N: n}
		if partners > 0 && n == partners {
			k.Docs = declared.Docs
		}
		all = append(all, k)
	}
	add("attempts", float64(o.Attempts), float64(declared.Attempts))
	add("retry seconds", o.MaxTime.Seconds(), declared.MaxTime.Seconds())
	add("seconds before a retry", o.waits.backoff(1, 0).Seconds(), declared.First.Seconds())
	add("seconds between retries", o.waits.doubled(math.MaxInt, backoffBase, backoffMost).Seconds(),
		declared.Longest.Seconds())
	return all
}
