package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestReport: the report of a run that was refused in part and redriven has the equation, the reasons and
// the story, as a page that loads nothing, with what others say kept from being read as HTML.
func TestReport(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	refuse := func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		if strings.HasPrefix(ids[0], "bad") {
			http.Error(w, `{"param":"email","message":"<script>alert(1)</script> | no"}`, http.StatusBadRequest)
			return true
		}
		return false
	}
	p.answers(refuse)
	var lines strings.Builder
	for i := range 1200 {
		id := fmt.Sprintf("good-%d", i)
		if i%100 == 7 {
			id = fmt.Sprintf("bad-%d", i)
		}
		fmt.Fprintf(&lines, `{"type":"track","event":"<b>A</b>","userId":"u","messageId":%q,"timestamp":"2026-%02d-01T00:00:00Z"}`+"\n",
			id, 1+i/100)
	}
	env := map[string]string{"XDG_STATE_HOME": t.TempDir(), "HOOK_SECRET": "a-secret-of-the-hook"}
	in := file(t, "in.jsonl", lines.String())
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, wrong := invoke(t, env, "", args...)
		if code != want {
			t.Fatalf("%v: exit code %d: %s%s", args, code, out, wrong)
		}
		return out
	}
	hook := []string{"--set", "webhook.url=" + p.URL, "--set", "webhook.shared_secret=env:HOOK_SECRET"}
	forward := append([]string{"forward", "--from", in, "--to", "webhook", "--opt",
		"webhook.batch_events=1", "-o", "json"},
		hook...)
	id := summaryOf(t, run(exitRejected, forward...)).Run
	p.answers(nil)
	redrive := append([]string{"redrive", id, "--filter", `match(messageId, "bad-?07")`}, hook...)
	run(exitOK, redrive...)

	page := filepath.Join(t.TempDir(), "report.html")
	run(exitOK, "report", id, "--file", page)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, string(text))
	for _, want := range []string{"1,188 + 9 redriven = 1,197 of 1,200 arrived", "3 rejected", "refused, status 400",
		"fanfold redrive " + id + " --to webhook --reason refused", "&lt;b&gt;A&lt;/b&gt;", "The run began", "Redrive ",
		"2026-01-01", "in.jsonl", "1,188 delivered + 9 redriven + 3 rejected = 1,200 events"} {
		if !strings.Contains(strings.ReplaceAll(string(text), "&#43;", "+"), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	said := run(exitOK, "report", id, "-o", "md")
	for _, want := range []string{"## 1,188 + 9 redriven = 1,197 of 1,200 arrived", `\<script\>`, `\| no`,
		"| webhook | 1,188 | 9 | 0 | 0 | 3 | 0 |"} {
		if !strings.Contains(said, want) {
			t.Errorf("the Markdown does not have %q:\n%s", want, said)
		}
	}
	var doc struct {
		Headline string
		History  struct {
			Processes []struct{ Status string }
			Courses   map[string]struct {
				Slots []struct{ Requests, Delivered uint64 }
				Days  map[string]uint64
			}
		}
		Redrives []struct{ Delivered uint64 }
	}
	if err := json.Unmarshal([]byte(run(exitOK, "report", id, "-o", "json")), &doc); err != nil {
		t.Fatal(err)
	}
	var requests, delivered, byDay uint64
	for _, s := range doc.History.Courses["webhook"].Slots {
		requests, delivered = requests+s.Requests, delivered+s.Delivered
	}
	for _, n := range doc.History.Courses["webhook"].Days {
		byDay += n
	}
	if requests != 1200 || delivered != 1188 || byDay != 1188 || len(doc.Redrives) != 1 ||
		doc.Redrives[0].Delivered != 9 ||
		len(doc.History.Processes) != 1 || doc.History.Processes[0].Status != "complete" {
		t.Errorf("%d requests, %d delivered, %d by day: %+v", requests, delivered, byDay, doc)
	}
}

// checkPage checks that a page is whole, has landmarks and names for its pictures, and loads nothing.
func checkPage(t *testing.T, text string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]int{}
	ids, links := map[string]bool{}, []string{}
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		if n.Type == html.ElementNode {
			has[n.Data]++
			ids[attr["id"]] = true
			for _, key := range []string{"src", "href"} {
				if at := attr[key]; at != "" && !strings.HasPrefix(at, "#") && at != "data:," {
					t.Errorf("<%s> loads %s", n.Data, at)
				} else if strings.HasPrefix(at, "#") {
					links = append(links, at[1:])
				}
			}
			if attr["role"] == "img" && attr["aria-label"] == "" {
				t.Errorf("a picture without a name: %v", n)
			}
			for key := range attr {
				if strings.HasPrefix(key, "on") {
					t.Errorf("<%s> has %s", n.Data, key)
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(root)
	for _, name := range []string{"header", "nav", "main", "footer", "h1", "svg"} {
		if has[name] == 0 {
			t.Errorf("the page has no %s", name)
		}
	}
	if has["script"]+has["img"]+has["iframe"] > 0 || has["main"] != 1 || has["h1"] != 1 {
		t.Errorf("what the page has: %v", has)
	}
	for _, link := range links {
		if !ids[link] {
			t.Errorf("a link leads to %s, which is not there", link)
		}
	}
	if strings.Contains(text, "a-secret-of-the-hook") || strings.Contains(text, "ZgotmplZ") {
		t.Error("the page has a secret, or a value that was not escaped")
	}
}
