package config

import (
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// What is in effect is shown also where nobody has written it: in which form retries were written makes no difference.
func TestShownRetries(t *testing.T) {
	for written, want := range map[string]string{
		"":                                    "{} # and by default attempts: 8, max_time: 15m0s",
		"    retry: 3\n":                      "{attempts: 3} # and by default max_time: 15m0s",
		"    retry: {max_time: 1h}\n":         "{max_time: 1h0m0s} # and by default attempts: 8",
		"    retry: attempts=2,max_time=5s\n": "{attempts: 2, max_time: 5s}",
	} {
		w := toys()
		f, _, err := load(w, indented(written))
		if err != nil {
			t.Fatal(err)
		}
		text, err := w.Show(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(text), " "); !strings.Contains(got, "retry: "+want) {
			t.Errorf("%q: there is no %q in %s", written, want, got)
		}
	}
}

// What is shown is a configuration again, and means the same.
func TestShownCanBeRead(t *testing.T) {
	w := toys()
	f, _, err := load(w, indented("    retry: 3\n    rate: 5/s\n"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := w.Show(f, map[string]string{"memory": "1GiB"})
	if err != nil {
		t.Fatal(err)
	}
	again, opened, err := load(w, text)
	if err != nil || again.Globals["memory"].Value != "1GiB" || opened[0].Options.Attempts != 3 {
		t.Errorf("%v in %s", err, text)
	}
	if opened[0].Options.MaxTime != 0 {
		t.Errorf("a max_time of %s has been made up, so no lane would wait for its partner: %s", opened[0].Options.MaxTime,
			text)
	}
}

// TestDeclaredRetries: of what a partner declares a user may take less. More has to be asked for. What is in effect is
// shown, whoever has said it.
func TestDeclaredRetries(t *testing.T) {
	w := toys()
	toy := w.Catalogue.All()[0]
	toy.Limits.Retries = destination.Retries{Attempts: 3, MaxTime: 2 * time.Minute, Docs: "https://toy.example/retries"}
	w.Catalogue = destination.Catalogue{destination.Lazy("toy", func() destination.Destination { return toy })}
	const better = " (https://toy.example/retries); set override_limits: true if you know better"
	for written, want := range map[string]string{
		"":                              "{} # and by default attempts: 3, max_time: 2m0s",
		"    retry: 2\n":                "{attempts: 2} # and by default max_time: 2m0s",
		"    retry: {max_time: 30s}\n":  "{max_time: 30s} # and by default attempts: 3",
		"    retry: 4\n":                "f.yaml:5: a: retry attempts 4 are above the partner's 3" + better,
		"    retry: {max_time: 3m}\n":   "f.yaml:5: a: retry max_time 3m is above the partner's 2m0s" + better,
		"    retry: 4, 3m\n":            "f.yaml:5: a: retry attempts 4 are above the partner's 3" + better,
		"    retry: {attempts: nine}\n": "f.yaml:5: a: retry attempts have to be a whole number of at least 1, not \"nine\"",
		"    retry: {attempts: 4, max_time: 3m}\n    override_limits: true\n": "{attempts: 4, max_time: 3m0s}",
		"    retry: 4\n    override_limits: false\n":                          "attempts 4 are above",
	} {
		f, _, err := load(w, indented(written))
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v", written, err)
			}
			continue
		}
		text, err := w.Show(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(text), " "); !strings.Contains(got, "retry: "+want) {
			t.Errorf("%q: there is no %q in %s", written, want, got)
		}
	}
}
