package eval

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Values may stand in any layout, a result is one line, and what was made before the
// first wrong value is written.
func TestEach(t *testing.T) {
	path, err := Mapping([]byte(`{"@path":"$.a"}`))
	if err != nil {
		t.Fatal(err)
	}
	track, err := Filter(`type = "track"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, in string
		run      Func
		out      string
		value    int // which one is wrong; 0: none
	}{
		{"one beside the other", `{"a":1}{"a":[2]} {"a":"x"}`, path, "1\n[2]\n\"x\"\n", 0},
		{"over lines", "{\n\"a\":\n{\"b\":\n[ 1 ]}\n}\n", path, "{\"b\":[1]}\n", 0},
		{"nothing to make", `{"b":1}`, path, "undefined\n", 0},
		{"nothing at all", " \n ", path, "", 0},
		{"filter", `{"type":"track"}{"type":"page"}["track"]`, track, "true\nfalse\nfalse\n", 0},
		{"the second is none", `{"a":1}{"a":`, path, "1\n", 2},
		{"no UTF-8 in it", "{\"a\":1}{\"a\":\"\xff\"}{\"a\":2}", path, "1\n\"\xff\"\n2\n", 0},
		{"too long", `{"a":1}{"a":"` + strings.Repeat("x", MaxValue) + `"}`, path, "1\n", 2},
	} {
		for _, in := range []io.Reader{strings.NewReader(c.in), iotest.HalfReader(strings.NewReader(c.in))} {
			var out strings.Builder
			err := Each(in, &out, c.run)
			var wrong *InputError
			if c.value == 0 && err != nil || c.value > 0 && (!errors.As(err, &wrong) || wrong.Value != c.value) {
				t.Errorf("%s: %v", c.name, err)
			}
			if out.String() != c.out {
				t.Errorf("%s: %q, want %q", c.name, out.String(), c.out)
			}
		}
	}
}

// An output that is full is said, also when only the last write finds out.
func TestEachSaysThatOutputIsFull(t *testing.T) {
	track, err := Filter(`type = "track"`)
	if err != nil {
		t.Fatal(err)
	}
	full := fmt.Errorf("the disk is full")
	for _, many := range []int{1, 100_000} {
		err := Each(strings.NewReader(strings.Repeat(`{"type":"track"}`, many)), writer(func() error { return full }), track)
		if !errors.Is(err, full) {
			t.Errorf("%d values: %v", many, err)
		}
	}
}

type writer func() error

func (w writer) Write([]byte) (int, error) { return 0, w() }

func TestWrongProgramsAreRefused(t *testing.T) {
	for _, src := range []string{``, `{`, `null`, `{"a":{"@nope":1}}`} {
		if _, err := Mapping([]byte(src)); err == nil {
			t.Errorf("the mapping %q is taken", src)
		}
	}
	for _, src := range []string{`type =`, `type = "a`, `(`} {
		if _, err := Filter(src); err == nil {
			t.Errorf("the filter %q is taken", src)
		}
	}
}
