package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/eval"
	"github.com/fanfold/fanfold/pkg/mapping"
)

func runEval(in string, args ...string) (string, error) {
	c := newEvalCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	var out bytes.Buffer
	c.SetIn(strings.NewReader(in))
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

func TestEval(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mapping.json")
	if err := os.WriteFile(file, []byte("{\"id\":\n {\"@path\": \"$.userId\"}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := `{"a":"` + strings.Repeat("x", eval.MaxValue) + `"}`
	for _, c := range []struct {
		name, in string
		args     []string
		out, err string
	}{
		{"mapping", `{"userId":"u1"}`, []string{"--mapping", `{"id":{"@path":"$.userId"}}`}, "{\"id\":\"u1\"}\n", ""},
		{"file", `{"userId":"u1"}`, []string{"--mapping", file}, "{\"id\":\"u1\"}\n", ""},
		{"several, in any layout", "{\"a\":1}{\"a\":2}\n\n {\n\"a\":\n3}", []string{"--mapping", `{"@path":"$.a"}`},
			"1\n2\n3\n", ""},
		{"result on one line", "{\"a\":{\n\"b\":[\n1 ]}}", []string{"--mapping", `{"@path":"$.a"}`}, "{\"b\":[1]}\n", ""},
		{"bytes stay", `{"a":[12345678901234567890,1.50,"\u00e9\/<"]}`, []string{"--mapping", `{"@path":"$.a"}`},
			"[12345678901234567890,1.50,\"\\u00e9\\/<\"]\n", ""},
		{"undefined", `{}{"a":null}`, []string{"--mapping", `{"@path":"$.a"}`}, "undefined\nnull\n", ""},
		{"number as mapping", `{}`, []string{"--mapping", `5`}, "{}\n", ""},
		{"text as mapping", `{}`, []string{"--mapping", `"ab"`}, "{\"0\":\"a\",\"1\":\"b\"}\n", ""},
		{"nothing to do", "", []string{"--mapping", `{}`}, "", ""},
		{"filter", `{"type":"track"}{"type":"page"}`, []string{"--filter", `type = "track"`}, "true\nfalse\n", ""},
		{"filter on no object", `[]"x"`, []string{"--filter", `userId = null`}, "false\nfalse\n", ""},

		{"null as mapping", `{}`, []string{"--mapping", `null`}, "", "cannot be null"},
		{"bad mapping", `{}`, []string{"--mapping", `{"a":{"@nope":1}}`}, "", "/a has an invalid directive: @nope"},
		{"bad mapping text", `{}`, []string{"--mapping", `{"a":`}, "", "--mapping"},
		{"no such file", `{}`, []string{"--mapping", "nowhere.json"}, "", "nowhere.json"},
		{"empty mapping", `{}`, []string{"--mapping", ""}, "", "is empty"},
		{"bad filter", `{}`, []string{"--filter", `type =`}, "", "--filter"},
		{"payload is no object", `{"a":1}[1]`, []string{"--mapping", `{"a":1}`}, "{\"a\":1}\n",
			"value 2 of the input: mapping: data must be an object, got array"},
		{"runtime error", `{"a":1}`, []string{"--mapping", `{"@path":{"@path":"$.a"}}`}, "", "expected string, got number"},
		{"input is no JSON", "{\"a\":1}\n{oops}", []string{"--filter", `a = 1`}, "true\n", "value 2 of the input"},
		{"input ends early", `{"a":`, []string{"--filter", `a = 1`}, "", "value 1 of the input"},
		{"too long", long, []string{"--filter", `a = 1`}, "", "longer than"},
		{"both", ``, []string{"--filter", `a = 1`, "--mapping", `{}`}, "", "either --mapping or --filter"},
		{"neither", ``, nil, "", "either --mapping or --filter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := runEval(c.in, c.args...)
			if out != c.out {
				t.Errorf("want %q, got %q", c.out, out)
			}
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("want an error with %q, got %v", c.err, err)
			}
		})
	}
}

// The documentation of the mapping language holds at the command line too.
func TestEvalReference(t *testing.T) {
	for _, e := range mapping.Reference() {
		out, err := runEval(e.Event, "--mapping", e.Mapping)
		if err != nil || out != e.Result+"\n" {
			t.Errorf("%s: want %s, got %s (%v)", e.Mapping, e.Result, out, err)
		}
	}
}
