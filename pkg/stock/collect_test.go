package stock_test

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/fanfold/fanfold/pkg/stock"
)

// TestCollect: the percentage counts from the first collection on, and never more than it
// asks for before.
func TestCollect(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	first := stock.Collect(1<<40, 77)
	first.Stop() // a command's start, before the run sets its own
	stock.Collect(1<<40, 30)
	if p := percent(); p < 1000 {
		t.Errorf("the first collection comes after %d per cent", p)
	}
	for range 1000 {
		if percent() == 30 {
			break
		}
		runtime.GC()
		runtime.Gosched()
	}
	if p := percent(); p != 30 {
		t.Errorf("after the first collection it is %d per cent, want 30", p)
	}
	if stock.Collect(1, 30); percent() != 30 {
		t.Errorf("a heap that is larger already is collected after %d per cent, want 30", percent())
	}
}
