package destinations_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/cassette"
)

// standard are the events that cases of all partners name: cassettes/events/standard.yaml.
func standard(t *testing.T) map[string]string {
	t.Helper()
	events, err := casebook.Standard(cassettes.Standard())
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// casesOf are a partner's cases, by name: those of cases.yaml, and what was recorded.
func casesOf(t *testing.T, slug string) []*casebook.Case {
	t.Helper()
	dir := filepath.Join("../cassettes", slug)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return data
	}
	var list []*casebook.Case
	if text := read("cases.yaml"); text != nil {
		f, own, err := casebook.Read(text, read("requests.jsonl"), standard(t))
		if err != nil {
			t.Fatalf("%s: %v", slug, err)
		}
		if _, err := time.Parse(time.DateOnly, f.Date); f.Written != "from documentation" || err != nil {
			t.Errorf("%s: cases.yaml does not say where its answers come from (written, date)", slug)
		}
		for _, c := range own {
			if !strings.HasPrefix(c.Docs, "https://") {
				t.Errorf("%s: the case %s has no address of documentation", slug, c.Name)
			}
		}
		list = own
	}
	metas, err := filepath.Glob(filepath.Join(dir, "*.meta.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range metas {
		m, err := cassette.LoadMeta(path)
		if err != nil {
			t.Fatal(err)
		}
		if m.URL == "" || m.Date == "" {
			t.Errorf("%s: the sidecar does not say where its answers come from", path)
		}
		tape, err := cassette.Load(strings.TrimSuffix(path, ".meta.yaml") + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		c := &casebook.Case{Name: strings.TrimSuffix(filepath.Base(path), ".meta.yaml"), Tape: tape, Docs: m.URL,
			Settings: m.Settings,
			Presets:  m.Presets, Action: m.Action, Mapping: m.Mapping, Now: m.Now, Events: m.Events,
			Want: &casebook.Expectation{Results: m.Want}}
		for _, i := range tape.Interactions {
			c.Want.Requests = append(c.Want.Requests, casebook.Request{Method: i.Request.Method, URL: i.Request.URL,
				Type: i.Request.Headers.Get("Content-Type"), Body: casebook.BodyOf([]byte(i.Request.Body))})
		}
		list = append(list, c)
	}
	return list
}
