// Package walk chooses what a test takes of all combinations of something, so that it stays quick, any two members of
// two dimensions meet, and another run takes others.
package walk

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// Walk is one test's choice.
type Walk struct {
	whole bool
	seed  uint64
}

// New begins a walk. how is FANFOLD_WALKS: "all" takes every combination. seed is FANFOLD_SEED: a number repeats a
// walk, "" takes a new one. The test's log says how its walk is repeated.
func New(t testing.TB, how, seed string) Walk {
	t.Helper()
	w := Walk{whole: how == "all", seed: rand.Uint64()}
	if seed != "" {
		var err error
		if w.seed, err = strconv.ParseUint(seed, 10, 64); err != nil {
			t.Fatalf("FANFOLD_SEED: %v", err)
		}
	}
	t.Logf("FANFOLD_SEED=%d repeats this walk, FANFOLD_WALKS=all takes all of it", w.seed)
	return w
}

// Takes says whether the nth combination is walked, where one in so many is. Choices of different dimensions, of which
// there may be eight, do not depend on each other.
func (w Walk) Takes(dimension, n, of int) bool {
	return w.whole || (w.seed>>(8*dimension)&0xff+uint64(n))%uint64(of) == 0
}
