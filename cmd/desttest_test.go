package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples: each API that the documents describe as an example is as its cases say, which have the answers of its
// documentation, and takes everything in a rehearsal.
func TestExamples(t *testing.T) {
	paths, err := filepath.Glob("../docs/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, path := range paths {
		if strings.Contains(filepath.Base(path), ".c") { // cases and contracts
			if tried++; strings.Count(filepath.Base(path), ".") != 2 {
				t.Errorf("%s is neither", path)
			}
			continue
		}
		code, out, errOut := invoke(t, nil, "", "destinations", "test", path)
		if code != 0 || !strings.Contains(out, "ok     everybody") {
			t.Errorf("%s: exit code %d: %s%s", path, code, out, errOut)
		}
	}
	if tried < 6 {
		t.Errorf("%d files of cases", tried)
	}
}

// TestDestinationsTest: the example that the documents name is as its cases say, and what is
// changed in it is found; --update writes the new requests down.
func TestDestinationsTest(t *testing.T) {
	if code, out, errOut := invoke(t, nil, "", "destinations", "test", "../docs/examples/statsig.yaml"); code != 0 ||
		!strings.Contains(out, "ok     everybody") || errOut != "" {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	dir := t.TempDir()
	for _, part := range []string{"", ".contract", ".cases"} {
		data, err := os.ReadFile("../docs/examples/statsig" + part + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if part == "" {
			text = strings.ReplaceAll(text, "eventName: \"{{event}}\"", "event_name: \"{{event}}\"")
		}
		if err := os.WriteFile(filepath.Join(dir, "own"+part+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "own.yaml")
	for _, c := range []struct{ form, want string }{
		{"text", "failed event"}, {"json", `"status":"failed"`}, {"junit", `<testsuite name="fanfold destinations test"`},
	} {
		code, out, errOut := invoke(t, nil, "", "destinations", "test", path, "-o", c.form)
		if code != exitFinding || !strings.Contains(out, c.want) || !strings.Contains(out, "eventName") ||
			!strings.Contains(errOut, "cases failed") {
			t.Errorf("%s: exit code %d: %s%s", c.form, code, out, errOut)
		}
	}
	// Without a contract nobody objects, and what is sent can be written down.
	if err := os.Remove(filepath.Join(dir, "own.contract.yaml")); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := invoke(t, nil, "", "destinations", "test", path, "--update")
	if code != 0 || !strings.Contains(errOut, "there is no ") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	if code, out, errOut = invoke(t, nil, "", "destinations", "test", path); code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	if code, _, errOut = invoke(t, nil, "", "destinations", "test", "no/such.yaml"); code != exitUsage {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}
