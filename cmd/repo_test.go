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
	"strconv"
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
		t.Error("cassettes/events/shop.jsonl.zst is not current: go run . generate --seed 2024 --events 3000 --to " +
			"cassettes/events/shop.jsonl.zst")
	}
}

// readFloors takes the floors of the packages out of the table of the architecture
// document.
func readFloors(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	floors := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d) \| (.*) \|$`).FindAllStringSubmatch(string(text), -1) {
		for _, pkg := range strings.Split(row[2], ", ") {
			if pkg == "main" {
				pkg = ""
			}
			if _, twice := floors[pkg]; twice {
				t.Errorf("docs/architecture.md has two floors for %s", pkg)
			}
			floors[pkg], _ = strconv.Atoi(row[1]) // a digit
		}
	}
	return floors
}

// floorOf is a package's floor: its own, or that of a name above it that ends in a
// slash.
func floorOf(floors map[string]int, pkg string) (name string, floor int) {
	if n, ok := floors[pkg]; ok {
		return pkg, n
	}
	for name, n := range floors {
		if strings.HasSuffix(name, "/") && strings.HasPrefix(pkg, name) {
			return name, n
		}
	}
	return "", -1
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
	floors, seen := readFloors(t), map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		from := strings.TrimPrefix(strings.TrimPrefix(f[0], module), "/")
		name, at := floorOf(floors, from)
		seen[name] = true
		if at < 0 {
			t.Errorf("%s has no floor in docs/architecture.md", from)
		}
		for _, to := range f[1:] {
			if !strings.HasPrefix(to, module+"/") {
				continue
			}
			to = strings.TrimPrefix(to, module+"/")
			_, below := floorOf(floors, to)
			if to == "cassettes" {
				below = 0 // data
			}
			if below > at {
				t.Errorf("%s (floor %d) imports %s (floor %d)", from, at, to, below)
			}
			if from == "pkg/engine" && strings.HasPrefix(to, "destinations") || strings.HasPrefix(from, "destinations") &&
				to == "pkg/engine" {
				t.Errorf("%s imports %s: they meet in cmd only", from, to)
			}
		}
	}
	for name := range floors {
		if !seen[name] {
			t.Errorf("docs/architecture.md has a floor for %s, which is no package", name)
		}
	}
}

// TestDocumentsNameWhatIsThere: the files, folders and tests that the documents for
// contributors name exist.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	tests := map[string]bool{}
	files := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[filepath.Base(path)] = true
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{"docs/architecture.md", "docs/architecture-answers.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile("../" + doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1) {
			if !tests[name] {
				t.Errorf("%s names the test %s, which does not exist", doc, name)
			}
		}
		for _, name := range regexp.MustCompile(`[\w/-]+\.go\b`).FindAllString(string(text), -1) {
			if _, err := os.Stat("../" + name); err != nil && !files[filepath.Base(name)] && !strings.Contains(name, "slug") {
				t.Errorf("%s names the file %s, which does not exist", doc, name)
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
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || filepath.ToSlash(filepath.Dir(path)) == "../pkg/transport" {
			return err
		}
		for _, own := range []string{"http.Transport{", "http.DefaultTransport", "http.DefaultClient", "http.Client{",
			"new(http.Client)",
			"http.Get(", "http.Post(", "http.PostForm(", "http.Head(", "http2.Transport{",
			"awshttp.NewBuildableClient()."} {
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
