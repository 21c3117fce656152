package run

import (
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/journal"
)

// subscribedKey is the journal key for the subscriptions of a run's destinations.
const subscribedKey = "subscribed"

// subscribedOf returns what the destinations of a run were subscribed to, by name: their own actions, or the
// presets of that time. nil: the run was made by a version of fanfold that did not store it.
func subscribedOf(run *journal.Run) (subscribed map[string][]string, err error) {
	_, err = run.Get(subscribedKey, &subscribed)
	return subscribed, err
}

// subscribedTo is what a destination is subscribed to, redacted for storage, because a mapping may contain a
// secret.
func subscribedTo(d *config.Opened, redact func(string) string) []string {
	subscribed := slices.Clone(d.Sender.Plan().Subscribed)
	for i := range subscribed {
		subscribed[i] = redact(subscribed[i])
	}
	return subscribed
}

// freezeSubscriptions stores what the destinations of a run are subscribed to. The journal identifies a delivery
// by its index among the deliveries of its event, so another version of fanfold, with other presets, would confuse
// them: a destination with unfinished deliveries is refused then. A destination without any continues with today's
// presets, and the user gets a notice. Destinations whose subscriptions the user has changed on purpose are not
// handled here.
func freezeSubscriptions(run *journal.Run, dests []*config.Opened, byUser []string, notice func(Notice),
	redact func(string) string,
) error {
	had, err := subscribedOf(run)
	if err != nil {
		return err
	}
	now := map[string][]string{}
	for name, subscribed := range had {
		now[name] = subscribed
	}
	changed := had == nil
	for _, d := range dests {
		subscribed := subscribedTo(d, redact)
		before, known := had[d.Name]
		now[d.Name] = subscribed
		if known && slices.Equal(before, subscribed) {
			continue
		}
		changed = true
		if !known || slices.Contains(byUser, d.Name) {
			continue
		}
		what := differences(before, subscribed)
		if run.Lane(d.Name).Resume().UnderWay() {
			return mistakef("run %s was begun with other presets of %s (%s), and has deliveries under way that "+
				"are numbered by them: finish it with the version of fanfold that has begun it, "+
				"or send everything again with --fresh", run.Name(), d.Name, what)
		}
		notice(NewPresets{Run: run.Name(), Destination: d.Name, Changes: what})
	}
	if !changed {
		return nil
	}
	return run.Put(subscribedKey, now)
}

// differences describes how two lists of subscriptions differ.
func differences(before, now []string) string {
	var out []string
	for _, s := range before {
		if !slices.Contains(now, s) {
			out = append(out, "then "+s)
		}
	}
	for _, s := range now {
		if !slices.Contains(before, s) {
			out = append(out, "now "+s)
		}
	}
	if len(out) == 0 {
		return "in another order"
	}
	return strings.Join(out, "; ")
}
