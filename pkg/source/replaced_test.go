package source

import (
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
