package source

import (
	"math"
	"testing"
)

func TestHalfFloats(t *testing.T) {
	for bits, want := range map[uint16]float32{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x3555: 0.33325195, 0x0001: 5.9604645e-08, 0x8400: -6.1035156e-05,
		0x7c00: float32(math.Inf(1)),
	} {
		if got := halfFloat(bits); got != want {
			t.Errorf("%04x: %v, want %v", bits, got, want)
		}
	}
	if got := halfFloat(0x7e00); got == got {
		t.Errorf("not a number: %v", got)
	}
}
