package cmd

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/eventgen"
)

// TestCompletionsAreCurrent compares the committed completions with those of
// today's commands.
func TestCompletionsAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if code := testApp(nil).execute(context.Background(), []string{"write-completions", dir}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, name := range []string{"fanfold.bash", "_fanfold", "fanfold.fish", "fanfold.ps1"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("..", "completions", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("completions/%s is not current (%v): go run . write-completions completions", name, err)
		}
	}
}

// TestSampleIsCurrent holds the sample archive against its generator.
func TestSampleIsCurrent(t *testing.T) {
	f, err := os.Open("../cassettes/events/shop.jsonl.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := eventgen.Write(&want, eventgen.Options{Seed: 2024, Events: 3000}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("cassettes/events/shop.jsonl.zst is not current: go run . generate --seed 2024 --events 3000 --to cassettes/events/shop.jsonl.zst")
	}
}

// floors are the packages from the ground up; imports go down only.
var floors = [][]string{
	{"pkg/awssecret", "pkg/event", "pkg/eventgen", "pkg/printable", "pkg/secret", "pkg/stock"},
	{"pkg/mapping", "pkg/filter", "pkg/setting", "pkg/field", "pkg/body"},
	{"pkg/source", "pkg/destination", "pkg/transport", "pkg/journal", "pkg/transform", "pkg/cassette", "pkg/standin", "pkg/selection", "pkg/workspace"},
	{"pkg/engine", "pkg/config", "destinations/"},
	{"destinations", "pkg/run"},
	{"cmd", "cassettes"},
	{""},
}

func floorOf(pkg string) int {
	for i := len(floors) - 1; i >= 0; i-- {
		for _, p := range floors[i] {
			if pkg == p || strings.HasSuffix(p, "/") && strings.HasPrefix(pkg, p) {
				return i
			}
		}
	}
	return -1
}

// TestImportsGoDownOnly walks the import graph.
func TestImportsGoDownOnly(t *testing.T) {
	c := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	c.Dir = ".."
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const module = "github.com/fanfold/fanfold"
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		from := strings.TrimPrefix(strings.TrimPrefix(f[0], module), "/")
		at := floorOf(from)
		if at < 0 {
			t.Errorf("%s has no floor in the architecture", from)
		}
		for _, to := range f[1:] {
			if !strings.HasPrefix(to, module+"/") {
				continue
			}
			to = strings.TrimPrefix(to, module+"/")
			below := floorOf(to)
			if to == "cassettes" {
				below = 0 // data
			}
			if below > at {
				t.Errorf("%s (floor %d) imports %s (floor %d)", from, at, to, below)
			}
			if from == "pkg/engine" && strings.HasPrefix(to, "destinations") || strings.HasPrefix(from, "destinations") && to == "pkg/engine" {
				t.Errorf("%s imports %s: they meet in cmd only", from, to)
			}
		}
	}
}

// TestREADMECommands runs the commands that the README begins with, and checks
// that those it shows exist.
func TestREADMECommands(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	first := "go run . forward --from cassettes/events/shop.jsonl.zst --to mixpanel,segment,file --rehearse"
	if !strings.Contains(string(text), first+"\ngo test ./...\n") {
		t.Fatal("the README does not begin with the two commands")
	}
	args := strings.Fields(strings.TrimPrefix(first, "go run . "))
	for i, a := range args {
		if strings.HasPrefix(a, "cassettes/") {
			args[i] = "../" + a
		}
	}
	a := testApp(map[string]string{"XDG_STATE_HOME": t.TempDir()})
	if code := a.execute(context.Background(), args); code != 0 {
		t.Errorf("%s: exit code %d\n%s%s", first, code, a.out, a.err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\$ fanfold ([a-z]+)`).FindAllStringSubmatch(string(text), -1) {
		if c, _, err := testApp(nil).root().Find([]string{m[1]}); err != nil || c.Name() != m[1] {
			t.Errorf("the README shows `fanfold %s`, which does not exist", m[1])
		}
	}
}

// TestOneWayOut: whoever builds a transport of its own has to think of all that
// transport.Dial knows (pings, timeouts, proxies), and does not. Tests may.
func TestOneWayOut(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || filepath.ToSlash(filepath.Dir(path)) == "../pkg/transport" {
			return err
		}
		for _, own := range []string{"http.Transport{", "http.DefaultTransport", "http.DefaultClient", "http2.Transport{", "awshttp.NewBuildableClient()."} {
			if at := strings.Index(string(text), own); at >= 0 && !strings.Contains(string(text), "transport.Pings()") {
				t.Errorf("%s uses %s: take transport.Dial, or set HTTP2 to transport.Pings()", path, own)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
