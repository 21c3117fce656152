package manual

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// What a topic says has to be what `man` shows, whatever the characters at the
// beginnings of its lines mean to roff.
func TestTopicsReadTheSame(t *testing.T) {
	text := ".leading period\n'quoted' and `code`\n  a \\ backslash, --long-flag, ~ and ^\n\n  {\"a\": \"b\\n\"}\n"
	root := &cobra.Command{Use: "tool", Short: "A tool"}
	root.AddCommand(&cobra.Command{Use: "go", Short: "Go on", Run: func(*cobra.Command, []string) {}})
	dir := filepath.Join(t.TempDir(), "man")
	date := time.Date(2024, 5, 29, 0, 0, 0, 0, time.UTC)
	if err := Write(dir, root, []Topic{{"odd", []byte(text)}}, "1.2.3", date); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tool.1", "tool-go.1", "tool-odd.7"} {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "1.2.3") || !strings.Contains(string(page), "May 2024") {
			t.Errorf("%s has neither version nor date:\n%s", name, page)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff here: the page is not set")
	}
	set := exec.Command(groff, "-man", "-Tascii", "-ww", "-P-c", filepath.Join(dir, "tool-odd.7"))
	var warned strings.Builder
	set.Stderr = &warned
	shown, err := set.Output()
	if err != nil || warned.String() != "" {
		t.Fatalf("groff: %v, %s", err, warned.String())
	}
	for line := range strings.Lines(text) {
		if !strings.Contains(string(shown), strings.TrimSpace(line)) {
			t.Errorf("the page does not show %q:\n%s", line, shown)
		}
	}
}
