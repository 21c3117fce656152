package config

import (
	"strings"
	"testing"
)

// What is in effect is shown also where nobody has written it: in which form retries were written makes no difference.
func TestShownRetries(t *testing.T) {
	for written, want := range map[string]string{
		"":                                    "attempts: 8 max_time: 15m0s",
		"    retry: 3\n":                      "attempts: 3 max_time: 15m0s",
		"    retry: {max_time: 1h}\n":         "attempts: 8 max_time: 1h0m0s",
		"    retry: attempts=2,max_time=5s\n": "attempts: 2 max_time: 5s",
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

// What is shown is a configuration again.
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
}
