package engine

import (
	"bytes"
	"slices"
	"testing"
)

// TestRoom: parts get memory that no other part has, what one leaves over is the next one's, and one whose items do
// not fit goes on elsewhere without a trace in what lies behind it.
func TestRoom(t *testing.T) {
	part := estimate{usual: 100, most: 130}
	write := func(lent []byte, n int, c byte) []byte { return append(lent, bytes.Repeat([]byte{c}, n)...) }
	for name, sizes := range map[string][]int{
		"as expected": {100, 100, 100, 100}, "small": {0, 10, 0, 90}, "more": {130, 130, 130, 130},
		"too large": {100, 500, 100, 100}, "one is large": {100, 60, 180, 60},
	} {
		t.Run(name, func(t *testing.T) {
			r := room{inTurn: true}
			for range 2 { // the second block finds the first one's memory
				var made [][]byte
				kept := cap(r.buf)
				for i, n := range sizes {
					lent := r.lend(part, float64(len(sizes)-i))
					made = append(made, write(lent, n, byte('a'+i)))
					if n == 180 && cap(lent) < n {
						t.Error("what earlier parts have left over is not lent")
					}
					r.back(made[i])
				}
				for i, n := range sizes {
					if want := bytes.Repeat([]byte{byte('a' + i)}, n); !bytes.Equal(made[i], want) {
						t.Errorf("part %d is %q", i, made[i])
					}
				}
				if most := 460; cap(r.buf) > most || kept > 0 && cap(r.buf) != kept {
					t.Errorf("the room has %d bytes, before it had %d", cap(r.buf), kept)
				}
				r.buf = r.buf[:0]
			}
		})
	}
	// Estimates go up and down: memory that is nearly enough is kept.
	kept := room{inTurn: true, buf: make([]byte, 0, 410)}
	if kept.lend(part, 4); cap(kept.buf) != 410 {
		t.Errorf("memory for 410 bytes was replaced by memory for %d", cap(kept.buf))
	}
	// Parts that are routed at the same time give nothing back that lies before another one's memory.
	var r room
	a, b := r.lend(part, 2), r.lend(part, 1)
	a, b = write(a, 10, 'a'), write(b, 130, 'b')
	r.back(a)
	r.back(b)
	if c := write(r.lend(part, 1), 130, 'c'); slices.Contains(a, 'c') || slices.Contains(b, 'c') || len(c) != 130 {
		t.Errorf("a is %q, b is %q, c is %q", a, b, c)
	}
	if r.lend(estimate{}, 4) != nil {
		t.Error("memory was lent for nothing")
	}
}

// TestGrowth: what is expected follows the parts, and the most that is likely sinks slowly.
func TestGrowth(t *testing.T) {
	var g growth
	if e := g.of(1000); e != (estimate{}) {
		t.Errorf("before anything is known: %+v", e)
	}
	g.learn(0, 10)
	g.learn(1000, 500)
	g.learn(1000, 2000)
	peak := g.of(1000)
	for range 1000 {
		g.learn(1000, 500)
	}
	if e := g.of(1000); peak.most < 2000 || e.most >= peak.most || e.usual < 490 || e.usual > 510 || e.most < e.usual {
		t.Errorf("%+v after %+v", e, peak)
	}
}
