package cmd

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile is what others may put into texts: colours, a title, C1 controls, bytes that
// are no UTF-8, and what turns the direction of writing.
const hostile = "x\x1b[31m\x1b]0;t\x07\u009b2J\u202egnp\u2066\x08\x7f\x9b"

// TestNothingObeyed: no command prints a control character that came from others: from
// partners, names of objects, events, cassettes and configurations.
func TestNothingObeyed(t *testing.T) {
	t.Parallel()
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(422)
		fmt.Fprintf(w, "no: %s", hostile)
	}))
	defer partner.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	name := strings.NewReplacer("\x7f", "").Replace(hostile)
	good := `{"type":"track","event":"` + "\u009b\u202e\x7f" + `","messageId":"m` + "\u009b\u202e" + `","userId":"u"}` +
		"\n"
	in := write("in/"+name+".jsonl", good+"no event "+hostile+"\n"+`{"type":"`+"\u202e"+`"}`+"\n"+`{"nothing":1}`+"\n")
	conf := write("fanfold.yaml", "destinations: {hook: {type: webhook, settings: {url: '"+partner.URL+"'}, retry: 1}}\n")
	quoted := `"x\e[31m\u009b2J\u202e"`
	broken := write("broken.yaml", "destinations:\n  "+quoted+": {type: "+quoted+"}\n  hook: {type: webhook, "+quoted+
		": 1, rate: "+quoted+
		", settings: {url: "+quoted+", "+quoted+": 1}, actions: [{action: "+quoted+", subscribe: "+quoted+"}]}\n"+quoted+
		": 1\ntransform: [{"+quoted+": 1}, {drop: "+quoted+"}]\n")
	cassette := write("cassettes/c.yaml", "---\nversion: 1\ninteractions:\n- request:\n    body: "+quoted+
		"\n    form: {}\n    headers: {X-A: ["+quoted+"]}\n    url: http://x.example/"+
		"%1b\n    method: POST\n  response:\n    body: "+quoted+"\n    headers: {X-B: ["+quoted+"]}\n    status: "+quoted+
		"\n    code: 200\n    duration: \"\"\n")
	state := filepath.Join(dir, "state")
	id, escaped := "", 0
	for _, args := range [][]string{
		{"forward", "--from", in, "--config", conf, "--log-level", "debug", "--progress", "always"},
		{"forward", "--from", filepath.Dir(in), "--config", conf, "--log-format", "json", "--log-level", "debug",
			"-o", "json", "--fresh"},
		{"forward", "--from", in, "--to", hostile},
		{"forward", "--from", in, "--to", "file", "--set", "file." + hostile + "=" + hostile},
		{"forward", "--from", in, "--to", "file", "--opt", "file." + hostile + "=" + hostile},
		{"forward", "--from", in + "missing", "--to", "file"},
		{"forward", "--from", in, "--to", "file", "--since", hostile},
		{"forward", "--from", in, "--to", "file", "--filter", hostile},
		{"forward", "--from", in, "--format", hostile, "--to", "file"}, {"forward", "--" + hostile}, {hostile},
		{"help", hostile},
		{"preview", "--from", in, "--config", conf}, {"preview", "--from", in, "--config", conf, "-o", "curl"},
		{"runs", "list"}, {"runs", "list", "-o", "json"}, {"runs", "show", "RUN"}, {"runs", "show", "RUN", "-o", "json"},
		{"runs", "show", hostile},
		{"redrive", "RUN", "--config", conf}, {"redrive", "RUN", "--to", hostile}, {"redrive", "RUN", "--reason", hostile},
		{"config", "check", "--config", broken}, {"config", "show", "--config", broken}, {"config", "check", "--config", in},
		{"eval", "--mapping", `{"a":{"@path":"$.event"}}`, in}, {"eval", "--mapping", hostile}, {"eval", "--filter", hostile},
		{"cassettes", "show", cassette, "--body"}, {"cassettes", "lint", cassette}, {"cassettes", "diff", cassette, cassette},
		{"cassettes", "show", in},
		{"cassettes", "export", "--har", cassette}, {"replay", "verify", filepath.Dir(cassette)},
		{"destinations", "show", hostile},
	} {
		for i := range args {
			args[i] = strings.ReplaceAll(strings.ReplaceAll(args[i], "RUN", id), "\x00", "")
		}
		c := exec.Command(os.Args[0], append(args, "--state-dir", state)...)
		c.Env = append(os.Environ(), "FANFOLD_TEST_MAIN=1", "CI=", "FANFOLD_REDACTION_KEY=the key of this test")
		c.Dir = dir
		out, err := c.CombinedOutput()
		if _, exited := err.(*exec.ExitError); err != nil && !exited {
			t.Fatal(err)
		}
		if strings.Contains(string(out), `\u001b`) || strings.Contains(string(out), `\u202e`) {
			escaped++
		}
		if at, what := obeyed(string(out)); at >= 0 {
			t.Errorf("%q prints %s: %q", args, what, out[max(0, at-80):min(len(out), at+20)])
		}
		if strings.Contains(string(out), "panic") {
			t.Errorf("%q: %s", args, out)
		}
		if runs, err := os.ReadDir(filepath.Join(state, "runs")); id == "" && err == nil && len(runs) > 0 {
			id = runs[0].Name()
		}
	}
	if id == "" || escaped < 15 {
		t.Errorf("run %q; only %d commands had something to escape: this test shows little", id, escaped)
	}
}

// obeyed finds what a terminal would obey.
func obeyed(text string) (at int, what string) {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return at, fmt.Sprintf("the byte %#x", text[at])
		case r != '\n' && r != '\t' && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)):
			return at, fmt.Sprintf("%U", r)
		}
		at += size
	}
	return -1, ""
}

// TestCommandsPrintOneWay: commands print through the app, whose writers escape and redact. Who
// needs the file or the terminal itself is named here.
func TestCommandsPrintOneWay(t *testing.T) {
	allowed := map[string]string{
		"root.go":      "makes the writers",
		"progress.go":  "draws bars, of names and numbers",
		"child.go":     "a child has the terminal to itself",
		"printable.go": "unwraps the writers",
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || allowed[path] != "" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && (x.Name == "os" && (n.Sel.Name == "Stdout" || n.Sel.Name == "Stderr") ||
					x.Name == "fmt" && (n.Sel.Name == "Print" || n.Sel.Name == "Printf" || n.Sel.Name == "Println")) {
					t.Errorf("%s uses %s.%s, past the app's writers", path, x.Name, n.Sel.Name)
				}
			case *ast.CallExpr:
				if x, ok := n.Fun.(*ast.Ident); ok && (x.Name == "print" || x.Name == "println") {
					t.Errorf("%s uses %s", path, x.Name)
				}
			}
			return true
		})
	}
}
