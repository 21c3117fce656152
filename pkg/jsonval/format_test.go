package jsonval

import (
	"math/rand/v2"
	"testing"
)

// TestPlainEmail: what the short way takes for an address is one.
func TestPlainEmail(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	const bytes = "aZ09.@-_+ é\x00"
	yes := 0
	for range 100_000 {
		b := make([]byte, 3+rnd.IntN(14))
		for i := range b {
			b[i] = bytes[rnd.IntN(len(bytes))]
			if rnd.IntN(3) > 0 {
				b[i] = "abc"[rnd.IntN(3)]
			}
		}
		b[1+rnd.IntN(len(b)-2)] = '@'
		if plainEmail(b) {
			if yes++; !formatEmail.Match(b) {
				t.Fatalf("%q is taken for an address", b)
			}
		}
	}
	if yes < 200 {
		t.Errorf("%d of the texts were addresses", yes)
	}
	plain := func(s string) bool { return plainEmail([]byte(s)) }
	if !plain("first.last+tag@mail-1.example.com") || plain("a@b") || plain("a..b@c.de") {
		t.Error("plain addresses are not known any more")
	}
}
