package source

import (
	"strings"
	"testing"
)

// TestAnotherFileBeginsOtherwise: a file is another one than the one that was read only if its beginning shows it, and
// a file that may still become the same is not.
func TestAnotherFileBeginsOtherwise(t *testing.T) {
	long := strings.Repeat("x", mostOfBeginning)
	gz := "\x1f\x8b\x08" + strings.Repeat("a", 100)
	for _, c := range []struct {
		name, was, is string
		want          bool
	}{
		{"other first line", "{\"a\":1}\n{\"b\":1}\n", "{\"a\":2}\n", true},
		{"changed behind it", "{\"a\":1}\n{\"b\":1}\n", "{\"a\":1}\n{\"b\":2}\n", false},
		{"emptied", "{\"a\":1}\n", "", true},
		{"shorter line", "{\"a\":1,\"b\":2}\n", "{\"a\":1}\n", true},
		{"being written again", "{\"a\":1,\"b\":2}\n", "{\"a\":1", false},
		{"perhaps another one", "{\"a\":1,\"b\":2}\n", "{\"c\":1", false},
		{"grown", "{\"a\":1", "{\"a\":1,\"b\":2}\n", false},
		{"other array", "[\n{\"a\":1},\n", "[\n{\"a\":2},\n", true},
		{"same array", "[\n{\"a\":1},\n{\"a\":2}]\n", "[\n{\"a\":1},\n{\"a\":3}]\n", false},
		{"other table of the same header", "a,b,c\n1,2,3\n", "a,b,c\n4,5,6\n", true},
		{"header only", "a,b,c\n1,2,3\n", "a,b,c\n", false},
		{"table changed behind that", "a,b,c\n1,2,3\n4,5,6\n", "a,b,c\n1,2,3\n4,5,7\n", false},
		{"no line ends", "{" + long + "a", "{" + long + "b", false},
		{"none, other", "{" + long, "{y" + long, true},
		{"compressed", gz + "b", gz + "c", false},
		{"compressed, other", gz, "\x1f\x8b\x08b" + gz, true},
		{"compressed, being written", gz, gz[:20], false},
	} {
		at := strings.NewReader(c.was)
		head, err := headOf(at, at.Size())
		if err != nil {
			t.Fatal(err)
		}
		at = strings.NewReader(c.is)
		if got, err := beginsOtherwise(at, at.Size(), head); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if got, err := beginsOtherwise(strings.NewReader("{}\n"), 3, ""); err != nil || got {
		t.Error("a manifest of an older version has no beginnings")
	}
}
