package setting_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/setting"
)

type settings struct {
	Token   string            `setting:"project_token,required" doc:"d" pattern:"[a-z0-9]{4,}" example:"abcd"`
	Secret  string            `setting:"api_secret,required,secret" doc:"d" pattern:"s-.+" example:"s-example"`
	Region  string            `setting:"api_region" doc:"d" default:"us" choices:"us,eu"`
	Strict  bool              `setting:"strict" doc:"d" default:"true"`
	Level   int               `setting:"level" doc:"d"`
	Share   float64           `setting:"share" doc:"d"`
	Wait    time.Duration     `setting:"wait" doc:"d" default:"5s"`
	Names   []string          `setting:"names" doc:"d"`
	Headers map[string]string `setting:"headers,secret" doc:"d"`
	ignored int
}

func TestDecode(t *testing.T) {
	schema := setting.Of[settings]()
	got, err := setting.Decode[settings](schema, map[string]any{
		"project_token": "abc123", "api_secret": "s-1", "strict": "no", "level": 3, "share": "0.5", "names": "a, b",
		"headers": map[string]any{"X-Key": "v-secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Region != "us" || got.Strict || got.Level != 3 || got.Share != 0.5 || got.Wait != 5*time.Second ||
		strings.Join(got.Names, "|") != "a|b" || got.Headers["X-Key"] != "v-secret" || got.ignored != 0 {
		t.Errorf("decoded %+v", got)
	}
	if s := schema.Secrets(got); strings.Join(s, " ") != "s-1 v-secret" {
		t.Errorf("secrets %q", s)
	}
}

// TestNoChoice: an empty text is none of the choices, where without a value one of them is the default.
func TestNoChoice(t *testing.T) {
	schema := setting.Of[settings]()
	_, err := setting.Decode[settings](schema,
		map[string]any{"project_token": "abc123", "api_secret": "s-1", "api_region": ""})
	if err == nil || !strings.Contains(err.Error(), `has to be one of us, eu, not ""`) {
		t.Error(err)
	}
	if s, err := setting.Decode[settings](schema,
		map[string]any{"project_token": "abc123", "api_secret": "s-1"}); err != nil || s.Region != "us" {
		t.Error(s, err)
	}
}

func TestAllProblemsAtOnceAndNoValueInThem(t *testing.T) {
	_, err := setting.Decode[settings](setting.Of[settings](), map[string]any{
		"projekt_token": "x", "api_secret": "hunter2hunter2", "api_region": "mars", "strict": "maybe", "level": "1.5",
		"wait": "soon", "names": 5, "zzzzzzzz": 1, "share": []any{},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"setting project_token: is required", "setting projekt_token: there is no such setting; did you mean project_token?",
		"setting api_secret: does not have the right form, which is like s-example",
		`setting api_region: has to be one of us, eu, not "mars"`, "setting strict: has to be true or false, not text",
		"setting level: has to be a whole number, not text", "setting wait: has to be a duration",
		"setting names: has to be a list, not a number",
		"setting zzzzzzzz: there is no such setting; the settings are project_token",
		"setting share: has to be a number, not a list",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no problem %q in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error holds a secret")
	}
	if n := len(setting.Problems(err)); n != 10 {
		t.Errorf("%d problems, want 10", n)
	}
}

func TestTables(t *testing.T) {
	type tables struct {
		Headers map[string]string `setting:"headers,secret" doc:"d"`
	}
	schema := setting.Of[tables]()
	for _, c := range []struct {
		in   any
		want string // or what the error says
	}{
		{map[string]any{"A": "x", "N": 1000000.0, "B": true}, "map[A:x B:true N:1000000]"},
		{map[string]any{"A": map[string]any{"hunter2": 1}}, "setting headers: has to be a table of texts, and A is a table"},
		{map[string]any{"A": nil, "B": 7}, "setting headers: has to be a table of texts, and A is nothing"},
		{"A: x:y\n B :z\n", "map[A:x:y B:z]"},
		{`{"A":"x: \u00e9","N":12345678901234567890, "B":true}`, "map[A:x: é B:true N:12345678901234567890]"},
		{" {}\n", "map[]"},
		{"", "map[]"},
		{`{"A":["hunter2"]}`, "setting headers: has to be a JSON object of texts"},
		{`{"A":null}`, "setting headers: has to be a JSON object of texts"},
		{`{'A':'hunter2'}`, "setting headers: begins like a JSON object, but is none"},
		{`{"A":"hunter2"} x`, "setting headers: begins like a JSON object, but is none"},
		{"A: x\nhunter2", "setting headers: has to be NAME: VALUE lines, or a JSON object"},
		{5, "setting headers: has to be a table, not a number"},
	} {
		s, err := setting.Decode[tables](schema, map[string]any{"headers": c.in})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(s.Headers)
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.in, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"mixpanel", "segment", "webhook", "file"}
	for in, want := range map[string]string{"mixpanle": "mixpanel", "Segmnet": "segment", "web-hook": "webhook",
		"fiel": "file", "amplitude": "", "": ""} {
		if got := setting.Nearest(in, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestNonsense: whatever a setting is given, it is taken for what it is or refused.
func TestNonsense(t *testing.T) {
	type all struct {
		Integer int               `setting:"integer" doc:"."`
		Number  float64           `setting:"number" doc:"."`
		On      bool              `setting:"on" doc:"."`
		For     time.Duration     `setting:"for" doc:"."`
		List    []string          `setting:"list" doc:"."`
		Table   map[string]string `setting:"table" doc:"."`
		Text    string            `setting:"text" doc:"."`
	}
	s := setting.Of[all]()
	for key, list := range map[string][]any{
		"integer": {"NaN", "1e3", "0x10", "", "9223372036854775808", 1.5, []any{1}, true},
		"number":  {"NaN", "Inf", "-Inf", "1e400", math.NaN(), math.Inf(1), "ten", map[string]any{}},
		"on":      {"maybe", "2", 1, []any{true}},
		"for":     {"5", "-5s", "NaNs", 5, "soon"},
		"list":    {map[string]any{"a": 1}, 5, []any{[]any{1}}, []any{map[string]any{}}},
		"table":   {[]any{1}, "no table", map[string]any{"a": []any{1}}, "{"},
		"text":    {[]any{1}, map[string]any{}},
	} {
		for _, v := range list {
			got, err := setting.Decode[all](s, map[string]any{key: v})
			if err == nil && v != "" {
				t.Errorf("%s: %#v was taken: %+v", key, v, got)
			} else if err != nil && !strings.Contains(err.Error(), "setting "+key+": ") {
				t.Errorf("%s: %#v: %v", key, v, err)
			}
		}
	}
}

// TestExamplesHaveTheirForm: the example is what an error holds up, and what tests and rehearsals open a destination
// with.
func TestExamplesHaveTheirForm(t *testing.T) {
	type good struct {
		Address string `setting:"address" doc:"." pattern:"https://.+" example:"https://a.example"`
	}
	type bad struct {
		Address string `setting:"address" doc:"." pattern:"^https://" example:"https://a.example"`
	}
	setting.Of[good]()
	func() {
		defer func() {
			if p := fmt.Sprint(recover()); !strings.Contains(p, "Address: its example does not have its own form") {
				t.Errorf("%s", p)
			}
		}()
		setting.Of[bad]()
	}()
	for pattern, want := range map[string]string{"https://.+": "", "^https://": "setting address: its example does not"} {
		_, err := setting.Declare([]setting.Field{{Key: "address", Type: "text", Pattern: pattern,
			Example: "https://a.example"}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
}
