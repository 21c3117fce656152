package destinations_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// caller is the line of a destination that reads, if one does, else that of the
// runtime.
func caller(slug string) string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	first := ""
	for {
		f, more := frames.Next()
		at := fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		if strings.Contains(f.File, "/destinations/"+slug+"/") {
			return at + " through " + first
		}
		if first == "" && !strings.Contains(f.File, "/pkg/event/") {
			first = at
		}
		if !more {
			return first
		}
	}
}

// TestRecipes routes events of the same forms and different values with and
// without what is remembered of earlier ones: what comes of them has to be the
// same, to the byte, for every destination. With -v it says what keeps recipes from
// being of use, and where; FANFOLD_EVENTS=50000 is the long form.
func TestRecipes(t *testing.T) {
	var text bytes.Buffer
	if err := eventgen.Write(&text, eventgen.Options{Seed: 5, Events: 300, Messy: true}); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	var lines [][]byte
	for line := range bytes.Lines(text.Bytes()) {
		lines = append(lines, bytes.TrimSpace(line))
	}
	var events [][]byte
	n := 2000
	if s := os.Getenv("FANFOLD_EVENTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("FANFOLD_EVENTS: %v", err)
		}
	}
	for i := range n {
		raw := lines[rnd.IntN(len(lines))]
		if i%3 > 0 {
			raw = eventgen.Vary(rnd, raw, []int{4, 40}[i%2], `"Iterable"`)
		}
		events = append(events, raw)
	}
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		for _, presets := range []string{"automatic", "all"} {
			t.Run(d.Info.Slug+"/"+presets, func(t *testing.T) {
				t.Parallel()
				with, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets})
				if err != nil {
					t.Fatal(err)
				}
				without, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets})
				if err != nil {
					t.Fatal(err)
				}
				known, strange := event.Parser{Forms: new(event.Forms)}, event.Parser{}
				var got, want destination.Deliveries
				reasons := map[string]int{}
				got.Debug = func(what string) { reasons[what+" at "+caller(d.Info.Slug)]++ }
				for i, raw := range events {
					a, err := known.Parse(raw)
					if err != nil {
						continue
					}
					b, err := strange.Parse(raw)
					if err != nil {
						t.Fatal(err)
					}
					env := destination.Env{Now: time.Date(2024, 3, 2, i%24, 0, 0, 0, time.UTC), Fallback: fmt.Sprint("fallback-", i)}
					got.Reset()
					want.Reset()
					with.Route(a, &env, &got)
					without.Route(b, &env, &want)
					if !reflect.DeepEqual(got.List, want.List) || !reflect.DeepEqual(got.Stamps, want.Stamps) {
						show := func(list []destination.Delivery) (s string) {
							for _, d := range list {
								item := d.Item
								d.Item = nil
								s += fmt.Sprintf("\n%s\n%+v", item, d)
							}
							return s
						}
						t.Fatalf("event %d differs from the same without recipes; does a Compute capture something of an event? %s\nbecame %s %v\nand has to be %s %v", i, raw, show(got.List), got.Stamps, show(want.List), want.Stamps)
					}
					if i%200 == 199 {
						known.Reset()
						strange.Reset()
					}
				}
				for _, why := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int { return reasons[b] - reasons[a] }) {
					t.Logf("%d recordings: %s", reasons[why], why)
				}
			})
		}
	}
}

// TestRecipesOfRareForms routes events that recipes have been wrong about.
func TestRecipesOfRareForms(t *testing.T) {
	blob := func(s string) string {
		return `{"type":"track","event":"e","userId":"u","messageId":"m","timestamp":"2024-03-01T00:00:00Z","properties":{"blob":"` + s + `"}}`
	}
	blobs := []string{blob(`{}`), blob(`{}`), blob(`{\"a\":1}`), blob(`{}`), blob(`[]`)}
	decoded := func(field string) string {
		return `{"time":{"@path":"$.timestamp"},"event":{"@path":"$.event"},"name":{"@path":"$.event"},"external_id":{"@path":"$.userId"},"user_id":{"@path":"$.userId"},"event_type":{"@path":"$.event"},"` + field + `":{"@json":{"mode":"decode","value":{"@path":"$.properties.blob"}}}}`
	}
	agent := func(s string) string {
		return `{"type":"track","event":"Order Completed","messageId":"m","timestamp":"2024-03-01T00:00:00Z","context":{"userAgent":"` + s + `"},"properties":{"products":[{"time":1,"distinct_id":"u","$insert_id":"i","$browser":"b"}]}}`
	}
	chrome := "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
	order := `{"event":{"@path":"$.event"},"time":{"@path":"$.timestamp"},"generatePurchaseEventPerProduct":true,"userAgent":{"@path":"$.context.userAgent"},"products":{"@path":"$.properties.products"},"event_properties":{"@path":"$.properties"}}`
	for _, c := range []struct {
		what, slug, action, mapping string
		events                      []string
	}{
		{"an object that was empty at first", "mixpanel", "trackEvent", decoded("event_properties"), blobs},
		{"an object that was empty at first", "amplitude", "logEvent", decoded("user_properties"), blobs},
		{"an object that was empty at first", "braze", "trackEvent", decoded("properties"), blobs},
		{"nothing computed at first", "mixpanel", "trackPurchase", order, []string{agent("weird"), agent("weird"), agent(chrome)}},
		{"nothing computed at last", "mixpanel", "trackPurchase", order, []string{agent(chrome), agent(chrome), agent("weird")}},
	} {
		t.Run(c.slug+"/"+c.what, func(t *testing.T) {
			at := slices.IndexFunc(destinations.All(), func(d destination.Destination) bool { return d.Info.Slug == c.slug })
			d := destinations.All()[at]
			m, err := mapping.Parse([]byte(c.mapping))
			if err != nil {
				t.Fatal(err)
			}
			open := func() destination.Sender {
				s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Actions: []destination.Subscription{{Action: c.action, Mapping: m}}})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			with, without := open(), open()
			known := event.Parser{Forms: new(event.Forms)}
			for _, raw := range c.events {
				a, err := known.Parse([]byte(raw))
				if err != nil {
					t.Fatal(err)
				}
				b, err := event.Parse([]byte(raw))
				if err != nil {
					t.Fatal(err)
				}
				var got, want destination.Deliveries
				env := destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC)}
				with.Route(a, &env, &got)
				without.Route(b, &env, &want)
				if !reflect.DeepEqual(got.List, want.List) {
					t.Errorf("%s became %s and has to be %s", raw, got.List[0].Item, want.List[0].Item)
				}
			}
		})
	}
}
