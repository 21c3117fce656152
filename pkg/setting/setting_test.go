package setting_test

import (
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
		"project_token": "abc123", "api_secret": "s-1", "strict": "no", "level": 3, "share": "0.5", "names": "a, b", "headers": map[string]any{"X-Key": "v-secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Region != "us" || got.Strict || got.Level != 3 || got.Share != 0.5 || got.Wait != 5*time.Second || strings.Join(got.Names, "|") != "a|b" || got.Headers["X-Key"] != "v-secret" || got.ignored != 0 {
		t.Errorf("decoded %+v", got)
	}
	if s := schema.Secrets(got); strings.Join(s, " ") != "s-1 v-secret" {
		t.Errorf("secrets %q", s)
	}
}

func TestAllProblemsAtOnceAndNoValueInThem(t *testing.T) {
	_, err := setting.Decode[settings](setting.Of[settings](), map[string]any{
		"projekt_token": "x", "api_secret": "hunter2hunter2", "api_region": "mars", "strict": "maybe", "level": "1.5", "wait": "soon", "names": 5, "zzzzzzzz": 1, "share": []any{},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"setting project_token: is required", "setting projekt_token: there is no such setting; did you mean project_token?", "setting api_secret: does not have the right form, which is like s-example",
		`setting api_region: has to be one of us, eu, not "mars"`, "setting strict: has to be true or false, not text", "setting level: has to be a whole number, not text", "setting wait: has to be a duration",
		"setting names: has to be a list, not a number", "setting zzzzzzzz: there is no such setting; the settings are project_token", "setting share: has to be a number, not a list",
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

func TestNearest(t *testing.T) {
	names := []string{"mixpanel", "segment", "webhook", "file"}
	for in, want := range map[string]string{"mixpanle": "mixpanel", "Segmnet": "segment", "web-hook": "webhook", "fiel": "file", "amplitude": "", "": ""} {
		if got := setting.Nearest(in, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}
