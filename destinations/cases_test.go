package destinations_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/destinations"
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

// books are the files of cases of all partners, by slug, read once.
var books = sync.OnceValue(func() map[string]*casebook.File {
	all := map[string]*casebook.File{}
	for _, d := range destinations.All() {
		text, err := os.ReadFile(filepath.Join("../cassettes", d.Info.Slug, "cases.yaml"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // said by TestCassettes
		}
		if err == nil {
			var shared map[string]string
			if shared, err = casebook.Standard(cassettes.Standard()); err == nil {
				all[d.Info.Slug], _, err = casebook.Read(text, nil, shared)
			}
		}
		if err != nil {
			panic(fmt.Sprintf("cassettes/%s/cases.yaml: %v", d.Info.Slug, err))
		}
	}
	return all
})

// bookOf is the file of a partner's cases; empty where there is none.
func bookOf(slug string) *casebook.File {
	if f := books()[slug]; f != nil {
		return f
	}
	return &casebook.File{}
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
