package destinations_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/normalize"
)

// spellings are one instant as archives write it: what stands for the four times of an
// event.
var spellings = []string{
	`"timestamp":"2024-05-29T10:00:00.000Z"`, `"timestamp":"2024-05-29T10:00:00Z"`,
	`"timestamp":"2024-05-29T12:00:00+02:00"`,
	`"timestamp":"2024-05-29T10:00:00.000000Z"`, `"timestamp":"2024-05-29 10:00:00"`,
	`"timestamp":"2024-05-29 10:00:00 UTC"`,
	`"timestamp":"2024-05-29 10:00:00.000 +0000"`, `"timestamp":"20240529T100000Z"`, `"timestamp":1716976800`,
	`"timestamp":1716976800000`, `"timestamp":"1716976800"`, `"timestamp":"1716976800000"`, `"timestamp":1716976800000000`,
	`"timestamp":1716976800.0`, `"timestamp":"Wed May 29 2024 12:00:00 GMT+0200 (CEST)"`,
	`"timestamp":"Wed, 29 May 2024 10:00:00 GMT"`,
	`"timestamp":"29/May/2024:10:00:00 +0000"`, `"timestamp":"29.05.2024 10:00"`, `"timestamp":"05/29/2024 10:00 AM"`,
	`"timestamp":{"$date":"2024-05-29T10:00:00Z"}`,
	`"originalTimestamp":"2024-05-29T09:58:00Z","sentAt":"2024-05-29T09:58:30Z","receivedAt":"2024-05-29T10:00:30Z"`,
	`"timestamp":null,"originalTimestamp":"2024-05-29T10:00:00Z","receivedAt":"2024-05-29T11:00:00Z"`,
	`"timestamp":"","sentAt":"2024-05-29T10:00:00Z","receivedAt":"2024-05-29T11:00:00Z"`,
	`"receivedAt":"2024-05-29T10:00:00Z"`,
}

// calls are an event of each type, without its times.
var calls = []string{
	`"type":"track","event":"Order Completed","properties":{"order_id":"o-1","total":27.5,"revenue":25,` +
		`"currency":"USD","email":"ann@shop.example","products":[{"product_id":"p1","sku":"s1","name":"Cup",` +
		`"price":12.5,"quantity":2,"variant":"red"}]}`,
	`"type":"track","event":"Signed Up","properties":{"plan":"pro","email":"ann@shop.example"}`,
	`"type":"identify","traits":{"email":"ann@shop.example","name":"Ann Lee"}`,
	`"type":"page","name":"Home","properties":{"url":"https://shop.example/","path":"/","title":"Home"}`,
	`"type":"screen","name":"Home","properties":{"a":1}`,
	`"type":"group","groupId":"g-1","traits":{"name":"Acme","email":"ann@shop.example"}`,
	`"type":"alias","previousId":"a-0"`,
}

const someone = `"messageId":"m-1","userId":"u-1","anonymousId":"a-1",` +
	`"context":{"ip":"192.0.2.1","userAgent":"Mozilla/5.0","traits":{"email":"ann@shop.example"},` +
	`"page":{"url":"https://shop.example/"}}`

// TestOneInstant: however an archive writes when something happened, every destination is
// told the same instant.
func TestOneInstant(t *testing.T) {
	now := time.Date(2024, 5, 29, 12, 0, 0, 0, time.UTC)
	eachOpened(t, func(t *testing.T, s destination.Sender) {
		for _, call := range calls {
			var want []any
			for i, at := range spellings {
				got := routed(t, s, "{"+call+","+someone+","+at+"}", now)
				if i == 0 {
					want = got
				} else if !reflect.DeepEqual(got, want) {
					t.Errorf("%s with %s\nbecomes %v\nand has to be %v", call[:min(40, len(call))], at, got, want)
				}
			}
		}
	})
}

// TestNoTime: an event that nobody knows the time of is not sent as of now. Whatever of it
// is sent depends on no clock; a delivery that would be dated is rejected.
func TestNoTime(t *testing.T) {
	day := time.Date(2024, 5, 29, 12, 0, 0, 0, time.UTC)
	eachOpened(t, func(t *testing.T, s destination.Sender) {
		for _, call := range calls {
			for _, at := range []string{`"x":1`, `"timestamp":"03/01/2024 10:00"`,
				`"timestamp":"soon","receivedAt":"2024-05-29T10:00:00Z"`} {
				raw := "{" + call + "," + someone + "," + at + "}"
				if got, later := routed(t, s, raw, day), routed(t, s, raw, day.AddDate(0, 0, 40)); !reflect.DeepEqual(got, later) {
					t.Errorf("%s depends on when it is sent:\n%v\n%v", raw, got, later)
				}
			}
		}
	})
}

// eachOpened calls f with every partner, with either set of presets.
func eachOpened(t *testing.T, f func(t *testing.T, s destination.Sender)) {
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		for _, presets := range []string{"automatic", "all"} {
			t.Run(d.Info.Slug+"/"+presets, func(t *testing.T) {
				t.Parallel()
				s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets})
				if err != nil {
					t.Fatal(err)
				}
				f(t, s)
			})
		}
	}
}

// routed is what a destination makes of an event, as far as it does not say how the event
// wrote its times.
func routed(t *testing.T, s destination.Sender, raw string, now time.Time) (out []any) {
	t.Helper()
	ev, err := event.Parse([]byte(raw))
	if err == nil {
		ev, err = (&normalize.Rules{}).Event(nil, ev)
	}
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	var list destination.Deliveries
	s.Route(ev, &destination.Env{Now: now}, &list)
	for i := range list.List {
		d := &list.List[i]
		var item any
		if err := json.Unmarshal(d.Item, &item); err != nil {
			text, _ := url.QueryUnescape(string(d.Item))
			item = text
		}
		verdict := d.Verdict()
		verdict.Detail = ""
		out = append(out, fmt.Sprint(d.Action, d.Step, d.Address(), verdict), sameTimes(item))
	}
	return out
}

var rfc3339 = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)

// sameTimes writes times as RFC 3339 in one way, and leaves out the times of an event that
// goes out as it is.
func sameTimes(v any) any {
	switch v := v.(type) {
	case string:
		return rfc3339.ReplaceAllStringFunc(v, func(s string) string {
			at, _ := event.ReadTimeText([]byte(s), event.AnyOrder)
			return at.UTC().Format(time.RFC3339)
		})
	case []any:
		for i := range v {
			v[i] = sameTimes(v[i])
		}
	case map[string]any:
		for k := range v {
			if strings.HasSuffix(k, "At") || k == "originalTimestamp" {
				if _, isEvent := v["messageId"]; isEvent {
					delete(v, k)
					continue
				}
			}
			v[k] = sameTimes(v[k])
		}
	}
	return v
}
