package cmd

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// daemon is fanfold as a process that serves.
type daemon struct {
	cmd   *exec.Cmd
	out   *bufio.Reader
	rest  string // of what it wrote, once it has ended
	err   bytes.Buffer
	Ready struct {
		URLs  map[string]string `json:"urls"`
		Admin string            `json:"admin"`
		CA    string            `json:"ca"`
		URL   string            `json:"url"`
		Ready bool              `json:"ready"`
	}
}

// start runs a command that prints a line when it is ready.
func start(t *testing.T, args ...string) *daemon {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{cmd: exec.Command(self, args...)}
	d.cmd.Env = append(os.Environ(), "FANFOLD_TEST_MAIN=1", "FANFOLD_REDACTION_KEY=the key of this test",
		"SHOP_API_KEY="+scriptSecret, "CI=")
	d.cmd.Stderr = &d.err
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
	})
	d.out = bufio.NewReader(out)
	line, err := d.out.ReadBytes('\n')
	if err != nil {
		_ = d.cmd.Wait()
		t.Fatalf("it is not ready: %v\n%s", err, d.err.String())
	}
	if err := json.Unmarshal(line, &d.Ready); err != nil || !d.Ready.Ready {
		t.Fatalf("the first line is %s: %v", line, err)
	}
	return d
}

// end sends a signal and returns the exit code.
func (d *daemon) end(sig os.Signal) int {
	_ = d.cmd.Process.Signal(sig)
	rest, _ := io.ReadAll(d.out)
	d.rest = string(rest)
	_ = d.cmd.Wait()
	return d.cmd.ProcessState.ExitCode()
}

func get(t *testing.T, c *http.Client, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n+1 < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestRecordKilled kills a recording with a request in flight: what was
// answered is kept, no secret is on disk, and --resume goes on from there.
func TestRecordKilled(t *testing.T) {
	began := make(chan struct{})
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			close(began)
			<-hang
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"path":%q}`, scriptSecret, r.URL.Path)
	}))
	defer server.Close()
	defer close(hang)
	dir := t.TempDir()
	path := filepath.Join(dir, "c", "order.yaml")
	args := []string{"record", "--to", "shop=" + server.URL, "--cassette", path, "--listen", "127.0.0.1:0"}
	d := start(t, args...)
	const answered = 20
	for n := range answered {
		status, _ := get(t, http.DefaultClient, "POST",
			fmt.Sprintf("%s/v1/%d?api_key=%s", d.Ready.URLs["shop"], n, scriptSecret), `{"password":"`+scriptSecret+`"}`,
			"Authorization", "Bearer "+scriptSecret, "Content-Type", "application/json")
		if status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	go func() {
		resp, err := http.Get(d.Ready.URLs["shop"] + "/hang")
		if err == nil {
			resp.Body.Close()
		}
	}()
	<-began
	// What was said is redacted behind the answers: wait until it is on disk.
	deadline := time.Now().Add(time.Minute)
	for journal := strings.TrimSuffix(path, ".yaml") + ".partial.jsonl"; ; {
		data, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(data, []byte("\n")) == answered {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only this is on disk:\n%s", data)
		}
	}
	d.end(syscall.SIGKILL)
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if strings.Contains(string(data), "hunter2") {
			t.Errorf("%s holds the secret:\n%s", p, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("half a cassette was written")
	}
	// Without --resume it says what is there.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.Command(self, append(args, "--", "true")...)
	again.Env = d.cmd.Env
	if out, err := again.CombinedOutput(); again.ProcessState.ExitCode() != 2 ||
		!strings.Contains(string(out), "--resume") {
		t.Errorf("a second recording: %v\n%s", err, out)
	}
	d = start(t, append(args, "--resume")...)
	get(t, http.DefaultClient, "GET", d.Ready.URLs["shop"]+"/more", "")
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err.String())
	}
	c, err := cassette.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Interactions) != answered+1 {
		t.Errorf("%d interactions, want %d", len(c.Interactions), answered+1)
	}
}

// TestReplayServes checks what programs in any language meet: the ready line,
// HTTPS, cases, the questions, and the exit code.
func TestReplayServes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, answer string) {
		text := "---\nversion: 1\ninteractions:\n- request:\n    body: \"\"\n    form: {}\n    headers: {}\n" +
			"    url: https://shop.example/v1/x\n    method: GET\n  response:\n    body: " + answer +
			"\n    headers: {}\n    status: 200 OK\n    code: 200\n    duration: 0s\n"
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".meta.yaml"),
			[]byte("upstreams: {shop: \"https://shop.example\", crm: \"https://crm.example/api\"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one", "first")
	write("two", "second")
	d := start(t, "replay", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--tls")
	pem, err := os.ReadFile(d.Ready.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	base := d.Ready.URLs["shop"]
	if !strings.HasPrefix(base, "https://127.0.0.1:") || !strings.HasSuffix(base, "/__to/shop") {
		t.Errorf("urls %v", d.Ready.URLs)
	}
	root := strings.TrimSuffix(base, "/__to/shop")
	for _, c := range []struct {
		url, header string
		want        string
	}{
		{base + "/v1/x", "", "first"}, {root + "/v1/x", "", "second"}, {base + "/v1/x", "two", "second"},
		{base + "/v1/x", "two#a", "second"}, {root + "/__case/two#b/v1/x", "", "second"},
		{root + "/__case/one/v1/x", "", "first"},
	} {
		var header []string
		if c.header != "" {
			header = []string{"X-Replay-Case", c.header}
		}
		if status, body := get(t, client, "GET", strings.ReplaceAll(c.url, "#", "%23"), "", header...); status != 200 ||
			body != c.want {
			t.Errorf("%s %s: %d %s, want %s", c.url, c.header, status, body, c.want)
		}
	}
	if status, body := get(t, client, "POST", d.Ready.URLs["crm"]+"/v2/y", "{}"); status != 501 ||
		!strings.Contains(body, "https://crm.example/api/v2/y") {
		t.Errorf("%d %s", status, body)
	}
	for path, want := range map[string]string{"/requests": "https://shop.example/v1/x",
		"/unmatched": "https://crm.example/api/v2/y", "/unused": "[]"} {
		if status, body := get(t, http.DefaultClient, "GET", d.Ready.Admin+path, ""); status != 200 ||
			!strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if code := d.end(syscall.SIGTERM); code != 5 {
		t.Errorf("exit code %d\n%s", code, d.err.String())
	}
	if !strings.Contains(d.err.String(), "2 interactions used, 0 unused, 1 request missed") {
		t.Errorf("it says\n%s", d.err.String())
	}
	if _, err := os.Stat(d.Ready.CA); err == nil {
		t.Error("the authority's certificate is still there")
	}
}

func TestSinkTellsItsCounts(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		d := start(t, "sink")
		for range 3 {
			get(t, http.DefaultClient, "POST", d.Ready.URL+"/track", `[{"event":"A"},{"event":"B"}]`)
		}
		want := `{"requests":3,"events":6,"bytes":87}` + "\n"
		if code, body := get(t, http.DefaultClient, "GET", d.Ready.URL+"/stats", ""); code != 200 || body != want {
			t.Errorf("GET /stats: %d %s, want %s", code, body, want)
		}
		if code := d.end(sig); code != 0 || d.rest != want {
			t.Errorf("%v: exit code %d, %s%s, want %s", sig, code, d.rest, d.err.String(), want)
		}
	}
}
