package run

import (
	"testing"

	"github.com/fanfold/fanfold/pkg/engine"
)

// A bad record is told of by the first command of its run that comes to its end, and by no other.
func TestBadRecordsAreToldOnce(t *testing.T) {
	now := func(read, bad, newBad uint64) *engine.Summary {
		return &engine.Summary{Read: read, BadRecords: bad, ThisTime: &engine.ReadThisTime{Read: read, BadRecords: newBad}}
	}
	for name, c := range map[string]struct {
		before, now *engine.Summary
		told        uint64
	}{
		"the first command":           {&engine.Summary{}, &engine.Summary{Read: 9, BadRecords: 2}, 0},
		"after a complete one":        {&engine.Summary{Status: Complete, BadRecords: 2}, now(12, 3, 1), 2},
		"after one that was stopped":  {&engine.Summary{Status: Incomplete, BadRecords: 2}, now(12, 3, 1), 0},
		"complete, stopped, complete": {&engine.Summary{Status: Incomplete, BadRecords: 3, BadTold: 2}, now(12, 3, 0), 2},
		"one that is whole by now":    {&engine.Summary{Status: Complete, BadRecords: 2}, now(12, 2, 1), 1},
		"killed in its first process": {&engine.Summary{Status: Running, BadRecords: 2}, now(12, 2, 0), 0},
	} {
		if got := badTold(c.before, c.now); got != c.told {
			t.Errorf("%s: %d of %d were told, want %d", name, got, c.now.BadRecords, c.told)
		}
	}
}
