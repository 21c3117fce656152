package event

import (
	"math/rand/v2"
	"testing"
)

// TestMarks: every way of finding special bytes finds those that a look at each byte finds.
func TestMarks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	seldom := []byte("\"\\\x00\x1f\x20\x7f\x80\xff\xdc\xa2")
	for n := range 700 {
		text := make([]byte, n)
		for i := range text {
			if text[i] = 'a' + byte(rnd.IntN(26)); rnd.IntN(4) == 0 {
				text[i] = seldom[rnd.IntN(len(seldom))]
			} else if rnd.IntN(9) == 0 {
				text[i] = byte(rnd.IntN(256))
			}
		}
		got, plain := marksOf(nil, text), make([]uint64, n/64+1)
		plainBlocks(plain, text)
		for i, c := range text {
			want := c == '"' || c == '\\' || c < 0x20
			if is := got[i/64]>>(i%64)&1 != 0; is != want {
				t.Fatalf("byte %d of %d (%#x): special %v", i, n, c, is)
			}
			if is := plain[i/64]>>(i%64)&1 != 0; i < n/64*64 && is != want {
				t.Fatalf("byte %d of %d (%#x): special %v, found plainly", i, n, c, is)
			}
		}
	}
}
