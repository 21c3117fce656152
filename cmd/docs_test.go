package cmd

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// declared is what Go files declare: names by package, and members by type.
type declared struct {
	packages map[string]map[string]bool // by the package's name
	members  map[string]map[string]bool // methods and fields, by the type's name
}

func (d *declared) add(to map[string]map[string]bool, of, name string) {
	if to[of] == nil {
		to[of] = map[string]bool{}
	}
	to[of][name] = true
}

// readDeclared parses all Go files but tests.
func readDeclared(t *testing.T) *declared {
	t.Helper()
	d := &declared{map[string]map[string]bool{}, map[string]map[string]bool{}}
	err := filepath.WalkDir("..", func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		note := func(name string) { d.add(d.packages, f.Name.Name, name) }
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv != nil {
					d.add(d.members, receiver(decl.Recv.List[0].Type), decl.Name.Name)
				} else {
					note(decl.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						note(spec.Name.Name)
						ast.Inspect(spec.Type, func(n ast.Node) bool {
							if field, is := n.(*ast.Field); is {
								for _, name := range field.Names {
									d.add(d.members, spec.Name.Name, name.Name)
								}
							}
							return true
						})
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							note(name.Name)
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// has says whether something is called so: a name of a package, a member of a type, or, behind the name of a
// variable, a member of any type.
func (d *declared) has(of, name string) bool {
	if d.packages[of] != nil || d.members[of] != nil {
		return d.packages[of][name] || d.members[of][name]
	}
	for _, members := range d.members {
		if members[name] {
			return true
		}
	}
	return false
}

// anywhere says whether a package or a type has a name.
func (d *declared) anywhere(name string) bool {
	for _, of := range []map[string]map[string]bool{d.packages, d.members} {
		for _, names := range of {
			if names[name] {
				return true
			}
		}
	}
	return false
}

// TestArchitectureNamesWhatIsThere: packages, types and members that the documents for contributors name exist, and
// what the reading order sends to a file for is in that file, about as long as it says.
func TestArchitectureNamesWhatIsThere(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile("../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	order, d := read("architecture.md"), readDeclared(t)
	text := order + read("architecture-answers.md") + read("partner.md")
	for _, path := range regexp.MustCompile(`\b(?:pkg|cmd|destinations|cassettes|docs)/[\w/.-]*\w`).FindAllString(text, -1) {
		if _, err := os.Stat("../" + path); err != nil && !strings.Contains(path, "slug") {
			t.Errorf("the documents for contributors name %s, which does not exist", path)
		}
	}
	dotted := regexp.MustCompile("`\\*?([A-Za-z]\\w*)\\.([A-Za-z]\\w*)`")
	isFile := regexp.MustCompile(`^(go|yaml|json|jsonl|md|db|zst|html|env)$`)
	names := 0
	for _, m := range dotted.FindAllStringSubmatch(text, -1) {
		if isFile.MatchString(m[2]) {
			continue
		}
		if names++; !d.has(m[1], m[2]) {
			t.Errorf("the documents for contributors name %s.%s, which does not exist", m[1], m[2])
		}
	}
	for _, m := range regexp.MustCompile("`([A-Za-z]*[a-z][A-Z]\\w*|[A-Z][a-z]\\w*)`").FindAllStringSubmatch(text, -1) {
		if names++; !strings.HasPrefix(m[1], "Test") && !d.anywhere(m[1]) {
			t.Errorf("the documents for contributors name %s, which does not exist", m[1])
		}
	}
	rows, minutes, lines := 0, 0, 0
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, row := range regexp.MustCompile(`(?m)^\| \d+ min \|([^|]*)\|([^|]*)\|`).FindAllStringSubmatch(order, -1) {
		rows++
		var files []string
		for _, m := range quoted.FindAllStringSubmatch(row[1], -1) {
			file := m[1]
			if !strings.Contains(file, "/") && len(files) > 0 { // of the same folder as the one before
				file = filepath.ToSlash(filepath.Join(filepath.Dir(files[len(files)-1]), file))
			}
			if _, err := os.Stat("../" + file); err != nil {
				t.Errorf("the reading order names %s, which does not exist", file)
			}
			files = append(files, file)
		}
		for _, m := range regexp.MustCompile("`([^`]+)` \\((\\d+)\\)|`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			names++
			said, err := strconv.Atoi(m[2])
			if err != nil {
				t.Errorf("the reading order does not say how long %s is", m[3])
				continue
			}
			is := 0
			for _, file := range files {
				is = max(is, lengthsIn(t, file)[m[1]])
			}
			if is == 0 {
				t.Errorf("the reading order looks for %s in %v, where it is not", m[1], files)
			} else if lines += is; max(is, said)-min(is, said) > 3 {
				t.Errorf("the reading order says that %s has %d lines; it has %d", m[1], said, is)
			}
		}
		n, err := strconv.Atoi(strings.Fields(row[0])[1])
		if err != nil {
			t.Error(err)
		}
		minutes += n
	}
	if minutes > 54 || lines > 22*minutes {
		t.Errorf("the reading order takes %d minutes, and has %d lines: that is not under an hour", minutes, lines)
	}
	if names < 60 || rows < 10 {
		t.Errorf("%d names and %d rows were found: the document has another form", names, rows)
	}
}

// lengthsIn is how many lines each declaration of a file has, with its comment; a method stands as Type.Name.
func lengthsIn(t *testing.T, file string) map[string]int {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "../"+file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	note := func(name string, n ast.Node, doc *ast.CommentGroup) {
		from := n.Pos()
		if doc != nil {
			from = doc.Pos()
		}
		lines[name] = set.Position(n.End()).Line - set.Position(from).Line + 1
	}
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			name := decl.Name.Name
			if decl.Recv != nil {
				of := decl.Recv.List[0].Type
				if p, ok := of.(*ast.StarExpr); ok {
					of = p.X
				}
				if g, ok := of.(*ast.IndexExpr); ok {
					of = g.X
				}
				name = fmt.Sprint(of) + "." + name
			}
			note(name, decl, decl.Doc)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if of, ok := spec.(*ast.TypeSpec); ok {
					note(of.Name.Name, decl, decl.Doc)
				}
			}
		}
	}
	return lines
}

// TestLongFormsAreDocumented: CONTRIBUTING.md names the variables with which tests do more than they usually do.
func TestLongFormsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`os\.Getenv\("(FANFOLD_[A-Z0-9_]+)"\)`).FindAllSubmatch(code, -1) {
			read[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(read, "FANFOLD_TEST_MAIN") // how tests start us
	for name := range read {
		if !strings.Contains(string(text), "`"+name+"=") {
			t.Errorf("CONTRIBUTING.md does not name %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`(FANFOLD_[A-Z0-9_]+)=").FindAllSubmatch(text, -1) {
		if !read[string(m[1])] {
			t.Errorf("CONTRIBUTING.md names %s, which no test reads", m[1])
		}
	}
}

// TestShownCommandsAreAccepted: the flags of every command that documents, help topics and examples show exist, and
// take what is shown.
func TestShownCommandsAreAccepted(t *testing.T) {
	texts := map[string]string{}
	for _, pattern := range []string{"../README.md", "../CONTRIBUTING.md", "../docs/*.md", "topics/*.txt",
		"../docs/deploy/*/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || info.IsDir() {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(data)
		}
	}
	var examples func(c *cobra.Command)
	examples = func(c *cobra.Command) {
		texts[c.CommandPath()+" --help"] = c.Long + "\n" + c.Example
		for _, sub := range c.Commands() {
			examples(sub)
		}
	}
	examples(testApp(nil).root())
	shown := 0
	line := regexp.MustCompile("(?m)(?:^[ $]*|`|: |\\| |&& |-- |=)(?:go run \\. |fanfold )([a-z][^`\n]*)")
	for where, text := range texts {
		for _, m := range line.FindAllStringSubmatch(strings.ReplaceAll(text, "\\\n", " "), -1) {
			args := shellWords(m[1])
			if len(args) == 0 {
				continue
			}
			c, rest, err := testApp(nil).root().Find(args)
			if err != nil || c.Parent() == nil { // a sentence
				continue
			}
			shown++
			c.FParseErrWhitelist = cobra.FParseErrWhitelist{}
			err = c.ParseFlags(rest)
			// What names a flag is no command line, and <slug> stands for one.
			if err != nil && err != pflag.ErrHelp && !strings.Contains(err.Error(), "needs an argument") {
				t.Errorf("%s shows `fanfold %s`: %v", where, m[1], err)
			}
		}
	}
	if shown < 80 {
		t.Errorf("only %d commands were found", shown)
	}
}

// shellWords are the words of a command line up to what is another program's.
func shellWords(line string) (words []string) {
	word, quote, begun := "", rune(0), false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ' || r == '\t':
			if word == "--" || word == "&&" || !begun && strings.ContainsAny(word, "|>#;…") {
				return words
			}
			if begun || word != "" {
				words = append(words, word)
			}
			word, begun = "", false
		default:
			word += string(r)
		}
	}
	return words
}

// TestREADMEBackfill runs the commands of the README's backfill, one after the other, against a partner that is down
// until what has failed is redriven.
func TestREADMEBackfill(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## A real backfill\n")
	section, _, _ = strings.Cut(section, "\n## ")
	p := newPartner(t)
	down := true
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		if r.URL.Path != "/import" {
			return false
		}
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
		} else {
			fmt.Fprintf(w, `{"code":200,"num_records_imported":%d,"status":"OK"}`, len(ids))
		}
		return true
	})
	t.Chdir(t.TempDir())
	if err := os.Mkdir("archive", 0o700); err != nil {
		t.Fatal(err)
	}
	archive := strings.ReplaceAll(events(30), `"messageId":"m`, `"messageId":"m-`)
	if err := os.WriteFile("archive/events.jsonl", []byte(archive), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"XDG_STATE_HOME": t.TempDir(), "MP_TOKEN": "token-of-mine", "MP_SECRET": "secret-of-mine"}
	run := 0
	for _, m := range regexp.MustCompile(`(?m)^\$ fanfold (.*)$`).FindAllStringSubmatch(section, -1) {
		run++
		args, want := shellWords(m[1]), exitOK
		switch args[0] {
		case "forward":
			want = exitRejected
		case "redrive":
			down = false
		}
		code, out, said := invoke(t, env, "", args...)
		if code != want {
			t.Fatalf("fanfold %s: exit code %d, want %d: %s%s", m[1], code, want, out, said)
		}
		if _, path, is := strings.Cut(m[1], "> fanfold.yaml"); is { // then edit it
			out = strings.NewReplacer("https://example.com/hook", p.URL+"/hook", "api_region: eu}",
				"api_region: eu}\n    base_url: "+p.URL+"\n    retry: 1").Replace(out)
			if err := os.WriteFile("fanfold.yaml", []byte(out), 0o600); err != nil {
				t.Fatal(path, err)
			}
		}
	}
	if got := len(p.seen); got != 30 || run < 10 {
		t.Errorf("%d events arrived by %d commands", got, run)
	}
	if page, err := os.ReadFile("report.html"); err != nil || !strings.Contains(string(page), "<html") {
		t.Errorf("the report: %v", err)
	}
}
