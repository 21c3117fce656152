package destinations_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/fanfold/fanfold/pkg/casebook"
)

// described are the partners that describe their API in OpenAPI, and what in
// the description is known to be wrong: the partner's own documentation in
// words, or its own examples, say otherwise.
var described = map[string]struct {
	files  []string
	ignore map[string]string // parts of problems, or cases, and why
}{
	"braze": {files: []string{"braze.yaml"}},
	"customerio": {files: []string{"customerio-track.json"}, ignore: map[string]string{
		"device: ":          "it types all attributes of a device as text; Segment sends what the event has",
		"group: ":           "its relationships' identifiers are a oneOf of which each fits",
		"objects-deleted: ": "the same",
		"reports: ":         "content events are not in it",
		"track: ":           "it has no anonymous_id, which the documentation has for events",
	}},
	"hubspot": {files: []string{"hubspot-contacts.json", "hubspot-companies.json", "hubspot-events.json"},
		ignore: map[string]string{
			`/properties/`: "it types all properties as text; numbers are taken, and Segment sends them",
		}},
	"intercom": {files: []string{"intercom.yaml"}, ignore: map[string]string{
		`"/metadata/`: "the documentation has numbers, dates, links and amounts of money in metadata",
	}},
	"klaviyo":  {files: []string{"klaviyo.json"}},
	"mixpanel": {files: []string{"mixpanel-ingestion.yaml"}},
	"sendgrid": {files: []string{"sendgrid-contacts.json"}},
}

// TestOpenAPI holds the requests of all cases against the partners' own
// descriptions, where those are at hand.
func TestOpenAPI(t *testing.T) {
	for slug, d := range described {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			var docs []*openapi3.T
			for _, name := range d.files {
				path := "../../shared/partners/openapi/" + name
				if found, err := filepath.Glob(path); err != nil || len(found) == 0 {
					t.Skip("skipped: the partners' API descriptions are not here")
				}
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				// Descriptions hold control characters, which YAML does not.
				doc, err := openapi3.NewLoader().LoadFromData(bytes.Map(func(r rune) rune {
					if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
						return -1
					}
					return r
				}, data))
				if err != nil {
					t.Fatal(err)
				}
				docs = append(docs, doc)
			}
			checked, unknown := 0, map[string]int{}
			for _, k := range casesOf(t, slug) {
				if k.Want == nil {
					continue
				}
				for n, r := range k.Want.Requests {
					ops := operations(docs, r.Method, r.URL)
					if len(ops) == 0 {
						unknown[r.Method+" "+r.URL]++
						continue
					}
					checked++
					found := problems(ops[0], r)
					for _, op := range ops[1:] { // variants: one of them has to fit
						if other := problems(op, r); len(other) < len(found) {
							found = other
						}
					}
					for _, problem := range found {
						known := ""
						for part, why := range d.ignore {
							if strings.Contains(k.Name+": "+problem, part) {
								known = why
							}
						}
						if known == "" {
							t.Errorf("%s, request %d: %s", k.Name, n, problem)
						} else {
							t.Logf("%s, request %d: %s; known: %s", k.Name, n, problem, known)
						}
					}
				}
			}
			if checked == 0 {
				t.Error("no request is described")
			}
			t.Logf("%d requests checked; not described: %v", checked, unknown)
		})
	}
}

// operations finds the operations that a request may be of; paths with fewer
// parameters win. There may be several: variants of one endpoint.
func operations(docs []*openapi3.T, method, rawURL string) (ops []*openapi3.Operation) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil
	}
	want := strings.Split(strings.Trim(u.Path, "/"), "/")
	least := 100
	for _, doc := range docs {
		prefixes := []string{""}
		for _, s := range doc.Servers {
			if su, err := url.Parse(s.URL); err == nil && strings.Trim(su.Path, "/") != "" {
				prefixes = append(prefixes, strings.Trim(su.Path, "/")+"/")
			}
		}
		for path, item := range doc.Paths.Map() {
			op := item.GetOperation(method)
			if op == nil {
				continue
			}
			for _, prefix := range prefixes {
				path, _, _ := strings.Cut(path, "#")
				have := strings.Split(prefix+strings.Trim(path, "/"), "/")
				params, same := 0, len(have) == len(want)
				for k := 0; same && k < len(have); k++ {
					if strings.HasPrefix(have[k], "{") {
						params++
					} else if have[k] != want[k] {
						same = false
					}
				}
				switch {
				case !same || params > least:
				case params < least:
					ops, least = []*openapi3.Operation{op}, params
				default:
					ops = append(ops, op)
				}
			}
		}
	}
	return ops
}

func problems(op *openapi3.Operation, r casebook.Request) (out []string) {
	if op.RequestBody == nil || r.Method == http.MethodGet {
		return nil
	}
	contentType, _, _ := strings.Cut(r.Type, ";")
	content := op.RequestBody.Value.Content
	mt := content.Get(contentType)
	if mt == nil { // as JSON:API
		mt = content.Get("application/vnd.api+json")
	}
	if mt == nil {
		for _, any := range content {
			mt = any
		}
	}
	if mt == nil || mt.Schema == nil {
		return nil
	}
	var body any
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return []string{"the body is no JSON: " + err.Error()}
	}
	err := mt.Schema.Value.VisitJSON(body, openapi3.MultiErrors())
	if err == nil {
		return nil
	}
	for _, line := range strings.Split(err.Error(), " | ") {
		line, _, _ = strings.Cut(line, "\nSchema:")
		out = append(out, strings.TrimSpace(line))
	}
	return out
}
