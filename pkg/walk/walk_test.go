package walk_test

import (
	"testing"

	"github.com/fanfold/fanfold/pkg/walk"
)

// TestTakes: a seed takes the same again, one in so many; each is taken by some seed, whatever is taken elsewhere.
func TestTakes(t *testing.T) {
	met := map[[2]int]bool{}
	for _, seed := range []string{"0", "1", "2", "256", "257", "258", "512", "513", "514"} {
		w, again := walk.New(t, "", seed), walk.New(t, "", seed)
		var taken [2][]int
		for n := range 9 {
			for d := range taken {
				if w.Takes(d, n, 3) != again.Takes(d, n, 3) {
					t.Errorf("seed %s: another walk", seed)
				}
				if w.Takes(d, n, 3) {
					taken[d] = append(taken[d], n)
				}
			}
		}
		if len(taken[0]) != 3 || len(taken[1]) != 3 {
			t.Errorf("seed %s takes %v", seed, taken)
		}
		met[[2]int{taken[0][0], taken[1][0]}] = true
	}
	if len(met) != 9 {
		t.Errorf("of nine walks these are met: %v", met)
	}
	if whole := walk.New(t, "all", ""); !whole.Takes(0, 1, 100) || !whole.Takes(0, 2, 100) {
		t.Error("a whole walk leaves something out")
	}
}
