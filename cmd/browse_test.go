package cmd

import (
	"context"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chromium finds a browser that can run without a screen.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("skipped: there is no Chromium here")
	return ""
}

// dom is a page after its script has run.
func dom(t *testing.T, browser, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run",
		"--virtual-time-budget=20000", "--user-data-dir="+t.TempDir(), "--dump-dom", url)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, said.String())
	}
	return string(out)
}

// TestBrowsePage opens the page in a browser: bodies are laid out, what was
// redacted is marked with its reason, a miss stands beside what was recorded,
// and what a partner wrote does nothing.
func TestBrowsePage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: starting a browser takes long")
	}
	browser := chromium(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("order.yaml", `---
version: 1
interactions:
- request:
    body: '{"item":1,"contact":"user-0123456789abcdef@example.invalid"}'
    form: {}
    headers:
      Authorization:
      - Bearer REDACTED:bearer:0123456789abcdef
    url: https://shop.example/v1/orders
    method: POST
  response:
    body: '{"a":{"b":"<img src=x onerror=\"document.title=1\">"}}'
    headers:
      Content-Type:
      - application/json
    status: 201 Created
    code: 201
    duration: 12ms
`)
	write("order.meta.yaml", "provenance: \"recorded: live\"\ndetails:\n- interaction: 0\n"+
		"  chunks: [{ms: 1, bytes: 0}, {ms: 70, bytes: 54}]\n")
	report := write("report.json",
		`{"used":0,"unused":[],"missed":[{"method":"POST","url":"https://shop.example/v1/orders","why":"this one was not","nearest":[
		{"cassette":"order.yaml","interaction":0,"method":"POST","url":"https://shop.example/v1/orders","used":false,
		 "differences":[{"path":"body.item","recorded":"1","sent":"2"}],"ignore":["body.item"]}]}]}`)
	d := start(t, "cassettes", "browse", path, "--report", report)
	page := dom(t, browser, d.Ready.URL+"#0/0")
	text := html.UnescapeString(page)
	for _, want := range []string{
		"POST https://shop.example/v1/orders", "201 Created · 12 ms", "a stream of 1 piece in 70ms", "recorded: live",
		`<mark title="an address of email; the same address has the same token everywhere">user-0123456789abcdef@example.invalid</mark>`,
		"request header Authorization", "<td>70 ms</td><td>54 bytes</td>", "{\n  \"a\": {\n    \"b\":", `data-ready="true"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(page, "<img") || !strings.Contains(page, "&lt;img src=x onerror=") {
		t.Error("what a partner wrote is part of the page")
	}
	if t.Failed() {
		t.Log(page)
	}
	miss := dom(t, browser, d.Ready.URL+"#miss/0")
	for _, want := range []string{"not in the cassette: this one was not", "<th>recorded</th><th>sent</th>",
		"<td>body.item</td><td>1</td><td>2</td>", "--ignore body.item"} {
		if !strings.Contains(miss, want) {
			t.Errorf("%q is not on the page of the miss\n%s", want, miss)
		}
	}
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err.String())
	}
}
