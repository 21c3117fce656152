package formats

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

func readShaped(t *testing.T, format string, shapes []source.Shape, record string) string {
	t.Helper()
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte(record+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := source.Options{From: []string{in}, Format: format, Shapes: shapes}
	src, err := source.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var out []string
	for c, err := range src.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			out = append(out, string(r.Raw))
		}
	}
	return strings.Join(out, "\n")
}

func TestOwn(t *testing.T) {
	for text, want := range map[string]string{
		"type: track\nevent: {'@path': $.what}\n":                        `{"event":"b","type":"track"}`,
		`{"type":"page"}`:                                                `{"type":"page"}`,
		"unwrap: inner\nmapping: {type: track, event: {'@path': $.x}}\n": `{"event":"y","type":"track"}`,
	} {
		own, err := ownShape([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := readShaped(t, own.Name, []source.Shape{own}, `{"what":"b","inner":{"x":"y"}}`); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, wrong := range []string{"- a\n", "mapping: {type: {'@nope': 1}}\nno_such_key: 1\n", "mapping: [\n"} {
		if _, err := ownShape([]byte(wrong)); err == nil {
			t.Errorf("%q is taken for a format", wrong)
		}
	}
}

// same says that two shapes are the same, with equal mappings.
func same(t *testing.T, a, b source.Shape) bool {
	t.Helper()
	if a.Mapping != nil && b.Mapping != nil {
		x, err := a.Mapping()
		y, odd := b.Mapping()
		if err != nil || odd != nil {
			t.Fatal(err, odd)
		}
		if !reflect.DeepEqual(x, y) {
			return false
		}
		a.Mapping, b.Mapping = nil, nil
	}
	return reflect.DeepEqual(a, b) // functions are equal if both are nil
}

func TestEveryLayoutIsAPattern(t *testing.T) {
	all, err := pathLayouts()
	if err != nil || len(all) < 5 {
		t.Fatal(len(all), err)
	}
	for _, l := range all {
		if _, err := source.Open(context.Background(), source.Options{Layout: l.Name, Layouts: all}); err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
		for _, p := range l.Patterns {
			if _, err := source.Open(context.Background(), source.Options{Layout: p}); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		}
	}
}

// TestShownFormatIsItsOwn: what is shown of a format can be given to --map: it is the same shape again, its mapping,
// which is not read before it is needed, as well.
func TestShownFormatIsItsOwn(t *testing.T) {
	var list strings.Builder
	if err := List(&list); err != nil {
		t.Fatal(err)
	}
	shapes, err := Shapes()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shapes {
		if !strings.Contains(list.String(), "\n  "+s.Name+" ") {
			t.Errorf("%s is not in the list:\n%s", s.Name, &list)
		}
		var text strings.Builder
		if err := Show(&text, s.Name); err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		own, err := ownShape([]byte(text.String()))
		if own.Name = s.Name; err != nil || !same(t, own, s) {
			t.Errorf("%s: %v: it is %+v, and what is shown %+v", s.Name, err, s, own)
		}
	}
	if err := Show(&list, "layouts"); err != nil {
		t.Error(err)
	}
	if err := Show(&list, "amplitud"); err == nil || !strings.Contains(err.Error(), "did you mean amplitude?") {
		t.Errorf("a name that is none: %v", err)
	}
}
