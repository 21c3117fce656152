package cmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// export is one file of the fixtures of pkg/formats, and what it is read as.
type export struct {
	name  string
	data  []byte
	flags []string
	want  []string // events as JSON; "! reason: …" for records that are none
}

func archives(t *testing.T) (all []export) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join("..", "pkg", "formats", "testdata", "*.txtar"))
	if err != nil || len(list) < 5 {
		t.Fatal(list, err)
	}
	for _, path := range list {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flags, want := map[string][]string{}, map[string][]string{}
		for line := range strings.Lines(string(a.Comment)) {
			if words := strings.Fields(line); len(words) > 1 && !strings.HasPrefix(line, "#") {
				for _, w := range words[1:] {
					flags[words[0]] = append(flags[words[0]], "--"+w)
				}
			}
		}
		for _, f := range a.Files {
			if name, ok := strings.CutSuffix(f.Name, ".want"); ok {
				if text := strings.TrimSpace(string(f.Data)); text != "" {
					want[name] = strings.Split(text, "\n")
				}
			}
		}
		for _, f := range a.Files {
			if !strings.HasSuffix(f.Name, ".want") {
				all = append(all, export{f.Name, f.Data, flags[f.Name], want[f.Name]})
			}
		}
	}
	return all
}

// isRefused says that the file is not read at all.
func (a *export) isRefused() bool {
	if len(a.want) != 1 || !strings.HasPrefix(a.want[0], "! ") {
		return false
	}
	reason, _, _ := strings.Cut(a.want[0][2:], ":")
	return !slices.Contains([]string{"syntax", "not_an_event", "too_long", "truncated"}, reason)
}

func (a *export) events() (out []string) {
	for _, w := range a.want {
		if !strings.HasPrefix(w, "!") {
			out = append(out, w)
		}
	}
	return out
}

// sorted is JSON with sorted members and digits as they are.
func sorted(t *testing.T, raw []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// TestArchives sends the fixtures of every kind of archive on, and compares what comes out value by value: what file
// writes, what a preview shows, and what is read of standard input. Those that need no flags are one input.
func TestArchives(t *testing.T) {
	together := filepath.Join(t.TempDir(), "all")
	var all export
	var plain []export
	for _, a := range archives(t) {
		switch {
		case a.isRefused() || len(a.flags) > 0:
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				a.check(t, a.place(t, t.TempDir()))
			})
		default:
			a.place(t, together)
			plain = append(plain, a)
		}
		// What a table is may be told by its name, which standard input has not.
		if slices.Contains([]string{"snowplow.tsv", "sqs.json", "cell.csv", "typed.csv", "tracks.csv", "latin1-read.csv",
			"kafka-lambda.json", "twice.csv"}, a.name) {
			t.Run("piped "+a.name, func(t *testing.T) {
				t.Parallel()
				a.forward(t, "-", string(a.data))
			})
		}
	}
	slices.SortFunc(plain, func(a, b export) int { return strings.Compare(a.name, b.name) })
	for _, a := range plain {
		all.want = append(all.want, a.want...)
	}
	t.Run("together", func(t *testing.T) { all.check(t, together) })
}

// place writes the file below a folder.
func (a *export) place(t *testing.T, dir string) string {
	t.Helper()
	in := filepath.Join(dir, a.name)
	if err := os.MkdirAll(filepath.Dir(in), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, a.data, 0o600); err != nil {
		t.Fatal(err)
	}
	return in
}

func (a *export) check(t *testing.T, in string) {
	t.Helper()
	a.forward(t, in, "")
	_, out, _ := invoke(t, nil, "", append([]string{"preview", "--from", in, "--to", "webhook", "--set",
		"webhook.url=http://127.0.0.1:1", "-o", "json"}, a.flags...)...)
	compare(t, shown(t, out), a.events())
}

// forward sends the events to files, and compares these and the counts.
func (a *export) forward(t *testing.T, from, stdin string) {
	t.Helper()
	state := t.TempDir()
	args := append([]string{"forward", "--from", from, "--to", "file", "--set", "file.path=" + filepath.Join(state, "o"),
		"--set", "file.compression=none", "--state-dir", state, "-o", "json", "--progress", "never"}, a.flags...)
	code, out, errOut := invoke(t, nil, stdin, args...)
	if a.isRefused() {
		if code != exitUsage {
			t.Errorf("exit code %d, %s", code, errOut)
		}
		return
	}
	var sum struct {
		Read         int `json:"read"`
		Bad          int `json:"bad_records"`
		Destinations []struct {
			Delivered int `json:"delivered"`
		} `json:"destinations"`
	}
	if err := json.Unmarshal([]byte(out), &sum); err != nil {
		t.Fatalf("%v: %s%s", err, out, errOut)
	}
	n := len(a.events())
	if sum.Read != len(a.want) || sum.Bad != len(a.want)-n || sum.Destinations[0].Delivered != n {
		t.Errorf("%+v, want %d read and %d bad", sum, len(a.want), len(a.want)-n)
	}
	compare(t, written(t, filepath.Join(state, "o")), a.events())
}

// compare says which events are not as they should be.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("not there: %s", want[i])
		case i >= len(want):
			t.Errorf("too many: %s", got[i])
		case got[i] != want[i]:
			t.Errorf("got\n%s\nwant\n%s", got[i], want[i])
		}
	}
}

// written are the events in the files of a folder.
func written(t *testing.T, dir string) (out []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			out = append(out, sorted(t, []byte(line)))
		}
	}
	return out
}

// shown are the events in a preview's requests.
func shown(t *testing.T, preview string) (out []string) {
	t.Helper()
	for line := range strings.Lines(preview) {
		var request struct {
			Body []json.RawMessage `json:"body"`
		}
		if err := json.Unmarshal([]byte(line), &request); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, ev := range request.Body {
			out = append(out, sorted(t, ev))
		}
	}
	return out
}

// TestRoundTrips reads one tool's export and looks at what its own import, or another's, would be sent.
func TestRoundTrips(t *testing.T) {
	const now = "2024-03-11T00:00:00Z"
	files := map[string]export{}
	for _, a := range archives(t) {
		files[a.name] = a
	}
	mixpanel := []string{"--to", "mixpanel", "--set", "mixpanel.project_token=t", "--set", "mixpanel.api_secret=s"}
	amplitude := []string{"--to", "amplitude", "--set", "amplitude.api_key=k", "--set", "amplitude.secret_key=s"}
	posthog := []string{"--to", "posthog", "--set", "posthog.api_key=k"}
	ga4 := []string{"--to", "google-analytics-4", "--set", "google-analytics-4.measurement_id=G-1", "--set",
		"google-analytics-4.api_secret=s"}
	for _, c := range []struct {
		from string
		to   []string
		want []string // members that stand together in one object that is sent
	}{
		{"mixpanel.jsonl", mixpanel, []string{
			`"time":1710037800000,"$insert_id":"i-1","distinct_id":"7"`, `"$device_id":"d-1"`, `"$user_id":"7"`,
			`"time":1710037800123,"$insert_id":"i-2","distinct_id":"d-2"`, `"$device_id":"d-2"`, `"$device_id":"d-3"`,
			`"$insert_id":"i-4","distinct_id":"d-4"`, `"$insert_id":"i-5","distinct_id":"u-5"`,
			`"$identified_id":"u-6","$anon_id":"d-6"`}},
		{"mixpanel.jsonl", amplitude, []string{
			`"user_id":"7","device_id":"d-1"`, `"insert_id":"i-1"`, `"time":1710037800000`, `"device_id":"d-2"`}},
		{"mixpanel.jsonl", posthog, []string{
			`"distinct_id":"7"`, `"distinct_id":"d-2"`, `"timestamp":"2024-03-10T02:30:00.123Z"`}},
		{"amplitude.jsonl", amplitude, []string{
			`"user_id":"7","device_id":"d-1"`, `"insert_id":"i-1"`, `"time":1710037800123,"session_id":1710037700000`,
			`"price":12345678901234567890`, `"location_lat":52.1`, `[Amplitude] Page Title":"Home"`}},
		{"amplitude.jsonl", mixpanel, []string{`"time":1710037800123,"$insert_id":"i-1","distinct_id":"7"`,
			`"event":"Viewed Home"`, `"price":12345678901234567890`}},
		{"posthog.jsonl", posthog, []string{
			`"event":"$pageview","distinct_id":"u-1"`, `"timestamp":"2024-03-10T02:30:00.123456Z"`,
			`"event":"bought","distinct_id":"d-1"`,
			`"$current_url":"https://shop.example/a"`, `"$set":{"email":"ann@shop.example"}`}},
		{"posthog.jsonl", mixpanel, []string{`"event":"Viewed Home"`, `"distinct_id":"u-1"`, `"distinct_id":"d-1"`}},
		{"ga4.jsonl", ga4, []string{
			`"name":"purchase"`, `"timestamp_micros":1710037800123`, `"currency":"EUR"`, `"value":10.5`, `"name":"page_view"`,
			`"page_title":"Home"`, `"screen_name":"Cart"`, `"client_id":"p.1"`}},
		{"ga4.jsonl", mixpanel, []string{`"time":1710037800123`, `"distinct_id":"7"`, `"$device_id":"p.1"`,
			`"transaction_id":"t-1"`, `"event":"Viewed Home"`}},
		{"snowplow.tsv", mixpanel, []string{`"event":"Viewed \"Sale\" of the year"`, `"event":"order_placed"`,
			`"order_id":"o-1"`, `"total":12345678901234567890`, `"$device_id":"d-1"`, `"time":1710037800456`}},
		{"tracks.csv", mixpanel, []string{`"event":"Order Completed"`, `"$insert_id":"m-1"`, `"distinct_id":"u-1"`,
			`"$current_url":"https://shop.example/a"`, `"utm_source":"news"`}},
		{"identifies.jsonl", posthog, []string{`"email":"ann@shop.example"`, `"firstName":"Ann"`, `"age":31`}},
		{"kinesis.json", posthog, []string{`"event":"Order Completed","distinct_id":"u-1"`, `"total":12345678901234567890`}},
	} {
		t.Run(c.from+" to "+c.to[1], func(t *testing.T) {
			t.Parallel()
			a, ok := files[c.from]
			if !ok {
				t.Fatal("no such fixture")
			}
			in := filepath.Join(t.TempDir(), a.name)
			if err := os.WriteFile(in, a.data, 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errOut := invoke(t, nil, "", append([]string{"preview", "--from", in, "-o", "json", "--now", now},
				append(c.to, a.flags...)...)...)
			if code != exitOK && code != exitRejected {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			plain := strings.ReplaceAll(out, ": ", ":")
			for _, w := range c.want {
				if !strings.Contains(plain, w) {
					t.Errorf("%s is not sent in\n%s", w, out)
				}
			}
		})
	}
}
