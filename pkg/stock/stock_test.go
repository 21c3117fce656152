package stock_test

import (
	"runtime"
	"testing"

	"github.com/fanfold/fanfold/pkg/stock"
)

func TestStock(t *testing.T) {
	s := stock.New[int](2)
	pieces := []*int{s.Take(), s.Take(), s.Take()}
	for i, p := range pieces {
		*p = i + 1
		s.Put(p)
	}
	for range 3 {
		runtime.GC() // a sync.Pool would forget
	}
	if a, b, c := *s.Take(), *s.Take(), *s.Take(); a != 1 || b != 2 || c != 0 {
		t.Errorf("taken %d, %d, %d: it should have kept two pieces", a, b, c)
	}
	many := stock.New[int](10)
	for range 10 {
		p := new(int)
		*p = 7
		many.PutLarge(p)
	}
	n := 0
	for *many.Take() == 7 {
		n++
	}
	if n != 4 {
		t.Errorf("%d large pieces were kept, want 4", n)
	}
	var none stock.Stock[int]
	none.Put(new(int))
	if p := none.Take(); *p != 0 {
		t.Error("a zero stock has kept something")
	}
}
