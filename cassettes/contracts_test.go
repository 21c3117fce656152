package cassettes_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/pkg/standin"
)

func contracts(t *testing.T) map[string]*standin.Contract {
	t.Helper()
	files, err := filepath.Glob("*/contract.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no contracts: %v", err)
	}
	out := map[string]*standin.Contract{}
	for _, f := range files {
		slug := filepath.Dir(f)
		data, err := cassettes.Contract(slug)
		if err != nil {
			t.Fatal(err)
		}
		if out[slug], err = standin.ParseContract(data); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return out
}

// Every number of a contract has its source: docs are addresses, and hosts are
// well-formed patterns.
func TestContractsNameTheirSources(t *testing.T) {
	all := contracts(t)
	for _, slug := range slices.Sorted(maps.Keys(all)) {
		t.Run(slug, func(t *testing.T) { checkSources(t, all[slug]) })
	}
}

func checkSources(t *testing.T, c *standin.Contract) {
	sources := map[string][]string{"the contract": c.Docs}
	ask := func(where string, docs ...string) { sources[where] = append(sources[where], docs...) }
	for _, a := range c.Auth {
		ask("auth", a.Docs)
	}
	for _, e := range c.Endpoints {
		where := "endpoint " + e.Path[0]
		ask(where, e.Docs, e.MaxItems.Docs, e.MaxBytes.Docs, e.MaxItemBytes.Docs, e.Window.Docs)
		if len(e.Success) == 0 {
			t.Errorf("%s does not say what a success looks like", where)
		}
		for _, x := range e.Success {
			ask(where+", success", x.Docs)
		}
		for _, a := range e.Auth {
			if a.Kind != "none" {
				ask(where+", auth", a.Docs)
			}
		}
	}
	for _, where := range slices.Sorted(maps.Keys(sources)) {
		for _, d := range sources[where] {
			if !strings.HasPrefix(d, "https://") {
				t.Errorf("%s: %q is no address of documentation", where, d)
				break // the others are its defaults
			}
		}
	}
	for _, h := range c.Hosts {
		if _, err := filepath.Match(h, ""); err != nil {
			t.Errorf("host %q: %v", h, err)
		}
	}
}

func TestUnknownContract(t *testing.T) {
	if _, err := cassettes.Contract("nobody"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("got %v; the error has to name the partner", err)
	}
	if _, err := fs.Stat(os.DirFS("."), "events/shop.jsonl.zst"); err != nil {
		t.Error(err)
	}
}

// Where another's requests break the documentation, the documentation wins;
// these are all the places where they do: contract and member.
func known(slug, field string) bool {
	return slices.Contains(map[string][]string{
		"amplitude":                {"user_id", "device_id"},
		"customerio":               {"identifiers.id"},
		"intercom":                 {"user_id", "remote_created_at"},
		"facebook-conversions-api": {"event_time"},
	}[slug], field)
}

// The requests of Segment's published destinations pass, but for the known
// differences: a contract that refuses what works would be wrong.
func TestContractsTakeKnownRequests(t *testing.T) {
	all := contracts(t)
	for _, name := range []string{"requests.jsonl", "pasted.jsonl"} {
		file := filepath.Join("..", "..", "shared", "segment", name)
		f, err := os.Open(file)
		if err != nil {
			t.Skipf("skipped: the optional reference requests are not here: %v", err)
		}
		defer f.Close()
		type request struct {
			Method, URL string
			Headers     map[string]string
			Body        json.RawMessage
		}
		var entry struct {
			ID          string
			Destination string
			Requests    []request
		}
		checked := map[string]int{}
		differ := map[string]int{}
		for d := json.NewDecoder(f); d.More(); {
			entry.Requests = nil
			if err := d.Decode(&entry); err != nil {
				t.Fatal(err)
			}
			c := all[entry.Destination]
			if c == nil {
				continue
			}
			for _, r := range entry.Requests {
				body := []byte(r.Body)
				var text string
				if json.Unmarshal(body, &text) == nil {
					body = []byte(text)
				}
				req, err := http.NewRequest(r.Method, r.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range r.Headers {
					req.Header.Set(k, v)
				}
				if user, is := strings.CutPrefix(req.Header.Get("Authorization"), "Basic "); is && !strings.Contains(
					user, "=") && len(user)%4 != 0 {
					req.SetBasicAuth(user, "") // a setting that Segment wants encoded, and that is not
				}
				checked[entry.Destination]++
				for _, v := range c.Check(req, body) {
					if known(entry.Destination, v.Field) {
						differ[entry.Destination+" "+v.Field]++
						continue
					}
					t.Errorf("%s %s %s: %v", entry.ID, r.Method, req.URL.Path, v)
				}
			}
		}
		t.Logf("%s: requests checked: %v; differences that the documentation wins: %v", name, checked, differ)
	}
}
