package redact

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesAreGenerated compares rules.tsv with the generator's output for the release
// that its notice names, if that is in the module cache.
func TestRulesAreGenerated(t *testing.T) {
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Skipf("skipped: there is no go command: %v", err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(cache)),
		"github.com/zricethezav/gitleaks/v8@v8.30.1/config/gitleaks.toml"))
	if err != nil {
		t.Skipf("skipped: the rules are not in the module cache (go mod download "+
			"github.com/zricethezav/gitleaks/v8@v8.30.1): %v", err)
	}
	defer f.Close()
	gen := exec.Command("go", "run", "rules_gen.go")
	gen.Stdin, gen.Stderr = f, os.Stderr
	out, err := gen.Output()
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile("rules.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now, out) {
		t.Error("rules.tsv is not what the generator makes")
	}
}

// TestRulesCompile checks that every rule has keywords and a valid expression.
func TestRulesCompile(t *testing.T) {
	s := newShapes()
	if len(s.rules) < 200 {
		t.Errorf("only %d rules", len(s.rules))
	}
	for _, r := range s.rules {
		if r.compiled().NumSubexp() > 4 || len(r.keys) == 0 {
			t.Errorf("%s: %s", r.kind, r.source)
		}
	}
}
