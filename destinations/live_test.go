package destinations_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// irrevocable are words of what reaches people, or is gone, whatever the age of its event.
var irrevocable = regexp.MustCompile(`(?i)\b(delet|remov|suppress|unsuppress|unsubscrib|subscrib|e-?mail\b|mail\b|` +
	`sms|message|posts\b|notif|campaign|canvas|take[s]? a)`)

// TestWhatIsLiveIsDeclared: an action that sends messages or deletes says so, with the partner's
// own words for it, so that events of long ago need the user's word.
func TestWhatIsLiveIsDeclared(t *testing.T) {
	for _, d := range destinations.All() {
		for _, a := range d.Actions {
			name := d.Info.Slug + " " + a.Slug
			words := strings.Join([]string{a.Slug, a.Title, a.Doc}, " ")
			if irrevocable.MatchString(camel.ReplaceAllString(words, "$1 $2")) && a.Live.Does == "" &&
				bookOf(d.Info.Slug).Harmless[a.Slug] == "" {
				t.Errorf("%s: %q sounds as if it reached people or deleted something: declare what it starts with Live, or say "+
					"under harmless in cases.yaml what it does instead", name, a.Doc)
			}
			if a.Live.Does != "" && bookOf(d.Info.Slug).Harmless[a.Slug] != "" {
				t.Errorf("%s: it is called harmless, and has a Live", name)
			}
			if a.Live.Does != "" && !strings.HasPrefix(a.Live.Docs, "https://") {
				t.Errorf("%s: its Live names no documentation", name)
			}
		}
	}
}

var camel = regexp.MustCompile(`([a-z])([A-Z])`)

// TestHistoryIsMarked: of the cases of all partners, deliveries of events of long ago are marked as
// live where their action is declared so, those of the same events when they are new are not, and
// the user's word changes what is sent of history only where the partner has a flag for it.
func TestHistoryIsMarked(t *testing.T) {
	flagged := []string{"klaviyo", "posthog"}
	presets := map[string]string{"hubspot": "all", "braze": "all", "customerio": "all"}
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets[d.Info.Slug]})
			if err != nil {
				t.Fatal(err)
			}
			seen, changed := 0, false
			for name, text := range standard(t) {
				ev, err := event.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				at, dated := ev.Timestamp()
				if !dated {
					continue
				}
				route := func(after time.Duration, asked bool) []destination.Delivery {
					var list destination.Deliveries
					s.Route(ev, &destination.Env{Now: at.Add(after), Fallback: "f", TriggerLive: asked}, &list)
					return list.List
				}
				fresh, old, asked := route(time.Hour, false), route(49*time.Hour, false), route(49*time.Hour, true)
				for i := range fresh {
					if fresh[i].Live {
						t.Errorf("%s: an event of an hour ago is called history", name)
					}
				}
				for i := range old {
					if old[i].Settled != nil {
						continue
					}
					info := d.Actions[old[i].Action].Live
					if want := info.Does != ""; old[i].Live != want && !info.Sometimes {
						t.Errorf("%s: %s: live is %v, and what is declared %q", name, d.Actions[old[i].Action].Slug, old[i].Live,
							info.Does)
					}
					seen++
					changed = changed || i < len(asked) && (string(old[i].Item) != string(asked[i].Item) ||
						old[i].Address() != asked[i].Address())
				}
			}
			if want := slices.Contains(flagged, d.Info.Slug); changed != want && seen > 0 {
				t.Errorf("the user's word changes what is sent: %v, want %v", changed, want)
			}
		})
	}
}

// TestUntimedIsHistory: an event that nobody knows the time of may be of any age.
func TestUntimedIsHistory(t *testing.T) {
	for _, d := range destinations.All() {
		if d.Info.Slug != "slack" {
			continue
		}
		s, err := d.Open(destination.Config{Settings: d.Settings.Examples()})
		if err != nil {
			t.Fatal(err)
		}
		var list destination.Deliveries
		s.Route(read(t, `{"type":"track","event":"A","messageId":"m","userId":"u"}`),
			&destination.Env{Now: casebook.StandardDay()}, &list)
		if len(list.List) != 1 || !list.List[0].Live {
			t.Errorf("%+v", list.List)
		}
	}
}
