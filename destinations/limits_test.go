package destinations_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/verify"
)

// TestSizesAndAges asks of every size and every age of events that a destination of the
// catalogue declares whether it is kept: what goes out in a case of the partner's does not
// when the same event is older, or further ahead, or has longer texts. A number that no
// case asks for is an error, too.
func TestSizesAndAges(t *testing.T) {
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			asked := map[string]bool{}
			cases := casesOf(t, d.Info.Slug)
			for _, c := range cases {
				askCase(t, d, c.Meta(), c.Events, asked)
			}
			for _, a := range d.Actions {
				l := a.Limits.Or(d.Limits)
				left := func() (left []string) {
					for what, declared := range map[string]bool{
						"past": l.Window.Past > 0, "future": l.Window.Future > 0, "size": l.EventBytes.N > 0,
					} {
						if declared && !asked[a.Slug+" "+what] {
							left = append(left, what)
						}
					}
					return left
				}
				for _, c := range cases { // what no case fires may take its events all the same
					for _, m := range append([]string{"", c.Mapping}, needed...) {
						meta := c.Meta()
						meta.Presets, meta.Action, meta.Mapping = "", a.Slug, m
						if len(left()) > 0 {
							askCase(t, d, meta, c.Events, asked)
						}
					}
				}
				if left := left(); len(left) > 0 && unasked[d.Info.Slug+" "+a.Slug] == "" {
					t.Errorf("%s: no case asks for its %s", a.Slug, left)
				}
			}
		})
	}
}

// askCase asks for the limits that the events of a case come near to.
func askCase(t *testing.T, d destination.Destination, m cassette.Meta, events []string, asked map[string]bool) {
	t.Helper()
	conf, now, err := verify.Case(d, m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(conf)
	if err != nil {
		return // an action that needs a mapping
	}
	for _, raw := range events {
		askLimits(t, d, s, raw, now, asked)
	}
}

// askLimits asks for the limits of the actions by which an event goes out.
func askLimits(t *testing.T, d destination.Destination, s destination.Sender, raw string, now time.Time,
	asked map[string]bool) {
	t.Helper()
	at, dated := read(t, raw).Timestamp()
	before := verdicts(t, s, raw, now)
	for i, a := range d.Actions {
		if before[i] != "" {
			continue
		}
		l := a.Limits.Or(d.Limits)
		ask := func(what string, got, want destination.Reason) {
			if asked[a.Slug+" "+what] = true; got != want {
				t.Errorf("%s: its %s is not kept: %q", a.Slug, what, got)
			}
		}
		const day = 24 * time.Hour // an action may go by another time of the event
		past := l.Window.Past
		if but := l.Window.But; but != nil {
			past = max(past, but.Past)
		}
		if past > 0 && dated {
			ask("past", verdicts(t, s, raw, at.Add(past+day))[i], destination.TooOld)
		}
		if future := l.Window.Future; future > 0 && dated {
			ask("future", verdicts(t, s, raw, at.Add(-future-day))[i], destination.TooNew)
		}
		if n := l.EventBytes.N; n > 0 && !asked[a.Slug+" size"] {
			for _, long := range longer(raw, n) {
				if got := verdicts(t, s, long, now)[i]; got == destination.TooLarge || got == tooLargeAndSent {
					ask("size", got, destination.TooLarge)
					break
				}
			}
		}
	}
}

// tooLargeAndSent is what verdicts says of an item that goes out and is as long as the texts
// that were put in.
const tooLargeAndSent = destination.Reason("sent, although it is too large")

// verdicts are why deliveries of an event do not go out, by action; "": they do.
func verdicts(t *testing.T, s destination.Sender, raw string, now time.Time) map[int]destination.Reason {
	t.Helper()
	var list destination.Deliveries
	s.Route(read(t, raw), &destination.Env{Now: now}, &list)
	out := map[int]destination.Reason{}
	for i := range len(s.Plan().Actions) {
		out[i] = destination.Unsupported
	}
	for k := range list.List {
		d := &list.List[k]
		switch i := int(d.Action); {
		case d.Settled != nil:
			out[i] = d.Settled.Reason
		case bytes.Contains(d.Item, []byte(filler[:1000])):
			out[i] = tooLargeAndSent
		default:
			out[i] = ""
		}
	}
	return out
}

func read(t *testing.T, raw string) *event.Event {
	t.Helper()
	ev, err := event.Parse([]byte(raw))
	if err == nil {
		ev, err = (&normalize.Rules{}).Event(nil, ev)
	}
	if err != nil {
		t.Fatalf("%s: %v", raw[:min(len(raw), 200)], err)
	}
	return ev
}

// needed are mappings of what actions require and have no default for.
var needed = []string{`{"action_source":"website"}`}

// unasked are actions that no event of a case fires, and who is asked in their place.
var unasked = map[string]string{"facebook-conversions-api purchase2": "purchase, which has the same limits"}

var (
	filler = strings.Repeat("long", 1000)
	texts  = regexp.MustCompile(`"\w+": ?"`)
)

// longer gives an event an n bytes longer text at each of the places where events have
// texts.
func longer(raw string, n int) (all []string) {
	text := strings.Repeat(filler, n/len(filler)+1)
	for _, of := range []string{`"properties":{`, `"traits":{`} {
		all = append(all, strings.Replace(raw, of, of+`"note":"`+text+`",`, 1))
	}
	for _, m := range texts.FindAllStringIndex(raw, -1) {
		all = append(all, raw[:m[1]]+text+raw[m[1]:])
	}
	return all
}
