package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnotherFile: a file is another one than the one that was read only if its lines show it: one that may still
// become the same, or in which lines of the other one stand, is not.
func TestAnotherFile(t *testing.T) {
	long := strings.Repeat("x", mostOfBeginning)
	gz := "\x1f\x8b\x08" + strings.Repeat("a", 100)
	two := "{\"a\":1}\n{\"b\":1}\n"
	for _, c := range []struct {
		name, was, is string
		want          bool
	}{
		{"other first line", two, "{\"a\":2}\n", true},
		{"other lines", two, "{\"a\":2}\n{\"b\":2}\n{\"b\":3}\n", true},
		{"changed behind it", two, "{\"a\":1}\n{\"b\":2}\n", false},
		{"first line changed", two, "{\"a\":3}\n{\"b\":1}\n", false},
		{"first line changed, last one open", "{\"a\":1}\n{\"b\":1}", "{\"a\":3}\n{\"b\":1}", false},
		{"first line changed, grown", two, "{\"a\":3}\n{\"b\":1}\n{\"b\":2}\n", false},
		{"a line in front", two, "{\"c\":3}\n" + two, false},
		{"newest first", two, "{\"c\":3}\n{\"a\":1}\n", false},
		{"newest rows first", "a,b,c\n4,5,6\n1,2,3\n", "a,b,c\n7,8,9\n4,5,6\n1,2,3\n", false},
		{"newest rows first, oldest gone", "a,b,c\n4,5,6\n1,2,3\n", "a,b,c\n7,8,9\n4,5,6\n", false},
		{"emptied", "{\"a\":1}\n", "", false},
		{"shorter line", "{\"a\":1,\"b\":2}\n", "{\"a\":1}\n", true},
		{"being written again", "{\"a\":1,\"b\":2}\n", "{\"a\":1", false},
		{"perhaps another one", "{\"a\":1,\"b\":2}\n", "{\"c\":1", false},
		{"grown", "{\"a\":1", "{\"a\":1,\"b\":2}\n", false},
		{"other array", "[\n{\"a\":1},\n", "[\n{\"a\":2},\n", true},
		{"other closed array", "[\n{\"a\":1}\n]\n", "[\n{\"a\":2}\n]\n", true},
		{"same array", "[\n{\"a\":1},\n{\"a\":2}]\n", "[\n{\"a\":1},\n{\"a\":3}]\n", false},
		{"other table of the same header", "a,b,c\n1,2,3\n", "a,b,c\n4,5,6\n", true},
		{"header only", "a,b,c\n1,2,3\n", "a,b,c\n", false},
		{"table changed behind that", "a,b,c\n1,2,3\n4,5,6\n", "a,b,c\n1,2,3\n4,5,7\n", false},
		{"no line ends", "{" + long + "a", "{" + long + "b", false},
		{"none, other", "{" + long, "{y" + long, true},
		{"compressed", gz + "b", gz + "c", false},
		{"compressed, other", gz, "\x1f\x8b\x08b" + gz, false},
		{"compressed, being written", gz, gz[:20], false},
		{"compressed by now", two, gz, false},
		{"bytes", "PAR1\x00\n1234\n", "PAR1\x00\n5678\n", false},
	} {
		at := strings.NewReader(c.was)
		head, err := headOf(at, at.Size())
		if err != nil {
			t.Fatal(err)
		}
		at = strings.NewReader(c.is)
		if got, err := isAnother(at, at.Size(), head); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	for _, head := range []string{"", "3-", "999999999-00/1-0", "x"} {
		if got, err := isAnother(strings.NewReader("{}\n"), 3, head); err != nil || got {
			t.Errorf("a manifest with the beginning %q: %v, %v", head, got, err)
		}
	}
}

// TestFollowedBeginsAnew: a followed file that is emptied and begun anew is waited for until its first line is whole,
// however it is written.
func TestFollowedBeginsAnew(t *testing.T) {
	for _, head := range []string{"", "type,event,messageId\n"} {
		path := filepath.Join(t.TempDir(), "app.log")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		line := func(id string) string {
			if head != "" {
				return "track,E," + id + "\n"
			}
			return `{"type":"track","event":"E","messageId":"` + id + "\"}\n"
		}
		write(head + line("a1") + line("a2"))
		wake := make(chan struct{})
		s, err := Open(t.Context(), Options{From: []string{path}, Follow: &Follow{Wake: wake}})
		if err != nil {
			t.Fatal(err)
		}
		look := func() { // the second one is taken when the first look is over
			wake <- struct{}{}
			wake <- struct{}{}
		}
		look()
		next := head + line("b1")
		for _, n := range []int{0, 1, 5, len(next) - 3, len(next)} {
			write(next[:n])
			look()
			if err := s.Failures(); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
		look()
		if n := s.Manifest().Len(); n != 2 {
			t.Errorf("%d entries", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
