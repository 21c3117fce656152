package record

import (
	"testing"
	"time"
)

// TestChunksFollowRedaction checks that chunks end at the same places even if redaction
// made their text longer or shorter, or removed a line.
func TestChunksFollowRedaction(t *testing.T) {
	marks := []mark{{0, 0}, {time.Second, 8}, {2 * time.Second, 13}, {3 * time.Second, 20}}
	for _, c := range []struct {
		was, now string
		want     []string
	}{
		{"one two\nthree\nlast..", "one two\nthree\nlast..", []string{"", "one two\n", "three", "\nlast.."}},
		{"one two\nthree\nlast..", "1 two\nREDACTED:secret:01234567\nlast..",
			[]string{"", "1 two\n", "REDACTED:secret:01234567", "\nlast.."}},
		{"one two\nthree\nlast..", "one two three last", []string{"", "one two", " thr", "ee last"}},
		{"one two\nthree\nlast..", "", []string{"", "", "", ""}},
	} {
		text := c.now
		for n, k := range chunksOf(marks, c.was, c.now) {
			if text[:k.Bytes] != c.want[n] {
				t.Errorf("%q: piece %d is %q, want %q", c.now, n, text[:k.Bytes], c.want[n])
			}
			text = text[k.Bytes:]
		}
		if text != "" {
			t.Errorf("%q: %q is in no piece", c.now, text)
		}
	}
}

// FuzzChunks checks that the chunks cover all of a redacted text.
func FuzzChunks(f *testing.F) {
	f.Add("a\nb\nc", "a\nlonger\nc", 2, 3)
	f.Add("Zürich", "Z", 1, 2)
	f.Fuzz(func(t *testing.T, was, now string, a, b int) {
		a, b = min(max(a, 0), len(was)), min(max(b, 0), len(was))
		sum := 0
		for _, k := range chunksOf([]mark{{0, 0}, {1, min(a, b)}, {2, max(a, b)}, {3, len(was)}}, was, now) {
			if k.Bytes < 0 {
				t.Fatalf("a piece of %d bytes", k.Bytes)
			}
			sum += k.Bytes
		}
		if sum != len(now) {
			t.Errorf("%d of %d bytes", sum, len(now))
		}
	})
}
