package normalize

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

func of(t *testing.T, r Rules, raw string) map[string]any {
	t.Helper()
	var p event.Parser
	ev, err := p.Parse([]byte(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if ev, err = r.Event(&p, ev); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	again, err := r.Event(&p, ev)
	if err != nil || again != ev {
		t.Fatalf("%s is rewritten again: %s, %v", raw, again.Raw(), err)
	}
	var m map[string]any
	if err := json.Unmarshal(ev.Raw(), &m); err != nil {
		t.Fatalf("%s: %v", ev.Raw(), err)
	}
	return m
}

// TestOneTime: whichever of the four times says it, and however, it is in timestamp.
func TestOneTime(t *testing.T) {
	const want = "2024-03-10T02:30:00.000Z"
	for raw, want := range map[string]any{
		`{"type":"track","originalTimestamp":"2024-03-10T02:30:00.000Z","sentAt":"2024-03-10T02:30:05Z","receivedAt":"2024-03-10T03:00:05Z"}`: "2024-03-10T03:00:00.000Z",
		`{"type":"track","originalTimestamp":"2024-03-10T02:30:00Z","receivedAt":"2024-03-10T03:00:05Z"}`:                                     want,
		`{"type":"track","sentAt":"2024-03-10T02:30:00Z","receivedAt":"2024-03-10T03:00:05Z"}`:                                                want,
		`{"type":"track","receivedAt":"2024-03-10T02:30:00Z"}`:                                                                                want,
		`{"type":"track","timestamp":null,"receivedAt":1710037800}`:                                                                           want,
		`{"type":"track","timestamp":"","receivedAt":"1710037800000"}`:                                                                        want,
		`{"type":"track","timestamp":1710037800123}`:                                                                                          "2024-03-10T02:30:00.123Z",
		`{"type":"track","timestamp":1710037800123456}`:                                                                                       "2024-03-10T02:30:00.123456Z",
		`{"type":"track","timestamp":{"$date":"2024-03-10T02:30:00Z"}}`:                                                                       want,
		`{"type":"track","timestamp":{"$date":{"$numberLong":"1710037800000"}}}`:                                                              want,
		`{"type":"track","timestamp":"Sun Mar 10 2024 02:30:00 GMT+0000 (UTC)"}`:                                                              want,
		`{"timestamp":"2024-03-10 02:30:00","type":"track","timestamp":"2024-03-10 02:30"}`:                                                   want,
		// What has the form is left alone.
		`{"type":"track","timestamp":"2024-03-10T04:30:00+02:00"}`: "2024-03-10T04:30:00+02:00",
		`{"type":"track","timestamp":"2024-03-10T02:30:00Z"}`:      "2024-03-10T02:30:00Z",
		// What cannot be read is not guessed, not even from the others.
		`{"type":"track","timestamp":"03/01/2024 10:00","receivedAt":"2024-03-10T02:30:00Z"}`: "03/01/2024 10:00",
		`{"type":"track","timestamp":12345}`:                                                  12345.0,
		`{"type":"track"}`:                                                                    nil,
	} {
		if got := of(t, Rules{}, raw)["timestamp"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s has the timestamp %v, not %v", raw, got, want)
		}
	}
	raw := `{"type":"track","timestamp":"03/01/2024 10:00"}`
	for order, want := range map[event.DateOrder]string{event.MonthFirst: "2024-03-01T10:00:00.000Z",
		event.DayFirst: "2024-01-03T10:00:00.000Z"} {
		if got := of(t, Rules{Order: order}, raw)["timestamp"]; got != want {
			t.Errorf("order %d: %v", order, got)
		}
	}
	now := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := of(t, Rules{Undated: now}, `{"type":"track"}`)["timestamp"]; got != "2025-01-02T03:04:05.000Z" {
		t.Errorf("now: %v", got)
	}
}

// TestOneIdentity: empty ids are none, traits are where the spec has them, types are in
// small letters; and all else stays.
func TestOneIdentity(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"Track","userId":"","anonymousId":" ","event":"E","timestamp":"2024-03-10T02:30:00Z"}`:     `{"type":"track","event":"E","timestamp":"2024-03-10T02:30:00Z"}`,
		`{"type":"identify","userId":"u","context":{"traits":{"email":"a@b.example"}},"traits":{}}`:         `{"type":"identify","userId":"u","context":{"traits":{"email":"a@b.example"}},"traits":{"email":"a@b.example"}}`,
		`{"type":"identify","userId":"u","context":{"traits":{"email":"a@b.example"}}}`:                     `{"type":"identify","userId":"u","context":{"traits":{"email":"a@b.example"}},"traits":{"email":"a@b.example"}}`,
		`{"type":"identify","userId":"u","traits":{"a":1},"context":{"traits":{"email":"a@b.example"}}}`:    `{"type":"identify","userId":"u","traits":{"a":1},"context":{"traits":{"email":"a@b.example"}}}`,
		`{"type":"track","userId":"u","context":{"traits":{"email":"a@b.example"}}}`:                        `{"type":"track","userId":"u","context":{"traits":{"email":"a@b.example"}}}`,
		`{"type":"alias","userId":"u","previousId":""}`:                                                     `{"type":"alias","userId":"u"}`,
		`{"type":"group","groupId":"  ","userId":"u","messageId":"","x":"\u00e9","n":12345678901234567890}`: `{"type":"group","userId":"u","x":"é","n":12345678901234567890}`,
		`{"type":"track","userId":"u","messageId":"00000000-0000-0000-0000-000000000000","event":"E"}`:      `{"type":"track","userId":"u","event":"E"}`,
		`{"type":"track","userId":"00000000-0000-0000-0000-000000000001","event":"E"}`:                      `{"type":"track","userId":"00000000-0000-0000-0000-000000000001","event":"E"}`,
		`{"type":"PushEvent","id":"1"}`: `{"type":"PushEvent","id":"1"}`,
		`{"type":"track","userId":0}`:   `{"type":"track","userId":0}`,
	} {
		var m map[string]any
		if err := json.Unmarshal([]byte(want), &m); err != nil {
			t.Fatal(err)
		}
		if got := of(t, Rules{}, raw); !reflect.DeepEqual(got, m) {
			t.Errorf("%s is %v, not %s", raw, got, want)
		}
	}
}

// FuzzEvent: what is rewritten is an event still, has what it had in all other members,
// and is not rewritten again.
func FuzzEvent(f *testing.F) {
	f.Add(`{"type":"IDENTIFY","userId":"","timestamp":1710037800,"context":{"traits":{"a":[1,{"b":"\ud83d"}]}}}`, uint8(1))
	f.Add(`{"type":"track","timestamp":"24:00","timestamp":"2024-03-10T24:00:00Z","\u0074ype":"x"}`, uint8(2))
	f.Fuzz(func(t *testing.T, raw string, order uint8) {
		var p event.Parser
		ev, err := p.Parse([]byte(raw))
		if err != nil {
			return
		}
		r := Rules{Order: event.DateOrder(order % 3)}
		out, err := r.Event(&p, ev)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		again, err := r.Event(&p, out)
		if err != nil || again != out {
			t.Fatalf("%q: %s, rewritten again: %s, %v", raw, out.Raw(), again.Raw(), err)
		}
		was, ok1 := ev.Timestamp()
		is, ok2 := out.Timestamp()
		if ok1 && (!ok2 || !was.Equal(is)) && was.Year() >= 0 && was.Year() < 10000 {
			t.Fatalf("%q: %v became %v", raw, was, is)
		}
		for k, v := range ev.Root().Members() {
			switch k.Text() {
			case "type", "timestamp", "userId", "anonymousId", "previousId", "groupId", "messageId", "traits":
				continue
			}
			if got := out.Root().Get(k.Text()); string(got.Raw()) != string(ev.Root().Get(k.Text()).Raw()) {
				t.Fatalf("%q: member %s is %s, was %s", raw, k.Text(), got.Raw(), v.Raw())
			}
		}
	})
}
