package cmd

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// echoes are the ways in which a partner may say back a secret.
func echoes(secret string) []string {
	quoted, err := json.Marshal(secret)
	if err != nil {
		panic(err)
	}
	inJSON := string(quoted[1 : len(quoted)-1])
	packed := base64.StdEncoding.EncodeToString
	return []string{
		secret, inJSON, strings.ReplaceAll(inJSON, "/", `\/`), strings.ReplaceAll(inJSON, "/", `\u002F`),
		strings.ReplaceAll(inJSON, "/", `\\\/`),
		url.QueryEscape(secret), strings.ToLower(url.QueryEscape(secret)),
		strings.ReplaceAll(url.QueryEscape(secret), "+", "%20"), url.PathEscape(secret),
		html.EscapeString(secret), strings.ToUpper(secret), hex.EncodeToString([]byte(secret)),
		strings.Join(strings.Fields(secret), "\n  "),
		packed([]byte(secret)), packed([]byte("ann:" + secret)), packed([]byte("an:" + secret)),
		base64.RawURLEncoding.EncodeToString([]byte("a:" + secret)),
		strings.Repeat("x", 390) + secret, strings.Repeat("x ", 185) + url.QueryEscape(secret),
		strings.Repeat("x", 1990) + secret,
	}
}

// TestSecretsStayInside: whatever a partner makes of a secret, and wherever it came from,
// it is in nothing that a run prints or stores.
func TestSecretsStayInside(t *testing.T) {
	secrets := map[string]string{
		"header": `k"ey/1&2+3=4 tail-of-it`, "password": "p@ss/w0rd&more", "token": "t0k+en/of=query",
		"key": "api/key+with=signs",
	}
	var said []string
	for _, s := range secrets {
		said = append(said, echoes(s)...)
	}
	var mu sync.Mutex
	n, authorized := 0, 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		echo := said[n%len(said)]
		n++
		if user, password, ok := r.BasicAuth(); ok && user == "ann" && password == secrets["password"] {
			authorized++
		}
		mu.Unlock()
		w.Header().Set("X-Said", strings.Map(func(r rune) rune { return max(r, ' ') }, echo))
		status := []int{400, 422, 503, 404}[n%4]
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":"bad key %s."}`, echo)
	}))
	server.Start()
	defer server.Close()

	dir := t.TempDir()
	var events strings.Builder
	for i := range len(said) {
		fmt.Fprintf(&events, `{"type":"track","event":"E","messageId":"m%d","userId":"u%d"}`+"\n", i, i)
	}
	in := filepath.Join(dir, "in.jsonl")
	conf := filepath.Join(dir, "fanfold.yaml")
	for path, text := range map[string]string{in: events.String(), conf: `
destinations:
  hook:
    type: webhook
    settings:
      url: "${HOOK_URL}"
      format: single
      headers: {X-Key: "${HOOK_KEY}"}
    retry: {attempts: 1}
    concurrency: 1
`} {
		if wrong := os.WriteFile(path, []byte(text), 0o600); wrong != nil {
			t.Fatal(wrong)
		}
	}
	address := strings.Replace(server.URL, "http://", "http://ann:"+url.QueryEscape(secrets["password"])+"@", 1) +
		"/in?token=" + url.QueryEscape(secrets["token"]) + "&key=" + url.QueryEscape(secrets["key"])
	state := filepath.Join(dir, "state")
	run := func(args ...string) string {
		c := exec.Command(os.Args[0], append(args, "--state-dir", state, "--log-level", "debug")...)
		c.Env = append(os.Environ(), "FANFOLD_TEST_MAIN=1", "HOOK_URL="+address, "HOOK_KEY="+secrets["header"])
		out, err := c.CombinedOutput()
		if _, exited := err.(*exec.ExitError); err != nil && !exited {
			t.Fatal(err)
		}
		return string(out)
	}
	printed := map[string]string{
		"forward": run("forward", "--from", in, "--config", conf, "--progress", "always"),
	}
	mu.Lock()
	reached := authorized
	mu.Unlock()
	if reached == 0 {
		t.Error("user and password of the address did not reach the partner as basic authentication")
	}
	runs, err := os.ReadDir(filepath.Join(state, "runs"))
	if err != nil || len(runs) == 0 {
		t.Fatalf("there is no run: %v\n%s", err, printed["forward"])
	}
	id := runs[0].Name()
	printed["runs show"] = run("runs", "show", id)
	printed["runs show -o json"] = run("runs", "show", id, "-o", "json")
	printed["redrive"] = run("redrive", id, "--config", conf, "--log-format", "json")
	printed["preview"] = run("preview", "--from", in, "--config", conf, "--limit", "2")
	printed["preview -o curl"] = run("preview", "--from", in, "--config", conf, "--limit", "2", "-o", "curl")
	printed["config show"] = run("config", "show", "--config", conf)
	stored := 0
	err = filepath.WalkDir(state, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".zst") {
			z, wrong := zstd.NewReader(strings.NewReader(string(data)))
			if wrong != nil {
				return wrong
			}
			defer z.Close()
			data, err = io.ReadAll(z)
			stored++
		}
		printed[path] = string(data)
		return err
	})
	if err != nil || stored == 0 {
		t.Fatalf("no dead letters were found to search: %v", err)
	}
	for where, text := range printed {
		for name, secret := range secrets {
			for _, form := range echoes(secret) {
				if form = strings.TrimLeft(form, "x "); strings.Contains(text, form) {
					at := strings.Index(text, form)
					t.Errorf("%s holds the %s as %q: …%q", where, name, form, text[max(0, at-60):min(len(text), at+len(form)+20)])
				}
			}
		}
	}
}

// TestUnaskedAnswer: what a partner says on an idle connection is logged by the standard
// library: in our words, without secrets.
func TestUnaskedAnswer(t *testing.T) {
	const secret = "s3cret/key+of=hook"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, closed := l.Accept()
			if closed != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
					fmt.Fprintf(c, "HTTP/1.1 400 Key %s is unknown\r\nContent-Length: 0\r\n\r\n", secret)
				}
			}()
		}
	}()
	dir := t.TempDir()
	in := filepath.Join(dir, "in.jsonl")
	var events strings.Builder
	for i := range 20 {
		fmt.Fprintf(&events, `{"type":"track","event":"E","messageId":"m%d","userId":"u"}`+"\n", i)
	}
	if err = os.WriteFile(in, []byte(events.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "forward", "--from", in, "--to", "webhook",
		"--set", "webhook.url=http://"+l.Addr().String(), "--set", "webhook.format=single",
		"--set", "webhook.shared_secret=env:HOOK_KEY", "--opt", "webhook.concurrency=1", "--state-dir", dir)
	c.Env = append(os.Environ(), "FANFOLD_TEST_MAIN=1", "HOOK_KEY="+secret)
	out, err := c.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited { // some answers belong to no request
		t.Fatal(err)
	}
	if strings.Contains(string(out), secret) || strings.Contains(string(out), "s3cret") {
		t.Errorf("the secret was printed: %s", out)
	}
	if !strings.Contains(string(out), "nsolicited") {
		t.Errorf("the standard library had nothing to say, so that this test shows nothing:\n%s", out)
	}
}
