package formats

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// formatCases are one record of each built-in format, as its documentation
// shows it, and the event that it stands for.
var formatCases = map[string][2]string{
	"amplitude": {`{"$insert_id":"i1","uuid":"u1","event_type":"Bought","event_time":"2026-01-02 03:04:05.123456","user_id":"7","device_id":"d","event_properties":{"price":12345678901234567890},"country":"NL"}`,
		`{"type":"track","event":"Bought","messageId":"i1","userId":"7","anonymousId":"d","timestamp":"2026-01-02 03:04:05.123456","properties":{"price":12345678901234567890},"country":"NL"}`},
	"mixpanel": {`{"event":"Bought","properties":{"time":1767323045,"distinct_id":"7","$insert_id":"i1","price":1.10}}`,
		`{"type":"track","event":"Bought","messageId":"i1","userId":"7","timestamp":"2026-01-02T03:04:05.000Z","properties":{"price":1.10}}`},
	"posthog": {`{"uuid":"u1","event":"$pageview","distinct_id":"7","properties":"{\"a\":1}","timestamp":"2026-01-02T03:04:05.123456Z"}`,
		`{"type":"page","event":"$pageview","messageId":"u1","userId":"7","timestamp":"2026-01-02T03:04:05.123456Z","properties":{"a":1}}`},
	"ga4": {`{"event_name":"purchase","event_timestamp":"1767323045123456","user_pseudo_id":"p","user_id":"7","event_bundle_sequence_id":"3","event_params":[{"key":"k","value":{"int_value":"1"}}]}`,
		`{"type":"track","event":"purchase","messageId":"p-1767323045123456-purchase-3","userId":"7","anonymousId":"p","timestamp":"2026-01-02T03:04:05.123","params":[{"key":"k","value":{"int_value":"1"}}]}`},
	"snowplow": {`{"event_id":"e","collector_tstamp":"2026-01-02 03:04:06.000","derived_tstamp":"2026-01-02 03:04:05.123","event":"struct","se_action":"click","domain_userid":"d"}`,
		`{"type":"track","event":"click","messageId":"e","anonymousId":"d","timestamp":"2026-01-02 03:04:05.123"}`},
	"rudderstack": {`{"userId":"7","payload":{"type":"track","event":"E","messageId":"m"},"createdAt":"2026-01-02T03:04:05Z","messageId":"m"}`,
		`{"type":"track","event":"E","messageId":"m"}`},
	"rudderstack-jobs": {`{"uuid":"x","job_id":1,"event_payload":{"batch":[{"type":"track","event":"E","messageId":"m"}]}}`,
		`{"type":"track","event":"E","messageId":"m"}`},
}

func TestFormats(t *testing.T) {
	names, err := Names()
	if err != nil {
		t.Fatal(err)
	}
	builtIn, err := Shapes()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		c, ok := formatCases[name]
		if !ok {
			t.Errorf("format %s has no case", name)
			continue
		}
		got := readShaped(t, "auto", builtIn, c[0])
		// Every member of the wanted event stands in the event as it is.
		inner := strings.Trim(c[1], "{}")
		for _, part := range strings.Split(inner, ",\"") {
			if !strings.Contains(got, strings.TrimRight(strings.TrimPrefix(part, "\""), "}\"")) {
				t.Errorf("%s: %s\nis not in %s", name, part, got)
			}
		}
		if strings.Contains(got, "null") {
			t.Errorf("%s: null in %s", name, got)
		}
	}
}

func readShaped(t *testing.T, format string, shapes []source.Shape, record string) string {
	t.Helper()
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte(record+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := source.Options{From: []string{in}, Format: format, Shapes: shapes}
	src, err := source.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var out []string
	for c, err := range src.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			out = append(out, string(r.Raw))
		}
	}
	return strings.Join(out, "\n")
}

func TestOwn(t *testing.T) {
	for text, want := range map[string]string{
		"type: track\nevent: {'@path': $.what}\n":                        `{"event":"b","type":"track"}`,
		`{"type":"page"}`:                                                `{"type":"page"}`,
		"unwrap: inner\nmapping: {type: track, event: {'@path': $.x}}\n": `{"event":"y","type":"track"}`,
	} {
		own, err := Own([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := readShaped(t, own.Name, []source.Shape{own}, `{"what":"b","inner":{"x":"y"}}`); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, wrong := range []string{"- a\n", "mapping: {type: {'@nope': 1}}\nno_such_key: 1\n", "mapping: [\n"} {
		if _, err := Own([]byte(wrong)); err == nil {
			t.Errorf("%q is taken for a format", wrong)
		}
	}
}

func TestEveryLayoutIsAPattern(t *testing.T) {
	all, err := Layouts()
	if err != nil || len(all) < 5 {
		t.Fatal(len(all), err)
	}
	for _, l := range all {
		if _, err := source.Open(context.Background(), source.Options{Layout: l.Name, Layouts: all}); err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
		for _, p := range l.Patterns {
			if _, err := source.Open(context.Background(), source.Options{Layout: p}); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		}
	}
}
